//! The servers: this program runs itself again, one process for each pipe.
//!
//! A server prints `serving`, then two lines for each client: its identity and the outcome. It ends when its standard
//! input is closed.

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

use super::{TIMEOUT, pattern};

/// The environment variable that makes this program a server. Its value is the plan.
pub(crate) const ROLE: &str = "PIPEWORK_NETWORK_SERVER";

/// What a server does with each client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Behavior {
    /// Echoes all data.
    Echo,
    /// Writes `len` bytes, or messages of growing sizes up to `len` bytes, and closes.
    Give,
    /// Reads to the end, and prints how much that was.
    Take,
    /// Does both at the same time.
    Both,
    /// Keeps the connection open and does nothing.
    Wait,
    /// Writes messages that smbd can't carry among valid ones: an empty one, and one that is too long.
    Odd,
}

const BEHAVIORS: [(Behavior, &str); 6] = [
    (Behavior::Echo, "echo"),
    (Behavior::Give, "give"),
    (Behavior::Take, "take"),
    (Behavior::Both, "both"),
    (Behavior::Wait, "wait"),
    (Behavior::Odd, "odd"),
];

/// The pipe to serve, and what to do with its clients.
#[derive(Clone, Debug)]
pub(crate) struct ServerPlan {
    pub(crate) name: String,
    pub(crate) messages: bool,
    pub(crate) behavior: Behavior,
    /// The number of bytes for the behaviors that write.
    pub(crate) len: usize,
    /// The user who has access; `None` is everyone.
    pub(crate) user: Option<String>,
    pub(crate) is_local: bool,
    /// The maximum number of instances; 255 is unlimited.
    pub(crate) instances: u8,
    pub(crate) inbound: bool,
    pub(crate) outbound: bool,
}

impl ServerPlan {
    pub(crate) fn new(name: &str, messages: bool, behavior: Behavior) -> ServerPlan {
        ServerPlan {
            name: name.to_owned(),
            messages,
            behavior,
            len: 0,
            user: None,
            is_local: false,
            instances: 255,
            inbound: true,
            outbound: true,
        }
    }

    fn to_words(&self) -> String {
        let behavior = BEHAVIORS.iter().find(|(behavior, _)| *behavior == self.behavior).unwrap().1;
        let ServerPlan { messages, len, is_local, instances, inbound, outbound, .. } = self;
        let user = self.user.as_deref().unwrap_or("-");
        // The name is last, because it may contain spaces.
        format!(
            "{messages} {behavior} {len} {user} {is_local} {instances} {inbound} {outbound} {}",
            self.name
        )
    }

    fn from_words(text: &str) -> ServerPlan {
        let words: Vec<&str> = text.splitn(9, ' ').collect();
        ServerPlan {
            messages: words[0] == "true",
            behavior: BEHAVIORS.iter().find(|(_, word)| *word == words[1]).unwrap().0,
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
    _lifeline: ChildStdin,
    lines: Receiver<String>,
}

impl Server {
    /// Starts a server with its directory of pipes, and waits until it serves.
    pub(crate) fn start(pipes: &Path, plan: &ServerPlan) -> Server {
        Server::start_command(Command::new(std::env::current_exe().unwrap()), pipes, plan)
    }

    /// Starts a server as another user.
    pub(crate) fn start_as(pipes: &Path, plan: &ServerPlan, user: u32) -> Server {
        // That user can't execute the original, so it gets a copy.
        let copy = pipes.with_file_name(format!("server-of-{user}"));
        std::fs::copy(std::env::current_exe().unwrap(), &copy).unwrap();
        let mut command = Command::new(copy);
        command.uid(user).gid(user);
        Server::start_command(command, pipes, plan)
    }

    fn start_command(mut command: Command, pipes: &Path, plan: &ServerPlan) -> Server {
        command.env(ROLE, plan.to_words()).env("PIPEWORK_DIR", pipes);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let lifeline = child.stdin.take().unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        let (sender, lines) = channel();
        thread::spawn(move || output.lines().map_while(Result::ok).try_for_each(|line| sender.send(line)));
        let server = Server { child, _lifeline: lifeline, lines };
        assert_eq!(server.line(), "serving", "{plan:?}");
        server
    }

    /// Waits for the next line.
    pub(crate) fn line(&self) -> String {
        self.lines.recv_timeout(TIMEOUT).expect("a line from the server")
    }

    /// The lines that were not read yet.
    pub(crate) fn unread(&self) -> Vec<String> {
        self.lines.try_iter().collect()
    }

    /// Whether the server prints nothing for 300 ms.
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

/// Runs as a server, if the environment requests it.
pub(crate) fn run_role() -> Option<ExitCode> {
    let plan = ServerPlan::from_words(&std::env::var(ROLE).ok()?);
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

fn serve(plan: &ServerPlan, client: &PipeStream) {
    println!("client {}", describe(client));
    let outcome = match plan.behavior {
        Behavior::Echo => echo(plan, client),
        Behavior::Give => give(plan, client),
        Behavior::Take => take(plan, client),
        Behavior::Both => thread::scope(|scope| {
            let giving = scope.spawn(|| give(plan, client));
            let taken = take(plan, client)?;
            giving.join().unwrap()?;
            Ok(taken)
        }),
        Behavior::Wait => {
            thread::park();
            Ok(String::new())
        }
        Behavior::Odd => odd(client),
    };
    match outcome {
        Ok(text) => println!("done {text}"),
        Err(error) => println!("failed {error}"),
    }
}

/// Formats the identity of a client.
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

fn echo(plan: &ServerPlan, client: &PipeStream) -> io::Result<String> {
    if plan.messages {
        while let Some(message) = client.read_message(1 << 20)? {
            client.write_message(&message)?;
        }
    } else {
        io::copy(&mut { client }, &mut { client })?;
    }
    Ok("echo".into())
}

fn give(plan: &ServerPlan, mut client: &PipeStream) -> io::Result<String> {
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

fn take(plan: &ServerPlan, mut client: &PipeStream) -> io::Result<String> {
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
