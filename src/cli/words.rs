//! Flags that take one of some words.

use std::str::FromStr;

use clap::builder::{PossibleValuesParser, TypedValueParser};
use veridical::settings::Setting;

/// The words of a choice; the flag's help says what each means.
pub fn words<T: Setting + FromStr + Clone + Send + Sync + 'static>() -> impl TypedValueParser<Value = T>
where
    T::Err: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    PossibleValuesParser::new(T::CHOICES.iter().map(|choice| choice.name)).try_map(|word| word.parse::<T>())
}
