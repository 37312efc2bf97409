//! An address that a program passes on, from its own user or from another one.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| pipework::fuzzing::name(bytes));
