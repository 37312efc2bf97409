//! hyper over a pipe: a server, and a client that works with any HTTP server on a pipe.
//!
//! ```text
//! cargo run -p pipework-examples --example hyper_http -- serve NAME        serves until its input ends
//! cargo run -p pipework-examples --example hyper_http -- get NAME PATH     prints the response
//! cargo run -p pipework-examples --example hyper_http -- post NAME PATH    sends its input, prints the response
//! ```

#![allow(clippy::print_stdout, reason = "an example shows what happens")]

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::{Method, Request, Response, StatusCode, body::Incoming, service::service_fn};
use hyper_util::{rt::TokioIo, server::graceful::GracefulShutdown};
use pipework::tokio::{Listener, connect};
use std::{
    env,
    error::Error,
    io::{self, Read, Write},
    pin::pin,
};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = env::args().skip(1).collect();
    match args.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["serve", name] => Ok(serve(Listener::bind(name)?).await?),
        ["get", name, path] => ask(name, Method::GET, path, Vec::new()).await,
        ["post", name, path] => {
            let mut body = Vec::new();
            io::stdin().read_to_end(&mut body)?;
            ask(name, Method::POST, path, body).await
        }
        _ => Err("serve NAME, get NAME PATH, or post NAME PATH".into()),
    }
}

async fn serve(listener: Listener) -> io::Result<()> {
    println!("serving {}", listener.name());
    let connections = GracefulShutdown::new();
    let mut stop = pin!(end_of_input());
    loop {
        let client = tokio::select! {
            client = listener.accept() => client?,
            () = &mut stop => break,
        };
        let http = hyper::server::conn::http1::Builder::new();
        let connection = connections.watch(http.serve_connection(TokioIo::new(client), service_fn(respond)));
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                println!("a connection ended: {error}");
            }
        });
    }
    drop(listener); // no more clients can connect; those connected still get their responses
    connections.shutdown().await;
    println!("stopped");
    Ok(())
}

async fn respond(request: Request<Incoming>) -> hyper::Result<Response<Full<Bytes>>> {
    let (head, body) = request.into_parts();
    let (status, text) = match (&head.method, head.uri.path()) {
        (&Method::GET, "/") => (StatusCode::OK, Bytes::from("hello over a pipe\n")),
        (&Method::POST, "/echo") => (StatusCode::OK, body.collect().await?.to_bytes()),
        (_, path) => (StatusCode::NOT_FOUND, Bytes::from(format!("{path} does not exist\n"))),
    };
    let mut response = Response::new(Full::new(text));
    *response.status_mut() = status;
    Ok(response)
}

async fn ask(name: &str, method: Method, path: &str, body: Vec<u8>) -> Result<(), Box<dyn Error>> {
    let pipe = TokioIo::new(connect(name).await?);
    let (mut sender, connection) = hyper::client::conn::http1::handshake(pipe).await?;
    let connection = tokio::spawn(connection);
    // HTTP requires a host, and a pipe has none.
    let request = Request::builder().method(method).uri(path).header("host", "pipe");
    let response = sender.send_request(request.body(Full::new(Bytes::from(body)))?).await?;
    let status = response.status();
    let text = response.into_body().collect().await?.to_bytes();
    io::stdout().write_all(&text)?;
    drop(sender);
    connection.await??;
    if status.is_success() { Ok(()) } else { Err(status.to_string().into()) }
}

async fn end_of_input() {
    tokio::io::copy(&mut tokio::io::stdin(), &mut tokio::io::sink()).await.ok();
}
