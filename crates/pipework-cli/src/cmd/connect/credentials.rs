//! Who to be on another computer: options, a password file, or a question on the terminal.

use std::{
    fs::File,
    io::{self, BufRead, BufReader},
    path::Path,
};
#[cfg(unix)]
use std::{
    sync::mpsc::{self, RecvTimeoutError},
    thread,
    time::Duration,
};

use pipework::{Canceller, ClientOptions, Credentials, PipeName, PipeNameKind};
#[cfg(unix)]
use rustix::termios::{OptionalActions, Termios, tcgetattr, tcsetattr};
use zeroize::Zeroizing;

use crate::{
    args::RemoteArgs,
    failure::{Failure, Status},
    output::say,
};

/// No password is longer; a file that is something else is noticed.
const PASSWORD_LEN_MAX: usize = 1024;
/// How often to look for Ctrl-C while the terminal is asked.
#[cfg(unix)]
const LOOK: Duration = Duration::from_millis(50);

/// Tells the options who to be, and asks for what is missing.
pub(super) fn apply(
    args: &RemoteArgs,
    name: &PipeName,
    interrupted: &Canceller,
    options: &mut ClientOptions,
) -> Result<(), Failure> {
    let PipeNameKind::Remote { server, .. } = name.kind() else {
        if args.user.is_some() || args.port.is_some() {
            let text = format!("{name} is on this computer, so there is no account or port to choose");
            return Err(Failure::new(Status::Usage, text)
                .hint(r"a pipe on another computer is '\\server\pipe\NAME', in quotes"));
        }
        return Ok(());
    };
    if let Some(port) = args.port {
        options.remote_port(port);
    }
    let Some(user) = &args.user else { return Ok(()) };
    let password = match &args.password_file {
        Some(file) => from_file(file)?,
        None => ask(format!("Password of {user} on {server}: "), interrupted)?,
    };
    options.credentials(Credentials::password(user, password.as_str()));
    if args.allow_unencrypted {
        options.require_encryption(false);
    }
    Ok(())
}

fn from_file(path: &Path) -> Result<Zeroizing<String>, Failure> {
    let failed = |error: io::Error| {
        Failure::failed(format!("can't read the password from {}: {error}", path.display()))
    };
    let file = File::open(path).map_err(failed)?;
    if others_may_read(&file) {
        say(format_args!("others can read {}, too: chmod 600 mends that", path.display()));
    }
    let mut line = Zeroizing::new(String::with_capacity(PASSWORD_LEN_MAX + 2));
    let limit = u64::try_from(PASSWORD_LEN_MAX + 2).unwrap_or(u64::MAX);
    BufReader::new(io::Read::take(file, limit)).read_line(&mut line).map_err(failed)?;
    let len = line.trim_end_matches(['\r', '\n']).len();
    line.truncate(len);
    if len == 0 || len > PASSWORD_LEN_MAX {
        let text = format!("the first line of {} is no password", path.display());
        return Err(Failure::failed(text));
    }
    Ok(line)
}

#[cfg(unix)]
fn others_may_read(file: &File) -> bool {
    use std::os::unix::fs::MetadataExt;
    file.metadata().is_ok_and(|metadata| metadata.is_file() && metadata.mode() & 0o077 != 0)
}

#[cfg(not(unix))]
fn others_may_read(_file: &File) -> bool {
    false
}

/// Asks on the terminal, without an echo, in a thread of its own: Ctrl-C must not wait for an answer.
#[cfg(unix)]
fn ask(question: String, interrupted: &Canceller) -> Result<Zeroizing<String>, Failure> {
    let terminal = Terminal::now();
    let (tell, answer) = mpsc::channel();
    thread::spawn(move || tell.send(rpassword::prompt_password(question).map(Zeroizing::new)));
    loop {
        match answer.recv_timeout(LOOK) {
            Ok(Ok(password)) => return Ok(password),
            Err(RecvTimeoutError::Timeout) if !interrupted.is_cancelled() => {}
            Err(RecvTimeoutError::Timeout) => {
                terminal.restore();
                return Err(Failure::interrupted("not connected yet"));
            }
            Ok(Err(error)) => {
                let text = format!("can't ask for the password: {error}");
                return Err(Failure::failed(text).hint("without a terminal, use --password-file"));
            }
            Err(RecvTimeoutError::Disconnected) => return Err(Failure::failed("can't ask for the password")),
        }
    }
}

/// The system signs in by itself, and takes no password from us.
#[cfg(not(unix))]
fn ask(_question: String, _interrupted: &Canceller) -> Result<Zeroizing<String>, Failure> {
    Err(Failure::new(Status::Usage, "on this system accounts on other computers are the system's business")
        .hint(r"sign in with `net use \\server\IPC$ /user:USER`, then connect without --user"))
}

/// How the terminal was before it was asked.
#[cfg(unix)]
struct Terminal(Option<(File, Termios)>);

#[cfg(unix)]
impl Terminal {
    fn now() -> Terminal {
        let terminal = File::options().read(true).write(true).open("/dev/tty").ok();
        Terminal(terminal.and_then(|terminal| {
            let settings = tcgetattr(&terminal).ok()?;
            Some((terminal, settings))
        }))
    }

    fn restore(&self) {
        if let Some((terminal, settings)) = &self.0 {
            // It fails only where there is no terminal any more.
            tcsetattr(terminal, OptionalActions::Now, settings).ok();
        }
    }
}
