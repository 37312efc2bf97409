//! A single-instance application: the first start stays, every later one hands its arguments to it and ends.
//!
//! ```text
//! cargo run --example single_instance                  shows itself: this process is the first start
//! cargo run --example single_instance -- NAME FILE…    the first start with NAME stays and opens the others' files
//! ```

#![allow(clippy::print_stdout, reason = "an example shows what happens")]

use pipework::{Listener, PipeErrorKind, PipeName, PipeStream};
use std::io::{self, Read, Write};
use std::{env, process::Command, time::Duration};

fn main() -> io::Result<()> {
    let mut args = env::args().skip(1);
    let Some(name) = args.next() else { return demonstrate() };
    let Some(listener) = start(&name, &args.collect::<Vec<_>>())? else { return Ok(()) };
    listener.incoming().try_for_each(|later| open(later?))
}

/// Takes the name, or hands the files to the process that has it.
fn start(name: &str, files: &[String]) -> io::Result<Option<Listener>> {
    let name = PipeName::per_user(name)?; // as names are on Unix, also on Windows
    loop {
        match Listener::bind(&name) {
            Err(error) if error == PipeErrorKind::NameTaken => {}
            outcome => {
                let listener = outcome?;
                println!("first start: opens {files:?}");
                return Ok(Some(listener));
            }
        }
        match pipework::connect(&name) {
            Ok(mut first) => {
                println!("later start: hands {files:?} over");
                first.write_all(files.join("\n").as_bytes())?;
                return first.drain().map(|()| None); // once the first start has read them: it may be about to end
            }
            Err(error) if error == PipeErrorKind::Absent => {} // it has ended: be the first
            Err(error) => return Err(error),
        }
    }
}

fn open(mut later: PipeStream) -> io::Result<()> {
    let mut files = Vec::new();
    later.read_to_end(&mut files)?;
    println!("first start: opens {:?}", String::from_utf8_lossy(&files).lines().collect::<Vec<_>>());
    Ok(())
}

fn demonstrate() -> io::Result<()> {
    let name = PipeName::unique("editor")?.to_string();
    let listener = start(&name, &["a.txt".into()])?.ok_or_else(|| io::Error::other("the name is taken"))?;
    let mut later = Command::new(env::current_exe()?).arg(&name).args(["b.txt", "c.txt"]).spawn()?;
    open(listener.accept_timeout(Duration::from_secs(20))?)?;
    if later.wait()?.success() { Ok(()) } else { Err(io::Error::other("the later start failed")) }
}
