//! Flags that take one of some words.

use std::str::FromStr;

use clap::builder::{PossibleValuesParser, TypedValueParser};
use serde::Serialize;
use serde_json::Value;
use veridical::settings::{Section, Setting, help};

/// What help says of the default of a setting that presets choose.
pub const BY_PRESET: &str = " [default: the preset's, or what follows from the data]";

/// What help says of a flag that sets a key of a section, with its default, which no preset changes.
pub fn stated<S: Section + Default + Serialize>(key: &str) -> String {
    let default = serde_json::to_value(S::default()).map(|section| section[key].clone()).unwrap_or_default();
    let default = match default {
        Value::String(text) => text,
        Value::Null => String::new(),
        other => other.to_string(),
    };
    let shown = if default.is_empty() { String::new() } else { format!(" [default: {default}]") };
    help::<S>(key) + &shown
}

/// The words of a choice; the flag's help says what each means.
pub fn words<T: Setting + FromStr + Clone + Send + Sync + 'static>() -> impl TypedValueParser<Value = T>
where
    T::Err: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    PossibleValuesParser::new(T::CHOICES.iter().map(|choice| choice.name)).try_map(|word| word.parse::<T>())
}
