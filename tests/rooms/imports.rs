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

fn collect(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => collect(&path, found),
            false if path.extension().is_some_and(|ending| ending == "rs") => found.push(path),
            false => {}
        }
    }
}

/// The text of every file below some folders of the crate, with its path from there.
pub fn files(folders: &[&str]) -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = Vec::new();
    folders.iter().for_each(|folder| collect(&root.join(folder), &mut found));
    found.sort();
    let name = |path: &PathBuf| path.strip_prefix(root).unwrap().display().to_string();
    found.iter().map(|path| (name(path), fs::read_to_string(path).unwrap())).collect()
}

/// Every module by its path, such as `ops::conv2d::cpu`, with its text and its file.
fn modules() -> BTreeMap<String, (String, String)> {
    let (source, mut files) = (source(), Vec::new());
    collect(&source, &mut files);
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
            if before.is_some_and(|c| c.is_alphanumeric() || c == '_' || c == ':' || c == '$') {
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

/// The module that a path in module `base` leads to, as deep as there are modules of these names.
fn resolve(modules: &BTreeMap<String, (String, String)>, base: &str, path: &str) -> Option<String> {
    let mut here: Vec<&str> = base.split("::").collect();
    let mut steps: Vec<&str> = path.split("::").filter(|step| !step.is_empty()).collect();
    match *steps.first()? {
        "crate" => here.clear(),
        "self" => {}
        _ => {}
    }
    while let Some(step @ ("crate" | "self" | "super")) = steps.first().copied() {
        if step == "super" {
            here.pop();
        }
        steps.remove(0);
    }
    let mut best = None;
    for step in std::iter::once("").chain(steps) {
        // What the crate's root gives out again.
        let step = match (here.is_empty(), step) {
            (true, "Tensor" | "Device" | "DType" | "Shape") => "tensor",
            (true, "Tape" | "Var") => "autograd",
            (_, step) => step,
        };
        if !step.is_empty() {
            here.push(step);
        }
        let name = here.join("::");
        if modules.contains_key(&name) {
            best = Some(name);
        }
    }
    best
}

/// The imports of every module: from, to.
fn edges() -> (BTreeMap<String, BTreeSet<String>>, BTreeMap<String, (String, String)>) {
    let modules = modules();
    let mut edges: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (name, (text, _)) in &modules {
        let others = paths(text).into_iter().filter_map(|path| resolve(&modules, name, &path));
        edges.entry(name.clone()).or_default().extend(others.filter(|other| other != name));
    }
    (edges, modules)
}

fn first(path: &str) -> &str {
    path.split("::").next().unwrap_or_default()
}

/// Every room with the rooms that it imports, and by which file.
pub fn rooms() -> BTreeMap<String, BTreeSet<(String, String)>> {
    let (edges, modules) = edges();
    let mut rooms: BTreeMap<String, BTreeSet<(String, String)>> = BTreeMap::new();
    for (from, others) in &edges {
        let imports = rooms.entry(first(from).into()).or_default();
        let others = others.iter().map(|other| first(other)).filter(|other| *other != first(from));
        imports.extend(others.map(|other| (other.to_string(), modules[from].1.clone())));
    }
    assert!(rooms.len() > 15 && rooms["methods"].len() > 20, "src was not read");
    rooms
}

/// The circles among the parts of each module.
pub fn circles() -> Vec<Circle> {
    let (edges, modules) = edges();
    let ancestors = |name: &str| -> Vec<String> {
        name.match_indices("::").map(|(at, _)| name[..at].to_string()).chain([String::new()]).collect()
    };
    let parents: BTreeSet<String> = modules.keys().flat_map(|name| ancestors(name)).collect();
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
