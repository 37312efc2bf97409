//! A writer whose memory group is full: the kernel kills it while it copies into the ring.

use crate::{
    home::{PATIENCE, Tried},
    plan::NAME,
    process::{Running, say, this_program},
};
use pipework::{ClientOptions, NamedPipe, NamedPipeBuilder, PipeStream};
use std::{
    fs,
    io::{self, Read, Write},
    path::{Path, PathBuf},
    process::ExitCode,
    time::{Duration, Instant},
};

/// What the group may have.
const MEMORY: &str = "16777216";
/// More than that.
const QUOTA: u32 = 256 << 20;
const BLOCK: usize = 64 * 1024;

/// A memory group, as long as this lives.
struct Group(PathBuf);

impl Drop for Group {
    fn drop(&mut self) {
        fs::remove_dir(&self.0).ok();
    }
}

impl Group {
    /// Of either version of control groups.
    fn new() -> Result<Group, String> {
        let name = format!("pipework-faults-{}", std::process::id());
        let versions = [("/sys/fs/cgroup/memory", "memory.limit_in_bytes"), ("/sys/fs/cgroup", "memory.max")];
        let mut why = String::new();
        for (parent, limit) in versions {
            let path = Path::new(parent).join(&name);
            if let Err(error) = fs::create_dir(&path) {
                why = format!("no memory group can be made: {error}");
                continue;
            }
            let group = Group(path);
            match fs::write(group.0.join(limit), MEMORY) {
                Ok(()) => return Ok(group),
                Err(error) => why = format!("a memory group takes no limit: {error}"),
            }
        }
        Err(why)
    }
}

pub(crate) fn run(findings: &mut Vec<String>) -> Tried {
    let group = Group::new()?;
    let directory = PathBuf::from(std::env::var_os("PIPEWORK_DIR").unwrap_or_default());
    let words = ["surrounded".to_owned(), format!("oom:{}", group.0.display())];
    let mut victim = Running::start(this_program(&words, &directory), Path::new("/dev/null"));
    if !victim.wait_for("ready", PATIENCE) {
        return Err("the writer can't join its memory group".into());
    }
    let text = survive(victim).unwrap_or_else(|error| {
        findings.push(error.to_string());
        String::new()
    });
    Ok(text)
}

/// Reads what the writer wrote, after it was killed.
fn survive(victim: Running) -> io::Result<String> {
    let stream = ClientOptions::new().open(NAME)?;
    let (status, text) = victim.finish(PATIENCE);
    if status.is_none_or(|status| status.code().is_some()) {
        return Err(io::Error::other("the kernel did not kill the writer"));
    }
    stream.set_read_timeout(Some(Duration::from_secs(1)))?;
    let written =
        text.lines().filter_map(|line| line.strip_prefix("wrote ")?.parse::<u64>().ok()).next_back();
    let written = written.unwrap_or(0);
    let blocks = read_all(&stream)?;
    if blocks < written {
        return Err(io::Error::other(format!("lost: {written} blocks were written, and {blocks} were read")));
    }
    let begun = Instant::now();
    // The first instance, at once.
    drop(NamedPipe::new(NAME)?);
    Ok(format!(
        "killed after {written} blocks of 64 KiB, {blocks} were read; the name was free after {:.1?}",
        begun.elapsed()
    ))
}

/// Counts the whole blocks that are there, and checks each, up to the end.
fn read_all(mut stream: &PipeStream) -> io::Result<u64> {
    let mut block = vec![0; BLOCK];
    for number in 0.. {
        let mut done = 0;
        while done < BLOCK {
            let len = stream.read(&mut block[done..])?;
            if len == 0 {
                return Ok(number);
            }
            done += len;
        }
        if block != block_of(number) {
            return Err(io::Error::other(format!("WRONG DATA in block {number}")));
        }
    }
    unreachable!("numbers do not end")
}

fn block_of(number: u64) -> Vec<u8> {
    number.to_le_bytes().into_iter().cycle().take(BLOCK).collect()
}

/// The writer.
pub(crate) fn run_victim(group: &str) -> ExitCode {
    let outcome = fs::write(Path::new(group).join("cgroup.procs"), "0").and_then(|()| write_until_killed());
    outcome.map_or(ExitCode::FAILURE, |()| ExitCode::SUCCESS)
}

fn write_until_killed() -> io::Result<()> {
    let pipe = NamedPipeBuilder::new(NAME).out_buffer_size(QUOTA).create()?;
    say("ready");
    pipe.connect()?;
    for number in 0..u64::from(QUOTA) / BLOCK as u64 {
        (&pipe).write_all(&block_of(number))?;
        say(&format!("wrote {}", number + 1));
    }
    Ok(())
}
