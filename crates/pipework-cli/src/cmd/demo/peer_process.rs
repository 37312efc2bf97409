//! Processes of this program with the hidden command ([`peer`](super::peer)), as the demo starts them.

use std::{
    env, io,
    process::{Child, Command, Stdio},
};

/// A peer process. Dropping it kills the process.
pub(super) struct PeerProcess(Child);

impl PeerProcess {
    pub(super) fn start(configure: impl FnOnce(&mut Command)) -> io::Result<PeerProcess> {
        let mut command = Command::new(env::current_exe()?);
        command.arg("demo-peer").stdin(Stdio::null()).stdout(Stdio::null());
        configure(&mut command);
        let explain = |error| io::Error::other(format!("can't start a peer process: {error}"));
        command.spawn().map(PeerProcess).map_err(explain)
    }

    /// Waits until the process has exited. Returns whether it succeeded.
    pub(super) fn finish(mut self) -> io::Result<bool> {
        self.0.wait().map(|status| status.success())
    }
}

impl Drop for PeerProcess {
    fn drop(&mut self) {
        // Both do nothing if the process has exited.
        self.0.kill().ok();
        self.0.wait().ok();
    }
}
