//! A group's daemon: one account serves, the members of a group may connect, and the server checks who asks.
//!
//! ```text
//! cargo run --example group_daemon                        shows itself with the group `users`; or name another
//! cargo run --example group_daemon -- serve GROUP NAME    serves until it is stopped
//! cargo run --example group_daemon -- ask NAME            prints the answer
//! ```
//!
//! On Unix a pipe for other accounts lives in `/run/pipework`, where only root can make names, so that nobody can pose
//! as a daemon that is not running. Root gives the name to the daemon's account once; where that has not been done the
//! error says with which command. A client accepts only that account, root or its own (`ServerCheck`).

#![allow(clippy::print_stdout, reason = "an example shows what happens")]

use pipework::{Access, Listener, NamedPipeBuilder, PipeName, PipeStream};
use std::io::{self, Read, Write};
use std::{env, process::Command, time::Duration};

fn main() -> io::Result<()> {
    let args: Vec<String> = env::args().skip(1).collect();
    match args.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        [] => demonstrate("users"),
        ["serve", group, name] => bind(name, group)?.incoming().try_for_each(|client| {
            answer(client?, group).or_else(|error| writeln!(io::stdout(), "server: {error}")) // and go on
        }),
        ["ask", name] => ask(name),
        [group] => demonstrate(group),
        _ => Err(io::Error::new(io::ErrorKind::InvalidInput, "serve GROUP NAME, ask NAME, or [GROUP]")),
    }
}

fn bind(name: &str, group: &str) -> io::Result<Listener> {
    NamedPipeBuilder::new(name).access(Access::owner().group(group)).listen()
}

/// The system lets the owner, the group and root in; `peer` says who it is, as the kernel knows it.
fn answer(mut client: PipeStream, group: &str) -> io::Result<()> {
    let peer = client.peer()?;
    let is_welcome = peer.is_same_user() || peer.is_member_of(group)?;
    write!(client, "{}, {}", if is_welcome { "welcome" } else { "only members" }, peer.account()?)
}

fn ask(name: &str) -> io::Result<()> {
    let mut reply = String::new();
    pipework::connect(name)?.read_to_string(&mut reply)?;
    println!("client: {reply}");
    Ok(())
}

fn demonstrate(group: &str) -> io::Result<()> {
    let name = PipeName::unique("group-daemon")?.to_string();
    let listener = bind(&name, group).or_else(|error| {
        println!("server: not for the group {group}: {error}\nserver: so for the owner only");
        Listener::bind(&name)
    })?;
    let mut client = Command::new(env::current_exe()?).arg("ask").arg(&name).spawn()?;
    answer(listener.accept_timeout(Duration::from_secs(20))?, group)?;
    if client.wait()?.success() { Ok(()) } else { Err(io::Error::other("the client failed")) }
}
