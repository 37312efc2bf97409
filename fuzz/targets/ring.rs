//! Words of the shared memory that a hostile peer has written.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pipework::fuzzing::{hostile_reader, hostile_writer};

fuzz_target!(|bytes: &[u8]| {
    hostile_writer(bytes);
    hostile_reader(bytes);
});
