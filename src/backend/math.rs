//! Elementary functions that compile to vector code, unlike calls into the C library, and conversions that do so better
//! than those of `half`, which look for NaN by branches.

use half::bf16;

/// The nearest bf16, ties to even; NaN stays NaN.
#[inline(always)]
pub fn to_bf16(x: f32) -> bf16 {
    let bits = x.to_bits();
    let nearest = bits.wrapping_add(0x7fff + (bits >> 16 & 1));
    // Of a NaN, a bit is set that is left.
    let kept = if x.is_nan() { bits | 0x0040_0000 } else { nearest };
    bf16::from_bits((kept >> 16) as u16)
}

/// The same number.
#[inline(always)]
pub fn from_bf16(x: bf16) -> f32 {
    f32::from_bits(u32::from(x.to_bits()) << 16)
}

/// e^x, within 1.5 units in the last place, over the whole range: overflow is infinity, underflow passes through the
/// subnormal numbers to zero, NaN stays NaN.
#[inline(always)]
pub fn exp(x: f32) -> f32 {
    /// 1.5 * 2^23: adding it rounds to an integer, which then stands in the low bits.
    const ROUND: f32 = 12_582_912.0;
    const LN2_HIGH: f32 = 0.693_359_4;
    const LN2_LOW: f32 = -2.121_944_4e-4;
    let x = x.clamp(-104.0, 89.0);
    let shifted = x.mul_add(std::f32::consts::LOG2_E, ROUND);
    let n = shifted - ROUND;
    let r = n.mul_add(-LN2_LOW, n.mul_add(-LN2_HIGH, x));
    let p = r.mul_add(1.0 / 5040.0, 1.0 / 720.0);
    let p = p.mul_add(r, 1.0 / 120.0);
    let p = p.mul_add(r, 1.0 / 24.0);
    let p = p.mul_add(r, 1.0 / 6.0);
    let p = p.mul_add(r, 0.5);
    let p = p.mul_add(r, 1.0);
    let p = p.mul_add(r, 1.0);
    // 2^n as a product of two, so that neither factor leaves the normal range.
    let n = (shifted.to_bits() as i32).wrapping_sub(ROUND.to_bits() as i32);
    let half = n >> 1;
    let power = |n: i32| f32::from_bits((n.wrapping_add(127) as u32) << 23);
    p * power(half) * power(n.wrapping_sub(half))
}

/// Natural logarithm of a positive normal number, within 1 ulp. Random numbers are made of it, so that
/// `kernels/device/variates.cuh` has the same operations in the same order: with one side, change the other.
#[inline(always)]
pub fn log(x: f32) -> f32 {
    let (f, k) = split(x);
    log_of_split(f, k)
}

/// `x = 2^k (1 + f)` with `f` in `[-1/3, 1/3)`, both exact.
#[inline(always)]
pub fn split(x: f32) -> (f32, f32) {
    const TWO_THIRDS: u32 = 0x3f2a_aaab;
    let exponent = x.to_bits().wrapping_sub(TWO_THIRDS) & 0xff80_0000;
    let m = f32::from_bits(x.to_bits().wrapping_sub(exponent));
    (m - 1.0, ((exponent as i32) >> 23) as f32)
}

/// `k ln 2 + ln(1 + f)` for `|f| <= 1/3`.
#[inline(always)]
pub fn log_of_split(f: f32, k: f32) -> f32 {
    // ln(1 + f) = f + f^2 Q(f); Q is the minimax polynomial for the relative error of the result, 4.7e-9.
    // Even and odd halves side by side: shorter chain.
    let f2 = f * f;
    let mut even = -0.128_737_61_f32;
    let mut odd = 0.139_865_03_f32;
    even = even.mul_add(f2, -0.121_884_63);
    odd = odd.mul_add(f2, 0.140_053_76);
    even = even.mul_add(f2, -0.166_801_77);
    odd = odd.mul_add(f2, 0.200_104_43);
    even = even.mul_add(f2, -0.249_998_05);
    odd = odd.mul_add(f2, 0.333_332_15);
    even = even.mul_add(f2, -0.5);
    let q = odd.mul_add(f, even);
    k.mul_add(std::f32::consts::LN_2, q.mul_add(f2, f))
}

/// ln(1 + e^x), within three units in the last place, in vector code.
#[inline(always)]
pub fn softplus(x: f32) -> f32 {
    let e = exp(-x.abs());
    // What 1 + e rounds away is put right by the quotient.
    let u = 1.0 + e;
    let log = if u == 1.0 { e } else { log(u) * (e / (u - 1.0)) };
    x.max(0.0) + log
}

/// The hyperbolic tangent within two units in the last place, in vector code.
#[inline(always)]
pub fn tanh(x: f32) -> f32 {
    // Near 0, what exponentials would cancel: the odd polynomial of Cephes' tanhf.
    let z = x * x;
    let p = z.mul_add(-5.704_988_7e-3, 2.063_908_8e-2);
    let p = p.mul_add(z, -5.373_971_5e-2);
    let p = p.mul_add(z, 1.333_144_2e-1);
    let p = p.mul_add(z, -3.333_328e-1);
    let near = (p * z).mul_add(x, x);
    let far = 1.0 - 2.0 / (exp(2.0 * x.abs()) + 1.0);
    (if x.abs() < 0.625 { near } else { far }).copysign(x)
}

/// The distribution function of the standard normal distribution, within six units in the last place, in vector code;
/// the lower tail keeps its digits.
#[inline(always)]
pub fn normal_cdf(x: f32) -> f32 {
    /// Of 1 / (1 + 0.4 |x| / sqrt 2), counted from 0.375: what the tail is in units of it times e^(-x^2 / 2), within
    /// 8.1e-9 of itself (fitted by least squares, reweighted until the error was even).
    const TAIL: [f32; 10] = [
        0.175_736_1,
        0.243_158_64,
        0.269_709_32,
        0.222_666_43,
        0.109_712_064,
        -0.007_334_592_3,
        -0.056_731_43,
        -0.027_128_125,
        0.048_841_823,
        -0.014_688_223,
    ];
    // What is farther out is 0 or 1, and its square must not be infinite.
    let far = if x.abs() > 20.0 { 20.0 } else { x.abs() };
    let t = 1.0 / far.mul_add(0.4 * std::f32::consts::FRAC_1_SQRT_2, 1.0);
    let mut tail = TAIL[9];
    for &coefficient in TAIL[..9].iter().rev() {
        tail = tail.mul_add(t - 0.375, coefficient);
    }
    let square = far * far;
    let rest = far.mul_add(far, -square);
    tail *= t * exp(-0.5 * square);
    tail -= tail * (0.5 * rest);
    if x > 0.0 { 1.0 - tail } else { tail }
}

#[cfg(test)]
mod tests {
    use super::{exp, from_bf16, normal_cdf, softplus, tanh, to_bf16};
    use half::bf16;

    /// Every bf16, and what is next to it, next to the middle between it and the one after it, and between these.
    #[test]
    fn conversions_are_those_of_half() {
        for high in 0..=u16::MAX {
            let exact = bf16::from_bits(high);
            let same = from_bf16(exact).to_bits() == exact.to_f32().to_bits();
            assert!(same || exact.is_nan() && from_bf16(exact).is_nan(), "{high:#06x}");
            for low in [0, 1, 0x7fff, 0x8000, 0x8001, 0xffff, 0x1234, 0xabcd] {
                let x = f32::from_bits(u32::from(high) << 16 | low);
                assert_eq!(to_bf16(x).to_bits(), bf16::from_f32(x).to_bits(), "{:#010x}", x.to_bits());
            }
        }
    }

    fn units_off(found: f32, exact: f64) -> f64 {
        let near = exact as f32;
        (f64::from(found) - exact).abs() / (f64::from(f32::from_bits(near.to_bits() + 1)) - f64::from(near)).abs()
    }

    #[test]
    fn softplus_and_tanh_are_within_three_units_in_the_last_place() {
        let (mut worst_softplus, mut worst_tanh) = (0f64, 0f64);
        let mut x = -86.0f32;
        while x < 90.0 {
            let wide = f64::from(x);
            worst_softplus = worst_softplus.max(units_off(softplus(x), wide.max(0.0) + (-wide.abs()).exp().ln_1p()));
            worst_tanh = worst_tanh.max(units_off(tanh(x / 8.0), f64::from(x / 8.0).tanh()));
            x += 0.000_713;
        }
        assert!(worst_softplus < 3.0, "softplus: {worst_softplus} units in the last place");
        assert!(worst_tanh < 2.0, "tanh: {worst_tanh} units in the last place");
    }

    #[test]
    fn the_normal_distribution_is_within_six_units_in_the_last_place() {
        let mut worst = (0f64, 0f32);
        let mut x = -12.9f32;
        while x < 14.0 {
            // erfc of a library, in f64.
            let exact = libm::erfc(-f64::from(x) * std::f64::consts::FRAC_1_SQRT_2) / 2.0;
            let off = units_off(normal_cdf(x), exact);
            if off > worst.0 {
                worst = (off, x);
            }
            x += 0.000_071;
        }
        assert!(worst.0 < 6.0, "{} units in the last place at {}", worst.0, worst.1);
        let inf = f32::INFINITY;
        assert_eq!([-inf, -1e30, -15.0, 15.0, 1e30, inf].map(normal_cdf), [0.0, 0.0, 0.0, 1.0, 1.0, 1.0]);
        assert!(normal_cdf(f32::NAN).is_nan());
        let subnormal = f64::from(normal_cdf(-14.0)) / (libm::erfc(14.0 * std::f64::consts::FRAC_1_SQRT_2) / 2.0);
        assert!((subnormal - 1.0).abs() < 0.2, "{subnormal}");
    }

    #[test]
    fn softplus_and_tanh_keep_their_edges() {
        let inf = f32::INFINITY;
        assert_eq!([softplus(-inf), softplus(inf), softplus(-200.0), softplus(200.0)], [0.0, inf, 0.0, 200.0]);
        assert_eq!([tanh(-inf), tanh(inf), tanh(0.0), tanh(1e-30), tanh(50.0)], [-1.0, 1.0, 0.0, 1e-30, 1.0]);
        assert!(tanh(-0.0).is_sign_negative() && softplus(f32::NAN).is_nan() && tanh(f32::NAN).is_nan());
    }

    #[test]
    fn exp_is_within_one_and_a_half_units_in_the_last_place() {
        let mut worst = 0f64;
        let mut x = -87.0f32;
        while x < 88.7 {
            let exact = f64::from(x).exp();
            let ulp = f64::from(f32::from_bits((exact as f32).to_bits() + 1)) - f64::from(exact as f32);
            worst = worst.max((f64::from(exp(x)) - exact).abs() / ulp);
            x += 0.000_713;
        }
        assert!(worst < 1.5, "{worst} units in the last place");
    }

    #[test]
    fn exp_keeps_its_edges() {
        assert_eq!(exp(0.0), 1.0);
        assert_eq!(exp(f32::NEG_INFINITY), 0.0);
        assert_eq!(exp(f32::INFINITY), f32::INFINITY);
        assert_eq!(exp(89.0), f32::INFINITY);
        assert!(exp(f32::NAN).is_nan());
        let subnormal = exp(-100.0);
        assert!((subnormal / (-100f64).exp() as f32 - 1.0).abs() < 0.1, "{subnormal}");
    }
}
