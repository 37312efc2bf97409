//! One module for each command, and what commands share.

pub(crate) mod call;
pub(crate) mod client;
pub(crate) mod connect;
pub(crate) mod demo;
pub(crate) mod list;
pub(crate) mod path;
pub(crate) mod serve;
pub(crate) mod wait;
