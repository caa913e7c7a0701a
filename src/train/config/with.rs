//! The settings of a method: those of a training run, and sections of its own.

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{RunConfig, continues, stored};
use crate::error::Result;
use crate::settings::{Sections, laid_over, parsed, table_of, written};
use crate::train::RunDir;

/// The settings of a method, beside those of [`RunConfig`].
pub trait MethodSettings: Sections + Serialize + DeserializeOwned + Clone {
    /// Keys that may differ between a run and what goes on from it, because they do not change what was computed so
    /// far; after a `!` those that may differ elsewhere and must not here.
    const FREE: &'static [&'static str];
    /// Settings that a resumed run may change, as a branch that its log and report tell of, as
    /// [`BRANCHES`](super::BRANCHES).
    const BRANCHES: &'static [&'static str] = &[];

    /// Errors with the setting that makes no sense beside the others; each is in its range.
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

impl<S: MethodSettings> With<S> {
    /// These settings, changed by a settings file (its text) and by `section.key=value` settings, in this order. Errors
    /// as [`RunConfig::build`] does.
    pub fn build(self, file: Option<&str>, settings: &[String]) -> Result<Self> {
        let mut table = table_of(&self.run)?;
        table.extend(table_of(&self.method)?);
        let mut table = laid_over(table, file, settings)?;
        let mut own = toml::Table::new();
        for about in S::ABOUT {
            own.extend(table.remove_entry(about.section));
        }
        let with = With { run: parsed(table, RunConfig::ABOUT)?, method: parsed(own, S::ABOUT)? };
        with.check()?;
        Ok(with)
    }

    /// Errors with the setting that makes no sense.
    pub fn check(&self) -> Result<()> {
        self.run.check()?;
        self.method.in_range()?;
        self.method.check(&self.run)
    }

    /// The settings as TOML, the method's first, with a comment over each key.
    pub fn document(&self) -> Result<String> {
        Ok(written(&table_of(&self.method)?, S::ABOUT) + "\n" + &written(&table_of(&self.run)?, RunConfig::ABOUT))
    }

    /// Errors with the settings in which `self` differs from the document of the run that it is to go on from, apart
    /// from those that may.
    pub fn continues(&self, document: &str) -> Result<()> {
        continues(&self.document()?, document, S::FREE, S::BRANCHES).map(|_| ())
    }

    /// Keeps the settings in the directory of a run. Where the run is to go on with what is there (`resume`), errors
    /// first if that is of other settings or of another method, and leaves it as it is.
    pub fn begin(&self, place: &RunDir, resume: bool) -> Result<()> {
        let (document, directory) = (self.document()?, place.path());
        place.ranks().first_then_others(|| {
            if resume {
                stored::check_same(directory, &document, S::FREE, S::BRANCHES)?;
            }
            if place.is_writer() { stored::store(directory, &document) } else { Ok(()) }
        })
    }
}
