//! Where the links of the pages lead.

use super::sources::{everything, project};
use std::path::{Component, Path, PathBuf};

/// What links begin with that are read on a registry's page too, which has no other files.
const REPOSITORY: [&str; 3] = [
    "https://github.com/pipework-rs/pipework/blob/main/",
    "https://github.com/pipework-rs/pipework/tree/main/",
    "https://raw.githubusercontent.com/pipework-rs/pipework/main/",
];

/// Pages that a registry shows. Their links need an address.
const OF_PACKAGES: [&str; 2] = ["README.md", "crates/pipework-gateway/README.md"];

/// Links to files that are not there, and relative links of pages that are read elsewhere.
pub(super) fn links_to_nothing() -> Vec<String> {
    let Some(root) = project() else { return Vec::new() };
    let mut faults = Vec::new();
    let everything = everything();
    for page in everything.iter().filter(|source| source.path.ends_with(".md")) {
        let path = page.full_path();
        // Rustdoc resolves the links of what is in `src`. A symbolic link is a page of another place.
        if path.contains("/src/") || root.join(&path).is_symlink() {
            continue;
        }
        let folder = Path::new(&path).parent().unwrap_or(Path::new(""));
        for (number, link) in links(&page.text) {
            let of_repository = REPOSITORY.iter().find_map(|prefix| link.strip_prefix(prefix));
            let file = match of_repository {
                Some(file) => PathBuf::from(file),
                None if link.contains(':') || link.starts_with('#') => continue,
                None if OF_PACKAGES.contains(&path.as_str()) => {
                    faults.push(page.fault(number, &format!("a registry does not have {link}")));
                    continue;
                }
                None => folder.join(link),
            };
            let file = without_fragment(&file);
            if !root.join(normal(&file)).exists() {
                faults.push(page.fault(number, &format!("{link} leads nowhere")));
            }
        }
    }
    faults
}

/// The targets of `[text](target)` outside of code, each with the number of its line.
fn links(text: &str) -> Vec<(usize, &str)> {
    let mut links = Vec::new();
    let mut is_code = false;
    for (index, line) in text.lines().enumerate() {
        if line.starts_with("```") {
            is_code = !is_code;
        }
        if !is_code {
            let targets = line.split("](").skip(1).filter_map(|rest| rest.split([')', ' ']).next());
            links.extend(targets.map(|target| (index + 1, target)));
        }
    }
    links
}

fn without_fragment(path: &Path) -> PathBuf {
    let text = path.to_string_lossy();
    PathBuf::from(text.split('#').next().unwrap_or_default())
}

/// The path without its `..`, whatever is a symbolic link.
fn normal(path: &Path) -> PathBuf {
    let mut normal = PathBuf::new();
    for part in path.components() {
        match part {
            Component::ParentDir => {
                normal.pop();
            }
            part => normal.push(part),
        }
    }
    normal
}
