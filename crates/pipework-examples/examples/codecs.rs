//! Messages over a byte pipe with the codecs of `tokio_util`: lines of text, and length-prefixed frames. They are for an
//! existing protocol; a message pipe needs no codec.
//!
//! ```text
//! cargo run -p pipework-examples --example codecs -- serve NAME lines|frames        serves until its input ends
//! cargo run -p pipework-examples --example codecs -- ask NAME lines|frames TEXT...  prints the responses
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

/// A longer line or frame is an error, so that a peer can't exhaust the memory.
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

async fn serve<F>(name: &str, respond: fn(NamedPipeServer) -> F) -> io::Result<()>
where
    F: Future<Output = io::Result<()>> + Send + 'static,
{
    let listener = Listener::bind(name)?;
    println!("serving {}", listener.name());
    let mut stop = pin!(end_of_input());
    loop {
        tokio::select! {
            client = listener.accept() => tokio::spawn(respond(client?)),
            () = &mut stop => return Ok(()),
        };
    }
}

/// Responds to each line with the line reversed.
async fn lines(client: NamedPipeServer) -> io::Result<()> {
    let mut client = Framed::new(client, LinesCodec::new_with_max_length(LEN_MAX));
    while let Some(line) = client.next().await {
        let reversed: String = line.map_err(as_io)?.chars().rev().collect();
        client.send(reversed).await.map_err(as_io)?;
    }
    Ok(())
}

/// Responds to each frame with its bytes reversed. A frame may contain any bytes.
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
        let response = server.next().await.ok_or(ErrorKind::UnexpectedEof)?;
        println!("{}", response.map_err(as_io)?);
    }
    Ok(())
}

async fn ask_frames(name: &str, texts: &[&str]) -> io::Result<()> {
    let mut server = Framed::new(connect(name).await?, frame_codec());
    for text in texts {
        server.send(Bytes::copy_from_slice(text.as_bytes())).await?;
        let response = server.next().await.ok_or(ErrorKind::UnexpectedEof)?;
        println!("{:?}", response?);
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
