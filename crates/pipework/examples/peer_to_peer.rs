//! Peer to peer: each process is the server of a name of its own and a client of the other's.
//!
//! ```text
//! cargo run --example peer_to_peer                  shows itself: two processes greet each other
//! cargo run --example peer_to_peer -- OWN           waits at OWN for a greeting, and answers it
//! cargo run --example peer_to_peer -- OWN OTHER     greets OTHER, and waits at OWN for the answer
//! ```

#![allow(clippy::print_stdout, reason = "an example shows what happens")]

use pipework::{ClientOptions, Listener, PipeName};
use std::io::{self, Read, Write};
use std::{env, process, time::Duration};

const TIMEOUT: Duration = Duration::from_secs(20);

fn main() -> io::Result<()> {
    let mut args = env::args().skip(1);
    match (args.next(), args.next()) {
        (None, _) => demonstrate(),
        (Some(own), None) => answer(&Listener::bind(own)?),
        (Some(own), Some(other)) => greet(&Listener::bind(own)?, &other),
    }
}

/// Sends a text, and the name at which it may be answered, as soon as the other process serves its name.
fn send(from: &Listener, to: &str, text: &str) -> io::Result<()> {
    let mut pipe = ClientOptions::new().wait_absent(true).timeout(TIMEOUT).connect(to)?;
    write!(pipe, "{}\n{text} from process {}", from.name(), process::id())
}

/// Takes what one peer sends, and gives the name at which to answer.
fn receive(at: &Listener) -> io::Result<String> {
    let mut message = String::new();
    at.accept_timeout(TIMEOUT)?.read_to_string(&mut message)?;
    let (name, text) = message.split_once('\n').unwrap_or_default();
    println!("process {} received: {text}", process::id());
    Ok(name.to_owned())
}

fn greet(own: &Listener, other: &str) -> io::Result<()> {
    send(own, other, "greetings")?;
    receive(own).map(drop)
}

fn answer(own: &Listener) -> io::Result<()> {
    let name = receive(own)?;
    send(own, &name, "thanks")
}

fn demonstrate() -> io::Result<()> {
    let (mine, other) = (PipeName::unique("peer")?, PipeName::unique("peer")?);
    let own = Listener::bind(&mine)?;
    let mut child = process::Command::new(env::current_exe()?).arg(&other).arg(&mine).spawn()?;
    answer(&own)?;
    if child.wait()?.success() { Ok(()) } else { Err(io::Error::other("the other process failed")) }
}
