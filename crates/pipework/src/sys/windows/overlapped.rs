//! Overlapped calls on an instance, for programs that handle completions themselves.
#![expect(unsafe_code, reason = "calls of the system")]

use super::{
    super::Instance,
    handle::{code, done, len_of},
};
use std::{ffi::c_void, io, os::windows::io::AsRawHandle, ptr};
use windows_sys::Win32::{
    Foundation::{ERROR_IO_PENDING, ERROR_NO_DATA, ERROR_PIPE_CONNECTED},
    Storage::FileSystem::{ReadFile, WriteFile},
    System::{IO::GetOverlappedResult, Pipes::ConnectNamedPipe},
};

impl Instance {
    /// Begins to wait for a client; `true` if one is connected already, or was.
    ///
    /// # Safety
    /// `overlapped` points to an `OVERLAPPED` that lives until the operation ends and serves no other.
    pub(crate) unsafe fn connect_overlapped(&self, overlapped: *mut c_void) -> io::Result<bool> {
        self.listen_by(|| {
            // SAFETY: the handle is open while `self` is borrowed; the caller promises a valid `OVERLAPPED`.
            let answer = unsafe { ConnectNamedPipe(self.handle().as_raw_handle(), overlapped.cast()) };
            match done(answer) {
                Ok(()) => Ok(true),
                Err(error) => match code(&error) {
                    Some(ERROR_PIPE_CONNECTED | ERROR_NO_DATA) => Ok(true),
                    Some(ERROR_IO_PENDING) => Ok(false),
                    _ => Err(error),
                },
            }
        })
    }

    /// Begins to read; the number of bytes if the read has completed.
    ///
    /// # Safety
    /// As [`connect_overlapped`](Self::connect_overlapped), and `buf` too.
    pub(crate) unsafe fn read_overlapped(
        &self,
        buf: &mut [u8],
        overlapped: *mut c_void,
    ) -> io::Result<Option<usize>> {
        let (handle, len) = (self.handle().as_raw_handle(), len_of(buf));
        // SAFETY: the handle is open while `self` is borrowed; the caller promises a valid buffer and `OVERLAPPED`.
        let answer = unsafe { ReadFile(handle, buf.as_mut_ptr(), len, ptr::null_mut(), overlapped.cast()) };
        // SAFETY: the operation was begun with this `OVERLAPPED`.
        pending(answer, || unsafe { self.result(overlapped) })
    }

    /// Begins to write; the number of bytes if the write has completed.
    ///
    /// # Safety
    /// As [`connect_overlapped`](Self::connect_overlapped), and `buf` too.
    pub(crate) unsafe fn write_overlapped(
        &self,
        buf: &[u8],
        overlapped: *mut c_void,
    ) -> io::Result<Option<usize>> {
        let (handle, len) = (self.handle().as_raw_handle(), len_of(buf));
        // SAFETY: the handle is open while `self` is borrowed; the caller promises a valid buffer and `OVERLAPPED`.
        let answer = unsafe { WriteFile(handle, buf.as_ptr(), len, ptr::null_mut(), overlapped.cast()) };
        // SAFETY: the operation was begun with this `OVERLAPPED`.
        pending(answer, || unsafe { self.result(overlapped) })
    }

    /// How many bytes a completed operation has transferred.
    ///
    /// # Safety
    /// `overlapped` began an operation on this pipe.
    pub(crate) unsafe fn result(&self, overlapped: *mut c_void) -> io::Result<usize> {
        let mut len = 0;
        let handle = self.handle().as_raw_handle();
        // SAFETY: the handle is open while `self` is borrowed; the caller promises a valid `OVERLAPPED`; `len` is a local.
        let answer = unsafe { GetOverlappedResult(handle, overlapped.cast_const().cast(), &mut len, 0) };
        done(answer)?;
        Ok(usize::try_from(len).unwrap_or(usize::MAX))
    }
}

/// The outcome of a call that begins an operation; `None` while it is pending.
fn pending(answer: i32, result: impl FnOnce() -> io::Result<usize>) -> io::Result<Option<usize>> {
    match done(answer) {
        Ok(()) => result().map(Some),
        Err(error) if code(&error) == Some(ERROR_IO_PENDING) => Ok(None),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        NamedPipe, PipeName,
        os::windows::NamedPipeExt,
        sys::windows::handle::{Event, wait},
    };
    use std::{io::Write, os::windows::io::AsHandle};
    use windows_sys::Win32::System::IO::OVERLAPPED;

    #[test]
    fn overlapped_calls_set_their_events_when_they_complete() {
        let name = PipeName::unique("overlapped").unwrap();
        let server = NamedPipe::new(&name).unwrap();
        let event = Event::manual_reset().unwrap();
        let forever = crate::sys::WaitLimit::new(None, None);
        let mut overlapped =
            OVERLAPPED { hEvent: event.as_handle().as_raw_handle(), ..OVERLAPPED::default() };
        let overlapped: *mut c_void = (&raw mut overlapped).cast();
        // SAFETY: `overlapped` lives to the end of the test and serves one operation at a time.
        let was_connected = unsafe { server.connect_overlapped(overlapped) }.unwrap();
        assert!(!was_connected);
        let mut client = crate::connect(&name).unwrap();
        wait(event.as_handle(), &forever).unwrap();
        let mut buf = [0; 8];
        // SAFETY: as above; `buf` is not used until the operation has completed.
        let read = unsafe { server.read_overlapped(&mut buf, overlapped) }.unwrap();
        assert_eq!(read, None);
        client.write_all(b"later").unwrap();
        wait(event.as_handle(), &forever).unwrap();
        // SAFETY: the read was begun with it.
        let read = unsafe { server.result(overlapped) }.unwrap();
        assert_eq!(&buf[..read], b"later");
        // SAFETY: as above.
        let written = unsafe { server.write_overlapped(b"now", overlapped) }.unwrap();
        assert_eq!(written, Some(3));
    }
}
