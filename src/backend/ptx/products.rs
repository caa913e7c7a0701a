//! What is known of the products that warps have issued, by themselves and as parts of their warpgroups.

use std::collections::VecDeque;

use super::lanes::Lanes;
use super::program::Slot;

/// A factor: its descriptor, and whether it is M- or N-major ("imm-trans").
pub(super) type Factor = (u64, bool);

/// One product as a warp has issued it.
#[derive(Debug, Clone)]
pub(super) struct Product {
    pub(super) sums: Vec<Slot>,
    pub(super) a: Factor,
    pub(super) b: Factor,
    pub(super) add: bool,
}

/// Sums that products are or were computed in.
#[derive(Debug, Clone)]
pub(super) struct Sums {
    pub(super) slots: Vec<Slot>,
    /// What was left in the registers.
    pub(super) left: Vec<Lanes>,
    pub(super) values: Vec<Lanes>,
    pub(super) under_way: usize,
}

/// What a warp has issued.
#[derive(Debug, Clone, Default)]
pub(super) struct Products {
    pub(super) fenced: bool,
    pub(super) open: Vec<Product>,
    pub(super) groups: VecDeque<Vec<Product>>,
    pub(super) sums: Vec<Sums>,
    pub(super) issued: usize,
}

/// What the warps of each warpgroup have issued, with which its other warps agree.
#[derive(Debug, Default)]
pub(super) struct Issued {
    pub(super) groups: Vec<Vec<(Factor, Factor, usize, bool)>>,
}

impl Issued {
    pub(super) fn begin(&mut self) {
        self.groups.clear();
    }
}

impl Products {
    /// Errors if a warp ends and has not waited.
    pub(super) fn end(&self) -> Result<(), String> {
        match self.open.is_empty() && self.groups.is_empty() {
            true => Ok(()),
            false => Err("products that nobody has waited for".into()),
        }
    }
}
