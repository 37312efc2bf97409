//! Which cases a run has.

use crate::{
    args::Args,
    measure, peer,
    rounds::Case,
    setting::Setting::{self, Defaults},
    targets,
};

/// Everything that the arguments ask for, in the order of the report.
pub(crate) fn cases(args: &Args) -> Vec<Case> {
    let asked = args.settings();
    let mut cases = Vec::new();
    for measure in measure::all().filter(|measure| has(measure.name, &args.only)) {
        let settings = if asked.is_empty() { measure.settings } else { &asked };
        for &setting in settings {
            let mut contenders: Vec<_> = peer::contenders(measure).collect();
            if args.targets {
                contenders.retain(|contender| targets::need(measure.name, setting, contender.name));
            }
            if let (Some(&ours), false) = (contenders.first(), args.peer.is_empty()) {
                contenders.retain(|contender| contender.name == ours.name || has(contender.name, &args.peer));
            }
            if !contenders.is_empty() {
                cases.push(Case { measure, setting, contenders });
            }
        }
    }
    cases
}

/// Takes out what can't be had on this machine, and says why.
pub(crate) fn take_impossible(cases: &mut Vec<Case>) -> Vec<(Setting, &'static str)> {
    let mut impossible = Vec::new();
    cases.retain(|case| match case.setting.place() {
        Ok(_) => true,
        Err(why) => {
            if case.setting != Defaults && !impossible.contains(&(case.setting, why)) {
                impossible.push((case.setting, why));
            }
            false
        }
    });
    impossible
}

fn has(name: &str, texts: &[String]) -> bool {
    texts.is_empty() || texts.iter().any(|text| name.contains(text.as_str()))
}
