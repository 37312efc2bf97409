//! Socket activation: systemd listens, starts the service at the first client, and passes it the listening socket.
//!
//! ```text
//! cargo run --example socket_activation             shows itself: nobody passes a socket, so it makes a name
//! cargo run --example socket_activation -- serve    the service: serves one client at the socket that it was passed
//! ```
//!
//! On a system with systemd this command listens at a path and starts the service when a client connects:
//!
//! ```text
//! systemd-socket-activate --listen=/tmp/service.sock target/debug/examples/socket_activation serve
//! ```

#![allow(clippy::print_stdout, reason = "an example shows what happens")]

use pipework::{Listener, PipeName};
use std::io::{self, Read, Write};
use std::{env, thread};

fn main() -> io::Result<()> {
    match env::args().nth(1).as_deref() {
        None => demonstrate(),
        Some("serve") => {
            let [listener] = <[Listener; 1]>::try_from(Listener::from_env()?)
                .map_err(|_| io::Error::other("no socket was passed, or several were"))?;
            println!("server: was passed {}", listener.name());
            serve_one(&listener)
        }
        Some(_) => Err(io::Error::new(io::ErrorKind::InvalidInput, "serve, or nothing")),
    }
}

fn serve_one(listener: &Listener) -> io::Result<()> {
    listener.accept()?.write_all(b"hello from the service")
}

/// A service that also runs without an activator makes its own name.
fn demonstrate() -> io::Result<()> {
    let listener = match Listener::from_env()?.pop() {
        Some(passed) => passed,
        None => Listener::bind(PipeName::unique("service")?)?,
    };
    println!("server: made its own name");
    let name = listener.name().clone();
    let server = thread::spawn(move || serve_one(&listener));
    let mut text = String::new();
    pipework::connect(&name)?.read_to_string(&mut text)?;
    println!("client: {text}");
    server.join().map_err(|_| io::Error::other("the server panicked"))?
}
