//! Messages over a byte pipe by the codecs of `tokio_util`: lines of text, and frames with their length before them. On a
//! message pipe none is needed; they are for a protocol that is there already.
//!
//! ```text
//! cargo run -p pipework-examples --example codecs -- serve NAME lines|frames        serves until its input ends
//! cargo run -p pipework-examples --example codecs -- ask NAME lines|frames TEXT...  prints the answers
//! ```

#![allow(clippy::print_stdout, reason = "an example shows what happens")]

use bytes::{Bytes, BytesMut};
use futures_util::{SinkExt, StreamExt};
use pipework::tokio::{Listener, NamedPipeServer, connect};
use std::{
    env,
    io::{self, Error, ErrorKind},
    pin::pin,
};
use tokio_util::codec::{Framed, LengthDelimitedCodec, LinesCodec, LinesCodecError};

/// A longer line or frame is an error, so that nobody can exhaust the memory of the other.
const LEN_MAX: usize = 1 << 20;

#[tokio::main(flavor = "current_thread")]
async fn main() -> io::Result<()> {
    let args: Vec<String> = env::args().skip(1).collect();
    match args.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["serve", name, "lines"] => serve(name, lines).await,
        ["serve", name, "frames"] => serve(name, frames).await,
        ["ask", name, "lines", texts @ ..] => ask_lines(name, texts).await,
        ["ask", name, "frames", texts @ ..] => ask_frames(name, texts).await,
        _ => Err(Error::new(ErrorKind::InvalidInput, "serve or ask, NAME, lines or frames")),
    }
}

async fn serve<F>(name: &str, answer: fn(NamedPipeServer) -> F) -> io::Result<()>
where
    F: Future<Output = io::Result<()>> + Send + 'static,
{
    let listener = Listener::bind(name)?;
    println!("serving {}", listener.name());
    let mut stop = pin!(end_of_input());
    loop {
        tokio::select! {
            client = listener.accept() => tokio::spawn(answer(client?)),
            () = &mut stop => return Ok(()),
        };
    }
}

/// Answers each line with itself, turned round.
async fn lines(client: NamedPipeServer) -> io::Result<()> {
    let mut client = Framed::new(client, LinesCodec::new_with_max_length(LEN_MAX));
    while let Some(line) = client.next().await {
        let turned: String = line.map_err(as_io)?.chars().rev().collect();
        client.send(turned).await.map_err(as_io)?;
    }
    Ok(())
}

/// The same with frames, which may hold any bytes.
async fn frames(client: NamedPipeServer) -> io::Result<()> {
    let mut client = Framed::new(client, frame_codec());
    while let Some(frame) = client.next().await {
        let mut frame: BytesMut = frame?;
        frame.reverse();
        client.send(frame.freeze()).await?;
    }
    Ok(())
}

async fn ask_lines(name: &str, texts: &[&str]) -> io::Result<()> {
    let mut server = Framed::new(connect(name).await?, LinesCodec::new_with_max_length(LEN_MAX));
    for text in texts {
        server.send(text).await.map_err(as_io)?;
        let answer = server.next().await.ok_or(ErrorKind::UnexpectedEof)?;
        println!("{}", answer.map_err(as_io)?);
    }
    Ok(())
}

async fn ask_frames(name: &str, texts: &[&str]) -> io::Result<()> {
    let mut server = Framed::new(connect(name).await?, frame_codec());
    for text in texts {
        server.send(Bytes::copy_from_slice(text.as_bytes())).await?;
        let answer = server.next().await.ok_or(ErrorKind::UnexpectedEof)?;
        println!("{:?}", answer?);
    }
    Ok(())
}

fn frame_codec() -> LengthDelimitedCodec {
    LengthDelimitedCodec::builder().max_frame_length(LEN_MAX).new_codec()
}

fn as_io(error: LinesCodecError) -> Error {
    match error {
        LinesCodecError::Io(error) => error,
        LinesCodecError::MaxLineLengthExceeded => Error::new(ErrorKind::InvalidData, error),
    }
}

async fn end_of_input() {
    tokio::io::copy(&mut tokio::io::stdin(), &mut tokio::io::sink()).await.ok();
}
