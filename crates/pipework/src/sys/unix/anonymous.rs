//! Anonymous pipes of the kernel, and writing to them without a signal.
#![expect(unsafe_code, reason = "signal masks have no safe interface")]

use std::io::{self, IoSlice, PipeReader, PipeWriter};

use crate::error::{PipeErrorKind, context, fail_from};

/// The owned handle of the standard library's pipes, files and children on this system.
pub(crate) use std::os::fd::OwnedFd as Handle;

/// Makes a pipe that no child inherits, with about the buffer that was asked for.
pub(crate) fn create(buffer_size: u32) -> io::Result<(PipeReader, PipeWriter)> {
    let (read, write) = io::pipe().map_err(|error| context("creating an anonymous pipe", error))?;
    #[cfg(any(target_os = "linux", target_os = "android"))]
    suggest_size(&write, buffer_size);
    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    let _system_chooses = buffer_size;
    adopt(&write);
    Ok((read, write))
}

/// Writes to the pipe; without a reader that is `NoData` and no signal.
pub(crate) fn write_vectored(pipe: &PipeWriter, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
    no_signal::write_vectored(pipe, bufs).map_err(|error| match error.kind() {
        io::ErrorKind::BrokenPipe => {
            fail_from(PipeErrorKind::NoData, "every reading end of this pipe is closed", error)
        }
        _ => error,
    })
}

/// Prepares a writing end that was not made by `create`, so that `write_vectored` keeps its promise.
pub(crate) fn adopt(pipe: &PipeWriter) {
    no_signal::adopt(pipe);
}

/// Takes a descriptor over.
///
/// # Safety
/// `fd` is open and the caller owns it; nothing else closes it.
pub(crate) unsafe fn handle_from_raw(fd: std::os::fd::RawFd) -> Handle {
    // SAFETY: the caller promises exactly what `OwnedFd` asks: an open descriptor, owned, not closed elsewhere.
    unsafe { std::os::fd::FromRawFd::from_raw_fd(fd) }
}

/// Asks for the size, and if that is refused (more than this user may have) for the largest half, quarter and so on
/// that is granted. A pipe below its default size is possible too; the system rounds up to what it can do.
#[cfg(any(target_os = "linux", target_os = "android"))]
fn suggest_size(pipe: &PipeWriter, buffer_size: u32) {
    let Ok(default_len) = rustix::pipe::fcntl_getpipe_size(pipe) else { return };
    // The kernel takes a signed number.
    let mut len = usize::try_from(buffer_size.min(i32::MAX.unsigned_abs())).unwrap_or(default_len);
    while len > 0 && rustix::pipe::fcntl_setpipe_size(pipe, len).is_err() {
        len /= 2;
        if len <= default_len {
            return;
        }
    }
}

/// Linux since 6.18 has a flag for it; before, the signal is held back while writing.
#[cfg(any(target_os = "linux", target_os = "android"))]
mod no_signal {
    use std::{
        io::{self, IoSlice, PipeWriter},
        sync::atomic::{AtomicBool, Ordering},
    };

    use rustix::io::{Errno, ReadWriteFlags};

    /// `RWF_NOSIGNAL` of linux/fs.h.
    const NO_SIGNAL: ReadWriteFlags = ReadWriteFlags::from_bits_retain(0x100);
    /// The offset that means "where the file stands", which is all that a pipe knows.
    const NO_OFFSET: u64 = u64::MAX;

    /// Whether the kernel may know the flag; a hint, so no other memory depends on its order.
    static FLAG_WORKS: AtomicBool = AtomicBool::new(true);

    pub(super) fn write_vectored(pipe: &PipeWriter, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
        if FLAG_WORKS.load(Ordering::Relaxed) {
            match rustix::io::pwritev2(pipe, bufs, NO_OFFSET, NO_SIGNAL) {
                Err(Errno::NOSYS | Errno::OPNOTSUPP) => FLAG_WORKS.store(false, Ordering::Relaxed),
                // Not the answer of a pipe: a filter of system calls, or a descriptor of another sort.
                Err(Errno::INVAL | Errno::PERM | Errno::SPIPE) => {}
                result => return result.map_err(io::Error::from),
            }
        }
        super::held_back::write_vectored(pipe, bufs)
    }

    pub(super) fn adopt(_pipe: &PipeWriter) {}
}

/// These systems keep it as a property of the pipe.
#[cfg(any(target_vendor = "apple", target_os = "netbsd"))]
mod no_signal {
    use std::{
        io::{self, IoSlice, PipeWriter, Write},
        os::fd::AsRawFd,
    };

    pub(super) fn write_vectored(mut pipe: &PipeWriter, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
        pipe.write_vectored(bufs)
    }

    pub(super) fn adopt(pipe: &PipeWriter) {
        // SAFETY: this command takes an integer and touches no memory; the descriptor is open while `pipe` is borrowed.
        // It can't fail on a descriptor for writing.
        unsafe { libc::fcntl(pipe.as_raw_fd(), libc::F_SETNOSIGPIPE, 1) };
    }
}

#[cfg(not(any(target_os = "linux", target_os = "android", target_vendor = "apple", target_os = "netbsd")))]
mod no_signal {
    use std::io::{self, IoSlice, PipeWriter};

    pub(super) fn write_vectored(pipe: &PipeWriter, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
        super::held_back::write_vectored(pipe, bufs)
    }

    pub(super) fn adopt(_pipe: &PipeWriter) {}
}

/// Writing while SIGPIPE is held back: a write without a reader sends it to the writing thread, which is where it is
/// blocked and taken out again. What the program does with the signal elsewhere is left as it is.
#[cfg(not(any(target_vendor = "apple", target_os = "netbsd")))]
mod held_back {
    use std::{
        io::{self, IoSlice, PipeWriter, Write},
        mem::MaybeUninit,
        ptr,
    };

    pub(super) fn write_vectored(mut pipe: &PipeWriter, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
        let held_back = HeldBack::new()?;
        let result = pipe.write_vectored(bufs);
        if result.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::BrokenPipe) {
            held_back.take();
        }
        result
    }

    /// SIGPIPE is blocked in this thread as long as this lives.
    struct HeldBack {
        sigpipe: libc::sigset_t,
        mask_before: libc::sigset_t,
        /// One is waiting that this write did not cause; it stays, and one more would merge with it.
        was_pending: bool,
    }

    impl HeldBack {
        fn new() -> io::Result<HeldBack> {
            let sigpipe = sigpipe_set();
            let mut mask_before = sigpipe;
            // SAFETY: both sets are initialised and live through the call, which keeps neither.
            let code = unsafe { libc::pthread_sigmask(libc::SIG_BLOCK, &sigpipe, &mut mask_before) };
            if code != 0 {
                return Err(io::Error::from_raw_os_error(code));
            }
            // Only a signal that was blocked before can have been waiting.
            let was_pending = has_sigpipe(&mask_before) && has_sigpipe(&pending_set());
            Ok(HeldBack { sigpipe, mask_before, was_pending })
        }

        /// Takes the signal of this thread's own write out, if there is one: an ignored one may not have been kept.
        fn take(&self) {
            if self.was_pending {
                return;
            }
            let at_once = libc::timespec { tv_sec: 0, tv_nsec: 0 };
            loop {
                // SAFETY: the set and the time are initialised and live through the call; a null place for details is allowed.
                let signal = unsafe { libc::sigtimedwait(&self.sigpipe, ptr::null_mut(), &at_once) };
                if signal != -1 || io::Error::last_os_error().kind() != io::ErrorKind::Interrupted {
                    return;
                }
            }
        }
    }

    impl Drop for HeldBack {
        fn drop(&mut self) {
            // SAFETY: the set was filled in by the call that blocked and lives through this one; a null place for the
            // old mask is allowed. With a valid first argument the call can't fail.
            unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, &self.mask_before, ptr::null_mut()) };
        }
    }

    fn sigpipe_set() -> libc::sigset_t {
        let mut set = empty_set();
        // SAFETY: the set is initialised, and SIGPIPE is a signal, so the call can't fail.
        unsafe { libc::sigaddset(&mut set, libc::SIGPIPE) };
        set
    }

    fn pending_set() -> libc::sigset_t {
        let mut set = empty_set();
        // SAFETY: the set may be written and lives through the call; if that failed, it would stay empty.
        unsafe { libc::sigpending(&mut set) };
        set
    }

    fn empty_set() -> libc::sigset_t {
        let mut set = MaybeUninit::uninit();
        // SAFETY: the pointer is good for writing a whole set, which is what the call does; it can't fail.
        unsafe { libc::sigemptyset(set.as_mut_ptr()) };
        // SAFETY: the call above initialised it.
        unsafe { set.assume_init() }
    }

    fn has_sigpipe(set: &libc::sigset_t) -> bool {
        // SAFETY: the set is initialised and only read.
        unsafe { libc::sigismember(set, libc::SIGPIPE) == 1 }
    }
}

#[cfg(test)]
#[cfg(any(target_os = "linux", target_os = "android"))]
mod tests {
    use std::{
        env,
        io::{Read, Write},
        mem,
        os::fd::{AsRawFd, FromRawFd, IntoRawFd},
        process,
        process::{Command, ExitStatus},
        ptr,
    };

    use super::*;

    const ROLE: &str = "PIPEWORK_SIGPIPE_TEST_CHILD";
    const CHILD_CODE: i32 = 73;

    fn without_reader() -> PipeWriter {
        create(0).unwrap().1
    }

    fn expect_no_data(result: io::Result<usize>) {
        let error = result.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::BrokenPipe);
        assert!(error == PipeErrorKind::NoData, "{error}");
    }

    /// Not a test of its own: a process whose SIGPIPE has its deadly default again, and that writes without a reader.
    #[test]
    fn child() {
        let Ok(role) = env::var(ROLE) else { return };
        // SAFETY: the default action is no function of this program.
        unsafe { libc::signal(libc::SIGPIPE, libc::SIG_DFL) };
        let bufs = [IoSlice::new(b"x")];
        match role.as_str() {
            "plain" => assert!((&without_reader()).write(b"x").is_err()),
            "ours" => (0..3).for_each(|_| expect_no_data(write_vectored(&without_reader(), &bufs))),
            "held back" => {
                for _ in 0..3 {
                    let error = held_back::write_vectored(&without_reader(), &bufs).unwrap_err();
                    assert_eq!(error.raw_os_error(), Some(libc::EPIPE));
                }
            }
            "waiting" => keeps_what_was_waiting(),
            other => panic!("no role {other}"),
        }
        process::exit(CHILD_CODE);
    }

    /// A SIGPIPE that was blocked and waiting before is still there, and the mask is as it was.
    fn keeps_what_was_waiting() {
        let set = sigpipe_set();
        assert_eq!(block(&set), 0);
        // SAFETY: the call takes no memory.
        unsafe { libc::raise(libc::SIGPIPE) };
        held_back::write_vectored(&without_reader(), &[IoSlice::new(b"x")]).unwrap_err();
        assert!(take_waiting(&set), "the program's own signal is gone");
        held_back::write_vectored(&without_reader(), &[IoSlice::new(b"x")]).unwrap_err();
        assert!(!take_waiting(&set), "the signal of the write was left behind");
        write_vectored(&without_reader(), &[IoSlice::new(b"x")]).unwrap_err();
        assert!(!take_waiting(&set), "the write with the flag left a signal behind");
    }

    fn sigpipe_set() -> libc::sigset_t {
        // SAFETY: a set is plain numbers, of which zero is a valid value.
        let mut set: libc::sigset_t = unsafe { mem::zeroed() };
        // SAFETY: the set is initialised.
        unsafe { libc::sigaddset(&mut set, libc::SIGPIPE) };
        set
    }

    fn block(set: &libc::sigset_t) -> libc::c_int {
        // SAFETY: the set is initialised, and a null place for the old mask is allowed.
        unsafe { libc::pthread_sigmask(libc::SIG_BLOCK, set, ptr::null_mut()) }
    }

    fn is_blocked() -> bool {
        let mut mask = sigpipe_set();
        // SAFETY: a null new mask changes nothing, and the old one may be written.
        unsafe { libc::pthread_sigmask(libc::SIG_BLOCK, ptr::null(), &mut mask) };
        // SAFETY: the set is initialised and only read.
        unsafe { libc::sigismember(&mask, libc::SIGPIPE) == 1 }
    }

    fn take_waiting(set: &libc::sigset_t) -> bool {
        let at_once = libc::timespec { tv_sec: 0, tv_nsec: 0 };
        // SAFETY: set and time are initialised, and a null place for details is allowed.
        unsafe { libc::sigtimedwait(set, ptr::null_mut(), &at_once) == libc::SIGPIPE }
    }

    fn run_child(role: &str) -> ExitStatus {
        let test = "sys::unix::anonymous::tests::child";
        let mut command = Command::new(env::current_exe().unwrap());
        let output = command.args([test, "--exact", "--nocapture"]).env(ROLE, role).output().unwrap();
        // A failed assertion in the child is worth seeing here.
        io::stderr().write_all(&output.stderr).unwrap();
        output.status
    }

    #[test]
    fn no_signal_although_the_program_restored_its_default() {
        use std::os::unix::process::ExitStatusExt;
        assert_eq!(run_child("plain").signal(), Some(libc::SIGPIPE), "the default is not in force");
        assert_eq!(run_child("ours").code(), Some(CHILD_CODE));
        assert_eq!(run_child("held back").code(), Some(CHILD_CODE));
        assert_eq!(run_child("waiting").code(), Some(CHILD_CODE));
    }

    #[test]
    fn both_ways_of_writing_write_the_same() {
        let (mut read, write) = create(0).unwrap();
        let bufs = [IoSlice::new(b"ab"), IoSlice::new(b""), IoSlice::new(b"c")];
        assert_eq!(write_vectored(&write, &bufs).unwrap(), 3);
        assert_eq!(held_back::write_vectored(&write, &bufs).unwrap(), 3);
        assert!(!is_blocked(), "the signal is still held back after the write");
        drop(write);
        let mut text = String::new();
        read.read_to_string(&mut text).unwrap();
        assert_eq!(text, "abcabc");
    }

    #[test]
    fn a_descriptor_that_is_no_pipe_is_written_too() {
        let mut file = tempfile::tempfile().unwrap();
        let write = PipeWriter::from(Handle::from(file.try_clone().unwrap()));
        adopt(&write);
        for part in [b"one ", b"two "] {
            assert_eq!(write_vectored(&write, &[IoSlice::new(part)]).unwrap(), 4);
        }
        let mut text = String::new();
        io::Seek::rewind(&mut file).unwrap();
        file.read_to_string(&mut text).unwrap();
        assert_eq!(text, "one two ");
        // An event counter knows no flags at all, so the other way of writing must serve it.
        let counter = rustix::event::eventfd(0, rustix::event::EventfdFlags::CLOEXEC).unwrap();
        let write = PipeWriter::from(counter.try_clone().unwrap());
        assert_eq!(write_vectored(&write, &[IoSlice::new(&7_u64.to_ne_bytes())]).unwrap(), 8);
        let mut count = [0; 8];
        assert_eq!(rustix::io::read(&counter, &mut count).unwrap(), 8);
        assert_eq!(u64::from_ne_bytes(count), 7);
    }

    #[test]
    fn the_buffer_size_is_a_suggestion() {
        let size = |asked| rustix::pipe::fcntl_getpipe_size(create(asked).unwrap().0).unwrap();
        let default_len = size(0);
        assert_eq!(size(4096), 4096.max(rustix::param::page_size()));
        assert_eq!(size(1 << 18), 1 << 18);
        assert!(size((1 << 18) + 1) > 1 << 18);
        assert!(size(u32::MAX) >= default_len);
    }

    #[test]
    fn ends_convert_to_and_from_descriptor_numbers() {
        let (read, write) = crate::anonymous(0).unwrap();
        let numbers = (read.as_raw_fd(), write.as_raw_fd());
        let (read, write) = (read.into_raw_fd(), write.into_raw_fd());
        assert_eq!((read, write), numbers);
        // SAFETY: the number comes from `into_raw_fd`, so it is open and has no other owner.
        let mut read = unsafe { crate::AnonRead::from_raw_fd(read) };
        // SAFETY: as above.
        let mut write = unsafe { crate::AnonWrite::from_raw_fd(write) };
        write.write_all(b"by number").unwrap();
        drop(write);
        let mut text = String::new();
        read.read_to_string(&mut text).unwrap();
        assert_eq!(text, "by number");
    }

    #[test]
    fn both_ends_close_on_exec() {
        use rustix::io::{FdFlags, fcntl_getfd};
        let (read, write) = create(1 << 16).unwrap();
        assert!(fcntl_getfd(&read).unwrap().contains(FdFlags::CLOEXEC));
        assert!(fcntl_getfd(&write).unwrap().contains(FdFlags::CLOEXEC));
    }
}
