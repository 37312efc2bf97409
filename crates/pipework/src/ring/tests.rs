//! The rings, against honest peers, against every interleaving, and against liars.

#[cfg(not(loom))]
mod epochs;
#[cfg(not(loom))]
mod hostile_words;
#[cfg(loom)]
mod interleavings;
#[cfg(not(loom))]
mod large;
#[cfg(not(loom))]
mod threads;
#[cfg(not(loom))]
mod words;
