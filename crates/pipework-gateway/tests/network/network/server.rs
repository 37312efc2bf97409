//! The servers: this program again, one process for each pipe.
//!
//! A server says `serving` on its standard output, then a line for each client and for what came of it. It ends when its standard
//! input does.

use std::{
    io::{self, BufRead, BufReader, Read, Write},
    os::unix::process::CommandExt,
    path::Path,
    process::{Child, ChildStdin, Command, ExitCode, Stdio},
    sync::mpsc::{Receiver, channel},
    thread,
    time::Duration,
};

use pipework::{Access, Listener, NamedPipeBuilder, PipeMode, PipeStream};

use super::{PATIENCE, pattern};

/// Tells this program to be a server, and which.
pub(crate) const ROLE: &str = "PIPEWORK_NETWORK_SERVER";

/// What a server does with each client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Deed {
    /// Sends back what comes.
    Echo,
    /// Writes so many bytes, or messages of each size up to so many bytes, and closes.
    Give,
    /// Reads to the end, and says how much it was.
    Take,
    /// Does both at once.
    Both,
    /// Keeps the client and does nothing.
    Wait,
    /// Writes messages that can't be passed on: an empty one, one of a byte, one that is too long.
    Odd,
}

const DEEDS: [(Deed, &str); 6] = [
    (Deed::Echo, "echo"),
    (Deed::Give, "give"),
    (Deed::Take, "take"),
    (Deed::Both, "both"),
    (Deed::Wait, "wait"),
    (Deed::Odd, "odd"),
];

/// What to serve.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) name: String,
    pub(crate) messages: bool,
    pub(crate) deed: Deed,
    /// How many bytes, where that matters.
    pub(crate) len: usize,
    /// The user that is let in; everyone if there is none.
    pub(crate) user: Option<String>,
    pub(crate) is_local: bool,
    /// 255 is no limit.
    pub(crate) instances: u8,
    pub(crate) inbound: bool,
    pub(crate) outbound: bool,
}

impl Plan {
    pub(crate) fn new(name: &str, messages: bool, deed: Deed) -> Plan {
        Plan {
            name: name.to_owned(),
            messages,
            deed,
            len: 0,
            user: None,
            is_local: false,
            instances: 255,
            inbound: true,
            outbound: true,
        }
    }

    fn to_words(&self) -> String {
        let deed = DEEDS.iter().find(|(deed, _)| *deed == self.deed).unwrap().1;
        let Plan { messages, len, is_local, instances, inbound, outbound, .. } = self;
        let user = self.user.as_deref().unwrap_or("-");
        // The name last: it may have blanks.
        format!("{messages} {deed} {len} {user} {is_local} {instances} {inbound} {outbound} {}", self.name)
    }

    fn from_words(text: &str) -> Plan {
        let words: Vec<&str> = text.splitn(9, ' ').collect();
        Plan {
            messages: words[0] == "true",
            deed: DEEDS.iter().find(|(_, word)| *word == words[1]).unwrap().0,
            len: words[2].parse().unwrap(),
            user: Some(words[3].to_owned()).filter(|user| user != "-"),
            is_local: words[4] == "true",
            instances: words[5].parse().unwrap(),
            inbound: words[6] == "true",
            outbound: words[7] == "true",
            name: words[8].to_owned(),
        }
    }

    fn listen(&self) -> io::Result<Listener> {
        let access = match &self.user {
            Some(user) => Access::owner().user(user),
            None => Access::everyone(),
        };
        let mode = if self.messages { PipeMode::Message } else { PipeMode::Byte };
        NamedPipeBuilder::new(format!(r"\\.\pipe\{}", self.name))
            .pipe_mode(mode)
            .access(access)
            .accept_remote(!self.is_local)
            .max_instances(self.instances)
            .inbound(self.inbound)
            .outbound(self.outbound)
            .listen()
    }
}

// ------------------------------------------------------------------ the test's side

/// A server process.
#[derive(Debug)]
pub(crate) struct Server {
    child: Child,
    _leash: ChildStdin,
    lines: Receiver<String>,
}

impl Server {
    /// Starts it in a directory of pipes, and waits until it serves.
    pub(crate) fn start(pipes: &Path, plan: &Plan) -> Server {
        Server::start_command(Command::new(std::env::current_exe().unwrap()), pipes, plan)
    }

    /// The same as another user.
    pub(crate) fn start_as(pipes: &Path, plan: &Plan, user: u32) -> Server {
        // By a copy, where that user can reach it.
        let copy = pipes.with_file_name(format!("server-of-{user}"));
        std::fs::copy(std::env::current_exe().unwrap(), &copy).unwrap();
        let mut command = Command::new(copy);
        command.uid(user).gid(user);
        Server::start_command(command, pipes, plan)
    }

    fn start_command(mut command: Command, pipes: &Path, plan: &Plan) -> Server {
        command.env(ROLE, plan.to_words()).env("PIPEWORK_DIR", pipes);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let leash = child.stdin.take().unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        let (sender, lines) = channel();
        thread::spawn(move || output.lines().map_while(Result::ok).try_for_each(|line| sender.send(line)));
        let server = Server { child, _leash: leash, lines };
        assert_eq!(server.line(), "serving", "{plan:?}");
        server
    }

    /// The next thing that it says.
    pub(crate) fn line(&self) -> String {
        self.lines.recv_timeout(PATIENCE).expect("the server says something")
    }

    /// What it has said, and nobody has read.
    pub(crate) fn unread(&self) -> Vec<String> {
        self.lines.try_iter().collect()
    }

    /// Whether it says nothing for a while.
    pub(crate) fn is_silent(&self) -> bool {
        self.lines.recv_timeout(Duration::from_millis(300)).is_err()
    }

    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

// ------------------------------------------------------------------ the server's side

/// Is a server, if it was told to be one.
pub(crate) fn run_if_told() -> Option<ExitCode> {
    let plan = Plan::from_words(&std::env::var(ROLE).ok()?);
    thread::spawn(|| {
        io::copy(&mut io::stdin(), &mut io::sink()).ok();
        std::process::exit(0);
    });
    let listener = match plan.listen() {
        Ok(listener) => listener,
        Err(error) => {
            println!("can't serve: {error}");
            return Some(ExitCode::FAILURE);
        }
    };
    println!("serving");
    for client in listener.incoming() {
        let plan = plan.clone();
        match client {
            Ok(client) => drop(thread::spawn(move || serve(&plan, &client))),
            Err(error) => println!("no client: {error}"),
        }
    }
    Some(ExitCode::SUCCESS)
}

fn serve(plan: &Plan, client: &PipeStream) {
    println!("client {}", describe(client));
    let outcome = match plan.deed {
        Deed::Echo => echo(plan, client),
        Deed::Give => give(plan, client),
        Deed::Take => take(plan, client),
        Deed::Both => thread::scope(|scope| {
            let giving = scope.spawn(|| give(plan, client));
            let taken = take(plan, client)?;
            giving.join().unwrap()?;
            Ok(taken)
        }),
        Deed::Wait => {
            thread::park();
            Ok(String::new())
        }
        Deed::Odd => odd(client),
    };
    match outcome {
        Ok(text) => println!("done {text}"),
        Err(error) => println!("failed {error}"),
    }
}

/// Who it is.
fn describe(client: &PipeStream) -> String {
    let Ok(peer) = client.peer() else { return "unknown".into() };
    let Some(network) = peer.network() else { return "local".into() };
    let encrypted = network.encrypted == Some(true);
    format!(
        "{} {} encrypted={encrypted} uid={} groups={} sid={}",
        network.account,
        network.address,
        peer.user_id().map_or_else(|| "none".into(), |user| user.to_string()),
        peer.group_ids().len(),
        peer.sid().unwrap_or("none"),
    )
}

fn echo(plan: &Plan, client: &PipeStream) -> io::Result<String> {
    if plan.messages {
        while let Some(message) = client.read_message(1 << 20)? {
            client.write_message(&message)?;
        }
    } else {
        io::copy(&mut { client }, &mut { client })?;
    }
    Ok("echo".into())
}

fn give(plan: &Plan, mut client: &PipeStream) -> io::Result<String> {
    if !plan.messages {
        client.write_all(&pattern(plan.len))?;
        return Ok("gave".into());
    }
    let mut len = 1;
    while len <= plan.len {
        client.write_message(&pattern(len))?;
        len = if len == plan.len { len + 1 } else { (len * 3).min(plan.len) };
    }
    Ok("gave".into())
}

fn take(plan: &Plan, mut client: &PipeStream) -> io::Result<String> {
    if plan.messages {
        let mut count = 0;
        while let Some(message) = client.read_message(1 << 20)? {
            assert_eq!(message, pattern(message.len()));
            count += 1;
        }
        return Ok(format!("took {count} messages"));
    }
    let mut bytes = Vec::new();
    client.read_to_end(&mut bytes)?;
    let is_right = bytes == pattern(bytes.len());
    Ok(format!("took {} bytes, {}", bytes.len(), if is_right { "right" } else { "wrong" }))
}

fn odd(client: &PipeStream) -> io::Result<String> {
    client.read_message(100)?;
    client.write_message(b"")?;
    client.write_message(b"1")?;
    client.write_message(&pattern(65_535))?;
    client.write_message(&pattern(65_536))?;
    client.write_message(b"never")?;
    Ok("odd".into())
}
