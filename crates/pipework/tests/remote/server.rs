//! A server of a pipe as smbd knows them: a socket in its directory, and the exchange that comes before the data.

use std::{
    fs,
    io::{self, Read, Write},
    os::unix::net::{UnixListener, UnixStream},
    path::{Path, PathBuf},
    time::Duration,
};

/// What a pipe carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Bytes,
    Messages,
}

/// A pipe that smbd finds.
#[derive(Debug)]
pub(crate) struct Served {
    listener: UnixListener,
    path: PathBuf,
    kind: Kind,
}

/// One client of it.
#[derive(Debug)]
pub(crate) struct Client {
    pub(crate) socket: UnixStream,
    /// What smbd reported about the client, as it came.
    pub(crate) request: Vec<u8>,
}

impl Served {
    /// Serves a name, of which smbd wants the lower case.
    pub(crate) fn new(np: &Path, name: &str, kind: Kind) -> Served {
        let path = np.join(name.to_lowercase());
        Served { listener: UnixListener::bind(&path).expect("a socket in smbd's directory"), path, kind }
    }

    /// Waits for a client and lets it in.
    pub(crate) fn accept(&self) -> Client {
        let mut client = self.accept_silently();
        client.let_in(self.kind).expect("smbd waits for the answer");
        client
    }

    /// Waits for a client, and says nothing to it.
    pub(crate) fn accept_silently(&self) -> Client {
        let (mut socket, _) = self.listener.accept().expect("smbd comes");
        socket.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        let mut len = [0; 4];
        socket.read_exact(&mut len).unwrap();
        let mut request = vec![0; u32::from_be_bytes(len) as usize];
        socket.read_exact(&mut request).unwrap();
        assert_eq!(&request[..4], b"NPAM");
        Client { socket, request }
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        fs::remove_file(&self.path).ok();
    }
}

impl Client {
    /// The answer: the level of the request, the type of the pipe, what else a pipe has.
    pub(crate) fn let_in(&mut self, kind: Kind) -> io::Result<()> {
        let level = &self.request[4..8];
        let mut answer = Vec::from(32_u32.to_be_bytes());
        answer.extend(b"NPAM");
        answer.extend(level);
        answer.extend(level);
        let file_type: u16 = if kind == Kind::Messages { 2 } else { 1 };
        answer.extend(file_type.to_le_bytes());
        answer.extend(0x05ff_u16.to_le_bytes());
        answer.extend([0; 4]);
        answer.extend(4096_u64.to_le_bytes());
        answer.extend([0; 4]);
        self.socket.write_all(&answer)
    }

    /// Reads a message; `None` is the end.
    pub(crate) fn read_message(&mut self) -> Option<Vec<u8>> {
        let mut len = [0; 2];
        match self.socket.read_exact(&mut len) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return None,
            outcome => outcome.unwrap(),
        }
        let mut message = vec![0; u16::from_le_bytes(len).into()];
        self.socket.read_exact(&mut message).unwrap();
        Some(message)
    }

    pub(crate) fn write_message(&mut self, message: &[u8]) {
        let len = u16::try_from(message.len()).unwrap();
        self.socket.write_all(&[&len.to_le_bytes(), message].concat()).unwrap();
    }

    /// Gives back each message until the other end closes.
    pub(crate) fn echo_messages(mut self) {
        while let Some(message) = self.read_message() {
            self.write_message(&message);
        }
    }

    pub(crate) fn read_exactly(&mut self, len: usize) -> Vec<u8> {
        let mut data = vec![0; len];
        self.socket.read_exact(&mut data).unwrap();
        data
    }

    /// Whether the other end has closed, all that it wrote being read.
    pub(crate) fn is_at_end(&mut self) -> bool {
        self.socket.read(&mut [0]).unwrap() == 0
    }
}
