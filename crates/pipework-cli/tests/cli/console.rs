//! Ctrl-C on Windows: whoever shares a console gets it.
#![allow(unsafe_code, reason = "the system's own calls, which std does not offer")]

use std::io;

use windows_sys::Win32::System::Console::{
    AttachConsole, CTRL_C_EVENT, FreeConsole, GenerateConsoleCtrlEvent, SetConsoleCtrlHandler,
};

/// Types Ctrl-C at the console of a process. To be called by a process that has nothing else to do with a console.
pub(crate) fn interrupt(process: u32) -> io::Result<()> {
    // SAFETY: it takes nothing; a process without a console fails, and is what we need.
    unsafe { FreeConsole() };
    // SAFETY: any number may be given; one of no process, or of one without a console, fails.
    done(unsafe { AttachConsole(process) })?;
    // SAFETY: without a function this only makes this process ignore Ctrl-C.
    done(unsafe { SetConsoleCtrlHandler(None, 1) })?;
    // SAFETY: plain numbers; group 0 is every process of this console.
    done(unsafe { GenerateConsoleCtrlEvent(CTRL_C_EVENT, 0) })
}

fn done(result: i32) -> io::Result<()> {
    if result == 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
