//! The steps of a warp through its program.

use super::machine::Machine;
use super::program::Op;
use super::warp::{Warp, lanes_of};
use super::{collective, transfer};

/// Instructions that a warp may run in one block: more are an endless loop.
const MOST: u64 = 1 << 32;

/// Why a warp stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pause {
    /// All lanes have ended.
    Ended,
    /// All lanes are at a barrier, for so many threads or all of the block. Those that only arrive go on at once.
    Barrier { id: u64, threads: Option<u64>, arrive: bool },
    /// Lanes have found that a phase of an mbarrier is not completed, and will ask again.
    Spin,
    /// All lanes have arrived at the barrier of the cluster, or wait there.
    Cluster { wait: bool },
}

impl Warp {
    /// Runs until there is nothing to run or somebody to wait for. Errors name the instruction and the lane.
    pub(super) fn run(&mut self, machine: &mut Machine) -> Result<Pause, String> {
        let program = machine.program;
        while let Some(instruction) = program.code.get(self.at).filter(|_| self.mask != 0) {
            self.ran += 1;
            let active = match instruction.guard {
                None => self.mask,
                Some((slot, negated)) => self.mask & self.ballot(slot, negated),
            };
            let ran = match &instruction.op {
                Op::Pure { f, to, from } => {
                    self.apply(f, *to, from, active);
                    self.at += 1;
                    Ok(None)
                }
                op => self.other(op, active, machine),
            };
            let said = |why: String| {
                let text = &program.texts[instruction.statement as usize];
                format!("threads {}..{}: `{text}`: {why}", self.first, self.first + 32)
            };
            if let Some(pause) = ran.map_err(said)? {
                return Ok(pause);
            }
            if self.ran > MOST {
                return Err(said("an endless loop, as it seems".into()));
            }
            self.meet();
        }
        Ok(Pause::Ended)
    }

    /// What is no computation in registers.
    fn other(&mut self, op: &Op, active: u32, machine: &mut Machine) -> Result<Option<Pause>, String> {
        match op {
            Op::Branch(target) => self.part(&[(*target, active), (self.at + 1, self.mask & !active)]),
            Op::BranchTable { which, targets } => {
                let mut paths = vec![(self.at + 1, self.mask & !active)];
                for lane in lanes_of(active) {
                    let which = self.register(*which)[lane] as u32 as usize;
                    let target = targets.get(which).ok_or(format!("lane {lane} takes branch {which}"))?;
                    paths.push((*target, 1 << lane));
                }
                self.part(&paths);
            }
            Op::Exit => {
                self.live &= !active;
                self.part(&[(self.at + 1, self.mask & !active)]);
            }
            Op::Barrier { id, threads, arrive } => {
                self.together(active)?;
                let id = self.uniform(*id)?;
                let threads = threads.map(|threads| self.uniform(threads)).transpose()?;
                self.at += 1;
                return Ok(Some(Pause::Barrier { id, threads, arrive: *arrive }));
            }
            Op::TestMbarrier { to, place, parity } => {
                let mut over = [0; 32];
                for lane in lanes_of(active) {
                    let (at, parity) = (transfer::address(self, place, lane), self.register(*parity)[lane]);
                    over[lane] = machine.own().engines.test(at, parity & 0xffff_ffff)?.into();
                }
                self.set(*to, &over, active);
                self.at += 1;
                if lanes_of(active).any(|lane| over[lane] == 0) {
                    return Ok(Some(Pause::Spin));
                }
            }
            Op::ArriveAtCluster | Op::WaitForCluster => {
                machine.own().engines.check()?;
                self.together(active)?;
                self.at += 1;
                return Ok(Some(Pause::Cluster { wait: matches!(op, Op::WaitForCluster) }));
            }
            Op::Trap => return Err("the kernel says that this must not be reached".into()),
            _ => {
                if !transfer::run(self, op, active, machine)? {
                    collective::run(self, op, active, machine)?;
                }
                self.at += 1;
            }
        }
        Ok(None)
    }
}
