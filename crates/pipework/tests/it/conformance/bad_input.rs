//! Bad input gets a clear typed error at once; nothing is created, nobody let in, nothing lost.

use std::{fmt::Debug, time::Duration};

use pipework::{
    Access, AnonRead, AnonWrite, Canceller, ClientOptions, Listener, NamedPipe, NamedPipeBuilder, Peer,
    PipeErrorKind, PipeName, PipeStream, ServerCheck, anonymous,
};

use super::{Case, every, expect, expect_refused, plain};
use crate::{
    harness::unique,
    surface::{OpenSpec, Spec, Surface},
};

pub(super) fn cases() -> Vec<Case> {
    vec![
        every("input", input_a_pipe_needs_a_direction),
        plain("input", input_a_clone_of_options_is_their_own),
        plain("input", input_every_type_can_be_shown_and_shared),
    ]
}

/// Neither way is no pipe.
fn input_a_pipe_needs_a_direction(here: &dyn Surface) {
    let name = unique();
    expect_refused(here.create(&Spec::new(&name).inbound_only().outbound_only()), PipeErrorKind::Invalid);
    expect_refused(here.listen(&Spec::new(&name).inbound_only().outbound_only()), PipeErrorKind::Invalid);
    expect_refused(here.open(&OpenSpec::new(&name)), PipeErrorKind::Absent);
}

/// Options are plain data.
fn input_a_clone_of_options_is_their_own() {
    let name = unique();
    let mut first = NamedPipeBuilder::new(&name);
    first.max_instances(0);
    let mut second = first.clone();
    second.max_instances(3);
    expect(first.create(), PipeErrorKind::Invalid);
    drop(second.create().unwrap());
    let mut duplex = ClientOptions::new();
    duplex.clone().read(false).write(false);
    let server = NamedPipe::new(&name).unwrap();
    drop(duplex.read(true).open(&name).unwrap());
    drop(server);
}

fn shown<T: Debug + Send + Sync + Unpin + 'static>(value: &T) -> String {
    format!("{value:?} {value:#?}")
}

/// And neither panics nor says nothing.
fn input_every_type_can_be_shown_and_shared() {
    let name = unique();
    let listener = Listener::bind(&name).unwrap();
    let client: PipeStream = pipework::connect(&name).unwrap();
    let server: PipeStream = listener.accept().unwrap();
    let pipe = NamedPipe::new(unique()).unwrap();
    let (reader, writer): (AnonRead, AnonWrite) = anonymous(0).unwrap();
    let peer: Peer = client.peer().unwrap();
    let texts = [
        shown(&listener),
        shown(&client),
        shown(&server),
        shown(&pipe),
        shown(&reader),
        shown(&writer),
        shown(&peer),
        shown(&client.info().unwrap()),
        shown(&client.peek(&mut []).unwrap()),
        shown(&Canceller::new().unwrap()),
        shown(&Access::everyone().user("0").group("0")),
        shown(&ServerCheck::Trusted),
        shown(&ClientOptions::new()),
        shown(&NamedPipeBuilder::new("x")),
        shown(&PipeName::new("x").unwrap()),
        format!("{:?}", listener.incoming()),
    ];
    assert!(texts.iter().all(|text| !text.trim().is_empty()));
    assert_eq!(
        NamedPipeBuilder::new(unique())
            .default_timeout(Duration::MAX)
            .clone()
            .max_instances(1)
            .create()
            .map(drop)
            .ok(),
        Some(())
    );
}

#[cfg(unix)]
pub(super) mod unix {
    use std::{
        fs,
        io::{self, Read, Write},
        os::unix::{
            fs::{FileTypeExt, PermissionsExt, chown, symlink},
            net::UnixStream,
        },
        path::Path,
        process::Command,
    };

    use pipework::{ClientOptions, Listener, NamedPipe, PipeErrorKind, PipeName, list};
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

    use super::super::{Case, SHORT, every, expect, expect_alive, expect_refused, plain};
    use crate::{
        child::Other,
        harness::{DIRECTORY_VARIABLE, Resources, beside_pipes, make_file, needs_root, skip, unique},
        surface::{OpenSpec, Spec, Surface},
    };

    pub(crate) fn cases() -> Vec<Case> {
        vec![
            every("input", input_a_directory_that_is_a_symlink_is_refused),
            every("input", input_a_directory_open_to_writing_is_refused),
            every("input", input_a_directory_of_another_user_is_refused),
            every("input", input_a_directory_that_is_a_file_is_refused),
            every("input", input_a_file_in_the_way_of_a_pipe_stays),
            every("input", input_a_link_in_the_way_of_a_pipe_stays),
            every("input", input_a_full_file_system_is_told),
            every("input", input_a_read_only_file_system_is_told),
            plain("input", input_too_few_descriptors_is_told_and_passes),
            plain("input", input_a_peer_of_another_protocol_ends_only_its_connection),
            plain("input", input_a_silent_peer_holds_up_nobody),
        ]
    }

    /// A process whose pipes live there.
    fn in_directory(here: &dyn Surface, directory: &Path) -> Other {
        Other::spawn_with(here, |command| {
            command.env(DIRECTORY_VARIABLE, directory);
        })
    }

    /// Neither creating nor opening works there, and the text names the place.
    fn expect_unusable(here: &dyn Surface, directory: &Path) {
        let there = in_directory(here, directory);
        let name = unique();
        let place = directory.to_str().unwrap();
        let faults = [
            expect_refused(there.create(&Spec::new(&name)), PipeErrorKind::AccessDenied),
            expect_refused(there.listen(&Spec::new(&name)), PipeErrorKind::AccessDenied),
            expect_refused(there.open(&OpenSpec::new(&name)), PipeErrorKind::AccessDenied),
            expect_refused(there.wait(&name, Some(SHORT)), PipeErrorKind::AccessDenied),
        ];
        for fault in faults {
            assert!(fault.text.contains(place), "the text names the directory: {}", fault.text);
        }
    }

    fn make_directory(leaf: &str, mode: u32) -> std::path::PathBuf {
        let directory = beside_pipes(leaf);
        fs::create_dir(&directory).unwrap();
        fs::set_permissions(&directory, fs::Permissions::from_mode(mode)).unwrap();
        directory
    }

    /// Whoever made the link can change where it leads.
    fn input_a_directory_that_is_a_symlink_is_refused(here: &dyn Surface) {
        let directory = make_directory("real", 0o700);
        let link = beside_pipes("link");
        symlink(&directory, &link).unwrap();
        expect_unusable(here, &link);
        assert_eq!(fs::read_dir(&directory).unwrap().count(), 0, "nothing was made behind the link");
        fs::remove_file(link).unwrap();
        fs::remove_dir(directory).unwrap();
    }

    /// Others could put their own pipes there.
    fn input_a_directory_open_to_writing_is_refused(here: &dyn Surface) {
        for mode in [0o720, 0o702, 0o777, 0o1777] {
            let directory = make_directory("open", mode);
            expect_unusable(here, &directory);
            fs::remove_dir(directory).unwrap();
        }
        let directory = make_directory("searchable", 0o755);
        let there = in_directory(here, &directory);
        drop(there.create(&Spec::new(&unique())).unwrap());
        drop(there);
        fs::remove_dir_all(directory).unwrap();
    }

    /// Its owner could.
    fn input_a_directory_of_another_user_is_refused(here: &dyn Surface) {
        needs_root();
        let directory = make_directory("foreign", 0o700);
        chown(&directory, Some(12_345), Some(12_345)).unwrap();
        expect_unusable(here, &directory);
        fs::remove_dir(directory).unwrap();
    }

    /// It stays.
    fn input_a_directory_that_is_a_file_is_refused(here: &dyn Surface) {
        let file = beside_pipes("file");
        make_file(&file, "precious");
        let there = in_directory(here, &file);
        let fault = there.create(&Spec::new(&unique())).map(drop).unwrap_err();
        assert!(fault.text.contains(file.to_str().unwrap()), "the text names the file: {fault}");
        assert_eq!(fs::read_to_string(&file).unwrap(), "precious");
        fs::remove_file(file).unwrap();
    }

    /// Where the pipe's directory would be; never unlinked, and told by its path.
    fn input_a_file_in_the_way_of_a_pipe_stays(here: &dyn Surface) {
        let name = unique();
        let place = PipeName::new(&name).unwrap().location().unwrap();
        make_file(&place, "precious");
        let fault = here.create(&Spec::new(&name)).map(drop).unwrap_err();
        assert!(fault.text.contains(place.to_str().unwrap()), "the text names the file: {fault}");
        assert!(fault.kind.is_some(), "a typed error: {fault}");
        assert!(here.create(&Spec::new(&name).joining()).is_err());
        let fault = here.open(&OpenSpec::new(&name)).map(drop).unwrap_err();
        assert!(fault.kind.is_some(), "a typed error: {fault}");
        let name = PipeName::new(&name).unwrap();
        assert!(!list().unwrap().iter().any(|entry| entry.name == name));
        assert_eq!(fs::read_to_string(&place).unwrap(), "precious");
        fs::remove_file(place).unwrap();
    }

    /// Not followed either.
    fn input_a_link_in_the_way_of_a_pipe_stays(here: &dyn Surface) {
        let name = unique();
        let directory = make_directory("elsewhere", 0o700);
        make_file(&directory.join("precious"), "precious");
        let place = PipeName::new(&name).unwrap().location().unwrap();
        symlink(&directory, &place).unwrap();
        let fault = here.create(&Spec::new(&name)).map(drop).unwrap_err();
        assert!(fault.kind.is_some(), "a typed error: {fault}");
        assert!(here.open(&OpenSpec::new(&name)).is_err());
        drop(list().unwrap());
        assert_eq!(fs::read_to_string(directory.join("precious")).unwrap(), "precious");
        assert_eq!(fs::read_dir(&directory).unwrap().count(), 1);
        assert!(fs::symlink_metadata(&place).unwrap().is_symlink());
        fs::remove_file(place).unwrap();
        fs::remove_dir_all(directory).unwrap();
    }

    /// Mounts a small file system for the time of a case.
    fn with_mount(options: &str, case: impl FnOnce(&Path)) {
        needs_root();
        let place = make_directory("mount", 0o700);
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", &format!("mode=0700,{options}"), "none"]).arg(&place);
        if !mount.output().is_ok_and(|output| output.status.success()) {
            fs::remove_dir(place).unwrap();
            skip("needs the right to mount a file system");
        }
        case(&place);
        assert!(Command::new("umount").arg(&place).status().unwrap().success());
        fs::remove_dir(place).unwrap();
    }

    /// As what it is, and nothing half made is left.
    fn input_a_full_file_system_is_told(here: &dyn Surface) {
        for inodes in 1..9 {
            with_mount(&format!("nr_inodes={inodes}"), |place| {
                let there = in_directory(here, place);
                let name = unique();
                match there.create(&Spec::new(&name)).map(drop) {
                    Ok(()) => assert!(inodes > 3, "a directory, a header and two sockets need four"),
                    Err(fault) => {
                        assert_eq!(fault.io_kind, "StorageFull", "{fault}");
                        expect_refused(there.open(&OpenSpec::new(&name)), PipeErrorKind::Absent);
                    }
                }
                drop(there);
                let left: Vec<_> = fs::read_dir(place).unwrap().map(|entry| entry.unwrap().path()).collect();
                assert!(left.iter().all(|path| path.ends_with(".lock")), "{left:?}");
            });
        }
    }

    /// As what it is.
    fn input_a_read_only_file_system_is_told(here: &dyn Surface) {
        with_mount("ro", |place| {
            let there = in_directory(here, place);
            let name = unique();
            let fault = there.create(&Spec::new(&name)).map(drop).unwrap_err();
            assert_eq!(fault.io_kind, "ReadOnlyFilesystem", "{fault}");
            assert!(fault.text.contains(place.to_str().unwrap()), "the text names the place: {fault}");
            expect_refused(there.open(&OpenSpec::new(&name)), PipeErrorKind::Absent);
        });
    }

    /// Everything that takes a descriptor: made, opened, accepted, spoken over.
    fn use_a_pipe() -> io::Result<()> {
        let name = unique();
        let listener = Listener::bind(&name)?;
        let mut client = ClientOptions::new().open(&name)?;
        client.write_all(b"x")?;
        let mut server = listener.accept_timeout(SHORT)?;
        server.set_read_timeout(Some(SHORT))?;
        server.read_exact(&mut [0; 1])?;
        server.write_all(b"y")?;
        client.set_read_timeout(Some(SHORT))?;
        client.read_exact(&mut [0; 1])?;
        drop(NamedPipe::new(unique())?);
        drop(server.try_clone()?);
        Ok(())
    }

    /// It is no lie such as "busy", nothing is leaked, and it works as soon as there are descriptors again.
    fn input_too_few_descriptors_is_told_and_passes() {
        use_a_pipe().unwrap();
        let before = Resources::count();
        let limit = getrlimit(Resource::Nofile);
        let mut failures = 0;
        for count in 0..64 {
            setrlimit(Resource::Nofile, Rlimit { current: Some(count), maximum: limit.maximum }).unwrap();
            let result = use_a_pipe();
            setrlimit(Resource::Nofile, limit).unwrap();
            before.expect_unchanged();
            if let Err(error) = result {
                failures += 1;
                let wrong = [
                    PipeErrorKind::Busy,
                    PipeErrorKind::Absent,
                    PipeErrorKind::NameTaken,
                    PipeErrorKind::Invalid,
                ];
                assert!(wrong.iter().all(|kind| error != *kind), "with {count} descriptors: {error}");
            }
            use_a_pipe().unwrap();
        }
        assert!(failures > 3, "without descriptors nothing works");
        // What could not be removed for want of a descriptor goes with the next listing.
        assert_eq!(list().unwrap().len(), 0);
    }

    /// Connects to what listens for a name as a stranger to the protocol would.
    pub(in crate::conformance) fn raw_connection(name: &str) -> UnixStream {
        let directory = PipeName::new(name).unwrap().location().unwrap();
        let opened = fs::File::open(&directory).unwrap();
        let leaf_of = |entry: io::Result<fs::DirEntry>| {
            let entry = entry.unwrap();
            entry.file_type().unwrap().is_socket().then(|| entry.file_name())
        };
        let descriptor = std::os::fd::AsRawFd::as_raw_fd(&opened);
        fs::read_dir(directory)
            .unwrap()
            .filter_map(leaf_of)
            .find_map(|leaf| {
                UnixStream::connect(Path::new(&format!("/proc/self/fd/{descriptor}")).join(leaf)).ok()
            })
            .expect("a socket that listens")
    }

    /// Whatever it says; one that leaves before it has said enough is one that has left.
    fn input_a_peer_of_another_protocol_ends_only_its_connection() {
        let name = unique();
        let listener = Listener::bind(&name).unwrap();
        let long = |start: &[u8]| [start, &[0xaa; 4096]].concat();
        for garbage in
            [long(b"GET / HTTP/1.1"), vec![0; 4096], long(b"pipework"), vec![0xff; 1], b"short".to_vec()]
        {
            let mut stranger = raw_connection(&name);
            stranger.write_all(&garbage).unwrap();
            let mut server = listener.accept().unwrap();
            stranger.shutdown(std::net::Shutdown::Write).unwrap();
            if garbage.len() > 1000 {
                expect(server.read(&mut [0; 9]), PipeErrorKind::Corrupt);
                expect(server.write(b"x"), PipeErrorKind::Corrupt);
            } else {
                assert_eq!(server.read(&mut [0; 9]).unwrap(), 0);
            }
            drop(server);
            let client = ClientOptions::new().open(&name).unwrap();
            let server = listener.accept().unwrap();
            expect_alive(&client as &dyn crate::surface::End, &server as &dyn crate::surface::End);
        }
    }

    /// It is what it would be on Windows: a client that says nothing.
    fn input_a_silent_peer_holds_up_nobody() {
        let name = unique();
        let listener = Listener::bind(&name).unwrap();
        let stranger = raw_connection(&name);
        let mut server = listener.accept().unwrap();
        server.set_read_timeout(Some(SHORT)).unwrap();
        server.set_write_timeout(Some(SHORT)).unwrap();
        expect(server.read(&mut [0; 9]), PipeErrorKind::TimedOut);
        expect(server.write(b"x"), PipeErrorKind::TimedOut);
        let client = ClientOptions::new().open(&name).unwrap();
        let second = listener.accept().unwrap();
        expect_alive(&client as &dyn crate::surface::End, &second as &dyn crate::surface::End);
        drop(stranger);
        assert_eq!(server.read(&mut [0; 9]).unwrap(), 0);
    }
}
