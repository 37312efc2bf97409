//! Names in the file system: where they live, and which of them this process serves.

pub(super) mod directory;
pub(super) mod list;
pub(super) mod namespace;
pub(super) mod permission;
pub(super) mod registry;
