//! The commands that a server of a test runs: this binary, run again, so that they are the same on every system.

use std::{
    ffi::OsString,
    io::{self, BufRead, Read, Write},
    process::{Command, ExitCode, Stdio},
    thread,
    time::Duration,
};

/// The first argument of a re-run.
const PLAY: &str = "--play";

/// The longest that a program stays that is to be ended by somebody else.
const LONG: Duration = Duration::from_secs(1000);

/// The command line of a program.
pub(crate) fn program(words: &[&str]) -> Vec<OsString> {
    let mut line = vec![std::env::current_exe().unwrap().into_os_string(), PLAY.into()];
    line.extend(words.iter().map(OsString::from));
    line
}

/// Is the program that the arguments name, if they do.
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
        // Says what it hears.
        ["echo"] => loop {
            let heard = stdin.fill_buf()?;
            if heard.is_empty() {
                break;
            }
            stdout.write_all(heard)?;
            stdout.flush()?;
            let len = heard.len();
            stdin.consume(len);
        },
        // Says something.
        ["say", text] => stdout.write_all(text.as_bytes())?,
        // Says so much of nothing.
        ["say-bytes", len] => drop(io::copy(&mut io::repeat(b'y').take(len.parse().unwrap()), &mut stdout)?),
        // Says lines for as long as it can.
        ["say-yes"] => loop {
            stdout.write_all(b"yes\n")?;
        },
        // Hears one line and answers.
        ["answer"] => {
            let mut line = String::new();
            stdin.read_line(&mut line)?;
            write!(stdout, "got {line}")?;
        }
        // Hears everything before it answers.
        ["upper"] => {
            let mut text = String::new();
            stdin.read_to_string(&mut text)?;
            stdout.write_all(text.to_uppercase().as_bytes())?;
        }
        // Tells on stderr that its input has ended.
        ["mourn"] => {
            stdout.write_all(b"here\n")?;
            stdout.flush()?;
            io::copy(&mut stdin, &mut io::sink())?;
            io::stderr().write_all(b"gone\n")?;
        }
        // Stays, whatever becomes of its input.
        ["stay"] => {
            stdout.write_all(b"here\n")?;
            stdout.flush()?;
            thread::park_timeout(LONG);
        }
        // Leaves a process behind that holds its stdout for a while.
        ["leave-holder", seconds] => {
            let line = program(&["hold", seconds]);
            let mut holder = Command::new(&line[0]);
            holder.args(&line[1..]).stdin(Stdio::null()).stderr(Stdio::null()).spawn()?;
            stdout.write_all(b"hi\n")?;
        }
        ["hold", seconds] => thread::park_timeout(Duration::from_secs(seconds.parse().unwrap())),
        #[cfg(windows)]
        ["interrupt", id] => crate::console::interrupt(id.parse().unwrap())?,
        other => panic!("there is no program {other:?}"),
    }
    stdout.flush()
}
