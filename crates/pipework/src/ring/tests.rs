//! The rings, against honest peers, against every interleaving, and against liars.

#[cfg(loom)]
mod interleavings;
#[cfg(not(loom))]
mod lies;
