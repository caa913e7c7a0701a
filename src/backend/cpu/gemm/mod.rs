//! Matrix products on the CPU, and convolutions as products: packed panels, register-blocked kernels, rayon over blocks
//! of the result.
//!
//! A [`Product`] is `base + alpha * left * right`. Each factor is read from [`Rows`]: a [`Matrix`] in memory or the
//! [`Patches`] of a convolution, as they are or transposed; they are copied into panels block by block (bf16
//! widened, or in pairs where there are instructions for products of pairs), so nothing of the size of a patch matrix
//! ever exists. Sums are f32 (f64 for f64), and rounded once when the
//! result is bf16. Where there are tiles, products of f32 can be made of such of bf16 ([`F32Products`]).
//!
//! The result has the same bits for any number of threads: the depth is cut at places that only depend on the shapes,
//! and each element is summed in one order. It may differ in its last bits between levels of vector instructions: the
//! portable kernel rounds each product before it adds, and those for pairs of bf16 take factors and sums below 2^-126
//! for 0 and add in other orders.
//!
//! The scheme is the one of Goto & van de Geijn 2008 (doi 10.1145/1356052.1356053) and BLIS (doi 10.1145/2764454).

mod blocks;
mod convolution;
mod kernel;
mod pack;
#[cfg_attr(not(target_arch = "x86_64"), allow(dead_code))]
mod pairs;
mod patches;
mod portable;
mod region;
mod rows;
mod scratch;
#[cfg_attr(not(target_arch = "x86_64"), allow(dead_code))]
mod split;
mod spread;
mod winograd;

#[cfg(target_arch = "x86_64")]
mod amx;
#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
#[cfg(all(test, target_os = "linux"))]
mod figures;
#[cfg(target_arch = "aarch64")]
mod neon;
#[cfg(test)]
mod tests;

use rayon::prelude::*;

use crate::backend::cpu::OnTeam;
use crate::backend::cpu::isa::Isa;
use crate::error::{Error, Result};
use crate::stop;

pub(crate) use convolution::{convolve, input_gradient, weight_gradient};
pub(crate) use rows::{Matrix, Rows, Stored, Sum};
pub(crate) use scratch::Scratch;
pub(super) use scratch::give_back;
pub use split::F32Products;
pub use winograd::is_allowed as winograd_is_allowed;

use kernel::Kernel;

impl Sum for f32 {
    const ZERO: f32 = 0.0;
    const ONE: f32 = 1.0;
    const MAY_BE_FAST: bool = true;
    fn kernel(isa: Isa) -> &'static Kernel<f32> {
        static PORTABLE: Kernel<f32> = portable::kernel();
        match isa {
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512 | Isa::Avx512Bf16 | Isa::Amx => &avx512::KERNEL,
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2 => &avx2::KERNEL,
            #[cfg(target_arch = "aarch64")]
            Isa::Neon => &neon::KERNEL,
            _ => &PORTABLE,
        }
    }

    fn with_kernel<R>(product: &Product<f32>, work: impl FnOnce(&Product<f32>, &'static Kernel<f32>) -> R) -> R {
        #[cfg(target_arch = "x86_64")]
        if product.isa >= Isa::Avx512Bf16
            && let (Some(left), Some(right)) = (product.left.source.halves(), product.right.source.halves())
        {
            return by_pairs(product, [&*left, &*right], work);
        }
        #[cfg(target_arch = "x86_64")]
        if product.isa >= Isa::Amx && product.of_f32 != F32Products::Fma {
            let products = product.of_f32.products();
            let (source, along_rows) = (product.left.source, !product.left.transposed);
            let left = split::Parts { source, along_rows, products, side: 0 };
            let (source, along_rows) = (product.right.source, product.right.transposed);
            let right = split::Parts { source, along_rows, products, side: 1 };
            return by_pairs(product, [&left, &right], work);
        }
        work(product, Self::kernel(product.isa))
    }
}

/// Does `work` with the product of these factors in bf16, in pairs, in place of its own.
#[cfg(target_arch = "x86_64")]
fn by_pairs<R>(
    product: &Product<f32>,
    [left, right]: [&dyn Rows<half::bf16>; 2],
    work: impl FnOnce(&Product<f32>, &'static Kernel<f32>) -> R,
) -> R {
    let left = pairs::Pairs::new(left, !product.left.transposed);
    let right = pairs::Pairs::new(right, product.right.transposed);
    let left = Factor { source: &left, ..product.left };
    let right = Factor { source: &right, ..product.right };
    let kernel = if product.isa >= Isa::Amx { &amx::PAIRS } else { &avx512::PAIRS };
    work(&Product { left, right, ..*product }, kernel)
}

impl Sum for f64 {
    const ZERO: f64 = 0.0;
    const ONE: f64 = 1.0;
    // What others are held against.
    const MAY_BE_FAST: bool = false;
    fn kernel(_: Isa) -> &'static Kernel<f64> {
        static PORTABLE: Kernel<f64> = portable::kernel();
        &PORTABLE
    }
}

/// Stored values as sums are: a bias, say.
pub(crate) fn widened<T: Stored>(values: &[T]) -> Vec<T::Sum> {
    values.iter().map(|value| Stored::widen(*value)).collect()
}

/// One factor of a product.
#[derive(Clone, Copy)]
pub(crate) struct Factor<'a, S> {
    source: &'a dyn Rows<S>,
    transposed: bool,
}

impl<'a, S> Factor<'a, S> {
    /// `source` as it is.
    pub fn plain(source: &'a dyn Rows<S>) -> Self {
        Factor { source, transposed: false }
    }

    /// `source` transposed.
    pub fn transposed(source: &'a dyn Rows<S>) -> Self {
        Factor { source, transposed: true }
    }

    /// `source` transposed or not.
    pub fn new(source: &'a dyn Rows<S>, transposed: bool) -> Self {
        Factor { source, transposed }
    }

    fn size(&self) -> (usize, usize) {
        let (rows, columns) = (self.source.rows(), self.source.columns());
        if self.transposed { (columns, rows) } else { (rows, columns) }
    }
}

/// `result (+)= alpha * left * right + bias`
#[derive(Clone, Copy)]
pub(crate) struct Product<'a, S> {
    left: Factor<'a, S>,
    right: Factor<'a, S>,
    alpha: S,
    /// One value per column of the result.
    bias: Option<&'a [S]>,
    accumulate: bool,
    isa: Isa,
    /// Where both factors are of f32.
    #[cfg_attr(not(target_arch = "x86_64"), allow(dead_code))]
    of_f32: F32Products,
}

impl<'a, S: Sum> Product<'a, S> {
    /// `left` (m × k) times `right` (k × n). Panics if the depths differ: shapes are checked by the operation that
    /// calls.
    pub fn new(left: Factor<'a, S>, right: Factor<'a, S>) -> Self {
        let ((m, k), (k_right, n)) = (left.size(), right.size());
        assert_eq!(k, k_right, "a {m}x{k} matrix times a {k_right}x{n} matrix");
        Product {
            left,
            right,
            alpha: S::ONE,
            bias: None,
            accumulate: false,
            isa: Isa::current(),
            of_f32: F32Products::current(),
        }
    }

    /// Multiplies the product by `alpha`.
    pub fn scaled(self, alpha: S) -> Self {
        Product { alpha, ..self }
    }

    /// Adds one value to each column, if there are any. Panics if they are not as many as the result has columns.
    pub fn plus(self, bias: Option<&'a [S]>) -> Self {
        let (_, n, _) = self.size();
        bias.iter().for_each(|bias| assert_eq!(bias.len(), n, "one bias per column"));
        Product { bias, ..self }
    }

    /// Adds to what the result holds, if so told, instead of replacing it.
    pub fn accumulating(self, accumulate: bool) -> Self {
        Product { accumulate, ..self }
    }

    /// Uses these vector instructions, which must be supported, instead of those in use.
    pub fn on(self, isa: Isa) -> Self {
        debug_assert!(isa.is_supported());
        Product { isa, ..self }
    }

    /// Computes products of f32 in this way instead of the one in use, where the vector instructions are those for it.
    #[cfg(test)]
    pub fn of_f32_by(self, of_f32: F32Products) -> Self {
        Product { of_f32, ..self }
    }

    /// Rows and columns of the result, and the depth.
    fn size(&self) -> (usize, usize, usize) {
        let ((m, k), (_, n)) = (self.left.size(), self.right.size());
        (m, n, k)
    }

    /// Computes into `result`, rows `stride` elements apart; uses rayon's threads when the product is large.
    ///
    /// Errors if there is no memory for panels, and where the calling thread is to [stop](crate::stop); `result` is
    /// then unfinished. Panics if `result` ends before its last row, or if rows overlap.
    pub fn write<T: Stored<Sum = S>>(&self, result: &mut [T], stride: usize) -> Result<()> {
        blocks::compute(self, result, stride, blocks::is_large(self.size()))
    }
}

/// Computes product `i` into `results[i * result_stride..]` for each of `count` products of the same size: many at a
/// time, each on one thread; or one after the other, each on all threads, if they are few and large.
///
/// `factors(i)` gives the left and the right matrix of product `i`, each with whether it is transposed; `bias` is added
/// to each column of every product, if given. Errors and panics as [`Product::plus`] and [`Product::write`] do, or if
/// the results overlap.
pub(crate) fn batched<'a, T, F>(
    count: usize,
    factors: F,
    bias: Option<&[T::Sum]>,
    results: &mut [T],
    result_stride: usize,
    row_stride: usize,
) -> Result<()>
where
    T: Stored,
    F: Fn(usize) -> [(Matrix<'a, T>, bool); 2] + Sync,
{
    if count == 0 {
        return Ok(());
    }
    let one = |i: usize, result: &mut [T], parallel: bool| {
        let [(left, left_transposed), (right, right_transposed)] = factors(i);
        let product =
            Product::new(Factor::new(&left, left_transposed), Factor::new(&right, right_transposed)).plus(bias);
        blocks::compute(&product, result, row_stride, parallel)
    };
    let [(left, left_transposed), (right, right_transposed)] = factors(0);
    let size = Product::new(Factor::new(&left, left_transposed), Factor::new(&right, right_transposed)).size();
    let extent = if size.0 == 0 { 0 } else { (size.0 - 1) * row_stride + size.1 };
    if extent == 0 {
        return Ok(());
    }
    assert!(count == 1 || result_stride >= extent, "results {result_stride} apart, each of {extent}");
    if blocks::are_shared_out_each(count, size) {
        (0..count).try_for_each(|i| one(i, &mut results[i * result_stride..][..extent], blocks::is_large(size)))
    } else {
        let stopped = stop::watch();
        let at_once = blocks::products_per_task(size);
        let needed = (count - 1) * result_stride + extent;
        results[..needed].par_chunks_mut(result_stride).with_min_len(at_once).enumerate().try_each_on_team(
            |(i, result)| match stopped() {
                true => Err(Error::Stopped),
                false => one(i, &mut result[..extent], false),
            },
        )
    }
}
