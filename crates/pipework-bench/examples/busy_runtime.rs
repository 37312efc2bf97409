//! How much time busy and idle connections leave to the other tasks of their runtime (Linux).
//!
//! `cargo run --release -p pipework-bench --example busy_runtime [MILLISECONDS]`
//!
//! A runtime of one thread has 16 connections to a peer process, and one more task that repeats a piece of work. A row shows
//! the pieces per second of processor time, and the messages per second on all connections meanwhile.

#[cfg(target_os = "linux")]
fn main() -> std::io::Result<()> {
    linux::main()
}

#[cfg(not(target_os = "linux"))]
fn main() -> std::process::ExitCode {
    use std::io::Write;

    writeln!(std::io::stderr(), "busy_runtime: this example runs on Linux only").ok();
    std::process::ExitCode::FAILURE
}

#[cfg(target_os = "linux")]
mod linux {
    use std::{
        cell::Cell,
        env,
        hint::{black_box, spin_loop},
        io::{self, Read, Write},
        os::unix::net::UnixStream,
        process::{Child, Command},
        rc::Rc,
        thread,
        time::{Duration, Instant},
    };

    use rustix::time::{ClockId, clock_gettime};
    use tokio::{
        io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
        runtime::Builder,
        task::{LocalSet, spawn_local, yield_now},
    };

    const CONNECTIONS: usize = 16;
    const LEN: usize = 64;
    /// Steps of one piece of work, which takes about a microsecond.
    const WORK: u32 = 4000;
    /// Pieces of work per reading of the clock.
    const PIECES: u64 = 256;
    /// Duration of a measurement in milliseconds of processor time, unless the first argument is another.
    const MILLISECONDS: u64 = 1500;
    /// What the peer process does: it sends nothing, a message now and then, many messages, or a response to each.
    const MODES: [&str; 4] = ["nothing", "rare", "often", "answers"];
    /// The transports: pipes whose tasks spin before they wait, pipes whose tasks do not, Unix sockets.
    const KINDS: [&str; 3] = ["looking", "sleeping", "socket"];

    trait Duplex: Read + Write + Send {}
    impl<T: Read + Write + Send> Duplex for T {}

    pub(super) fn main() -> io::Result<()> {
        let words: Vec<String> = env::args().skip(1).collect();
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        match words.as_slice() {
            ["timer", kind, mode, millis] => run_timer(kind, mode, parse(millis)?),
            ["peer", kind, mode, address] => run_peer(kind, mode, address),
            [millis] => all(parse(millis)?),
            [] => all(MILLISECONDS),
            _ => Err(io::Error::other("the only argument is a number of milliseconds")),
        }
    }

    fn parse(millis: &str) -> io::Result<u64> {
        millis.parse().map_err(io::Error::other)
    }

    /// Prints every row, each from two new processes.
    fn all(millis: u64) -> io::Result<()> {
        for mode in MODES {
            for kind in KINDS {
                let mut command = Command::new(env::current_exe()?);
                command.args(["timer", kind, mode, &millis.to_string()]);
                command.env("PIPEWORK_SPIN", if kind == "sleeping" { "0" } else { "1" });
                if !command.status()?.success() {
                    return Err(io::Error::other(format!("{mode}, {kind}: the measurement failed")));
                }
            }
        }
        Ok(())
    }

    // ---------------------------------------------------------------- the process with the runtime

    fn run_timer(kind: &str, mode: &str, millis: u64) -> io::Result<()> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        LocalSet::new().block_on(&runtime, async {
            let count = Rc::new(Cell::new(0_u64));
            let mut peer = connect(kind, mode, &count).await?;
            let (before, begun) = (count.get(), Instant::now());
            let work = spawn_local(work(Duration::from_millis(millis)));
            let pieces = work.await.map_err(io::Error::other)?;
            let moved = (count.get() - before) as f64 / begun.elapsed().as_secs_f64();
            peer.kill()?;
            peer.wait()?;
            writeln!(
                io::stdout(),
                "{mode:8} {kind:9} {pieces:>8.0} pieces of work, {moved:>8.0} messages a second"
            )
        })
    }

    /// Opens the connections, each with a task that waits for its messages.
    async fn connect(kind: &str, mode: &str, count: &Rc<Cell<u64>>) -> io::Result<Child> {
        let answers = mode == "answers";
        let name = format!("busy-runtime-{}", std::process::id());
        if kind != "socket" {
            let listener = pipework::tokio::Listener::bind(&name)?;
            let peer = start(kind, mode, &name)?;
            for _ in 0..CONNECTIONS {
                spawn_local(talk(listener.accept().await?, answers, Rc::clone(count)));
            }
            return Ok(peer);
        }
        let directory = tempfile::tempdir()?;
        let path = directory.path().join(name);
        let listener = tokio::net::UnixListener::bind(&path)?;
        let peer = start(kind, mode, &path.to_string_lossy())?;
        for _ in 0..CONNECTIONS {
            spawn_local(talk(listener.accept().await?.0, answers, Rc::clone(count)));
        }
        Ok(peer)
    }

    fn start(kind: &str, mode: &str, address: &str) -> io::Result<Child> {
        Command::new(env::current_exe()?).args(["peer", kind, mode, address]).spawn()
    }

    /// Waits for messages, and in the mode `answers` sends a request for each. Ends with the connection.
    async fn talk<S: AsyncRead + AsyncWrite + Unpin>(mut stream: S, answers: bool, count: Rc<Cell<u64>>) {
        let mut message = [7; LEN];
        loop {
            if answers && stream.write_all(&message).await.is_err() {
                return;
            }
            if stream.read_exact(&mut message).await.is_err() {
                return;
            }
            count.set(count.get() + 1);
        }
    }

    /// Works until this much processor time is used. Returns the pieces of work per second of it.
    async fn work(limit: Duration) -> f64 {
        let (begun, mut pieces) = (processor_time(), 0_u64);
        loop {
            for _ in 0..PIECES {
                for step in 0..WORK {
                    black_box(step);
                }
                yield_now().await;
            }
            pieces += PIECES;
            let taken = processor_time().saturating_sub(begun);
            if taken >= limit {
                return pieces as f64 / taken.as_secs_f64();
            }
        }
    }

    fn processor_time() -> Duration {
        Duration::try_from(clock_gettime(ClockId::ProcessCPUTime)).unwrap_or_default()
    }

    // ---------------------------------------------------------------- the peer process

    fn run_peer(kind: &str, mode: &str, address: &str) -> io::Result<()> {
        let mut ends = Vec::new();
        for _ in 0..CONNECTIONS {
            let end: Box<dyn Duplex> = match kind {
                "socket" => Box::new(UnixStream::connect(address)?),
                _ => Box::new(pipework::connect(address)?),
            };
            ends.push(end);
        }
        match mode {
            "rare" => send(&mut ends, || {}, || thread::park_timeout(Duration::from_millis(1))),
            "often" => send(&mut ends, || busy(Duration::from_micros(5)), || {}),
            "answers" => answer(ends),
            _ => ends.iter_mut().try_for_each(|end| end.read(&mut [0]).map(drop)),
        }
    }

    /// Sends to one connection after the other, until a write fails.
    fn send(ends: &mut [Box<dyn Duplex>], between: impl Fn(), after_all: impl Fn()) -> io::Result<()> {
        loop {
            for end in &mut *ends {
                end.write_all(&[1; LEN])?;
                between();
            }
            after_all();
        }
    }

    fn busy(time: Duration) {
        let begun = Instant::now();
        while begun.elapsed() < time {
            spin_loop();
        }
    }

    /// Responds to each message, with a thread for each connection.
    fn answer(ends: Vec<Box<dyn Duplex>>) -> io::Result<()> {
        let threads: Vec<_> = ends
            .into_iter()
            .map(|mut end| {
                thread::spawn(move || -> io::Result<()> {
                    let mut message = [0; LEN];
                    loop {
                        end.read_exact(&mut message)?;
                        end.write_all(&message)?;
                    }
                })
            })
            .collect();
        threads.into_iter().try_for_each(|thread| thread.join().unwrap_or(Ok(())))
    }
}
