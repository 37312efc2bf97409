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
        entries.extend(list_in(&name_dir)?);
    }
    entries.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(entries)
}

fn list_in(name_dir: &NameDir) -> io::Result<Vec<PipeEntry>> {
    let mut entries = Vec::new();
    for leaf in leaves(name_dir)? {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        model::dir_format::{EntryName, Incarnation, Taking},
        sys::unix::os,
    };
    use rustix::net::SocketType;
    use std::{fs, os::fd::OwnedFd};
    use tempfile::TempDir;

    fn name_dir() -> (TempDir, NameDir) {
        let home = tempfile::tempdir().unwrap();
        let dir = fs::File::open(home.path()).unwrap().into();
        let name_dir = NameDir { path: home.path().to_owned(), dir, is_mine: true, is_open: false };
        (home, name_dir)
    }

    fn header(name: &str) -> Header {
        Header {
            incarnation: Incarnation::new(1),
            messages: true,
            inbound: true,
            outbound: false,
            max_instances: 9,
            default_timeout_ms: 50,
            access: "owner".into(),
            accept_remote: false,
            name: name.into(),
        }
    }

    fn live(directory: &Directory, leaf: EntryName) -> OwnedFd {
        let socket = os::new_socket(SocketType::STREAM).unwrap();
        directory.bind(&socket, leaf).unwrap().unwrap();
        socket
    }

    /// A pipe with a server, which lives until the socket is closed.
    fn serve(name_dir: &NameDir, name: &str) -> (Directory, OwnedFd) {
        let header = header(name);
        let directory = name_dir.make_directory(PipeName::from_local(name).unwrap().folded(), false).unwrap();
        directory.write_header(&header, false).unwrap();
        let id = directory.new_id().unwrap();
        let leaf = EntryName::Server { id, incarnation: header.incarnation, process: 7 };
        let socket = live(&directory, leaf);
        directory.note_count(leaf, 1).unwrap();
        (directory, socket)
    }

    fn listed(name_dir: &NameDir) -> Vec<String> {
        list_in(name_dir).unwrap().iter().map(|entry| entry.name.folded().to_owned()).collect()
    }

    #[test]
    fn what_no_server_serves_is_removed() {
        let (home, mut name_dir) = name_dir();
        let (_directory, _live) = serve(&name_dir, "served");
        drop(serve(&name_dir, "dead"));
        name_dir.make_directory("EMPTY", false).unwrap();
        fs::write(home.path().join("file"), "").unwrap();
        assert_eq!(listed(&name_dir), ["SERVED"]);
        let left = || ["dead", "empty", "file", "served"].map(|leaf| home.path().join(leaf).exists());
        assert_eq!(left(), [false, false, true, true]);
        // Root may be about to give the empty one to another user.
        name_dir.is_open = true;
        drop(serve(&name_dir, "dead"));
        name_dir.make_directory("EMPTY", false).unwrap();
        assert_eq!(listed(&name_dir), ["SERVED"]);
        assert_eq!(left(), [false, namespace::my_user() == 0, true, true]);
    }

    #[test]
    fn only_a_pipe_of_this_user_that_can_not_be_read_is_an_error() {
        let (_home, name_dir) = name_dir();
        let (_directory, _live) = serve(&name_dir, "served");
        let (broken, _live) = serve(&name_dir, "broken");
        let path = broken.path.join("header");
        fs::write(&path, "foreign").unwrap();
        assert_eq!(listed(&name_dir), ["SERVED"]);
        fs::write(&path, "pipework 99\n").unwrap();
        assert!(list_in(&name_dir).unwrap_err() == PipeErrorKind::Unsupported);
        let other = rustix::fs::Uid::from_raw(namespace::my_user() + 12_345);
        if rustix::fs::fchown(&broken.fd, Some(other), None).is_ok() {
            assert_eq!(listed(&name_dir), ["SERVED"]);
        }
    }

    #[test]
    fn a_hidden_file_is_no_directory_of_a_pipe() {
        let (home, name_dir) = name_dir();
        for leaf in ["echo", ".lock"] {
            fs::write(home.path().join(leaf), "").unwrap();
        }
        assert_eq!(leaves(&name_dir).unwrap(), ["echo"]);
    }

    #[test]
    fn an_entry_counts_what_lives() {
        let (_home, name_dir) = name_dir();
        let directory = name_dir.make_directory("ECHO", false).unwrap();
        let instance = |incarnation, taking| {
            let (id, incarnation) = (directory.new_id().unwrap(), Incarnation::new(incarnation));
            EntryName::Instance { id, incarnation, inbound: 1, outbound: 1, taking }
        };
        let of = |name: &str| entry(&directory, Some(&header(name))).unwrap();
        let _listening = [Taking::One, Taking::Next].map(|taking| live(&directory, instance(1, taking)));
        let _others =
            [instance(1, Taking::Full), instance(2, Taking::One)].map(|leaf| live(&directory, leaf));
        drop(live(&directory, instance(1, Taking::One)));
        assert!(of("Echo").is_none(), "it has no server");
        let id = directory.new_id().unwrap();
        let server = EntryName::Server { id, incarnation: Incarnation::new(1), process: 7 };
        let _server = live(&directory, server);
        directory.note_count(server, 3).unwrap();
        assert!(of("another").is_none(), "its directory is that of another name");
        assert!(entry(&directory, None).unwrap().is_none(), "no pipe was made");
        let found = of("Echo").unwrap();
        assert_eq!((found.instances, found.listening, found.servers), (3, Some(2), vec![7]));
        assert_eq!((found.mode, found.max_instances), (Some(PipeMode::Message), 9));
        assert_eq!(found.directions, Some(PipeDirections { inbound: true, outbound: false }));
        assert_eq!(found.location, directory.path);
    }
}
