#![expect(unsafe_code, reason = "the one place that touches memory which another process may change")]
#![cfg_attr(not(loom), expect(clippy::disallowed_types, reason = "the type comes through `ring::sync`"))]
//! The memory of a connection, and the only unsafe code of the ring.
//!
//! Rust has no fully blessed way to copy bytes that another process may change at the same time. So no reference or
//! slice to the payload ever exists: it is copied by instructions in inline assembly, which the compiler can't look
//! into (on x86-64: `rep movsb`, and `movups` for a few bytes), and by volatile accesses elsewhere, of a word where it is
//! aligned. The shared words are reached through atomics of one fixed size only, whose references live for one access.

use super::{
    layout::Word,
    sync::{AtomicU64, Ordering},
};

#[cfg(loom)]
pub(crate) use heap::Memory;
#[cfg(not(loom))]
pub(crate) use mapped::Memory;

use std::panic::{RefUnwindSafe, UnwindSafe};

/// Keeps a region mapped for as long as it lives.
pub(crate) trait Mapping: Send + Sync + UnwindSafe + RefUnwindSafe {
    /// Gives the memory of `len` bytes at `offset` back to the system, as far as it can. Until they are written again they hold
    /// anything.
    fn release(&self, offset: usize, len: usize);
}

#[cfg(not(loom))]
mod mapped {
    use super::{AtomicU64, Mapping, Ordering, Word};
    use std::{fmt, ptr::NonNull, sync::atomic::AtomicU32};

    /// A region that another process maps too.
    pub(crate) struct Memory {
        base: NonNull<u8>,
        len: usize,
        /// Unmaps the region when it is dropped.
        mapping: Box<dyn Mapping>,
    }

    // SAFETY: the region is reached through atomics and raw copies only, never through references that a data race
    // between threads could invalidate; `mapping` is Send itself.
    unsafe impl Send for Memory {}
    // SAFETY: as above; every method takes `&self` and is made for concurrent use.
    unsafe impl Sync for Memory {}

    impl Memory {
        /// Takes a region.
        ///
        /// # Safety
        /// `base` is aligned to 8 and valid for reads and writes of `len` bytes until `mapping` is dropped, and no
        /// Rust reference to any of it exists or will exist in this process.
        pub(crate) unsafe fn new(base: NonNull<u8>, len: usize, mapping: Box<dyn Mapping>) -> Memory {
            Memory { base, len, mapping }
        }

        /// Zeroed memory of this process alone, for tests.
        #[cfg(any(test, fuzzing))]
        pub(crate) fn heap(len: usize) -> Memory {
            struct Heap {
                base: NonNull<u8>,
                layout: std::alloc::Layout,
            }
            // SAFETY: it only remembers where the memory is.
            unsafe impl Send for Heap {}
            // SAFETY: as above.
            unsafe impl Sync for Heap {}
            impl Mapping for Heap {
                fn release(&self, offset: usize, len: usize) {
                    assert!(offset + len <= self.layout.size());
                    // SAFETY: the offset lies in the allocation, as was just checked.
                    let place = unsafe { self.base.add(offset) };
                    // SAFETY: so does the range, and no reference into it exists.
                    unsafe { place.write_bytes(0xEE, len) }
                }
            }
            impl Drop for Heap {
                fn drop(&mut self) {
                    // SAFETY: allocated below with this layout, and `Memory`, its one user, owns this value.
                    unsafe { std::alloc::dealloc(self.base.as_ptr(), self.layout) }
                }
            }
            let layout = std::alloc::Layout::from_size_align(len, 4096).expect("a length that fits");
            // SAFETY: the layout is not empty, since a ring has a control page.
            let base = NonNull::new(unsafe { std::alloc::alloc_zeroed(layout) }).expect("memory");
            // SAFETY: the allocation is aligned to a page, lives until `Heap` is dropped, and nothing refers
            // to it.
            unsafe { Memory::new(base, len, Box::new(Heap { base, layout })) }
        }

        /// Where `len` bytes at `offset` begin; checked, since a mistake here would be a hole.
        fn at(&self, offset: usize, len: usize) -> NonNull<u8> {
            assert!(
                offset.checked_add(len).is_some_and(|end| end <= self.len),
                "beyond the memory of the ring"
            );
            // SAFETY: `offset` lies within the region, as was just checked, so the result is within (or one past)
            // the same mapping.
            unsafe { self.base.add(offset) }
        }

        fn word(&self, word: Word) -> &AtomicU64 {
            let place = self.at(word.offset(), size_of::<u64>()).cast::<u64>();
            // SAFETY: the place is inside the region, which outlives `self`; the base is aligned to 8 and every
            // word's offset is a multiple of 8; every process reaches it through 64-bit atomics only.
            unsafe { AtomicU64::from_ptr(place.as_ptr()) }
        }

        pub(in crate::ring) fn load(&self, word: Word, order: Ordering) -> u64 {
            self.word(word).load(order)
        }

        pub(in crate::ring) fn store(&self, word: Word, value: u64, order: Ordering) {
            self.word(word).store(value, order);
        }

        /// Sets `bits` and says what the word was.
        pub(in crate::ring) fn set(&self, word: Word, bits: u64) -> u64 {
            self.word(word).fetch_or(bits, Ordering::Relaxed)
        }

        /// The half of a word that has its lowest bits. Only the kernel uses it, as a futex word.
        pub(in crate::ring) fn low_half(&self, word: Word) -> &AtomicU32 {
            let offset = word.offset() + if cfg!(target_endian = "big") { 4 } else { 0 };
            let place = self.at(offset, size_of::<u32>()).cast::<u32>();
            // SAFETY: the place is inside the region, which outlives `self`, and aligned to 4 as the word is to 8. This
            // process never accesses it through the reference, only by its address, which it hands to the kernel.
            unsafe { AtomicU32::from_ptr(place.as_ptr()) }
        }

        /// Clears `bits` and says which of them were set.
        pub(in crate::ring) fn clear(&self, word: Word, bits: u64) -> u64 {
            self.word(word).fetch_and(!bits, Ordering::Relaxed) & bits
        }

        /// Copies `bytes` to `offset`.
        pub(crate) fn copy_in(&self, offset: usize, bytes: &[u8]) {
            let target = self.at(offset, bytes.len());
            // SAFETY: the target is valid for writes of that many bytes (`at` checked it) and `bytes` for reads;
            // they don't overlap, since no Rust object lies in the region.
            unsafe { copy_to_shared(target.as_ptr(), bytes) }
        }

        /// Fills `buf` from `offset`. What another process writes meanwhile may be seen in part: the bytes are data,
        /// not values of a type.
        pub(crate) fn copy_out(&self, offset: usize, buf: &mut [u8]) {
            let source = self.at(offset, buf.len());
            // SAFETY: the source is valid for reads of that many bytes (`at` checked it) and `buf` for writes; they
            // don't overlap, since no Rust object lies in the region.
            unsafe { copy_from_shared(source.as_ptr(), buf) }
        }

        /// Gives `len` bytes at `offset` back to the system. Nothing reads them before they are written again.
        pub(in crate::ring) fn release(&self, offset: usize, len: usize) {
            self.at(offset, len);
            self.mapping.release(offset, len);
        }
    }

    impl fmt::Debug for Memory {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.debug_struct("Memory").field("len", &self.len).finish_non_exhaustive()
        }
    }

    /// Copies bytes to where another process may look at the same time.
    ///
    /// # Safety
    /// `target` is valid for writes of `bytes.len()` bytes and no part of `bytes`.
    #[cfg(all(target_arch = "x86_64", not(pipework_tsan)))]
    unsafe fn copy_to_shared(target: *mut u8, bytes: &[u8]) {
        // SAFETY: the caller promises the target, and the slice is readable; they don't overlap.
        unsafe { move_bytes(bytes.as_ptr(), target, bytes.len()) }
    }

    /// Copies bytes that another process may change at the same time.
    ///
    /// # Safety
    /// `source` is valid for reads of `buf.len()` bytes and no part of `buf`.
    #[cfg(all(target_arch = "x86_64", not(pipework_tsan)))]
    unsafe fn copy_from_shared(source: *const u8, buf: &mut [u8]) {
        // SAFETY: the caller promises the source, and the slice is writable; they don't overlap.
        unsafe { move_bytes(source, buf.as_mut_ptr(), buf.len()) }
    }

    /// ThreadSanitizer does not see it, so that has the other way to copy.
    ///
    /// # Safety
    /// `source` is valid for reads and `target` for writes of `len` bytes; they don't overlap.
    #[cfg(all(target_arch = "x86_64", not(pipework_tsan)))]
    unsafe fn move_bytes(source: *const u8, target: *mut u8, len: usize) {
        if let Some(last) = len.checked_sub(CHUNK_LEN)
            && len <= FEW
        {
            for at in (0..last).step_by(CHUNK_LEN) {
                // SAFETY: a chunk at `at` ends before the last one does, with which both ranges end.
                unsafe { move_chunk(source.wrapping_add(at), target.wrapping_add(at)) };
            }
            // SAFETY: the last chunk of both ranges, which are no shorter. It may cover a part of the one before it.
            return unsafe { move_chunk(source.wrapping_add(last), target.wrapping_add(last)) };
        }
        // SAFETY: the caller promises both ranges; `rep movsb` moves `rcx` bytes from `rsi` to `rdi` upwards, which
        // is what the direction flag is set to by the calling convention, and touches nothing else.
        unsafe {
            std::arch::asm!(
                "rep movsb",
                inout("rcx") len => _,
                inout("rsi") source => _,
                inout("rdi") target => _,
                options(nostack, preserves_flags),
            );
        }
    }

    /// Bytes that one instruction moves.
    #[cfg(all(target_arch = "x86_64", not(pipework_tsan)))]
    const CHUNK_LEN: usize = 16;
    /// So many bytes are moved in chunks in less time than the string instruction needs to begin.
    #[cfg(all(target_arch = "x86_64", not(pipework_tsan)))]
    const FEW: usize = 128;

    /// Moves one chunk.
    ///
    /// # Safety
    /// `source` is valid for reads and `target` for writes of `CHUNK_LEN` bytes; they don't overlap.
    #[cfg(all(target_arch = "x86_64", not(pipework_tsan)))]
    unsafe fn move_chunk(source: *const u8, target: *mut u8) {
        // SAFETY: the caller promises both ranges; each instruction accesses 16 bytes of one of them, whatever its
        // alignment, and nothing else.
        unsafe {
            std::arch::asm!(
                "movups {chunk}, xmmword ptr [{source}]",
                "movups xmmword ptr [{target}], {chunk}",
                chunk = out(xmm_reg) _,
                source = in(reg) source,
                target = in(reg) target,
                options(nostack, preserves_flags),
            );
        }
    }

    /// Copies bytes to where another process may look at the same time: by words where the target is aligned.
    ///
    /// # Safety
    /// `target` is valid for writes of `bytes.len()` bytes and no part of `bytes`.
    #[cfg(not(all(target_arch = "x86_64", not(pipework_tsan))))]
    unsafe fn copy_to_shared(mut target: *mut u8, mut bytes: &[u8]) {
        loop {
            if target.cast::<u64>().is_aligned()
                && let Some((word, rest)) = bytes.split_first_chunk::<8>()
            {
                // SAFETY: `target` is aligned, and eight of the bytes that the caller promised are left.
                unsafe { target.cast::<u64>().write_volatile(u64::from_ne_bytes(*word)) };
                (target, bytes) = (target.wrapping_add(8), rest);
            } else if let Some((byte, rest)) = bytes.split_first() {
                // SAFETY: one of the bytes that the caller promised is left.
                unsafe { target.write_volatile(*byte) };
                (target, bytes) = (target.wrapping_add(1), rest);
            } else {
                return;
            }
        }
    }

    /// Copies bytes that another process may change at the same time: by words where the source is aligned, and each
    /// just once.
    ///
    /// # Safety
    /// `source` is valid for reads of `buf.len()` bytes and no part of `buf`.
    #[cfg(not(all(target_arch = "x86_64", not(pipework_tsan))))]
    unsafe fn copy_from_shared(mut source: *const u8, mut buf: &mut [u8]) {
        loop {
            if source.cast::<u64>().is_aligned() && buf.len() >= 8 {
                let (word, rest) = buf.split_at_mut(8);
                // SAFETY: `source` is aligned, and eight of the bytes that the caller promised are left.
                let read = unsafe { source.cast::<u64>().read_volatile() };
                word.copy_from_slice(&read.to_ne_bytes());
                (source, buf) = (source.wrapping_add(8), rest);
            } else if let Some((byte, rest)) = buf.split_first_mut() {
                // SAFETY: one of the bytes that the caller promised is left.
                *byte = unsafe { source.read_volatile() };
                (source, buf) = (source.wrapping_add(1), rest);
            } else {
                return;
            }
        }
    }
}

/// The same on the heap, for loom: atomics that it knows, and cells in which it finds unsynchronised access.
#[cfg(loom)]
mod heap {
    use super::{super::sync::UnsafeCell, AtomicU64, Mapping, Ordering, Word};
    use std::{ptr::NonNull, sync::atomic::AtomicU32};

    #[derive(Debug)]
    pub(crate) struct Memory {
        words: Vec<AtomicU64>,
        bytes: Vec<UnsafeCell<u8>>,
        /// No thread sleeps here: loom has no kernel.
        futex_word: AtomicU32,
    }

    // SAFETY: the cells are touched under loom's eyes only, which reports every unsynchronised access.
    unsafe impl Send for Memory {}
    // SAFETY: as above.
    unsafe impl Sync for Memory {}

    const CONTROL_LEN: usize = 4096;

    impl Memory {
        /// The constructor that the backends call; nothing of them runs under loom.
        ///
        /// # Safety
        /// As the other one's, though this one does not touch the region.
        pub(crate) unsafe fn new(_: NonNull<u8>, len: usize, _: Box<dyn Mapping>) -> Memory {
            Memory::heap(len)
        }

        pub(crate) fn heap(len: usize) -> Memory {
            Memory {
                words: (0..10 * 16).map(|_| AtomicU64::new(0)).collect(),
                bytes: (CONTROL_LEN..len).map(|_| UnsafeCell::new(0)).collect(),
                futex_word: AtomicU32::default(),
            }
        }

        pub(in crate::ring) fn load(&self, word: Word, order: Ordering) -> u64 {
            self.words[word.offset() / 8].load(order)
        }

        pub(in crate::ring) fn store(&self, word: Word, value: u64, order: Ordering) {
            self.words[word.offset() / 8].store(value, order);
        }

        pub(in crate::ring) fn set(&self, word: Word, bits: u64) -> u64 {
            self.words[word.offset() / 8].fetch_or(bits, Ordering::Relaxed)
        }

        pub(in crate::ring) fn low_half(&self, _: Word) -> &AtomicU32 {
            &self.futex_word
        }

        pub(in crate::ring) fn clear(&self, word: Word, bits: u64) -> u64 {
            self.words[word.offset() / 8].fetch_and(!bits, Ordering::Relaxed) & bits
        }

        pub(crate) fn copy_in(&self, offset: usize, bytes: &[u8]) {
            for (index, byte) in bytes.iter().enumerate() {
                // SAFETY: loom hands out a pointer to a live byte and checks that no other exists.
                self.bytes[offset - CONTROL_LEN + index].with_mut(|place| unsafe { *place = *byte });
            }
        }

        pub(crate) fn copy_out(&self, offset: usize, buf: &mut [u8]) {
            for (index, byte) in buf.iter_mut().enumerate() {
                // SAFETY: loom hands out a pointer to a live byte and checks that no thread writes it.
                *byte = self.bytes[offset - CONTROL_LEN + index].with(|place| unsafe { *place });
            }
        }

        pub(in crate::ring) fn release(&self, offset: usize, len: usize) {
            self.copy_in(offset, &vec![0xEE; len]);
        }
    }
}
