//! Pure code: the life of an instance, and the encoding of what two Unix ends say to each other.

#[cfg(unix)]
pub(crate) mod dir_format;
#[cfg(unix)]
pub(crate) mod hello;
pub(crate) mod instance;
