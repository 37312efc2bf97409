//! The accept loop from the documentation of tokio's named pipes. Only the `use` line differs.
//!
//! ```text
//! cargo run -p pipework-examples --example accept_loop    serves until its input ends
//! cargo run -p pipework-examples --example busy_loop      a client
//! ```

#![allow(unreachable_code, reason = "the code after the endless loop gives the block its type")]

use pipework::tokio::ServerOptions;
use std::io;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

const PIPE_NAME: &str = r"\\.\pipe\ping-pong";

#[tokio::main]
async fn main() -> io::Result<()> {
    // The first instance is there before any client comes, and refuses to be the second server of the name.
    let mut server = ServerOptions::new().first_pipe_instance(true).create(PIPE_NAME)?;

    let server = tokio::spawn(async move {
        loop {
            // Wait for a client.
            server.connect().await?;
            let mut connected_client = server;

            // The next instance listens before this one is given away, so that no client finds the name absent.
            server = ServerOptions::new().create(PIPE_NAME)?;

            let _client = tokio::spawn(async move {
                let mut request = [0; 4];
                connected_client.read_exact(&mut request).await?;
                connected_client.write_all(if &request == b"ping" { b"pong" } else { b"what" }).await?;
                Ok::<_, io::Error>(())
            });
        }

        Ok::<_, io::Error>(())
    });

    tokio::io::copy(&mut tokio::io::stdin(), &mut tokio::io::sink()).await?;
    server.abort();
    Ok(())
}
