//! A path instead of a name is a Unix domain socket (Unix only), which other languages support: see the folder `languages`.
//!
//! ```text
//! cargo run -p pipework-examples --example plain_socket -- serve PATH    serves until its input ends
//! cargo run -p pipework-examples --example plain_socket -- talk PATH     sends its input, prints the response
//! node crates/pipework-examples/languages/client.mjs PATH                the same, and client.py
//! ```

#![allow(clippy::print_stdout, reason = "an example shows what happens")]

use pipework::tokio::{Listener, NamedPipeServer, connect};
use std::{
    env,
    io::{self, ErrorKind},
    pin::pin,
};
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    task::JoinSet,
};

#[tokio::main(flavor = "current_thread")]
async fn main() -> io::Result<()> {
    let args: Vec<String> = env::args().skip(1).collect();
    match args.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["serve", path] => serve(Listener::bind(path)?).await,
        ["talk", path] => talk(path).await,
        _ => Err(io::Error::new(ErrorKind::InvalidInput, "serve PATH, or talk PATH")),
    }
}

async fn serve(listener: Listener) -> io::Result<()> {
    println!("serving {}", listener.name());
    let mut clients = JoinSet::new();
    let mut stop = pin!(end_of_input());
    loop {
        tokio::select! {
            client = listener.accept() => clients.spawn(capitals(client?)),
            Some(outcome) = clients.join_next() => { outcome??; continue }
            () = &mut stop => break,
        };
    }
    drop(listener);
    clients.join_all().await.into_iter().collect()
}

/// Responds to each line immediately, with the line in capitals.
async fn capitals(client: NamedPipeServer) -> io::Result<()> {
    let (read, mut write) = tokio::io::split(client);
    let mut lines = BufReader::new(read).lines();
    while let Some(line) = lines.next_line().await? {
        write.write_all((line.to_uppercase() + "\n").as_bytes()).await?;
    }
    write.shutdown().await // a socket can be half-closed
}

async fn talk(path: &str) -> io::Result<()> {
    let (mut read, mut write) = tokio::io::split(connect(path).await?);
    let sending = async {
        tokio::io::copy(&mut tokio::io::stdin(), &mut write).await?;
        write.shutdown().await
    };
    let mut stdout = tokio::io::stdout();
    let receiving = tokio::io::copy(&mut read, &mut stdout);
    tokio::try_join!(sending, receiving)?;
    stdout.flush().await
}

async fn end_of_input() {
    tokio::io::copy(&mut tokio::io::stdin(), &mut tokio::io::sink()).await.ok();
}
