//! The names of the classes in the metadata of model files.

use crate::error::{Error, Result};
use crate::tensor::TensorFile;

/// The metadata key, whose value is a JSON list in the order of the labels.
const CLASSES: &str = "veridical.classes";

/// The names of the classes that a model file states, none where it states none. Errors on what is no list of names.
pub fn class_names(file: &TensorFile) -> Result<Vec<String>> {
    match file.metadata().get(CLASSES) {
        None => Ok(Vec::new()),
        Some(json) => serde_json::from_str(json)
            .map_err(|error| Error::format(file.path(), format!("the metadata key {CLASSES:?}: {error}"))),
    }
}

/// The metadata that [`class_names`] reads, key and value; nothing without names.
pub fn class_names_metadata(names: &[String]) -> Result<Option<(String, String)>> {
    if names.is_empty() {
        return Ok(None);
    }
    let names = serde_json::to_string(names)
        .map_err(|error| Error::Config(format!("the names of the classes cannot be written: {error}")))?;
    Ok(Some((CLASSES.to_string(), names)))
}
