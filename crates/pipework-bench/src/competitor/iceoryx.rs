//! iceoryx2's publish-subscribe, one service for each direction, without loss. A receiver either spins, or waits for the
//! notification of an event service.

use std::{fmt::Debug, io, thread};

use iceoryx2::{
    port::{listener::Listener, notifier::Notifier, publisher::Publisher, subscriber::Subscriber},
    prelude::{
        BackpressureStrategy, LogLevel, Node, NodeBuilder, PortFactory, ServiceName, SignalHandlingMode, ipc,
        set_log_level,
    },
    service::port_factory::{event, publish_subscribe},
};

use super::{Endpoint, Transport, unique_name, wrong_length};
use crate::peer_process::PeerProcess;

/// The smallest buffer, which also has to hold receipts.
const LEN_MIN: usize = 64;

pub(super) struct Iceoryx<const WAITING: bool>;

impl<const WAITING: bool> Transport for Iceoryx<WAITING> {
    type Endpoint = IceoryxEndpoint;

    async fn create_endpoint(peer: &mut PeerProcess, len: usize) -> io::Result<Self::Endpoint> {
        let address = unique_name();
        let node = new_node()?;
        let to_peer = Direction::new(&node, &format!("{address}/there"), WAITING)?;
        let from_peer = Direction::new(&node, &format!("{address}/back"), WAITING)?;
        let endpoint = IceoryxEndpoint::new(&to_peer, &from_peer, len)?;
        peer.start(&address)?;
        // A subscriber gets nothing that was published before it subscribed.
        while !(to_peer.has_receiver() && from_peer.has_sender()) {
            thread::yield_now();
        }
        Ok(endpoint)
    }

    async fn connect_endpoint(address: &str, len: usize) -> io::Result<Self::Endpoint> {
        let node = new_node()?;
        let to_peer = Direction::new(&node, &format!("{address}/there"), WAITING)?;
        let from_peer = Direction::new(&node, &format!("{address}/back"), WAITING)?;
        IceoryxEndpoint::new(&from_peer, &to_peer, len)
    }
}

fn new_node() -> io::Result<Node<ipc::Service>> {
    // By default it also logs each process that was killed while it ran.
    set_log_level(LogLevel::Error);
    NodeBuilder::new().signal_handling_mode(SignalHandlingMode::Disabled).create().map_err(failed)
}

/// The services of one direction.
struct Direction {
    samples: publish_subscribe::PortFactory<ipc::Service, [u8], ()>,
    events: Option<event::PortFactory<ipc::Service>>,
}

impl Direction {
    fn new(node: &Node<ipc::Service>, address: &str, waiting: bool) -> io::Result<Direction> {
        let name: ServiceName = address.try_into().map_err(failed)?;
        let samples = node
            .service_builder(&name)
            .publish_subscribe::<[u8]>()
            .enable_safe_overflow(false)
            .open_or_create()
            .map_err(failed)?;
        let events = waiting.then(|| node.service_builder(&name).event().open_or_create().map_err(failed));
        Ok(Direction { samples, events: events.transpose()? })
    }

    fn has_receiver(&self) -> bool {
        self.samples.dynamic_config().number_of_subscribers() > 0
            && self.events.as_ref().is_none_or(|events| events.dynamic_config().number_of_listeners() > 0)
    }

    fn has_sender(&self) -> bool {
        self.samples.dynamic_config().number_of_publishers() > 0
            && self.events.as_ref().is_none_or(|events| events.dynamic_config().number_of_notifiers() > 0)
    }
}

pub(super) struct IceoryxEndpoint {
    publisher: Publisher<ipc::Service, [u8], ()>,
    subscriber: Subscriber<ipc::Service, [u8], ()>,
    notifier: Option<Notifier<ipc::Service>>,
    listener: Option<Listener<ipc::Service>>,
}

impl IceoryxEndpoint {
    fn new(sending: &Direction, receiving: &Direction, len: usize) -> io::Result<IceoryxEndpoint> {
        // The listener first: a publisher may notify as soon as it sees the subscriber.
        let listener =
            receiving.events.as_ref().map(|events| events.listener_builder().create().map_err(failed));
        let listener = listener.transpose()?;
        let subscriber = receiving.samples.subscriber_builder().create().map_err(failed)?;
        let notifier =
            sending.events.as_ref().map(|events| events.notifier_builder().create().map_err(failed));
        let notifier = notifier.transpose()?;
        let publisher = sending
            .samples
            .publisher_builder()
            .initial_max_slice_len(len.max(LEN_MIN))
            .backpressure_strategy(BackpressureStrategy::RetryUntilDelivered)
            .create()
            .map_err(failed)?;
        Ok(IceoryxEndpoint { publisher, subscriber, notifier, listener })
    }
}

impl Endpoint for IceoryxEndpoint {
    async fn send(&mut self, payload: &[u8]) -> io::Result<()> {
        let sample = self.publisher.loan_slice_uninit(payload.len()).map_err(failed)?;
        let receivers = sample.write_from_slice(payload).send().map_err(failed)?;
        if receivers != 1 {
            return Err(io::Error::other(format!(
                "{receivers} subscribers received a sample instead of one"
            )));
        }
        if let Some(notifier) = &self.notifier {
            notifier.notify().map_err(failed)?;
        }
        Ok(())
    }

    async fn receive(&mut self, payload: &mut Vec<u8>) -> io::Result<()> {
        loop {
            if let Some(sample) = self.subscriber.receive().map_err(failed)? {
                let received = sample.payload();
                if received.len() != payload.len() {
                    return Err(wrong_length(received.len(), payload.len()));
                }
                payload.copy_from_slice(received);
                return Ok(());
            }
            match &self.listener {
                Some(listener) => listener.blocking_wait(|_event| ()).map(drop).map_err(failed)?,
                None => std::hint::spin_loop(),
            }
        }
    }
}

/// iceoryx2's errors have no text but their names.
fn failed(error: impl Debug) -> io::Error {
    io::Error::other(format!("iceoryx2: {error:?}"))
}
