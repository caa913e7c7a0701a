//! Products of f32 as products of bf16: every number is the sum of three in bf16, and of the nine products of the parts
//! of two numbers only those are taken that count (Henry, Tang & Heinecke 2019, arXiv 1904.06376).
//!
//! The parts' products stand behind each other in the depth, the small ones first: to the rest of the crate it is one
//! product of bf16 matrices, three or six times as deep.

#[cfg(test)]
mod tests;

use std::ops::Range;
use std::sync::OnceLock;

use half::bf16;

use super::rows::Rows;
use crate::backend::cpu::isa::{Isa, Kernel};

/// How products of f32 factors are computed where the level of vector instructions is [`Isa::Amx`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum F32Products {
    /// By multiply-adds of f32, as on every other level.
    Fma,
    /// By the three largest products of parts: the others are some 2^-16 of the result.
    Split3,
    /// By the six largest: the others are some 2^-24 of the result, as the rounding of a multiply-add is.
    Split6,
}

/// Products in the order in which they are added: which part of the left number by which of the right one.
const SIX: [[usize; 2]; 6] = [[2, 0], [0, 2], [1, 1], [1, 0], [0, 1], [0, 0]];

impl F32Products {
    /// Every way, with its name in `VERIDICAL_F32_PRODUCTS`.
    const NAMES: [(&str, F32Products); 3] =
        [("fma", F32Products::Fma), ("split3", F32Products::Split3), ("split6", F32Products::Split6)];

    /// The way in use: what `VERIDICAL_F32_PRODUCTS` asks for, otherwise multiply-adds, which were no slower where
    /// both were timed. What cannot be done is reported once on standard error.
    pub fn current() -> F32Products {
        static CURRENT: OnceLock<F32Products> = OnceLock::new();
        *CURRENT.get_or_init(|| {
            let wanted = std::env::var("VERIDICAL_F32_PRODUCTS").unwrap_or_default();
            let (way, complaint) = choose(wanted.trim(), Isa::current());
            if let Some(complaint) = complaint {
                eprintln!("veridical: {complaint}");
            }
            way
        })
    }

    /// Its name where it is not what every level does.
    pub fn name(self) -> Option<&'static str> {
        let name = F32Products::NAMES.into_iter().find(|(_, way)| *way == self).map(|(name, _)| name);
        name.filter(|_| self != F32Products::Fma)
    }

    /// The products of parts, the smallest first; none of multiply-adds.
    pub(super) fn products(self) -> &'static [[usize; 2]] {
        match self {
            F32Products::Fma => &[],
            F32Products::Split3 => &SIX[3..],
            F32Products::Split6 => &SIX,
        }
    }
}

fn choose(wanted: &str, isa: Isa) -> (F32Products, Option<String>) {
    let fma = |why: &str| (F32Products::Fma, Some(format!("VERIDICAL_F32_PRODUCTS={wanted}: {why}; using fma")));
    match F32Products::NAMES.into_iter().find(|(name, _)| *name == wanted) {
        None if wanted.is_empty() => (F32Products::Fma, None),
        None => fma("expected split6, split3 or fma"),
        Some((_, way)) if way != F32Products::Fma && isa < Isa::Amx => {
            fma(&format!("only for VERIDICAL_CPU_KERNEL={}, and that in use is {isa}", Isa::Amx))
        }
        Some((_, way)) => (way, None),
    }
}

/// Rows of f32 read as bf16 whose depth is that of each part after the other.
pub(super) struct Parts<'a> {
    pub source: &'a dyn Rows<f32>,
    /// Whether depth runs along the source's rows, or from row to row.
    pub along_rows: bool,
    /// The products, and which number of each is meant.
    pub products: &'static [[usize; 2]],
    pub side: usize,
}

/// Rows and columns that are taken apart at a time.
const ROWS: usize = 32;
const COLUMNS: usize = 128;

impl Parts<'_> {
    fn depth(&self) -> usize {
        if self.along_rows { self.source.columns() } else { self.source.rows() }
    }
}

impl Rows<bf16> for Parts<'_> {
    fn rows(&self) -> usize {
        self.source.rows() * if self.along_rows { 1 } else { self.products.len() }
    }

    fn columns(&self) -> usize {
        self.source.columns() * if self.along_rows { self.products.len() } else { 1 }
    }

    fn copy(&self, isa: Isa, rows: Range<usize>, columns: Range<usize>, out: &mut [bf16], stride: usize) {
        let mut some = [0f32; ROWS * COLUMNS];
        let (depth, lines) = if self.along_rows { (columns, rows) } else { (rows, columns) };
        let mut at = depth.start;
        while at < depth.end {
            let (product, first) = (at / self.depth(), at % self.depth());
            let end = depth.end.min((product + 1) * self.depth());
            let (part, of_part) = (self.products[product][self.side], first..first + end - at);
            let (rows, columns) = if self.along_rows { (&lines, &of_part) } else { (&of_part, &lines) };
            let corner = (at - depth.start) * if self.along_rows { 1 } else { stride };
            for row in rows.clone().step_by(ROWS) {
                for column in columns.clone().step_by(COLUMNS) {
                    let (height, width) = (ROWS.min(rows.end - row), COLUMNS.min(columns.end - column));
                    self.source.copy(isa, row..row + height, column..column + width, &mut some, COLUMNS);
                    let out = &mut out[corner + (row - rows.start) * stride + column - columns.start..];
                    isa.run_kernel(Take { part, some: &some, height, width, out, stride });
                }
            }
            at = end;
        }
    }

    fn halves(&self) -> Option<Box<dyn Rows<bf16> + '_>> {
        None
    }
}

/// Takes a part of each number.
struct Take<'a> {
    part: usize,
    /// Rows [`COLUMNS`] apart.
    some: &'a [f32],
    height: usize,
    width: usize,
    out: &'a mut [bf16],
    stride: usize,
}

impl Kernel for Take<'_> {
    #[inline(always)]
    fn run(self) {
        let Take { part, some, height, width, out, stride } = self;
        for (some, out) in some.chunks_exact(COLUMNS).take(height).zip(out.chunks_mut(stride)) {
            for (to, &x) in out[..width].iter_mut().zip(some) {
                let first = rounded(x);
                let second = rounded(x - first);
                let taken = match part {
                    0 => first,
                    1 => second,
                    _ => rounded(x - first - second),
                };
                *to = bf16::from_bits((taken.to_bits() >> 16) as u16);
            }
        }
    }
}

/// The nearest number that has 8 significant bits, or the next one towards 0 where the nearest is infinite. What is not
/// finite stays so, and what is left of it is NaN.
#[inline(always)]
fn rounded(x: f32) -> f32 {
    let bits = x.to_bits();
    let nearest = bits.wrapping_add(0x7fff + (bits >> 16 & 1));
    // Of a NaN the last bits may carry as far as the sign.
    let kept = !x.is_finite() || nearest & 0x7f80_0000 == 0x7f80_0000;
    f32::from_bits(if kept { bits } else { nearest } & 0xffff_0000)
}
