//! Event loops without support for pipes, through the readiness descriptors.

use crate::process::{Process, example, run, unique};

#[cfg(unix)]
pub(crate) fn smol_talks_to_smol() {
    talk("smol_echo", &["serve"]);
}

#[cfg(unix)]
pub(crate) fn smol_talks_to_mio() {
    talk("mio_echo", &[]);
}

/// Several clients at the same time send more than the buffers of both directions hold.
#[cfg(unix)]
fn talk(server: &str, args: &[&str]) {
    let name = unique();
    let server = Process::serve(example(server, args).arg(&name));
    let text = "there and back\n".repeat(200_000);
    let clients = || example("smol_echo", &["talk", &name]);
    for outcome in crate::process::run_concurrently(3, clients, text.as_bytes()) {
        assert!(outcome.success() == text, "another text came back");
    }
    assert_eq!(server.finish().success(), "");
}

#[cfg(unix)]
pub(crate) fn mio_serves_many_clients_in_turn() {
    use std::io::{Read, Write};

    let name = unique();
    let server = Process::serve(&mut example("mio_echo", &[&name]));
    let mut clients: Vec<_> = (0..100).map(|_| crate::process::connect(&name)).collect();
    for round in 0..3_u8 {
        for (number, client) in (0..).zip(&mut clients) {
            client.write_all(&[round, number]).unwrap();
        }
        for (number, client) in (0_u8..).zip(&mut clients) {
            let mut answer = [0; 2];
            client.read_exact(&mut answer).unwrap();
            assert_eq!(answer, [round, number]);
        }
        // Some disconnect, and the others continue.
        clients.truncate(clients.len() / 2);
    }
    assert_eq!(run(&mut example("smol_echo", &["talk", &name]), b"text").success(), "text");
    server.finish().success();
}

/// A client fills both directions before it reads, so the server's writes are partial, and then fail with `WouldBlock`.
#[cfg(unix)]
pub(crate) fn what_does_not_fit_is_sent_later() {
    use std::io::{Read, Write};

    for (program, args) in [("mio_echo", &[] as &[&str]), ("smol_echo", &["serve"])] {
        let name = unique();
        let server = Process::serve(example(program, args).arg(&name));
        let mut client = crate::process::connect(&name);
        let quotas = client.info().unwrap();
        let len = usize::try_from(quotas.in_buffer_size + quotas.out_buffer_size).unwrap();
        let text: Vec<u8> = (0..=250).cycle().take(len).collect();

        // The echo of an odd number of bytes comes first, so that the rest is no multiple of a buffer.
        let (first, rest) = text.split_at(1001);
        client.write_all(first).unwrap();
        let mut answer = vec![0; 1];
        client.read_exact(&mut answer).unwrap();
        // The second write returns when the server has read more than fits into the other direction.
        client.write_all(rest).unwrap();
        client.write_all(&[255; 2]).unwrap();
        answer.resize(len, 0);
        client.read_exact(&mut answer[1..]).unwrap();
        assert!(answer == text, "{program}: other bytes came back");
        let mut end = [0; 2];
        client.read_exact(&mut end).unwrap();
        assert!(end == [255; 2], "{program}: another end came back");
        drop(client);
        server.finish().success();
    }
}

#[cfg(not(unix))]
pub(crate) fn unix_examples_report_that_on_other_systems() {
    let name = unique();
    for (program, args) in [("mio_echo", vec![name.as_str()]), ("smol_echo", vec!["talk", &name])] {
        let complaint = run(&mut example(program, &args), b"").failure();
        assert!(complaint.contains("only Unix"), "{complaint}");
    }
    let _: fn(&mut std::process::Command) -> Process = Process::serve;
}
