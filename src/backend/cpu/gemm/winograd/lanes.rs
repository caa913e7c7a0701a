//! Neighbouring channels in a vector, and the transforms, each channel for itself.
//!
//! The points are 0, ±5/8, ±3/2 and infinity. Of all with few digits, so that the factors of pixels and of results are
//! exact, they round least, about half as much as the usual 0, ±1, ±2 (after Barabasz et al. 2020, doi
//! 10.1145/3412380).

use super::{FREQUENCIES, WINDOW};
use crate::backend::cpu::gemm::rows::Stored;
use crate::backend::cpu::vector::{LANES, Vector};
use crate::backend::dtype::Accumulator;

const A: f64 = 5.0 / 8.0;
const B: f64 = 3.0 / 2.0;
const AA: f64 = A * A;
const BB: f64 = B * B;

/// Zeros.
#[inline(always)]
pub fn zero<V: Vector>() -> V {
    of(0.0)
}

/// A number in every place.
#[inline(always)]
fn of<V: Vector>(number: f64) -> V {
    V::splat(V::Number::of(number))
}

/// Loads up to [`LANES`] values; zeros stand for those that are missing.
#[inline(always)]
pub fn load<T: Stored, V: Vector<Number = T::Sum>>(from: &[T]) -> V {
    match from.first_chunk::<LANES>() {
        Some(whole) => V::load(&T::widen_array(whole)),
        None => {
            let mut values = [T::Sum::of(0.0); LANES];
            for (to, value) in values.iter_mut().zip(from) {
                *to = value.widen();
            }
            V::load(&values)
        }
    }
}

/// Stores as many as there is room for, rounded.
#[inline(always)]
pub fn store<T: Stored, V: Vector<Number = T::Sum>>(vector: V, to: &mut [T]) {
    match T::as_sums(to) {
        Some(to) if to.len() >= LANES => {
            if let Some(whole) = to.first_chunk_mut() {
                vector.store(whole);
            }
        }
        _ => {
            let mut values = [T::Sum::of(0.0); LANES];
            vector.store(&mut values);
            match to.first_chunk_mut::<LANES>() {
                Some(whole) => {
                    for i in 0..LANES {
                        whole[i] = T::round(values[i]);
                    }
                }
                None => {
                    for (to, value) in to.iter_mut().zip(values) {
                        *to = T::round(value);
                    }
                }
            }
        }
    }
}

/// A transform of a line of `N` places to one of `M`. (Types and not functions: a function that is handed over is
/// compiled without the vector instructions of whoever calls it.)
pub trait Line<const N: usize, const M: usize> {
    /// Must be `#[inline(always)]`.
    fn of<V: Vector>(line: [V; N]) -> [V; M];
}

/// Of pixels.
pub struct Pixels;

impl Line<6, 6> for Pixels {
    #[inline(always)]
    fn of<V: Vector>([d0, d1, d2, d3, d4, d5]: [V; 6]) -> [V; 6] {
        let (aa, bb) = (of(-AA), of(-BB));
        let (even_a, odd_a) = (d4.plus_product(bb, d2), d3.plus_product(bb, d1).times(of(A)));
        let (even_b, odd_b) = (d4.plus_product(aa, d2), d3.plus_product(aa, d1).times(of(B)));
        let (sum, product) = (of(-(AA + BB)), of(AA * BB));
        [
            d4.plus_product(sum, d2).plus_product(product, d0),
            even_a.plus(odd_a),
            even_a.minus(odd_a),
            even_b.plus(odd_b),
            even_b.minus(odd_b),
            d5.plus_product(sum, d3).plus_product(product, d1),
        ]
    }
}

/// Of the taps of a filter: three weights, or four pixels of the result's gradient.
pub struct Taps;

impl<const N: usize> Line<N, 6> for Taps {
    #[inline(always)]
    fn of<V: Vector>(g: [V; N]) -> [V; 6] {
        const OF_A: f64 = 1.0 / (2.0 * AA * (AA - BB));
        const OF_B: f64 = 1.0 / (2.0 * BB * (BB - AA));
        let mut odd_a = g[1].times(of(OF_A * A));
        let mut odd_b = g[1].times(of(OF_B * B));
        if N > 3 {
            odd_a = odd_a.plus_product(of(OF_A * A * AA), g[N - 1]);
            odd_b = odd_b.plus_product(of(OF_B * B * BB), g[N - 1]);
        }
        let even_a = g[0].times(of(OF_A)).plus_product(of(OF_A * AA), g[2]);
        let even_b = g[0].times(of(OF_B)).plus_product(of(OF_B * BB), g[2]);
        [
            g[0].times(of(1.0 / (AA * BB))),
            even_a.plus(odd_a),
            even_a.minus(odd_a),
            even_b.plus(odd_b),
            even_b.minus(odd_b),
            g[N - 1],
        ]
    }
}

/// From products to results: four pixels, or the gradients of three weights.
pub struct Results;

impl<const N: usize> Line<6, N> for Results {
    #[inline(always)]
    fn of<V: Vector>([m0, m1, m2, m3, m4, m5]: [V; 6]) -> [V; N] {
        let (even_a, odd_a) = (m1.plus(m2), m1.minus(m2).times(of(A)));
        let (even_b, odd_b) = (m3.plus(m4), m3.minus(m4).times(of(B)));
        let mut results = [m5; N];
        results[0] = m0.plus(even_a.plus(even_b));
        results[1] = odd_a.plus(odd_b);
        results[2] = even_a.times(of(AA)).plus_product(of(BB), even_b);
        if N > 3 {
            results[N - 1] = odd_a.times(of(AA)).plus_product(of(BB), odd_b);
        }
        results[N - 1] = results[N - 1].plus(m5);
        results
    }
}

/// What is between the transform of columns and that of rows.
pub struct Between<V>([[V; WINDOW]; WINDOW]);

impl<V: Vector> Between<V> {
    #[inline(always)]
    pub fn new() -> Self {
        Between([[zero(); WINDOW]; WINDOW])
    }

    /// Transforms column `j`.
    #[inline(always)]
    pub fn column<L: Line<N, M>, const N: usize, const M: usize>(&mut self, j: usize, column: [V; N]) {
        let column = L::of(column);
        for (row, place) in self.0.iter_mut().zip(column) {
            row[j] = place;
        }
    }

    /// Transforms row `i` of what has become of the columns.
    #[inline(always)]
    pub fn row<L: Line<N, M>, const N: usize, const M: usize>(&self, i: usize) -> [V; M] {
        let mut row = [zero(); N];
        row.copy_from_slice(&self.0[i][..N]);
        L::of(row)
    }
}

/// Where the 36 numbers of a place are: in as many matrices of the same size, one after the other.
#[derive(Clone, Copy)]
pub struct Matrices {
    /// Numbers of each.
    pub size: usize,
}

impl Matrices {
    /// Transforms the columns of the numbers at `place` into `between`.
    #[inline(always)]
    pub fn columns<L: Line<6, M>, V: Vector, const M: usize>(
        self,
        all: &[V::Number],
        place: usize,
        between: &mut Between<V>,
    ) {
        assert!(place + LANES <= self.size && all.len() >= FREQUENCIES * self.size);
        for j in 0..WINDOW {
            let mut column = [zero(); WINDOW];
            for (i, vector) in column.iter_mut().enumerate() {
                // SAFETY: as asserted, every matrix has whole vectors at the place.
                *vector = V::load(unsafe { &*all.as_ptr().add((i * WINDOW + j) * self.size + place).cast() });
            }
            between.column::<L, 6, M>(j, column);
        }
    }

    /// Transforms the rows of `between` into the numbers at `place`.
    #[inline(always)]
    pub fn rows<L: Line<N, 6>, V: Vector, const N: usize>(
        self,
        between: &Between<V>,
        all: &mut [V::Number],
        place: usize,
    ) {
        assert!(place + LANES <= self.size && all.len() >= FREQUENCIES * self.size);
        for i in 0..WINDOW {
            for (j, vector) in between.row::<L, N, 6>(i).into_iter().enumerate() {
                // SAFETY: as asserted, every matrix has whole vectors at the place; `all` is borrowed here.
                let at = unsafe { &mut *all.as_mut_ptr().add((i * WINDOW + j) * self.size + place).cast() };
                vector.store(at);
            }
        }
    }
}
