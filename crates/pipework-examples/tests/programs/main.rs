//! Runs every example as a program. Servers and clients are separate processes, and the tests check their output and exit
//! codes.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

mod codecs;
mod event_loops;
mod grpc;
mod http;
mod language_server;
#[cfg(unix)]
mod languages;
mod moving;
mod process;
mod tls;

use libtest_mimic::{Arguments, Completion, Trial};
use std::{any::type_name, env, ffi::OsString, fs, path::Path, process::Command, process::ExitCode};
use tempfile::TempDir;

/// The variable that is set when this program has its own directory for pipes.
const IS_PRIVATE: &str = "PIPEWORK_EXAMPLES_PRIVATE";

fn main() -> ExitCode {
    if env::var_os(IS_PRIVATE).is_none() {
        return run_in_private_directory();
    }
    let mut tests = vec![
        test(process::each_example_is_documented_and_tested),
        test(process::a_wrong_argument_is_reported),
        test(http::axum_knows_the_process_of_each_client),
        test(http::axum_serves_concurrent_clients_and_stops_gracefully),
        test(http::hyper_echoes_a_large_body),
        test(http::a_failure_is_the_exit_code_of_the_client),
        test(http::a_client_without_a_server_fails),
        test(grpc::a_service_responds),
        test(grpc::an_unknown_service_is_an_error),
        test(grpc::a_change_is_reported_when_it_happens),
        test(codecs::lines_are_reversed),
        test(codecs::frames_are_reversed),
        test(codecs::a_frame_too_long_ends_its_own_connection),
        test(tls::text_goes_through_tls),
        test(tls::another_host_is_rejected),
        test(tls::another_certificate_is_rejected),
        test(language_server::blanks_are_reported_to_an_editor),
        test(language_server::each_request_has_its_response),
        test(language_server::an_editor_that_disconnects_is_a_failure),
        test(language_server::a_header_without_a_length_is_a_failure),
        test(moving::the_documented_loops_serve_concurrent_clients),
        skippable(moving::the_documented_accept_loop_is_the_first_of_its_name, || {
            is_wine().then(|| "Wine creates another first instance of a name".to_owned())
        }),
        test(moving::the_documented_busy_loop_waits_while_the_pipe_is_busy),
        test(moving::the_chapter_shows_the_programs_that_run),
    ];
    #[cfg(unix)]
    tests.extend([
        test(event_loops::smol_talks_to_smol),
        test(event_loops::smol_talks_to_mio),
        test(event_loops::mio_serves_many_clients_in_turn),
        test(event_loops::what_does_not_fit_is_sent_later),
        test(languages::rust_is_both_ends_of_a_path),
        skippable(languages::node_is_a_client, || languages::missing("node", "nodejs")),
        skippable(languages::node_is_a_server, || languages::missing("node", "nodejs")),
        skippable(languages::python_is_a_client, || languages::missing("python3", "python3")),
        skippable(languages::python_is_a_server, || languages::missing("python3", "python3")),
    ]);
    #[cfg(not(unix))]
    tests.push(test(event_loops::unix_examples_report_that_on_other_systems));
    let conclusion = libtest_mimic::run(&Arguments::from_args(), tests);
    // No server runs any more. A connection that closed while another process created a pipe leaves its directory, which
    // listing removes.
    #[cfg(unix)]
    assert!(conclusion.has_failed() || pipework::list().unwrap().is_empty(), "a server still runs");
    conclusion.exit_code()
}

/// Makes a test of a function.
fn test<F: Fn() + Send + 'static>(run: F) -> Trial {
    Trial::test(name_of::<F>(), move || {
        run();
        Ok(())
    })
}

/// Makes a test of a function. It is skipped, with the reason in the output, if there is one.
fn skippable<F: Fn() + Send + 'static>(run: F, reason: fn() -> Option<String>) -> Trial {
    Trial::ignorable_test(name_of::<F>(), move || {
        if let Some(reason) = reason() {
            return Ok(Completion::ignored_with(reason));
        }
        run();
        Ok(Completion::Completed)
    })
}

/// Whether this is Wine, which has a program that Windows does not have.
fn is_wine() -> bool {
    cfg!(windows) && Path::new(r"C:\windows\system32\winecfg.exe").exists()
}

fn name_of<F>() -> &'static str {
    let path = type_name::<F>();
    path.split_once("::").map_or(path, |(_, name)| name)
}

/// Runs this program again, with a private directory for pipes, in which no files may remain.
fn run_in_private_directory() -> ExitCode {
    let dir = TempDir::with_prefix("pipework-examples-").unwrap();
    #[cfg(unix)]
    fs::set_permissions(&dir, std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
    let status = Command::new(env::current_exe().unwrap())
        .args(env::args_os().skip(1))
        .env("PIPEWORK_DIR", dir.path())
        .env(IS_PRIVATE, "yes")
        .status()
        .unwrap();
    // The lock of the directory remains.
    let left: Vec<OsString> = fs::read_dir(&dir).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(left.iter().all(|name| name == ".lock"), "the examples left {left:?} behind");
    if status.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
