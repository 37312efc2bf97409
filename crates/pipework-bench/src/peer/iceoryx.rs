//! iceoryx2's publish and subscribe, one service each way, no sample lost. A receiver either spins, or has an event service
//! beside each and waits for its notification.

use std::{fmt::Debug, io, thread};

use iceoryx2::{
    port::{listener::Listener, notifier::Notifier, publisher::Publisher, subscriber::Subscriber},
    prelude::{
        BackpressureStrategy, LogLevel, Node, NodeBuilder, PortFactory, ServiceName, SignalHandlingMode, ipc,
        set_log_level,
    },
    service::port_factory::{event, publish_subscribe},
};

use super::{End, Peer, unique_name, wrong_length};
use crate::far::Far;

/// The shortest length for which room is made: receipts are sent, too.
const LEN_MIN: usize = 64;

pub(super) struct Iceoryx<const WAITS: bool>;

impl<const WAITS: bool> Peer for Iceoryx<WAITS> {
    type End = IceoryxEnd;

    async fn near(far: &mut Far, len: usize) -> io::Result<Self::End> {
        let address = unique_name();
        let node = new_node()?;
        let there = Way::new(&node, &format!("{address}/there"), WAITS)?;
        let back = Way::new(&node, &format!("{address}/back"), WAITS)?;
        let end = IceoryxEnd::new(&there, &back, len)?;
        far.start(&address)?;
        // Who comes later gets nothing of what was published before.
        while !(there.has_receiver() && back.has_sender()) {
            thread::yield_now();
        }
        Ok(end)
    }

    async fn far(address: &str, len: usize) -> io::Result<Self::End> {
        let node = new_node()?;
        let there = Way::new(&node, &format!("{address}/there"), WAITS)?;
        let back = Way::new(&node, &format!("{address}/back"), WAITS)?;
        IceoryxEnd::new(&back, &there, len)
    }
}

fn new_node() -> io::Result<Node<ipc::Service>> {
    // Otherwise it tells about each process that was killed in its time.
    set_log_level(LogLevel::Error);
    NodeBuilder::new().signal_handling_mode(SignalHandlingMode::Disabled).create().map_err(failed)
}

/// The services of one direction.
struct Way {
    samples: publish_subscribe::PortFactory<ipc::Service, [u8], ()>,
    events: Option<event::PortFactory<ipc::Service>>,
}

impl Way {
    fn new(node: &Node<ipc::Service>, address: &str, waits: bool) -> io::Result<Way> {
        let name: ServiceName = address.try_into().map_err(failed)?;
        let samples = node
            .service_builder(&name)
            .publish_subscribe::<[u8]>()
            .enable_safe_overflow(false)
            .open_or_create()
            .map_err(failed)?;
        let events = waits.then(|| node.service_builder(&name).event().open_or_create().map_err(failed));
        Ok(Way { samples, events: events.transpose()? })
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

pub(super) struct IceoryxEnd {
    publisher: Publisher<ipc::Service, [u8], ()>,
    subscriber: Subscriber<ipc::Service, [u8], ()>,
    notifier: Option<Notifier<ipc::Service>>,
    listener: Option<Listener<ipc::Service>>,
}

impl IceoryxEnd {
    fn new(sending: &Way, receiving: &Way, len: usize) -> io::Result<IceoryxEnd> {
        // The listener first: whoever sees the subscriber may notify.
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
        Ok(IceoryxEnd { publisher, subscriber, notifier, listener })
    }
}

impl End for IceoryxEnd {
    async fn send(&mut self, piece: &[u8]) -> io::Result<()> {
        let sample = self.publisher.loan_slice_uninit(piece.len()).map_err(failed)?;
        let receivers = sample.write_from_slice(piece).send().map_err(failed)?;
        if receivers != 1 {
            return Err(io::Error::other(format!("{receivers} subscribers got a sample, not one")));
        }
        if let Some(notifier) = &self.notifier {
            notifier.notify().map_err(failed)?;
        }
        Ok(())
    }

    async fn receive(&mut self, piece: &mut Vec<u8>) -> io::Result<()> {
        loop {
            if let Some(sample) = self.subscriber.receive().map_err(failed)? {
                let received = sample.payload();
                if received.len() != piece.len() {
                    return Err(wrong_length(received.len(), piece.len()));
                }
                piece.copy_from_slice(received);
                return Ok(());
            }
            match &self.listener {
                Some(listener) => listener.blocking_wait(|_event| ()).map(drop).map_err(failed)?,
                None => std::hint::spin_loop(),
            }
        }
    }
}

/// Its errors say what they are by their names only.
fn failed(error: impl Debug) -> io::Error {
    io::Error::other(format!("iceoryx2: {error:?}"))
}
