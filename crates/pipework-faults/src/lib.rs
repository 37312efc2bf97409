//! Injects faults into processes that use pipework, and checks what their peers and their successors find.
//!
//! A *point* is one system call of one step of a conversation, and one fault there. For each point the driver starts a
//! server and a client. One of them is the victim, which the injector runs; the other is the survivor. Both keep a
//! journal of what they wrote and read. The gateway and its smbd are victims too, between two survivors. After they have ended, the driver compares the journals, and takes the name anew.
//!
//! Every process is this program, run again in another role.
#![cfg(all(target_os = "linux", target_arch = "x86_64"))]
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a program that is a test: it prints, and a surprise ends it with a backtrace"
)]

mod args;
mod calls;
mod check;
mod conversation;
mod death;
mod gateway;
mod home;
mod inject;
mod journal;
mod limit;
mod oom;
mod pair;
mod plan;
mod point;
mod process;
mod surroundings;
mod sweep;
mod table;

use args::{Args, Command};
use clap::Parser;
use std::process::ExitCode;

/// The program.
#[must_use]
pub fn main() -> ExitCode {
    match Args::parse().command {
        Command::Sweep(args) => sweep::run(&args),
        Command::Point(point) => sweep::run_one(&point),
        Command::Surroundings { only } => surroundings::run(only.as_deref()),
        Command::Surrounded { what } => surroundings::run_inside(&what),
        Command::Death { samples } => death::run(samples),
        Command::Gateway(args) => gateway::run(&args),
        Command::GatewayPoint(point) => gateway::run_one(&point),
        Command::Conversation(args) => conversation::run(&args),
        Command::Inject(args) => inject::run(&args),
        Command::InjectForeign(args) => inject::run_foreign(&args),
        Command::Program(args) => process::become_program(&args),
        Command::Check { what, mode } => check::run(what, mode),
        Command::Dying { samples } => death::run_inside(samples),
    }
}
