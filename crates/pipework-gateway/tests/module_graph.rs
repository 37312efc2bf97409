//! The source files of the gateway import each other without a cycle.
//!
//! A file depends on the files of the modules that it declares, and on those that it names by a path that begins with
//! `crate` or `super`. Tests at the end of a file are not counted.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may panic")]

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

/// A module by its path from the root of the crate, which is empty for the root.
type Module = Vec<String>;

#[test]
fn files_import_each_other_without_a_cycle() {
    let mut sources = BTreeMap::new();
    read_sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &Vec::new(), &mut sources);
    assert!(sources.len() > 20, "{:?}", sources.keys());
    let mut graph: BTreeMap<&Module, BTreeSet<&Module>> =
        sources.iter().map(|(module, text)| (module, dependencies(module, text, &sources))).collect();
    let edge_count: usize = graph.values().map(BTreeSet::len).sum();
    assert!(edge_count > 60, "{edge_count} imports: the parser misses some");
    // Files without dependencies are removed until only cycles, and files that depend on them, are left.
    while let Some(leaf) = graph.iter().find(|(_, used)| used.is_empty()).map(|(module, _)| *module) {
        graph.remove(leaf);
        graph.values_mut().for_each(|used| {
            used.remove(leaf);
        });
    }
    assert!(graph.is_empty(), "cycles among: {graph:#?}");
}

#[test]
fn a_cycle_is_found_in_nested_imports() {
    let module = |path: &str| -> Module { path.split("::").map(str::to_owned).collect() };
    let sources: BTreeMap<Module, String> =
        ["a", "b", "b::c", "d"].into_iter().map(|path| (module(path), String::new())).collect();
    let text =
        "use crate::{a::{self, X}, d as e};\nuse super::{super::a, Y};\nmod c;\n#[cfg(test)]\nmod tests;";
    let found = dependencies(&module("b"), text, &sources);
    assert_eq!(found, [&module("a"), &module("b::c"), &module("d")].into_iter().collect());
}

fn read_sources(dir: &Path, parent: &Module, sources: &mut BTreeMap<Module, String>) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        let module: Module = match name.as_str() {
            "lib" => Vec::new(),
            "main" | "tests" => continue,
            _ => parent.iter().cloned().chain([name]).collect(),
        };
        if path.is_dir() {
            read_sources(&path, &module, sources);
        } else {
            sources.insert(module, fs::read_to_string(&path).unwrap());
        }
    }
}

fn dependencies<'a>(
    module: &Module,
    text: &str,
    sources: &'a BTreeMap<Module, String>,
) -> BTreeSet<&'a Module> {
    let code: String = text
        .lines()
        .take_while(|line| *line != "#[cfg(test)]")
        .filter(|line| !line.trim_start().starts_with("//"))
        .flat_map(|line| [line, "\n"])
        .collect();
    let mut paths = Vec::new();
    for line in code.lines() {
        let declared =
            ["mod ", "pub mod ", "pub(crate) mod "].iter().find_map(|start| line.strip_prefix(start));
        if let Some(name) = declared.and_then(|rest| rest.strip_suffix(';')) {
            paths.push(module.iter().map(String::as_str).chain([name]).map(str::to_owned).collect());
        }
    }
    let starts = ["crate::", "super::"].iter().flat_map(|start| code.match_indices(start));
    let starts: BTreeSet<usize> = starts.map(|(at, _)| at).collect();
    let mut expanded = 0;
    for at in starts {
        let is_first = !code[..at].ends_with(|last: char| last.is_alphanumeric() || "_:".contains(last));
        if is_first && at >= expanded {
            expanded = at + expand(&code[at..], module, &mut paths);
        }
    }
    let used = paths.iter().filter_map(|path| {
        (0..=path.len()).rev().find_map(|len| sources.get_key_value(&path[..len])).map(|(used, _)| used)
    });
    used.filter(|used| *used != module).collect()
}

/// Resolves the path or group of paths at the start of a text. Returns the length of the text that it consists of.
fn expand(text: &str, base: &Module, paths: &mut Vec<Module>) -> usize {
    let mut path = base.clone();
    let mut at = 0;
    loop {
        let rest = &text[at..];
        if let Some(group) = rest.strip_prefix('{') {
            let mut inner = 0;
            while !group[inner..].starts_with('}') {
                let is_gap = |letter: char| letter.is_whitespace() || letter == ',';
                inner += group[inner..].find(|letter| !is_gap(letter)).unwrap();
                if !group[inner..].starts_with('}') {
                    inner += expand(&group[inner..], &path, paths);
                    inner += group[inner..].find([',', '}']).unwrap();
                }
            }
            return at + inner + 2;
        }
        let len = rest.find(|letter: char| !letter.is_alphanumeric() && letter != '_').unwrap_or(rest.len());
        match &rest[..len] {
            "crate" => path.clear(),
            "super" => drop(path.pop()),
            "self" => {}
            name => path.push(name.to_owned()),
        }
        at += len;
        match text[at..].strip_prefix("::") {
            Some(_) => at += 2,
            None => break,
        }
    }
    paths.push(path);
    at
}
