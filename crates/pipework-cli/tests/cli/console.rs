//! Ctrl-C on Windows: every process of a console receives it.
#![allow(unsafe_code, reason = "the system's own calls, which std does not offer")]

use std::io;

use windows_sys::Win32::System::Console::{
    AttachConsole, CTRL_C_EVENT, FreeConsole, GenerateConsoleCtrlEvent, SetConsoleCtrlHandler,
};

/// Sends Ctrl-C to the console of a process. The calling process loses its own console.
pub(crate) fn interrupt(process: u32) -> io::Result<()> {
    // SAFETY: the function has no arguments. It fails without a console, and then there is nothing to free.
    unsafe { FreeConsole() };
    // SAFETY: any number is valid; without such a process, or without its console, the function fails.
    done(unsafe { AttachConsole(process) })?;
    // SAFETY: without a handler the function only makes this process ignore Ctrl-C.
    done(unsafe { SetConsoleCtrlHandler(None, 1) })?;
    // SAFETY: plain numbers; group 0 is every process of this console.
    done(unsafe { GenerateConsoleCtrlEvent(CTRL_C_EVENT, 0) })
}

fn done(result: i32) -> io::Result<()> {
    if result == 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
