//! Vectors of 512 and of twice 256 bits.

use std::arch::x86_64::*;

use super::{LANES, Vector};

/// One register of 512 bits.
#[derive(Clone, Copy)]
pub struct Zmm(__m512);

// SAFETY (of every call below): the type is named only where `Isa::Avx512` or more runs a kernel; loads and stores
// are of whole arrays and need no alignment.
impl Vector for Zmm {
    type Number = f32;

    #[inline(always)]
    fn splat(number: f32) -> Self {
        // SAFETY: see above.
        Zmm(unsafe { _mm512_set1_ps(number) })
    }

    #[inline(always)]
    fn load(from: &[f32; LANES]) -> Self {
        // SAFETY: see above.
        Zmm(unsafe { _mm512_loadu_ps(from.as_ptr()) })
    }

    #[inline(always)]
    fn store(self, to: &mut [f32; LANES]) {
        // SAFETY: see above.
        unsafe { _mm512_storeu_ps(to.as_mut_ptr(), self.0) }
    }

    #[inline(always)]
    fn plus(self, other: Self) -> Self {
        // SAFETY: see above.
        Zmm(unsafe { _mm512_add_ps(self.0, other.0) })
    }

    #[inline(always)]
    fn minus(self, other: Self) -> Self {
        // SAFETY: see above.
        Zmm(unsafe { _mm512_sub_ps(self.0, other.0) })
    }

    #[inline(always)]
    fn times(self, other: Self) -> Self {
        // SAFETY: see above.
        Zmm(unsafe { _mm512_mul_ps(self.0, other.0) })
    }

    #[inline(always)]
    fn plus_product(self, a: Self, b: Self) -> Self {
        // SAFETY: see above.
        Zmm(unsafe { _mm512_fmadd_ps(a.0, b.0, self.0) })
    }
}

/// Two registers of 256 bits.
#[derive(Clone, Copy)]
pub struct TwoYmm(__m256, __m256);

// SAFETY (of every call below): the type is named only where `Isa::Avx2` runs a kernel; loads and stores are of
// halves of an array and need no alignment.
impl Vector for TwoYmm {
    type Number = f32;

    #[inline(always)]
    fn splat(number: f32) -> Self {
        // SAFETY: see above.
        let half = unsafe { _mm256_set1_ps(number) };
        TwoYmm(half, half)
    }

    #[inline(always)]
    fn load(from: &[f32; LANES]) -> Self {
        // SAFETY: see above.
        unsafe { TwoYmm(_mm256_loadu_ps(from.as_ptr()), _mm256_loadu_ps(from.as_ptr().add(LANES / 2))) }
    }

    #[inline(always)]
    fn store(self, to: &mut [f32; LANES]) {
        // SAFETY: see above.
        unsafe {
            _mm256_storeu_ps(to.as_mut_ptr(), self.0);
            _mm256_storeu_ps(to.as_mut_ptr().add(LANES / 2), self.1);
        }
    }

    #[inline(always)]
    fn plus(self, other: Self) -> Self {
        // SAFETY: see above.
        unsafe { TwoYmm(_mm256_add_ps(self.0, other.0), _mm256_add_ps(self.1, other.1)) }
    }

    #[inline(always)]
    fn minus(self, other: Self) -> Self {
        // SAFETY: see above.
        unsafe { TwoYmm(_mm256_sub_ps(self.0, other.0), _mm256_sub_ps(self.1, other.1)) }
    }

    #[inline(always)]
    fn times(self, other: Self) -> Self {
        // SAFETY: see above.
        unsafe { TwoYmm(_mm256_mul_ps(self.0, other.0), _mm256_mul_ps(self.1, other.1)) }
    }

    #[inline(always)]
    fn plus_product(self, a: Self, b: Self) -> Self {
        // SAFETY: see above.
        unsafe { TwoYmm(_mm256_fmadd_ps(a.0, b.0, self.0), _mm256_fmadd_ps(a.1, b.1, self.1)) }
    }
}
