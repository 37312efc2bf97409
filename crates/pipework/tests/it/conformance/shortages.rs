//! A system that runs short: what fails says so, nothing is lost or sent twice, and every wait ends.

use std::{
    io,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Duration,
};

use pipework::{ClientOptions, NamedPipe, NamedPipeBuilder, PipeErrorKind, PipeMode, PipeStream, is_gone};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::{Case, every, expect, expect_same, long, pair, plain};
use crate::{
    harness::unique,
    surface::{End, OpenSpec, Outcome, Spec, Surface},
};

pub(super) fn cases() -> Vec<Case> {
    vec![
        long(plain("shortage", shortage_of_descriptors_loses_nothing_that_was_sent)),
        every("shortage", shortage_of_descriptors_hides_no_disconnect),
        every("shortage", shortage_of_file_size_is_an_error_and_no_signal),
    ]
}

/// For what must come, however slow the machine is.
const PATIENCE: Duration = Duration::from_secs(20);

/// A server and its client, which read and write messages.
fn message_pair(quota: u32) -> io::Result<(NamedPipe, PipeStream)> {
    let name = unique();
    let mut builder = NamedPipeBuilder::new(&name);
    builder.pipe_mode(PipeMode::Message).in_buffer_size(quota).out_buffer_size(quota);
    let server = builder.create()?;
    let client = ClientOptions::new().read_mode(PipeMode::Message).open(&name)?;
    server.connect()?;
    Ok((server, client))
}

/// Calls again what fails for want of a descriptor, as its error says.
fn repeat<T>(mut call: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    loop {
        match call() {
            Err(error) if !is_gone(&error) && error.to_string().contains("os error 24") => {
                thread::yield_now()
            }
            outcome => return outcome,
        }
    }
}

/// Takes the numbers for descriptors away for a moment, again and again, as threads do that open and close files.
fn take_numbers_away(until: &AtomicBool) {
    let limit = getrlimit(Resource::Nofile);
    // Fewer are another error to `poll`, and to duplicating a descriptor. Number 3 is taken too.
    let few = Rlimit { current: Some(4), maximum: limit.maximum };
    let _taken = std::fs::File::open("/dev/null").unwrap();
    while !until.load(Ordering::Relaxed) {
        setrlimit(Resource::Nofile, few).unwrap();
        setrlimit(Resource::Nofile, limit).unwrap();
        for _ in 0..2000 {
            std::hint::spin_loop();
        }
    }
}

/// Neither the hello nor a large message, at whatever call of the reader the last number is gone. Where a look at a socket
/// does not show its descriptors, that ends the connection, for both ends and at once.
fn shortage_of_descriptors_loses_nothing_that_was_sent() {
    const CONNECTIONS: usize = 60;
    const MESSAGES: u8 = 10;
    let may_break = cfg!(any(pipework_portable, not(target_os = "linux")));
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| take_numbers_away(&is_over));
        let work = || {
            for _ in 0..CONNECTIONS {
                let (server, client) = repeat(|| message_pair(4096)).unwrap();
                server.stream().set_read_timeout(Some(PATIENCE)).unwrap();
                client.set_write_timeout(Some(PATIENCE)).unwrap();
                let written = scope.spawn(move || {
                    (0..MESSAGES)
                        .try_for_each(|number| repeat(|| client.write_message(&vec![number; 20_000])))
                        .map(|()| client)
                });
                let read = (0..MESSAGES).try_for_each(|number| {
                    let message = repeat(|| server.stream().read_message(1 << 20))?;
                    let is_it = message.as_deref() == Some(&vec![number; 20_000]);
                    if is_it {
                        Ok(())
                    } else {
                        Err(io::Error::other(format!("another message than {number}")))
                    }
                });
                drop(server);
                let written = written.join().unwrap().map(drop);
                for outcome in [written, read] {
                    let is_broken = outcome.as_ref().is_err_and(is_gone);
                    assert!(outcome.is_ok() || (may_break && is_broken), "{outcome:?}");
                }
            }
        };
        // Whatever comes of it, the other thread ends.
        let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(work));
        is_over.store(true, Ordering::Relaxed);
        if let Err(panic) = outcome {
            std::panic::resume_unwind(panic);
        }
    });
    // What could not be removed for want of a descriptor goes with the next listing.
    assert_eq!(pipework::list().unwrap().len(), 0);
}

/// F2: a server that can't take the hello, and so has no memory in common with its client, disconnects it all the same.
fn shortage_of_descriptors_hides_no_disconnect(here: &dyn Surface) {
    let calls: [fn(&dyn End) -> Outcome<()>; 5] = [
        |client| client.write(b"x").map(drop),
        |client| client.read(&mut [0; 9]).map(drop),
        |client| client.read_message(9).map(drop),
        |client| client.peek(9).map(drop),
        |client| client.drain(),
    ];
    let limit = getrlimit(Resource::Nofile);
    let _taken = std::fs::File::open("/dev/null").unwrap();
    for call in calls {
        let (server, client) = pair(here, &Spec::new(&unique()).messages());
        setrlimit(Resource::Nofile, Rlimit { current: Some(4), maximum: limit.maximum }).unwrap();
        server.disconnect().unwrap();
        setrlimit(Resource::Nofile, limit).unwrap();
        expect(call(&*client), PipeErrorKind::NotConnected);
    }
}

/// The limit of `ulimit -f` counts for shared memory too, and going over it ends a process by a signal. The error names it,
/// whether the memory is that of a connection, of a large message of either end, or the file of a new name.
fn shortage_of_file_size_is_an_error_and_no_signal(here: &dyn Surface) {
    let before = getrlimit(Resource::Fsize);
    let set = |bytes| setrlimit(Resource::Fsize, Rlimit { current: bytes, maximum: before.maximum }).unwrap();
    let expect_refused = |result: Outcome<()>, bytes: u64| {
        let fault = result.expect_err("more than the limit");
        assert_eq!(fault.io_kind, "FileTooLarge", "{fault}");
        assert!(fault.text.contains("RLIMIT_FSIZE") && fault.text.contains(&bytes.to_string()), "{fault}");
    };
    let spec = Spec::new(&unique()).messages();
    let open = OpenSpec { mode: PipeMode::Message, ..OpenSpec::new(&spec.name) };
    set(Some(0));
    expect_refused(here.create(&spec).map(drop), 0);
    set(before.current);
    let server = here.create(&spec).unwrap();
    set(Some(4096));
    expect_refused(here.open(&open).map(drop), 4096);
    set(before.current);
    let client = here.open(&open).unwrap();
    server.connect().unwrap();
    for (writer, reader) in [(server.end(), &*client), (&*client, server.end())] {
        set(Some(100_000));
        expect_refused(writer.write_message(&[7; 200_000]), 100_000);
        // Nothing of it was sent, and what needs no file goes on.
        writer.write_message(b"small").unwrap();
        assert_eq!(reader.read_message(9).unwrap().as_deref(), Some(&b"small"[..]));
        set(before.current);
        thread::scope(|scope| {
            let written = scope.spawn(|| writer.write_message(&[7; 200_000]));
            expect_same(&reader.read_message(1 << 20).unwrap().unwrap(), &[7; 200_000]);
            written.join().unwrap().unwrap();
        });
    }
}
