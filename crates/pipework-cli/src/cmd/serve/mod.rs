//! `pipework serve`: serves each client with an echo or with a command.

mod command;
mod relay;

use std::{
    collections::HashMap,
    env,
    io::{self, Read, Write},
    path::PathBuf,
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        mpsc::{self, Sender},
    },
    thread,
    time::Duration,
};

use pipework::{
    Access, Canceller, Listener, NamedPipeBuilder, PipeErrorKind, PipeMode, PipeName, PipeNameKind,
    PipeStream, is_gone,
};

use crate::{
    args::{Direction, ServeArgs},
    cmd::serve::{
        command::RunningCommand,
        relay::{Event, Relay},
    },
    failure::{Failure, Status},
    interrupt::{self, Request},
    names::path_hint,
    output::{count, filled, say},
};

/// The longest message that is echoed.
const MESSAGE_LEN_MAX: usize = 64 << 20;

const CHUNK_LEN: usize = 64 * 1024;

/// How often to look whether the name was restored.
const REPORT_PERIOD: Duration = Duration::from_secs(1);

/// How long to wait before another try of what failed.
const PAUSE_AFTER_ERROR: Duration = Duration::from_millis(100);

pub(crate) fn run(args: &ServeArgs) -> Result<(), Failure> {
    if args.command.is_empty() && args.direction != Direction::Duplex {
        return Err(Failure::new(Status::Usage, "an echo needs both directions")
            .hint("omit --direction, or add a command after `--`"));
    }
    if let Some(program) = args.command.first() {
        command::check(program)?;
    }
    let name = PipeName::new(&args.name)?;
    // The first one ends the accepting of clients, and the second one what the clients wait for.
    let (closing, ending) = (Canceller::new()?, Canceller::new()?);
    let relays = Arc::new(Relays::default());
    interrupt::watch({
        let (closing, ending, relays) = (closing.clone(), ending.clone(), Arc::clone(&relays));
        move |request| {
            // After the second one the process exits, and Ctrl-C reaches no command by itself.
            if closing.is_cancelled() {
                relays.kill_commands();
            }
            if request == Request::Interrupt {
                ending.cancel();
            }
            closing.cancel();
        }
    })?;
    let is_made = makes_named_directory(&name);
    let listener = listen(args, &name).map_err(|error| Failure::of_pipe(&name, error))?;
    listener.set_canceller(Some(&closing));
    let half_close = matches!(name.kind(), PipeNameKind::Socket(_));
    let server = Server { args, half_close, relays, ending: &ending, connected: Connected::default() };
    say(format_args!("serving {name} ({}) at {}", server.describe(), name.location()?.display()));
    if let Some(hint) = path_hint(&args.name) {
        say(format_args!("{hint}"));
    }
    if is_made {
        say(format_args!("this directory, which PIPEWORK_DIR names, did not exist and was made"));
    }

    let (served, cut_off) = server.serve(listener);
    let name_is = if args.join { "no longer serving it" } else { "name removed" };
    let text = format!("{} served, {name_is}", count(served, "client"));
    if !closing.is_cancelled() {
        return Err(Failure::failed("the pipe can't accept any more clients"));
    }
    let Some(cut_off) = cut_off else { return Err(Failure::interrupted(text)) };
    let left = if cut_off > 0 { format!(", {cut_off} of them cut off") } else { String::new() };
    say(format_args!("terminated: {text}{left}"));
    Ok(())
}

/// Whether serving makes the directory that the environment names, whose name may be mistyped.
fn makes_named_directory(name: &PipeName) -> bool {
    let directory = env::var_os("PIPEWORK_DIR").map(PathBuf::from).unwrap_or_default();
    let is_there = name.location().is_ok_and(|location| location.parent() == Some(&directory));
    is_there && !directory.exists()
}

fn listen(args: &ServeArgs, name: &PipeName) -> io::Result<Listener> {
    let mut access = if args.everyone { Access::everyone() } else { Access::owner() };
    for user in &args.user {
        access = access.user(user);
    }
    for group in &args.group {
        access = access.group(group);
    }
    let mut builder = NamedPipeBuilder::new(name);
    builder
        .pipe_mode(if args.message { PipeMode::Message } else { PipeMode::Byte })
        .inbound(args.direction != Direction::Out)
        .outbound(args.direction != Direction::In)
        .first(!args.join)
        .accept_remote(args.accept_remote)
        .access(access);
    if let Some(count) = args.max_instances {
        builder.max_instances(count.get());
    }
    if let Some(len) = args.in_buffer {
        builder.in_buffer_size(len);
    }
    if let Some(len) = args.out_buffer {
        builder.out_buffer_size(len);
    }
    builder.listen()
}

/// The state that all clients share.
struct Server<'a> {
    args: &'a ServeArgs,
    /// Whether clients can half-close the connection: on Unix domain sockets.
    half_close: bool,
    relays: Arc<Relays>,
    /// Cancels the waits of all clients.
    ending: &'a Canceller,
    connected: Connected,
}

/// How many clients are connected.
#[derive(Default)]
struct Connected {
    number: Mutex<usize>,
    all_left: Condvar,
}

impl Connected {
    fn add(&self) -> ConnectedClient<'_> {
        let mut number = self.lock();
        *number = number.saturating_add(1);
        ConnectedClient(self)
    }

    /// Waits until no client is connected, or until the timeout. Returns how many are.
    fn wait_until_all_left(&self, timeout: Duration) -> usize {
        let waited = self.all_left.wait_timeout_while(self.lock(), timeout, |number| *number > 0);
        *waited.unwrap_or_else(PoisonError::into_inner).0
    }

    fn lock(&self) -> MutexGuard<'_, usize> {
        self.number.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A client, which is counted until this is dropped.
struct ConnectedClient<'a>(&'a Connected);

impl Drop for ConnectedClient<'_> {
    fn drop(&mut self) {
        let mut number = self.0.lock();
        *number = number.saturating_sub(1);
        self.0.all_left.notify_all();
    }
}

/// The relays of all clients.
#[derive(Default)]
struct Relays(Mutex<RunningRelays>);

#[derive(Default)]
struct RunningRelays {
    /// Whether the server is stopping: no more relays start.
    stopping: bool,
    /// The event channel and the command of each running relay, by the client's number.
    running: HashMap<usize, (Sender<Event>, Arc<RunningCommand>)>,
}

impl Relays {
    /// Starts and adds a relay, unless the server is stopping. No command runs that is not here: who holds the lock sees all.
    fn start(
        &self,
        number: usize,
        events: Sender<Event>,
        start: impl FnOnce(&Sender<Event>) -> io::Result<Relay>,
    ) -> io::Result<Option<Relay>> {
        let mut relays = self.lock();
        if relays.stopping {
            return Ok(None);
        }
        let relay = start(&events)?;
        relays.running.insert(number, (events, relay.command()));
        Ok(Some(relay))
    }

    fn remove(&self, number: usize) {
        self.lock().running.remove(&number);
    }

    fn stop(&self) {
        let mut relays = self.lock();
        relays.stopping = true;
        for (events, _) in relays.running.values() {
            // A relay whose channel is closed has ended already.
            events.send(Event::Stop).ok();
        }
    }

    /// Kills all commands; no more start.
    fn kill_commands(&self) {
        let mut relays = self.lock();
        relays.stopping = true;
        for (_, command) in relays.running.values() {
            command.kill();
        }
    }

    fn lock(&self) -> MutexGuard<'_, RunningRelays> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Server<'_> {
    fn describe(&self) -> String {
        let what = match self.args.command.first() {
            Some(program) => format!("`{}` for each client", program.to_string_lossy()),
            None => "echo".to_owned(),
        };
        format!("{}, {what}", if self.args.message { "messages" } else { "bytes" })
    }

    /// Serves until a signal. Returns the number of clients served, and after a termination that of those which
    /// were cut off.
    fn serve(&self, listener: Listener) -> (usize, Option<usize>) {
        thread::scope(|scope| {
            let mut served = 0_usize;
            let mut clients = Clients { listener: &listener, restorations: 0, last_error: None };
            while let Some(client) = clients.next() {
                match client {
                    Ok(stream) => {
                        served = served.saturating_add(1);
                        stream.set_canceller(Some(self.ending));
                        let connected = self.connected.add();
                        let serve_client = move || {
                            self.serve_client(served, stream);
                            drop(connected);
                        };
                        if let Err(error) = thread::Builder::new().spawn_scoped(scope, serve_client) {
                            say(format_args!("can't serve client {served}: {error}"));
                        }
                    }
                    Err(error) => clients.report(&error),
                }
            }
            // Remove the name first, so that no more clients connect.
            drop(listener);
            let waits = !self.ending.is_cancelled();
            let cut_off = waits.then(|| self.connected.wait_until_all_left(self.args.grace));
            self.ending.cancel();
            self.relays.stop();
            (served, cut_off)
        })
    }

    /// Serves one client until it disconnects.
    fn serve_client(&self, number: usize, stream: PipeStream) {
        if self.args.verbose {
            say(format_args!("client {number} connected: {}", describe_peer(&stream)));
        }
        let result = match (self.args.command.is_empty(), self.args.message) {
            (false, _) => self.relay(number, stream),
            (true, true) => echo_messages(&stream),
            (true, false) => echo_bytes(&stream),
        };
        match result {
            Err(error) if !is_gone(&error) && error != PipeErrorKind::Aborted => {
                say(format_args!("client {number}: {error}"));
            }
            _ if self.args.verbose => say(format_args!("client {number} disconnected")),
            _ => {}
        }
    }

    fn relay(&self, number: usize, stream: PipeStream) -> io::Result<()> {
        let (events, inbox) = mpsc::channel();
        let start = |events: &Sender<Event>| Relay::start(self.args, number, stream, self.half_close, events);
        if let Some(relay) = self.relays.start(number, events, start)? {
            relay.run(&inbox);
            self.relays.remove(number);
        }
        Ok(())
    }
}

/// The clients of a listener, and what happens to its name meanwhile.
struct Clients<'a> {
    listener: &'a Listener,
    /// How many restorations of the name were reported.
    restorations: u64,
    /// The error that was reported last: it may come again with each try.
    last_error: Option<String>,
}

impl Clients<'_> {
    /// Waits for the next client, or an error. `None` after Ctrl-C.
    fn next(&mut self) -> Option<io::Result<PipeStream>> {
        loop {
            if self.last_error.is_some() {
                thread::park_timeout(PAUSE_AFTER_ERROR);
            }
            let client = self.listener.accept_timeout(REPORT_PERIOD);
            if self.listener.restorations() > self.restorations {
                self.restorations = self.listener.restorations();
                say(format_args!("the name {} was removed; it is restored", self.listener.name()));
            }
            match client {
                Err(error) if error == PipeErrorKind::Aborted => return None,
                Err(error) if error == PipeErrorKind::TimedOut => self.last_error = None,
                Err(error) => return Some(Err(error)),
                Ok(client) => {
                    self.last_error = None;
                    return Some(Ok(client));
                }
            }
        }
    }

    fn report(&mut self, error: &io::Error) {
        let error = error.to_string();
        if self.last_error.as_ref() != Some(&error) {
            say(format_args!("can't accept a client: {error}"));
        }
        self.last_error = Some(error);
    }
}

fn describe_peer(stream: &PipeStream) -> String {
    let Ok(peer) = stream.peer() else { return "unknown".to_owned() };
    if let Some(from) = peer.network() {
        let how = if from.encrypted == Some(true) { ", encrypted" } else { "" };
        return format!("{} at {}{how}", from.account, from.address);
    }
    let process =
        peer.process_id().map_or_else(|| "unknown process".to_owned(), |id| format!("process {id}"));
    match peer.account() {
        Ok(account) => format!("{process} of {account}"),
        Err(_) => process,
    }
}

fn echo_bytes(mut stream: &PipeStream) -> io::Result<()> {
    let mut buffer = vec![0; CHUNK_LEN];
    loop {
        match stream.read(&mut buffer)? {
            0 => return Ok(()),
            len => stream.write_all(filled(&buffer, len))?,
        }
    }
}

fn echo_messages(stream: &PipeStream) -> io::Result<()> {
    while let Some(message) = stream.read_message(MESSAGE_LEN_MAX)? {
        stream.write_message(&message)?;
    }
    Ok(())
}
