//! The life of a server instance, as a pure state machine.
//!
//! A *generation* numbers its connections, so that nothing that happens to connection N can change what the instance
//! does with connection N+1.

/// Where an instance is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// A client may open it.
    Listening,
    /// A client has opened it.
    Connected,
    /// The client has left; only `disconnect` makes the instance usable again (rule C3).
    Closing,
    /// No client can open it until the server connects again.
    Disconnected,
}

/// The work that a server's `connect` has to do now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Connect {
    /// Listen again first.
    Listen,
    /// Wait for a client.
    Wait,
    /// Nothing: a client is there (rule C7).
    Already,
    /// Say that the client came and left (rule C2).
    Left,
}

/// Why an instance can't be used as a connected end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unusable {
    /// No client yet (rule C6).
    Listening,
    /// Disconnected (rule C7).
    Disconnected,
}

/// The state of an instance, and how often it was connected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Instance {
    state: State,
    generation: u64,
}

impl Instance {
    /// A new instance listens from its creation (rule N8).
    pub(crate) fn new() -> Instance {
        Instance { state: State::Listening, generation: 0 }
    }

    /// The work that a server's `connect` has to do.
    pub(crate) fn connect(self) -> Connect {
        match self.state {
            State::Disconnected => Connect::Listen,
            State::Listening => Connect::Wait,
            State::Connected => Connect::Already,
            State::Closing => Connect::Left,
        }
    }

    /// The connection that reads and writes go to, by its generation.
    pub(crate) fn usable(self) -> Result<u64, Unusable> {
        match self.state {
            State::Connected | State::Closing => Ok(self.generation),
            State::Listening => Err(Unusable::Listening),
            State::Disconnected => Err(Unusable::Disconnected),
        }
    }

    /// The instance listens again; only from `Disconnected`.
    pub(crate) fn listens(&mut self) {
        if self.state == State::Disconnected {
            self.state = State::Listening;
        }
    }

    /// A client was accepted: the beginning of the next generation, whose number this is.
    pub(crate) fn client_came(&mut self) -> u64 {
        if self.state == State::Listening {
            self.state = State::Connected;
            self.generation += 1;
        }
        self.generation
    }

    /// The client of `generation` has left; news of an earlier one change nothing.
    pub(crate) fn client_left(&mut self, generation: u64) {
        if self.state == State::Connected && generation == self.generation {
            self.state = State::Closing;
        }
    }

    /// Disconnects the client, or stops listening; `false` when there is nothing to disconnect.
    pub(crate) fn disconnect(&mut self) -> bool {
        let was = std::mem::replace(&mut self.state, State::Disconnected);
        was != State::Disconnected
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_instance_listens_from_its_creation() {
        let instance = Instance::new();
        assert_eq!(instance.state, State::Listening);
        assert_eq!(instance.connect(), Connect::Wait);
        assert_eq!(instance.usable(), Err(Unusable::Listening));
    }

    #[test]
    fn a_client_comes_leaves_and_blocks_the_instance_until_disconnect_and_connect() {
        let mut instance = Instance::new();
        assert_eq!(instance.client_came(), 1);
        assert_eq!(instance.connect(), Connect::Already);
        assert_eq!(instance.usable(), Ok(1));
        instance.client_left(1);
        assert_eq!(instance.state, State::Closing);
        assert_eq!(instance.connect(), Connect::Left);
        assert_eq!(instance.usable(), Ok(1), "what the client left can still be read");
        assert!(instance.disconnect());
        assert_eq!(instance.connect(), Connect::Listen);
        assert_eq!(instance.usable(), Err(Unusable::Disconnected));
        instance.listens();
        assert_eq!(instance.connect(), Connect::Wait);
        assert_eq!(instance.client_came(), 2);
    }

    #[test]
    fn news_of_an_earlier_generation_change_nothing() {
        let mut instance = Instance::new();
        let first = instance.client_came();
        instance.disconnect();
        instance.listens();
        let second = instance.client_came();
        instance.client_left(first);
        assert_eq!(instance.state, State::Connected);
        instance.client_left(second);
        assert_eq!(instance.state, State::Closing);
    }

    #[test]
    fn only_the_right_state_moves_on() {
        let mut instance = Instance::new();
        instance.listens();
        assert_eq!(instance.state, State::Listening);
        assert!(instance.disconnect(), "a listening instance can be disconnected");
        assert!(!instance.disconnect());
        assert_eq!(instance.client_came(), 0, "no client comes to a disconnected instance");
        assert_eq!(instance.state, State::Disconnected);
        instance.client_left(0);
        assert_eq!(instance.state, State::Disconnected);
        instance.listens();
        instance.client_came();
        instance.listens();
        assert_eq!(instance.state, State::Connected);
        assert_eq!(instance.client_came(), 1, "one client at a time");
    }
}
