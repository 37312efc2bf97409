//! gRPC by tonic over a pipe, server and client. The service is gRPC's standard health service; others are added in the same
//! way.
//!
//! ```text
//! cargo run -p pipework-examples --example tonic_grpc -- serve NAME            serves until its input ends
//! cargo run -p pipework-examples --example tonic_grpc -- check NAME SERVICE    sends one request
//! cargo run -p pipework-examples --example tonic_grpc -- watch NAME SERVICE    prints each change until it stops serving
//! ```

#![allow(clippy::print_stdout, reason = "an example shows what happens")]

use futures_util::StreamExt;
use hyper_util::rt::TokioIo;
use pipework::tokio::{Listener, NamedPipeServer, connect};
use std::{
    env,
    error::Error,
    io::{self, IoSlice},
    pin::Pin,
    task::{Context, Poll},
};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tonic::transport::{Channel, Endpoint, Server, Uri, server::Connected};
use tonic_health::{
    ServingStatus,
    pb::{HealthCheckRequest, health_check_response::ServingStatus as Status, health_client::HealthClient},
};

/// The service whose health the server reports.
const SERVICE: &str = "example.Greeter";

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = env::args().skip(1).collect();
    match args.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["serve", name] => serve(Listener::bind(name)?).await,
        ["check", name, service] => check(open(name).await?, service).await,
        ["watch", name, service] => watch(open(name).await?, service).await,
        _ => Err("serve NAME, check NAME SERVICE, or watch NAME SERVICE".into()),
    }
}

async fn serve(listener: Listener) -> Result<(), Box<dyn Error>> {
    println!("serving {}", listener.name());
    let (reporter, health) = tonic_health::server::health_reporter();
    reporter.set_service_status(SERVICE, ServingStatus::Serving).await;
    // The listener is a stream of clients.
    let clients = listener.map(|client| client.map(Connection));
    let stop = async move {
        end_of_input().await;
        reporter.set_service_status(SERVICE, ServingStatus::NotServing).await;
    };
    Server::builder().add_service(health).serve_with_incoming_shutdown(clients, stop).await?;
    println!("stopped");
    Ok(())
}

/// A channel whose connector opens the pipe, and reopens it if needed. The URI is ignored.
async fn open(name: &str) -> Result<HealthClient<Channel>, Box<dyn Error>> {
    let name = name.to_owned();
    let connector = tower::service_fn(move |_: Uri| {
        let name = name.clone();
        async move { connect(name).await.map(TokioIo::new) }
    });
    let channel = Endpoint::from_static("http://pipe").connect_with_connector(connector).await?;
    Ok(HealthClient::new(channel))
}

async fn check(mut client: HealthClient<Channel>, service: &str) -> Result<(), Box<dyn Error>> {
    let response = client.check(HealthCheckRequest { service: service.to_owned() }).await?;
    println!("{service}: {}", response.into_inner().status().as_str_name());
    Ok(())
}

async fn watch(mut client: HealthClient<Channel>, service: &str) -> Result<(), Box<dyn Error>> {
    let request = HealthCheckRequest { service: service.to_owned() };
    let mut changes = client.watch(request).await?.into_inner();
    while let Some(response) = changes.message().await? {
        println!("{service}: {}", response.status().as_str_name());
        if response.status() != Status::Serving {
            break;
        }
    }
    Ok(())
}

/// The trait and the stream are both from other crates, so a local type has to implement the trait.
struct Connection(NamedPipeServer);

impl Connected for Connection {
    /// The client's process. A service finds it in the extensions of its request.
    type ConnectInfo = Option<u32>;

    fn connect_info(&self) -> Option<u32> {
        self.0.peer().ok().and_then(|peer| peer.process_id())
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.0.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

async fn end_of_input() {
    tokio::io::copy(&mut tokio::io::stdin(), &mut tokio::io::sink()).await.ok();
}
