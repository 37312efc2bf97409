//! The loop that opens a busy pipe, from the documentation of tokio's named pipes. Only the `use` line differs.
//!
//! ```text
//! cargo run -p pipework-examples --example accept_loop    the server
//! cargo run -p pipework-examples --example busy_loop      sends one request
//! ```

use pipework::tokio::ClientOptions;
use std::io::{self, Write};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time;
use windows_sys::Win32::Foundation::ERROR_PIPE_BUSY;

const PIPE_NAME: &str = r"\\.\pipe\ping-pong";

#[tokio::main]
async fn main() -> io::Result<()> {
    let mut client = loop {
        match ClientOptions::new().open(PIPE_NAME) {
            Ok(client) => break client,
            Err(e) if e.raw_os_error() == Some(ERROR_PIPE_BUSY as i32) => (),
            Err(e) => return Err(e),
        }

        time::sleep(Duration::from_millis(50)).await;
    };

    client.write_all(b"ping").await?;
    let mut reply = [0; 4];
    client.read_exact(&mut reply).await?;
    writeln!(io::stdout(), "{}", String::from_utf8_lossy(&reply))
}
