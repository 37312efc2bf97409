//! Which file uses which, by the paths that are written in it.
//!
//! A name that a module passes on (`pub use`) counts as use of the file that declares it, and passing on alone is no use.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::sources::{Source, sources_of_crates};

/// Uses that close a circle and may: the crate, the two files, and why. The circle of a module with a child of its own
/// needs no leave.
const BACK_USES: &[(&str, &str, &str, &str)] = &[
    (
        "pipework",
        "named.rs",
        "listener.rs",
        "the builder has the short form `listen`, the listener is made by a builder",
    ),
    ("pipework", "tokio/options.rs", "tokio/listener.rs", "as `named.rs` and `listener.rs`"),
    // What both systems share is written over what each backend has, and the backends implement its traits.
    ("pipework", "sys/end.rs", "sys/unix/end.rs", "shared code over the kinds of ends of a backend"),
    ("pipework", "sys/end.rs", "sys/windows/end.rs", "as for Unix"),
    (
        "pipework",
        "sys/instance.rs",
        "sys/unix/server/instance.rs",
        "shared code over a backend's part of an instance",
    ),
    ("pipework", "sys/instance.rs", "sys/windows/instance.rs", "as for Unix"),
    ("pipework", "sys/canceller.rs", "sys/unix/canceller.rs", "shared code over a backend's event"),
    ("pipework", "sys/canceller.rs", "sys/windows/canceller.rs", "as for Unix"),
    (
        "pipework",
        "sys/windows/handle.rs",
        "sys/wait_limit.rs",
        "waits at events end at a limit, of which a canceller is a part",
    ),
    (
        "pipework",
        "sys/async_end.rs",
        "sys/windows/asynchronous/accepting.rs",
        "shared code over a backend's accepting",
    ),
];

/// Files that use each other, directly or around a corner.
pub(super) fn circles_between_files() -> Vec<String> {
    let mut faults = Vec::new();
    for (name, sources) in sources_of_crates() {
        let graph = Graph::of(&sources);
        let mut edges = graph.edges.clone();
        for (from, to) in &graph.edges {
            // A module and its child: the use of the parent by the child does not count.
            if graph.is_child(from, to) && graph.edges.contains(&(to.clone(), from.clone())) {
                edges.remove(&(from.clone(), to.clone()));
            }
        }
        for (_, from, to, _) in BACK_USES.iter().filter(|(of, ..)| *of == name) {
            let is_used = edges.remove(&((*from).to_owned(), (*to).to_owned()));
            if !is_used || way(&edges, to, from).is_none() {
                faults.push(format!("crates/{name}/src: {from} -> {to} closes no circle any more"));
            }
        }
        faults.extend(circles(&edges).iter().map(|circle| format!("crates/{name}/src: a circle: {circle}")));
    }
    faults
}

/// Folders of the library that use each other; one that holds the other is no partner.
pub(super) fn circles_between_folders() -> Vec<String> {
    let mut faults = Vec::new();
    for (name, sources) in sources_of_crates().into_iter().filter(|(name, _)| *name == "pipework") {
        let mut edges = BTreeSet::new();
        for (from, to) in &Graph::of(&sources).edges {
            let (from, to) = (folder_of(from), folder_of(to));
            let holds = |one: &str, other: &str| {
                one.is_empty()
                    || other.strip_prefix(one).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
            };
            if !holds(from, to) && !holds(to, from) {
                edges.insert((from.to_owned(), to.to_owned()));
            }
        }
        for circle in circles(&edges) {
            faults.push(format!("crates/{name}/src: a circle of folders: {circle}"));
        }
    }
    faults
}

fn folder_of(file: &str) -> &str {
    file.rsplit_once('/').map_or("", |(folder, _)| folder)
}

// ------------------------------------------------------------------ the graph

/// The files of a crate and their uses of each other.
struct Graph {
    scopes: BTreeMap<Vec<String>, Scope>,
    edges: BTreeSet<(String, String)>,
}

/// A module, in a file of its own or within another one's.
#[derive(Debug, Default)]
struct Scope {
    file: String,
    children: BTreeSet<String>,
    /// What it imports or passes on under a name.
    imports: Vec<Import>,
    /// The paths in its code.
    paths: Vec<Vec<String>>,
    /// Every identifier in its code.
    identifiers: BTreeSet<String>,
}

#[derive(Debug)]
struct Import {
    name: String,
    path: Vec<String>,
    is_passed_on: bool,
}

impl Graph {
    fn of(sources: &[Source]) -> Graph {
        let mut graph = Graph { scopes: BTreeMap::new(), edges: BTreeSet::new() };
        let root =
            ["lib.rs", "main.rs"].into_iter().find(|root| sources.iter().any(|file| file.path == *root));
        let root = root.expect("a crate has a root");
        graph.read(sources, Vec::new(), root, "");
        let mut edges = BTreeSet::new();
        for (path, scope) in &graph.scopes {
            let mut used: Vec<&Vec<String>> = scope.paths.iter().collect();
            used.extend(scope.imports.iter().filter_map(|import| {
                let is_use = !import.is_passed_on || scope.identifiers.contains(&import.name);
                is_use.then_some(&import.path)
            }));
            for used in used {
                for file in graph.resolve(path, used, 0) {
                    if file != scope.file {
                        edges.insert((scope.file.clone(), file));
                    }
                }
            }
        }
        assert!(edges.len() >= sources.len() / 2, "{} files, and only {} uses", sources.len(), edges.len());
        graph.edges = edges;
        graph
    }

    /// Reads the module in a file, and the files of its children, which lie in `folder`.
    fn read(&mut self, sources: &[Source], module: Vec<String>, file: &str, folder: &str) {
        let Some(source) = sources.iter().find(|source| source.path == file) else { return };
        let mut reader =
            Reader { tokens: tokens(&source.text), at: 0, scopes: Vec::new(), files: Vec::new() };
        reader.read_module(module, file);
        for scope in reader.scopes {
            let known = self.scopes.entry(scope.0).or_default();
            known.file = scope.1.file;
            known.children.extend(scope.1.children);
            known.imports.extend(scope.1.imports);
            known.paths.extend(scope.1.paths);
            known.identifiers.extend(scope.1.identifiers);
        }
        for (child, name) in reader.files {
            let below = format!("{folder}{name}");
            for candidate in [format!("{below}.rs"), format!("{below}/mod.rs")] {
                if sources.iter().any(|source| source.path == candidate) {
                    self.read(sources, child.clone(), &candidate, &format!("{below}/"));
                }
            }
        }
    }

    /// The files that a path written in a module leads to; none if it leads out of the crate.
    fn resolve(&self, module: &[String], path: &[String], depth: usize) -> BTreeSet<String> {
        let Some((first, rest)) = path.split_first() else { return self.file_of(module) };
        match first.as_str() {
            "crate" => self.descend(&[], rest, depth),
            "self" => self.descend(module, rest, depth),
            "super" => {
                let mut at = &module[..module.len().saturating_sub(1)];
                let mut rest = rest;
                while let Some((first, further)) = rest.split_first().filter(|(first, _)| *first == "super") {
                    let _another = first;
                    at = &at[..at.len().saturating_sub(1)];
                    rest = further;
                }
                self.descend(at, rest, depth)
            }
            name => {
                let Some(scope) = self.scopes.get(module) else { return BTreeSet::new() };
                let is_known =
                    scope.children.contains(name) || scope.imports.iter().any(|import| import.name == name);
                if is_known { self.descend(module, path, depth) } else { BTreeSet::new() }
            }
        }
    }

    /// The files that the rest of a path leads to, seen from a module that it has reached.
    fn descend(&self, module: &[String], rest: &[String], depth: usize) -> BTreeSet<String> {
        const DEPTH_MAX: usize = 24;
        let (Some(scope), true) = (self.scopes.get(module), depth < DEPTH_MAX) else {
            return BTreeSet::new();
        };
        let Some((name, further)) = rest.split_first() else { return self.file_of(module) };
        if scope.children.contains(name) {
            return self.descend(&[module, std::slice::from_ref(name)].concat(), further, depth + 1);
        }
        let mut imports = scope.imports.iter().filter(|import| import.name == *name).peekable();
        if imports.peek().is_none() {
            return self.file_of(module);
        }
        let lead = |import: &Import| {
            // A name that is imported under itself, as by `use name::name`, leads out of the crate.
            let is_same = import.path.first() == Some(name) && !scope.children.contains(name);
            let path = [&import.path[..], further].concat();
            if is_same { BTreeSet::new() } else { self.resolve(module, &path, depth + 1) }
        };
        imports.flat_map(lead).collect()
    }

    fn file_of(&self, module: &[String]) -> BTreeSet<String> {
        self.scopes.get(module).map(|scope| scope.file.clone()).into_iter().collect()
    }

    /// Whether a file is that of a child of the module in another file.
    fn is_child(&self, file: &str, parent: &str) -> bool {
        let modules = |file: &str| {
            let of_file = self.scopes.iter().filter(move |(_, scope)| scope.file == file);
            of_file.map(|(path, _)| path).min_by_key(|path| path.len())
        };
        let (Some(child), Some(parent)) = (modules(file), modules(parent)) else { return false };
        child.len() == parent.len() + 1 && child.starts_with(parent)
    }
}

/// Circles that have no use in common, the shortest first. Where they are opened there may be others, through the same uses.
fn circles(edges: &BTreeSet<(String, String)>) -> Vec<String> {
    let mut edges = edges.clone();
    let mut found = Vec::new();
    loop {
        let through = |(from, to): &(String, String)| {
            let circle = way(&edges, to, from)?;
            Some(circle.into_iter().map(str::to_owned).collect::<Vec<_>>())
        };
        let shortest = edges.iter().filter_map(through).min_by_key(Vec::len);
        let Some(mut circle) = shortest else { return found };
        // Begins with the name that comes first.
        let first = circle.iter().enumerate().min_by_key(|(_, file)| *file).map_or(0, |(index, _)| index);
        circle.rotate_left(first);
        circle.push(circle[0].clone());
        for pair in circle.windows(2) {
            edges.remove(&(pair[0].clone(), pair[1].clone()));
        }
        found.push(circle.join(" -> "));
    }
}

/// The shortest way from one to another.
fn way<'a>(edges: &'a BTreeSet<(String, String)>, from: &'a str, to: &str) -> Option<Vec<&'a str>> {
    let mut ways = VecDeque::from([vec![from]]);
    let mut seen = BTreeSet::from([from]);
    while let Some(way) = ways.pop_front() {
        let at = *way.last()?;
        if at == to {
            return Some(way);
        }
        for (_, next) in edges.range((at.to_owned(), String::new())..).take_while(|(from, _)| from == at) {
            if seen.insert(next) {
                ways.push_back(way.iter().copied().chain([next.as_str()]).collect());
            }
        }
    }
    None
}

// ------------------------------------------------------------------ reading a file

/// Reads the modules of one file.
struct Reader {
    tokens: Vec<String>,
    at: usize,
    scopes: Vec<(Vec<String>, Scope)>,
    /// The children that have files of their own.
    files: Vec<(Vec<String>, String)>,
}

impl Reader {
    /// Reads up to the brace that ends the module, or up to the end.
    fn read_module(&mut self, module: Vec<String>, file: &str) {
        let mut scope = Scope { file: file.to_owned(), ..Scope::default() };
        let (mut depth, mut is_public) = (0_usize, false);
        while let Some(token) = self.tokens.get(self.at).cloned() {
            self.at += 1;
            match token.as_str() {
                "#" => self.skip_attribute(),
                "{" => depth += 1,
                "}" if depth == 0 => break,
                "}" => depth -= 1,
                "pub" => {
                    is_public = true;
                    self.skip_visibility();
                    continue;
                }
                "mod" => self.read_child(&mut scope, &module, file),
                "use" => {
                    let path = Vec::new();
                    self.read_use(&mut scope, path, is_public);
                }
                _ if is_identifier(&token) => self.read_path(&mut scope, token),
                _ => {}
            }
            is_public = false;
        }
        self.scopes.push((module, scope));
    }

    fn peek(&self) -> &str {
        self.tokens.get(self.at).map_or("", String::as_str)
    }

    /// An attribute, and what it is about if that is for tests only.
    fn skip_attribute(&mut self) {
        if self.peek() == "!" {
            self.at += 1;
        }
        let begin = self.at;
        self.skip_group();
        let attribute = &self.tokens[begin..self.at];
        let has = |word: &str| attribute.iter().any(|token| token == word);
        if !(has("cfg") && has("test") && !has("not")) {
            return;
        }
        loop {
            match self.peek() {
                ";" | "," => break self.at += 1,
                "{" => break self.skip_group(),
                "(" | "[" => self.skip_group(),
                "" | "}" | ")" => break,
                _ => self.at += 1,
            }
        }
    }

    /// A group in brackets of any kind, of which the next token is the first.
    fn skip_group(&mut self) {
        let mut depth = 0_usize;
        while let Some(token) = self.tokens.get(self.at) {
            self.at += 1;
            match token.as_str() {
                "(" | "[" | "{" => depth += 1,
                ")" | "]" | "}" => depth -= 1,
                _ => {}
            }
            if depth == 0 {
                return;
            }
        }
    }

    /// What follows `pub`.
    fn skip_visibility(&mut self) {
        if self.peek() == "(" {
            self.skip_group();
        }
    }

    fn read_child(&mut self, scope: &mut Scope, module: &[String], file: &str) {
        let name = self.peek().to_owned();
        if !is_identifier(&name) {
            return;
        }
        self.at += 1;
        let child = [module, std::slice::from_ref(&name)].concat();
        scope.children.insert(name.clone());
        if self.peek() == "{" {
            self.at += 1;
            self.read_module(child, file);
        } else {
            self.files.push((child, name));
        }
    }

    /// One branch of a `use`, up to what ends it.
    fn read_use(&mut self, scope: &mut Scope, mut path: Vec<String>, is_passed_on: bool) {
        let mut name = None;
        if self.peek() == "::" && path.is_empty() {
            // From outside the crate.
            path.push(String::new());
        }
        loop {
            let token = self.peek().to_owned();
            match token.as_str() {
                "{" => {
                    self.at += 1;
                    while !matches!(self.peek(), "}" | "") {
                        self.read_use(scope, path.clone(), is_passed_on);
                        if self.peek() == "," {
                            self.at += 1;
                        }
                    }
                    self.at += 1;
                    return;
                }
                "as" => {
                    self.at += 1;
                    name = Some(self.peek().to_owned());
                    self.at += 1;
                }
                "::" => self.at += 1,
                _ if is_identifier(&token) => {
                    // `{self}` is what was reached already.
                    if token != "self" || path.is_empty() {
                        path.push(token);
                    }
                    self.at += 1;
                }
                // A glob uses the module, like the end of a branch.
                "*" => self.at += 1,
                _ => break,
            }
        }
        let name = name.or_else(|| path.last().cloned()).unwrap_or_default();
        scope.imports.push(Import { name, path, is_passed_on });
    }

    /// A path in the code, of which the first identifier was taken.
    fn read_path(&mut self, scope: &mut Scope, first: String) {
        let is_member = self.at >= 2 && matches!(self.tokens[self.at - 2].as_str(), "." | "::");
        scope.identifiers.insert(first.clone());
        let mut path = vec![first];
        while self.peek() == "::" {
            let Some(next) = self.tokens.get(self.at + 1).filter(|next| is_identifier(next)) else { break };
            path.push(next.clone());
            self.at += 2;
        }
        if path.len() > 1 && !is_member {
            scope.paths.push(path);
        }
    }
}

fn is_identifier(token: &str) -> bool {
    token.starts_with(|letter: char| letter.is_alphabetic() || letter == '_')
}

/// Identifiers, `::`, and single signs; without comments, texts and numbers.
fn tokens(text: &str) -> Vec<String> {
    let letters: Vec<char> = text.chars().collect();
    let (mut tokens, mut at) = (Vec::new(), 0);
    let starts = |at: usize, what: &str| {
        what.chars().enumerate().all(|(index, sign)| letters.get(at + index) == Some(&sign))
    };
    while let Some(letter) = letters.get(at).copied() {
        if starts(at, "//") {
            at += letters[at..].iter().take_while(|letter| **letter != '\n').count();
        } else if starts(at, "/*") {
            at += 2;
            while at < letters.len() && !starts(at, "*/") {
                at += 1;
            }
            at += 2;
        } else if letter == '"' {
            at = end_of_text(&letters, at);
        } else if letter == '\'' {
            at = end_of_quote(&letters, at);
        } else if letter.is_alphanumeric() || letter == '_' {
            let word: String =
                letters[at..].iter().take_while(|sign| sign.is_alphanumeric() || **sign == '_').collect();
            at += word.chars().count();
            let hashes = letters[at..].iter().take_while(|sign| **sign == '#').count();
            let is_raw = word.ends_with('r') && word.len() <= 2 && letters.get(at + hashes) == Some(&'"');
            if is_raw {
                let end = format!("\"{}", "#".repeat(hashes));
                at += hashes + 1;
                while at < letters.len() && !starts(at, &end) {
                    at += 1;
                }
                at += end.len();
            } else {
                tokens.push(word);
            }
        } else if starts(at, "::") {
            tokens.push("::".to_owned());
            at += 2;
        } else {
            if !letter.is_whitespace() {
                tokens.push(letter.to_string());
            }
            at += 1;
        }
    }
    tokens
}

/// Behind a text, of which the first quote is at `at`.
fn end_of_text(letters: &[char], mut at: usize) -> usize {
    at += 1;
    while let Some(letter) = letters.get(at) {
        match letter {
            '"' => return at + 1,
            '\\' => at += 2,
            _ => at += 1,
        }
    }
    at
}

/// Behind a character, or behind the sign of a lifetime.
fn end_of_quote(letters: &[char], at: usize) -> usize {
    match (letters.get(at + 1), letters.get(at + 2)) {
        (Some('\\'), _) => {
            at + 3 + letters[at + 3..].iter().take_while(|letter| **letter != '\'').count() + 1
        }
        (_, Some('\'')) => at + 3,
        _ => at + 1,
    }
}
