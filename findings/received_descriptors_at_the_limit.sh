#!/usr/bin/env bash
# Three crates that receive descriptors, in a process that has no descriptor number left.
#
# Software: sendfd 0.4.4, uds 0.4.2, passfd 0.1.6, on Linux; it needs cargo.
# Setup:    one end of a Unix socket sends two bytes and one descriptor (passfd: its own byte). The receiver is at
#           its limit (RLIMIT_NOFILE) while it receives. A second descriptor is received without a limit.
# Guess:    each crate reports that the descriptor was lost (the kernel sets MSG_CTRUNC and drops it), and each
#           descriptor that arrives is close-on-exec.
# Seen:     sendfd and uds return Ok((2, 0)): the bytes as if no descriptor had been sent. passfd returns InvalidData
#           with the text that it also has for a plain byte. None of the three leaves a trace of the shortage, and
#           receiving again does not bring the descriptor back. sendfd's descriptors are not close-on-exec, so
#           a child started at any time inherits them.
# So:       a protocol that passes descriptors has to say in its bytes how many there are.
set -euo pipefail
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
mkdir "$place/src"
cat >"$place/Cargo.toml" <<'TOML'
[package]
name = "trial"
version = "0.0.0"
edition = "2021"
[dependencies]
libc = "0.2"
passfd = "=0.1.6"
sendfd = "=0.4.4"
uds = "=0.4.2"
[workspace]
TOML
cat >"$place/src/main.rs" <<'RS'
use passfd::FdPassingExt;
use sendfd::{RecvWithFd, SendWithFd};
use std::{fs::File, io, os::fd::{AsRawFd, IntoRawFd, RawFd}, os::unix::net::UnixStream};
use uds::UnixStreamExt;

fn at_the_limit<T>(action: impl FnOnce() -> T) -> T {
    let set = |soft| unsafe {
        let mut limit = std::mem::zeroed::<libc::rlimit>();
        libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit);
        let before = std::mem::replace(&mut limit.rlim_cur, soft);
        libc::setrlimit(libc::RLIMIT_NOFILE, &limit);
        before
    };
    let before = set(0);
    let result = action();
    set(before);
    result
}

fn is_close_on_exec(fd: RawFd) -> bool {
    unsafe { libc::fcntl(fd, libc::F_GETFD) & libc::FD_CLOEXEC != 0 }
}

fn main() -> io::Result<()> {
    let sent = File::open("/dev/null")?.into_raw_fd();
    let (from, to) = UnixStream::pair()?;
    let (mut bytes, mut fds) = ([0; 8], [-1; 2]);

    from.send_with_fd(b"hi", &[sent])?;
    println!("sendfd at the limit: {:?}", at_the_limit(|| to.recv_with_fd(&mut bytes, &mut fds)));
    from.send_with_fd(b"hi", &[sent])?;
    to.recv_with_fd(&mut bytes, &mut fds)?;
    println!("sendfd is close-on-exec: {}", is_close_on_exec(fds[0]));

    from.send_fds(b"hi", &[sent])?;
    println!("uds at the limit: {:?}", at_the_limit(|| to.recv_fds(&mut bytes, &mut fds)));
    from.send_fds(b"hi", &[sent])?;
    to.recv_fds(&mut bytes, &mut fds)?;
    println!("uds is close-on-exec: {}", is_close_on_exec(fds[0]));

    let receive = || to.as_raw_fd().recv_fd().map_err(|error| (error.kind(), error.to_string()));
    from.as_raw_fd().send_fd(sent)?;
    let lost = at_the_limit(receive).unwrap_err();
    io::Write::write_all(&mut &from, b"x")?;
    let plain = receive().unwrap_err();
    println!("passfd at the limit: {:?}; the same for a plain byte: {}", lost.0, lost == plain);
    from.as_raw_fd().send_fd(sent)?;
    println!("passfd is close-on-exec: {}", is_close_on_exec(to.as_raw_fd().recv_fd()?));
    Ok(())
}
RS
CARGO_TARGET_DIR=$place/target cargo build -q --manifest-path "$place/Cargo.toml" || { echo "the crates can't be built"; exit 77; }
"$place/target/debug/trial" | tee "$place/seen"
diff "$place/seen" - <<'END' && echo "unchanged"
sendfd at the limit: Ok((2, 0))
sendfd is close-on-exec: false
uds at the limit: Ok((2, 0))
uds is close-on-exec: true
passfd at the limit: InvalidData; the same for a plain byte: true
passfd is close-on-exec: true
END
