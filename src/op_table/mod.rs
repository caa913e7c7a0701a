//! The op table: each operation states its shapes, dtypes, tolerances, reference, flops and bytes, once.
//!
//! `tests/ops.rs` checks every row on every device; `benches/ops.rs` and `veridical bench` time the rows marked for it.
//! A reference is plain loops in f64 over [`Array`]s: no blocking, no library, nothing shared with the crate (but the
//! random words that an operation is defined to draw).
//!
//! An operation of one's own is a [`Row`] too. What is asked of those of the crate can be asked of it:
//!
//! ```
//! use veridical::op_table::{Array, Row, input};
//! use veridical::{DType, Device, Result, Var, ops};
//!
//! /// `x / (1 + |x|)`
//! fn softsign(x: &Var) -> Result<Var> {
//!     ops::div(x, ops::shift(x.abs()?, 1.0)?)
//! }
//!
//! # fn main() -> Result<()> {
//! let plainly = |x: &[Array]| x[0].map(|x| x / (1.0 + x.abs()));
//! for shape in [&[][..], &[0, 3], &[1], &[1031]] {
//!     let row = Row::new("softsign", vec![input(shape)], |x| softsign(&x[0]), plainly);
//!     for &dtype in &row.dtypes {
//!         let x = row.values(dtype)[0].to_tensor(dtype, &Device::Cpu)?;
//!         let (y, expected) = (row.run(&[x.into()])?.value().to_f64()?, row.expected(dtype));
//!         let tolerance = if dtype == DType::BF16 { row.tolerance.bf16 } else { row.tolerance.f32 };
//!         assert!(y.iter().zip(&expected.data).all(|(y, expected)| (y - expected).abs() <= tolerance));
//!     }
//! }
//! # Ok(())
//! # }
//! ```

use std::fmt::Display;
use std::sync::Arc;

use crate::error::Error;
use crate::{DType, Device, Result, Tensor, Var};

mod adam;
mod arithmetic;
mod attention;
mod average;
mod batch_norm;
mod cast;
mod categorical;
mod concat;
mod contrastive;
mod conv2d;
mod conv_transpose2d;
mod cross_entropy;
mod elementwise;
mod embedding;
mod flatten;
mod frequency_embedding;
mod gradient_norm;
mod group_norm;
mod l2_normalize;
mod layer_norm;
mod linear;
mod matmul;
mod permute;
mod pool2d;
mod random;
mod reduce;
mod resample;
mod sgd;
mod softmax;

/// Every row of the table.
pub fn rows() -> Vec<Row> {
    [
        adam::rows(),
        arithmetic::rows(),
        attention::rows(),
        average::rows(),
        batch_norm::rows(),
        cast::rows(),
        categorical::rows(),
        concat::rows(),
        contrastive::rows(),
        conv2d::rows(),
        conv_transpose2d::rows(),
        cross_entropy::rows(),
        embedding::rows(),
        flatten::rows(),
        frequency_embedding::rows(),
        gradient_norm::rows(),
        group_norm::rows(),
        l2_normalize::rows(),
        layer_norm::rows(),
        linear::rows(),
        matmul::rows(),
        permute::rows(),
        pool2d::rows(),
        elementwise::rows(),
        random::rows(),
        reduce::rows(),
        resample::rows(),
        sgd::rows(),
        softmax::rows(),
    ]
    .concat()
}

/// A host array of f64.
#[derive(Debug, Clone, PartialEq)]
pub struct Array {
    /// Extents, outermost first.
    pub shape: Vec<usize>,
    /// Elements in row-major order.
    pub data: Vec<f64>,
}

impl Array {
    /// Element `i` in row-major order is `f(i)`.
    pub fn from_fn(shape: &[usize], f: impl FnMut(usize) -> f64) -> Self {
        Array { shape: shape.to_vec(), data: (0..shape.iter().product()).map(f).collect() }
    }

    /// `f` of every element.
    pub fn map(&self, f: impl Fn(f64) -> f64) -> Self {
        Array { shape: self.shape.clone(), data: self.data.iter().map(|&x| f(x)).collect() }
    }

    /// The index of element `i` in row-major order.
    pub fn index(&self, mut i: usize) -> Vec<usize> {
        let mut index = vec![0; self.shape.len()];
        for (at, &extent) in index.iter_mut().zip(&self.shape).rev() {
            *at = i % extent.max(1);
            i /= extent.max(1);
        }
        index
    }

    /// The element at `index`; NaN, which no result agrees with, if there is none.
    pub fn at(&self, index: &[usize]) -> f64 {
        let inside = index.len() == self.shape.len() && index.iter().zip(&self.shape).all(|(i, extent)| i < extent);
        let i = || index.iter().zip(&self.shape).fold(0, |sum, (i, extent)| sum * extent + i);
        inside.then(|| self.data.get(i())).flatten().copied().unwrap_or(f64::NAN)
    }

    /// The elements, rounded, as a tensor; toward zero for u32. Errors if they are not as many as the shape says, or
    /// if the device has no room.
    pub fn to_tensor(&self, dtype: DType, device: &Device) -> Result<Tensor> {
        let (shape, data) = (self.shape.as_slice(), self.data.iter());
        match dtype {
            DType::F32 => Tensor::from_vec(data.map(|&x| x as f32).collect(), shape, device),
            DType::BF16 => Tensor::from_vec(data.map(|&x| half::bf16::from_f64(x)).collect(), shape, device),
            DType::F64 => Tensor::from_slice(&self.data, shape, device),
            DType::U32 => Tensor::from_vec(data.map(|&x| x as u32).collect(), shape, device),
        }
    }
}

/// How an input is filled.
#[derive(Debug, Clone, Copy)]
pub enum Fill {
    /// Between the two, not symmetric about anything in particular.
    Uniform(f64, f64),
    /// Whole numbers between the two, inclusive: results are exact, so every indexing mistake shows.
    Integers(i32, i32),
    /// u32 below the bound: labels and indices. No gradient.
    Indices(u32),
}

/// An input: its shape, what is in it, and whether a gradient flows to it.
#[derive(Debug, Clone)]
pub struct Input {
    /// Extents, outermost first.
    pub shape: Vec<usize>,
    /// What is in it.
    pub fill: Fill,
    /// Whether the operation is differentiated with respect to it.
    pub gradient: bool,
}

/// A differentiable input between -1.7 and 2.1.
pub fn input(shape: &[usize]) -> Input {
    Input { shape: shape.to_vec(), fill: Fill::Uniform(-1.7, 2.1), gradient: true }
}

/// `count` inputs `[n]` without gradients: what an optimiser works on.
fn constants(count: usize, n: usize) -> Vec<Input> {
    vec![input(&[n]).constant(); count]
}

/// The first, second, ... numbers that `f` makes of each of `n` elements, one list after the other.
fn side_by_side<const K: usize>(n: usize, f: impl Fn(usize) -> [f64; K]) -> Array {
    Array::from_fn(&[K * n], |i| f(i % n)[i / n])
}

impl Input {
    /// Filled otherwise.
    pub fn fill(self, fill: Fill) -> Self {
        Input { fill, ..self }
    }

    /// Without a gradient.
    pub fn constant(self) -> Self {
        Input { gradient: false, ..self }
    }

    /// The values, as f64; a pure function of the seed.
    pub fn values(&self, seed: u64) -> Array {
        let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ 0xD1B5_4A32_D192_ED03;
        Array::from_fn(&self.shape, |_| {
            // SplitMix64
            state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
            let mut z = state;
            z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
            z ^= z >> 31;
            let u = (z >> 11) as f64 / (1u64 << 53) as f64;
            match self.fill {
                Fill::Uniform(low, high) => low + (high - low) * u,
                Fill::Integers(low, high) => f64::from(low) + (u * (f64::from(high) - f64::from(low) + 1.0)).floor(),
                Fill::Indices(bound) => (u * f64::from(bound)).floor(),
            }
        })
    }

    /// The dtype that it has where the operation runs in `dtype`: indices are u32.
    pub fn dtype(&self, dtype: DType) -> DType {
        if matches!(self.fill, Fill::Indices(_)) { DType::U32 } else { dtype }
    }
}

/// Largest difference from the reference, relative to the largest magnitude in the tensor.
#[derive(Debug, Clone, Copy)]
pub struct Tolerance {
    /// In f32.
    pub f32: f64,
    /// In bf16.
    pub bf16: f64,
}

impl Default for Tolerance {
    /// f32: rounding of short sums. bf16: one rounding of the result (2^-9 of it) and one of a saved intermediate.
    fn default() -> Self {
        Tolerance { f32: 2e-6, bf16: 6e-3 }
    }
}

type Run = Arc<dyn Fn(&[Var]) -> Result<Var> + Send + Sync>;
type Reference = Arc<dyn Fn(&[Array]) -> Array + Send + Sync>;

/// One operation at one set of shapes and settings.
#[derive(Clone)]
pub struct Row {
    /// The operation's name.
    pub op: &'static str,
    /// Shapes and settings, for messages and benchmarks.
    pub case: String,
    /// What the operation takes, in its order.
    pub inputs: Vec<Input>,
    run: Run,
    reference: Reference,
    /// What it is to be right in; on a GPU f64 is left out.
    pub dtypes: Vec<DType>,
    /// How right.
    pub tolerance: Tolerance,
    /// Floating-point operations of the forward pass, by the usual count.
    pub flops: f64,
    /// Elements that the forward pass must read and write at least.
    pub elements: f64,
    /// The same two for the backward pass, where the usual rule (see [`Row::backward_work`]) does not hold.
    pub backward: Option<(f64, f64)>,
    /// Part of the benchmarks (and too large for an entry-by-entry gradient check).
    pub bench: bool,
}

impl Row {
    /// A row with the default tolerance, in f32, bf16 and f64. `run` is the operation, `reference` the same in plain
    /// loops; both are given as many inputs as `inputs` has, and the reference theirs of the right shapes.
    pub fn new(
        op: &'static str,
        inputs: Vec<Input>,
        run: impl Fn(&[Var]) -> Result<Var> + Send + Sync + 'static,
        reference: impl Fn(&[Array]) -> Array + Send + Sync + 'static,
    ) -> Self {
        let shapes: Vec<String> = inputs.iter().map(|input| format!("{:?}", input.shape)).collect();
        Row {
            op,
            case: shapes.join(" "),
            inputs,
            run: Arc::new(run),
            reference: Arc::new(reference),
            dtypes: vec![DType::F32, DType::BF16, DType::F64],
            tolerance: Tolerance::default(),
            flops: 0.0,
            elements: 0.0,
            backward: None,
            bench: false,
        }
    }

    /// Adds settings to the case's name.
    pub fn case(mut self, settings: impl Display) -> Self {
        self.case = format!("{} {settings}", self.case);
        self
    }

    /// Other tolerances than the default.
    pub fn tolerance(self, f32: f64, bf16: f64) -> Self {
        Row { tolerance: Tolerance { f32, bf16 }, ..self }
    }

    /// Other dtypes, for operations that lack one.
    pub fn dtypes(self, dtypes: &[DType]) -> Self {
        Row { dtypes: dtypes.to_vec(), ..self }
    }

    /// Marks the row for the benchmarks: flops and elements moved by the forward pass.
    pub fn bench(self, flops: f64, elements: f64) -> Self {
        Row { flops, elements, bench: true, ..self }
    }

    /// Says what the backward pass takes: flops and elements moved. Two zeros: it does nothing worth timing.
    pub fn backward(self, flops: f64, elements: f64) -> Self {
        Row { backward: Some((flops, elements)), ..self }
    }

    /// Flops and elements moved by the backward pass. As a rule it computes twice as much as the forward pass (a
    /// product has two operands), reads what the forward pass read and the result's gradient, and writes the inputs'
    /// gradients.
    pub fn backward_work(&self) -> (f64, f64) {
        let gradients = self.inputs.iter().filter(|input| input.gradient);
        let written: usize = gradients.map(|input| input.shape.iter().product::<usize>()).sum();
        self.backward.unwrap_or((2.0 * self.flops, self.elements + written as f64))
    }

    /// Whether every input consists of whole numbers, so that results must be exact.
    pub fn is_exact(&self) -> bool {
        self.inputs.iter().all(|input| !matches!(input.fill, Fill::Uniform(..)))
    }

    /// The inputs' values, rounded to `dtype` so that every device and the reference start from the same numbers.
    pub fn values(&self, dtype: DType) -> Vec<Array> {
        let round = |x: f64| match dtype {
            DType::F32 => f64::from(x as f32),
            DType::BF16 => f64::from(half::bf16::from_f64(x)),
            _ => x,
        };
        let values = |(i, input): (usize, &Input)| {
            let values = input.values(i as u64 + 1);
            if input.dtype(dtype) == dtype { values.map(round) } else { values }
        };
        self.inputs.iter().enumerate().map(values).collect()
    }

    /// The operation on such inputs. Errors as it does, and if they are not as many as the row has.
    pub fn run(&self, inputs: &[Var]) -> Result<Var> {
        match inputs.len() == self.inputs.len() {
            true => (self.run)(inputs),
            false => Err(Error::argument(
                self.op,
                format!("{} inputs for the {} of the row", inputs.len(), self.inputs.len()),
            )),
        }
    }

    /// What the reference makes of [`values`](Self::values). It takes its time: hours, for rows of the benchmarks.
    pub fn expected(&self, dtype: DType) -> Array {
        (self.reference)(&self.values(dtype))
    }
}
