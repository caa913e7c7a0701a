//! Uniform, exponential, Gumbel and normal variates from 32-bit words, in f32.
//!
//! `kernels/device/variates.cuh` holds the same operations in the same order. Every step is an IEEE operation (`+`,
//! `*`, fused multiply-add, square root, conversion) rounded to nearest, never a library function, so all devices give
//! the same bits. Change one side and the other must follow.
//!
//! A word `w` stands for the uniform number `u = (w + 1/2) / 2^32`. What matters at the ends is that both tails are
//! made from the words that are *small* there: `w` below one half, its complement above it.

pub use crate::backend::math::log;
use crate::backend::math::{log_of_split, split};

const TWO_POW_M32: f32 = 1.0 / 4_294_967_296.0;
const TWO_POW_M33: f32 = 0.5 * TWO_POW_M32;

/// The uniform number of a word, in `[2^-33, 1 - 2^-24]`: neither 0 nor 1, although f32 would round the
/// last 128 words to 1. Within 3/4 ulp.
#[inline(always)]
pub fn uniform(w: u32) -> f32 {
    let u = (w as f32).mul_add(TWO_POW_M32, TWO_POW_M33);
    if u < ONE_MINUS { u } else { ONE_MINUS }
}
const ONE_MINUS: f32 = 1.0 - f32::EPSILON / 2.0;

/// The standard exponential number of a word, `-ln(1 - u)`, increasing in `w`, in `[1.16e-10, 22.9]`. Within 2 ulp.
#[inline(always)]
pub fn exponential(w: u32) -> f32 {
    // s = min(u, 1 - u), so that neither end loses digits; s <= 1/2.
    let low = (w as i32) >= 0;
    let h = if low { w } else { !w } as i32;
    let s = (h as f32).mul_add(TWO_POW_M32, TWO_POW_M33);
    // ln(1 - s) in the lower half, ln(s) in the upper one, both as k ln 2 + ln(1 + f) with an f that is exact.
    let (f_low, k_low) = if s <= 1.0 / 3.0 { (-s, 0.0) } else { ((-2.0f32).mul_add(s, 1.0), -1.0) };
    let (f_up, k_up) = split(s);
    let (f, k) = if low { (f_low, k_low) } else { (f_up, k_up) };
    -log_of_split(f, k)
}

/// The standard Gumbel number of a word, `-ln(-ln(1 - u))`, decreasing in `w`, in `[-3.14, 22.9]`: always finite.
#[inline(always)]
pub fn gumbel(w: u32) -> f32 {
    -log(exponential(w))
}

/// Two independent standard normal numbers from two words (Box & Muller): radius from the first, angle from the second.
/// `|z| <= 6.77`.
#[inline(always)]
pub fn normal_pair(radius: u32, angle: u32) -> (f32, f32) {
    let r = (2.0 * exponential(radius)).sqrt();
    let (sin, cos) = sin_cos_turn(angle);
    (r * cos, r * sin)
}

/// Sine and cosine of the angle `2 pi u`, within 1.5 ulp of the rounded angle's.
#[inline(always)]
pub fn sin_cos_turn(w: u32) -> (f32, f32) {
    // The nearest quarter turn and what remains of it are exact in integers: no argument reduction in floating point.
    let quarter = w.wrapping_add(1 << 29) >> 30;
    let rest = w.wrapping_sub(quarter << 30) as i32; // in [-2^29, 2^29)
    let y = (rest as f32).mul_add(2.0 * TWO_POW_M32, TWO_POW_M32); // half turns, |y| <= 1/4
    let (s, c) = sin_cos_pi(y);
    let swap = quarter & 1 != 0;
    let (sin, cos) = if swap { (c, s) } else { (s, c) };
    let sin_sign = (quarter & 2) << 30;
    let cos_sign = (quarter.wrapping_add(1) & 2) << 30;
    (f32::from_bits(sin.to_bits() ^ sin_sign), f32::from_bits(cos.to_bits() ^ cos_sign))
}

/// `sin(pi y)` and `cos(pi y)` for `|y| <= 1/4`. Minimax polynomials, relative errors 4e-9 and 4.3e-10.
#[inline(always)]
fn sin_cos_pi(y: f32) -> (f32, f32) {
    let y2 = y * y;
    let mut s = -0.589_277_6_f32;
    s = s.mul_add(y2, 2.549_794_7);
    s = s.mul_add(y2, -5.167_709);
    s = s.mul_add(y2, -8.742_278e-8); // pi - (pi rounded to f32)
    let sin = y.mul_add(std::f32::consts::PI, y * s);
    let mut c = 0.228_985_2_f32;
    c = c.mul_add(y2, -1.334_758_f32);
    c = c.mul_add(y2, 4.058_697);
    c = c.mul_add(y2, -4.934_802);
    (sin, c.mul_add(y2, 1.0))
}

/// The words of an event of probability `p`: it happens if `word < threshold`. `None` stands for `p = 1`, every word.
///
/// Exact to `2^-33`; `p` outside `[0, 1]` or NaN counts as the nearest end, NaN as 0.
pub fn threshold(p: f64) -> Option<u32> {
    let t = (p.clamp(0.0, 1.0) * 4_294_967_296.0).round();
    if t >= 4_294_967_296.0 { None } else { Some(t as u32) }
}
