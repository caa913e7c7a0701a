//! The settings of a run that trains something else than a diffusion model.

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{MethodSettings, With, continues};
use crate::error::Result;
use crate::settings::{Sections, laid_over, parsed, table_of, written};

/// Whatever a command reads from a preset, a settings file and single settings, and a run keeps in its directory.
pub trait Settings: Sized {
    /// These settings, changed by a settings file (its text) and by `section.key=value` settings, in this order.
    ///
    /// Errors on sections and keys that do not exist, naming them, and on values that make no sense.
    fn build(self, file: Option<&str>, settings: &[String]) -> Result<Self>;

    /// Errors with the setting that makes no sense.
    fn check(&self) -> Result<()>;

    /// The settings as TOML, with a comment over each key.
    fn document(&self) -> Result<String>;

    /// Errors with the settings in which `self` differs from the document of the run that it is to go on from, apart
    /// from those that may.
    fn continues(&self, document: &str) -> Result<()>;

    /// Where to compute, by name.
    fn device(&mut self) -> &mut String;

    /// What makes everything random.
    fn seed(&mut self) -> &mut u64;

    /// Makes room for an architecture that a file is going to name in full.
    fn without_architecture(&mut self) {}
}

impl<S: MethodSettings> Settings for With<S> {
    fn build(self, file: Option<&str>, settings: &[String]) -> Result<Self> {
        With::build(self, file, settings)
    }

    fn check(&self) -> Result<()> {
        With::check(self)
    }

    fn document(&self) -> Result<String> {
        With::document(self)
    }

    fn continues(&self, document: &str) -> Result<()> {
        With::continues(self, document)
    }

    fn device(&mut self) -> &mut String {
        &mut self.run.train.device
    }

    fn seed(&mut self) -> &mut u64 {
        &mut self.run.train.seed
    }

    fn without_architecture(&mut self) {
        self.run.model.clear();
    }
}

/// Settings with sections of their own alone.
pub trait OwnSettings: Sections + Serialize + DeserializeOwned + Clone {
    /// Keys that may differ between a run and what goes on from it, because they do not change what was computed so
    /// far; after a `!` those that may differ elsewhere and must not here.
    const FREE: &'static [&'static str];
    /// Settings that a resumed run may change, as a branch that its log and report tell of, as
    /// [`BRANCHES`](super::BRANCHES).
    const BRANCHES: &'static [&'static str] = &[];

    /// Errors with the setting that makes no sense beside the others; each is in its range.
    fn check(&self) -> Result<()>;

    /// Where to compute, by name.
    fn device(&mut self) -> &mut String;

    /// What makes everything random.
    fn seed(&mut self) -> &mut u64;
}

/// Settings with sections of their own, as [`Settings`].
#[derive(Debug, Clone, PartialEq)]
pub struct Own<S>(pub S);

impl<S: OwnSettings> Settings for Own<S> {
    fn build(self, file: Option<&str>, settings: &[String]) -> Result<Self> {
        let own = Own(parsed::<S>(laid_over(table_of(&self.0)?, file, settings)?, S::ABOUT)?);
        own.check()?;
        Ok(own)
    }

    fn check(&self) -> Result<()> {
        self.0.in_range()?;
        self.0.check()
    }

    fn document(&self) -> Result<String> {
        Ok(written(&table_of(&self.0)?, S::ABOUT))
    }

    fn continues(&self, document: &str) -> Result<()> {
        continues(&self.document()?, document, S::FREE, S::BRANCHES).map(|_| ())
    }

    fn device(&mut self) -> &mut String {
        self.0.device()
    }

    fn seed(&mut self) -> &mut u64 {
        self.0.seed()
    }
}
