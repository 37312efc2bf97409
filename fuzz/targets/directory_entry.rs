//! A file name in the directory of a pipe, and the text of its header.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| pipework::fuzzing::directory_entry(bytes));
