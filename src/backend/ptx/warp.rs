//! A warp: the registers of 32 lanes, and where in the program they are.
//!
//! Of the lanes that stand at different places those run that are furthest behind in the program, until they meet
//! others: it is laid out ([`layout`](super::layout)) so that lanes which left a branch or a loop early wait behind it,
//! and so they come together again before anything that they do together. Where they do not, that is an error.

use super::copies::Copies;
use super::lanes::{Lanes, Pure};
use super::products::Products;
use super::program::Slot;

/// One warp of a block.
pub(super) struct Warp {
    /// The number of its first thread.
    pub(super) first: u32,
    pub(super) registers: Vec<Lanes>,
    /// Lanes that have not ended.
    pub(super) live: u32,
    /// Where lanes are that are not at work: places and lanes, the furthest ahead first.
    paths: Vec<(usize, u32)>,
    /// Where the lanes at work are.
    pub(super) at: usize,
    /// The lanes at work.
    pub(super) mask: u32,
    pub(super) copies: Vec<Copies>,
    pub(super) products: Products,
    /// Instructions so far.
    pub(super) ran: u64,
}

impl Warp {
    /// The warp whose first thread is `first`; it does nothing before it [begins](Self::begin).
    pub(super) fn new(slots: usize, first: u32) -> Self {
        let (registers, copies) = (vec![[0; 32]; slots], vec![Copies::default(); 32]);
        let products = Products::default();
        Warp { first, registers, live: 0, paths: Vec::new(), at: 0, mask: 0, copies, products, ran: 0 }
    }

    /// Begins a block of `threads` threads, with registers that hold no number in particular.
    pub(super) fn begin(&mut self, threads: u32) {
        self.registers.fill([u64::MAX; 32]);
        self.copies.fill(Copies::default());
        self.products = Products::default();
        self.live = u32::MAX >> (32 - (threads - self.first).min(32));
        (self.at, self.mask, self.ran) = (0, self.live, 0);
        self.paths.clear();
    }

    /// The lanes for which a predicate holds.
    pub(super) fn ballot(&self, slot: Slot, negated: bool) -> u32 {
        let bits = self.registers[slot as usize].iter().enumerate();
        let holds = bits.fold(0, |bits, (lane, &value)| bits | (value as u32 & 1) << lane);
        if negated { !holds } else { holds }
    }

    pub(super) fn register(&self, slot: Slot) -> &Lanes {
        &self.registers[slot as usize]
    }

    /// Sets a register in the lanes of the mask.
    pub(super) fn set(&mut self, slot: Slot, values: &Lanes, mask: u32) {
        let to = &mut self.registers[slot as usize];
        if mask == u32::MAX {
            *to = *values;
            return;
        }
        for (lane, (to, value)) in to.iter_mut().zip(values).enumerate() {
            if mask >> lane & 1 == 1 {
                *to = *value;
            }
        }
    }

    pub(super) fn apply(&mut self, f: &Pure, to: Slot, from: &[Slot; 4], mask: u32) {
        let [a, b, c, d] = from.map(|slot| &self.registers[slot as usize]);
        let values = match f {
            Pure::One(f) => f(a),
            Pure::Two(f) => f(a, b),
            Pure::Three(f) => f(a, b, c),
            Pure::Four(f) => f(a, b, c, d),
        };
        self.set(to, &values, mask);
    }

    /// Errors unless all lanes that have not ended are at work.
    pub(super) fn together(&self, active: u32) -> Result<(), String> {
        match active == self.live {
            true => Ok(()),
            false => Err(format!("all lanes must be here, but only {active:#010x} of {:#010x} are", self.live)),
        }
    }

    /// Errors unless all 32 lanes are at work.
    pub(super) fn whole(&self, active: u32) -> Result<(), String> {
        match active == u32::MAX {
            true => Ok(()),
            false => Err(format!("all 32 lanes must be here, but only {active:#010x} are")),
        }
    }

    /// A number that is the same in all lanes at work.
    pub(super) fn uniform(&self, slot: Slot) -> Result<u64, String> {
        let values = self.register(slot);
        let mut at_work = lanes_of(self.mask).map(|lane| values[lane] & 0xffff_ffff);
        let first = at_work.next().unwrap_or(0);
        match at_work.all(|value| value == first) {
            true => Ok(first),
            false => Err("an operand that differs between lanes".into()),
        }
    }

    /// Lanes go different ways; those furthest behind are at work next.
    pub(super) fn part(&mut self, ways: &[(usize, u32)]) {
        for &(at, mask) in ways.iter().filter(|(_, mask)| *mask != 0) {
            match self.paths.iter_mut().find(|(there, _)| *there == at) {
                Some((_, lanes)) => *lanes |= mask,
                None => self.paths.push((at, mask)),
            }
        }
        self.paths.sort_unstable_by_key(|&(at, _)| std::cmp::Reverse(at));
        (self.at, self.mask) = self.paths.pop().unwrap_or((self.at, 0));
    }

    /// Takes up lanes that are waiting here, and lets those go first that are behind.
    pub(super) fn meet(&mut self) {
        match self.paths.last() {
            Some(&(at, mask)) if at == self.at => {
                self.paths.pop();
                self.mask |= mask;
            }
            Some(&(at, _)) if at < self.at => self.part(&[(self.at, self.mask)]),
            _ => {}
        }
    }
}

/// The numbers of the lanes of a mask.
pub(super) fn lanes_of(mask: u32) -> impl Iterator<Item = usize> {
    (0..32).filter(move |lane| mask >> lane & 1 == 1)
}
