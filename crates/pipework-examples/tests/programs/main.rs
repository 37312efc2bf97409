//! Every example runs as a real program: servers and clients are processes of their own, and say and return what they
//! should.

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

/// Says to this program that its place for pipes is its own.
const IS_PRIVATE: &str = "PIPEWORK_EXAMPLES_PRIVATE";

fn main() -> ExitCode {
    if env::var_os(IS_PRIVATE).is_none() {
        return in_a_private_place();
    }
    let mut tests = vec![
        test(process::each_example_says_what_it_shows_and_is_run),
        test(process::a_wrong_argument_is_told),
        test(http::axum_knows_who_asks),
        test(http::axum_serves_many_at_once_and_stops_when_told),
        test(http::hyper_echoes_a_large_body),
        test(http::a_failure_is_the_exit_code_of_the_client),
        test(http::a_client_without_a_server_fails),
        test(grpc::a_service_is_asked),
        test(grpc::an_unknown_service_is_an_error),
        test(grpc::a_change_comes_as_it_happens),
        test(codecs::lines_are_turned_round),
        test(codecs::frames_are_turned_round),
        test(codecs::a_frame_too_long_ends_its_own_connection),
        test(tls::text_goes_through_tls),
        test(tls::another_host_is_refused),
        test(tls::another_certificate_is_refused),
        test(language_server::an_editor_is_told_of_blanks),
        test(language_server::each_request_has_its_answer),
        test(language_server::an_editor_that_vanishes_is_a_failure),
        test(language_server::a_header_without_a_length_is_a_failure),
        test(moving::the_documented_loops_serve_clients_at_once),
        skippable(moving::the_documented_accept_loop_is_the_first_of_its_name, || {
            is_wine().then(|| "Wine makes another first instance of a name".to_owned())
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
        test(languages::a_path_is_spoken_by_rust),
        skippable(languages::node_is_a_client, || languages::missing("node", "nodejs")),
        skippable(languages::node_is_a_server, || languages::missing("node", "nodejs")),
        skippable(languages::python_is_a_client, || languages::missing("python3", "python3")),
        skippable(languages::python_is_a_server, || languages::missing("python3", "python3")),
    ]);
    #[cfg(not(unix))]
    tests.push(test(event_loops::they_say_that_they_are_of_unix));
    let conclusion = libtest_mimic::run(&Arguments::from_args(), tests);
    // Nobody serves any more. An end that went while another process was creating leaves its directory to be removed here.
    #[cfg(unix)]
    assert!(conclusion.has_failed() || pipework::list().unwrap().is_empty(), "a server still runs");
    conclusion.exit_code()
}

/// A function as a test.
fn test<F: Fn() + Send + 'static>(run: F) -> Trial {
    Trial::test(name_of::<F>(), move || {
        run();
        Ok(())
    })
}

/// A test that is skipped, loudly, where there is a reason to.
fn skippable<F: Fn() + Send + 'static>(run: F, reason: fn() -> Option<String>) -> Trial {
    Trial::ignorable_test(name_of::<F>(), move || {
        if let Some(reason) = reason() {
            return Ok(Completion::ignored_with(reason));
        }
        run();
        Ok(Completion::Completed)
    })
}

/// Whether this is Wine, which brings a program that Windows does not have.
fn is_wine() -> bool {
    cfg!(windows) && Path::new(r"C:\windows\system32\winecfg.exe").exists()
}

fn name_of<F>() -> &'static str {
    let path = type_name::<F>();
    path.split_once("::").map_or(path, |(_, name)| name)
}

/// Runs itself again, in a directory for pipes that no other user can reach and where nothing may stay.
fn in_a_private_place() -> ExitCode {
    let dir = TempDir::with_prefix("pipework-examples-").unwrap();
    #[cfg(unix)]
    fs::set_permissions(&dir, std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
    let status = Command::new(env::current_exe().unwrap())
        .args(env::args_os().skip(1))
        .env("PIPEWORK_DIR", dir.path())
        .env(IS_PRIVATE, "yes")
        .status()
        .unwrap();
    // The lock of the directory itself stays.
    let left: Vec<OsString> = fs::read_dir(&dir).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(left.iter().all(|name| name == ".lock"), "the examples left {left:?} behind");
    if status.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
