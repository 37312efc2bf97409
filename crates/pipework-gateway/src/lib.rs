//! Lets callers of a Samba server into local named pipes.
pub mod npa;
