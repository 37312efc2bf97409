//! axum over a pipe: the same routes as over TCP, and each request knows the process that it comes from.
//!
//! ```text
//! cargo run -p pipework-examples --example axum_http -- NAME         serves until its input ends
//! cargo run -p pipework-examples --example hyper_http -- get NAME /  asks it
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
    axum::serve(PipeListener(listener), routes.into_make_service_with_connect_info::<Caller>())
        .with_graceful_shutdown(end_of_input())
        .await?;
    println!("stopped");
    Ok(())
}

async fn greet(ConnectInfo(Caller { process }): ConnectInfo<Caller>) -> String {
    format!("hello, process {process:?}\n")
}

async fn capitals(text: String) -> String {
    text.to_uppercase()
}

/// axum's trait and the listener are both foreign here, so a type of our own joins them.
struct PipeListener(Listener);

impl axum::serve::Listener for PipeListener {
    type Io = NamedPipeServer;
    type Addr = Caller;

    async fn accept(&mut self) -> (NamedPipeServer, Caller) {
        loop {
            // After an error, such as too many open files, the next poll pauses before it tries again.
            match poll_fn(|cx| self.0.poll_accept(cx)).await {
                Ok(client) => {
                    let process = client.peer().ok().and_then(|peer| peer.process_id());
                    return (client, Caller { process });
                }
                Err(error) => println!("accepting: {error}"),
            }
        }
    }

    fn local_addr(&self) -> io::Result<Caller> {
        Ok(Caller { process: Some(std::process::id()) })
    }
}

/// Who is at the other end, as the kernel says: what an address is to TCP.
#[derive(Clone, Debug)]
struct Caller {
    process: Option<u32>,
}

impl Connected<IncomingStream<'_, PipeListener>> for Caller {
    fn connect_info(client: IncomingStream<'_, PipeListener>) -> Caller {
        client.remote_addr().clone()
    }
}

async fn end_of_input() {
    tokio::io::copy(&mut tokio::io::stdin(), &mut tokio::io::sink()).await.ok();
}
