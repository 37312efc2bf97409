//! Names in the file system: where they live, who may see them, and what is there.

pub(super) mod check_clock;
pub(super) mod directory;
pub(super) mod list;
pub(super) mod lock;
pub(super) mod lookup;
pub(super) mod namespace;
pub(super) mod permission;
pub(super) mod view;
