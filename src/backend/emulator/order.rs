//! Who runs first, and when asynchronous work is done: the three schedules, and the random numbers of the third.

use std::fmt;
use std::str::FromStr;

use crate::error::Error;

/// In which order the emulator lets threads and blocks run, and when asynchronous copies are carried out. A correct
/// kernel gives the same bits under all of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Order {
    /// Ascending threads and blocks; copies are complete at once. Shows what is overwritten too early.
    #[default]
    Early,
    /// Descending threads and blocks; copies are carried out at the wait that orders them, and until then their
    /// destination holds NaN. Shows waits that are missing.
    Late,
    /// Threads and blocks in random order, each copy early or late at random, all drawn from the seed.
    Shuffled(u64),
}

impl fmt::Display for Order {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Order::Early => f.write_str("early"),
            Order::Late => f.write_str("late"),
            Order::Shuffled(seed) => write!(f, "shuffled:{seed}"),
        }
    }
}

impl FromStr for Order {
    type Err = Error;

    /// `early`, `late`, or `shuffled:SEED`.
    fn from_str(text: &str) -> Result<Self, Error> {
        let shuffled = || text.strip_prefix("shuffled:")?.parse().ok().map(Order::Shuffled);
        match text {
            "early" => Ok(Order::Early),
            "late" => Ok(Order::Late),
            _ => shuffled().ok_or_else(|| {
                Error::argument("Order", format!("\"{text}\" is none of `early`, `late`, `shuffled:SEED`"))
            }),
        }
    }
}

impl Order {
    /// The block that is started as number `turn` of `count`.
    pub(super) fn block(self, turn: u64, count: u64) -> u64 {
        match self {
            Order::Early => turn,
            Order::Late => count - 1 - turn,
            Order::Shuffled(seed) => {
                // turn * a + b modulo count visits every block once if a and count have no common factor.
                let mut random = Random::new(seed, 0);
                let b = random.below(count);
                let mut a = random.below(count).max(1);
                while common_factor(a, count) != 1 {
                    a = if a + 1 < count { a + 1 } else { 1 };
                }
                ((u128::from(turn) * u128::from(a) + u128::from(b)) % u128::from(count)) as u64
            }
        }
    }
}

fn common_factor(mut a: u64, mut b: u64) -> u64 {
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a
}

/// SplitMix64 (Steele, Lea and Flood 2014): small, and good enough to shuffle.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Random(u64);

impl Random {
    /// The stream of `block` under `seed`.
    pub(super) fn new(seed: u64, block: u64) -> Self {
        Random(seed ^ block.wrapping_mul(0xd134_2543_de82_ef95))
    }

    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `n`, which is not zero.
    pub(super) fn below(&mut self, n: u64) -> u64 {
        ((u128::from(self.next()) * u128::from(n)) >> 64) as u64
    }
}
