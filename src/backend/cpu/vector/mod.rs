//! Sixteen numbers at a time, in the registers of each level of vector instructions: for loops that the compiler does
//! not make good vector code of by itself (it cuts arrays of numbers up into short vectors and single ones).

// Vectors of an architecture are private, so that only kernels that run on a CPU that has them ever see one.
#[cfg(target_arch = "aarch64")]
mod neon;
#[cfg(target_arch = "x86_64")]
mod x86;

use std::marker::PhantomData;

use crate::backend::cpu::isa::{self, Isa};
use crate::backend::dtype::Accumulator;

/// Numbers of a vector.
pub const LANES: usize = 16;

/// Sixteen numbers. All functions are `#[inline(always)]`, so that they take on the instructions of their caller.
pub trait Vector: Copy {
    /// What it holds.
    type Number: Accumulator;
    /// The same number in every place.
    fn splat(number: Self::Number) -> Self;
    /// The numbers of an array.
    fn load(from: &[Self::Number; LANES]) -> Self;
    /// Writes them to an array.
    fn store(self, to: &mut [Self::Number; LANES]);
    /// `self + other`
    fn plus(self, other: Self) -> Self;
    /// `self - other`
    fn minus(self, other: Self) -> Self;
    /// `self * other`
    fn times(self, other: Self) -> Self;
    /// `self + a * b`, rounded once where there is an instruction for that.
    fn plus_product(self, a: Self, b: Self) -> Self;
}

/// A loop over vectors.
pub trait VectorKernel<N> {
    /// Does the work with vectors of one kind. Must be `#[inline(always)]`, and so must what it calls.
    fn run<V: Vector<Number = N>>(self);
}

/// Numbers that vectors can hold.
pub trait InVectors: Sized {
    /// Runs a loop with the vectors of a level, which the CPU must have.
    fn run<K: VectorKernel<Self>>(isa: Isa, kernel: K);
}

impl InVectors for f32 {
    #[inline]
    fn run<K: VectorKernel<f32>>(isa: Isa, kernel: K) {
        match isa {
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512 | Isa::Avx512Bf16 | Isa::Amx => {
                isa.run_kernel(With::<K, x86::Zmm> { kernel, vector: PhantomData })
            }
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2 => isa.run_kernel(With::<K, x86::TwoYmm> { kernel, vector: PhantomData }),
            #[cfg(target_arch = "aarch64")]
            Isa::Neon => isa.run_kernel(With::<K, neon::FourQ> { kernel, vector: PhantomData }),
            _ => kernel.run::<[f32; LANES]>(),
        }
    }
}

/// What others are held against, so that one level is enough.
impl InVectors for f64 {
    #[inline]
    fn run<K: VectorKernel<f64>>(_: Isa, kernel: K) {
        kernel.run::<[f64; LANES]>();
    }
}

/// A loop with vectors of a kind.
struct With<K, V> {
    kernel: K,
    vector: PhantomData<V>,
}

impl<K: VectorKernel<V::Number>, V: Vector> isa::Kernel for With<K, V> {
    #[inline(always)]
    fn run(self) {
        self.kernel.run::<V>();
    }
}

impl<N: Accumulator> Vector for [N; LANES] {
    type Number = N;

    #[inline(always)]
    fn splat(number: N) -> Self {
        [number; LANES]
    }

    #[inline(always)]
    fn load(from: &[N; LANES]) -> Self {
        *from
    }

    #[inline(always)]
    fn store(self, to: &mut [N; LANES]) {
        *to = self;
    }

    #[inline(always)]
    fn plus(self, other: Self) -> Self {
        std::array::from_fn(|i| self[i] + other[i])
    }

    #[inline(always)]
    fn minus(self, other: Self) -> Self {
        std::array::from_fn(|i| self[i] - other[i])
    }

    #[inline(always)]
    fn times(self, other: Self) -> Self {
        std::array::from_fn(|i| self[i] * other[i])
    }

    #[inline(always)]
    fn plus_product(self, a: Self, b: Self) -> Self {
        std::array::from_fn(|i| self[i] + a[i] * b[i])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every function, on numbers whose results are exact.
    struct All<'a>(&'a mut [[f32; LANES]; 5]);

    impl VectorKernel<f32> for All<'_> {
        #[inline(always)]
        fn run<V: Vector<Number = f32>>(self) {
            let a = V::load(&std::array::from_fn(|i| i as f32));
            let b = V::load(&std::array::from_fn(|i| 2.0 - i as f32));
            let results = [a.plus(b), a.minus(b), a.times(b), a.plus_product(b, V::splat(-3.0)), V::splat(7.0)];
            for (result, to) in results.into_iter().zip(self.0) {
                result.store(to);
            }
        }
    }

    #[test]
    fn every_level_computes_the_same() {
        for isa in Isa::ALL.into_iter().filter(|isa| isa.is_supported()) {
            let mut found = [[f32::NAN; LANES]; 5];
            f32::run(isa, All(&mut found));
            for i in 0..LANES {
                let (a, b) = (i as f32, 2.0 - i as f32);
                assert_eq!(found.map(|it| it[i]), [2.0, a - b, a * b, a - 3.0 * b, 7.0], "{isa}, place {i}");
            }
        }
    }
}
