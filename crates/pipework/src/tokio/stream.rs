//! A listener as a stream of clients.

use super::{Listener, NamedPipeServer};
use futures_core::Stream;
use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
};

/// A stream of clients. It never ends, and pauses after an error such as too many open files.
impl Stream for Listener {
    type Item = io::Result<NamedPipeServer>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.poll_accept(cx).map(Some)
    }
}
