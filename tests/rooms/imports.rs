//! Which module of `src` imports which, from its text.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{self, Display, Formatter};
use std::fs;
use std::path::{Path, PathBuf};

/// Modules side by side, each of which can reach the others.
pub struct Circle {
    /// The module that they are parts of; empty for the crate.
    pub parent: String,
    /// Their names, in alphabetical order.
    pub members: Vec<String>,
}

impl Display for Circle {
    fn fmt(&self, f: &mut Formatter) -> fmt::Result {
        write!(f, "{} in {}", self.members.join(", "), if self.parent.is_empty() { "the crate" } else { &self.parent })
    }
}

fn source() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

fn collect(path: &Path, endings: &[&str], found: &mut Vec<PathBuf>) {
    if path.is_dir() {
        for entry in fs::read_dir(path).unwrap() {
            collect(&entry.unwrap().path(), endings, found);
        }
    } else if path.extension().is_some_and(|ending| endings.iter().any(|e| ending == *e)) {
        found.push(path.into());
    }
}

/// The text of every source file in some places of the crate, with its path from there.
pub fn sources(places: &[&str]) -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = Vec::new();
    places.iter().for_each(|place| collect(&root.join(place), &["rs", "cu", "cuh", "h", "c"], &mut found));
    found.sort();
    let name = |path: &PathBuf| path.strip_prefix(root).unwrap().display().to_string();
    found.iter().map(|path| (name(path), fs::read_to_string(path).unwrap())).collect()
}

/// Every module by its path, such as `ops::conv2d::cpu`, with its text and its file.
fn modules() -> BTreeMap<String, (String, String)> {
    let (source, mut files) = (source(), Vec::new());
    collect(&source, &["rs"], &mut files);
    let module = |file: PathBuf| {
        let name = file.strip_prefix(&source).unwrap().with_extension("");
        let mut parts: Vec<&str> = name.iter().map(|part| part.to_str().unwrap()).collect();
        if parts.last() == Some(&"mod") {
            parts.pop();
        }
        let shown = file.strip_prefix(env!("CARGO_MANIFEST_DIR")).unwrap().display().to_string();
        (parts.join("::"), (code(&fs::read_to_string(&file).unwrap()), shown))
    };
    files
        .into_iter()
        .map(module)
        .filter(|(name, _)| name != "main" && name != "lib" && !name.ends_with("tests"))
        .collect()
}

/// A file without comments and without its unit tests, which may use anything.
fn code(text: &str) -> String {
    let lines = text.lines().map(|line| line.split("//").next().unwrap_or_default());
    let text = lines.collect::<Vec<_>>().join("\n");
    match text.find("mod tests {") {
        Some(at) => text[..at].to_string(),
        None => text,
    }
}

/// The paths after `crate::`, `super::` or `self::` in a text, in `use` and elsewhere, with braces taken apart.
fn paths(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    for root in ["crate", "super", "self"] {
        for (at, _) in text.match_indices(&format!("{root}::")) {
            let before = text[..at].chars().next_back();
            if before.is_some_and(|c| c.is_alphanumeric() || c == '_' || c == ':') {
                continue;
            }
            expand("", &text[at..], &mut found);
        }
    }
    found
}

/// Adds the paths that `text` begins with, behind `prefix`. Returns how much of it they take.
fn expand(prefix: &str, text: &str, found: &mut Vec<String>) -> usize {
    let end = text.find(|c: char| !(c.is_alphanumeric() || c == '_' || c == ':')).unwrap_or(text.len());
    let path = format!("{prefix}{}", &text[..end]);
    if !path.ends_with("::") || !text[end..].starts_with('{') {
        found.push(path);
        return end;
    }
    let mut at = end + 1;
    while at < text.len() && !text[at..].starts_with('}') {
        let taken = expand(&path, &text[at..], found);
        at += taken;
        // To the next one: over commas, spaces and `as` with its name.
        at += text[at..].find([',', '}']).unwrap_or(text.len() - at);
        at += text[at..].find(|c: char| !(c == ',' || c.is_whitespace())).unwrap_or(text.len() - at);
    }
    at + 1
}

/// The modules of `src`, and what its root gives out again.
struct Tree {
    modules: BTreeMap<String, (String, String)>,
    /// Name at the root, path in full; a macro's leads nowhere.
    root: BTreeMap<String, String>,
}

impl Tree {
    fn read() -> Self {
        let modules = modules();
        let mut root = BTreeMap::new();
        let lib = code(&fs::read_to_string(source().join("lib.rs")).unwrap());
        for (at, _) in lib.match_indices("pub use ") {
            let mut given = Vec::new();
            expand("", &lib[at + "pub use ".len()..], &mut given);
            root.extend(given.into_iter().map(|path| (path.rsplit("::").next().unwrap().to_string(), path)));
        }
        for (text, _) in modules.values() {
            for part in text.split("#[macro_export]").skip(1) {
                let name = part.trim_start().strip_prefix("macro_rules! ").unwrap();
                let end = name.find([' ', '{']).unwrap();
                root.entry(name[..end].to_string()).or_default();
            }
        }
        Tree { modules, root }
    }

    /// The module that a path in module `base` leads to, as deep as there are modules of these names; none for a macro
    /// and for what the module itself holds.
    fn resolve(&self, base: &str, path: &str) -> Option<String> {
        let mut here: Vec<&str> = base.split("::").collect();
        let mut steps = path.split("::").filter(|step| !step.is_empty()).peekable();
        while let Some(step @ ("crate" | "self" | "super")) = steps.peek().copied() {
            match step {
                "crate" => here.clear(),
                "super" => drop(here.pop()),
                _ => {}
            }
            steps.next();
        }
        if here.is_empty() {
            let step = steps.peek().copied()?;
            match self.root.get(step) {
                Some(full) if !self.modules.contains_key(step) => {
                    here.extend(full.split("::"));
                    steps.next();
                }
                _ => assert!(self.modules.contains_key(step), "{base}: `{path}` leads to nothing that lib.rs names"),
            }
        }
        here.extend(steps);
        (1..=here.len()).rev().map(|len| here[..len].join("::")).find(|name| self.modules.contains_key(name))
    }

    /// The modules that `text`, in module `base`, uses.
    fn used(&self, base: &str, text: &str) -> BTreeSet<String> {
        let found = paths(text).into_iter().filter_map(|path| self.resolve(base, &path));
        found.filter(|other| other != base).collect()
    }

    /// The imports of every module: from, to.
    fn edges(&self) -> BTreeMap<String, BTreeSet<String>> {
        self.modules.iter().map(|(name, (text, _))| (name.clone(), self.used(name, text))).collect()
    }
}

/// The modules that `text` would use if it stood in module `base`.
pub fn used(base: &str, text: &str) -> Vec<String> {
    Tree::read().used(base, text).into_iter().collect()
}

fn first(path: &str) -> &str {
    path.split("::").next().unwrap_or_default()
}

/// Every room with the rooms that it imports, and by which file.
pub fn rooms() -> BTreeMap<String, BTreeSet<(String, String)>> {
    let tree = Tree::read();
    let mut rooms: BTreeMap<String, BTreeSet<(String, String)>> = BTreeMap::new();
    for (from, others) in &tree.edges() {
        let imports = rooms.entry(first(from).into()).or_default();
        let others = others.iter().map(|other| first(other)).filter(|other| *other != first(from));
        imports.extend(others.map(|other| (other.to_string(), tree.modules[from].1.clone())));
    }
    assert!(rooms.len() > 15 && rooms["methods"].len() > 20, "src was not read");
    rooms
}

/// The circles among the parts of each module.
pub fn circles() -> Vec<Circle> {
    let tree = Tree::read();
    let edges = tree.edges();
    let ancestors = |name: &str| -> Vec<String> {
        name.match_indices("::").map(|(at, _)| name[..at].to_string()).chain([String::new()]).collect()
    };
    let parents: BTreeSet<String> = tree.modules.keys().flat_map(|name| ancestors(name)).collect();
    parents.iter().flat_map(|parent| circles_in(parent, &edges)).collect()
}

fn circles_in(parent: &str, edges: &BTreeMap<String, BTreeSet<String>>) -> Vec<Circle> {
    let part = |name: &str| -> Option<String> {
        let inside = if parent.is_empty() { name } else { name.strip_prefix(parent)?.strip_prefix("::")? };
        Some(first(inside).to_string()).filter(|part| part != "cli" || !parent.is_empty())
    };
    let mut reach: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (from, others) in edges {
        let Some(from) = part(from) else { continue };
        let others = others.iter().filter_map(|other| part(other)).filter(|other| *other != from);
        reach.entry(from.clone()).or_default().extend(others);
    }
    // Whatever is reached by what is reached.
    loop {
        let before: usize = reach.values().map(BTreeSet::len).sum();
        let now = reach.clone();
        for others in reach.values_mut() {
            let more: Vec<String> = others.iter().filter_map(|other| now.get(other)).flatten().cloned().collect();
            others.extend(more);
        }
        if reach.values().map(BTreeSet::len).sum::<usize>() == before {
            break;
        }
    }
    let mut circles: BTreeSet<Vec<String>> = BTreeSet::new();
    for (name, others) in &reach {
        if others.contains(name) {
            let back = |other: &&String| reach.get(*other).is_some_and(|reached| reached.contains(name));
            circles.insert(others.iter().filter(back).cloned().collect());
        }
    }
    circles.into_iter().map(|members| Circle { parent: parent.into(), members }).collect()
}
