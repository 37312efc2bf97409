//! The privileges that the gateway drops, and its limit on open files.

use rustix::{
    io::Errno,
    process::{Resource, Rlimit, getrlimit, setrlimit},
    thread::{CapabilitySet, CapabilitySets},
};

use super::failure::Failure;

/// The one capability that is kept: access to the pipes of all users, regardless of file modes. The library still
/// checks the access in each pipe's header.
const KEPT: CapabilitySet = CapabilitySet::DAC_OVERRIDE;

/// Drops every other capability for good, for this thread and the threads that it starts.
pub(crate) fn drop_capabilities() -> Result<(), Failure> {
    let drop_all = || {
        rustix::thread::set_no_new_privs(true)?;
        rustix::thread::clear_ambient_capability_set()?;
        for capability in bounding_set(rustix::thread::capability_is_in_bounding_set) {
            if !KEPT.contains(capability) {
                rustix::thread::remove_capability_from_bounding_set(capability)?;
            }
        }
        let sets = CapabilitySets { effective: KEPT, permitted: KEPT, inheritable: CapabilitySet::empty() };
        rustix::thread::set_capabilities(None, sets)
    };
    drop_all().map_err(|error| {
        Failure::from_error("dropping capabilities (which needs CAP_DAC_OVERRIDE and CAP_SETPCAP)", error)
    })
}

/// Each capability of this kernel that is in the bounding set of this process, by what the kernel answers.
fn bounding_set(
    is_in: impl Fn(CapabilitySet) -> rustix::io::Result<bool>,
) -> impl Iterator<Item = CapabilitySet> {
    (0..64)
        .map(|bit| CapabilitySet::from_bits_retain(1 << bit))
        .map_while(move |capability| match is_in(capability) {
            // The kernel has this one not, and none after it.
            Err(Errno::INVAL) => None,
            // Where the kernel does not answer (seccomp), the capability counts as held: dropping it reports the error.
            answer => Some((capability, answer.unwrap_or(true))),
        })
        .filter_map(|(capability, is_in)| is_in.then_some(capability))
}

/// Raises the soft limit on open files to the hard limit, and returns the new limit, if there is one.
pub(crate) fn raise_descriptor_limit() -> Option<u64> {
    let limit = getrlimit(Resource::Nofile);
    // If this fails, the old limit stays in force.
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum }).ok();
    getrlimit(Resource::Nofile).current
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_capability_that_cannot_be_looked_up_counts_as_held() {
        let last = CapabilitySet::from_bits_retain(1 << 3);
        let count = |answer: rustix::io::Result<bool>| {
            bounding_set(move |capability| if capability == last { Err(Errno::INVAL) } else { answer })
                .count()
        };
        assert_eq!(count(Ok(true)), 3);
        assert_eq!(count(Ok(false)), 0);
        assert_eq!(count(Err(Errno::PERM)), 3);
        assert_eq!(bounding_set(|_| Err(Errno::NOSYS)).count(), 64);
    }
}
