//! What the sources must look like, and that every rule has its case.

mod imports;
mod links;
mod sources;
mod words;

use std::collections::BTreeSet;

use libtest_mimic::{Failed, Trial};

use crate::{
    conformance::{self, skips},
    harness::{Test, tests},
    surface::surfaces,
};
use imports::{circles_between_files, circles_between_folders};
use links::links_to_nothing;
use sources::{Source, everything, rule_book, sources, sources_of_crates};
use words::{unwanted_declarations, unwanted_phrases};

/// The checks, as tests.
pub(crate) fn trials() -> Vec<Trial> {
    let checks: [(&str, Check); 17] = [
        ("every_rule_has_a_case", rules_without_a_case),
        ("every_case_in_the_rule_book_exists", cases_that_do_not_exist),
        ("every_test_in_the_security_page_exists", tests_that_do_not_exist),
        ("every_case_begins_with_its_rule", misnamed_cases),
        ("cases_of_one_system_are_skipped_by_name_elsewhere", cases_unknown_on_other_systems),
        ("what_is_skipped_exists", skips_of_nothing),
        ("arrows_between_modules_point_one_way", wrong_arrows),
        ("arrows_between_files_point_one_way", circles_between_files),
        ("arrows_between_folders_point_one_way", circles_between_folders),
        ("the_surface_is_the_same_everywhere", conditions_in_the_surface),
        ("unsafe_code_stays_where_it_belongs", unsafe_code_elsewhere),
        ("files_are_of_a_readable_length", long_files),
        ("nothing_is_left_to_do", unfinished_code),
        ("names_are_in_the_house_style", unwanted_names),
        ("names_are_those_of_the_field", unwanted_declarations),
        ("words_are_those_of_the_field", unwanted_phrases),
        ("links_of_pages_lead_somewhere", links_to_nothing),
    ];
    checks.map(|(name, check)| Trial::test(format!("tidy::{name}"), move || verdict(check()))).into()
}

/// Looks for faults and returns each with its place.
type Check = fn() -> Vec<String>;

fn verdict(faults: Vec<String>) -> Result<(), Failed> {
    if faults.is_empty() { Ok(()) } else { Err(faults.join("\n").into()) }
}

// ------------------------------------------------------------------ rules and cases

/// The rules, where the rule book is not at hand.
const RULES: [&str; 41] = [
    "N1", "N2", "N3", "N4", "N5", "N6", "N7", "N8", "N9", "C1", "C2", "C3", "C4", "C5", "C6", "C7", "B1",
    "B2", "B3", "B4", "B5", "B6", "M1", "M2", "M3", "M4", "M5", "F1", "F2", "F3", "F4", "T1", "T2", "T3",
    "A1", "A2", "A3", "A4", "A5", "P1", "P2",
];

/// Whether this build has the async surface.
const HAS_ASYNC: bool = cfg!(feature = "tokio");

/// Rules that only the async surface has.
const EXEMPT: [&str; 1] = ["T3"];

fn rules_without_a_case() -> Vec<String> {
    let known: BTreeSet<String> = RULES.iter().map(|rule| (*rule).to_owned()).collect();
    let written = rule_book().map(|text| rules_of(&text)).unwrap_or_default();
    let proven: BTreeSet<&str> = tests().iter().map(|test| test.rule).collect();
    let exempt = |rule: &str| !HAS_ASYNC && EXEMPT.contains(&rule);
    known
        .union(&written)
        .filter(|rule| !proven.contains(rule.as_str()) && !exempt(rule))
        .map(|rule| format!("rule {rule} has no case"))
        .collect()
}

/// The rules of the rule book: the first cell of each row, if it is a letter and a digit.
fn rules_of(text: &str) -> BTreeSet<String> {
    text.lines()
        .filter_map(|line| line.strip_prefix("| ")?.split_once(" |"))
        .map(|(cell, _)| cell.to_owned())
        .filter(|cell| is_rule(cell))
        .collect()
}

fn is_rule(word: &str) -> bool {
    matches!(word.as_bytes(), [letter, digit] if letter.is_ascii_uppercase() && digit.is_ascii_digit())
}

/// Words in backquotes that look like a case: a rule in lower case, then more words.
fn cases_that_do_not_exist() -> Vec<String> {
    let tests = tests();
    let exists = |name: &str| tests.iter().any(|test| case_of(test) == name);
    let Some(text) = rule_book() else { return Vec::new() };
    let looks_like_a_case = |word: &&str| {
        word.split_once('_')
            .is_some_and(|(rule, _)| is_rule(&rule.to_uppercase()) && *rule == rule.to_lowercase())
    };
    text.split('`')
        .skip(1)
        .step_by(2)
        .map(|word| word.rsplit("::").next().unwrap_or_default())
        .filter(looks_like_a_case)
        .filter(|word| HAS_ASYNC || !EXEMPT.iter().any(|rule| word.starts_with(&rule.to_lowercase())))
        .filter(|word| !exists(word))
        .map(|word| format!("docs/SEMANTICS.md names the case {word}, which does not exist"))
        .collect()
}

/// Words in backquotes in the last cell of a row of SECURITY.md: tests, fuzz targets, scripts.
fn tests_that_do_not_exist() -> Vec<String> {
    let everything = everything();
    let Some(page) = everything.iter().find(|source| source.path == "SECURITY.md") else { return Vec::new() };
    let exists = |word: &str| {
        let (function, text) = (format!("fn {word}("), format!("\"{word}\""));
        everything.iter().any(|source| {
            let is_named = source.full_path() == word || source.path.ends_with(&format!("targets/{word}.rs"));
            let is_test = source.path.ends_with(".rs") && !source.path.ends_with("tidy.rs");
            is_named || is_test && (source.text.contains(&function) || source.text.contains(&text))
        })
    };
    let cells = page.text.lines().enumerate().filter_map(|(index, line)| {
        let cells = line.strip_prefix("| ")?.strip_suffix(" |")?;
        Some((index + 1, cells.rsplit(" | ").next().unwrap_or_default()))
    });
    cells
        .flat_map(|(number, cell)| cell.split('`').skip(1).step_by(2).map(move |word| (number, word)))
        .filter(|(_, word)| !exists(word))
        .map(|(number, word)| page.fault(number, &format!("{word} is no test")))
        .collect()
}

fn misnamed_cases() -> Vec<String> {
    let tests = tests();
    let is_misnamed = |test: &&Test| !case_of(test).starts_with(&test.rule.to_lowercase());
    tests
        .iter()
        .filter(is_misnamed)
        .map(|test| format!("{} is said to prove {}", test.name, test.rule))
        .collect()
}

fn cases_unknown_on_other_systems() -> Vec<String> {
    let here = conformance::cases_of_this_system();
    let here: BTreeSet<&str> = here.iter().map(|case| case.name).collect();
    let known: BTreeSet<&str> = skips::known_on_other_systems().into_iter().collect();
    here.symmetric_difference(&known)
        .map(|case| format!("{case} is a case of this system, or said to be one elsewhere, but not both"))
        .collect()
}

fn skips_of_nothing() -> Vec<String> {
    let tests = tests();
    let exempt = surfaces().into_iter().flat_map(|surface| surface.exempt()).map(|(name, _)| *name);
    skips::wrong_in_wine()
        .chain(exempt)
        .filter(|name| !tests.iter().any(|test| case_of(test) == *name))
        .map(|name| format!("{name} is skipped, but does not exist"))
        .collect()
}

fn case_of(test: &Test) -> &str {
    test.name.split_once("::").map_or("", |(_, case)| case)
}

// ------------------------------------------------------------------ sources

/// The modules at the root of the crate that a text speaks of, each with the number of its line.
fn modules_of(source: &Source) -> Vec<(usize, String)> {
    // Tests may use the crate as any caller does.
    if source.path.ends_with("tests.rs") {
        return Vec::new();
    }
    let code: String = source
        .code()
        .take_while(|(_, line)| *line != "#[cfg(test)]")
        .map(|(_, line)| format!("{line}\n"))
        .collect();
    let mut modules = Vec::new();
    for (start, _) in code.match_indices("crate::") {
        let number = code[..start].lines().count().max(1);
        let rest = &code[start + "crate::".len()..];
        let names = match rest.strip_prefix('{') {
            Some(group) => paths_of_group(group),
            None => vec![first_path(rest)],
        };
        modules.extend(names.into_iter().map(|name| (number, name.to_owned())));
    }
    modules
}

/// Whether a path is a module, or something in it.
fn is_below(path: &str, module: &str) -> bool {
    path.strip_prefix(module).is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
}

/// The path that a text begins with.
fn first_path(text: &str) -> &str {
    let end =
        text.find(|letter: char| !letter.is_alphanumeric() && !"_:".contains(letter)).unwrap_or(text.len());
    text[..end].trim_end_matches(':')
}

/// The path of each member of a `{…}` group, of which the text is what follows the first brace.
fn paths_of_group(text: &str) -> Vec<&str> {
    let mut paths = Vec::new();
    let (mut depth, mut member) = (0_usize, 0);
    for (index, letter) in text.char_indices() {
        let ends = depth == 0 && matches!(letter, ',' | '}');
        if ends {
            paths.push(first_path(text[member..index].trim_start()));
            member = index + 1;
        }
        match letter {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            _ => {}
        }
    }
    paths.retain(|path| !path.is_empty());
    paths
}

/// What each layer may use of the crate: itself, and what is named here.
const ARROWS: [(&str, &[&str]); 10] = [
    // The ground floor: plain data, which knows nothing of the system.
    ("error", &[]),
    ("access", &[]),
    ("message", &[]),
    ("network", &[]),
    ("credentials", &[]),
    ("name", &["error"]),
    ("options", &["access", "credentials", "name", "network"]),
    ("model", &[]),
    ("ring", &[]),
    // Beside the layers below it, the seam speaks in the plain data of the surface.
    ("sys", &["model", "ring", "error", "name", "options", "access", "message", "credentials", "network"]),
];

fn wrong_arrows() -> Vec<String> {
    let mut faults = Vec::new();
    for source in sources() {
        for (folder, allowed) in ARROWS.iter().filter(|(folder, _)| source.is_in(folder)) {
            for (number, module) in modules_of(&source) {
                let is_allowed = |name: &&str| is_below(&module, name);
                if !is_below(&module, folder) && !allowed.iter().any(is_allowed) {
                    faults.push(source.fault(number, &format!("{folder} must not use {module}")));
                }
            }
        }
    }
    faults
}

fn conditions_in_the_surface() -> Vec<String> {
    let mut faults = Vec::new();
    for source in sources().iter().filter(|source| source.is_surface()) {
        if source.is_in("os") || source.path == "lib.rs" {
            continue;
        }
        for (number, code) in source.code() {
            let is_allowed = code.contains("#[cfg(test)]") || code.contains("#[cfg(feature =");
            if code.contains("cfg(") && !is_allowed {
                faults.push(source.fault(number, "a condition on the system; it belongs below the seam"));
            }
        }
    }
    faults
}

fn unsafe_code_elsewhere() -> Vec<String> {
    let mut faults = Vec::new();
    for source in sources() {
        if source.is_in("sys") || source.path == "ring/memory.rs" {
            continue;
        }
        for (number, code) in source.code() {
            // Lints speak of unsafe code too, as `unsafe_code`.
            let mut uses =
                code.split("unsafe").skip(1).map(str::trim_start).filter(|rest| !rest.starts_with('_'));
            let declares = source.is_in("os") || source.path == "tokio/options.rs";
            let allowed = |rest: &str| declares && rest.starts_with("fn");
            if uses.any(|rest| !allowed(rest)) && !code.contains('"') {
                faults.push(source.fault(number, "unsafe code; it belongs in sys or ring/memory.rs"));
            }
        }
    }
    faults
}

/// The most lines that a file may have beside its tests.
const LINES_MAX: usize = 600;

fn long_files() -> Vec<String> {
    let mut faults = Vec::new();
    for source in sources_of_crates().iter().flat_map(|(_, sources)| sources) {
        let count = lines_without_tests(&source.text);
        if count > LINES_MAX {
            faults.push(
                source.fault(count, &format!("{count} lines without its tests, of at most {LINES_MAX}")),
            );
        }
    }
    faults
}

/// The lines of a file that are in no module of tests, wherever that is.
fn lines_without_tests(text: &str) -> usize {
    let mut lines = text.lines().peekable();
    let mut count = 0;
    while let Some(line) = lines.next() {
        let is_block =
            lines.peek().is_some_and(|next| next.trim().starts_with("mod ") && next.ends_with('{'));
        if line.trim() == "#[cfg(test)]" && is_block {
            let end = format!("{}}}", &line[..line.len() - line.trim_start().len()]);
            lines.by_ref().find(|line| *line == end);
        } else {
            count += 1;
        }
    }
    count
}

fn unfinished_code() -> Vec<String> {
    let marks = ["todo!", "unimplemented!", "FIXME", "TODO", "XXX"];
    let mut faults = Vec::new();
    for source in sources() {
        for (index, line) in source.text.lines().enumerate() {
            if marks.iter().any(|mark| line.contains(mark)) {
                faults.push(source.fault(index + 1, "something is left to do"));
            }
        }
    }
    faults
}

fn unwanted_names() -> Vec<String> {
    let mut faults = Vec::new();
    for source in sources() {
        for (number, code) in source.code() {
            if let Some(name) = public_name(code).filter(|name| is_unwanted(name)) {
                faults.push(source.fault(number, &format!("{name} says nothing about what it is")));
            }
        }
    }
    faults
}

/// The name of the item that a line makes public.
fn public_name(code: &str) -> Option<&str> {
    let item = code.trim_start().strip_prefix("pub ")?;
    let kinds =
        ["const fn ", "async fn ", "unsafe fn ", "fn ", "struct ", "enum ", "trait ", "type ", "mod "];
    let name = kinds.iter().find_map(|kind| item.strip_prefix(kind))?;
    name.split(|letter: char| !letter.is_alphanumeric() && letter != '_').next()
}

fn is_unwanted(name: &str) -> bool {
    name.starts_with("get_")
        || name.starts_with("Raw")
        || name.contains("Inner")
        || name.contains("Impl")
        || ["misc", "util", "utils", "common", "helpers"].contains(&name)
}
