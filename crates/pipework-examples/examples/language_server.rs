//! A language server as editors start it: the editor listens on a pipe and passes its name. The protocol is JSON-RPC, each
//! message with a `Content-Length` header. This server finds blanks at the ends of lines.
//!
//! ```text
//! cargo run -p pipework-examples --example language_server -- --pipe=NAME    the command of an editor
//! cargo run -p pipework-examples --example language_server -- edit FILE      acts as the editor: starts it, prints its findings
//! ```

#![allow(clippy::print_stdout, reason = "an example shows what happens")]

use bytes::{Buf, BufMut, BytesMut};
use futures_util::{SinkExt, StreamExt};
use pipework::{
    PipeName,
    tokio::{Listener, connect},
};
use serde_json::{Value, json};
use std::{
    env, fs,
    io::{self, Error, ErrorKind},
    process::{Command, ExitCode},
};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_util::codec::{Decoder, Encoder, Framed};

/// A peer that announces more gets an error, so that it can't exhaust the memory.
const HEADER_LEN_MAX: usize = 4096;
const BODY_LEN_MAX: usize = 64 << 20;

#[tokio::main(flavor = "current_thread")]
async fn main() -> io::Result<ExitCode> {
    let args: Vec<String> = env::args().skip(1).collect();
    match args.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["edit", file] => edit(file).await,
        [arg] if arg.starts_with("--pipe=") => serve(arg.trim_start_matches("--pipe=")).await,
        _ => Err(Error::new(ErrorKind::InvalidInput, "--pipe=NAME, or edit FILE")),
    }
}

// ---- The language server.

/// Serves until the editor sends `exit`. The exit code is success only after `shutdown`.
async fn serve(name: &str) -> io::Result<ExitCode> {
    let mut editor = Framed::new(connect(name).await?, JsonRpc);
    let mut server = Server::New;
    while let Some(body) = editor.next().await {
        let reply = match serde_json::from_slice::<Value>(&body?) {
            Ok(message) if method(&message) == "exit" => {
                return Ok(if matches!(server, Server::ShutDown) {
                    ExitCode::SUCCESS
                } else {
                    ExitCode::FAILURE
                });
            }
            Ok(message) => server.respond(&message),
            Err(error) => Some(failure(&Value::Null, -32700, &error.to_string())),
        };
        if let Some(reply) = reply {
            editor.send(reply).await?;
        }
    }
    Err(Error::new(ErrorKind::UnexpectedEof, "the editor disconnected without sending exit"))
}

/// The state of the protocol.
enum Server {
    New,
    Ready,
    ShutDown,
}

impl Server {
    fn respond(&mut self, message: &Value) -> Option<Value> {
        let Some(id) = message.get("id") else {
            // A notification has no response, and unknown notifications are ignored.
            let document = message.pointer("/params/textDocument")?;
            let is_ours = matches!(self, Server::Ready) && method(message) == "textDocument/didOpen";
            return is_ours.then(|| findings(document));
        };
        let result = match (&self, method(message)) {
            (Server::New, "initialize") => {
                *self = Server::Ready;
                json!({ "capabilities": { "textDocumentSync": 1 }, "serverInfo": { "name": "blanks" } })
            }
            (Server::Ready, "shutdown") => {
                *self = Server::ShutDown;
                Value::Null
            }
            (Server::New, _) => return Some(failure(id, -32002, "initialize must be the first request")),
            (Server::ShutDown, _) => return Some(failure(id, -32600, "only exit may follow shutdown")),
            (Server::Ready, method) => {
                return Some(failure(id, -32601, &format!("unknown method {method}")));
            }
        };
        Some(json!({ "jsonrpc": "2.0", "id": id, "result": result }))
    }
}

fn findings(document: &Value) -> Value {
    let text = document.get("text").and_then(Value::as_str).unwrap_or_default();
    let diagnostics: Vec<Value> = text.lines().enumerate().filter_map(finding).collect();
    json!({
        "jsonrpc": "2.0",
        "method": "textDocument/publishDiagnostics",
        "params": { "uri": document.get("uri"), "diagnostics": diagnostics },
    })
}

fn finding((line, text): (usize, &str)) -> Option<Value> {
    // Positions are in UTF-16 code units.
    let [start, end] = [text.trim_end(), text].map(|text| text.encode_utf16().count());
    let range = json!({
        "start": { "line": line, "character": start },
        "end": { "line": line, "character": end },
    });
    (start < end).then(|| json!({ "range": range, "message": "blanks at the end of the line" }))
}

fn failure(id: &Value, code: i32, text: &str) -> Value {
    json!({ "jsonrpc": "2.0", "id": id, "error": { "code": code, "message": text } })
}

fn method(message: &Value) -> &str {
    message.get("method").and_then(Value::as_str).unwrap_or_default()
}

// ---- The editor.

async fn edit(file: &str) -> io::Result<ExitCode> {
    let text = fs::read_to_string(file)?;
    let name = PipeName::unique("language-server")?;
    let listener = Listener::bind(&name)?;
    let mut process = Command::new(env::current_exe()?).arg(format!("--pipe={name}")).spawn()?;
    let mut server = Framed::new(listener.accept().await?, JsonRpc);

    ask(&mut server, 1, "initialize", json!({ "processId": null, "rootUri": null, "capabilities": {} }))
        .await?;
    notify(&mut server, "initialized", json!({})).await?;
    let document =
        json!({ "uri": format!("file:///{file}"), "languageId": "text", "version": 1, "text": text });
    notify(&mut server, "textDocument/didOpen", json!({ "textDocument": document })).await?;
    let published = receive(&mut server).await?;
    for diagnostic in published.pointer("/params/diagnostics").and_then(Value::as_array).into_iter().flatten()
    {
        let start = |what| diagnostic.pointer(&format!("/range/start/{what}")).cloned().unwrap_or_default();
        println!(
            "{}:{}: {}",
            start("line"),
            start("character"),
            diagnostic.get("message").unwrap_or_default()
        );
    }
    ask(&mut server, 2, "shutdown", Value::Null).await?;
    notify(&mut server, "exit", Value::Null).await?;
    Ok(if process.wait()?.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

async fn ask<T>(server: &mut Framed<T, JsonRpc>, id: u32, method: &str, params: Value) -> io::Result<()>
where
    T: AsyncRead + AsyncWrite + Unpin,
{
    server.send(json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params })).await?;
    let reply = receive(server).await?;
    match reply.get("result") {
        Some(_) if reply.get("id") == Some(&json!(id)) => Ok(()),
        _ => Err(Error::other(format!("{method}: {reply}"))),
    }
}

async fn notify<T>(server: &mut Framed<T, JsonRpc>, method: &str, params: Value) -> io::Result<()>
where
    T: AsyncRead + AsyncWrite + Unpin,
{
    server.send(json!({ "jsonrpc": "2.0", "method": method, "params": params })).await
}

async fn receive<T>(server: &mut Framed<T, JsonRpc>) -> io::Result<Value>
where
    T: AsyncRead + AsyncWrite + Unpin,
{
    let body = server.next().await.ok_or(ErrorKind::UnexpectedEof)??;
    Ok(serde_json::from_slice(&body)?)
}

// ---- The protocol.

/// A message is headers, an empty line, and as many bytes as the header `Content-Length` says.
struct JsonRpc;

impl Decoder for JsonRpc {
    type Item = BytesMut;
    type Error = Error;

    fn decode(&mut self, bytes: &mut BytesMut) -> io::Result<Option<BytesMut>> {
        const END: &[u8] = b"\r\n\r\n";
        let Some(header_len) = bytes.windows(END.len()).position(|window| window == END) else {
            return if bytes.len() > HEADER_LEN_MAX {
                Err(invalid("the header is too long"))
            } else {
                Ok(None)
            };
        };
        let header = bytes.get(..header_len).unwrap_or_default();
        let body_len = content_length(header).ok_or_else(|| invalid("there is no valid Content-Length"))?;
        if body_len > BODY_LEN_MAX {
            return Err(invalid("the message is too long"));
        }
        let message_len = header_len + END.len() + body_len;
        if bytes.len() < message_len {
            bytes.reserve(message_len - bytes.len());
            return Ok(None);
        }
        bytes.advance(header_len + END.len());
        Ok(Some(bytes.split_to(body_len)))
    }
}

fn content_length(header: &[u8]) -> Option<usize> {
    let mut fields = str::from_utf8(header).ok()?.lines().filter_map(|line| line.split_once(':'));
    let (_, value) = fields.find(|(name, _)| name.eq_ignore_ascii_case("content-length"))?;
    value.trim().parse().ok()
}

fn invalid(text: &str) -> Error {
    Error::new(ErrorKind::InvalidData, text)
}

impl Encoder<Value> for JsonRpc {
    type Error = Error;

    fn encode(&mut self, message: Value, bytes: &mut BytesMut) -> io::Result<()> {
        let body = message.to_string();
        bytes.put_slice(format!("Content-Length: {}\r\n\r\n{body}", body.len()).as_bytes());
        Ok(())
    }
}
