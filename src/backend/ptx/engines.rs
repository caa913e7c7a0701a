//! mbarriers, by the PTX ISA ("mbarrier"), and what is known of boxes under way.

use std::collections::BTreeMap;

use crate::backend::tensor_map::{AXES, Plain};

/// An mbarrier object, which the ISA keeps opaque.
#[derive(Debug, Clone, Copy)]
struct Mbarrier {
    expected: u64,
    pending: u64,
    /// Bytes announced and not yet come.
    transactions: i64,
    /// Phases completed.
    completed: u64,
}

/// A box under way.
#[derive(Debug, Clone)]
pub(super) struct Flying {
    /// To which block of the cluster.
    pub(super) rank: usize,
    pub(super) to: u64,
    pub(super) map: Plain,
    pub(super) at: [i64; AXES],
    pub(super) mbarrier: u64,
}

/// Those of a block.
#[derive(Debug, Default)]
pub(super) struct Engines {
    /// Whether the device is a Hopper.
    hopper: bool,
    mbarriers: BTreeMap<u64, Mbarrier>,
    /// Whether a phase was completed since that was asked.
    progress: bool,
}

impl Engines {
    pub(super) fn of(hopper: bool) -> Engines {
        Engines { hopper, ..Engines::default() }
    }

    pub(super) fn begin(&mut self) {
        self.mbarriers.clear();
    }

    /// Whether a phase was completed since the last call.
    pub(super) fn progressed(&mut self) -> bool {
        std::mem::take(&mut self.progress)
    }

    /// Errors unless the device is a Hopper.
    pub(super) fn check(&self) -> Result<(), String> {
        if self.hopper { Ok(()) } else { Err("this is Hopper's, and the device is none".into()) }
    }

    fn find(&mut self, at: u64) -> Result<&mut Mbarrier, String> {
        self.mbarriers.get_mut(&at).ok_or_else(|| format!("there is no mbarrier at {at}: it was not initialised"))
    }

    /// Errors unless there is an mbarrier.
    pub(super) fn is_made(&mut self, at: u64) -> Result<(), String> {
        self.find(at).map(drop)
    }

    pub(super) fn make(&mut self, at: u64, count: u64) -> Result<(), String> {
        self.check()?;
        if !(1..1 << 20).contains(&count) || !at.is_multiple_of(8) {
            return Err(format!("an mbarrier of {count} arrivals at {at}"));
        }
        self.mbarriers.insert(at, Mbarrier { expected: count, pending: count, transactions: 0, completed: 0 });
        Ok(())
    }

    /// expect-tx first, and arrive-on then.
    pub(super) fn arrive(&mut self, at: u64, bytes: u64) -> Result<(), String> {
        let mbarrier = self.find(at)?;
        mbarrier.transactions += bytes as i64;
        mbarrier.pending = mbarrier.pending.checked_sub(1).ok_or("more arrivals than the mbarrier expects")?;
        self.complete(at)
    }

    /// Whether the phase of this parity is completed.
    pub(super) fn test(&mut self, at: u64, parity: u64) -> Result<bool, String> {
        if parity > 1 {
            return Err(format!("a parity is 0 or 1, and not {parity}"));
        }
        Ok(self.find(at)?.completed % 2 != parity)
    }

    /// Bytes of a box have come.
    pub(super) fn came(&mut self, at: u64, bytes: u64) -> Result<(), String> {
        self.find(at)?.transactions -= bytes as i64;
        self.complete(at)
    }

    fn complete(&mut self, at: u64) -> Result<(), String> {
        let mbarrier = self.find(at)?;
        if mbarrier.transactions.unsigned_abs() >= 1 << 20 {
            return Err(format!(
                "{} bytes outstanding at an mbarrier, which counts to 2^20 - 1",
                mbarrier.transactions
            ));
        }
        if mbarrier.pending == 0 && mbarrier.transactions == 0 {
            mbarrier.completed += 1;
            mbarrier.pending = mbarrier.expected;
            self.progress = true;
        }
        Ok(())
    }

    /// What blocks of a deadlock wait for, or leave behind.
    pub(super) fn outstanding(&self) -> String {
        let one = |(at, m): (&u64, &Mbarrier)| {
            let Mbarrier { expected, pending, transactions, completed } = m;
            format!(
                "mbarrier at {at}: phase {completed}, {} of {expected} arrived, {transactions} bytes outstanding",
                expected - pending
            )
        };
        self.mbarriers.iter().map(one).collect::<Vec<_>>().join("; ")
    }

    /// Errors if a block ends before everything that it has asked for is there.
    pub(super) fn end(&self) -> Result<(), String> {
        if self.mbarriers.values().any(|m| m.transactions != 0) {
            return Err(format!("the block ends before its boxes are there: {}", self.outstanding()));
        }
        Ok(())
    }
}
