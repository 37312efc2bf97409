//! axum over a pipe: the routes are those of a TCP server, and each request has the process id of its client.
//!
//! ```text
//! cargo run -p pipework-examples --example axum_http -- NAME         serves until its input ends
//! cargo run -p pipework-examples --example hyper_http -- get NAME /  sends a request
//! ```

#![allow(clippy::print_stdout, reason = "an example shows what happens")]

use axum::{
    Router,
    extract::{ConnectInfo, connect_info::Connected},
    routing::{get, post},
    serve::IncomingStream,
};
use pipework::tokio::{Listener, NamedPipeServer};
use std::{env, future::poll_fn, io};

#[tokio::main(flavor = "current_thread")]
async fn main() -> io::Result<()> {
    let Some(name) = env::args_os().nth(1) else {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "which NAME?"));
    };
    let listener = Listener::bind(name)?;
    println!("serving {}", listener.name());
    let routes = Router::new().route("/", get(greet)).route("/capitals", post(capitals));
    axum::serve(PipeListener(listener), routes.into_make_service_with_connect_info::<Client>())
        .with_graceful_shutdown(end_of_input())
        .await?;
    println!("stopped");
    Ok(())
}

async fn greet(ConnectInfo(Client { process }): ConnectInfo<Client>) -> String {
    format!("hello, process {process:?}\n")
}

async fn capitals(text: String) -> String {
    text.to_uppercase()
}

/// The trait and the listener are both from other crates, so a local type has to implement the trait.
struct PipeListener(Listener);

impl axum::serve::Listener for PipeListener {
    type Io = NamedPipeServer;
    type Addr = Client;

    async fn accept(&mut self) -> (NamedPipeServer, Client) {
        loop {
            // After an error, such as too many open files, the next poll waits before it retries.
            match poll_fn(|cx| self.0.poll_accept(cx)).await {
                Ok(client) => {
                    let process = client.peer().ok().and_then(|peer| peer.process_id());
                    return (client, Client { process });
                }
                Err(error) => println!("accepting: {error}"),
            }
        }
    }

    fn local_addr(&self) -> io::Result<Client> {
        Ok(Client { process: Some(std::process::id()) })
    }
}

/// The client's process as the kernel reports it. It takes the place of a TCP address.
#[derive(Clone, Debug)]
struct Client {
    process: Option<u32>,
}

impl Connected<IncomingStream<'_, PipeListener>> for Client {
    fn connect_info(client: IncomingStream<'_, PipeListener>) -> Client {
        client.remote_addr().clone()
    }
}

async fn end_of_input() {
    tokio::io::copy(&mut tokio::io::stdin(), &mut tokio::io::sink()).await.ok();
}
