//! The sections of the settings, and what they become.

use serde::{Deserialize, Serialize};

use super::RunConfig;
use crate::data::Shuffle;
use crate::diffusion::{AugmentPipe, EdmLoss, Grid, Loss, Sampler};
use crate::error::{Error, Result};
use crate::optim::{Decay, HalfLife, OptimizerConfig, Schedule};
use crate::tensor::DType;

/// What is learned from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Data {
    /// As [`data::open`](crate::data::open) takes it.
    pub path: String,
    /// Whether the network is told the class.
    pub labels: bool,
    /// In which order the samples come.
    pub shuffle: Shuffle,
}

/// What is minimised; each kind uses its own keys.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs)] // the keys of `Loss`
pub struct LossSection {
    pub kind: String,
    pub p_mean: f64,
    pub p_std: f64,
    pub beta_d: f64,
    pub beta_min: f64,
    pub epsilon_t: f64,
    pub sigma_min: f64,
    pub sigma_max: f64,
    pub c_1: f64,
    pub c_2: f64,
    pub m: usize,
}

impl LossSection {
    /// The loss. Errors on an unknown kind and on settings out of range.
    pub fn loss(&self) -> Result<Loss> {
        let loss = match Loss::named(&self.kind)? {
            Loss::Edm(_) => Loss::Edm(EdmLoss { p_mean: self.p_mean, p_std: self.p_std }),
            Loss::Vp { .. } => Loss::Vp { beta_d: self.beta_d, beta_min: self.beta_min, epsilon_t: self.epsilon_t },
            Loss::Ve { .. } => Loss::Ve { sigma_min: self.sigma_min, sigma_max: self.sigma_max },
            Loss::Iddpm { .. } => Loss::Iddpm { c_1: self.c_1, c_2: self.c_2, m: self.m },
        };
        loss.check()?;
        Ok(loss)
    }
}

/// The keys of [`AugmentPipe`]; without a probability there is no augmentation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs)] // the keys of `AugmentPipe`
pub struct Augment {
    pub p: f64,
    pub xflip: f64,
    pub yflip: f64,
    pub scale: f64,
    pub rotate_frac: f64,
    pub aniso: f64,
    pub translate_frac: f64,
}

impl Augment {
    pub(super) fn pipe(&self) -> Result<Option<AugmentPipe>> {
        let Augment { p, xflip, yflip, scale, rotate_frac, aniso, translate_frac } = *self;
        let pipe = AugmentPipe { p, xflip, yflip, scale, rotate_frac, aniso, translate_frac };
        pipe.check()?;
        Ok((p > 0.0 && pipe.labels() > 0).then_some(pipe))
    }
}

/// How weights are changed; each optimiser uses its own keys.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OptimizerSection {
    /// `adam`, `sgd` or `rmsprop`.
    pub name: String,
    /// Learning rate.
    pub lr: f64,
    /// Adam's decay of the first moment.
    pub beta1: f64,
    /// Adam's decay of the second moment.
    pub beta2: f64,
    /// Added to roots of second moments.
    pub eps: f64,
    /// Decoupled for Adam, plain for SGD.
    pub weight_decay: f64,
    /// Of SGD and RMSprop.
    pub momentum: f64,
    /// Images over which the rate rises from 0.
    pub warm_up: u64,
    /// `constant`, `cosine` or `inverse-sqrt`.
    pub schedule: String,
    /// Images of the cosine (0: the run's), or after which the fall begins.
    pub schedule_images: u64,
    /// Longer gradients are shortened to this.
    pub max_norm: f64,
}

impl OptimizerSection {
    /// The optimiser. Errors on an unknown name.
    pub fn config(&self) -> Result<OptimizerConfig> {
        let Self { lr, beta1, beta2, eps, weight_decay, momentum, .. } = *self;
        match self.name.as_str() {
            "adam" => Ok(OptimizerConfig::Adam { lr, beta1, beta2, eps, weight_decay }),
            "sgd" => Ok(OptimizerConfig::Sgd { lr, momentum, nesterov: false, weight_decay }),
            "rmsprop" => Ok(OptimizerConfig::RmsProp { lr, alpha: 0.99, eps, momentum }),
            other => Err(Error::Config(format!("optimizer.name = {other:?}; there are adam, sgd and rmsprop"))),
        }
    }

    /// The schedule of a run over so many images. Errors on an unknown name.
    pub fn schedule(&self, images: u64) -> Result<Schedule> {
        let total = if self.schedule_images == 0 { images } else { self.schedule_images };
        let decay = match self.schedule.as_str() {
            "constant" => Decay::Constant,
            "cosine" => Decay::Cosine { total },
            "inverse-sqrt" => Decay::InverseSqrt { reference: total },
            other => {
                let there = "constant, cosine and inverse-sqrt";
                return Err(Error::Config(format!("optimizer.schedule = {other:?}; there are {there}")));
            }
        };
        Ok(Schedule { warm_up: self.warm_up, decay })
    }
}

/// Running averages of the weights.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Average {
    /// Images after which a weight counts half; 0: no average.
    pub half_life: f64,
    /// Keeps the half-life below this part of the images seen; 0: no such limit. See
    /// [`RunConfig::for_trained_weights`].
    pub ramp: f64,
    /// Widths of power-function averages that are kept besides, for `veridical ema`.
    pub power: Vec<f64>,
    /// Images between two snapshots of these.
    pub snapshot_every: u64,
}

impl Average {
    /// The running average; `None` if there is none.
    pub fn half_life(&self) -> Option<HalfLife> {
        let ramp = (self.ramp > 0.0).then_some(self.ramp);
        (self.half_life > 0.0).then_some(HalfLife { images: self.half_life, ramp })
    }
}

/// The run itself.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrainSection {
    /// Of everything random.
    pub seed: u64,
    /// `cpu`, `cuda`, `cuda:N`, `emulator` or `best`.
    pub device: String,
    /// Images a step.
    pub batch: usize,
    /// Images that are in memory at once; 0: the batch.
    pub micro_batch: usize,
    /// Images of the whole run.
    pub images: u64,
    /// A model file whose weights the run starts from; empty: from random ones.
    pub init: String,
    /// `f32` or `bf16`.
    pub compute: String,
    /// Whether blocks of U-Nets are computed again in the backward pass instead of being kept.
    pub checkpoint_activations: bool,
    /// Steps between lines of the log.
    pub log_every: u64,
    /// Steps between pictures of samples; 0: only at the end.
    pub sample_every: u64,
    /// Steps between checkpoints; 0: only at the end.
    pub checkpoint_every: u64,
    /// Checkpoints that are kept.
    pub keep_last: usize,
    /// Checkpoints of every so many steps are kept as well; 0: none.
    pub keep_every: u64,
}

impl TrainSection {
    /// What is computed in. Errors on other dtypes.
    pub fn compute(&self) -> Result<DType> {
        match self.compute.as_str() {
            "f32" => Ok(DType::F32),
            "bf16" => Ok(DType::BF16),
            other => Err(Error::Config(format!("train.compute = {other:?}; there are f32 and bf16"))),
        }
    }

    /// Images that are in memory at once.
    pub fn part(&self) -> usize {
        if self.micro_batch == 0 { self.batch } else { self.micro_batch.min(self.batch) }
    }

    /// Images of the smallest part of a batch.
    pub fn smallest_part(&self) -> usize {
        match self.batch % self.part().max(1) {
            0 => self.part(),
            rest => rest,
        }
    }

    /// Steps of the whole run.
    pub fn steps(&self) -> u64 {
        self.images.div_ceil(self.batch.max(1) as u64)
    }
}

/// The samples that are drawn while it trains.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sampling {
    /// Steps of Heun's method.
    pub steps: usize,
    /// The noise level before the last step.
    pub sigma_min: f64,
    /// The noise level at the start.
    pub sigma_max: f64,
    /// How closely the levels lie near the end.
    pub rho: f64,
    /// Columns of the picture.
    pub columns: usize,
    /// Rows of the picture; with classes, a row for each, up to this many.
    pub rows: usize,
    /// Of the noise that samples start from: the same through the run, so that pictures compare.
    pub seed: u64,
    /// Samples that are compared with test images whenever a picture is drawn; 0: none.
    pub measured: usize,
}

impl Sampling {
    /// The sampler.
    pub fn sampler(&self) -> Sampler {
        let Sampling { steps, sigma_min, sigma_max, rho, .. } = *self;
        Sampler { grid: Grid::Karras { rho }, steps, sigma_min, sigma_max, ..Sampler::default() }
    }
}

/// Errors with the first number that is out of its range.
pub(super) fn check_ranges(config: &RunConfig) -> Result<()> {
    let RunConfig { optimizer, average, train, sampling, .. } = config;
    for (name, value, least, most) in [
        ("train.seed", train.seed, 0, i64::MAX as u64),
        ("train.batch", train.batch as u64, 1, 1 << 20),
        ("train.micro_batch", train.micro_batch as u64, 0, 1 << 20),
        ("train.images", train.images, 1, 1 << 50),
        ("train.log_every", train.log_every, 1, 1 << 40),
        ("train.keep_last", train.keep_last as u64, 1, 1 << 20),
        ("sampling.steps", sampling.steps as u64, 1, 10_000),
        ("sampling.columns", sampling.columns as u64, 1, 64),
        ("sampling.rows", sampling.rows as u64, 1, 64),
        ("sampling.seed", sampling.seed, 0, i64::MAX as u64),
        ("sampling.measured", sampling.measured as u64, 0, 1 << 16),
    ] {
        if !(least..=most).contains(&value) {
            return Err(Error::Config(format!("{name} = {value}, expected {least} to {most}")));
        }
    }
    if sampling.measured == 1 {
        return Err(Error::Config(
            "sampling.measured = 1, expected 0 or at least 2: a distance needs two samples".into(),
        ));
    }
    for (name, value, sound) in [
        ("optimizer.lr", optimizer.lr, optimizer.lr > 0.0 && optimizer.lr.is_finite()),
        ("optimizer.max_norm", optimizer.max_norm, optimizer.max_norm > 0.0),
        ("optimizer.beta1", optimizer.beta1, (0.0..1.0).contains(&optimizer.beta1)),
        ("optimizer.beta2", optimizer.beta2, (0.0..1.0).contains(&optimizer.beta2)),
        // In f32, as the optimiser has it.
        ("optimizer.eps", optimizer.eps, optimizer.eps as f32 > 0.0 && (optimizer.eps as f32).is_finite()),
        ("optimizer.weight_decay", optimizer.weight_decay, (0.0..=1e30).contains(&optimizer.weight_decay)),
        ("optimizer.momentum", optimizer.momentum, (0.0..1.0).contains(&optimizer.momentum)),
        ("average.half_life", average.half_life, average.half_life >= 0.0),
        ("average.ramp", average.ramp, average.ramp >= 0.0),
        ("sampling.rho", sampling.rho, sampling.rho > 0.0),
        ("sampling.sigma_min", sampling.sigma_min, sampling.sigma_min > 0.0),
        ("sampling.sigma_max", sampling.sigma_max, sampling.sigma_max > 0.0 && sampling.sigma_max.is_finite()),
    ] {
        if !sound || value.is_nan() {
            return Err(Error::Config(format!("{name} = {value} is out of range")));
        }
    }
    let Sampling { sigma_min, sigma_max, .. } = *sampling;
    if sigma_min > sigma_max {
        let what = format!("sampling.sigma_min = {sigma_min:?} lies above sampling.sigma_max = {sigma_max:?}");
        return Err(Error::Config(what));
    }
    for &width in &average.power {
        crate::optim::PowerFunction::new(width).map_err(|_| {
            Error::Config(format!("average.power names the width {width}; widths lie between 0 and 0.3"))
        })?;
        if average.power.iter().filter(|other| **other == width).count() > 1 {
            return Err(Error::Config(format!("average.power names the width {width} twice")));
        }
        // Files are named with three digits.
        if (width * 1000.0 - (width * 1000.0).round()).abs() > 1e-9 {
            return Err(Error::Config(format!("average.power names the width {width}; give at most three digits")));
        }
    }
    Ok(())
}
