//! Two servers and a hundred clients on one name.

use crate::process::{Home, Member, Plan, Role, say};
use libtest_mimic::Failed;
use pipework::PipeMode;
use std::time::Instant;

pub(crate) const SERVERS: usize = 2;
pub(crate) const CLIENTS: usize = 100;
/// Connections in both modes together, unless the variable has another number.
const CONNECTIONS: u32 = 1000;
const CONNECTIONS_VARIABLE: &str = "PIPEWORK_CROWD_CONNECTIONS";

pub(crate) fn run(mode: PipeMode) -> Result<(), Failed> {
    let all =
        std::env::var(CONNECTIONS_VARIABLE).ok().and_then(|count| count.parse().ok()).unwrap_or(CONNECTIONS);
    // Half of them in this mode, the same number for each client.
    let each = all / 2 / u32::try_from(CLIENTS)?;
    let home = Home::new();
    let plan = Plan { mode, name: "crowd".into(), count: Some(each), journal: None };
    let mut servers: Vec<Member> = (0..SERVERS).map(|_| home.start(Role::Server, &plan)).collect();
    for server in &mut servers {
        if server.line() != "ready" {
            return Err("a server did not start".into());
        }
    }
    let begun = Instant::now();
    let clients: Vec<Member> = (0..CLIENTS).map(|_| home.start(Role::Client, &plan)).collect();
    let mut bytes = 0;
    for client in clients {
        let (text, status) = client.finish_when_done();
        let quiet = text.lines().find_map(|line| line.strip_prefix("quiet "));
        let Some((done, moved)) = quiet.and_then(|numbers| numbers.split_once(' ')) else {
            return Err(format!("a client ended with {status}:\n{text}").into());
        };
        if done != each.to_string() {
            return Err(format!("a client had {done} connections instead of {each}").into());
        }
        bytes += moved.parse::<u64>()?;
    }
    let time = begun.elapsed();
    let served = stop_servers(&mut servers)?;
    let total: u64 = served.iter().sum();
    let wanted = CLIENTS as u64 * u64::from(each);
    if total != wanted {
        return Err(format!("{total} connections were served instead of {wanted}: {served:?}").into());
    }
    say(&format!(
        "{mode:?}: {total} connections of {CLIENTS} clients to {SERVERS} servers ({served:?}), {} MiB each way, in \
         {time:.1?}",
        bytes >> 20
    ));
    Ok(())
}

/// Asks all servers to stop, and says how many connections each had. They still hold their instances then.
pub(crate) fn stop_servers(servers: &mut [Member]) -> Result<Vec<u64>, Failed> {
    for server in servers.iter_mut() {
        server.ask_to_stop();
    }
    let mut served = Vec::new();
    for server in servers {
        let mut line = server.line();
        if line == "ready" {
            // One that took another's place, and was not heard before.
            line = server.line();
        }
        let count = line
            .strip_prefix("quiet ")
            .ok_or_else(|| format!("a server said {line:?} instead of its count"))?;
        served.push(count.parse()?);
    }
    Ok(served)
}
