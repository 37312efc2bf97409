//! The first record of a client.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| pipework::fuzzing::hello(bytes));
