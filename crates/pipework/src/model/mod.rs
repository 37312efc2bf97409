//! Pure code: the life of an instance, and the encoding of what two Unix ends say to each other.

pub(crate) mod hello;
pub(crate) mod instance;
pub(crate) mod place;
