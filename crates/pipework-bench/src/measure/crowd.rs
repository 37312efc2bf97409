//! A server with a crowd of connections on which nothing has been sent: what each costs, and what they cost the others.

use std::{
    io::{self, BufRead, BufReader, Read, Write},
    process::{ChildStdin, ChildStdout},
    sync::mpsc,
    thread,
    time::Duration,
};

use super::{
    Figures, MICROSECONDS, Unit,
    pace::{Pace, Stamp},
};
use crate::{far::Far, job::Job, peer::Server, system};

pub(crate) const MEMORY: &str = "memory of each";
pub(crate) const SERVER_DESCRIPTORS: &str = "descriptors of each at the server";
pub(crate) const CLIENT_DESCRIPTORS: &str = "descriptors of each at the client";
pub(crate) const REST: &str = "processor time at rest";
pub(crate) const ALONE: &str = "round trip alone";
pub(crate) const AMONG: &str = "round trip among them";
pub(crate) const AMONG_OVER_ALONE: &str = "among them over alone";

/// Descriptors that a process needs besides.
const SPARE_DESCRIPTORS: u32 = 100;

pub(super) fn unit(metric: &str) -> Unit {
    match metric {
        MEMORY => Unit { symbol: "KiB", better: "less" },
        SERVER_DESCRIPTORS | CLIENT_DESCRIPTORS => Unit { symbol: "fd", better: "less" },
        REST => Unit { symbol: "ms in 10 s", better: "less" },
        AMONG_OVER_ALONE => Unit { symbol: "ratio", better: "less" },
        _ => MICROSECONDS,
    }
}

/// How many connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Crowd(pub(crate) u32);

impl Crowd {
    /// The server.
    pub(super) fn near<S: Server>(self, far: &mut Far, len: usize) -> io::Result<Figures> {
        let job = far.job().clone();
        let count = self.0.min(job.crowd_max);
        let each = |total: f64| total / f64::from(count);
        system::allow_descriptors((count + SPARE_DESCRIPTORS).into())?;
        let (listener, address) = S::listen()?;
        let mut clients = Clients::new(far.start_piped(&address)?);

        clients.ask(&format!("open {count}"))?;
        let mut alone = S::accept(&listener)?;
        clients.answer()?;
        let time_alone = round_trips(&mut alone, &mut clients, 0, len, job.budget())?;

        let memory = settled_memory(&job)?;
        let descriptors = (system::descriptor_count()?, clients.ask_number("descriptors")?);
        clients.ask("crowd")?;
        let mut crowd = (0..count).map(|_| S::accept(&listener)).collect::<io::Result<Vec<_>>>()?;
        clients.answer()?;
        let descriptors_now = (system::descriptor_count()?, clients.ask_number("descriptors")?);

        let memory = memory - settled_memory(&job)?;
        let rest = rest::<S>(&listener, &mut clients, &job)?;

        let middle = count / 2;
        let one = usize::try_from(middle).ok().and_then(|middle| crowd.get_mut(middle));
        let one = one.ok_or_else(|| io::Error::other("there is no crowd"))?;
        let time_among = round_trips(one, &mut clients, middle + 1, len, job.budget())?;
        let figures = [
            (MEMORY, each(memory as f64 / 1024.0)),
            (SERVER_DESCRIPTORS, each(descriptors_now.0 as f64 - descriptors.0 as f64)),
            (CLIENT_DESCRIPTORS, each(descriptors_now.1 - descriptors.1)),
            (REST, rest),
            (ALONE, time_alone),
            (AMONG, time_among),
            (AMONG_OVER_ALONE, time_among / time_alone),
        ];
        Ok(figures.map(|(metric, figure)| (metric.to_owned(), figure)).into())
    }
}

/// Memory that the system could give away, once its counts are together.
fn settled_memory(job: &Job) -> io::Result<i64> {
    if !system::refresh_memory_counts() {
        // It puts them together each second.
        idle(job.rest().min(Duration::from_millis(1100)));
    }
    system::available_memory()
}

fn idle(time: Duration) {
    // Nobody ever sends on it.
    let (_silent, idleness) = mpsc::channel::<()>();
    idleness.recv_timeout(time).ok();
}

/// Milliseconds of processor time, both processes together, for ten seconds in which the server waits for a client.
fn rest<S: Server>(listener: &S::Listener, clients: &mut Clients, job: &Job) -> io::Result<f64> {
    thread::scope(|scope| {
        let accepting = scope.spawn(|| S::accept(listener).map(drop));
        // What opening left to do is done.
        idle(job.rest() / 10);
        let before = system::cpu_time()?.as_secs_f64() * 1e9 + clients.ask_number("time")?;
        idle(job.rest());
        let after = system::cpu_time()?.as_secs_f64() * 1e9 + clients.ask_number("time")?;
        clients.ask("one")?;
        accepting.join().map_err(|_| io::Error::other("the accepting thread panicked"))??;
        clients.answer()?;
        Ok((after - before) / 1e6 * 10.0 / job.rest().as_secs_f64())
    })
}

/// Microseconds for one.
fn round_trips(
    stream: &mut (impl Read + Write),
    clients: &mut Clients,
    index: u32,
    len: usize,
    budget: Duration,
) -> io::Result<f64> {
    clients.ask(&format!("echo {index}"))?;
    let (mut sent, mut received) = (vec![1; len], vec![0; len]);
    let mut figure = 0.0;
    // After idleness a machine takes a while to be at its best; that is to burden neither of the two figures.
    for budget in [budget * 2, budget] {
        let mut pace = Pace::new(budget);
        loop {
            let stamp = pace.next();
            stamp.put(&mut sent);
            stream.write_all(&sent)?;
            stream.read_exact(&mut received)?;
            Stamp::check(&received, stamp.number)?;
            if stamp.is_last {
                break;
            }
        }
        let (count, time) = pace.end();
        figure = time.as_secs_f64() * 1e6 / f64::from(count);
    }
    clients.answer()?;
    Ok(figure)
}

/// The process with the clients, which does one thing after the other as it is asked, and answers each.
#[derive(Debug)]
struct Clients {
    questions: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Clients {
    fn new((questions, answers): (ChildStdin, ChildStdout)) -> Clients {
        Clients { questions, answers: BufReader::new(answers) }
    }

    fn ask(&mut self, question: &str) -> io::Result<()> {
        writeln!(self.questions, "{question}")
    }

    fn answer(&mut self) -> io::Result<f64> {
        let mut line = String::new();
        self.answers.read_line(&mut line)?;
        line.trim().parse().map_err(|_| io::Error::other(format!("the clients answered {line:?}")))
    }

    fn ask_number(&mut self, question: &str) -> io::Result<f64> {
        self.ask(question)?;
        self.answer()
    }
}

/// The clients.
pub(super) fn far<S: Server>(job: &Job, len: usize) -> io::Result<()> {
    let mut streams: Vec<S::Stream> = Vec::new();
    let mut count = 0;
    let connect = |streams: &mut Vec<S::Stream>, count: u32| {
        (0..count).try_for_each(|_| {
            streams.push(S::connect(&job.address)?);
            io::Result::Ok(())
        })
    };
    for question in io::stdin().lock().lines() {
        let question = question?;
        let (word, number) = question.split_once(' ').unwrap_or((&question, "0"));
        let number: u32 = number.parse().map_err(|_| io::Error::other(format!("what is {question:?}")))?;
        let mut answer = 0.0;
        match word {
            "open" => {
                count = number;
                system::allow_descriptors((count + SPARE_DESCRIPTORS).into())?;
                streams.reserve_exact(usize::try_from(count).map_err(io::Error::other)? + 2);
                connect(&mut streams, 1)?;
            }
            "crowd" => connect(&mut streams, count)?,
            "one" => connect(&mut streams, 1)?,
            "descriptors" => answer = system::descriptor_count()? as f64,
            "time" => answer = system::cpu_time()?.as_secs_f64() * 1e9,
            "echo" => {
                let stream = usize::try_from(number).ok().and_then(|index| streams.get_mut(index));
                echo(stream.ok_or_else(|| io::Error::other("no such connection"))?, len)?;
            }
            _ => return Err(io::Error::other(format!("what is {question:?}"))),
        }
        writeln!(io::stdout(), "{answer}")?;
    }
    Ok(())
}

fn echo(stream: &mut (impl Read + Write), len: usize) -> io::Result<()> {
    let mut piece = vec![0; len];
    for _pass in 0..2 {
        for number in 0.. {
            stream.read_exact(&mut piece)?;
            stream.write_all(&piece)?;
            if Stamp::check(&piece, number)?.is_last {
                break;
            }
        }
    }
    Ok(())
}
