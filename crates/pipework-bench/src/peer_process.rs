//! The peer process of a sample, as the timing process sees it.

use std::{
    io::{self, Write},
    process::{Child, ChildStdin, ChildStdout, Stdio},
    thread::{self, JoinHandle},
};

use crate::sample_args::{PEER_PROCESS, SampleArgs};

/// The process at the other end. A competitor starts it as soon as there is something to connect to.
#[derive(Debug)]
pub(crate) struct PeerProcess {
    args: SampleArgs,
    watcher: Option<JoinHandle<()>>,
}

impl PeerProcess {
    pub(crate) fn new(args: &SampleArgs) -> PeerProcess {
        PeerProcess { args: args.clone(), watcher: None }
    }

    /// The arguments of the sample.
    pub(crate) fn args(&self) -> &SampleArgs {
        &self.args
    }

    /// Starts the process, which connects to this address.
    pub(crate) fn start(&mut self, address: &str) -> io::Result<()> {
        self.args.address = address.to_owned();
        let child = self.args.command(PEER_PROCESS)?.stdin(Stdio::null()).stdout(Stdio::null()).spawn()?;
        self.watch(child);
        Ok(())
    }

    /// Starts the process with pipes as its stdin and stdout. Without an address they are the connection.
    pub(crate) fn start_piped(&mut self, address: &str) -> io::Result<(ChildStdin, ChildStdout)> {
        self.args.address = address.to_owned();
        let mut child =
            self.args.command(PEER_PROCESS)?.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let ends = child.stdin.take().zip(child.stdout.take());
        self.watch(child);
        ends.ok_or_else(|| io::Error::other("the peer process has no pipes"))
    }

    /// Starts the process with the connection as its stdin and stdout.
    pub(crate) fn start_with(&mut self, stdin: impl Into<Stdio>, stdout: impl Into<Stdio>) -> io::Result<()> {
        let child = self.args.command(PEER_PROCESS)?.stdin(stdin).stdout(stdout).spawn()?;
        self.watch(child);
        Ok(())
    }

    /// Waits until the process has ended.
    pub(crate) fn finish(self) -> io::Result<()> {
        match self.watcher.map(JoinHandle::join) {
            Some(Ok(())) => Ok(()),
            Some(Err(_)) => Err(io::Error::other("the thread that watches the peer process panicked")),
            None => Err(io::Error::other("the peer process was never started")),
        }
    }

    /// Ends this process if the peer process fails: a call that waits for the peer might never return.
    fn watch(&mut self, mut child: Child) {
        self.watcher = Some(thread::spawn(move || match child.wait() {
            Ok(status) if status.success() => {}
            outcome => {
                // The exit code reports the failure even if stderr is closed.
                writeln!(io::stderr(), "the peer process failed: {outcome:?}").ok();
                std::process::exit(1);
            }
        }));
    }
}
