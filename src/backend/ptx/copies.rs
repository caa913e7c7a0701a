//! `cp.async`: copies that a thread starts and later waits for.
//!
//! The destination is destroyed when a copy starts and written when its group is waited for, which is as much as the
//! ISA promises: who reads without having waited finds NaN, and so does who still needs what was there before.

use std::collections::VecDeque;

use super::machine::Machine;
use super::memory::POISON;
use super::program::Space;

/// One copy: `read` bytes from global memory, and zeros up to `bytes`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Copy {
    pub(super) to: u64,
    pub(super) from: u64,
    pub(super) bytes: usize,
    pub(super) read: usize,
}

/// The copies of one thread.
#[derive(Debug, Clone, Default)]
pub(super) struct Copies {
    open: Vec<Copy>,
    groups: VecDeque<Vec<Copy>>,
}

impl Copies {
    /// Errors if the copy leaves its buffer or reads more than it writes.
    pub(super) fn start(&mut self, copy: Copy, machine: &mut Machine) -> Result<(), String> {
        let Copy { to, from, bytes, read } = copy;
        if read > bytes {
            return Err(format!("a copy of {bytes} bytes that reads {read}"));
        }
        machine.at(Space::Shared, to, bytes, 0)?.fill(POISON);
        if !from.is_multiple_of(bytes as u64) {
            return Err(format!("{bytes} bytes from {from:#x}, which is no multiple of {bytes}"));
        }
        if read > 0 {
            machine.memory.at(from, read)?;
        }
        self.open.push(copy);
        Ok(())
    }

    pub(super) fn commit(&mut self) {
        self.groups.push_back(std::mem::take(&mut self.open));
    }

    /// Completes all groups but the `most` youngest.
    pub(super) fn wait(&mut self, most: usize, machine: &mut Machine) -> Result<(), String> {
        while self.groups.len() > most {
            for copy in self.groups.pop_front().unwrap_or_default() {
                complete(copy, machine)?;
            }
        }
        Ok(())
    }

    /// `cp.async.wait_all`: those too that are in no group yet.
    pub(super) fn wait_all(&mut self, machine: &mut Machine) -> Result<(), String> {
        self.commit();
        self.wait(0, machine)
    }
}

fn complete(copy: Copy, machine: &mut Machine) -> Result<(), String> {
    let mut data = [0; 16];
    if copy.read > 0 {
        data[..copy.read].copy_from_slice(machine.memory.at(copy.from, copy.read)?);
    }
    machine.at(Space::Shared, copy.to, copy.bytes, 0)?.copy_from_slice(&data[..copy.bytes]);
    Ok(())
}
