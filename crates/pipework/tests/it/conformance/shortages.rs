//! A system that runs short: what fails says so, and nothing is lost, sent twice or waited for in vain.

use std::{
    io,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Duration,
};

use pipework::{ClientOptions, NamedPipe, NamedPipeBuilder, PipeMode, PipeStream};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::{Case, long, plain};
use crate::harness::unique;

pub(super) fn cases() -> Vec<Case> {
    vec![long(plain("shortage", shortage_of_descriptors_loses_nothing_that_was_sent))]
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
            Err(error) if error.to_string().contains("os error 24") => thread::yield_now(),
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
                    let is_broken = outcome.as_ref().is_err_and(pipework::is_gone);
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
