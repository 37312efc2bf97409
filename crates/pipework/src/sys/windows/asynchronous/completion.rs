//! Operations that go on between polls. Each owns what the kernel uses until the kernel is done with it; a thread of the
//! system's pool then notes how it ended and wakes the tasks that wait for that.
#![expect(unsafe_code, reason = "calls of the system")]

use super::{
    super::{
        handle::{code, system_error},
        pipe::Pipe,
    },
    lock,
    tasks::Tasks,
};
use std::{
    cell::UnsafeCell,
    fmt, io,
    sync::{Arc, Mutex, OnceLock, Weak},
};
use windows_sys::Win32::{
    Foundation::{ERROR_IO_PENDING, ERROR_MORE_DATA, RtlNtStatusToDosError},
    System::IO::{CancelIoEx, OVERLAPPED},
};

/// How many bytes are thrown away at once.
const DISCARDED_LEN: usize = 4096;

/// An operation, begun at most once.
#[repr(C)]
pub(super) struct Operation {
    /// The kernel's, from the beginning of the operation to the call of `ended`. First, so that its address is that of the
    /// whole.
    overlapped: UnsafeCell<OVERLAPPED>,
    ended: OnceLock<Ended>,
    tasks: Arc<Tasks>,
    /// What is written: read by the kernel, changed by nobody.
    bytes: Vec<u8>,
    /// Keeps the handle open where the operation is to outlive its end of the pipe, until it is over.
    pipe: Mutex<Option<Arc<Pipe>>>,
    discards: Option<Discards>,
}

/// What a read takes that nobody wants.
struct Discards {
    /// Written by the kernel, and read by nobody.
    bytes: UnsafeCell<Box<[u8]>>,
    /// The write during which it reads.
    write: Weak<Operation>,
    generation: u32,
}

// SAFETY: the pointers in `OVERLAPPED` are the kernel's. It is read by Rust only in `ended`, when the kernel is done with it,
// and handed to the kernel otherwise, which arbitrates between threads.
unsafe impl Send for Operation {}
// SAFETY: as above. What a discarding read has is touched by nobody but the kernel; all else can be shared.
unsafe impl Sync for Operation {}

impl fmt::Debug for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Operation").field("ended", &self.ended).field("len", &self.bytes.len()).finish()
    }
}

/// How an operation ended.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ended {
    /// The number of the system's error; 0 is none.
    code: u32,
    /// Bytes that moved.
    pub(super) len: usize,
}

impl Ended {
    /// With the error, if it was one; `ERROR_MORE_DATA` is one of these.
    pub(super) fn outcome(self) -> io::Result<()> {
        if self.code == 0 { Ok(()) } else { Err(system_error(self.code)) }
    }
}

impl Operation {
    /// Begins to read nothing: ends when something can be read. `None` while it goes on.
    pub(super) fn read_nothing(
        tasks: &Arc<Tasks>,
        pipe: &Pipe,
        generation: u32,
    ) -> io::Result<(Arc<Operation>, Option<Ended>)> {
        let operation = Operation::new(tasks, Vec::new(), None);
        // SAFETY: the slice is empty, so that the kernel writes nothing to it; the `OVERLAPPED` is kept by `begin`.
        let read = |overlapped| unsafe { pipe.begin_read(&mut [], overlapped) };
        let ended = operation.begin(pipe, generation, read)?;
        Ok((operation, ended))
    }

    /// Begins to write all of these bytes, and goes on also when the end is dropped. `None` while it goes on.
    ///
    /// The handle is let go of as soon as it is known that the write is over: an end that is dropped then has closed.
    pub(super) fn write(
        tasks: &Arc<Tasks>,
        pipe: &Arc<Pipe>,
        generation: u32,
        bytes: Vec<u8>,
    ) -> io::Result<(Arc<Operation>, Option<Ended>)> {
        let operation = Operation::new(tasks, bytes, Some(Arc::clone(pipe)));
        // SAFETY: the bytes belong to the operation, which nobody changes, and which `begin` keeps with its `OVERLAPPED`.
        let write = |overlapped| unsafe { pipe.begin_write(&operation.bytes, overlapped) };
        let ended = operation.begin(pipe, generation, write)?;
        if ended.is_some() {
            operation.let_go();
        }
        Ok((operation, ended))
    }

    /// Reads and throws away what comes while this write waits, after its end was dropped: nobody else reads there, and the
    /// other end may not be able to read before it has written.
    pub(super) fn discard_meanwhile(self: &Arc<Self>, generation: u32) -> io::Result<()> {
        let Some(pipe) = lock(&self.pipe).clone() else { return Ok(()) };
        let bytes = UnsafeCell::new(vec![0; DISCARDED_LEN].into_boxed_slice());
        let mut operation = Operation::of(&self.tasks, Vec::new(), None);
        operation.discards = Some(Discards { bytes, write: Arc::downgrade(self), generation });
        let operation = Arc::new(operation);
        let Some(discards) = &operation.discards else { return Ok(()) };
        let read = |overlapped| {
            // SAFETY: the operation was just made, so nobody else has its bytes.
            let bytes = unsafe { &mut *discards.bytes.get() };
            // SAFETY: nobody but the kernel uses the bytes from here on; `begin` keeps them with the `OVERLAPPED`.
            unsafe { pipe.begin_read(bytes, overlapped) }
        };
        // It needs no handle of its own: it ends when the write does and the handle is closed.
        operation.begin(&pipe, generation, read).map(drop)
    }

    fn new(tasks: &Arc<Tasks>, bytes: Vec<u8>, pipe: Option<Arc<Pipe>>) -> Arc<Operation> {
        Arc::new(Operation::of(tasks, bytes, pipe))
    }

    fn of(tasks: &Arc<Tasks>, bytes: Vec<u8>, pipe: Option<Arc<Pipe>>) -> Operation {
        Operation {
            overlapped: UnsafeCell::default(),
            ended: OnceLock::new(),
            tasks: Arc::clone(tasks),
            bytes,
            pipe: Mutex::new(pipe),
            discards: None,
        }
    }

    fn begin(
        self: &Arc<Self>,
        pipe: &Pipe,
        generation: u32,
        start: impl FnOnce(*mut OVERLAPPED) -> io::Result<()>,
    ) -> io::Result<Option<Ended>> {
        pipe.report_completions_to(ended)?;
        // The kernel's share, which comes back in `ended`.
        let share = Arc::into_raw(Arc::clone(self));
        let begun = pipe.within(generation, || start(share.cast::<OVERLAPPED>().cast_mut()));
        match begun {
            // Also of what is over at once the end is told, later.
            Ok(()) => Ok(Some(Ended { code: 0, len: self.bytes.len() })),
            Err(error) => match code(&error) {
                Some(ERROR_MORE_DATA) => Ok(Some(Ended { code: ERROR_MORE_DATA, len: 0 })),
                Some(ERROR_IO_PENDING) => Ok(None),
                _ => {
                    // SAFETY: it is what `into_raw` gave. What has failed at once is not told of, so it is ours again.
                    drop(unsafe { Arc::from_raw(share) });
                    Err(error)
                }
            },
        }
    }

    /// Keeps the handle open no longer.
    fn let_go(&self) {
        let pipe = lock(&self.pipe).take();
        drop(pipe);
    }

    /// How it ended, if it did.
    pub(super) fn ended(&self) -> Option<Ended> {
        self.ended.get().copied()
    }

    /// Makes it end soon; it may also end by itself at the same time.
    pub(super) fn cancel(&self, pipe: &Pipe) {
        // SAFETY: the handle is open while the pipe is borrowed. The address tells the operation, and is not used otherwise.
        unsafe { CancelIoEx(pipe.raw(), self.overlapped.get()) };
    }
}

/// What the system calls, once for each operation that was begun, when that is over.
unsafe extern "system" fn ended(_status: u32, _len: u32, overlapped: *mut OVERLAPPED) {
    // SAFETY: it was given to the kernel by `begin`, as the share of an operation, of which it is told once.
    let operation = unsafe { Arc::from_raw(overlapped.cast_const().cast::<Operation>()) };
    // SAFETY: the kernel is done with it, and nobody else writes it.
    let overlapped = unsafe { operation.overlapped.get().read() };
    // The status is 32 bits with a sign, whatever the field has beside it.
    let status = u32::try_from(overlapped.Internal & 0xffff_ffff).unwrap_or(u32::MAX).cast_signed();
    // SAFETY: it maps a number to a number.
    let code = unsafe { RtlNtStatusToDosError(status) };
    // Before anybody can know that it is over.
    operation.let_go();
    // It is the only one that sets it.
    operation.ended.get_or_init(|| Ended { code, len: overlapped.InternalHigh });
    operation.tasks.wake_all();
    if let Some(Discards { write, generation, .. }) = &operation.discards
        && matches!(code, 0 | ERROR_MORE_DATA)
        && let Some(write) = write.upgrade()
        && write.ended().is_none()
    {
        // Where it can't be begun, there is nothing more to read.
        write.discard_meanwhile(*generation).ok();
    }
}
