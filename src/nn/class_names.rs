//! The names of the classes, and of the columns of a table, in the metadata of model files.

use crate::error::{Error, Result};
use crate::tensor::TensorFile;

/// The metadata key of the classes, whose value is a JSON list in the order of the labels.
const CLASSES: &str = "veridical.classes";
/// The metadata key of the columns of the table that a model was trained on, a JSON list in their order.
const COLUMNS: &str = "veridical.columns";

/// The names of the classes that a model file states, none where it states none. Errors on what is no list of names.
pub fn class_names(file: &TensorFile) -> Result<Vec<String>> {
    names(file, CLASSES)
}

/// The metadata that [`class_names`] reads, key and value; nothing without names.
pub fn class_names_metadata(names: &[String]) -> Result<Option<(String, String)>> {
    metadata(names, CLASSES, "classes")
}

/// The names of the columns that a model file states, as [`class_names`] has those of classes.
pub fn column_names(file: &TensorFile) -> Result<Vec<String>> {
    names(file, COLUMNS)
}

/// The metadata that [`column_names`] reads, key and value; nothing without names.
pub fn column_names_metadata(names: &[String]) -> Result<Option<(String, String)>> {
    metadata(names, COLUMNS, "columns")
}

fn names(file: &TensorFile, key: &str) -> Result<Vec<String>> {
    match file.metadata().get(key) {
        None => Ok(Vec::new()),
        Some(json) => serde_json::from_str(json)
            .map_err(|error| Error::format(file.path(), format!("the metadata key {key:?}: {error}"))),
    }
}

fn metadata(names: &[String], key: &str, of: &str) -> Result<Option<(String, String)>> {
    if names.is_empty() {
        return Ok(None);
    }
    let names = serde_json::to_string(names)
        .map_err(|error| Error::Config(format!("the names of the {of} cannot be written: {error}")))?;
    Ok(Some((key.to_string(), names)))
}
