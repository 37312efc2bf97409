//! `pipework wait`.

use std::io::Write;

use crate::harness::{Place, Running, Test, test};

pub(crate) fn tests() -> Vec<Test> {
    vec![
        test(it_succeeds_when_an_instance_listens),
        test(an_absent_name_is_code_3),
        test(an_absent_name_can_be_waited_for),
    ]
}

fn it_succeeds_when_an_instance_listens() {
    let place = Place::new();
    let hello = &place.pipe("hello");
    let _server = place.serve(&[hello, "--max-instances", "2"]);
    place.run(["wait", hello]).success();
    place.run(["wait", hello, "--timeout", "0s"]).success();

    let mut clients = [place.connect(&[hello]), place.connect(&[hello])];
    for client in &mut clients {
        client.stdin().write_all(b"x").unwrap();
        assert_eq!(client.stdout(1), b"x");
    }
    place.run(["wait", hello, "--timeout", "50ms"]).failure(4, "hello");
    let waiting = Running::start(place.command(["wait", hello]));
    let [leaving, _staying] = clients;
    drop(leaving);
    assert_eq!(waiting.end().code, Some(0));
}

fn an_absent_name_is_code_3() {
    let place = Place::new();
    let hello = &place.pipe("hello");
    let ended = place.run(["wait", hello]);
    ended.failure(3, "hello");
    assert!(ended.stderr.contains("--absent"), "{ended:?}");
}

fn an_absent_name_can_be_waited_for() {
    let place = Place::new();
    let hello = &place.pipe("hello");
    place.run(["wait", hello, "--absent", "--timeout", "50ms"]).failure(4, "no free instance of");
    let waiting = Running::start(place.command(["wait", hello, "--absent"]));
    let _server = place.serve(&[hello]);
    assert_eq!(waiting.end().code, Some(0));
}
