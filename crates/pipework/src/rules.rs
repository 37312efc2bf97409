//! [NETWORK.md]: crate::NamedPipeBuilder::accept_remote
//! [2]: crate::PipeErrorKind::Absent
//! [5]: crate::PipeErrorKind::AccessDenied
//! [87]: crate::PipeErrorKind::Invalid
//! [109]: crate::PipeErrorKind::Broken
//! [121]: crate::PipeErrorKind::TimedOut
//! [123]: crate::PipeErrorKind::Invalid
//! [230]: crate::PipeErrorKind::BadPipe
//! [231]: crate::PipeErrorKind::Busy
//! [232]: crate::PipeErrorKind::NoData
//! [233]: crate::PipeErrorKind::NotConnected
//! [234]: crate::PipeErrorKind::MoreData
//! [535]: crate::NamedPipe::connect
//! [536]: crate::PipeErrorKind::Listening
//! [995]: crate::PipeErrorKind::Aborted
//!
// The rule book itself, so that `[rule B3](crate::rules#b3)` is a link on the rendered page. The definitions above come
// first because the first definition of a Markdown link counts: here they lead into this documentation, while on a
// forge NETWORK.md is a file and the numbers are plain text. `docs/SEMANTICS.md` beside this crate's manifest is a
// symbolic link to the workspace's file, since a package holds only what is below its manifest.
#![doc = include_str!("../docs/SEMANTICS.md")]
