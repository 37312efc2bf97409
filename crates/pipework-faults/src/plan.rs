//! What a point is made of.

use clap::ValueEnum;
use nix::errno::Errno;
use std::{fmt, str::FromStr};

/// The name that every pair of processes uses; each pair has a directory of its own.
pub(crate) const NAME: &str = "faults";

/// No error of the kernel has a larger number.
const MAX_ERRNO: i32 = 4095;

/// An end of a conversation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Side {
    Server,
    Client,
}

impl Side {
    pub(crate) fn other(self) -> Side {
        match self {
            Side::Server => Side::Client,
            Side::Client => Side::Server,
        }
    }
}

/// The surface of the library that an end uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Surface {
    /// Threads that block; the server reuses one instance.
    Blocking,
    /// Threads that block; the server has a `Listener`.
    Listener,
    /// Calls that never wait, and descriptors that signal when to try again.
    EventLoop,
    /// tokio; the server reuses one instance.
    Async,
    /// tokio; the server has a `Listener`.
    AsyncListener,
}

impl Surface {
    pub(crate) fn is_async(self) -> bool {
        matches!(self, Surface::Async | Surface::AsyncListener)
    }

    /// The surfaces that a side has.
    pub(crate) fn of(side: Side) -> &'static [Surface] {
        match side {
            Side::Server => Surface::value_variants(),
            Side::Client => &[Surface::Blocking, Surface::EventLoop, Surface::Async],
        }
    }

    /// The surface of the survivor. It differs, so that both kinds of servers are survivors too.
    pub(crate) fn of_survivor(self, victim: Side) -> Surface {
        match (victim, self) {
            (Side::Server, surface) if surface.is_async() => Surface::Async,
            (Side::Server, _) => Surface::Blocking,
            (Side::Client, surface) if surface.is_async() => Surface::AsyncListener,
            (Side::Client, Surface::EventLoop) => Surface::Blocking,
            (Side::Client, _) => Surface::Listener,
        }
    }
}

/// The type of the pipe.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Mode {
    Bytes,
    Messages,
}

impl Mode {
    pub(crate) fn is_messages(self) -> bool {
        self == Mode::Messages
    }

    pub(crate) fn of_pipe(self) -> pipework::PipeMode {
        if self.is_messages() { pipework::PipeMode::Message } else { pipework::PipeMode::Byte }
    }
}

/// What an end does while its calls are counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub(crate) enum Step {
    /// The first instance of the name.
    Create,
    /// Another instance of a name that is served.
    Publish,
    /// Waiting until an instance listens.
    Wait,
    Open,
    /// Waiting for a client; a listener also publishes its next instance.
    Accept,
    /// The first read of a server, which receives the hello.
    Hello,
    Write,
    Read,
    /// Writing or reading more than the ring holds.
    Large,
    Transact,
    Peek,
    Flush,
    Disconnect,
    /// `connect` on an instance that had a client before.
    Relisten,
    Close,
    List,
}

impl Step {
    pub(crate) fn of(side: Side, surface: Surface, mode: Mode) -> Vec<Step> {
        let is_loop = surface == Surface::EventLoop;
        let reuses = matches!(surface, Surface::Blocking | Surface::Async);
        let has = |step: &Step| match step {
            Step::Create | Step::Accept | Step::Hello => side == Side::Server,
            Step::Publish | Step::Disconnect | Step::Relisten => side == Side::Server && reuses,
            Step::Open | Step::Peek => side == Side::Client,
            Step::Wait => side == Side::Client && surface == Surface::Blocking,
            Step::Transact => side == Side::Client && mode.is_messages() && !is_loop,
            Step::Flush => !is_loop,
            Step::Write | Step::Read | Step::Large | Step::Close | Step::List => true,
        };
        Step::value_variants().iter().copied().filter(has).collect()
    }
}

/// What happens at a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    KillBefore,
    KillAfter,
    /// The kernel is not asked; the call returns this error.
    Fail(Errno),
    /// No descriptor can be made during the call.
    Starve,
    /// Nothing moves for a while.
    Stop,
}

impl Fault {
    pub(crate) fn is_kill(self) -> bool {
        matches!(self, Fault::KillBefore | Fault::KillAfter)
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fault::KillBefore => f.write_str("kill-before"),
            Fault::KillAfter => f.write_str("kill-after"),
            Fault::Fail(errno) => write!(f, "fail:{errno:?}"),
            Fault::Starve => f.write_str("starve"),
            Fault::Stop => f.write_str("stop"),
        }
    }
}

/// The error of this name.
fn errno(name: &str) -> Option<Errno> {
    (1..=MAX_ERRNO).map(Errno::from_raw).find(|errno| format!("{errno:?}") == name)
}

impl FromStr for Fault {
    type Err = String;

    fn from_str(text: &str) -> Result<Fault, String> {
        match text {
            "kill-before" => Ok(Fault::KillBefore),
            "kill-after" => Ok(Fault::KillAfter),
            "starve" => Ok(Fault::Starve),
            "stop" => Ok(Fault::Stop),
            _ => text.strip_prefix("fail:").and_then(errno).map(Fault::Fail).ok_or_else(|| {
                "kill-before, kill-after, starve, stop, or fail: and an error such as EMFILE".into()
            }),
        }
    }
}

/// The conversation of a point, without the call and the fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::Args)]
pub(crate) struct Setup {
    /// The end that has the fault
    pub(crate) victim: Side,
    /// The surface of the library that the victim uses
    pub(crate) surface: Surface,
    /// The type of the pipe
    pub(crate) mode: Mode,
    /// What the victim does
    pub(crate) step: Step,
}

impl fmt::Display for Setup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = |value: Option<clap::builder::PossibleValue>| value.unwrap().get_name().to_owned();
        let (victim, surface) =
            (word(self.victim.to_possible_value()), word(self.surface.to_possible_value()));
        let (mode, step) = (word(self.mode.to_possible_value()), word(self.step.to_possible_value()));
        write!(f, "{victim} {surface} {mode} {step}")
    }
}

/// One fault at one call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::Args)]
pub(crate) struct Point {
    #[command(flatten)]
    pub(crate) setup: Setup,
    /// Which of the step's system calls, counted from 1
    pub(crate) call: u32,
    /// kill-before, kill-after, starve, stop, or fail: and an error such as EMFILE
    pub(crate) fault: Fault,
}

impl fmt::Display for Point {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.setup, self.call, self.fault)
    }
}

/// What is between a remote client and a local server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub(crate) enum Victim {
    /// From its start to its stop
    Gateway,
    /// The process of smbd that serves the client
    Smbd,
}

/// The conversation of such a point, without the call and the fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::Args)]
pub(crate) struct GatewaySetup {
    pub(crate) victim: Victim,
    /// The type of the pipe
    pub(crate) mode: Mode,
}

impl fmt::Display for GatewaySetup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = |value: Option<clap::builder::PossibleValue>| value.unwrap().get_name().to_owned();
        write!(f, "{} {}", word(self.victim.to_possible_value()), word(self.mode.to_possible_value()))
    }
}

/// One fault at one call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::Args)]
pub(crate) struct GatewayPoint {
    #[command(flatten)]
    pub(crate) setup: GatewaySetup,
    /// Which of the victim's system calls, counted from 1; the fault happens at the first one from there that can have it
    pub(crate) call: u32,
    /// kill-before, kill-after, starve, stop, or fail: and an error such as EMFILE
    pub(crate) fault: Fault,
}

impl fmt::Display for GatewayPoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.setup, self.call, self.fault)
    }
}
