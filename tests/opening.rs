//! Every file is opened in one place, which refuses pipes and devices: a reader that goes around it hangs on them.

use std::path::{Path, PathBuf};

#[path = "locate/mod.rs"]
mod locate;

/// Calls that open a file to read it.
const OPENING: [&str; 6] =
    ["File::open(", "fs::read(", "fs::read_to_string(", "image::open(", "ImageReader::open(", "image_dimensions("];

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => sources(&path, found),
            false => found.extend(Some(path).filter(|path| path.extension().is_some_and(|ending| ending == "rs"))),
        }
    }
}

#[test]
fn files_are_opened_in_one_place() {
    let (mut found, src) = (Vec::new(), locate::root().join("src"));
    if !src.is_dir() {
        return; // the tests were carried to a machine without the sources
    }
    sources(&src, &mut found);
    assert!(found.len() > 100);
    let mut around = Vec::new();
    for path in found.iter().filter(|path| !path.ends_with("src/files.rs")) {
        let text = std::fs::read_to_string(path).unwrap();
        // What stands below is the file's tests, which may do as they like; other files of tests are named so.
        let code = text.split("#[cfg(test)]").next().unwrap_or_default();
        if path.ends_with("tests.rs") {
            continue;
        }
        for (number, line) in code.lines().enumerate() {
            let ours = line.contains("TensorFile::open(") || line.contains("files::read(");
            if !ours && !line.trim_start().starts_with("//") && OPENING.iter().any(|call| line.contains(call)) {
                around.push(format!("{}:{}: {}", path.display(), number + 1, line.trim()));
            }
        }
    }
    assert!(around.is_empty(), "take files::open, read or read_text instead:\n{}", around.join("\n"));
}
