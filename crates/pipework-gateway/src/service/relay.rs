//! The relay of one connection: data from smbd goes into the pipe, data from the pipe goes to smbd, both directions
//! at once.
//!
//! Each direction reads again only after it has written what it read, so back-pressure reaches from one peer to the
//! other. Data that a peer wrote before its close is delivered before the close.

mod bytes;
mod close_reason;
mod messages;
mod smbd_process;
mod smbd_socket;
mod transfer;

use std::{pin::pin, time::Duration};

use pipework::{PipeMode, tokio::NamedPipeClient};
use tokio::{
    net::UnixStream,
    time::{self, Instant},
};
use tracing::{info, warn};

use super::{
    admission::{Connection, OpenAttempt},
    socket::is_send_queue_empty,
};
use close_reason::CloseReason;
use smbd_process::SmbdProcess;
use transfer::{ByteCounts, Relay};

/// How long smbd may take from its last read to the answer to its client. smbd discards data if its socket is closed in
/// between. A stopped process needs as long as it is stopped.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(60);
/// The time that smbd gets for its answer if the gateway can't see its process.
const UNSEEN_ANSWER_TIME: Duration = Duration::from_secs(1);
/// The first and the longest interval at which smbd's socket and process are polled.
const POLL_INTERVAL_MIN: Duration = Duration::from_millis(1);
const POLL_INTERVAL_MAX: Duration = Duration::from_millis(50);

/// Runs a connection until it is closed, and logs how it ended.
pub(crate) async fn run(connection: Connection) {
    let begun = Instant::now();
    let Connection { socket, pipe, target, busy_timeout, account, address, _slot, _running } = connection;
    let counts = ByteCounts::default();
    let reason = match UnixStream::from_std(socket) {
        Err(error) => CloseReason::Failed(error),
        Ok(socket) => match obtain_pipe(pipe, busy_timeout, target.messages).await {
            Err(reason) => reason,
            Ok(pipe) => {
                let relay = Relay { socket: &socket, pipe: &pipe, target: &target, counts: &counts };
                if target.messages {
                    run_directions(&relay, messages::to_server(&relay), messages::to_client(&relay)).await
                } else {
                    run_directions(&relay, bytes::to_server(&relay), bytes::to_client(&relay)).await
                }
            }
        },
    };
    let seconds = begun.elapsed().as_secs_f64();
    let (received, sent) = (counts.to_server(), counts.to_client());
    let pipe = &target.label;
    info!(?account, ?address, ?pipe, received, sent, seconds, "closed: {reason}");
}

/// Returns the open pipe, and waits for an instance if the pipe is busy. Data that the client writes meanwhile stays
/// in the socket.
async fn obtain_pipe(
    pipe: OpenAttempt,
    timeout: Duration,
    messages: bool,
) -> Result<NamedPipeClient, CloseReason> {
    let pipe = match pipe {
        OpenAttempt::Open(pipe) => pipe,
        OpenAttempt::Busy(opener) => {
            opener.wait_for_instance(timeout).await.map_err(CloseReason::NoInstance)?
        }
    };
    let mode = pipe.info().map_err(CloseReason::Failed)?.mode;
    if (mode == PipeMode::Message) == messages { Ok(pipe) } else { Err(CloseReason::ModeChanged) }
}

/// Runs both directions until the connection is closed and all data that can be delivered is delivered.
async fn run_directions(
    relay: &Relay<'_>,
    to_server: impl Future<Output = CloseReason>,
    to_client: impl Future<Output = CloseReason>,
) -> CloseReason {
    enum First {
        ToServer(CloseReason),
        ToClient(CloseReason),
    }
    let (mut to_server, mut to_client) = (pin!(to_server), pin!(to_client));
    let first = tokio::select! {
        reason = &mut to_server => First::ToServer(reason),
        reason = &mut to_client => First::ToClient(reason),
    };
    match first {
        // The server is gone. What it wrote before can still be read from the pipe.
        First::ToServer(reason @ CloseReason::ServerClosed) => {
            let reason = if relay.target.outbound { to_client.await } else { reason };
            drain_to_smbd(relay.socket).await;
            reason
        }
        First::ToClient(reason @ (CloseReason::ServerClosed | CloseReason::MessageTooLong)) => {
            drain_to_smbd(relay.socket).await;
            reason
        }
        // The client is gone. What it wrote before can still be read from the socket.
        First::ToClient(CloseReason::ClientClosed) => to_server.await,
        First::ToServer(reason) | First::ToClient(reason) => reason,
    }
}

/// Waits until smbd has read everything and has answered its client, or has closed its socket.
async fn drain_to_smbd(socket: &UnixStream) {
    let drain = async {
        poll_until(|| !matches!(is_send_queue_empty(socket), Ok(false))).await;
        let smbd = SmbdProcess::observe(socket);
        let has_answered = || smbd.as_ref().and_then(SmbdProcess::has_answered) != Some(false);
        if time::timeout(ANSWER_TIMEOUT, poll_until(has_answered)).await.is_err() {
            warn!("smbd has not run for {ANSWER_TIMEOUT:?}; its client may lose the last bytes");
        }
        if smbd.is_none_or(|smbd| smbd.has_answered().is_none()) {
            time::sleep(UNSEEN_ANSWER_TIME).await;
        }
    };
    tokio::select! {
        () = drain => {}
        () = smbd_socket::wait_for_close(socket) => {}
    }
}

async fn poll_until(holds: impl Fn() -> bool) {
    let mut interval = POLL_INTERVAL_MIN;
    while !holds() {
        time::sleep(interval).await;
        interval = (interval * 2).min(POLL_INTERVAL_MAX);
    }
}
