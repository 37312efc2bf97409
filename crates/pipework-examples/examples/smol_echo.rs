//! smol instead of tokio (Unix only): the readiness descriptors make a pipe an `AsyncRead` and `AsyncWrite` for any
//! executor.
//!
//! ```text
//! cargo run -p pipework-examples --example smol_echo -- serve NAME    serves until its input ends
//! cargo run -p pipework-examples --example smol_echo -- talk NAME     sends its input, prints the echo
//! ```

#![allow(clippy::print_stdout, reason = "an example shows what happens")]

use std::{env, io};

#[cfg(unix)]
fn main() -> io::Result<()> {
    let args: Vec<String> = env::args().skip(1).collect();
    match args.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["serve", name] => smol::block_on(echo::serve(name)),
        ["talk", name] => smol::block_on(echo::talk(name)),
        _ => Err(io::Error::new(io::ErrorKind::InvalidInput, "serve NAME, or talk NAME")),
    }
}

#[cfg(not(unix))]
fn main() -> io::Result<()> {
    let name = env::args().next().unwrap_or_default();
    Err(io::Error::new(io::ErrorKind::Unsupported, format!("{name}: only Unix has readiness descriptors")))
}

#[cfg(unix)]
mod echo {
    use pipework::{
        Listener, PipeStream,
        os::unix::{ListenerExt, PipeStreamExt},
    };
    use smol::{
        Async, LocalExecutor, Unblock, future,
        io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    };
    use std::{
        io::{self, ErrorKind},
        os::fd::OwnedFd,
        pin::Pin,
        task::{Context, Poll, ready},
    };

    pub(super) async fn serve(name: &str) -> io::Result<()> {
        let listener = Listener::bind(name)?;
        println!("serving {}", listener.name());
        // Dropping the executor drops its tasks, and with them the connections that are still open.
        let executor = LocalExecutor::new();
        let accepting = async {
            loop {
                let (read, write) = smol::io::split(accept(&listener).await?);
                executor.spawn(smol::io::copy(read, write)).detach();
            }
        };
        let end_of_input =
            async { smol::io::copy(Unblock::new(io::stdin()), smol::io::sink()).await.map(drop) };
        executor.run(future::or(accepting, end_of_input)).await
    }

    pub(super) async fn talk(name: &str) -> io::Result<()> {
        // Opening blocks, so it runs on another thread.
        let name = name.to_owned();
        let pipe = Pipe::new(smol::unblock(move || pipework::connect(name)).await?)?;
        let mut text = Vec::new();
        Unblock::new(io::stdin()).read_to_end(&mut text).await?;
        let (mut read, mut write) = smol::io::split(pipe);
        let mut response = vec![0; text.len()];
        future::try_zip(write.write_all(&text), read.read_exact(&mut response)).await?;
        let mut stdout = Unblock::new(io::stdout());
        stdout.write_all(&response).await?;
        stdout.flush().await
    }

    /// Tries first and then waits: the descriptor signals only clients that connect after an attempt.
    async fn accept(listener: &Listener) -> io::Result<Pipe> {
        let ready = Async::new_nonblocking(listener.ready_fd()?.try_clone_to_owned()?)?;
        loop {
            match listener.try_accept() {
                Err(error) if error.kind() == ErrorKind::WouldBlock => ready.readable().await?,
                client => return Pipe::new(client?),
            }
        }
    }

    /// A connection for any async executor.
    struct Pipe {
        stream: PipeStream,
        /// Both descriptors are polled for readability, and never read.
        read_ready: Async<OwnedFd>,
        write_ready: Async<OwnedFd>,
    }

    impl Pipe {
        fn new(stream: PipeStream) -> io::Result<Pipe> {
            let read_ready = Async::new_nonblocking(stream.read_ready_fd()?.try_clone_to_owned()?)?;
            let write_ready = Async::new_nonblocking(stream.write_ready_fd()?.try_clone_to_owned()?)?;
            Ok(Pipe { stream, read_ready, write_ready })
        }
    }

    impl AsyncRead for Pipe {
        fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
            loop {
                match self.stream.try_read(buf) {
                    Err(error) if error.kind() == ErrorKind::WouldBlock => {
                        ready!(self.read_ready.poll_readable(cx))?;
                    }
                    outcome => return Poll::Ready(outcome),
                }
            }
        }
    }

    impl AsyncWrite for Pipe {
        fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
            loop {
                match self.stream.try_write(buf) {
                    Err(error) if error.kind() == ErrorKind::WouldBlock => {
                        ready!(self.write_ready.poll_readable(cx))?;
                    }
                    outcome => return Poll::Ready(outcome),
                }
            }
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        /// Dropping the pipe closes it.
        fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }
}
