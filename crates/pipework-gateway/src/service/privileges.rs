//! What root can do and the gateway can't.

use std::fs;

use rustix::{
    process::{Resource, Rlimit, getrlimit, setrlimit},
    thread::{CapabilitySet, CapabilitySets},
};

use super::Failure;

/// All that is kept: reaching pipes of all users, whatever their modes say. Whom a pipe lets in is decided by its header.
const KEPT: CapabilitySet = CapabilitySet::DAC_OVERRIDE;

/// Gives up every other capability for good, for this thread and those that it starts.
pub(crate) fn give_up() -> Result<(), Failure> {
    let give_up = || {
        rustix::thread::set_no_new_privs(true)?;
        rustix::thread::clear_ambient_capability_set()?;
        for capability in known() {
            if !KEPT.contains(capability) {
                rustix::thread::remove_capability_from_bounding_set(capability)?;
            }
        }
        let sets = CapabilitySets { effective: KEPT, permitted: KEPT, inheritable: CapabilitySet::empty() };
        rustix::thread::set_capabilities(None, sets)
    };
    give_up().map_err(|error| {
        Failure::at(
            "giving up rights that are not needed (CAP_DAC_OVERRIDE and CAP_SETPCAP are needed for it)",
            error,
        )
    })
}

/// Each capability that this kernel has and that this process could ever get.
fn known() -> impl Iterator<Item = CapabilitySet> {
    let last = fs::read_to_string("/proc/sys/kernel/cap_last_cap");
    let last = last.ok().and_then(|text| text.trim().parse().ok()).unwrap_or(40_u32);
    (0..=last.min(63))
        .map(|bit| CapabilitySet::from_bits_retain(1 << bit))
        .filter(|capability| rustix::thread::capability_is_in_bounding_set(*capability).unwrap_or(true))
}

/// Lets this process open as many files as it may; tells how many that is, if there is a limit.
pub(crate) fn raise_descriptors() -> Option<u64> {
    let limit = getrlimit(Resource::Nofile);
    // Where it fails, what there was is there still.
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum }).ok();
    getrlimit(Resource::Nofile).current
}
