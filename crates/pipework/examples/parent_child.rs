//! Parent and child: anonymous pipes are one-way, have no name, and become a child's standard input and output.
//!
//! ```text
//! cargo run --example parent_child             shows itself: starts itself again as a child that sorts lines
//! cargo run --example parent_child -- child    the child: sorts the lines of its standard input
//! ```

#![allow(clippy::print_stdout, reason = "an example shows what happens")]

use std::io::{self, Read, Write};
use std::{env, process::Command, thread};

fn main() -> io::Result<()> {
    match env::args().nth(1).as_deref() {
        None => parent(),
        Some("child") => child(),
        Some(_) => Err(io::Error::new(io::ErrorKind::InvalidInput, "child, or nothing")),
    }
}

fn parent() -> io::Result<()> {
    let (childs_input, mut input) = pipework::anonymous(0)?;
    let (mut output, childs_output) = pipework::anonymous(0)?;
    // The command holds the child's ends; it is gone after this statement. Kept alive, it would keep the child's
    // output open here, and reading that to its end would wait for ever.
    let mut child =
        Command::new(env::current_exe()?).arg("child").stdin(childs_input).stdout(childs_output).spawn()?;

    // In a thread of its own: a child that writes before it has read everything would else wait for us, and we for it.
    let writer = thread::spawn(move || {
        for line in ["pear", "apple", "cherry"] {
            writeln!(input, "{line}")?;
        }
        io::Result::Ok(()) // here `input` is dropped, which is the end of the child's standard input
    });
    let mut sorted = String::new();
    output.read_to_string(&mut sorted)?;
    writer.join().map_err(|_| io::Error::other("the writer panicked"))??;
    print!("process {} sorted:\n{sorted}", child.id());
    if child.wait()?.success() { Ok(()) } else { Err(io::Error::other("the child failed")) }
}

fn child() -> io::Result<()> {
    let mut lines: Vec<String> = io::stdin().lines().collect::<io::Result<_>>()?;
    lines.sort_unstable();
    lines.iter().for_each(|line| println!("{line}"));
    Ok(())
}
