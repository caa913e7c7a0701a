//! Neighbouring channels that are handled together, and the transforms, each channel for itself.
//!
//! The points are 0, ±5/8, ±3/2 and infinity. Of all with few digits, so that the factors of pixels and of results are
//! exact, they round least, about half as much as the usual 0, ±1, ±2 (after Barabasz et al. 2020, doi
//! 10.1145/3412380).

use super::WINDOW;
use crate::backend::cpu::gemm::rows::{Stored, Sum};

/// Channels that are handled together.
pub const LANES: usize = 16;

/// As many sums, from the start of a cache line on.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
pub struct Lanes<S>([S; LANES]);

const A: f64 = 5.0 / 8.0;
const B: f64 = 3.0 / 2.0;
const AA: f64 = A * A;
const BB: f64 = B * B;

impl<S: Sum> Lanes<S> {
    pub const ZERO: Self = Lanes([S::ZERO; LANES]);

    /// Loads up to [`LANES`] values; zeros stand for those that are missing.
    #[inline(always)]
    pub fn load<T: Stored<Sum = S>>(from: &[T]) -> Self {
        match from.first_chunk::<LANES>() {
            Some(whole) => Lanes(T::widen_array(whole)),
            None => {
                let mut lanes = Self::ZERO;
                for (lane, value) in lanes.0.iter_mut().zip(from) {
                    *lane = value.widen();
                }
                lanes
            }
        }
    }

    /// Stores as many as there is room for, rounded.
    #[inline(always)]
    pub fn store<T: Stored<Sum = S>>(&self, to: &mut [T]) {
        match to.first_chunk_mut::<LANES>() {
            Some(whole) => {
                for (to, lane) in whole.iter_mut().zip(&self.0) {
                    *to = T::round(*lane);
                }
            }
            None => {
                for (to, lane) in to.iter_mut().zip(&self.0) {
                    *to = T::round(*lane);
                }
            }
        }
    }

    #[inline(always)]
    pub fn add(mut self, other: Self) -> Self {
        for (a, b) in self.0.iter_mut().zip(other.0) {
            *a += b;
        }
        self
    }

    #[inline(always)]
    fn scale(mut self, by: f64) -> Self {
        let by = S::of(by);
        for a in &mut self.0 {
            *a *= by;
        }
        self
    }

    /// `self + by * other`
    #[inline(always)]
    fn plus(mut self, by: f64, other: Self) -> Self {
        let by = S::of(by);
        for (a, b) in self.0.iter_mut().zip(other.0) {
            *a += by * b;
        }
        self
    }

    #[inline(always)]
    fn minus(mut self, other: Self) -> Self {
        for (a, b) in self.0.iter_mut().zip(other.0) {
            *a -= b;
        }
        self
    }
}

/// A transform of a line of `N` places to one of `M`. (Types and not functions: a function that is handed over is
/// compiled without the vector instructions of whoever calls it.)
pub trait Line<const N: usize, const M: usize> {
    /// Must be `#[inline(always)]`.
    fn of<S: Sum>(line: [Lanes<S>; N]) -> [Lanes<S>; M];
}

/// Of pixels.
pub struct Pixels;

impl Line<6, 6> for Pixels {
    #[inline(always)]
    fn of<S: Sum>([d0, d1, d2, d3, d4, d5]: [Lanes<S>; 6]) -> [Lanes<S>; 6] {
        let (even_a, odd_a) = (d4.plus(-BB, d2), d3.plus(-BB, d1).scale(A));
        let (even_b, odd_b) = (d4.plus(-AA, d2), d3.plus(-AA, d1).scale(B));
        [
            d4.plus(-(AA + BB), d2).plus(AA * BB, d0),
            even_a.add(odd_a),
            even_a.minus(odd_a),
            even_b.add(odd_b),
            even_b.minus(odd_b),
            d5.plus(-(AA + BB), d3).plus(AA * BB, d1),
        ]
    }
}

/// Of the taps of a filter: three weights, or four pixels of the result's gradient.
pub struct Taps;

impl<const N: usize> Line<N, 6> for Taps {
    #[inline(always)]
    fn of<S: Sum>(g: [Lanes<S>; N]) -> [Lanes<S>; 6] {
        const OF_A: f64 = 1.0 / (2.0 * AA * (AA - BB));
        const OF_B: f64 = 1.0 / (2.0 * BB * (BB - AA));
        let mut odd_a = g[1].scale(OF_A * A);
        let mut odd_b = g[1].scale(OF_B * B);
        if N > 3 {
            odd_a = odd_a.plus(OF_A * A * AA, g[N - 1]);
            odd_b = odd_b.plus(OF_B * B * BB, g[N - 1]);
        }
        let even_a = g[0].scale(OF_A).plus(OF_A * AA, g[2]);
        let even_b = g[0].scale(OF_B).plus(OF_B * BB, g[2]);
        [
            g[0].scale(1.0 / (AA * BB)),
            even_a.add(odd_a),
            even_a.minus(odd_a),
            even_b.add(odd_b),
            even_b.minus(odd_b),
            g[N - 1],
        ]
    }
}

/// From products to results: four pixels, or the gradients of three weights.
pub struct Results;

impl<const N: usize> Line<6, N> for Results {
    #[inline(always)]
    fn of<S: Sum>([m0, m1, m2, m3, m4, m5]: [Lanes<S>; 6]) -> [Lanes<S>; N] {
        let (even_a, odd_a) = (m1.add(m2), m1.minus(m2).scale(A));
        let (even_b, odd_b) = (m3.add(m4), m3.minus(m4).scale(B));
        let mut results = [Lanes::ZERO; N];
        results[0] = m0.add(even_a.add(even_b));
        results[1] = odd_a.add(odd_b);
        results[2] = even_a.scale(AA).plus(BB, even_b);
        if N > 3 {
            results[N - 1] = odd_a.scale(AA).plus(BB, odd_b);
        }
        results[N - 1] = results[N - 1].add(m5);
        results
    }
}

/// What is between the transform of columns and that of rows.
pub struct Between<S>([[Lanes<S>; WINDOW]; WINDOW]);

impl<S: Sum> Between<S> {
    pub fn new() -> Self {
        Between([[Lanes::ZERO; WINDOW]; WINDOW])
    }

    /// Transforms column `j`.
    #[inline(always)]
    pub fn column<L: Line<N, M>, const N: usize, const M: usize>(&mut self, j: usize, column: [Lanes<S>; N]) {
        let column = L::of(column);
        for (row, place) in self.0.iter_mut().zip(column) {
            row[j] = place;
        }
    }

    /// Transforms row `i` of what has become of the columns.
    #[inline(always)]
    pub fn row<L: Line<N, M>, const N: usize, const M: usize>(&self, i: usize) -> [Lanes<S>; M] {
        let mut row = [Lanes::ZERO; N];
        row.copy_from_slice(&self.0[i][..N]);
        L::of(row)
    }
}
