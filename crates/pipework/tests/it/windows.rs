//! What only Windows tells of a process, for the harness.
#![allow(unsafe_code, reason = "the system's own calls, which std does not offer")]

use std::{
    os::windows::io::{AsRawHandle, BorrowedHandle},
    ptr,
    sync::LazyLock,
};

use windows_sys::Win32::{
    Foundation::{ERROR_SUCCESS, GetHandleInformation, HANDLE, HANDLE_FLAG_INHERIT, LocalFree},
    Security::{
        Authorization::{
            ConvertSecurityDescriptorToStringSecurityDescriptorW, GetSecurityInfo, SDDL_REVISION_1,
            SE_KERNEL_OBJECT,
        },
        DACL_SECURITY_INFORMATION, PSECURITY_DESCRIPTOR,
    },
    System::{
        LibraryLoader::{GetModuleHandleA, GetProcAddress},
        Threading::{GetCurrentProcess, GetProcessHandleCount},
    },
};

/// Whether this is Wine, which differs from Windows in ways of its own.
pub(crate) fn is_wine() -> bool {
    static IS_WINE: LazyLock<bool> = LazyLock::new(|| {
        // SAFETY: the text ends with a zero and lives for ever; the call keeps nothing of it.
        let library = unsafe { GetModuleHandleA(c"ntdll.dll".as_ptr().cast()) };
        assert!(!library.is_null(), "every process has ntdll.dll");
        // SAFETY: the library is never unloaded, and the text ends with a zero. The function is not called.
        let function = unsafe { GetProcAddress(library, c"wine_get_version".as_ptr().cast()) };
        function.is_some()
    });
    *IS_WINE
}

/// How many handles this process holds.
pub(crate) fn handle_count() -> usize {
    if is_wine() { probed_handle_count() } else { told_handle_count() }
}

fn told_handle_count() -> usize {
    let mut count = 0;
    // SAFETY: this returns a constant.
    let process = unsafe { GetCurrentProcess() };
    // SAFETY: the handle means this process, and `count` outlives the call, which writes it.
    let told = unsafe { GetProcessHandleCount(process, &raw mut count) };
    assert_ne!(told, 0, "{}", std::io::Error::last_os_error());
    usize::try_from(count).unwrap()
}

/// Wine tells zero, but hands the smallest free number out, so that a look at each of the small ones finds all.
fn probed_handle_count() -> usize {
    const PROBED: usize = 1024;
    let is_open = |number: &usize| flags_of(ptr::without_provenance_mut(number * 4)).is_some();
    (1..=PROBED).filter(is_open).count()
}

/// Whether children that inherit handles get this one.
pub(crate) fn is_inherited(handle: BorrowedHandle<'_>) -> bool {
    flags_of(handle.as_raw_handle()).expect("an open handle") & HANDLE_FLAG_INHERIT != 0
}

/// The flags of a handle, if it is one.
fn flags_of(handle: HANDLE) -> Option<u32> {
    let mut flags = 0;
    // SAFETY: any number may be asked about; `flags` outlives the call, which writes it.
    let told = unsafe { GetHandleInformation(handle, &raw mut flags) };
    (told != 0).then_some(flags)
}

/// Who may do what with an object: the access list of its descriptor, as text.
pub(crate) fn access_list(handle: BorrowedHandle<'_>) -> String {
    let mut descriptor: PSECURITY_DESCRIPTOR = ptr::null_mut();
    // SAFETY: the handle is open, `descriptor` outlives the call, which writes it; nothing else is asked for.
    let status = unsafe {
        GetSecurityInfo(
            handle.as_raw_handle(),
            SE_KERNEL_OBJECT,
            DACL_SECURITY_INFORMATION,
            ptr::null_mut(),
            ptr::null_mut(),
            ptr::null_mut(),
            ptr::null_mut(),
            &raw mut descriptor,
        )
    };
    assert_eq!(status, ERROR_SUCCESS, "{}", std::io::Error::last_os_error());
    let (mut text, mut len) = (ptr::null_mut(), 0);
    // SAFETY: the descriptor was allocated by the call above; `text` and `len` outlive this one, which writes them.
    let converted = unsafe {
        ConvertSecurityDescriptorToStringSecurityDescriptorW(
            descriptor,
            SDDL_REVISION_1,
            DACL_SECURITY_INFORMATION,
            &raw mut text,
            &raw mut len,
        )
    };
    assert_ne!(converted, 0, "{}", std::io::Error::last_os_error());
    // SAFETY: the call allocated `len` units at `text` and wrote them; nobody else knows them.
    let units = unsafe { std::slice::from_raw_parts(text, usize::try_from(len).unwrap()) };
    let list = String::from_utf16(units).unwrap().trim_end_matches('\0').to_owned();
    for memory in [text.cast(), descriptor] {
        // SAFETY: both were allocated for us, and are not used after this.
        let left = unsafe { LocalFree(memory) };
        assert!(left.is_null(), "memory that was allocated can be freed");
    }
    list
}
