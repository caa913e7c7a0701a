//! What stands behind a [`Gpu`](super::Gpu): a driver, and what can be asked of it.

use std::sync::Arc;

use super::launch::{Field, Launch};
use crate::backend::hopper::Hopper;
use crate::backend::tensor_map::{Boxes, TensorMap};
use crate::error::Result;

/// What a driver can do. Addresses are 256-byte aligned; everything is ordered as if on one stream.
pub(crate) trait Driver: Send + Sync {
    fn name(&self) -> String;
    /// What tells it from all other devices, of any machine; `None` where it is no hardware.
    fn identity(&self) -> Option<String> {
        None
    }
    /// `None` where kernels for Hopper do not run.
    fn hopper(&self) -> Option<Hopper> {
        None
    }
    /// A tensor map of boxes that have been checked, where there is a [`Hopper`].
    fn tensor_map(&self, boxes: &Boxes) -> Result<TensorMap>;
    fn allocate(&self, bytes: usize) -> Result<u64>;
    fn free(&self, address: u64, bytes: usize);
    fn upload(&self, to: u64, from: &[u8]) -> Result<()>;
    fn download(&self, from: u64, to: &mut [u8]) -> Result<()>;
    fn copy(&self, to: u64, from: u64, bytes: usize) -> Result<()>;
    fn zero(&self, to: u64, bytes: usize) -> Result<()>;
    /// `params` are the bytes of the parameter struct, `layout` its fields as Rust sees them.
    fn launch(&self, launch: &Launch, params: &[u8], layout: &'static [Field]) -> Result<()>;
    fn synchronize(&self) -> Result<()>;
    /// Makes the device's context the calling thread's and gives its stream, for libraries that work on it; null where
    /// there is none.
    fn stream(&self) -> Result<*mut std::ffi::c_void> {
        Ok(std::ptr::null_mut())
    }
    /// Whether everything started so far is done.
    fn is_idle(&self) -> Result<bool> {
        Ok(true)
    }
    /// `commands` as something that the device does in one go, over and over, and which may be
    /// [changed](Replay::change) if it is to be; `None` where doing them one after the other is all there is. All that
    /// they address must be there whenever it runs.
    fn prepare(&self, _commands: &[Command], _to_be_changed: bool) -> Result<Option<Box<dyn Replay>>> {
        Ok(None)
    }
}

/// One thing that a device was asked to do, with all that it takes to ask again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Command {
    Launch { launch: Launch, params: Box<[u8]>, layout: &'static [Field] },
    Copy { to: u64, from: u64, bytes: usize },
    Zero { to: u64, bytes: usize },
    Upload { to: u64, from: Box<[u8]> },
}

impl Command {
    /// Asks again.
    pub fn run(&self, driver: &dyn Driver) -> Result<()> {
        match self {
            Command::Launch { launch, params, layout } => driver.launch(launch, params, layout),
            Command::Copy { to, from, bytes } => driver.copy(*to, *from, *bytes),
            Command::Zero { to, bytes } => driver.zero(*to, *bytes),
            Command::Upload { to, from } => driver.upload(*to, from),
        }
    }
}

/// Commands that are ready to be done again.
pub(crate) trait Replay: Send + Sync {
    /// Starts all of them, after everything that was started before.
    fn run(&mut self) -> Result<()>;
    /// Puts `command` in the place of the one with the number `at`, from the next run on: a launch of the same kernel
    /// on the same grid with other parameters, or else a copy or a zeroing of as many bytes. Says whether it could; if
    /// not, the commands must be prepared anew.
    fn change(&mut self, at: usize, command: &Command) -> Result<bool>;
}

/// `commands` as the driver does them again, be it one after the other ([`Driver::prepare`]).
pub(crate) fn prepared(
    driver: &Arc<dyn Driver>,
    commands: Vec<Command>,
    to_be_changed: bool,
) -> Result<Box<dyn Replay>> {
    Ok(match driver.prepare(&commands, to_be_changed)? {
        Some(replay) => replay,
        None => Box::new(OneByOne { driver: driver.clone(), commands }),
    })
}

struct OneByOne {
    driver: Arc<dyn Driver>,
    commands: Vec<Command>,
}

impl Replay for OneByOne {
    fn run(&mut self) -> Result<()> {
        self.commands.iter().try_for_each(|command| command.run(&*self.driver))
    }

    fn change(&mut self, at: usize, command: &Command) -> Result<bool> {
        self.commands[at] = command.clone();
        Ok(true)
    }
}
