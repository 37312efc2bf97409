//! The cases of a run.

use crate::{
    args::Args,
    competitor, measure,
    placement::Placement::{self, Defaults},
    rounds::Case,
    targets,
};

/// The cases that the arguments select, in the order of the report.
pub(crate) fn cases(args: &Args) -> Vec<Case> {
    let selected = args.placements();
    let mut cases = Vec::new();
    for measure in measure::all().filter(|measure| contains_any(measure.name, &args.only)) {
        let placements = if selected.is_empty() { measure.placements } else { &selected };
        for &placement in placements {
            let mut competitors: Vec<_> = competitor::competitors(measure).collect();
            if args.targets {
                competitors.retain(|competitor| targets::is_needed(measure.name, placement, competitor.name));
            }
            if let (Some(&ours), false) = (competitors.first(), args.peer.is_empty()) {
                competitors.retain(|competitor| {
                    competitor.name == ours.name || contains_any(competitor.name, &args.peer)
                });
            }
            if !competitors.is_empty() {
                cases.push(Case { measure, placement, competitors });
            }
        }
    }
    cases
}

/// Removes the cases whose placement this machine does not support. Returns those placements, each with the reason.
pub(crate) fn remove_unavailable(cases: &mut Vec<Case>) -> Vec<(Placement, &'static str)> {
    let mut unavailable = Vec::new();
    cases.retain(|case| match case.placement.cpus() {
        Ok(_) => true,
        Err(reason) => {
            if case.placement != Defaults && !unavailable.contains(&(case.placement, reason)) {
                unavailable.push((case.placement, reason));
            }
            false
        }
    });
    unavailable
}

/// Whether the name contains one of these texts. Without texts every name does.
fn contains_any(name: &str, texts: &[String]) -> bool {
    texts.is_empty() || texts.iter().any(|text| name.contains(text.as_str()))
}
