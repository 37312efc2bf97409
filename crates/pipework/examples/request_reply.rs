//! Requests and replies: on a message pipe each write is one message, so nobody has to mark where a request ends.
//!
//! ```text
//! cargo run --example request_reply                           shows itself: a second process is the client
//! cargo run --example request_reply -- server NAME            serves one client after the other
//! cargo run --example request_reply -- client NAME TEXT…      asks, and prints the replies
//! ```

#![allow(clippy::print_stdout, reason = "an example shows what happens")]

use pipework::{ClientOptions, Listener, NamedPipeBuilder, PipeMode, PipeName, PipeStream};
use std::io::{self, Write};
use std::{env, process::Command, time::Duration};

const LEN_MAX: usize = 64 * 1024; // so that the other side can't make us hold more

fn main() -> io::Result<()> {
    let args: Vec<String> = env::args().skip(1).collect();
    match args.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        [] => demonstrate(),
        ["server", name] => bind(&PipeName::new(name)?)?.incoming().try_for_each(|client| {
            serve(&client?).or_else(|error| writeln!(io::stdout(), "server: {error}")) // and go on
        }),
        ["client", name, requests @ ..] => ask(name, requests),
        _ => Err(io::Error::new(io::ErrorKind::InvalidInput, "server NAME, client NAME TEXT…, or nothing")),
    }
}

fn bind(name: &PipeName) -> io::Result<Listener> {
    NamedPipeBuilder::new(name).pipe_mode(PipeMode::Message).listen()
}

/// Answers how many words a request has, until the client has gone. An empty request is a request, too.
fn serve(client: &PipeStream) -> io::Result<()> {
    while let Some(request) = client.read_message(LEN_MAX)? {
        let words = String::from_utf8_lossy(&request).split_whitespace().count();
        client.write_message(format!("{words} words").as_bytes())?;
    }
    Ok(())
}

fn ask(name: &str, requests: &[&str]) -> io::Result<()> {
    let pipe = ClientOptions::new().read_mode(PipeMode::Message).connect(name)?;
    pipe.set_read_timeout(Some(Duration::from_secs(20)))?;
    for request in requests {
        let reply = pipe.transact(request.as_bytes(), LEN_MAX)?;
        println!("{request:?}: {}", String::from_utf8_lossy(&reply));
    }
    Ok(())
}

fn demonstrate() -> io::Result<()> {
    let name = PipeName::unique("words")?;
    let listener = bind(&name)?;
    let mut command = Command::new(env::current_exe()?);
    let mut client = command.arg("client").arg(&name).args(["one two three", "", "the end"]).spawn()?;
    serve(&listener.accept_timeout(Duration::from_secs(20))?)?;
    if client.wait()?.success() { Ok(()) } else { Err(io::Error::other("the client failed")) }
}
