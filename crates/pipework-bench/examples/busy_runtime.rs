//! What connections on which much or little happens leave to the other tasks of their runtime (Linux).
//!
//! `cargo run --release -p pipework-bench --example busy_runtime [MILLISECONDS]`
//!
//! A runtime of one thread has 16 connections to another process, and one more task that does a little work again and again.
//! A row tells how often it did so in each second of processor time, and how much came over all connections meanwhile.

#[cfg(target_os = "linux")]
fn main() -> std::io::Result<()> {
    linux::main()
}

#[cfg(not(target_os = "linux"))]
fn main() -> std::process::ExitCode {
    use std::io::Write;

    writeln!(std::io::stderr(), "busy_runtime: only Linux is known to tell what it needs").ok();
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
    /// What one piece of work is: about a microsecond.
    const WORK: u32 = 4000;
    /// How often the work is done between two looks at the clock.
    const PIECES: u64 = 256;
    /// How long a measurement takes in milliseconds of processor time, unless the first argument says otherwise.
    const MILLISECONDS: u64 = 1500;
    /// What the other process does.
    const MODES: [&str; 4] = ["nothing", "rare", "often", "answers"];
    /// Over what: pipes whose tasks look before they sleep, pipes whose tasks do not, Unix sockets.
    const KINDS: [&str; 3] = ["looking", "sleeping", "socket"];

    trait Duplex: Read + Write + Send {}
    impl<T: Read + Write + Send> Duplex for T {}

    pub(super) fn main() -> io::Result<()> {
        let words: Vec<String> = env::args().skip(1).collect();
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        match words.as_slice() {
            ["near", kind, mode, millis] => near(kind, mode, parsed(millis)?),
            ["far", kind, mode, address] => far(kind, mode, address),
            [millis] => all(parsed(millis)?),
            [] => all(MILLISECONDS),
            _ => Err(io::Error::other("the only argument is a number of milliseconds")),
        }
    }

    fn parsed(millis: &str) -> io::Result<u64> {
        millis.parse().map_err(io::Error::other)
    }

    /// Every row, each in processes of its own.
    fn all(millis: u64) -> io::Result<()> {
        for mode in MODES {
            for kind in KINDS {
                let mut command = Command::new(env::current_exe()?);
                command.args(["near", kind, mode, &millis.to_string()]);
                command.env("PIPEWORK_SPIN", if kind == "sleeping" { "0" } else { "1" });
                if !command.status()?.success() {
                    return Err(io::Error::other(format!("{mode}, {kind}: the measurement failed")));
                }
            }
        }
        Ok(())
    }

    // ---------------------------------------------------------------- the process with the runtime

    fn near(kind: &str, mode: &str, millis: u64) -> io::Result<()> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        LocalSet::new().block_on(&runtime, async {
            let count = Rc::new(Cell::new(0_u64));
            let mut other = connect(kind, mode, &count).await?;
            let (before, begun) = (count.get(), Instant::now());
            let work = spawn_local(work(Duration::from_millis(millis)));
            let pieces = work.await.map_err(io::Error::other)?;
            let moved = (count.get() - before) as f64 / begun.elapsed().as_secs_f64();
            other.kill()?;
            other.wait()?;
            writeln!(
                io::stdout(),
                "{mode:8} {kind:9} {pieces:>8.0} pieces of work, {moved:>8.0} messages a second"
            )
        })
    }

    /// Makes the connections, each with a task that waits at it.
    async fn connect(kind: &str, mode: &str, count: &Rc<Cell<u64>>) -> io::Result<Child> {
        let answers = mode == "answers";
        let name = format!("busy-runtime-{}", std::process::id());
        if kind != "socket" {
            let listener = pipework::tokio::Listener::bind(&name)?;
            let other = start(kind, mode, &name)?;
            for _ in 0..CONNECTIONS {
                spawn_local(talk(listener.accept().await?, answers, Rc::clone(count)));
            }
            return Ok(other);
        }
        let directory = tempfile::tempdir()?;
        let path = directory.path().join(name);
        let listener = tokio::net::UnixListener::bind(&path)?;
        let other = start(kind, mode, &path.to_string_lossy())?;
        for _ in 0..CONNECTIONS {
            spawn_local(talk(listener.accept().await?.0, answers, Rc::clone(count)));
        }
        Ok(other)
    }

    fn start(kind: &str, mode: &str, address: &str) -> io::Result<Child> {
        Command::new(env::current_exe()?).args(["far", kind, mode, address]).spawn()
    }

    /// Waits for messages, and asks for each where they are answers; ends with the connection.
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

    /// Works for so long in processor time; gives how many pieces were done in each second of it.
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

    // ---------------------------------------------------------------- the other process

    fn far(kind: &str, mode: &str, address: &str) -> io::Result<()> {
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

    /// Sends to one after the other, until nobody reads.
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

    /// A thread for each connection.
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
