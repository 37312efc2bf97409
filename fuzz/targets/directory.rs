//! The directory of a pipe with any files in it, as an opener and a cleaner see it: what is not the library's stays.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pipework::{ClientOptions, NamedPipe};
use std::{
    fs,
    os::unix::{
        fs::{DirBuilderExt, symlink},
        net::{UnixDatagram, UnixListener},
    },
    path::{Path, PathBuf},
    sync::OnceLock,
};

/// File names that begin like the library's own, to which an input adds.
const BEGINNINGS: [&str; 8] = ["header", "s-", "i-", "n-", "f-", "c-", "t-", "x"];
/// A header of this pipe.
const HEADER: &str = "pipework 1\nincarnation 01234567\nmode byte\ninbound yes\noutbound yes\nmax_instances 255\n\
                      default_timeout_ms 50\naccess owner\naccept_remote no\nname fuzz";
/// A name with everything that such names have.
const TYPICAL: &str = "0123456789abcdef-01234567-0000400-0000400";
/// A file outside, to which links point.
const OUTSIDE: &str = "outside";
/// A file that nobody could take for the library's.
const FOREIGN: &str = "foreign.txt";

fuzz_target!(|bytes: &[u8]| {
    let home = home();
    let pipes = home.join("pipes");
    let pipe = pipes.join("fuzz");
    fs::DirBuilder::new().mode(0o700).create(&pipe).unwrap();
    fs::write(pipe.join(FOREIGN), "mine").unwrap();
    // Sockets that are alive as long as this call.
    let mut alive = Vec::new();
    let mut input = bytes.iter().copied();
    while let Some(kind) = input.next() {
        make(&pipe, kind, &mut input, &mut alive);
    }
    // Whatever they return, they return, and remove nothing else.
    drop(ClientOptions::new().open("fuzz"));
    drop(NamedPipe::wait("fuzz", Some(std::time::Duration::ZERO)));
    drop(pipework::list());
    drop(NamedPipe::new("fuzz"));
    assert_eq!(fs::read_to_string(pipe.join(FOREIGN)).unwrap(), "mine", "a foreign file was removed");
    assert!(home.join(OUTSIDE).exists(), "a file outside was removed");
    fs::remove_dir_all(&pipe).unwrap();
});

/// Makes one file: what it is, the kind decides; its name and content, the input.
fn make(pipe: &Path, kind: u8, input: &mut impl Iterator<Item = u8>, alive: &mut Vec<Alive>) {
    let beginning = BEGINNINGS[usize::from(kind & 7)];
    let mut end = if kind & 8 == 0 { TYPICAL.as_bytes().to_vec() } else { Vec::new() };
    end.truncate(input.next().unwrap_or(255).into());
    let content: Vec<u8> = input.take(usize::from(kind >> 6) * 40).collect();
    let end: String = String::from_utf8_lossy(&end).into_owned();
    let name = if beginning == "header" { beginning.to_owned() } else { format!("{beginning}{end}") };
    let path = pipe.join(name);
    match kind >> 4 & 3 {
        0 if beginning == "header" && kind & 8 == 0 => drop(fs::write(&path, HEADER)),
        0 => drop(fs::write(&path, content)),
        1 => drop(symlink("../../outside", &path)),
        2 => drop(UnixDatagram::bind(&path)),
        _ => alive.extend(UnixListener::bind(&path).map(Alive)),
    }
}

/// Closes a socket at its end.
struct Alive(#[expect(dead_code, reason = "it is held")] UnixListener);

/// A directory for this process, and its pipes in it.
fn home() -> &'static Path {
    static HOME: OnceLock<PathBuf> = OnceLock::new();
    HOME.get_or_init(|| {
        // In memory, where there is such a place: each input makes files.
        let memory = Path::new("/dev/shm");
        let parent = if memory.is_dir() { memory.to_owned() } else { std::env::temp_dir() };
        let home = parent.join(format!("pipework-fuzz-{}", std::process::id()));
        fs::DirBuilder::new().mode(0o700).create(&home).unwrap();
        fs::DirBuilder::new().mode(0o700).create(home.join("pipes")).unwrap();
        fs::write(home.join(OUTSIDE), "").unwrap();
        // SAFETY: the first input is run before this process has another thread.
        unsafe { std::env::set_var("PIPEWORK_DIR", home.join("pipes")) };
        home
    })
}
