//! Echo: a server that sends back what its clients say, and a client.
//!
//! ```text
//! cargo run --example echo                        shows itself: this process serves, a second one is the client
//! cargo run --example echo -- server NAME         serves until it is stopped
//! cargo run --example echo -- client NAME TEXT    says TEXT, and prints what comes back
//! ```

#![allow(clippy::print_stdout, reason = "an example shows what happens")]

use pipework::{Canceller, Listener, PipeName};
use std::io::{self, Read, Write};
use std::{env, process::Command, thread};

fn main() -> io::Result<()> {
    let args: Vec<String> = env::args().skip(1).collect();
    match args.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        [] => demonstrate(),
        ["server", name] => serve(&Listener::bind(name)?),
        ["client", name, text] => say(name, text),
        _ => Err(io::Error::new(io::ErrorKind::InvalidInput, "server NAME, client NAME TEXT, or nothing")),
    }
}

fn serve(listener: &Listener) -> io::Result<()> {
    // Each client has an instance, and here also a thread, of its own: a slow one keeps nobody waiting.
    thread::scope(|threads| {
        for client in listener {
            let client = client?;
            threads.spawn(move || {
                println!("server: a client, process {:?}", client.peer()?.process_id());
                io::copy(&mut &client, &mut &client)
            });
        }
        Ok(())
    })
}

fn say(name: &str, text: &str) -> io::Result<()> {
    let mut pipe = pipework::connect(name)?;
    pipe.write_all(text.as_bytes())?;
    let mut reply = vec![0; text.len()];
    pipe.read_exact(&mut reply)?;
    println!("client: {}", String::from_utf8_lossy(&reply));
    Ok(())
}

fn demonstrate() -> io::Result<()> {
    let name = PipeName::unique("echo")?;
    let listener = Listener::bind(&name)?;
    let canceller = Canceller::new()?;
    listener.set_canceller(Some(&canceller));
    let server = thread::spawn(move || serve(&listener));
    let status = Command::new(env::current_exe()?).arg("client").arg(&name).arg("hello, pipe").status();
    canceller.cancel(); // ends the accept loop; dropping the listener frees the name
    server.join().map_err(|_| io::Error::other("the server panicked"))??;
    if status?.success() { Ok(()) } else { Err(io::Error::other("the client failed")) }
}
