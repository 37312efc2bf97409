//! The pipes of this host that the caller may see.

use super::{
    super::accounts,
    directory::{self, Directory},
    namespace::{self, NameDir},
};
use crate::{
    error::PipeErrorKind,
    model::dir_format::Header,
    name::PipeName,
    options::{PipeDirections, PipeEntry, PipeMode},
};
use rustix::fs::Dir;
use std::io;

/// The live pipes in all trusted roots. Files that killed processes of this user left are removed on the way.
pub(crate) fn list() -> io::Result<Vec<PipeEntry>> {
    let mut entries = Vec::new();
    for name_dir in namespace::existing()?.0 {
        for leaf in leaves(&name_dir)? {
            // An entry that can't be opened, or is no pipe, is not listed.
            if let Ok(Some(directory)) = name_dir.open_directory(&leaf) {
                // Empty is also what a process left that was killed while it ended the pipe.
                if !directory.is_empty().unwrap_or(true) || !name_dir.may_be_a_gift(&directory) {
                    name_dir.sweep(&directory);
                }
                let found = directory.header().and_then(|header| entry(&directory, header.as_ref()));
                match found {
                    Ok(entry) => entries.extend(entry),
                    // What is no pipe is not listed, and a pipe that another user broke must not hide the others.
                    Err(error) if error == PipeErrorKind::Corrupt => {}
                    Err(error) if directory.owner == namespace::my_user() => return Err(error),
                    Err(_) => {}
                }
            }
        }
    }
    entries.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(entries)
}

fn leaves(name_dir: &NameDir) -> io::Result<Vec<String>> {
    let mut leaves = Vec::new();
    for entry in Dir::read_from(&name_dir.dir)? {
        if let Ok(leaf) = entry?.file_name().to_str()
            && !leaf.starts_with('.')
        {
            leaves.push(leaf.to_owned());
        }
    }
    Ok(leaves)
}

fn entry(directory: &Directory, header: Option<&Header>) -> io::Result<Option<PipeEntry>> {
    let Some(header) = header else { return Ok(None) };
    let Ok(name) = PipeName::from_local(&header.name) else { return Ok(None) };
    // A user who was given one name may write any other into its header.
    if directory.path.file_name() != Some(directory::name_of(name.folded()).as_ref()) {
        return Ok(None);
    }
    let listing = directory.listing()?;
    let servers = directory.servers(&listing, header.incarnation)?;
    if servers.is_empty() {
        return Ok(None);
    }
    let mut listening = 0;
    for leaf in &listing.instances {
        if leaf.is_listening(header.incarnation) && directory.is_alive(*leaf)? {
            listening += 1;
        }
    }
    Ok(Some(PipeEntry {
        name,
        instances: servers.iter().filter_map(|server| server.instances).sum(),
        max_instances: header.max_instances.into(),
        mode: Some(if header.messages { PipeMode::Message } else { PipeMode::Byte }),
        servers: servers.iter().map(|server| server.process).collect(),
        directions: Some(PipeDirections { inbound: header.inbound, outbound: header.outbound }),
        listening: Some(listening),
        accept_remote: Some(header.accept_remote),
        owner: Some(accounts::user_name(directory.owner)?),
        location: directory.path.clone(),
    }))
}
