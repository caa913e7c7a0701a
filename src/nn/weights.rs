//! The values of a network's parameters.

use std::sync::Arc;

use super::layout::{Entry, Init, Layout, ParamId};
use crate::error::{Error, Result};
use crate::ops;
use crate::random::{self, Purpose, RandomKey, Samples};
use crate::stop;
use crate::tensor::{DType, Device, Tensor};

/// A value for every parameter and buffer of a layout, in f32: two flat tensors, of which each parameter is a view.
///
/// A network is a pure function of its input and of these, so the same network runs with trained weights, their
/// running average, or another model's.
#[derive(Clone, Debug)]
pub struct Weights {
    layout: Arc<Layout>,
    flat: Tensor,
    buffers: Tensor,
    halves: Option<Tensor>,
}

impl Weights {
    /// First values, a pure function of the seed. Errors where [`Layout::check`] does, and if there is no memory for
    /// them.
    pub fn init(layout: &Arc<Layout>, seed: u64, device: &Device) -> Result<Self> {
        layout.check()?;
        let (mut flat, mut buffers) = (zeros(layout.flat_len())?, zeros(layout.buffer_len())?);
        for (site, entry) in layout.entries().iter().enumerate() {
            stop::check()?;
            if let Init::RowNorms(of) = entry.init {
                let of = layout.entry(of)?;
                let from = if of.trainable { &flat } else { &buffers };
                let norms = row_norms(&from[of.offset..of.offset + of.shape.elements()], entry.shape.elements());
                let all = if entry.trainable { &mut flat } else { &mut buffers };
                all[entry.offset..entry.offset + norms.len()].copy_from_slice(&norms);
                continue;
            }
            let all = if entry.trainable { &mut flat } else { &mut buffers };
            let values = &mut all[entry.offset..entry.offset + entry.shape.elements()];
            fill(&entry.init, RandomKey::new(seed, Purpose::Init).at_site(site as u32), values)?;
        }
        let (flat_len, buffer_len) = (flat.len(), buffers.len());
        Ok(Weights {
            layout: layout.clone(),
            flat: Tensor::from_slice(&flat, [flat_len], device)?,
            buffers: Tensor::from_slice(&buffers, [buffer_len], device)?,
            halves: None,
        })
    }

    /// The same, made ready for many runs that [compute](super::Context::compute_in) in `dtype`: for bf16 with all
    /// trainable values rounded once, instead of each whenever it is needed. Errors if there is no memory for them.
    pub fn for_compute(self, dtype: DType) -> Result<Self> {
        let halves = match dtype {
            DType::BF16 if self.halves.is_some() => self.halves,
            DType::BF16 => Some(ops::cast(&self.flat, dtype)?.into_value()),
            _ => None,
        };
        Ok(Weights { halves, ..self })
    }

    /// The layout that the values belong to.
    pub fn layout(&self) -> &Arc<Layout> {
        &self.layout
    }

    /// All trainable values, padding included: `[layout.flat_len()]`.
    pub fn flat(&self) -> &Tensor {
        &self.flat
    }

    /// As [`flat`](Self::flat), to write in place. Values in bf16 are dropped, as they would not follow.
    pub fn flat_mut(&mut self) -> &mut Tensor {
        self.halves = None;
        &mut self.flat
    }

    /// All trainable values, and the same in bf16 if they are [kept](Self::for_compute), for an optimiser to write both
    /// in place.
    pub fn flat_and_halves_mut(&mut self) -> (&mut Tensor, Option<&mut Tensor>) {
        (&mut self.flat, self.halves.as_mut())
    }

    /// All buffers, padding included: `[layout.buffer_len()]`.
    pub fn buffers(&self) -> &Tensor {
        &self.buffers
    }

    /// Replaces all buffers. Errors if their count differs.
    pub fn set_buffers(&mut self, buffers: Tensor) -> Result<()> {
        if buffers.shape() != self.buffers.shape() || buffers.dtype() != DType::F32 {
            let got = format!("{}{}", buffers.dtype(), buffers.shape());
            return Err(Error::shape("buffers", format!("f32{}", self.buffers.shape()), got));
        }
        self.buffers = buffers;
        Ok(())
    }

    /// The same buffers with other trainable values, such as a running average. Errors if the count differs.
    pub fn with_flat(&self, flat: Tensor) -> Result<Self> {
        if flat.shape() != self.flat.shape() || flat.dtype() != DType::F32 {
            let got = format!("{}{}", flat.dtype(), flat.shape());
            return Err(Error::shape("weights", format!("f32{}", self.flat.shape()), got));
        }
        Ok(Weights { flat, halves: None, ..self.clone() })
    }

    /// The same trainable values with some buffers replaced, such as running statistics. Errors on what is no buffer,
    /// and on other shapes.
    pub fn with_buffers<'a>(&self, updates: impl IntoIterator<Item = (ParamId, &'a Tensor)>) -> Result<Self> {
        let mut buffers = self.buffers.clone();
        let parts = updates.into_iter().map(|(id, value)| Ok((self.check_buffer(id, value)?, value)));
        ops::flatten(&mut buffers, &parts.collect::<Result<Vec<_>>>()?, false)?;
        Ok(Weights { buffers, ..self.clone() })
    }

    /// Where a buffer stands. Errors unless `value` can be one.
    pub(super) fn check_buffer(&self, id: ParamId, value: &Tensor) -> Result<usize> {
        let entry = self.layout.entry(id)?;
        if entry.trainable {
            return Err(Error::argument("buffer", format!("{} is trained: only buffers can be updated", entry.name)));
        }
        if value.shape() != &entry.shape || value.dtype() != DType::F32 {
            let (expected, got) =
                (format!("f32{} for {}", entry.shape, entry.name), format!("{}{}", value.dtype(), value.shape()));
            return Err(Error::shape("buffer", expected, got));
        }
        Ok(entry.offset)
    }

    /// The buffers of `other`, with the trainable values of `self`. Errors if their count differs.
    pub fn with_buffers_of(&self, other: &Weights) -> Result<Self> {
        let mut weights = self.clone();
        weights.set_buffers(other.buffers.to_device(&self.device())?)?;
        Ok(weights)
    }

    /// A copy on `device`.
    pub fn to_device(&self, device: &Device) -> Result<Self> {
        Ok(Weights {
            layout: self.layout.clone(),
            flat: self.flat.to_device(device)?,
            buffers: self.buffers.to_device(device)?,
            halves: None,
        })
    }

    /// The device that holds the values.
    pub fn device(&self) -> Device {
        self.flat.device()
    }

    /// The values of one parameter: a view.
    pub fn get(&self, id: ParamId) -> Result<Tensor> {
        self.view(self.layout.entry(id)?)
    }

    /// The values of an entry of the layout: a view.
    pub fn view(&self, entry: &Entry) -> Result<Tensor> {
        let all = if entry.trainable { &self.flat } else { &self.buffers };
        all.narrow(entry.offset, entry.shape.elements())?.reshape(&entry.shape)
    }

    /// An entry of the layout in bf16, a view, where such values are [kept](Self::for_compute).
    pub(super) fn half(&self, entry: &Entry) -> Result<Option<Tensor>> {
        match &self.halves {
            Some(halves) if entry.trainable => {
                halves.narrow(entry.offset, entry.shape.elements())?.reshape(&entry.shape).map(Some)
            }
            _ => Ok(None),
        }
    }

    /// A short text that changes when any value does: their CRC-32, in the order of the layout.
    pub fn fingerprint(&self) -> Result<String> {
        let mut crc = flate2::Crc::new();
        for entry in self.layout.entries() {
            let values = self.view(entry)?.to_vec::<f32>()?;
            values.iter().for_each(|value| crc.update(&value.to_le_bytes()));
        }
        Ok(format!("{:08x}", crc.sum()))
    }

    /// Replaces everything: `values[i]` are entry `i`'s, in memory order.
    pub(super) fn from_values(layout: &Arc<Layout>, values: &[Vec<f32>], device: &Device) -> Result<Self> {
        let (mut flat, mut buffers) = (zeros(layout.flat_len())?, zeros(layout.buffer_len())?);
        for (entry, values) in layout.entries().iter().zip(values) {
            let all = if entry.trainable { &mut flat } else { &mut buffers };
            all[entry.offset..entry.offset + values.len()].copy_from_slice(values);
        }
        let (flat_len, buffer_len) = (flat.len(), buffers.len());
        Ok(Weights {
            layout: layout.clone(),
            flat: Tensor::from_slice(&flat, [flat_len], device)?,
            buffers: Tensor::from_slice(&buffers, [buffer_len], device)?,
            halves: None,
        })
    }
}

/// Room for so many values. A network can be asked for that no memory holds.
fn zeros(count: usize) -> Result<Vec<f32>> {
    let mut values = Vec::new();
    values.try_reserve_exact(count).map_err(|_| {
        let gib = count as f64 * 4.0 / f64::from(1 << 30);
        Error::Config(format!(
            "a network of {count} parameters takes {gib:.1} GiB, which cannot be had; make it smaller (model_channels, channel_mult, hidden)"
        ))
    })?;
    values.resize(count, 0.0);
    Ok(values)
}

fn fill(init: &Init, key: RandomKey, values: &mut [f32]) -> Result<()> {
    let count = values.len().max(1);
    match init {
        Init::Constant(value) => values.fill(*value),
        Init::Fixed(fixed) => values.copy_from_slice(fixed),
        Init::Normal(deviation) => {
            random::fill(random::Normal, &key.stream()?, Samples::From(0), count, values)?;
            values.iter_mut().for_each(|value| *value *= deviation);
        }
        Init::Direction => {
            random::fill(random::Normal, &key.stream()?, Samples::From(0), count, values)?;
            let norm = row_norms(values, 1).first().map_or(1.0, |norm| norm.max(f32::MIN_POSITIVE));
            values.iter_mut().for_each(|value| *value /= norm);
        }
        // Filled by whoever has the other parameter's values.
        Init::RowNorms(_) => {}
        Init::Uniform(bound) => uniform(*bound, key, values)?,
        Init::Xavier { fan_in, fan_out, gain } => {
            uniform(gain * (6.0 / (fan_in + fan_out) as f32).sqrt(), key, values)?;
        }
    }
    Ok(())
}

/// The Euclidean norm of each of `rows` rows.
fn row_norms(values: &[f32], rows: usize) -> Vec<f32> {
    let width = values.len() / rows.max(1);
    let norm = |row: usize| values[row * width..][..width].iter().map(|&x| f64::from(x).powi(2)).sum::<f64>().sqrt();
    (0..rows).map(|row| norm(row) as f32).collect()
}

fn uniform(bound: f32, key: RandomKey, values: &mut [f32]) -> Result<()> {
    random::fill(random::Uniform, &key.stream()?, Samples::From(0), values.len().max(1), values)?;
    values.iter_mut().for_each(|value| *value = bound * (2.0 * *value - 1.0));
    Ok(())
}
