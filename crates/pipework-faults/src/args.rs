//! The command line.

use crate::{
    check::What,
    conversation::Conversation,
    inject::{InjectArgs, InjectForeignArgs},
    plan::{GatewayPoint, Mode, Point, Side, Step, Surface, Victim},
    process::ProgramArgs,
    surroundings,
};
use clap::Parser;

/// Injects faults into processes that use pipework, and checks what the others find.
///
/// `sweep` runs a server and a client, one of which has a fault at one system call: it is killed before or after the
/// call, the call fails, the process has no descriptor left during the call, or it stops for a while. `sweep` then checks:
/// the name can be used within 1 s; accepted data was read once, unless a server discarded it; the survivor saw the end;
/// no file and no descriptor is left.
///
/// Exit codes: 0 all passed, 1 something failed or nothing was tested, 2 wrong arguments, 77 it can't run here (the last
/// line says why), 130 interrupted.
#[derive(Debug, Parser)]
#[command(
    name = "pipework-faults",
    after_help = "Examples:\n  pipework-faults sweep                          a sample, another one each day\n  pipework-faults sweep --long                   every point\n  pipework-faults sweep --step accept --long     every point of one step\n  pipework-faults point server listener bytes accept 3 fail:EMFILE\n  pipework-faults gateway                        the gateway and its smbd (root, Samba)\n  pipework-faults surroundings                   disk full, no memory, no inotify, limits\n  pipework-faults death                          how soon a peer's death is seen"
)]
pub(crate) struct Args {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// Goes through the system calls of each step of a conversation
    Sweep(SweepArgs),
    /// Runs one point, as `sweep` prints it for a failure, and shows both journals
    Point(Point),
    /// Goes through the system calls of the gateway, and of an smbd, while a remote client talks to a local server
    Gateway(GatewayArgs),
    /// Runs one point of these, as `gateway` prints it for a failure, and shows the journals and the log
    GatewayPoint(GatewayPoint),
    /// Runs servers and clients where something is short: the disk, memory, descriptors, file sizes, watches
    Surroundings {
        /// Only this one
        #[arg(value_parser = surroundings::names())]
        only: Option<String>,
    },
    /// Measures how soon a blocked read sees that its peer was killed; asserts nothing
    Death {
        /// How many peers are killed
        #[arg(long, default_value_t = 500)]
        samples: u32,
    },
    #[command(hide = true)]
    Conversation(Conversation),
    #[command(hide = true)]
    Inject(InjectArgs),
    #[command(hide = true)]
    InjectForeign(InjectForeignArgs),
    #[command(hide = true)]
    Program(ProgramArgs),
    #[command(hide = true)]
    Check { what: What, mode: Mode },
    #[command(hide = true)]
    Surrounded { what: String },
    #[command(hide = true)]
    Dying {
        #[arg(long)]
        samples: Option<u32>,
    },
}

#[derive(Debug, clap::Args)]
pub(crate) struct SweepArgs {
    /// How many points a sample has
    #[arg(long, default_value_t = 1200)]
    pub(crate) points: usize,
    /// Only this end as the victim
    #[arg(long)]
    pub(crate) victim: Option<Side>,
    /// Only this surface
    #[arg(long)]
    pub(crate) surface: Option<Surface>,
    /// Only this step
    #[arg(long)]
    pub(crate) step: Option<Step>,
    #[command(flatten)]
    pub(crate) sample: SampleArgs,
}

/// Which points a command runs, whatever they are points of.
#[derive(Debug, clap::Args)]
pub(crate) struct SampleArgs {
    /// Every point, instead of a sample
    #[arg(long)]
    pub(crate) long: bool,
    /// Which of the samples; they cover everything together. The default is the number of the day
    #[arg(long)]
    pub(crate) seed: Option<usize>,
    /// How many points run at once; the default is one for each processor
    #[arg(long)]
    pub(crate) jobs: Option<usize>,
    /// Only this type of pipe
    #[arg(long)]
    pub(crate) mode: Option<Mode>,
    /// Only faults that begin with this, such as kill or fail:EINTR
    #[arg(long)]
    pub(crate) fault: Option<String>,
}

#[derive(Debug, clap::Args)]
pub(crate) struct GatewayArgs {
    /// How many points a sample has
    #[arg(long, default_value_t = 40)]
    pub(crate) points: usize,
    /// Only this victim
    #[arg(long)]
    pub(crate) victim: Option<Victim>,
    #[command(flatten)]
    pub(crate) sample: SampleArgs,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inject;
    use clap::{CommandFactory, error::ErrorKind};

    #[test]
    fn an_injector_understands_its_words() {
        let at = Some((7, crate::plan::Fault::Starve));
        for words in
            [inject::words_for_child(1, at), inject::words_for_program(&["a".into(), "--b".into()], None)]
        {
            let words = [vec!["pipework-faults".into()], words].concat();
            assert!(matches!(Args::try_parse_from(words).unwrap().command, Command::InjectForeign(_)));
        }
    }

    #[test]
    fn surroundings_that_do_not_exist_are_refused_with_the_choices() {
        Args::command().debug_assert();
        let error = Args::try_parse_from(["pipework-faults", "surroundings", "disks"]).unwrap_err();
        assert_eq!((error.kind(), error.exit_code()), (ErrorKind::InvalidValue, 2));
        assert!(error.to_string().contains("[possible values: descriptors, file-size, "), "{error}");
    }
}
