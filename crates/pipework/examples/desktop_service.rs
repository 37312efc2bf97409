//! A service that the desktop programs of all users talk to; what each may do there depends on who it is.
//!
//! ```text
//! cargo run --example desktop_service                        shows itself: a second process is the client
//! cargo run --example desktop_service -- serve NAME          serves all users until it is stopped
//! cargo run --example desktop_service -- ask NAME SETTING    prints what this user may do with the setting
//! ```

#![allow(clippy::print_stdout, reason = "an example shows what happens")]

use pipework::{Access, ClientOptions, Listener, NamedPipeBuilder, PipeMode, PipeName, PipeStream};
use std::io::{self, Write};
use std::{env, process::Command, thread, time::Duration};

fn main() -> io::Result<()> {
    let args: Vec<String> = env::args().skip(1).collect();
    match args.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        [] => demonstrate(),
        ["serve", name] => bind(name, Access::everyone())?.incoming().try_for_each(|client| {
            let answer =
                || client.and_then(answer).or_else(|error| writeln!(io::stdout(), "server: {error}"));
            thread::Builder::new().spawn(answer).map(drop) // so that a silent client holds up nobody
        }),
        ["ask", name, setting] => ask(name, setting),
        _ => Err(io::Error::new(io::ErrorKind::InvalidInput, "serve NAME, ask NAME SETTING, or nothing")),
    }
}

fn bind(name: &str, access: Access) -> io::Result<Listener> {
    NamedPipeBuilder::new(name).access(access).pipe_mode(PipeMode::Message).listen()
}

/// `Access` says who gets in, `peer` who it is, as the kernel knows it. Beyond 4096 bytes a request is an error.
fn answer(client: PipeStream) -> io::Result<()> {
    while let Some(setting) = client.read_message(4096)? {
        let peer = client.peer()?;
        let right = if peer.is_same_user() { "read and change" } else { "read" };
        let reply = format!("{} may {right} {}", peer.account()?, String::from_utf8_lossy(&setting));
        client.write_message(reply.as_bytes())?;
    }
    Ok(())
}

fn ask(name: &str, setting: &str) -> io::Result<()> {
    let pipe = ClientOptions::new().read_mode(PipeMode::Message).connect(name)?;
    println!("client: {}", String::from_utf8_lossy(&pipe.transact(setting.as_bytes(), 4096)?));
    Ok(())
}

fn demonstrate() -> io::Result<()> {
    let name = PipeName::unique("desktop-service")?.to_string();
    let listener = bind(&name, Access::everyone()).or_else(|error| {
        println!("server: not for all users: {error}\nserver: so for the owner only");
        bind(&name, Access::owner())
    })?;
    let mut client = Command::new(env::current_exe()?).arg("ask").arg(&name).arg("the theme").spawn()?;
    answer(listener.accept_timeout(Duration::from_secs(20))?)?;
    if client.wait()?.success() { Ok(()) } else { Err(io::Error::other("the client failed")) }
}
