//! The other process: this binary, started again, doing what a case says.
//!
//! [`Other`] is a surface like any other, and so are the ends that it opens; every call on them happens over there.
//! Each request runs on a thread of its own, so that one may wait while the next one runs.

use std::{
    collections::{BTreeMap, HashMap},
    io::{BufRead, BufReader, Write},
    process::{Child, ChildStdin, Command, ExitCode, Stdio},
    sync::{
        Arc, Condvar, Mutex,
        atomic::{AtomicUsize, Ordering},
        mpsc,
    },
    thread::{self, JoinHandle, Scope, ScopedJoinHandle},
    time::Duration,
};

use pipework::{MessageRead, PipeMode};

use crate::{
    harness::{is_asleep, note_kill, started, thread_id, wait_until},
    surface::{
        End, Fault, Info, Instance, Listener, OpenSpec, Outcome, Peeked, PeerView, Spec, Surface, surfaces,
    },
    wire::{Line, Words},
};

/// Names the surface that a re-run of this binary is to offer on its standard input and output.
pub(crate) const PEER_VARIABLE: &str = "PIPEWORK_IT_PEER";

/// Asks a re-run of this binary to say what it hears.
pub(crate) const ECHO_VARIABLE: &str = "PIPEWORK_IT_ECHO";

/// This program, to be started again.
fn this_program() -> Command {
    // Not by its path, which another user may have no way to.
    if cfg!(target_os = "linux") {
        Command::new("/proc/self/exe")
    } else {
        Command::new(std::env::current_exe().unwrap())
    }
}

// ------------------------------------------------- a process of standard streams

/// A process that copies its input to its output and then says "end of input" on its error output.
pub(crate) fn echo() -> Command {
    let mut command = this_program();
    command.env(ECHO_VARIABLE, "1");
    command
}

/// Is that process.
pub(crate) fn run_echo() -> ExitCode {
    let copied = std::io::copy(&mut std::io::stdin().lock(), &mut std::io::stdout().lock());
    let said = copied.and_then(|_| std::io::stderr().write_all(b"end of input"));
    if said.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

// ---------------------------------------------------------------- this side

/// Another process, and its pipes. It lives until this and everything made through it is dropped, or it is killed.
#[derive(Clone, Debug)]
pub(crate) struct Other {
    process: Arc<Process>,
}

impl Other {
    /// Starts a process that offers the same surface.
    pub(crate) fn spawn(surface: &dyn Surface) -> Other {
        Other::spawn_with(surface, |_| {})
    }

    /// The same, with something changed about how it is started.
    pub(crate) fn spawn_with(surface: &dyn Surface, change: impl FnOnce(&mut Command)) -> Other {
        let mut command = this_program();
        change(&mut command);
        Other::spawn_by(surface, command)
    }

    /// The same by a command that prepares the place, and then becomes this program.
    pub(crate) fn spawn_by(surface: &dyn Surface, mut command: Command) -> Other {
        command.env(PEER_VARIABLE, surface.name()).stdin(Stdio::piped()).stdout(Stdio::piped());
        Other { process: Arc::new(Process::start(surface.name(), command)) }
    }

    /// Its process id.
    pub(crate) fn id(&self) -> u32 {
        self.process.id
    }

    /// Ends it as a crash would, and returns when it is no more.
    pub(crate) fn kill(&self) {
        note_kill();
        self.process.end();
    }

    /// Makes `work`, which calls into the other process, wait over there; returns once it does.
    pub(crate) fn blocked<'scope, T: Send + 'scope>(
        &self,
        scope: &'scope Scope<'scope, '_>,
        work: impl FnOnce() -> T + Send + 'scope,
    ) -> ScopedJoinHandle<'scope, T> {
        let from = self.process.next.load(Ordering::Relaxed);
        let thread = scope.spawn(work);
        let running = self.process.replies.running_from(from);
        wait_until(|| {
            assert!(!thread.is_finished(), "the call came back instead of waiting");
            is_asleep(self.id(), running)
        });
        thread
    }

    /// Sets the mask of the modes of new files over there.
    #[cfg(unix)]
    pub(crate) fn umask(&self, mask: u32) {
        self.process.call(Words::new().word("umask").number(mask)).unwrap();
    }

    /// The names of the pipes that it lists.
    #[cfg(target_os = "linux")]
    pub(crate) fn list(&self) -> Outcome<Vec<String>> {
        let reply = self.process.call(Words::new().word("list"))?;
        let mut line = Line::new(&reply);
        Ok((0..line.number::<usize>()).map(|_| line.text()).collect())
    }

    fn slot(&self, request: Words) -> Outcome<Slot> {
        let reply = self.process.call(request)?;
        let number = Line::new(&reply).number();
        Ok(Slot { process: Arc::clone(&self.process), number })
    }
}

impl Surface for Other {
    fn name(&self) -> &'static str {
        self.process.surface
    }

    fn create(&self, spec: &Spec) -> Outcome<Box<dyn Instance>> {
        Ok(Box::new(self.slot(Words::new().word("create").spec(spec))?))
    }

    fn listen(&self, spec: &Spec) -> Outcome<Box<dyn Listener>> {
        Ok(Box::new(self.slot(Words::new().word("listen").spec(spec))?))
    }

    fn open(&self, spec: &OpenSpec) -> Outcome<Box<dyn End>> {
        Ok(Box::new(self.slot(Words::new().word("open").open(spec))?))
    }

    fn connect(&self, spec: &OpenSpec) -> Outcome<Box<dyn End>> {
        Ok(Box::new(self.slot(Words::new().word("connect").open(spec))?))
    }

    fn connect_to(&self, name: &str) -> Outcome<Box<dyn End>> {
        Ok(Box::new(self.slot(Words::new().word("connect-to").text(name))?))
    }

    fn wait(&self, name: &str, timeout: Option<Duration>) -> Outcome<()> {
        self.process.call(Words::new().word("wait").text(name).maybe(timeout, Words::duration)).map(drop)
    }
}

/// Something that the other process holds: an end, an instance or a listener.
#[derive(Debug)]
struct Slot {
    process: Arc<Process>,
    number: usize,
}

impl Slot {
    fn call(&self, verb: &str, rest: impl FnOnce(Words) -> Words) -> Outcome<String> {
        self.process.call(rest(Words::new().word(verb).len(self.number)))
    }

    fn accepted(&self, request: Words) -> Outcome<Box<dyn End>> {
        let reply = self.process.call(request)?;
        let number = Line::new(&reply).number();
        Ok(Box::new(Slot { process: Arc::clone(&self.process), number }))
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        // Fails when the process is no more, and the thing with it.
        drop(self.call("drop", |words| words));
    }
}

impl Instance for Slot {
    fn connect(&self) -> Outcome<()> {
        self.call("serve", |words| words).map(drop)
    }

    fn connect_timeout(&self, timeout: Duration) -> Outcome<()> {
        self.call("serve-timeout", |words| words.duration(timeout)).map(drop)
    }

    fn disconnect(&self) -> Outcome<()> {
        self.call("disconnect", |words| words).map(drop)
    }

    fn flush(&self) -> Outcome<()> {
        self.call("flush", |words| words).map(drop)
    }

    fn end(&self) -> &dyn End {
        self
    }
}

impl Listener for Slot {
    fn accept(&self) -> Outcome<Box<dyn End>> {
        self.accepted(Words::new().word("accept").len(self.number))
    }

    fn accept_timeout(&self, timeout: Duration) -> Outcome<Box<dyn End>> {
        self.accepted(Words::new().word("accept-timeout").len(self.number).duration(timeout))
    }
}

impl End for Slot {
    fn read(&self, buf: &mut [u8]) -> Outcome<usize> {
        let reply = self.call("read", |words| words.len(buf.len()))?;
        let data = Line::new(&reply).bytes();
        buf[..data.len()].copy_from_slice(&data);
        Ok(data.len())
    }

    fn write(&self, data: &[u8]) -> Outcome<usize> {
        self.call("write", |words| words.bytes(data)).map(|reply| Line::new(&reply).number())
    }

    fn write_vectored(&self, parts: &[&[u8]]) -> Outcome<usize> {
        let all = |words: Words| parts.iter().fold(words.len(parts.len()), |words, part| words.bytes(part));
        self.call("write-vectored", all).map(|reply| Line::new(&reply).number())
    }

    fn read_message(&self, len_max: usize) -> Outcome<Option<Vec<u8>>> {
        let reply = self.call("read-message", |words| words.len(len_max))?;
        Ok(Line::new(&reply).maybe(Line::bytes))
    }

    fn read_message_into(&self, buf: &mut [u8]) -> Outcome<MessageRead> {
        let reply = self.call("read-message-into", |words| words.len(buf.len()))?;
        let mut line = Line::new(&reply);
        let read = line.message_read();
        let data = line.bytes();
        buf[..data.len()].copy_from_slice(&data);
        Ok(read)
    }

    fn write_message(&self, message: &[u8]) -> Outcome<()> {
        self.call("write-message", |words| words.bytes(message)).map(drop)
    }

    fn read_messages(&self, count_max: usize, len_max: usize) -> Outcome<Vec<Vec<u8>>> {
        let reply = self.call("read-messages", |words| words.len(count_max).len(len_max))?;
        let mut line = Line::new(&reply);
        Ok((0..line.number::<usize>()).map(|_| line.bytes()).collect())
    }

    fn write_messages(&self, messages: &[&[u8]]) -> Outcome<usize> {
        let all = |words: Words| {
            messages.iter().fold(words.len(messages.len()), |words, message| words.bytes(message))
        };
        self.call("write-messages", all).map(|reply| Line::new(&reply).number())
    }

    fn transact(&self, request: &[u8], len_max: usize) -> Outcome<Vec<u8>> {
        let reply = self.call("transact", |words| words.bytes(request).len(len_max))?;
        Ok(Line::new(&reply).bytes())
    }

    fn peek(&self, len: usize) -> Outcome<Peeked> {
        self.call("peek", |words| words.len(len)).map(|reply| Line::new(&reply).peeked())
    }

    fn drain(&self) -> Outcome<()> {
        self.call("drain", |words| words).map(drop)
    }

    fn set_read_mode(&self, mode: PipeMode) -> Outcome<()> {
        self.call("read-mode", |words| words.mode(mode)).map(drop)
    }

    fn set_read_timeout(&self, timeout: Option<Duration>) -> Outcome<()> {
        self.call("read-timeout", |words| words.maybe(timeout, Words::duration)).map(drop)
    }

    fn set_write_timeout(&self, timeout: Option<Duration>) -> Outcome<()> {
        self.call("write-timeout", |words| words.maybe(timeout, Words::duration)).map(drop)
    }

    fn info(&self) -> Outcome<Info> {
        self.call("info", |words| words).map(|reply| Line::new(&reply).info())
    }

    fn peer(&self) -> Outcome<PeerView> {
        self.call("peer", |words| words).map(|reply| Line::new(&reply).peer())
    }
}

/// The process and the conversation with it.
#[derive(Debug)]
struct Process {
    id: u32,
    surface: &'static str,
    child: Mutex<Child>,
    requests: Mutex<ChildStdin>,
    replies: Arc<Replies>,
    reader: Mutex<Option<JoinHandle<()>>>,
    next: AtomicUsize,
}

impl Process {
    fn start(surface: &'static str, mut command: Command) -> Process {
        let mut child = started(|| command.spawn()).expect("the other process starts");
        let requests = Mutex::new(child.stdin.take().expect("its input is a pipe"));
        let lines = BufReader::new(child.stdout.take().expect("its output is a pipe"));
        let replies = Arc::new(Replies::default());
        let reader = thread::spawn({
            let replies = Arc::clone(&replies);
            move || replies.collect(lines)
        });
        Process {
            id: child.id(),
            surface,
            child: Mutex::new(child),
            requests,
            replies,
            reader: Mutex::new(Some(reader)),
            next: AtomicUsize::new(0),
        }
    }

    /// One request and its reply.
    fn call(&self, request: Words) -> Outcome<String> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let gone = || Fault {
            kind: None,
            io_kind: "Other".to_owned(),
            text: "the other process has gone".to_owned(),
        };
        let reply = self.replies.expect(number).ok_or_else(gone)?;
        let line = format!("{number} {}\n", request.line());
        // Fails when the process is no more; then there is no reply either.
        drop(self.requests.lock().unwrap().write_all(line.as_bytes()));
        reply.recv().unwrap_or_else(|_| Err(gone()))
    }

    fn end(&self) {
        let mut child = self.child.lock().unwrap();
        child.kill().expect("the other process can be killed");
        child.wait().expect("the other process can be waited for");
        drop(child);
        if let Some(reader) = self.reader.lock().unwrap().take() {
            reader.join().expect("the reader of replies ends");
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.end();
    }
}

/// Who waits for which reply, and what runs over there.
#[derive(Debug, Default)]
struct Replies {
    state: Mutex<RepliesState>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct RepliesState {
    waiting: HashMap<usize, mpsc::Sender<Outcome<String>>>,
    /// The thread of each request that has begun and not ended.
    running: BTreeMap<usize, u32>,
    gone: bool,
}

impl Replies {
    fn expect(&self, number: usize) -> Option<mpsc::Receiver<Outcome<String>>> {
        let (sender, receiver) = mpsc::channel();
        let mut state = self.state.lock().unwrap();
        state.waiting.insert(number, sender);
        (!state.gone).then_some(receiver)
    }

    /// The thread of the first request from this number on; waits for it to begin.
    fn running_from(&self, from: usize) -> u32 {
        let mut state = self.state.lock().unwrap();
        loop {
            if let Some((_, thread)) = state.running.range(from..).next() {
                return *thread;
            }
            state = self.changed.wait(state).unwrap();
        }
    }

    fn collect(&self, lines: impl BufRead) {
        for line in lines.lines().map_while(Result::ok) {
            let mut words = Line::new(&line);
            let number = words.number();
            let what = words.word();
            let mut state = self.state.lock().unwrap();
            if what == "begun" {
                state.running.insert(number, words.number());
            } else {
                state.running.remove(&number);
                let reply = match what {
                    "ok" => Ok(line.splitn(3, ' ').nth(2).unwrap_or_default().to_owned()),
                    _ => Err(words.fault()),
                };
                if let Some(waiting) = state.waiting.remove(&number) {
                    // The one who asked is there as long as the request is.
                    waiting.send(reply).expect("a reply is awaited");
                }
            }
            self.changed.notify_all();
        }
        let mut state = self.state.lock().unwrap();
        state.gone = true;
        state.waiting.clear();
    }
}

// --------------------------------------------------------------- the other side

/// Does what the lines on standard input say, until they end.
pub(crate) fn serve(surface: &str) -> ExitCode {
    let surface = surfaces().into_iter().find(|known| known.name() == surface).expect("a known surface");
    let things = Arc::new(Things { surface, held: Mutex::default(), next: AtomicUsize::new(0) });
    for line in std::io::stdin().lines() {
        let Ok(line) = line else { break };
        let things = Arc::clone(&things);
        thread::spawn(move || {
            let mut words = Line::new(&line);
            let number: usize = words.number();
            say(Words::new().len(number).word("begun").number(thread_id()));
            let reply = match things.run(&mut words) {
                Ok(reply) => format!("{number} ok {}", reply.line()),
                Err(fault) => Words::new().len(number).word("err").fault(&fault).line(),
            };
            say(Words::new().word(&reply));
        });
    }
    // Threads may wait in a pipe still; the process ends with them.
    ExitCode::SUCCESS
}

/// One line, at once and whole.
fn say(words: Words) {
    let line = format!("{}\n", words.line());
    let mut stdout = std::io::stdout().lock();
    // Fails when the case has ended; then the input ends too.
    drop(stdout.write_all(line.as_bytes()).and_then(|()| stdout.flush()));
}

enum Thing {
    Instance(Box<dyn Instance>),
    Listener(Box<dyn Listener>),
    End(Box<dyn End>),
}

impl Thing {
    fn instance(&self) -> &dyn Instance {
        let Thing::Instance(instance) = self else { panic!("not an instance") };
        instance.as_ref()
    }

    fn listener(&self) -> &dyn Listener {
        let Thing::Listener(listener) = self else { panic!("not a listener") };
        listener.as_ref()
    }

    fn end(&self) -> &dyn End {
        match self {
            Thing::Instance(instance) => instance.end(),
            Thing::End(end) => end.as_ref(),
            Thing::Listener(_) => panic!("not an end"),
        }
    }
}

/// What the other process holds, by number.
struct Things {
    surface: &'static dyn Surface,
    held: Mutex<HashMap<usize, Arc<Thing>>>,
    next: AtomicUsize,
}

impl Things {
    fn run(&self, words: &mut Line<'_>) -> Outcome<Words> {
        let nothing = |()| Words::new();
        match words.word() {
            "create" => Ok(self.hold(Thing::Instance(self.surface.create(&words.spec())?))),
            "listen" => Ok(self.hold(Thing::Listener(self.surface.listen(&words.spec())?))),
            "open" => Ok(self.hold(Thing::End(self.surface.open(&words.open())?))),
            "connect" => Ok(self.hold(Thing::End(self.surface.connect(&words.open())?))),
            "connect-to" => Ok(self.hold(Thing::End(self.surface.connect_to(&words.text())?))),
            "wait" => {
                let name = words.text();
                self.surface.wait(&name, words.maybe(Line::duration)).map(nothing)
            }
            #[cfg(target_os = "linux")]
            "list" => {
                let names: Vec<String> = pipework::list()?.iter().map(|pipe| pipe.name.to_string()).collect();
                Ok(names.iter().fold(Words::new().len(names.len()), |words, name| words.text(name)))
            }
            #[cfg(unix)]
            "umask" => {
                rustix::process::umask(rustix::fs::Mode::from_raw_mode(words.number()));
                Ok(Words::new())
            }
            "drop" => {
                let thing = self.held.lock().unwrap().remove(&words.number());
                drop(thing);
                Ok(Words::new())
            }
            "accept" => Ok(self.hold(Thing::End(self.thing(words).listener().accept()?))),
            "accept-timeout" => {
                let thing = self.thing(words);
                Ok(self.hold(Thing::End(thing.listener().accept_timeout(words.duration())?)))
            }
            "serve" => self.thing(words).instance().connect().map(nothing),
            "serve-timeout" => {
                let thing = self.thing(words);
                thing.instance().connect_timeout(words.duration()).map(nothing)
            }
            "disconnect" => self.thing(words).instance().disconnect().map(nothing),
            "flush" => self.thing(words).instance().flush().map(nothing),
            verb => {
                let thing = self.thing(words);
                run_on_end(thing.end(), verb, words)
            }
        }
    }

    fn hold(&self, thing: Thing) -> Words {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        self.held.lock().unwrap().insert(number, Arc::new(thing));
        Words::new().len(number)
    }

    fn thing(&self, words: &mut Line<'_>) -> Arc<Thing> {
        let held = self.held.lock().unwrap();
        Arc::clone(held.get(&words.number()).expect("a thing that is held"))
    }
}

fn run_on_end(end: &dyn End, verb: &str, words: &mut Line<'_>) -> Outcome<Words> {
    let nothing = |()| Words::new();
    match verb {
        "read" => end.read_some(words.number()).map(|data| Words::new().bytes(&data)),
        "write" => end.write(&words.bytes()).map(|count| Words::new().len(count)),
        "write-vectored" | "write-messages" => {
            let parts: Vec<Vec<u8>> = (0..words.number::<usize>()).map(|_| words.bytes()).collect();
            let parts: Vec<&[u8]> = parts.iter().map(Vec::as_slice).collect();
            let written = if verb == "write-messages" {
                end.write_messages(&parts)
            } else {
                end.write_vectored(&parts)
            };
            written.map(|count| Words::new().len(count))
        }
        "read-messages" => {
            let (count_max, len_max) = (words.number(), words.number());
            let batch = end.read_messages(count_max, len_max)?;
            Ok(batch.iter().fold(Words::new().len(batch.len()), |words, message| words.bytes(message)))
        }
        "read-message" => {
            let message = end.read_message(words.number())?;
            Ok(Words::new().maybe(message.as_deref(), Words::bytes))
        }
        "read-message-into" => {
            let mut data = vec![0; words.number()];
            let read = end.read_message_into(&mut data)?;
            data.truncate(match read {
                MessageRead::Whole(len) | MessageRead::Part(len) => len,
                MessageRead::End => 0,
            });
            Ok(Words::new().message_read(read).bytes(&data))
        }
        "write-message" => end.write_message(&words.bytes()).map(nothing),
        "transact" => {
            let request = words.bytes();
            end.transact(&request, words.number()).map(|reply| Words::new().bytes(&reply))
        }
        "peek" => end.peek(words.number()).map(|peeked| Words::new().peeked(&peeked)),
        "drain" => end.drain().map(nothing),
        "read-mode" => end.set_read_mode(words.mode()).map(nothing),
        "read-timeout" => end.set_read_timeout(words.maybe(Line::duration)).map(nothing),
        "write-timeout" => end.set_write_timeout(words.maybe(Line::duration)).map(nothing),
        "info" => end.info().map(|info| Words::new().info(&info)),
        "peer" => end.peer().map(|peer| Words::new().peer(&peer)),
        verb => panic!("no such verb: {verb}"),
    }
}
