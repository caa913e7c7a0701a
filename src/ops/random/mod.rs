//! Tensors of random numbers.

mod cpu;
mod gpu;

use super::on;
use crate::backend::gpu::{Gpu, Ptr};
use crate::error::{Error, Result};
use crate::random::{Purpose, RandomKey, Samples, Stream};
use crate::tensor::{DType, Device, Shape, Tensor};

/// What the numbers are distributed like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Distribution {
    /// All 32-bit words alike; the only one with dtype u32.
    Words,
    /// Uniform on (0, 1), both ends excluded (bf16 rounds the last 2^-9 of them to 1).
    Uniform,
    /// Standard normal.
    Normal,
    /// Standard exponential, never 0.
    Exponential,
    /// Standard Gumbel, `-ln(-ln u)`, always finite.
    Gumbel,
}

/// The indices of a batch's samples, which decide what random numbers they get.
#[derive(Debug, Clone)]
pub enum SampleIds {
    /// Consecutive ones from here.
    From(u32),
    /// These: `[n]` u32, on the device of the operation.
    Each(Tensor),
}

impl SampleIds {
    /// The same for an operation on the CPU, whatever device the batch is on.
    pub fn on_cpu(&self) -> Result<Self> {
        Ok(match self {
            SampleIds::Each(ids) => SampleIds::Each(ids.to_device(&Device::Cpu)?),
            SampleIds::From(first) => SampleIds::From(*first),
        })
    }
}

/// Where a batch takes its random numbers from: element `e` of sample `i` is a pure function of key, `i` and `e`.
#[derive(Debug, Clone)]
pub struct Draws {
    /// Everything but sample and element.
    pub key: RandomKey,
    /// Which sample each row of the batch is.
    pub samples: SampleIds,
}

impl Draws {
    /// Samples 0, 1, 2, ...
    pub fn new(key: RandomKey) -> Self {
        Self::from_sample(key, 0)
    }

    /// Samples `first`, `first + 1`, ...
    pub fn from_sample(key: RandomKey, first: u32) -> Self {
        Draws { key, samples: SampleIds::From(first) }
    }

    /// The samples whose indices the `[n]` u32 tensor `ids` holds.
    pub fn of_samples(key: RandomKey, ids: Tensor) -> Self {
        Draws { key, samples: SampleIds::Each(ids) }
    }

    /// Errors of `op` unless the draws fit a batch of `shape` on `device`.
    pub(crate) fn check(&self, op: &'static str, shape: &Shape, device: &Device) -> Result<Rows> {
        let rows = Rows::of(shape);
        if rows.len as u64 > 1 << 34 {
            return Err(Error::shape(op, "at most 2^34 elements a sample", shape));
        }
        if let SampleIds::Each(ids) = &self.samples {
            if ids.dtype() != DType::U32 {
                return Err(Error::dtype(op, "u32 sample ids", ids.dtype()));
            }
            if ids.shape()[..] != [rows.count] {
                return Err(Error::shape(op, format!("sample ids [{}]", rows.count), ids.shape()));
            }
            if !ids.device().same(device) {
                return Err(Error::Device { op, what: format!("sample ids on {}, data on {device}", ids.device()) });
            }
        }
        self.key.stream()?;
        Ok(rows)
    }

    /// For the CPU: the stream and the samples.
    pub(crate) fn host(&self) -> Result<(Stream, Samples<'_>)> {
        let samples = match &self.samples {
            SampleIds::From(first) => Samples::From(*first),
            SampleIds::Each(ids) => Samples::Ids(ids.as_slice()?),
        };
        Ok((self.key.stream()?, samples))
    }

    /// For a kernel: the stream, the first sample, and the ids or a null address.
    pub(crate) fn device(&self, gpu: &Gpu) -> Result<(Stream, u32, Ptr)> {
        let (first, ids) = match &self.samples {
            SampleIds::From(first) => (*first, Ptr::NULL),
            SampleIds::Each(ids) => (0, ids.ptr(gpu)?),
        };
        Ok((self.key.stream()?, first, ids))
    }
}

/// Where a step of a computation takes all its random numbers from: each is a pure function of this, of what it is for,
/// and of its element.
#[derive(Debug, Clone)]
pub struct Address {
    /// The seed of the run.
    pub seed: u64,
    /// The step.
    pub step: u32,
    /// Which sample each row of the batch is.
    pub samples: SampleIds,
}

impl Address {
    /// Samples 0, 1, 2, ... of a step.
    pub fn new(seed: u64, step: u32) -> Self {
        Address { seed, step, samples: SampleIds::From(0) }
    }

    /// The draws for one purpose.
    pub fn draws(&self, purpose: Purpose) -> Draws {
        self.draws_at(purpose, 0)
    }

    /// The draws for one purpose at one of its sites: different sites have different numbers.
    pub fn draws_at(&self, purpose: Purpose, site: u32) -> Draws {
        let key = RandomKey::new(self.seed, purpose).at_site(site).at_step(self.step);
        Draws { key, samples: self.samples.clone() }
    }

    /// The same for operations on the CPU, whatever device the batch is on.
    pub fn on_cpu(&self) -> Result<Self> {
        Ok(Address { samples: self.samples.on_cpu()?, ..*self })
    }
}

/// A batch as rows: the first axis counts samples, the others their elements. A scalar is one sample of one element.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Rows {
    pub count: usize,
    pub len: usize,
}

impl Rows {
    pub fn of(shape: &Shape) -> Self {
        let count = shape.first().copied().unwrap_or(1);
        Rows { count, len: shape.iter().skip(1).product() }
    }

    /// Philox blocks that the batch's numbers take.
    pub fn blocks(&self) -> usize {
        self.count * self.len.div_ceil(4)
    }

    /// Whether blocks of four elements start at multiples of 16 bytes in all buffers.
    pub fn wide(&self, addresses: &[Ptr]) -> u32 {
        (self.len.is_multiple_of(4) && Ptr::all_wide(addresses)).into()
    }
}

/// Random numbers of `shape` `[n, ...]`, where row `i` belongs to sample `i` of the draws.
///
/// The f32 numbers are bit for bit the same on every device; bf16 and f64 (CPU only) hold the same numbers, rounded or
/// widened. Errors if the sample ids do not fit, and on u32 for anything but words or the other way round.
pub fn random(
    distribution: Distribution,
    shape: impl Into<Shape>,
    dtype: DType,
    draws: &Draws,
    device: &Device,
) -> Result<Tensor> {
    let shape = shape.into();
    if (distribution == Distribution::Words) == dtype.is_float() {
        let expected = if dtype.is_float() { "u32 for words" } else { "a floating-point dtype" };
        return Err(Error::dtype("random", expected, dtype));
    }
    let rows = draws.check("random", &shape, device)?;
    let mut y = Tensor::empty(shape, dtype, device)?;
    if !y.is_empty() {
        on!(device, fill(distribution, draws, rows, &mut y))?;
    }
    Ok(y)
}

/// [`random`] numbers from the standard normal distribution.
pub fn normal(shape: impl Into<Shape>, dtype: DType, draws: &Draws, device: &Device) -> Result<Tensor> {
    random(Distribution::Normal, shape, dtype, draws, device)
}

/// [`random`] numbers, uniform on (0, 1).
pub fn uniform(shape: impl Into<Shape>, dtype: DType, draws: &Draws, device: &Device) -> Result<Tensor> {
    random(Distribution::Uniform, shape, dtype, draws, device)
}
