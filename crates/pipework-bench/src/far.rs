//! The other process of a sample, as seen from the one that times.

use std::{
    io::{self, Write},
    process::{Child, ChildStdin, ChildStdout, Stdio},
    thread::{self, JoinHandle},
};

use crate::job::Job;

/// The other process, started by the peer as soon as there is something to connect to.
#[derive(Debug)]
pub(crate) struct Far {
    job: Job,
    watch: Option<JoinHandle<()>>,
}

impl Far {
    pub(crate) fn new(job: &Job) -> Far {
        Far { job: job.clone(), watch: None }
    }

    /// What it is to do.
    pub(crate) fn job(&self) -> &Job {
        &self.job
    }

    /// Starts it; it connects to this address.
    pub(crate) fn start(&mut self, address: &str) -> io::Result<()> {
        self.job.address = address.to_owned();
        let child = self.job.command("far")?.stdin(Stdio::null()).stdout(Stdio::null()).spawn()?;
        self.watch(child);
        Ok(())
    }

    /// Starts it with pipes as its stdin and stdout, which may be the connection if there is no address.
    pub(crate) fn start_piped(&mut self, address: &str) -> io::Result<(ChildStdin, ChildStdout)> {
        self.job.address = address.to_owned();
        let mut child = self.job.command("far")?.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let ends = child.stdin.take().zip(child.stdout.take());
        self.watch(child);
        ends.ok_or_else(|| io::Error::other("the other process has no pipes"))
    }

    /// Starts it with these as its stdin and stdout, which are the connection.
    pub(crate) fn start_with(&mut self, stdin: impl Into<Stdio>, stdout: impl Into<Stdio>) -> io::Result<()> {
        let child = self.job.command("far")?.stdin(stdin).stdout(stdout).spawn()?;
        self.watch(child);
        Ok(())
    }

    /// Waits until it has ended.
    pub(crate) fn finish(self) -> io::Result<()> {
        match self.watch.map(JoinHandle::join) {
            Some(Ok(())) => Ok(()),
            Some(Err(_)) => Err(io::Error::other("the watch over the other process failed")),
            None => Err(io::Error::other("the other process was never started")),
        }
    }

    /// If it fails, this process may be waiting for it in a call that has no end; so this process ends, too.
    fn watch(&mut self, mut child: Child) {
        self.watch = Some(thread::spawn(move || match child.wait() {
            Ok(status) if status.success() => {}
            outcome => {
                // The exit code tells it as well.
                writeln!(io::stderr(), "the other process failed: {outcome:?}").ok();
                std::process::exit(1);
            }
        }));
    }
}
