//! The gateway, or its smbd, as the victim, between a remote client and a local server.
//!
//! Every process of a conversation is real: a private smbd, the gateway, a server of a local pipe, and a client that opens
//! that pipe through them. The server and the client are the survivors. What one of the two in the middle loses when it is
//! killed is lost; but no frame comes twice or out of order, both survivors learn of the end, and the next client is served.

mod middle;
mod point;
#[path = "../../../pipework/tests/remote/samba.rs"]
mod samba;

use crate::{
    args::GatewayArgs,
    plan::{GatewayPoint, GatewaySetup, Mode, Victim},
    point::Outcome,
    process::{self, CANNOT},
    sweep::{Sweep, cannot, in_parallel, show},
};
use clap::ValueEnum;
use samba::{Samba, Setup};
use std::{collections::BTreeMap, io, process::ExitCode, sync::Mutex};

/// How many points of a kind a sample is taken from.
const OF_A_KIND: usize = 16;

/// Goes through the points.
pub(crate) fn run(args: &GatewayArgs) -> ExitCode {
    if let Some(why) = middle::unavailable() {
        println!("{why}");
        return ExitCode::from(CANNOT);
    }
    process::note_interrupts();
    let jobs = args.sample.jobs.unwrap_or_else(process::processors);
    let (sweep, smbds) = (Sweep::new("gateway-point"), Smbds::default());
    let points = match sweep.count_gateway_calls(args, jobs, &smbds) {
        Ok(points) => points,
        Err(error) => return cannot(&error),
    };
    let Some(points) = sweep.choose(points, |point| point.fault, &args.sample, args.points) else {
        return ExitCode::FAILURE;
    };
    in_parallel(sweep.begun, &points, jobs, |point| {
        sweep.run_point(point.setup.victim, point.fault, point, || smbds.run(point));
    });
    sweep.finish(points.len())
}

/// Runs one point and shows everything about it.
pub(crate) fn run_one(point: &GatewayPoint) -> ExitCode {
    if let Some(why) = middle::unavailable() {
        println!("{why}");
        return ExitCode::from(CANNOT);
    }
    show(point, Smbds::default().run(point))
}

impl Sweep<Victim> {
    /// Runs each conversation without a fault, and makes points of the calls that were counted.
    fn count_gateway_calls(
        &self,
        args: &GatewayArgs,
        jobs: usize,
        smbds: &Smbds,
    ) -> io::Result<Vec<GatewayPoint>> {
        let mut setups = Vec::new();
        for victim in Victim::value_variants() {
            setups.extend(
                Mode::value_variants().iter().map(|mode| GatewaySetup { victim: *victim, mode: *mode }),
            );
        }
        setups.retain(|setup| {
            args.victim.is_none_or(|victim| victim == setup.victim)
                && args.sample.mode.is_none_or(|mode| mode == setup.mode)
        });
        let counted = Mutex::new(Vec::new());
        in_parallel(self.begun, &setups, jobs, |setup| {
            let outcome = smbds.with_one(|samba| point::run(samba, *setup, None));
            counted.lock().unwrap().push((setup.to_string(), *setup, outcome));
        });
        let mut counted = counted.into_inner().unwrap();
        // In this order, whichever was counted first.
        counted.sort_by(|one, other| one.0.cmp(&other.0));
        let mut points = Vec::new();
        for (name, setup, outcome) in counted {
            let outcome = outcome?;
            self.table.lock().unwrap().add_calls(setup.victim, outcome.report.calls.len());
            if !outcome.findings.is_empty() {
                self.report(&format_args!("{name} without a fault"), &outcome);
                print!("{}", outcome.log);
                self.table.lock().unwrap().add_failure(setup.victim);
            }
            let calls = (1..).zip(outcome.report.calls);
            let of_setup = calls.flat_map(|(call, of)| {
                of.faults().into_iter().map(move |fault| (of.number, GatewayPoint { setup, call, fault }))
            });
            let of_setup: Vec<_> = of_setup.collect();
            points.extend(if args.sample.long {
                thin(&of_setup, usize::MAX)
            } else {
                thin(&of_setup, OF_A_KIND)
            });
        }
        println!(
            "{} conversations counted in {:.0?}: {} points",
            setups.len(),
            self.begun.elapsed(),
            points.len()
        );
        Ok(points)
    }
}

/// Keeps at most so many points with the same call and the same fault, evenly spread: most of what these processes call
/// is the same again and again.
fn thin(points: &[(libc::c_long, GatewayPoint)], of_a_kind: usize) -> Vec<GatewayPoint> {
    let kind = |(number, point): &(libc::c_long, GatewayPoint)| (*number, point.fault.to_string());
    let mut counts = BTreeMap::new();
    for point in points {
        *counts.entry(kind(point)).or_insert(0) += 1;
    }
    let mut seen = BTreeMap::new();
    let mut is_kept = |point: &&(libc::c_long, GatewayPoint)| {
        let (count, seen): (usize, &mut usize) = (counts[&kind(point)], seen.entry(kind(point)).or_insert(0));
        *seen += 1;
        // Where the share of those that are kept reaches the next whole number.
        let kept = |seen: usize| seen.saturating_mul(of_a_kind.min(count)) / count;
        kept(*seen) > kept(*seen - 1)
    };
    points.iter().filter(|point| is_kept(point)).map(|(_, point)| *point).collect()
}

/// The smbds that run, each of which serves one conversation at a time.
#[derive(Debug, Default)]
struct Smbds(Mutex<Vec<Samba>>);

impl Smbds {
    fn run(&self, point: &GatewayPoint) -> io::Result<Outcome> {
        self.with_one(|samba| point::run(samba, point.setup, Some((point.call, point.fault))))
    }

    fn with_one(&self, work: impl FnOnce(&Samba) -> io::Result<Outcome>) -> io::Result<Outcome> {
        let idle = self.0.lock().unwrap().pop();
        let samba = idle.unwrap_or_else(|| Samba::start(&Setup::default()));
        let outcome = work(&samba)?;
        // What a fault left in one may be in the way of the next conversation.
        if outcome.findings.is_empty() {
            self.0.lock().unwrap().push(samba);
        }
        Ok(outcome)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::Fault;

    #[test]
    fn many_points_of_a_kind_are_thinned_out_and_few_are_kept() {
        let setup = GatewaySetup { victim: Victim::Gateway, mode: Mode::Bytes };
        let point = |number, call| (number, GatewayPoint { setup, call, fault: Fault::KillBefore });
        let mut points: Vec<_> = (1..=100).map(|call| point(libc::SYS_futex, call)).collect();
        points.extend([point(libc::SYS_bind, 101), point(libc::SYS_bind, 102)]);
        let calls = |of_a_kind| thin(&points, of_a_kind).iter().map(|point| point.call).collect::<Vec<_>>();
        assert_eq!(calls(4), [25, 50, 75, 100, 101, 102]);
        assert_eq!(calls(usize::MAX).len(), 102);
    }
}
