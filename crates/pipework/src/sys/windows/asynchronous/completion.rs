//! Operations that stay pending between polls. Each owns what the kernel uses until it has completed. A thread of the
//! system's pool then stores the outcome and wakes the tasks that wait for it.
#![expect(unsafe_code, reason = "calls of the system")]

use super::{
    super::{
        handle::{code, system_error},
        pipe::Pipe,
    },
    lock::lock,
};
use crate::sys::waiters::Waiters;
use std::{
    cell::UnsafeCell,
    fmt, io,
    sync::{Arc, Mutex, OnceLock, Weak},
};
use windows_sys::Win32::{
    Foundation::{ERROR_IO_PENDING, ERROR_MORE_DATA, RtlNtStatusToDosError},
    System::IO::{CancelIoEx, OVERLAPPED},
};

/// How many bytes one read discards.
const DISCARDED_LEN: usize = 4096;

/// An operation, begun at most once.
#[repr(C)]
pub(super) struct Operation {
    /// The kernel uses it from the beginning of the operation to the call of `ended`. The first field, so that its address
    /// is the address of the operation.
    overlapped: UnsafeCell<OVERLAPPED>,
    ended: OnceLock<Ended>,
    tasks: Arc<Waiters>,
    /// The bytes of a write: the kernel reads them, and nothing changes them.
    bytes: Vec<u8>,
    /// Keeps the handle open until a write has completed, which may outlive its end of the pipe.
    pipe: Mutex<Option<Arc<Pipe>>>,
    discards: Option<Discards>,
}

/// A read whose data is discarded.
struct Discards {
    /// The kernel writes them, and nothing reads them.
    bytes: UnsafeCell<Box<[u8]>>,
    /// The write that is pending meanwhile.
    write: Weak<Operation>,
    generation: u32,
}

// SAFETY: the pointers in `OVERLAPPED` belong to the kernel. Rust reads it only in `ended`, after the kernel's last use, and
// otherwise passes it to the kernel, which arbitrates between threads.
unsafe impl Send for Operation {}
// SAFETY: as above. Only the kernel uses the bytes of a discarding read. All other fields are `Sync`.
unsafe impl Sync for Operation {}

impl fmt::Debug for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Operation").field("ended", &self.ended).field("len", &self.bytes.len()).finish()
    }
}

/// The outcome of an operation.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ended {
    /// The number of the system error; 0 is none.
    code: u32,
    /// How many bytes were transferred.
    pub(super) len: usize,
}

impl Ended {
    /// The error, if there was one; `ERROR_MORE_DATA` counts as an error.
    pub(super) fn outcome(self) -> io::Result<()> {
        if self.code == 0 { Ok(()) } else { Err(system_error(self.code)) }
    }
}

impl Operation {
    /// Begins a read of length zero, which ends when something can be read. `None` while it is pending.
    pub(super) fn read_nothing(
        tasks: &Arc<Waiters>,
        pipe: &Pipe,
        generation: u32,
    ) -> io::Result<(Arc<Operation>, Option<Ended>)> {
        let operation = Operation::new(tasks, Vec::new(), None);
        // SAFETY: the slice is empty, so the kernel writes nothing to it; `begin` keeps the `OVERLAPPED`.
        let read = |overlapped| unsafe { pipe.begin_read(&mut [], overlapped) };
        let ended = operation.begin(pipe, generation, read)?;
        Ok((operation, ended))
    }

    /// Begins to write all of these bytes, and continues when the end is dropped. `None` while it is pending.
    ///
    /// It releases the handle as soon as the completion is known, so that dropping the end after that closes it.
    pub(super) fn write(
        tasks: &Arc<Waiters>,
        pipe: &Arc<Pipe>,
        generation: u32,
        bytes: Vec<u8>,
    ) -> io::Result<(Arc<Operation>, Option<Ended>)> {
        let operation = Operation::new(tasks, bytes, Some(Arc::clone(pipe)));
        // SAFETY: the bytes belong to the operation and are never changed; `begin` keeps them with the `OVERLAPPED`.
        let write = |overlapped| unsafe { pipe.begin_write(&operation.bytes, overlapped) };
        let ended = operation.begin(pipe, generation, write)?;
        if ended.is_some() {
            operation.release_pipe();
        }
        Ok((operation, ended))
    }

    /// Reads and discards what arrives while this write is pending, after its end was dropped: nothing else reads there,
    /// and the peer may have to write before it can read.
    pub(super) fn discard_meanwhile(self: &Arc<Self>, generation: u32) -> io::Result<()> {
        let Some(pipe) = lock(&self.pipe).clone() else { return Ok(()) };
        let bytes = UnsafeCell::new(vec![0; DISCARDED_LEN].into_boxed_slice());
        let mut operation = Operation::of(&self.tasks, Vec::new(), None);
        operation.discards = Some(Discards { bytes, write: Arc::downgrade(self), generation });
        let operation = Arc::new(operation);
        let Some(discards) = &operation.discards else { return Ok(()) };
        let read = |overlapped| {
            // SAFETY: the operation is new, so nothing else refers to its bytes.
            let bytes = unsafe { &mut *discards.bytes.get() };
            // SAFETY: only the kernel uses the bytes from here on; `begin` keeps them with the `OVERLAPPED`.
            unsafe { pipe.begin_read(bytes, overlapped) }
        };
        // It does not keep the handle open: it ends when the write has completed and the handle is closed.
        operation.begin(&pipe, generation, read).map(drop)
    }

    fn new(tasks: &Arc<Waiters>, bytes: Vec<u8>, pipe: Option<Arc<Pipe>>) -> Arc<Operation> {
        Arc::new(Operation::of(tasks, bytes, pipe))
    }

    fn of(tasks: &Arc<Waiters>, bytes: Vec<u8>, pipe: Option<Arc<Pipe>>) -> Operation {
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
        // The kernel's reference, which `ended` takes back.
        let share = Arc::into_raw(Arc::clone(self));
        let begun = pipe.within(generation, || start(share.cast::<OVERLAPPED>().cast_mut()));
        match begun {
            // `ended` is called for a completed operation too, later.
            Ok(()) => Ok(Some(Ended { code: 0, len: self.bytes.len() })),
            Err(error) => match code(&error) {
                Some(ERROR_MORE_DATA) => Ok(Some(Ended { code: ERROR_MORE_DATA, len: 0 })),
                Some(ERROR_IO_PENDING) => Ok(None),
                _ => {
                    // SAFETY: the pointer is from `into_raw`. The operation was not begun, so `ended` is never called.
                    drop(unsafe { Arc::from_raw(share) });
                    Err(error)
                }
            },
        }
    }

    /// Stops keeping the handle open.
    fn release_pipe(&self) {
        let pipe = lock(&self.pipe).take();
        drop(pipe);
    }

    /// The outcome, if it has completed.
    pub(super) fn ended(&self) -> Option<Ended> {
        self.ended.get().copied()
    }

    /// Cancels it; it may also complete by itself at the same time.
    pub(super) fn cancel(&self, pipe: &Pipe) {
        // SAFETY: the handle is open while the pipe is borrowed. The address only identifies the operation.
        unsafe { CancelIoEx(pipe.raw(), self.overlapped.get()) };
    }
}

/// The callback of the pool, called once for each operation that was begun, after its completion.
unsafe extern "system" fn ended(_status: u32, _len: u32, overlapped: *mut OVERLAPPED) {
    // SAFETY: `begin` gave this pointer from `into_raw` to the kernel, which passes it here once.
    let operation = unsafe { Arc::from_raw(overlapped.cast_const().cast::<Operation>()) };
    // SAFETY: the operation has completed, so the kernel writes no more, and nothing else does.
    let overlapped = unsafe { operation.overlapped.get().read() };
    // The status is the signed lower half of the field.
    let status = u32::try_from(overlapped.Internal & 0xffff_ffff).unwrap_or(u32::MAX).cast_signed();
    // SAFETY: the function maps a number to a number.
    let code = unsafe { RtlNtStatusToDosError(status) };
    // Before the outcome becomes visible, so that an end dropped after that has closed.
    operation.release_pipe();
    // Only this callback sets it.
    operation.ended.get_or_init(|| Ended { code, len: overlapped.InternalHigh });
    operation.tasks.wake_all();
    if let Some(Discards { write, generation, .. }) = &operation.discards
        && matches!(code, 0 | ERROR_MORE_DATA)
        && let Some(write) = write.upgrade()
        && write.ended().is_none()
    {
        // If no read can be begun, there is nothing more to discard.
        write.discard_meanwhile(*generation).ok();
    }
}
