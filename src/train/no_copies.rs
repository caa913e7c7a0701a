//! Without the feature `report` a log has no copies.

use super::plan::{Plan, RunOptions};
use super::run_dir::RunDir;
use crate::error::{Error, Result};

/// None.
pub(super) struct Copies<'a>(std::marker::PhantomData<&'a RunDir>);

impl Copies<'_> {
    /// Errors where there are to be event files.
    pub fn open(_: &RunDir, _: &Plan, options: RunOptions, _: u64) -> Result<Self> {
        match options.tensorboard {
            false => Ok(Copies(std::marker::PhantomData)),
            true => {
                let what = "event files for TensorBoard are written where the crate is built with the feature `report`; add it, or go without";
                Err(Error::Config(what.into()))
            }
        }
    }

    /// Nothing follows.
    pub fn follow(&mut self, _: u64) -> Result<()> {
        Ok(())
    }
}
