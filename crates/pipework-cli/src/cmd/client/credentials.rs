//! The account for a remote pipe: from options and a password file, or a prompt on the terminal.

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

/// Longer than any password, so that a wrong file is detected.
const PASSWORD_LEN_MAX: usize = 1024;

/// Adds account and port to the options, and asks for a missing password.
pub(super) fn apply(args: &RemoteArgs, name: &PipeName, options: &mut ClientOptions) -> Result<(), Failure> {
    let PipeNameKind::Remote { server, .. } = name.kind() else {
        if args.user.is_some() || args.port.is_some() {
            let text = format!("{name} is a local pipe, so --user and --port do not apply");
            return Err(
                Failure::new(Status::Usage, text).hint(r"a remote pipe is '\\server\pipe\NAME', in quotes")
            );
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
    if is_readable_by_others(&file) {
        say(format_args!("other users can read {}: restrict it with chmod 600", path.display()));
    }
    let mut line = Zeroizing::new(String::with_capacity(PASSWORD_LEN_MAX + 2));
    let limit = u64::try_from(PASSWORD_LEN_MAX + 2).unwrap_or(u64::MAX);
    BufReader::new(io::Read::take(file, limit)).read_line(&mut line).map_err(failed)?;
    let len = line.trim_end_matches(['\r', '\n']).len();
    line.truncate(len);
    if len == 0 || len > PASSWORD_LEN_MAX {
        let text = format!("the first line of {} is not a password", path.display());
        return Err(Failure::failed(text));
    }
    Ok(line)
}

#[cfg(unix)]
fn is_readable_by_others(file: &File) -> bool {
    use std::os::unix::fs::MetadataExt;
    file.metadata().is_ok_and(|metadata| metadata.is_file() && metadata.mode() & 0o077 != 0)
}

#[cfg(not(unix))]
fn is_readable_by_others(_file: &File) -> bool {
    false
}

/// Asks on the terminal, without echo.
#[cfg(unix)]
fn ask(question: &str) -> Result<Zeroizing<String>, Failure> {
    match rpassword::prompt_password(question) {
        Ok(password) => Ok(Zeroizing::new(password)),
        // During the prompt Ctrl-C is input, not a signal.
        Err(error) if error.kind() == io::ErrorKind::Interrupted => {
            Err(Failure::interrupted("not connected yet"))
        }
        Err(error) => {
            let text = format!("can't ask for the password: {error}");
            Err(Failure::failed(text).hint("without a terminal, use --password-file"))
        }
    }
}

/// Windows authenticates with its own credentials, and takes no password from a program.
#[cfg(not(unix))]
fn ask(_question: &str) -> Result<Zeroizing<String>, Failure> {
    Err(Failure::new(
        Status::Usage,
        "on this system --user does not apply: the system manages the accounts for remote pipes",
    )
    .hint(r"sign in with `net use \\server\IPC$ /user:USER`, then connect without --user"))
}
