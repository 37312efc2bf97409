//! The commands that the servers of the tests run: this binary itself, so that they are the same on every system.

use std::{
    ffi::OsString,
    io::{self, BufRead, Read, Write},
    net::{Ipv4Addr, UdpSocket},
    process::{Command, ExitCode, Stdio},
    thread,
    time::Duration,
};

/// The first argument that makes this binary such a command.
const PLAY: &str = "--play";

/// How long a command waits to be killed.
const LONG: Duration = Duration::from_secs(1000);

/// The command line of such a command.
pub(crate) fn program(words: &[&str]) -> Vec<OsString> {
    let mut line = vec![std::env::current_exe().unwrap().into_os_string(), PLAY.into()];
    line.extend(words.iter().map(OsString::from));
    line
}

/// Runs the command that the arguments name, if they name one.
pub(crate) fn play() -> Option<ExitCode> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let (first, words) = words.split_first()?;
    (first == PLAY).then(|| match run(words) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    })
}

fn run(words: &[String]) -> io::Result<()> {
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let (mut stdin, mut stdout) = (io::stdin().lock(), io::stdout());
    match words.as_slice() {
        // Writes what it reads.
        ["echo"] => echo(stdin, &mut stdout)?,
        // Reads everything, and exits with this code.
        ["fail", code] => {
            io::copy(&mut stdin, &mut io::sink())?;
            std::process::exit(code.parse().unwrap());
        }
        // Writes the variables that name the client.
        ["show-peer"] => {
            for (variable, value) in std::env::vars().filter(|(name, _)| name.starts_with("PIPEWORK_")) {
                writeln!(stdout, "{variable}={value}")?;
            }
        }
        // Writes a text.
        ["say", text] => stdout.write_all(text.as_bytes())?,
        // Writes this many bytes.
        ["say-bytes", len] => drop(io::copy(&mut io::repeat(b'y').take(len.parse().unwrap()), &mut stdout)?),
        // Writes lines until a write fails.
        ["say-yes"] => loop {
            stdout.write_all(b"yes\n")?;
        },
        // Reads one line and responds.
        ["answer"] => {
            let mut line = String::new();
            stdin.read_line(&mut line)?;
            write!(stdout, "got {line}")?;
        }
        // Reads everything, and does not respond.
        ["ignore"] => drop(io::copy(&mut stdin, &mut io::sink())?),
        // Writes the first line that it reads, and ignores the others.
        ["echo-once"] => {
            let mut line = String::new();
            stdin.read_line(&mut line)?;
            stdout.write_all(line.as_bytes())?;
            stdout.flush()?;
            io::copy(&mut stdin, &mut io::sink())?;
        }
        // Reads everything, then responds.
        ["upper"] => {
            let mut text = String::new();
            stdin.read_to_string(&mut text)?;
            stdout.write_all(text.to_uppercase().as_bytes())?;
        }
        // Reports the end of its input on stderr.
        ["mourn"] => mourn(stdin, &mut stdout)?,
        // Ignores its input, and waits to be killed.
        ["stay"] => {
            stdout.write_all(b"here\n")?;
            stdout.flush()?;
            thread::park_timeout(LONG);
        }
        // Exits, and leaves a process that keeps its stdout open for a while.
        ["leave-holder", seconds] => {
            let line = program(&["hold", seconds]);
            let mut holder = Command::new(&line[0]);
            holder.args(&line[1..]).stdin(Stdio::null()).stderr(Stdio::null()).spawn()?;
            stdout.write_all(b"hi\n")?;
        }
        // Writes the number of a port, which stays taken until this process has ended.
        ["hold-port"] => {
            let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
            writeln!(stdout, "{}", socket.local_addr()?.port())?;
            stdout.flush()?;
            thread::park_timeout(LONG);
        }
        // Leaves it to a process that it starts, and exits or waits to be killed.
        ["let-hold-port", then] => {
            let line = program(&["hold-port"]);
            Command::new(&line[0]).args(&line[1..]).spawn()?;
            if *then == "stay" {
                thread::park_timeout(LONG);
            }
        }
        ["hold", seconds] => thread::park_timeout(Duration::from_secs(seconds.parse().unwrap())),
        #[cfg(windows)]
        ["interrupt", id] => crate::console::interrupt(id.parse().unwrap())?,
        other => panic!("there is no program {other:?}"),
    }
    stdout.flush()
}

fn echo(mut stdin: impl BufRead, stdout: &mut impl Write) -> io::Result<()> {
    loop {
        let heard = stdin.fill_buf()?;
        if heard.is_empty() {
            return Ok(());
        }
        stdout.write_all(heard)?;
        stdout.flush()?;
        let len = heard.len();
        stdin.consume(len);
    }
}

fn mourn(mut stdin: impl Read, stdout: &mut impl Write) -> io::Result<()> {
    stdout.write_all(b"here\n")?;
    stdout.flush()?;
    io::copy(&mut stdin, &mut io::sink())?;
    io::stderr().write_all(b"gone\n")
}
