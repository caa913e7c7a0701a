//! Floating-point numbers, as the chapter "Floating-Point Instructions" of the PTX ISA has them.
//!
//! What the ISA leaves to the machine is computed in f64 and rounded once here: the approximations (`.approx`, whose
//! errors it bounds) and which NaN a NaN is.

use super::lanes::{Bits, Pure, lanes};

/// What an instruction computes, by its opcode without the type, and the type.
pub(super) fn find(opcode: &str, ty: &str) -> Option<Pure> {
    match ty {
        "f32" => single(opcode).or_else(|| approximation(opcode)),
        "f64" => double(opcode),
        _ => None,
    }
}

fn single(opcode: &str) -> Option<Pure> {
    let pure = match opcode {
        "add" | "add.rn" => lanes!(|a: f32, b: f32| a + b),
        "sub" | "sub.rn" => lanes!(|a: f32, b: f32| a - b),
        "mul" | "mul.rn" => lanes!(|a: f32, b: f32| a * b),
        "add.ftz" | "add.rn.ftz" => lanes!(|a: f32, b: f32| flush(flush(a) + flush(b))),
        "mul.ftz" | "mul.rn.ftz" => lanes!(|a: f32, b: f32| flush(flush(a) * flush(b))),
        "fma.rn" => lanes!(|a: f32, b: f32, c: f32| a.mul_add(b, c)),
        "fma.rn.ftz" => lanes!(|a: f32, b: f32, c: f32| flush(flush(a).mul_add(flush(b), flush(c)))),
        "fma.rn.sat" => lanes!(|a: f32, b: f32, c: f32| saturate(a.mul_add(b, c))),
        "add.rz" => lanes!(|a: f32, b: f32| add_towards_zero(a, b)),
        "fma.rm" => lanes!(|a: f32, b: f32, c: f32| multiply_add_down(a, b, c)),
        "div.rn" => lanes!(|a: f32, b: f32| a / b),
        "rcp.rn" => lanes!(|a: f32| 1.0 / a),
        "sqrt.rn" => lanes!(|a: f32| a.sqrt()),
        "neg" => lanes!(|a: f32| -a),
        "abs" => lanes!(|a: f32| a.abs()),
        "neg.ftz" => lanes!(|a: f32| -flush(a)),
        "abs.ftz" => lanes!(|a: f32| flush(a).abs()),
        "min" => lanes!(|a: f32, b: f32| least(a, b)),
        "max" => lanes!(|a: f32, b: f32| greatest(a, b)),
        // The sign is that of the first, all else is the second's.
        "copysign" => lanes!(|a: f32, b: f32| b.copysign(a)),
        _ => return None,
    };
    Some(pure)
}

fn double(opcode: &str) -> Option<Pure> {
    let pure = match opcode {
        "add" | "add.rn" => lanes!(|a: f64, b: f64| a + b),
        "sub" | "sub.rn" => lanes!(|a: f64, b: f64| a - b),
        "mul" | "mul.rn" => lanes!(|a: f64, b: f64| a * b),
        "fma.rn" => lanes!(|a: f64, b: f64, c: f64| a.mul_add(b, c)),
        "div.rn" => lanes!(|a: f64, b: f64| a / b),
        "rcp.rn" => lanes!(|a: f64| 1.0 / a),
        "sqrt.rn" => lanes!(|a: f64| a.sqrt()),
        "neg" => lanes!(|a: f64| -a),
        "abs" => lanes!(|a: f64| a.abs()),
        // These take a number rather than NaN, as min and max of Rust do.
        "min" => lanes!(|a: f64, b: f64| a.min(b)),
        "max" => lanes!(|a: f64, b: f64| a.max(b)),
        _ => return None,
    };
    Some(pure)
}

/// As good as f32 can be; `.ftz` takes subnormal numbers for zero, before and after.
fn approximation(opcode: &str) -> Option<Pure> {
    let pure = match opcode {
        "ex2.approx" => lanes!(|a: f32| f64::from(a).exp2() as f32),
        "ex2.approx.ftz" => lanes!(|a: f32| flush(f64::from(flush(a)).exp2() as f32)),
        "lg2.approx" => lanes!(|a: f32| f64::from(a).log2() as f32),
        "lg2.approx.ftz" => lanes!(|a: f32| flush(f64::from(flush(a)).log2() as f32)),
        "sin.approx" => lanes!(|a: f32| f64::from(a).sin() as f32),
        "cos.approx" => lanes!(|a: f32| f64::from(a).cos() as f32),
        "tanh.approx" => lanes!(|a: f32| f64::from(a).tanh() as f32),
        "rcp.approx" => lanes!(|a: f32| 1.0 / a),
        "rcp.approx.ftz" => lanes!(|a: f32| flush(1.0 / flush(a))),
        "sqrt.approx" => lanes!(|a: f32| a.sqrt()),
        "sqrt.approx.ftz" => lanes!(|a: f32| flush(a).sqrt()),
        "rsqrt.approx" => lanes!(|a: f32| (1.0 / f64::from(a).sqrt()) as f32),
        "rsqrt.approx.ftz" => lanes!(|a: f32| (1.0 / f64::from(flush(a)).sqrt()) as f32),
        "div.approx" | "div.full" => lanes!(|a: f32, b: f32| a / b),
        _ => return None,
    };
    Some(pure)
}

/// A subnormal number is a zero of its sign.
pub(super) fn flush(x: f32) -> f32 {
    if x.is_subnormal() { 0f32.copysign(x) } else { x }
}

/// Between 0 and 1; NaN is 0.
fn saturate(x: f32) -> f32 {
    if x > 0.0 { x.min(1.0) } else { 0.0 }
}

/// `a + b` in f64, and what that lost (Knuth).
fn sum_exactly(a: f64, b: f64) -> (f64, f64) {
    let sum = a + b;
    let part = sum - a;
    (sum, (a - (sum - part)) + (b - part))
}

/// The largest f32 that is at most `sum + lost`, where `lost` is less than `sum` shows.
fn down((sum, lost): (f64, f64)) -> f32 {
    let nearest = sum as f32;
    let above = f64::from(nearest) > sum || (f64::from(nearest) == sum && lost < 0.0);
    if above && nearest.is_finite() { nearest.next_down() } else { nearest }
}

/// `a b + c`, rounded once, towards minus infinity. The product has at most 48 bits, so it is exact in f64.
fn multiply_add_down(a: f32, b: f32, c: f32) -> f32 {
    down(sum_exactly(f64::from(a) * f64::from(b), c.into()))
}

/// `a + b`, rounded once, towards zero.
fn add_towards_zero(a: f32, b: f32) -> f32 {
    let (sum, lost) = sum_exactly(a.into(), b.into());
    if sum < 0.0 { -down((-sum, -lost)) } else { down((sum, lost)) }
}

/// A number rather than NaN, and -0 rather than +0.
fn least(a: f32, b: f32) -> f32 {
    match (a.is_nan(), b.is_nan()) {
        (true, _) => b,
        (_, true) => a,
        _ if a == b => f32::from_bits(a.to_bits() | b.to_bits()),
        _ => a.min(b),
    }
}

/// A number rather than NaN, and +0 rather than -0.
fn greatest(a: f32, b: f32) -> f32 {
    match (a.is_nan(), b.is_nan()) {
        (true, _) => b,
        (_, true) => a,
        _ if a == b => f32::from_bits(a.to_bits() & b.to_bits()),
        _ => a.max(b),
    }
}

macro_rules! comparison {
    ($T:ty, $how:expr) => {
        match $how {
            "eq" => Some(lanes!(|a: $T, b: $T| a == b)),
            "ne" => Some(lanes!(|a: $T, b: $T| a < b || a > b)),
            "lt" => Some(lanes!(|a: $T, b: $T| a < b)),
            "le" => Some(lanes!(|a: $T, b: $T| a <= b)),
            "gt" => Some(lanes!(|a: $T, b: $T| a > b)),
            "ge" => Some(lanes!(|a: $T, b: $T| a >= b)),
            "equ" => Some(lanes!(|a: $T, b: $T| !(a < b || a > b))),
            "neu" => Some(lanes!(|a: $T, b: $T| a != b)),
            "ltu" => Some(lanes!(|a: $T, b: $T| !(a >= b))),
            "leu" => Some(lanes!(|a: $T, b: $T| !(a > b))),
            "gtu" => Some(lanes!(|a: $T, b: $T| !(a <= b))),
            "geu" => Some(lanes!(|a: $T, b: $T| !(a < b))),
            "num" => Some(lanes!(|a: $T, b: $T| !a.is_nan() && !b.is_nan())),
            "nan" => Some(lanes!(|a: $T, b: $T| a.is_nan() || b.is_nan())),
            _ => None,
        }
    };
}

/// Comparisons. With a trailing `u`, two numbers of which one is NaN compare as true.
#[allow(clippy::neg_cmp_op_on_partial_ord, clippy::double_comparisons)] // with NaN these are not the same
pub(super) fn compare(how: &str, ty: &str) -> Option<Pure> {
    match ty {
        "f32" => comparison!(f32, how),
        "f64" => comparison!(f64, how),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounding_down_is_below_the_exact_value() {
        // 1 + 2^-30 and 1 - 2^-30 both round to 1; below the second there is 1 - 2^-24.
        let small = 2f32.powi(-15);
        assert_eq!(multiply_add_down(small, small, 1.0), 1.0);
        assert_eq!(multiply_add_down(-small, small, 1.0), 1f32.next_down());
        assert_eq!(multiply_add_down(-small, small, -1.0), (-1f32).next_down());
        // The sum in f64 is exactly 1: what it lost is what decides.
        let tiny = 2f32.powi(-60);
        assert_eq!(multiply_add_down(-tiny, tiny, 1.0), 1f32.next_down());
        assert_eq!(multiply_add_down(tiny, tiny, 1.0), 1.0);
        assert_eq!(multiply_add_down(3.0, 4.0, 5.0), 17.0);
        assert!(multiply_add_down(f32::NAN, 1.0, 1.0).is_nan());
        assert_eq!(add_towards_zero(1.0, -tiny), 1f32.next_down());
        assert_eq!(add_towards_zero(-1.0, tiny), -1f32.next_down());
        assert_eq!(add_towards_zero(-1.0, -tiny), -1.0);
    }

    #[test]
    fn comparisons_with_nan_are_false_or_unordered() {
        let holds = |how: &str, a: f32, b: f32| match compare(how, "f32") {
            Some(Pure::Two(f)) => f(&[a.bits(); 32], &[b.bits(); 32])[5] == 1,
            other => panic!("{how} is {other:?}"),
        };
        for (ordered, unordered) in
            [("eq", "equ"), ("ne", "neu"), ("lt", "ltu"), ("le", "leu"), ("gt", "gtu"), ("ge", "geu")]
        {
            assert!(!holds(ordered, f32::NAN, 1.0) && !holds(ordered, 1.0, f32::NAN), "{ordered}");
            assert!(holds(unordered, f32::NAN, 1.0) && holds(unordered, 1.0, f32::NAN), "{unordered}");
            for (a, b) in [(1.0, 2.0), (2.0, 1.0), (1.0, 1.0), (0.0, -0.0)] {
                assert_eq!(holds(ordered, a, b), holds(unordered, a, b), "{ordered} {a} {b}");
            }
        }
        assert!(holds("lt", 1.0, 2.0) && holds("ne", 1.0, 2.0) && holds("eq", 0.0, -0.0) && holds("ge", 2.0, 2.0));
        assert!(holds("num", 1.0, 2.0) && holds("nan", 1.0, f32::NAN) && !holds("num", f32::NAN, 1.0));
    }

    #[test]
    fn zeros_and_nan_have_an_order() {
        let bits = |x: f32| x.to_bits();
        assert_eq!((bits(least(0.0, -0.0)), bits(greatest(-0.0, 0.0))), (bits(-0.0), bits(0.0)));
        assert_eq!((least(f32::NAN, 2.0), greatest(2.0, f32::NAN)), (2.0, 2.0));
        assert!(least(f32::NAN, f32::NAN).is_nan());
        assert_eq!((saturate(-1.0), saturate(0.5), saturate(7.0), saturate(f32::NAN)), (0.0, 0.5, 1.0, 0.0));
        assert_eq!((bits(flush(-1e-40)), flush(1e-30)), (bits(-0.0), 1e-30));
    }
}
