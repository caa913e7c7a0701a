//! The settings of a method: those of a training run, and sections of its own.

use serde::Serialize;
use serde::de::DeserializeOwned;

pub use super::document::About;
use super::document::{SECTIONS, written};
use super::{RunConfig, continues, laid_over, parsed, table_of};
use crate::error::{Error, Result};

/// Sections beside those of [`RunConfig`]: a structure whose fields are sections.
pub trait Sections: Serialize + DeserializeOwned + Clone {
    /// Its sections, and their keys with what they mean. Every key has a line here.
    const ABOUT: &'static [About];
    /// Keys that may differ between a run and what goes on from it, because they do not change what was computed so
    /// far.
    const FREE: &'static [&'static str];

    /// Errors with the setting that makes no sense, alone or with the run's.
    fn check(&self, run: &RunConfig) -> Result<()>;
}

/// Settings of a run and of a method.
#[derive(Debug, Clone, PartialEq)]
pub struct With<S> {
    /// The sections of every run.
    pub run: RunConfig,
    /// The method's own.
    pub method: S,
}

impl<S: Sections> With<S> {
    /// These settings, changed by a settings file (its text) and by `section.key=value` settings, in this order. Errors
    /// as [`RunConfig::build`] does.
    pub fn build(self, file: Option<&str>, settings: &[String]) -> Result<Self> {
        let mut table = table_of(&self.run)?;
        table.extend(table_of(&self.method)?);
        let mut table = laid_over(table, file, settings)?;
        let mut own = toml::Table::new();
        for (section, ..) in S::ABOUT {
            own.extend(table.remove_entry(*section));
        }
        let with = With { run: parsed(table)?, method: parsed(own)? };
        with.check()?;
        Ok(with)
    }

    /// Errors with the setting that makes no sense.
    pub fn check(&self) -> Result<()> {
        self.run.check()?;
        self.method.check(&self.run)
    }

    /// The settings as TOML, the method's first, with a comment over each key.
    pub fn document(&self) -> Result<String> {
        Ok(written(&table_of(&self.method)?, S::ABOUT) + "\n" + &written(&table_of(&self.run)?, &SECTIONS))
    }

    /// Errors with the settings in which `self` differs from the document of the run that it is to go on from, apart
    /// from those that may.
    pub fn continues(&self, document: &str) -> Result<()> {
        continues(&self.document()?, document, S::FREE)
    }

    /// Errors with the keys of [`Sections::ABOUT`] that do not exist, and the keys that it does not name.
    pub fn check_documented(&self) -> Result<()> {
        let table = table_of(&self.method)?;
        for (section, keys) in &table {
            let known = S::ABOUT.iter().find(|(name, ..)| name == section).map_or(&[][..], |(.., keys)| keys);
            let keys = keys.as_table().cloned().unwrap_or_default();
            if let Some(key) = keys.keys().find(|key| !known.iter().any(|(name, _)| name == key)) {
                return Err(Error::Config(format!("no comment for {section}.{key}")));
            }
            if let Some((key, _)) = known.iter().find(|(name, _)| !keys.contains_key(*name)) {
                return Err(Error::Config(format!("{section}.{key} is no key")));
            }
        }
        Ok(())
    }
}
