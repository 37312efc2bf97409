//! Pipes on another computer, through a real smbd.
#![allow(clippy::unwrap_used, reason = "a test ends at the first surprise, and its harness reports it")]

mod samba;

use libtest_mimic::{Arguments, Completion, Trial};
use samba::{Samba, Setup};
use std::process::ExitCode;

fn main() -> ExitCode {
    let starts = Trial::ignorable_test("smbd_starts", || match Samba::unavailable() {
        Some(why) => Ok(Completion::ignored_with(why)),
        None => {
            assert!(Samba::start(&Setup::default()).np().is_dir());
            Ok(Completion::Completed)
        }
    });
    libtest_mimic::run(&Arguments::from_args(), vec![starts]).exit_code()
}
