//! The files of the project, as the checks read them.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// The crates of the project whose sources are checked, each by the name of its folder.
pub(super) const CRATES: [&str; 5] =
    ["pipework", "pipework-gateway", "pipework-bench", "pipework-cli", "pipework-faults"];

/// A file of text, by its path below the folder that was asked for.
pub(super) struct Source {
    /// What goes before the path in a message.
    folder: String,
    pub(super) path: String,
    pub(super) text: String,
}

impl Source {
    pub(super) fn is_in(&self, folder: &str) -> bool {
        self.path.strip_prefix(folder).is_some_and(|rest| rest.starts_with('/') || rest == ".rs")
    }

    /// Its path below the root of the project.
    pub(super) fn full_path(&self) -> String {
        format!("{}{}", self.folder, self.path)
    }

    /// Whether it belongs to the public surface: to none of the layers below.
    pub(super) fn is_surface(&self) -> bool {
        !["sys", "model", "ring"].iter().any(|folder| self.is_in(folder))
    }

    /// Its lines without comments, with their numbers.
    pub(super) fn code(&self) -> impl Iterator<Item = (usize, &str)> {
        self.text.lines().enumerate().map(|(index, line)| {
            let code = if line.trim_start().starts_with("//") { "" } else { line };
            (index + 1, code.split(" // ").next().unwrap_or_default())
        })
    }

    pub(super) fn fault(&self, number: usize, what: &str) -> String {
        format!("{}{}:{number}: {what}", self.folder, self.path)
    }
}

fn manifest_dir() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// The root of the project, which a packaged crate does not carry.
pub(super) fn project() -> Option<PathBuf> {
    let root = manifest_dir().join("../..");
    root.join("docs/SEMANTICS.md").exists().then_some(root)
}

/// The rule book, which a packaged crate does not carry.
pub(super) fn rule_book() -> Option<String> {
    fs::read_to_string(project()?.join("docs/SEMANTICS.md")).ok()
}

/// The sources of the library.
pub(super) fn sources() -> Vec<Source> {
    let root = manifest_dir().join("src");
    let found = files(&root, "src/", &|path| path.extension().is_some_and(|extension| extension == "rs"));
    assert!(!found.is_empty(), "no sources in {}", root.display());
    found
}

/// The sources of each crate that is there.
pub(super) fn sources_of_crates() -> Vec<(&'static str, Vec<Source>)> {
    let Some(project) = project() else { return vec![("pipework", sources())] };
    let of_crate = |name: &'static str| {
        let root = project.join("crates").join(name).join("src");
        let folder = format!("crates/{name}/src/");
        (name, files(&root, &folder, &|path| path.extension().is_some_and(|extension| extension == "rs")))
    };
    CRATES.map(of_crate).into()
}

/// Everything in the project that people read: sources, tests, examples, scripts and pages.
pub(super) fn everything() -> Vec<Source> {
    let Some(project) = project() else { return sources() };
    let is_read = |path: &Path| {
        let extension = path.extension().and_then(|extension| extension.to_str());
        matches!(extension, Some("rs" | "md" | "toml" | "py" | "mjs" | "sh"))
            || path
                .components()
                .any(|folder| [".ci", "scripts"].contains(&folder.as_os_str().to_str().unwrap_or_default()))
    };
    let mut found = Vec::new();
    for folder in ["crates", "docs", "scripts", "fuzz", ".ci"] {
        found.extend(files(&project.join(folder), &format!("{folder}/"), &is_read));
    }
    for entry in fs::read_dir(&project).unwrap() {
        let path = entry.unwrap().path();
        if path.is_file() && is_read(&path) {
            let name = path.file_name().unwrap().to_str().unwrap().to_owned();
            found.push(Source { folder: String::new(), path: name, text: fs::read_to_string(path).unwrap() });
        }
    }
    found
}

/// The files below a folder, in the order of their names.
fn files(root: &Path, folder: &str, is_wanted: &dyn Fn(&Path) -> bool) -> Vec<Source> {
    let mut found = Vec::new();
    collect(root, root, folder, is_wanted, &mut found);
    found.sort_by(|one, other| one.path.cmp(&other.path));
    found
}

fn collect(root: &Path, at: &Path, folder: &str, is_wanted: &dyn Fn(&Path) -> bool, found: &mut Vec<Source>) {
    // A part of the project that is not there has no faults.
    let Ok(entries) = fs::read_dir(at) else { return };
    for entry in entries {
        let path = entry.unwrap().path();
        if path.is_dir() {
            // Not what was built.
            if !path.ends_with("target") && !path.ends_with("corpus") {
                collect(root, &path, folder, is_wanted, found);
            }
        } else if is_wanted(&path) {
            // What is no text is not read.
            let Ok(text) = fs::read_to_string(&path) else { continue };
            let path = path.strip_prefix(root).unwrap().display().to_string().replace('\\', "/");
            found.push(Source { folder: folder.to_owned(), path, text });
        }
    }
}
