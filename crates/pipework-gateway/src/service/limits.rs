//! The limits on the number of connections.

use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use super::config::Policy;

/// Counts the connections, in total and per account.
#[derive(Debug, Default)]
pub(crate) struct Limits {
    counts: Mutex<Counts>,
}

#[derive(Debug, Default)]
struct Counts {
    total: u32,
    per_account: HashMap<String, u32>,
}

/// The limit that a new connection would exceed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LimitReached {
    Total(u32),
    Account(u32),
}

impl fmt::Display for LimitReached {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LimitReached::Total(limit) => {
                write!(f, "the limit of {limit} connections is reached (connections)")
            }
            LimitReached::Account(limit) => {
                write!(
                    f,
                    "this account has reached its limit of {limit} connections (connections-per-caller)"
                )
            }
        }
    }
}

/// Counts as one connection until it is dropped.
#[derive(Debug)]
pub(crate) struct ConnectionSlot {
    limits: Arc<Limits>,
    account: Option<String>,
}

impl Limits {
    /// Acquires a slot, which is not assigned to an account yet.
    pub(crate) fn acquire(self: &Arc<Self>, policy: &Policy) -> Result<ConnectionSlot, LimitReached> {
        let mut counts = self.lock();
        if counts.total >= policy.connections {
            return Err(LimitReached::Total(policy.connections));
        }
        counts.total += 1;
        Ok(ConnectionSlot { limits: Arc::clone(self), account: None })
    }

    fn lock(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ConnectionSlot {
    /// Assigns the slot to an account, which is named by its SID.
    pub(crate) fn assign_to(&mut self, account: &str, policy: &Policy) -> Result<(), LimitReached> {
        let mut counts = self.limits.lock();
        let count = counts.per_account.entry(account.to_owned()).or_default();
        if *count >= policy.connections_per_caller {
            return Err(LimitReached::Account(policy.connections_per_caller));
        }
        *count += 1;
        drop(counts);
        self.account = Some(account.to_owned());
        Ok(())
    }
}

impl Drop for ConnectionSlot {
    fn drop(&mut self) {
        let mut counts = self.limits.lock();
        counts.total = counts.total.saturating_sub(1);
        let Some(account) = &self.account else { return };
        if let Some(count) = counts.per_account.get_mut(account) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                counts.per_account.remove(account);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn slots_are_limited_and_released() {
        let policy = Policy {
            busy_timeout: Duration::ZERO,
            connections_per_caller: 2,
            connections: 3,
            require_encryption: false,
        };
        let limits = Arc::new(Limits::default());
        let slot_for = |account: &str| {
            let mut slot = limits.acquire(&policy)?;
            slot.assign_to(account, &policy).map(|()| slot)
        };
        let first = slot_for("a").unwrap();
        let second = slot_for("a").unwrap();
        assert_eq!(slot_for("a").unwrap_err(), LimitReached::Account(2), "and its slot is released");
        let third = slot_for("b").unwrap();
        assert_eq!(slot_for("c").unwrap_err(), LimitReached::Total(3));
        drop(first);
        slot_for("a").unwrap();
        drop((second, third));
        assert!(limits.lock().per_account.is_empty());
        assert_eq!(limits.lock().total, 0);
    }
}
