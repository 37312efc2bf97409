//! The other process of a sample, as seen from the one that measures.

use std::{
    io::{self, Write},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    thread::{self, JoinHandle},
};

use crate::args::FarJob;

/// The other process, started by the peer as soon as there is something to connect to.
#[derive(Debug)]
pub(crate) struct Far {
    job: FarJob,
    watch: Option<JoinHandle<()>>,
}

impl Far {
    pub(crate) fn new(job: FarJob) -> Far {
        Far { job, watch: None }
    }

    /// Starts it; it connects to this address.
    pub(crate) fn start(&mut self, address: &str) -> io::Result<()> {
        self.job.address = address.to_owned();
        let child = self.command()?.stdin(Stdio::null()).stdout(Stdio::null()).spawn()?;
        self.watch(child);
        Ok(())
    }

    /// Starts it with its stdin and stdout as the connection.
    pub(crate) fn start_piped(&mut self) -> io::Result<(ChildStdin, ChildStdout)> {
        let mut child = self.command()?.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let ends = child.stdin.take().zip(child.stdout.take());
        self.watch(child);
        ends.ok_or_else(|| io::Error::other("the other process has no pipes"))
    }

    /// Waits until it has ended.
    pub(crate) fn finish(self) -> io::Result<()> {
        match self.watch.map(JoinHandle::join) {
            Some(Ok(())) => Ok(()),
            Some(Err(_)) => Err(io::Error::other("the watch over the other process failed")),
            None => Err(io::Error::other("the other process was never started")),
        }
    }

    fn command(&self) -> io::Result<Command> {
        let mut command = Command::new(std::env::current_exe()?);
        let FarJob { peer, measure, count, address } = &self.job;
        command.args(["far", peer, measure, &count.to_string(), address]);
        Ok(command)
    }

    /// If it fails, this process may be waiting for it in a call that has no end; so this process ends, too.
    fn watch(&mut self, mut child: Child) {
        self.watch = Some(thread::spawn(move || match child.wait() {
            Ok(status) if status.success() => {}
            outcome => {
                // The exit code tells it as well.
                writeln!(io::stderr(), "pipework-bench: the other process failed: {outcome:?}").ok();
                std::process::exit(1);
            }
        }));
    }
}
