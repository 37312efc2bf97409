//! Who to be on another computer: options, a password file, or a question on the terminal.

use std::{
    fs::File,
    io::{self, BufRead, BufReader},
    path::Path,
};

use pipework::{ClientOptions, Credentials, PipeName, PipeNameKind};
use zeroize::Zeroizing;

use crate::{
    args::RemoteArgs,
    failure::{Failure, Status},
    output::say,
};

/// No password is longer; a file that is something else is noticed.
const PASSWORD_LEN_MAX: usize = 1024;

/// Tells the options who to be, and asks for what is missing.
pub(super) fn apply(args: &RemoteArgs, name: &PipeName, options: &mut ClientOptions) -> Result<(), Failure> {
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
        None => ask(&format!("Password of {user} on {server}: "))?,
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

/// Asks on the terminal, without an echo.
#[cfg(unix)]
fn ask(question: &str) -> Result<Zeroizing<String>, Failure> {
    match rpassword::prompt_password(question) {
        Ok(password) => Ok(Zeroizing::new(password)),
        // Ctrl-C is a key like any other while the terminal is asked.
        Err(error) if error.kind() == io::ErrorKind::Interrupted => {
            Err(Failure::interrupted("not connected yet"))
        }
        Err(error) => {
            let text = format!("can't ask for the password: {error}");
            Err(Failure::failed(text).hint("without a terminal, use --password-file"))
        }
    }
}

/// The system signs in by itself, and takes no password from us.
#[cfg(not(unix))]
fn ask(_question: &str) -> Result<Zeroizing<String>, Failure> {
    Err(Failure::new(Status::Usage, "on this system accounts on other computers are the system's business")
        .hint(r"sign in with `net use \\server\IPC$ /user:USER`, then connect without --user"))
}
