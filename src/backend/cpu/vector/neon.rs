//! Vectors of four times 128 bits.

use std::arch::aarch64::*;

use super::{LANES, Vector};

/// Four registers of 128 bits.
#[derive(Clone, Copy)]
pub struct FourQ([float32x4_t; 4]);

/// Numbers of a register.
const WIDTH: usize = LANES / 4;

// SAFETY (of every call below): every 64-bit Arm that this is compiled for has these vectors; loads and stores are of
// quarters of an array and need no alignment.
impl Vector for FourQ {
    type Number = f32;

    #[inline(always)]
    fn splat(number: f32) -> Self {
        // SAFETY: see above.
        FourQ([unsafe { vdupq_n_f32(number) }; 4])
    }

    #[inline(always)]
    fn load(from: &[f32; LANES]) -> Self {
        // SAFETY: see above.
        FourQ(std::array::from_fn(|i| unsafe { vld1q_f32(from.as_ptr().add(WIDTH * i)) }))
    }

    #[inline(always)]
    fn store(self, to: &mut [f32; LANES]) {
        for (i, vector) in self.0.into_iter().enumerate() {
            // SAFETY: see above.
            unsafe { vst1q_f32(to.as_mut_ptr().add(WIDTH * i), vector) };
        }
    }

    #[inline(always)]
    fn plus(self, other: Self) -> Self {
        // SAFETY: see above.
        FourQ(std::array::from_fn(|i| unsafe { vaddq_f32(self.0[i], other.0[i]) }))
    }

    #[inline(always)]
    fn minus(self, other: Self) -> Self {
        // SAFETY: see above.
        FourQ(std::array::from_fn(|i| unsafe { vsubq_f32(self.0[i], other.0[i]) }))
    }

    #[inline(always)]
    fn times(self, other: Self) -> Self {
        // SAFETY: see above.
        FourQ(std::array::from_fn(|i| unsafe { vmulq_f32(self.0[i], other.0[i]) }))
    }

    #[inline(always)]
    fn plus_product(self, a: Self, b: Self) -> Self {
        // SAFETY: see above.
        FourQ(std::array::from_fn(|i| unsafe { vfmaq_f32(self.0[i], a.0[i], b.0[i]) }))
    }
}
