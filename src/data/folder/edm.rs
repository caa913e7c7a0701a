//! `dataset.json`, the labels in folders that `dataset_tool.py` of EDM and EDM2 writes: `{"labels":
//! [["00000/img00000000.png", 6], …]}`.
//!
//! A label is a whole number, or the one-hot vector of one; `null` in place of the list says that there are none.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::data::labels::MAX_CLASSES;
use crate::data::reading::Examples;
use crate::escape::escaped;
use crate::{Error, Result, files};

/// The file's name.
pub const NAME: &str = "dataset.json";
/// ImageNet's 1.3 million labels take 45 MB.
const MAX_BYTES: u64 = 1 << 30;

/// What a `dataset.json` says.
pub enum Labels {
    /// Each picture's label, by its path from the folder on, and how many classes there are at least.
    Known(HashMap<String, u32>, usize),
    /// The pictures have no labels.
    Absent,
}

/// Reads the `dataset.json` of a folder; `None` if it has none, or one that is something else.
///
/// Errors on labels that are no classes, and on two labels for one picture.
pub fn read(dir: &Path) -> Result<Option<Labels>> {
    let path = dir.join(NAME);
    if !path.is_file() {
        return Ok(None);
    }
    let text = files::read_text(&path, MAX_BYTES, "list of labels")?;
    let mut json: Value = serde_json::from_str(&text).map_err(|e| Error::format(&path, e.to_string()))?;
    let list = match json.get_mut("labels").map(Value::take) {
        None => return Ok(None),
        Some(Value::Null) => return Ok(Some(Labels::Absent)),
        Some(Value::Array(list)) => list,
        Some(other) => {
            let what = format!("labels are {}, expected a list of [name, label], or null", short(&other));
            return Err(Error::format(&path, what));
        }
    };
    let (mut known, mut classes) = (HashMap::with_capacity(list.len()), 1);
    for entry in &list {
        let bad = |what: &str| Error::format(&path, format!("the label {}: {what}", short(entry)));
        let Some([Value::String(name), label]) = entry.as_array().map(Vec::as_slice) else {
            return Err(bad("expected [name, label]"));
        };
        let label = class(label).ok_or_else(|| {
            bad(&format!("expected a class from 0 to {}, or a vector of zeros with a single 1", MAX_CLASSES - 1))
        })?;
        classes = classes.max(label as usize + 1).max(entry[1].as_array().map_or(0, Vec::len));
        if known.insert(name.replace('\\', "/"), label).is_some_and(|before| before != label) {
            return Err(bad("the picture has another label besides"));
        }
    }
    Ok(Some(Labels::Known(known, classes)))
}

fn class(label: &Value) -> Option<u32> {
    let whole = |x: f64| (x >= 0.0 && x < MAX_CLASSES as f64 && x.fract() == 0.0).then_some(x as u32);
    match label {
        Value::Array(vector) => {
            let mut ones = vector.iter().enumerate().filter(|(_, x)| x.as_f64() != Some(0.0));
            match (ones.next(), ones.next()) {
                (Some((class, one)), None) if one.as_f64() == Some(1.0) => whole(class as f64),
                _ => None,
            }
        }
        label => label.as_f64().and_then(whole),
    }
}

/// The label of each picture, and how many labels are of pictures that are not there. Errors on pictures without a
/// label.
pub fn of(dir: &Path, pictures: &[PathBuf], known: &HashMap<String, u32>) -> Result<(Vec<u32>, usize)> {
    let mut labels = Vec::with_capacity(pictures.len());
    let mut without = Examples::default();
    for picture in pictures {
        let name: Vec<_> =
            picture.strip_prefix(dir).unwrap_or(picture).iter().map(|part| part.to_string_lossy()).collect();
        match known.get(&name.join("/")) {
            Some(&label) => labels.push(label),
            None => without.add(dir, picture),
        }
    }
    if without.count() > 0 {
        let what = format!("has no label for {} of the {} pictures ({without})", without.count(), pictures.len());
        return Err(Error::format(dir.join(NAME), what));
    }
    Ok((labels, known.len() - known.len().min(pictures.len())))
}

/// Enough of a value for an error message.
fn short(value: &Value) -> String {
    let text = value.to_string();
    let cut: String = text.chars().take(80).collect();
    format!("{}{}", escaped(&cut), if cut.len() < text.len() { "…" } else { "" })
}
