//! `cvt`: from one type to another, as the chapter "Data Movement and Conversion" of the PTX ISA has it.

use half::bf16;

use super::float::flush;
use super::lanes::{Bits, Pure, lanes};

/// A function of one number, written once with `F` for the type that an integer instruction reads.
macro_rules! from_whole {
    ($ty:expr, $F:ident => $pure:expr) => {
        match $ty {
            "u8" => {
                type $F = u8;
                Some($pure)
            }
            "s8" => {
                type $F = i8;
                Some($pure)
            }
            "u16" => {
                type $F = u16;
                Some($pure)
            }
            "s16" => {
                type $F = i16;
                Some($pure)
            }
            "u32" => {
                type $F = u32;
                Some($pure)
            }
            "s32" => {
                type $F = i32;
                Some($pure)
            }
            "u64" => {
                type $F = u64;
                Some($pure)
            }
            "s64" => {
                type $F = i64;
                Some($pure)
            }
            _ => None,
        }
    };
}

/// A conversion `cvt.how.to.from`; `how` is empty where nothing is rounded.
pub(super) fn find(how: &str, to: &str, from: &str) -> Option<Pure> {
    match (how, to) {
        ("", "u16") => from_whole!(from, F => lanes!(|a: F| a as u16)),
        ("", "s16") => from_whole!(from, F => lanes!(|a: F| a as i16)),
        ("", "u32") => from_whole!(from, F => lanes!(|a: F| a as u32)),
        ("", "s32") => from_whole!(from, F => lanes!(|a: F| a as i32)),
        ("", "u64") => from_whole!(from, F => lanes!(|a: F| a as u64)),
        ("", "s64") => from_whole!(from, F => lanes!(|a: F| a as i64)),
        // To the register it makes no difference beyond the 8 bits, which are sign-extended or not.
        ("", "u8") => from_whole!(from, F => lanes!(|a: F| u32::from(a as u8))),
        ("", "s8") => from_whole!(from, F => lanes!(|a: F| i32::from(a as i8))),
        ("rn", "f32") if from == "f64" => Some(lanes!(|a: f64| a as f32)),
        ("rn", "f32") => from_whole!(from, F => lanes!(|a: F| a as f32)),
        ("rn", "f64") => from_whole!(from, F => lanes!(|a: F| a as f64)),
        _ => floating(how, to, from).or_else(|| to_whole(how, to, from)),
    }
}

fn floating(how: &str, to: &str, from: &str) -> Option<Pure> {
    let pure = match (how, to, from) {
        ("", "f64", "f32") => lanes!(|a: f32| f64::from(a)),
        ("", "f32", "bf16") => lanes!(|a: u16| u32::from(a) << 16),
        ("ftz", "f32", "f32") => lanes!(|a: f32| flush(a)),
        ("sat", "f32", "f32") => lanes!(|a: f32| if a > 0.0 { a.min(1.0) } else { 0.0 }),
        ("rni", "f32", "f32") => lanes!(|a: f32| a.round_ties_even()),
        ("rzi", "f32", "f32") => lanes!(|a: f32| a.trunc()),
        ("rmi", "f32", "f32") => lanes!(|a: f32| a.floor()),
        ("rpi", "f32", "f32") => lanes!(|a: f32| a.ceil()),
        ("rni", "f64", "f64") => lanes!(|a: f64| a.round_ties_even()),
        ("rzi", "f64", "f64") => lanes!(|a: f64| a.trunc()),
        ("rmi", "f64", "f64") => lanes!(|a: f64| a.floor()),
        ("rpi", "f64", "f64") => lanes!(|a: f64| a.ceil()),
        ("rn", "bf16", "f32") => lanes!(|a: f32| narrow(a)),
        // The first is the upper half.
        ("rn", "bf16x2", "f32") => {
            lanes!(|high: f32, low: f32| u32::from(narrow(low)) | u32::from(narrow(high)) << 16)
        }
        _ => return None,
    };
    Some(pure)
}

/// The nearest bf16, ties to even; every NaN is 0x7fff.
fn narrow(x: f32) -> u16 {
    if x.is_nan() { 0x7fff } else { bf16::from_f32(x).to_bits() }
}

/// Rounded as it is said, and kept in range. NaN is 0, or for 64 bits the highest bit alone.
fn to_whole(how: &str, to: &str, from: &str) -> Option<Pure> {
    macro_rules! whole {
        ($T:ty, $nan:expr, $round:ident) => {
            match from {
                "f32" => Some(lanes!(|a: f32| if a.is_nan() { $nan } else { a.$round() as $T })),
                "f64" => Some(lanes!(|a: f64| if a.is_nan() { $nan } else { a.$round() as $T })),
                _ => None,
            }
        };
    }
    macro_rules! rounded {
        ($T:ty, $nan:expr) => {
            match how {
                "rni" => whole!($T, $nan, round_ties_even),
                "rzi" => whole!($T, $nan, trunc),
                "rmi" => whole!($T, $nan, floor),
                "rpi" => whole!($T, $nan, ceil),
                _ => None,
            }
        };
    }
    match to {
        "u32" if from == "f32" => rounded!(u32, 0),
        "s32" if from == "f32" => rounded!(i32, 0),
        "u64" => rounded!(u64, 1 << 63),
        "s64" => rounded!(i64, i64::MIN),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(how: &str, to: &str, from: &str, bits: u64) -> u64 {
        match find(how, to, from) {
            Some(Pure::One(f)) => f(&[bits; 32])[7],
            other => panic!("cvt.{how}.{to}.{from} is {other:?}"),
        }
    }

    #[test]
    fn numbers_out_of_range_are_the_nearest_in_range() {
        let f = |x: f32| u64::from(x.to_bits());
        assert_eq!(one("rzi", "s32", "f32", f(3e9)), 0x7fff_ffff);
        assert_eq!(one("rzi", "s32", "f32", f(-3e9)), 0x8000_0000);
        assert_eq!(one("rni", "s32", "f32", f(2.5)), 2);
        assert_eq!(one("rni", "s32", "f32", f(-3.5)), 0xffff_fffc);
        assert_eq!(one("rzi", "u32", "f32", f(-1.0)), 0);
        assert_eq!(one("rmi", "s64", "f32", f(f32::NAN)), 1 << 63);
        assert_eq!(one("rpi", "s32", "f32", f(f32::NAN)), 0);
    }

    #[test]
    fn signs_are_extended_from_where_they_were() {
        assert_eq!(one("", "s64", "s32", 0xffff_fffe), u64::MAX - 1);
        assert_eq!(one("", "u64", "u32", 0xdead_0000_ffff_fffe), 0xffff_fffe);
        assert_eq!(one("", "s32", "s8", 0x80), 0xffff_ff80);
        assert_eq!(one("rn", "f32", "u64", u64::MAX), u64::from(18_446_744_073_709_551_615f32.to_bits()));
        // A tie between 2^24 and 2^24 + 2 goes to the even one.
        assert_eq!(one("rn", "f32", "s32", 16_777_217), u64::from(16_777_216f32.to_bits()));
    }
}
