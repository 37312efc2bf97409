//! Whether smbd has gone on since it read the last bytes.
//!
//! smbd looks for the end of a byte pipe after it has read the bytes, and before it answers its client. If the socket
//! is closed by then, it discards the bytes. It does not sleep in between. So a process that has read everything and
//! then sleeps, or has run for a while, has answered. A process that is stopped or has to wait for a processor has not.

use std::{fs, path::PathBuf};

use tokio::net::UnixStream;

/// So much processor time lies beyond the answer, in the ticks of `/proc`, most often 10 ms each.
const TICKS_UNTIL_ANSWER: u64 = 3;
/// Where the processor time stands among the words after the program's name.
const USER_TIME: usize = 11;
const SYSTEM_TIME: usize = 12;

/// What the kernel reports of the smbd at the other end of a socket.
#[derive(Debug)]
pub(super) struct SmbdProcess {
    stat: PathBuf,
    ticks_before: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Activity {
    is_asleep: bool,
    ticks: u64,
}

impl SmbdProcess {
    /// Begins to observe. `None` if this process can't see the other one.
    pub(super) fn observe(socket: &UnixStream) -> Option<SmbdProcess> {
        let process = socket.peer_cred().ok()?.pid()?;
        let stat = PathBuf::from(format!("/proc/{process}/stat"));
        let ticks_before = parse(&fs::read_to_string(&stat).ok()?)?.ticks;
        Some(SmbdProcess { stat, ticks_before })
    }

    /// Whether smbd has answered its client since. `None` if it can't be seen any more.
    pub(super) fn has_answered(&self) -> Option<bool> {
        let activity = parse(&fs::read_to_string(&self.stat).ok()?)?;
        Some(activity.is_asleep || activity.ticks >= self.ticks_before.saturating_add(TICKS_UNTIL_ANSWER))
    }
}

fn parse(stat: &str) -> Option<Activity> {
    // The program's name may contain spaces and parentheses.
    let words: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let ticks = |index: usize| words.get(index)?.parse::<u64>().ok();
    Some(Activity {
        is_asleep: words.first() == Some(&"S"),
        ticks: ticks(USER_TIME)?.saturating_add(ticks(SYSTEM_TIME)?),
    })
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn sleep_and_processor_time_are_parsed() {
        let stat = |state: &str| format!("77 (sm) bd) {state} 1 2 3 4 5 6 7 8 9 10 30 12 0 0 20");
        assert_eq!(parse(&stat("S")), Some(Activity { is_asleep: true, ticks: 42 }));
        for state in ["R", "D", "T", "t"] {
            assert_eq!(parse(&stat(state)), Some(Activity { is_asleep: false, ticks: 42 }), "{state}");
        }
        assert_eq!(parse("77 (smbd) S 1 2"), None);
        assert_eq!(parse(""), None);
    }

    #[test]
    fn a_stopped_process_has_not_answered_and_a_running_one_has_after_a_while() {
        let mut child =
            Command::new("sh").args(["-c", "kill -STOP $$; while :; do :; done"]).spawn().unwrap();
        let stat = PathBuf::from(format!("/proc/{}/stat", child.id()));
        let text = || fs::read_to_string(&stat).unwrap();
        while !text().contains(") T ") {
            std::thread::yield_now();
        }
        let process = SmbdProcess { stat: stat.clone(), ticks_before: parse(&text()).unwrap().ticks };
        assert_eq!(process.has_answered(), Some(false));
        let id = rustix::process::Pid::from_child(&child);
        rustix::process::kill_process(id, rustix::process::Signal::CONT).unwrap();
        while process.has_answered() == Some(false) {
            std::thread::yield_now();
        }
        assert!(parse(&text()).unwrap().ticks >= TICKS_UNTIL_ANSWER);
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(process.has_answered(), None);
    }
}
