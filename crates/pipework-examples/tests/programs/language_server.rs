//! A language server on a pipe that an editor created.

use crate::process::{Outcome, Process, WATCHDOG, example, run, unique};
use pipework::{Listener, PipeStream};
use serde_json::{Value, json};
use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
};
use tempfile::TempDir;

pub(crate) fn blanks_are_reported_to_an_editor() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("text");
    fs::write(&path, "one\ntwo \n\n\u{1d11e}\t \n").unwrap();
    let findings = run(&mut example("language_server", &["edit", path.to_str().unwrap()]), b"");
    let blanks = "blanks at the end of the line\"";
    // The clef is two UTF-16 code units.
    assert_eq!(findings.success(), format!("1:3: \"{blanks}\n3:2: \"{blanks}\n"));

    let missing = run(&mut example("language_server", &["edit", "/nowhere/text"]), b"");
    assert!(missing.failure().contains("NotFound"));
}

pub(crate) fn each_request_has_its_response() {
    let (mut editor, server) = Editor::start();
    assert_eq!(editor.ask(1, "anything")["error"]["code"], -32002);
    assert_eq!(editor.ask(2, "initialize")["result"]["serverInfo"]["name"], "blanks");
    assert_eq!(editor.ask(3, "textDocument/hover")["error"]["code"], -32601);
    // A notification has no response, so the next response is that of the next message.
    editor
        .send(&json!({ "jsonrpc": "2.0", "method": "$/setTrace", "params": { "value": "off" } }).to_string());
    editor.send("{ this is no JSON");
    let answer = editor.receive();
    assert_eq!((&answer["error"]["code"], &answer["id"]), (&json!(-32700), &Value::Null));
    // A message may arrive in parts, and a header name is case-insensitive.
    for part in
        ["content-", "LENGTH: 46\r", "\n\r\n", r#"{"jsonrpc":"2.0","id":"#, r#""four","method":"soon?"}"#]
    {
        editor.pipe.get_mut().write_all(part.as_bytes()).unwrap();
    }
    assert_eq!(editor.receive()["id"], "four");
    assert_eq!(editor.ask(5, "shutdown")["result"], Value::Null);
    assert_eq!(editor.ask(6, "textDocument/hover")["error"]["code"], -32600);
    assert_eq!(editor.exit(server).success(), "");

    // Without `shutdown` before it, `exit` is a failure.
    let (mut editor, server) = Editor::start();
    editor.ask(1, "initialize");
    assert_eq!(editor.exit(server).failure(), "");
}

pub(crate) fn an_editor_that_disconnects_is_a_failure() {
    let (editor, server) = Editor::start();
    drop(editor);
    assert!(server.finish().failure().contains("without sending exit"));
}

pub(crate) fn a_header_without_a_length_is_a_failure() {
    for nonsense in
        ["Content-Type: none\r\n\r\n", "Content-Length: -1\r\n\r\n", "Content-Length: 99999999999\r\n\r\n"]
    {
        let (mut editor, server) = Editor::start();
        editor.pipe.get_mut().write_all(nonsense.as_bytes()).unwrap();
        let complaint = server.finish().failure();
        assert!(complaint.contains("InvalidData"), "{nonsense:?}: {complaint}");
    }
    let (mut editor, server) = Editor::start();
    // The server may exit before it has read everything.
    editor.pipe.get_mut().write_all("no header ".repeat(1000).as_bytes()).ok();
    let complaint = server.finish().failure();
    assert!(complaint.contains("the header is too long"), "{complaint}");
}

/// An editor with blocking calls. It listens, and starts the server.
struct Editor {
    pipe: BufReader<PipeStream>,
}

impl Editor {
    fn start() -> (Editor, Process) {
        let name = unique();
        let listener = Listener::bind(&name).unwrap();
        let server = Process::start(&mut example("language_server", &[&format!("--pipe={name}")]));
        let pipe = listener.accept_timeout(WATCHDOG).unwrap();
        pipe.set_read_timeout(Some(WATCHDOG)).unwrap();
        (Editor { pipe: BufReader::new(pipe) }, server)
    }

    fn ask(&mut self, id: u32, method: &str) -> Value {
        self.send(&json!({ "jsonrpc": "2.0", "id": id, "method": method }).to_string());
        let answer = self.receive();
        assert_eq!((&answer["id"], &answer["jsonrpc"]), (&json!(id), &json!("2.0")));
        answer
    }

    fn exit(mut self, server: Process) -> Outcome {
        self.send(r#"{"jsonrpc":"2.0","method":"exit"}"#);
        server.finish()
    }

    fn send(&mut self, text: &str) {
        write!(self.pipe.get_mut(), "Content-Length: {}\r\n\r\n{text}", text.len()).unwrap();
    }

    fn receive(&mut self) -> Value {
        let mut header = String::new();
        self.pipe.read_line(&mut header).unwrap();
        let len = header.strip_prefix("Content-Length: ").unwrap().trim().parse().unwrap();
        self.pipe.read_line(&mut String::new()).unwrap();
        let mut body = vec![0; len];
        self.pipe.read_exact(&mut body).unwrap();
        serde_json::from_slice(&body).unwrap()
    }
}
