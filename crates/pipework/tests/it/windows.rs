//! What only Windows reports about a process, for the harness.
#![allow(unsafe_code, reason = "the system's own calls, which std does not offer")]

use std::{
    ffi::c_void,
    os::windows::io::{AsRawHandle, BorrowedHandle, FromRawHandle, OwnedHandle},
    ptr,
    sync::LazyLock,
};

use windows_sys::{
    Wdk::Storage::FileSystem::{FileAccessInformation, NtQueryInformationFile},
    Win32::{
        Foundation::{
            ERROR_NO_TOKEN, ERROR_SUCCESS, GetHandleInformation, HANDLE, HANDLE_FLAG_INHERIT, LocalFree,
        },
        Security::{
            Authorization::{
                ConvertSecurityDescriptorToStringSecurityDescriptorW,
                ConvertStringSecurityDescriptorToSecurityDescriptorW, GetSecurityInfo, SDDL_REVISION_1,
                SE_KERNEL_OBJECT,
            },
            DACL_SECURITY_INFORMATION, GetTokenInformation, OWNER_SECURITY_INFORMATION, PSECURITY_DESCRIPTOR,
            SECURITY_ATTRIBUTES, TOKEN_QUERY, TokenImpersonationLevel,
        },
        System::{
            IO::IO_STATUS_BLOCK,
            LibraryLoader::{GetModuleHandleA, GetProcAddress},
            Threading::{GetCurrentProcess, GetCurrentThread, GetProcessHandleCount, OpenThreadToken},
        },
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
    if is_wine() { probed_handle_count() } else { reported_handle_count() }
}

fn reported_handle_count() -> usize {
    let mut count = 0;
    // SAFETY: this returns a constant.
    let process = unsafe { GetCurrentProcess() };
    // SAFETY: the handle means this process, and `count` outlives the call, which writes it.
    let succeeded = unsafe { GetProcessHandleCount(process, &raw mut count) };
    assert_ne!(succeeded, 0, "{}", std::io::Error::last_os_error());
    usize::try_from(count).unwrap()
}

/// Wine returns zero, but allocates the smallest free number, so checking each of the small numbers finds all.
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
    let succeeded = unsafe { GetHandleInformation(handle, &raw mut flags) };
    (succeeded != 0).then_some(flags)
}

/// Who may do what with an object: the access list of its descriptor, as text.
pub(crate) fn access_list(handle: BorrowedHandle<'_>) -> String {
    descriptor(handle, DACL_SECURITY_INFORMATION)
}

/// Whose an object is, as text: `O:` and the SID, or what stands for it.
pub(crate) fn owner(handle: BorrowedHandle<'_>) -> String {
    descriptor(handle, OWNER_SECURITY_INFORMATION)
}

/// Parts of an object's descriptor, as text.
fn descriptor(handle: BorrowedHandle<'_>, parts: u32) -> String {
    let mut descriptor: PSECURITY_DESCRIPTOR = ptr::null_mut();
    // SAFETY: the handle is open, `descriptor` outlives the call, which writes it; nothing else is asked for.
    let status = unsafe {
        GetSecurityInfo(
            handle.as_raw_handle(),
            SE_KERNEL_OBJECT,
            parts,
            ptr::null_mut(),
            ptr::null_mut(),
            ptr::null_mut(),
            ptr::null_mut(),
            &raw mut descriptor,
        )
    };
    assert_eq!(status, ERROR_SUCCESS, "{}", std::io::Error::last_os_error());
    Descriptor(descriptor).to_text(parts)
}

/// A security descriptor of the system's making.
pub(crate) struct Descriptor(PSECURITY_DESCRIPTOR);

impl Descriptor {
    /// The one that a text stands for.
    pub(crate) fn parse(text: &str) -> Descriptor {
        let units: Vec<u16> = text.encode_utf16().chain([0]).collect();
        let mut descriptor = ptr::null_mut();
        // SAFETY: the text ends with a zero; `descriptor` outlives the call, which writes it; the length is not asked for.
        let parsed = unsafe {
            ConvertStringSecurityDescriptorToSecurityDescriptorW(
                units.as_ptr(),
                SDDL_REVISION_1,
                &raw mut descriptor,
                ptr::null_mut(),
            )
        };
        assert_ne!(parsed, 0, "{text}: {}", std::io::Error::last_os_error());
        Descriptor(descriptor)
    }

    /// Its access list, as the system spells it.
    pub(crate) fn access_list(&self) -> String {
        self.to_text(DACL_SECURITY_INFORMATION)
    }

    /// Its owner, as the system spells it.
    pub(crate) fn owner(&self) -> String {
        self.to_text(OWNER_SECURITY_INFORMATION)
    }

    /// Security attributes with it, for as long as it lives.
    pub(crate) fn attributes(&self, is_inherited: bool) -> SECURITY_ATTRIBUTES {
        SECURITY_ATTRIBUTES {
            nLength: u32::try_from(size_of::<SECURITY_ATTRIBUTES>()).unwrap(),
            lpSecurityDescriptor: self.0,
            bInheritHandle: is_inherited.into(),
        }
    }

    fn to_text(&self, parts: u32) -> String {
        let (mut text, mut len) = (ptr::null_mut(), 0);
        // SAFETY: the descriptor is a valid one while `self` lives; `text` and `len` outlive the call, which writes them.
        let converted = unsafe {
            ConvertSecurityDescriptorToStringSecurityDescriptorW(
                self.0,
                SDDL_REVISION_1,
                parts,
                &raw mut text,
                &raw mut len,
            )
        };
        assert_ne!(converted, 0, "{}", std::io::Error::last_os_error());
        // SAFETY: the call allocated `len` units at `text` and wrote them; nobody else knows them.
        let units = unsafe { std::slice::from_raw_parts(text, usize::try_from(len).unwrap()) };
        let sddl = String::from_utf16(units).unwrap().trim_end_matches('\0').to_owned();
        free(text.cast());
        sddl
    }
}

impl Drop for Descriptor {
    fn drop(&mut self) {
        free(self.0);
    }
}

/// Gives memory back that a call has allocated for its caller, who does not use it any more.
fn free(memory: *mut c_void) {
    // SAFETY: the callers say so.
    let left = unsafe { LocalFree(memory) };
    assert!(left.is_null(), "memory that was allocated can be freed");
}

/// What a handle was opened for: its access mask, with generic rights as the single ones that they stand for.
pub(crate) fn granted_access(handle: BorrowedHandle<'_>) -> u32 {
    let (mut status, mut access) = (IO_STATUS_BLOCK::default(), 0_u32);
    let answer = (&raw mut access).cast();
    // SAFETY: the handle is open while it is borrowed; the status and the answer, whose length is passed, are locals that the
    // call writes before it returns.
    let outcome = unsafe {
        NtQueryInformationFile(handle.as_raw_handle(), &raw mut status, answer, 4, FileAccessInformation)
    };
    assert_eq!(outcome, 0, "{outcome:#x}");
    access
}

/// The impersonation level of the thread's token, if it has one.
pub(crate) fn impersonation_level() -> Option<i32> {
    let mut token = ptr::null_mut();
    // SAFETY: it returns a constant.
    let thread = unsafe { GetCurrentThread() };
    // SAFETY: the handle means this thread; `token` outlives the call, which writes it.
    if unsafe { OpenThreadToken(thread, TOKEN_QUERY, 1, &raw mut token) } == 0 {
        let error = std::io::Error::last_os_error();
        assert_eq!(error.raw_os_error(), Some(ERROR_NO_TOKEN.cast_signed()), "{error}");
        return None;
    }
    // SAFETY: the handle was just made for this caller.
    let token = unsafe { OwnedHandle::from_raw_handle(token) };
    let (mut level, mut len) = (0_i32, 0);
    let answer = (&raw mut level).cast();
    // SAFETY: the token is open; `level`, whose length is passed, and `len` outlive the call, which writes them.
    let succeeded = unsafe {
        GetTokenInformation(token.as_raw_handle(), TokenImpersonationLevel, answer, 4, &raw mut len)
    };
    assert_ne!(succeeded, 0, "{}", std::io::Error::last_os_error());
    Some(level)
}
