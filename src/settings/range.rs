//! What a key's values may be.

use std::fmt::Display;
use std::ops::{Range, RangeInclusive};

/// The largest seed: TOML has no larger whole numbers.
pub const MAX_SEED: u64 = i64::MAX as u64;

/// Values that a key may hold.
pub trait Allowed<T: ?Sized> {
    /// Whether it may hold this one.
    fn allows(&self, value: &T) -> bool;
    /// What it may hold, in words that stand after "expected".
    fn says(&self) -> String;
}

impl<T: PartialOrd + Display> Allowed<T> for RangeInclusive<T> {
    fn allows(&self, value: &T) -> bool {
        self.contains(value)
    }

    fn says(&self) -> String {
        format!("{} to {}", number(self.start()), number(self.end()))
    }
}

/// Holds of a list if it holds of every number.
impl<T: PartialOrd + Display> Allowed<Vec<T>> for RangeInclusive<T> {
    fn allows(&self, values: &Vec<T>) -> bool {
        values.iter().all(|value| self.contains(value))
    }

    fn says(&self) -> String {
        format!("numbers from {} to {}", number(self.start()), number(self.end()))
    }
}

impl Allowed<f64> for Range<f64> {
    fn allows(&self, value: &f64) -> bool {
        self.contains(value)
    }

    fn says(&self) -> String {
        format!("{} up to, but not, {}", self.start, self.end)
    }
}

/// Finite numbers above one.
#[derive(Debug, Clone, Copy)]
pub struct Above(pub f64);

impl Allowed<f64> for Above {
    fn allows(&self, value: &f64) -> bool {
        *value > self.0 && value.is_finite()
    }

    fn says(&self) -> String {
        format!("above {}", self.0)
    }
}

/// Numbers above the first, up to and including the second.
#[derive(Debug, Clone, Copy)]
pub struct AboveUpTo(pub f64, pub f64);

impl Allowed<f64> for AboveUpTo {
    fn allows(&self, value: &f64) -> bool {
        *value > self.0 && *value <= self.1
    }

    fn says(&self) -> String {
        format!("above {}, up to {}", self.0, self.1)
    }
}

/// Finite numbers from one on.
#[derive(Debug, Clone, Copy)]
pub struct AtLeast(pub f64);

impl Allowed<f64> for AtLeast {
    fn allows(&self, value: &f64) -> bool {
        *value >= self.0 && value.is_finite()
    }

    fn says(&self) -> String {
        format!("{} or more", self.0)
    }
}

/// The same, or infinity.
#[derive(Debug, Clone, Copy)]
pub struct OrInfinite<R>(pub R);

impl<R: Allowed<f64>> Allowed<f64> for OrInfinite<R> {
    fn allows(&self, value: &f64) -> bool {
        self.0.allows(value) || *value == f64::INFINITY
    }

    fn says(&self) -> String {
        format!("{}, or inf", self.0.says())
    }
}

/// The same, or 0.
#[derive(Debug, Clone)]
pub struct OrZero<R>(pub R);

impl<T: Default + PartialEq, R: Allowed<T>> Allowed<T> for OrZero<R> {
    fn allows(&self, value: &T) -> bool {
        *value == T::default() || self.0.allows(value)
    }

    fn says(&self) -> String {
        format!("0, or {}", self.0.says())
    }
}

/// Large powers of two as such: nobody counts the digits of 2^50.
fn number(value: &impl Display) -> String {
    let plain = value.to_string();
    match plain.parse::<u128>() {
        Ok(whole) if whole >= 1 << 16 && whole.is_power_of_two() => format!("2^{}", whole.trailing_zeros()),
        Ok(whole) if whole >= 1 << 16 && (whole + 1).is_power_of_two() => format!("2^{} - 1", whole.trailing_ones()),
        _ => plain,
    }
}
