//! Remote pipes in a build without the feature `remote`.

use super::End;
use crate::{
    error::{PipeErrorKind, fail},
    options::Request,
    sys::WaitLimit,
};
use std::io;
#[cfg(feature = "tokio")]
use std::time::Duration;

pub(crate) fn open(request: &Request, _limit: &WaitLimit) -> io::Result<End> {
    Err(no_network(request))
}

pub(crate) fn connect(request: &Request, _limit: &WaitLimit) -> io::Result<End> {
    Err(no_network(request))
}

#[cfg(feature = "tokio")]
pub(crate) async fn connect_in_task(request: &Request, _timeout: Duration) -> io::Result<End> {
    Err(no_network(request))
}

fn no_network(request: &Request) -> io::Error {
    let text = format!(
        "{} is a remote pipe, which this build can't open: enable the feature `remote` of the crate `pipework`",
        request.name
    );
    fail(PipeErrorKind::Unsupported, text)
}
