//! The real binary, run as a user runs it, each test with pipes of its own.
//!
//! Only on Unix: `PIPEWORK_DIR` makes a place for the pipes of one test, and signals are sent by `kill`.
#![cfg(unix)]
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

mod connect;
mod demo;
mod harness;
mod interrupt;
mod list;
mod serve;
mod wait;
