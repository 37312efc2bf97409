//! mio (Unix only): one thread serves any number of clients, through their readiness descriptors.
//!
//! ```text
//! cargo run -p pipework-examples --example mio_echo -- NAME              serves until its input ends
//! cargo run -p pipework-examples --example smol_echo -- talk NAME        a client
//! ```

#![allow(clippy::print_stdout, reason = "an example shows what happens")]

use std::{env, io};

fn main() -> io::Result<()> {
    match env::args().nth(1) {
        Some(name) => serve(&name),
        None => Err(io::Error::new(io::ErrorKind::InvalidInput, "which NAME?")),
    }
}

#[cfg(unix)]
use echo::serve;

#[cfg(not(unix))]
fn serve(name: &str) -> io::Result<()> {
    Err(io::Error::new(io::ErrorKind::Unsupported, format!("{name}: only Unix has readiness descriptors")))
}

#[cfg(unix)]
mod echo {
    use mio::{Events, Interest, Poll, Token, Waker, unix::SourceFd};
    use pipework::{
        Listener, PipeStream, is_gone,
        os::unix::{ListenerExt, PipeStreamExt},
    };
    use std::{
        collections::HashMap,
        io::{self, ErrorKind},
        os::fd::{AsRawFd, BorrowedFd},
        sync::Arc,
        thread,
    };

    const STOP: Token = Token(0);
    const CLIENTS: Token = Token(1);

    /// A client has two tokens, an even one for reading, and the next one for writing.
    const FIRST: usize = 2;

    pub(super) fn serve(name: &str) -> io::Result<()> {
        let listener = Listener::bind(name)?;
        println!("serving {}", listener.name());
        let mut poll = Poll::new()?;
        register(&poll, listener.ready_fd()?, CLIENTS)?;
        // Kept until the end, since closing the waker would discard its event.
        let waker = Arc::new(Waker::new(poll.registry(), STOP)?);
        let stop = Arc::clone(&waker);
        thread::spawn(move || io::copy(&mut io::stdin(), &mut io::sink()).and_then(|_| stop.wake()));

        let mut clients = HashMap::new();
        let mut next = FIRST;
        let mut events = Events::with_capacity(64);
        loop {
            poll.poll(&mut events, None)?;
            for event in &events {
                match event.token() {
                    STOP => return Ok(()),
                    CLIENTS => {
                        for client in accept_all(&listener)? {
                            register(&poll, client.stream.read_ready_fd()?, Token(next))?;
                            register(&poll, client.stream.write_ready_fd()?, Token(next + 1))?;
                            clients.insert(next, client);
                            // The client may have written before it was registered.
                            echo_client(&poll, &mut clients, next)?;
                            next += 2;
                        }
                    }
                    Token(token) => echo_client(&poll, &mut clients, token & !1)?,
                }
            }
        }
    }

    /// mio is edge-triggered, so each operation is repeated until `WouldBlock`.
    fn accept_all(listener: &Listener) -> io::Result<Vec<Client>> {
        let mut clients = Vec::new();
        loop {
            match listener.try_accept() {
                Ok(stream) => clients.push(Client { stream, unsent: Vec::new() }),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(clients),
                Err(error) => return Err(error),
            }
        }
    }

    fn echo_client(poll: &Poll, clients: &mut HashMap<usize, Client>, token: usize) -> io::Result<()> {
        let Some(client) = clients.get_mut(&token) else { return Ok(()) };
        let is_open = match client.echo() {
            Ok(is_open) => is_open,
            Err(error) if error.kind() == ErrorKind::WouldBlock => true,
            Err(error) if is_gone(&error) => false,
            Err(error) => return Err(error),
        };
        if !is_open {
            poll.registry().deregister(&mut SourceFd(&client.stream.read_ready_fd()?.as_raw_fd()))?;
            poll.registry().deregister(&mut SourceFd(&client.stream.write_ready_fd()?.as_raw_fd()))?;
            clients.remove(&token);
        }
        Ok(())
    }

    /// A readiness descriptor signals by being readable, also the one for writing.
    fn register(poll: &Poll, fd: BorrowedFd<'_>, token: Token) -> io::Result<()> {
        poll.registry().register(&mut SourceFd(&fd.as_raw_fd()), token, Interest::READABLE)
    }

    struct Client {
        stream: PipeStream,
        /// Bytes that were read and have to be written before the next read.
        unsent: Vec<u8>,
    }

    impl Client {
        /// Echoes until `WouldBlock`. Returns `false` when the client has disconnected.
        fn echo(&mut self) -> io::Result<bool> {
            let mut buf = [0; 16 * 1024];
            loop {
                while !self.unsent.is_empty() {
                    let len = self.stream.try_write(&self.unsent)?;
                    self.unsent.drain(..len);
                }
                let len = self.stream.try_read(&mut buf)?;
                if len == 0 {
                    return Ok(false);
                }
                self.unsent.extend(buf.iter().take(len));
            }
        }
    }
}
