//! The crowd, and a random process of it killed every 50 ms; another one is stopped now and then.

use crate::{
    crowd::{CLIENTS, SERVERS, stop_servers},
    frame::Numbers,
    journal,
    process::{Home, Member, Plan, Role, Stop, files_left, say},
    verdict::{Kills, judge},
};
use libtest_mimic::Failed;
use pipework::{NamedPipe, PipeMode};
use std::{
    sync::mpsc,
    time::{Duration, Instant},
};

const SECONDS_VARIABLE: &str = "PIPEWORK_CHAOS_SECONDS";
const SECONDS: u64 = 4;
const BETWEEN_KILLS: Duration = Duration::from_millis(50);

pub(crate) fn run(mode: PipeMode) -> Result<(), Failed> {
    let seconds =
        std::env::var(SECONDS_VARIABLE).ok().and_then(|seconds| seconds.parse().ok()).unwrap_or(SECONDS);
    let home = Home::new();
    let plan = Plan { mode, name: "chaos".into(), count: None, journal: Some(home.journal()) };
    let mut crowd: Vec<Member> = (0..SERVERS).map(|_| home.start(Role::Server, &plan)).collect();
    crowd.extend((0..CLIENTS).map(|_| home.start(Role::Client, &plan)));
    for member in &mut crowd {
        if member.line() != "ready" {
            return Err(format!("a {:?} did not start", member.role).into());
        }
    }
    let kills = kill_for(Duration::from_secs(seconds), &home, &plan, &mut crowd)?;
    let (mut servers, clients): (Vec<Member>, Vec<Member>) =
        crowd.into_iter().partition(|member| member.role == Role::Server);
    end_clients(clients)?;
    stop_servers(&mut servers)?;
    for server in &mut servers {
        server.kill();
    }
    for server in &mut servers {
        server.reap();
    }
    expect_name_free(&home, &plan)?;
    let figures = judge(&journal::all(&home.journal()), &kills)?;
    say(&format!(
        "{mode:?}: {} kills in {seconds} s, {} connections, {} frames written; {} ends noticed after a kill, the longest \
         {:.1?} after it; of {} writes the reader was killed too",
        kills.count(),
        figures.connections,
        figures.frames,
        figures.noticed,
        figures.longest_delay,
        figures.unknown
    ));
    if figures.noticed == 0 || figures.connections < CLIENTS {
        return Err("nothing happened, so nothing was proven".into());
    }
    Ok(())
}

/// Kills one of the crowd every 50 ms, and puts another in its place. Stops another one now and then.
fn kill_for(time: Duration, home: &Home, plan: &Plan, crowd: &mut [Member]) -> Result<Kills, Failed> {
    // Nobody sends anything: a clock that ticks.
    let (_keep, ticks) = mpsc::channel::<()>();
    let begun = Instant::now();
    let (mut kills, mut numbers) = (Kills::default(), Numbers::new(journal::now()));
    let mut next = begun;
    // One process that does not move, from one kill to the next: it holds up nobody but its own peers.
    let mut stopped = None;
    while begun.elapsed() < time {
        next += BETWEEN_KILLS;
        if ticks.recv_timeout(next.saturating_duration_since(Instant::now())).is_ok() {
            return Err("the clock said something".into());
        }
        drop(stopped.take());
        // Servers are few, and their deaths teach most: every fourth.
        let index =
            if numbers.below(4) == 0 { numbers.below(SERVERS) } else { SERVERS + numbers.below(CLIENTS) };
        for member in crowd.iter_mut() {
            if let Some(status) = member.ended() {
                return Err(format!("a {:?} ended by itself: {status}", member.role).into());
            }
        }
        let member = &mut crowd[index];
        // Noted before, so that no delay is measured too short.
        kills.note(member.id, journal::now());
        member.kill();
        member.reap();
        *member = home.start(member.role, plan);
        stopped = (numbers.below(3) == 0).then(|| crowd[numbers.below(crowd.len())].stop());
    }
    drop(stopped);
    Ok(kills)
}

/// The survivors end what they are at, and hold no more than they did at their start.
fn end_clients(mut clients: Vec<Member>) -> Result<(), Failed> {
    for client in &mut clients {
        client.ask_to_stop();
    }
    for client in clients {
        let (text, status) = client.finish_when_done();
        if !status.success() || !text.contains("quiet ") {
            return Err(format!("a client ended with {status}:\n{text}").into());
        }
    }
    Ok(())
}

/// The process that comes first after all servers were killed.
pub(crate) fn inherit(plan: &Plan, _: &Stop) {
    // With `first`, which is what the builder begins with.
    let server = NamedPipe::new(&plan.name).unwrap_or_else(|error| panic!("creating: {error}"));
    let _client = pipework::connect(&plan.name).unwrap_or_else(|error| panic!("opening: {error}"));
    server.connect().unwrap();
    drop(server);
    assert!(pipework::list().unwrap().is_empty(), "no pipe is left");
}

/// All servers were killed: who comes next is the first, at its first try, and when it has gone nothing is left.
fn expect_name_free(home: &Home, plan: &Plan) -> Result<(), Failed> {
    let (text, status) = home.start(Role::Heir, plan).finish_when_done();
    if !status.success() {
        return Err(format!("the name could not be taken at once: {status}\n{text}").into());
    }
    let left = files_left(&home.pipes());
    if left.is_empty() { Ok(()) } else { Err(format!("files were left: {left:?}").into()) }
}
