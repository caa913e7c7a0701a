//! Reads the kernel sources: which kernels each file declares, and a hash of everything a compilation depends on.

use std::fs;
use std::path::{Path, PathBuf};

/// A `.cu` file.
pub struct Source {
    pub path: PathBuf,
    pub stem: String,
    pub text: String,
    pub kernels: Vec<Declared>,
}

/// A file that others include.
#[cfg_attr(not(feature = "emulator"), allow(dead_code))] // nvcc finds headers by itself
pub struct Header {
    #[allow(dead_code)] // read for the emulator only
    pub path: PathBuf,
    pub text: String,
}

/// A `KERNEL(name, Params)`, `KERNEL_BOUNDS(name, Params, threads)` or `KERNEL_CLUSTER(name, Params, blocks, threads)`,
/// or one of the four of a `FAMILY(name, Params, ...)`.
pub struct Declared {
    pub name: String,
    pub params: String,
    /// Blocks of a cluster.
    #[allow(dead_code)] // read where the table of kernels is made
    pub cluster: u32,
}

/// Every `.cu` directly in `folder`, by name. A missing folder has none.
pub fn folder(folder: &Path) -> Result<Vec<Source>, String> {
    let mut sources = Vec::new();
    for path in files(folder, &["cu"])? {
        let text = read(&path)?;
        let stem = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        if !is_identifier(&stem) {
            return Err(format!("{}: a kernel file's name must be an identifier", path.display()));
        }
        let kernels = declared(&text).map_err(|e| format!("{}: {e}", path.display()))?;
        sources.push(Source { path, stem, text, kernels });
    }
    Ok(sources)
}

/// Every header below `kernels`; a change to any of them recompiles every file.
pub fn headers(kernels: &Path) -> Result<Vec<Header>, String> {
    let mut headers = Vec::new();
    for folder in [kernels.to_path_buf(), kernels.join("device"), kernels.join("host")] {
        for path in files(&folder, &["cuh", "h", "cpp"])? {
            let text = read(&path)?;
            headers.push(Header { path, text });
        }
    }
    Ok(headers)
}

/// A kernel's name is its symbol: it can exist once.
pub fn reject_duplicates(sources: &[Source]) -> Result<(), String> {
    let mut seen = std::collections::BTreeMap::new();
    for source in sources {
        for kernel in &source.kernels {
            if let Some(other) = seen.insert(&kernel.name, &source.path) {
                let (name, path) = (&kernel.name, source.path.display());
                return Err(format!("kernel {name} is declared in {} and in {path}", other.display()));
            }
        }
    }
    Ok(())
}

fn files(folder: &Path, extensions: &[&str]) -> Result<Vec<PathBuf>, String> {
    if !folder.is_dir() {
        return Ok(Vec::new());
    }
    let mut paths = Vec::new();
    for entry in fs::read_dir(folder).map_err(|e| format!("{}: {e}", folder.display()))? {
        let path = entry.map_err(|e| format!("{}: {e}", folder.display()))?.path();
        let extension = path.extension().and_then(|e| e.to_str()).unwrap_or_default();
        if extensions.contains(&extension) {
            paths.push(path);
        }
    }
    paths.sort();
    Ok(paths)
}

fn read(path: &Path) -> Result<String, String> {
    fs::read_to_string(path).map_err(|e| format!("{}: {e}", path.display()))
}

/// Writes `text` unless the file already holds it, so that nothing is rebuilt for an equal table.
pub fn write_if_changed(path: &Path, text: &str) -> Result<(), String> {
    if fs::read_to_string(path).is_ok_and(|old| old == text) {
        return Ok(());
    }
    fs::write(path, text).map_err(|e| format!("{}: {e}", path.display()))
}

/// The kernels declared in `text`, comments and preprocessor lines aside.
pub fn declared(text: &str) -> Result<Vec<Declared>, String> {
    let text = code(text);
    let mut kernels = Vec::new();
    for keyword in ["KERNEL(", "KERNEL_BOUNDS(", "KERNEL_CLUSTER(", "FAMILY("] {
        let mut rest = text.as_str();
        while let Some(at) = rest.find(keyword) {
            let begins = !rest[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_');
            rest = &rest[at + keyword.len()..];
            if !begins {
                continue;
            }
            let inside = rest.split(')').next().unwrap_or_default();
            let mut words = inside.split(',').map(str::trim);
            let (name, params) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
            if !is_identifier(name) || !is_identifier(params) {
                return Err(format!("`{keyword}{inside})` must give a kernel name and a struct, both written out"));
            }
            let cluster = match keyword {
                "KERNEL_CLUSTER(" => {
                    words.next().unwrap_or_default().parse().ok().filter(|blocks| (2..=8).contains(blocks))
                }
                _ => Some(1),
            };
            let cluster =
                cluster.ok_or_else(|| format!("`{keyword}{inside})` must give 2 to 8 blocks, as a number"))?;
            let suffixes: &[&str] = match keyword {
                "FAMILY(" => &["_fwd_f32", "_fwd_bf16", "_bwd_f32", "_bwd_bf16"],
                _ => &[""],
            };
            let kernel = |suffix: &&str| Declared { name: format!("{name}{suffix}"), params: params.into(), cluster };
            kernels.extend(suffixes.iter().map(kernel));
        }
    }
    Ok(kernels)
}

/// A file without comments and preprocessor lines; what is left keeps its line.
pub fn code(text: &str) -> String {
    let mut code = String::new();
    let mut rest = text;
    while let Some(at) = rest.find("/*") {
        // A line comment may hold the two characters: it does not open anything.
        let line = rest[..at].rfind('\n').map_or(0, |n| n + 1);
        if rest[line..at].contains("//") {
            code.push_str(&rest[..at]);
            rest = &rest[at + 2..];
            continue;
        }
        code.push_str(&rest[..at]);
        let end = rest[at..].find("*/").map_or(rest.len(), |end| at + end + 2);
        code.push(' ');
        code.extend(rest[at..end].chars().filter(|&c| c == '\n'));
        rest = &rest[end..];
    }
    code.push_str(rest);
    let mut plain = String::new();
    let mut in_macro = false;
    for line in code.lines() {
        in_macro |= line.trim_start().starts_with('#');
        if !in_macro {
            plain.push_str(line.split("//").next().unwrap_or_default());
        }
        plain.push('\n');
        in_macro &= line.trim_end().ends_with('\\');
    }
    plain
}

pub fn is_identifier(word: &str) -> bool {
    !word.is_empty()
        && !word.starts_with(|c: char| c.is_ascii_digit())
        && word.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

/// FNV-1a over the parts: names the output of one compilation, so that what did not change is not compiled again.
pub fn fingerprint<'a>(parts: impl IntoIterator<Item = &'a str>) -> String {
    let mut hash: u64 = 0xcbf2_9ce4_8422_2325;
    for part in parts {
        for byte in part.bytes().chain([0xff]) {
            hash = (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
    }
    format!("{hash:016x}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(text: &str) -> Vec<(String, String)> {
        declared(text).unwrap().into_iter().map(|k| (k.name, k.params)).collect()
    }

    #[test]
    fn kernels_are_found_where_they_are_declared() {
        let text = "// KERNEL(not_me, P) {}\n/* KERNEL(nor_me, P)\n KERNEL(nor_me_2, P) */\n\
            #define MAKE(n) \\\n    KERNEL(n##_f32, P) {}\n\
            KERNEL(a_fwd_f32, AParams) { f(p); } KERNEL( b_fwd_f32 ,\n BParams ) {}\n\
            KERNEL_BOUNDS(c_fwd_bf16, CParams, 256) {} MY_KERNEL(no, P)\n// a path /* like this\nKERNEL(d, P) {}\n";
        let expected = [("a_fwd_f32", "AParams"), ("b_fwd_f32", "BParams"), ("d", "P"), ("c_fwd_bf16", "CParams")];
        assert_eq!(names(text), expected.map(|(n, p)| (n.to_string(), p.to_string())));
    }

    #[test]
    fn a_name_must_be_written_out() {
        let family = ["a_fwd_f32", "a_fwd_bf16", "a_bwd_f32", "a_bwd_bf16"].map(|name| (name.into(), "P".into()));
        assert_eq!(names("FAMILY(a, P, A)"), family);
        assert!(declared("KERNEL(name##_f32, P) {}").is_err());
        assert!(declared("KERNEL(name) {}").is_err());
        assert!(declared("KERNEL_BOUNDS(name, T<float>, 3) {}").is_err());
    }

    #[test]
    fn clusters_say_how_many_blocks_they_have() {
        let of = |text: &str| declared(text).map(|kernels| kernels.iter().map(|k| k.cluster).collect::<Vec<_>>());
        assert_eq!(of("KERNEL_BOUNDS(a, P, 64) {} KERNEL_CLUSTER(b, P, 2, 128, 1) {}").unwrap(), [1, 2]);
        for wrong in ["", ", 1, 128", ", BLOCKS, 128", ", 9, 128"] {
            assert!(of(&format!("KERNEL_CLUSTER(a, P{wrong}) {{}}")).is_err(), "{wrong}");
        }
    }

    #[test]
    fn one_name_stands_in_one_place() {
        let source = |path: &str, text: &str| Source {
            path: path.into(),
            stem: path.into(),
            text: text.into(),
            kernels: declared(text).unwrap(),
        };
        let (a, b) = (source("a.cu", "KERNEL(x, P) {}"), source("b.cu", "KERNEL(y, P) {} KERNEL(x, P) {}"));
        let error = reject_duplicates(&[a, b]).unwrap_err();
        assert!(error.contains("kernel x is declared in a.cu and in b.cu"), "{error}");
        reject_duplicates(&[source("a.cu", "KERNEL(x, P) {}"), source("b.cu", "KERNEL(y, P) {}")]).unwrap();
    }

    #[test]
    fn the_fingerprint_sees_where_a_part_ends() {
        assert_ne!(fingerprint(["ab", "c"]), fingerprint(["a", "bc"]));
        assert_ne!(fingerprint(["a"]), fingerprint(["a", ""]));
        assert_eq!(fingerprint(["a", "b"]), fingerprint(["a", "b"]));
    }
}
