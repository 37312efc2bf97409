//! Honest use against a model, and every lie that the shared words can tell.

use super::super::{
    Consumer, Corrupt, Direction, Front, Geometry, Interest, Mapping, Mark, Memory, Producer, Side, Sleepers,
    layout::Word,
    record::{HEADER_LEN, Record},
    sync::Ordering,
};
use proptest::prelude::*;
use std::{collections::VecDeque, io::IoSlice, ptr::NonNull, sync::Arc};

/// Memory on the heap, aligned as a mapping is.
struct Heap(NonNull<u8>, std::alloc::Layout);

impl Mapping for Heap {}
