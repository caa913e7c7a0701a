//! What a run leaves, to compare.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::Value;

/// Every file below `folder` by its path there, without what holds times.
pub fn all(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut found = BTreeMap::new();
    add(folder, folder, &mut found);
    found
}

fn add(top: &Path, folder: &Path, found: &mut BTreeMap<String, Vec<u8>>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            add(top, &path, found);
            continue;
        }
        let bytes = std::fs::read(&path).unwrap();
        let bytes = match path.file_name().and_then(|name| name.to_str()) {
            Some("report.html") => Vec::new(), // draws the speed
            Some("log.jsonl" | "metrics.json") => timeless(&bytes),
            Some("log.csv") => without_times(&bytes),
            _ => bytes,
        };
        found.insert(path.strip_prefix(top).unwrap().display().to_string(), bytes);
    }
}

/// Lines of JSON, or one text of it, without the fields that hold times.
fn timeless(bytes: &[u8]) -> Vec<u8> {
    let values = serde_json::Deserializer::from_slice(bytes).into_iter::<Value>();
    let mut lines = Vec::new();
    for value in values {
        let mut value = value.unwrap();
        for field in ["seconds", "images_per_second"] {
            if let Some(fields) = value.as_object_mut() {
                fields.remove(field);
            }
        }
        lines.extend(format!("{value}\n").into_bytes());
    }
    lines
}

/// The rows of `log.csv` without the two columns that hold times, which are always in the same place.
fn without_times(bytes: &[u8]) -> Vec<u8> {
    let text = String::from_utf8(bytes.to_vec()).unwrap();
    let row = |line: &str| {
        let cells: Vec<&str> = line.split(',').collect();
        [&cells[..5], &cells[7..]].concat().join(",") + "\n"
    };
    text.lines().map(row).collect::<String>().into_bytes()
}

/// The first file in which two runs differ, and how.
pub fn difference(expected: &BTreeMap<String, Vec<u8>>, found: &BTreeMap<String, Vec<u8>>) -> Option<String> {
    let names = expected.keys().chain(found.keys());
    let differ = names.filter(|name| expected.get(*name) != found.get(*name)).min()?;
    Some(match (expected.get(differ), found.get(differ)) {
        (Some(_), None) => format!("{differ} is missing"),
        (None, Some(_)) => format!("{differ} is left over"),
        _ => format!("{differ} differs"),
    })
}
