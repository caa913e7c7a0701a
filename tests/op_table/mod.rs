//! The op table: each operation states its shapes, dtypes, tolerances, reference, flops and bytes, once. `tests/ops.rs`
//! checks every row on every device; `benches/ops.rs` and `veridical bench` time the rows marked for it.
//!
//! A reference is plain loops in f64 over [`Array`]s: no blocking, no library, nothing shared with the crate.

use std::sync::Arc;

use veridical::{DType, Device, Result, Tensor, Var};

mod adam;
mod arithmetic;
mod attention;
mod average;
mod cast;
mod concat;
mod conv2d;
mod cross_entropy;
mod elementwise;
mod embedding;
mod flatten;
mod frequency_embedding;
mod gradient_norm;
mod group_norm;
mod layer_norm;
mod linear;
mod matmul;
mod permute;
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
        cast::rows(),
        concat::rows(),
        conv2d::rows(),
        cross_entropy::rows(),
        embedding::rows(),
        flatten::rows(),
        frequency_embedding::rows(),
        gradient_norm::rows(),
        group_norm::rows(),
        layer_norm::rows(),
        linear::rows(),
        matmul::rows(),
        permute::rows(),
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
    pub shape: Vec<usize>,
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
            *at = i % extent;
            i /= extent;
        }
        index
    }

    /// The element at `index`.
    pub fn at(&self, index: &[usize]) -> f64 {
        assert_eq!(index.len(), self.shape.len());
        self.data[index.iter().zip(&self.shape).fold(0, |sum, (&i, &extent)| {
            assert!(i < extent);
            sum * extent + i
        })]
    }
}

/// How an input is filled.
#[derive(Debug, Clone, Copy)]
#[allow(dead_code)] // not every user of the table makes every kind of input
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
    pub shape: Vec<usize>,
    pub fill: Fill,
    pub gradient: bool,
}

/// A differentiable input between -1.7 and 2.1.
pub fn input(shape: &[usize]) -> Input {
    Input { shape: shape.to_vec(), fill: Fill::Uniform(-1.7, 2.1), gradient: true }
}

/// `count` inputs `[n]` without gradients: what an optimiser works on.
pub fn constants(count: usize, n: usize) -> Vec<Input> {
    vec![input(&[n]).constant(); count]
}

/// The first, second, ... numbers that `f` makes of each of `n` elements, one list after the other.
pub fn side_by_side<const K: usize>(n: usize, f: impl Fn(usize) -> [f64; K]) -> Array {
    Array::from_fn(&[K * n], |i| f(i % n)[i / n])
}

impl Input {
    pub fn fill(self, fill: Fill) -> Self {
        Input { fill, ..self }
    }

    #[allow(dead_code)] // not every user of the table has constants
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
                Fill::Integers(low, high) => f64::from(low) + (u * f64::from(high - low + 1)).floor(),
                Fill::Indices(bound) => (u * f64::from(bound)).floor(),
            }
        })
    }

    pub fn is_index(&self) -> bool {
        matches!(self.fill, Fill::Indices(_))
    }
}

/// Largest difference from the reference, relative to the largest magnitude in the tensor.
#[derive(Debug, Clone, Copy)]
pub struct Tolerance {
    pub f32: f64,
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
#[allow(dead_code)] // tests and benchmarks each read some of it
pub struct Row {
    pub op: &'static str,
    /// Shapes and settings, for messages and benchmarks.
    pub case: String,
    pub inputs: Vec<Input>,
    pub run: Run,
    pub reference: Reference,
    pub dtypes: Vec<DType>,
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
    /// A row with the default tolerance, in f32, bf16 and f64.
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
    pub fn case(mut self, settings: impl std::fmt::Display) -> Self {
        self.case = format!("{} {settings}", self.case);
        self
    }

    pub fn tolerance(self, f32: f64, bf16: f64) -> Self {
        Row { tolerance: Tolerance { f32, bf16 }, ..self }
    }

    #[allow(dead_code)] // for operations that lack a dtype
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
            if input.is_index() { values } else { values.map(round) }
        };
        self.inputs.iter().enumerate().map(values).collect()
    }
}

/// `array` as a tensor of `dtype`; index inputs become u32.
pub fn tensor(array: &Array, dtype: DType, index: bool, device: &Device) -> Result<Tensor> {
    let data = &array.data;
    match (index, dtype) {
        (true, _) => {
            Tensor::from_slice(&data.iter().map(|&x| x as u32).collect::<Vec<_>>(), array.shape.as_slice(), device)
        }
        (_, DType::F32) => {
            Tensor::from_slice(&data.iter().map(|&x| x as f32).collect::<Vec<_>>(), array.shape.as_slice(), device)
        }
        (_, DType::BF16) => Tensor::from_slice(
            &data.iter().map(|&x| half::bf16::from_f64(x)).collect::<Vec<_>>(),
            array.shape.as_slice(),
            device,
        ),
        _ => Tensor::from_slice(data, array.shape.as_slice(), device),
    }
}
