//! How many connections there may be.

use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use super::config::Policy;

/// Counts connections, in all and of each account.
#[derive(Debug, Default)]
pub(crate) struct Limits {
    counts: Mutex<Counts>,
}

#[derive(Debug, Default)]
struct Counts {
    all: u32,
    of_callers: HashMap<String, u32>,
}

/// Why a connection is one too many.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Full {
    All(u32),
    Caller(u32),
}

impl fmt::Display for Full {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Full::All(limit) => write!(f, "there are {limit} connections already (connections)"),
            Full::Caller(limit) => {
                write!(f, "this account has {limit} connections already (connections-per-caller)")
            }
        }
    }
}

/// A place, given back when it is dropped.
#[derive(Debug)]
pub(crate) struct Place {
    limits: Arc<Limits>,
    caller: Option<String>,
}

impl Limits {
    /// Takes a place.
    pub(crate) fn enter(self: &Arc<Self>, policy: &Policy) -> Result<Place, Full> {
        let mut counts = self.lock();
        if counts.all >= policy.connections {
            return Err(Full::All(policy.connections));
        }
        counts.all += 1;
        Ok(Place { limits: Arc::clone(self), caller: None })
    }

    fn lock(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Place {
    /// Says who it is for: an account, by its identifier.
    pub(crate) fn give_to(&mut self, caller: &str, policy: &Policy) -> Result<(), Full> {
        let mut counts = self.limits.lock();
        let count = counts.of_callers.entry(caller.to_owned()).or_default();
        if *count >= policy.connections_per_caller {
            return Err(Full::Caller(policy.connections_per_caller));
        }
        *count += 1;
        drop(counts);
        self.caller = Some(caller.to_owned());
        Ok(())
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut counts = self.limits.lock();
        counts.all = counts.all.saturating_sub(1);
        let Some(caller) = &self.caller else { return };
        if let Some(count) = counts.of_callers.get_mut(caller) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                counts.of_callers.remove(caller);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn places_are_given_and_given_back() {
        let policy = Policy {
            busy_timeout: Duration::ZERO,
            connections_per_caller: 2,
            connections: 3,
            require_encryption: false,
        };
        let limits = Arc::new(Limits::default());
        let place_of = |caller: &str| {
            let mut place = limits.enter(&policy)?;
            place.give_to(caller, &policy).map(|()| place)
        };
        let first = place_of("a").unwrap();
        let second = place_of("a").unwrap();
        assert_eq!(place_of("a").unwrap_err(), Full::Caller(2), "and its place is free again");
        let third = place_of("b").unwrap();
        assert_eq!(place_of("c").unwrap_err(), Full::All(3));
        drop(first);
        place_of("a").unwrap();
        drop((second, third));
        assert!(limits.lock().of_callers.is_empty());
        assert_eq!(limits.lock().all, 0);
    }
}
