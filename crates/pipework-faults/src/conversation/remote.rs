//! A client that reaches the pipe through an smbd and the gateway.

use super::{
    bounds::{OPEN, WAIT},
    end::End,
};
use crate::plan::NAME;
use pipework::{ClientOptions, Credentials, PipeMode};
use std::{
    env, io,
    net::{Ipv4Addr, TcpListener},
};

/// The variables that have the port of the smbd, and an account there.
pub(crate) const PORT: &str = "PIPEWORK_FAULTS_PORT";
pub(crate) const USER: &str = "PIPEWORK_FAULTS_USER";
pub(crate) const PASSWORD: &str = "PIPEWORK_FAULTS_PASSWORD";

/// Opens the pipe. While there is none it waits: the gateway may look for it anew.
pub(super) fn open(mode: PipeMode) -> io::Result<End> {
    let port = variable(PORT)?.parse().map_err(io::Error::other)?;
    let mut options = options(port)?;
    options.timeout(OPEN).wait_absent(true).read_mode(mode);
    End::blocking(options.connect(address())?, WAIT)
}

/// Makes what a process makes once for all remote pipes and keeps: before anything is counted.
pub(super) fn warm_up() {
    let nobody = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).and_then(|listener| listener.local_addr());
    let opened = nobody.and_then(|address| options(address.port())?.open(self::address()));
    assert!(opened.is_err(), "nobody listens there");
}

fn options(port: u16) -> io::Result<ClientOptions> {
    let mut options = ClientOptions::new();
    options.credentials(Credentials::password(variable(USER)?, variable(PASSWORD)?)).remote_port(port);
    Ok(options)
}

fn address() -> String {
    format!(r"\\127.0.0.1\pipe\{NAME}")
}

fn variable(name: &str) -> io::Result<String> {
    env::var(name).map_err(|error| io::Error::other(format!("{name}: {error}")))
}
