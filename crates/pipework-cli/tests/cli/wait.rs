//! `pipework wait`.

use std::io::Write;

use crate::harness::{Running, Test, TestDir, test};

pub(crate) fn tests() -> Vec<Test> {
    vec![
        test(it_succeeds_when_an_instance_listens),
        test(an_absent_name_is_code_3),
        test(an_absent_name_can_be_waited_for),
    ]
}

fn it_succeeds_when_an_instance_listens() {
    let dir = TestDir::new();
    let hello = &dir.pipe("hello");
    let _server = dir.serve(&[hello, "--max-instances", "2"]);
    dir.run(["wait", hello]).success();
    dir.run(["wait", hello, "--timeout", "0s"]).success();

    let mut clients = [dir.connect(&[hello]), dir.connect(&[hello])];
    for client in &mut clients {
        client.stdin().write_all(b"x").unwrap();
        assert_eq!(client.stdout(1), b"x");
    }
    let busy = dir.run(["wait", hello, "--timeout", "50ms"]);
    busy.failure(4, "timed out after 50ms: ");
    busy.failure(4, "was busy");
    let waiting = Running::start(dir.command(["wait", hello]));
    let [leaving, _staying] = clients;
    drop(leaving);
    assert_eq!(waiting.end().code, Some(0));
}

fn an_absent_name_is_code_3() {
    let dir = TestDir::new();
    let hello = &dir.pipe("hello");
    let ended = dir.run(["wait", hello]);
    ended.failure(3, "hello");
    assert!(ended.stderr.contains("--absent"), "{ended:?}");
}

fn an_absent_name_can_be_waited_for() {
    let dir = TestDir::new();
    let hello = &dir.pipe("hello");
    dir.run(["wait", hello, "--absent", "--timeout", "50ms"]).failure(4, "timed out after 50ms: ");
    dir.run(["wait", hello, "--absent", "--timeout", "50ms"]).failure(4, "did not exist");
    let waiting = Running::start(dir.command(["wait", hello, "--absent"]));
    let _server = dir.serve(&[hello]);
    assert_eq!(waiting.end().code, Some(0));
}
