//! The sections of the settings, and what they become.

use super::RunConfig;
use crate::data::{AxisOrder, ReadOptions, Shuffle, Standardise};
use crate::diffusion::{AugmentPipe, EdmLoss, Grid, Loss, LossKind, Sampler};
use crate::error::{Error, Result};
use crate::optim::{Decay, HalfLife, OptimizerConfig, Schedule};
use crate::settings::{Above, AtLeast, MAX_SEED, OrInfinite, OrZero};
use crate::tensor::DType;

crate::settings! {
    /// What is learned from.
    pub struct Data {
        /// A folder or file (IDX, CIFAR, pictures, .npz), `digits`, or `synthetic:NAME`.
        path: String = "digits".into();
        /// What the axes of arrays are.
        layout: AxisOrder = AxisOrder::Auto;
        /// What becomes of numbers that are no bytes.
        standardise: Standardise = Standardise::Auto;
        /// The column of a table that holds the class, by its name or counted from 1; empty: one called class, label or
        /// target, if there is one; none: none.
        class_column: String = String::new();
        /// Height and width that pictures are resized to, as in 64 or 24x32; empty: they keep theirs.
        size: String = String::new();
        /// Which piece of a picture is taken: center or random (the largest of the shape of size), none (all of it,
        /// stretched), or a size, of which the pixels in the middle are taken as they are.
        crop: String = "center".into();
        /// Whether the alpha of pictures is kept, as one channel more.
        alpha: bool = false;
        /// GiB that a set may take in memory; a larger one stays in its files and is read as it is needed, with a cache
        /// of so much.
        in_memory: f64 = 2.0, in AtLeast(0.0);
        /// Whether pictures are mirrored left to right at every other sight, of which the network is not told: samples
        /// are mirrored as often.
        flip: bool = false;
        /// Whether the network is told the class.
        labels: bool = true;
        /// In which order the samples come.
        shuffle: Shuffle = Shuffle::Window;
    }
}

impl Data {
    /// How the data are read. Errors on what is no size.
    pub fn options(&self) -> Result<ReadOptions> {
        let class_column = Some(self.class_column.clone()).filter(|name| !name.is_empty());
        let (standardise, layout, alpha) = (self.standardise, self.layout, self.alpha);
        Ok(ReadOptions {
            standardise,
            layout,
            class_column,
            alpha,
            in_memory: Some((self.in_memory * (1u64 << 30) as f64) as u64),
            #[cfg(feature = "formats")]
            sizing: crate::data::resize::Sizing {
                size: Some(&self.size).filter(|size| !size.is_empty()).map(|size| size.parse()).transpose()?,
                crop: self.crop.parse()?,
            },
            ..ReadOptions::default()
        })
    }
}

crate::settings! {
    /// What is minimised.
    pub struct LossSection {
        /// The loss; each uses its own keys.
        kind: LossKind = LossKind::Edm;
        /// edm: mean of ln sigma.
        p_mean: f64 = -1.2;
        /// edm: standard deviation of ln sigma.
        p_std: f64 = 1.2;
        /// vp: growth of the noise rate.
        beta_d: f64 = 19.9;
        /// vp: noise rate at time 0.
        beta_min: f64 = 0.1;
        /// vp: least time.
        epsilon_t: f64 = 1e-5;
        /// ve: least noise level.
        sigma_min: f64 = 0.02;
        /// ve: largest noise level.
        sigma_max: f64 = 100.0;
        /// iddpm: least ratio of neighbouring levels' signal.
        c_1: f64 = 0.001;
        /// iddpm: offset of the cosine.
        c_2: f64 = 0.008;
        /// iddpm: number of levels.
        m: usize = 1000;
    }
}

impl LossSection {
    /// The loss. Errors on settings out of range.
    pub fn loss(&self) -> Result<Loss> {
        let loss = match self.kind {
            LossKind::Edm => Loss::Edm(EdmLoss { p_mean: self.p_mean, p_std: self.p_std }),
            LossKind::Vp => Loss::Vp { beta_d: self.beta_d, beta_min: self.beta_min, epsilon_t: self.epsilon_t },
            LossKind::Ve => Loss::Ve { sigma_min: self.sigma_min, sigma_max: self.sigma_max },
            LossKind::Iddpm => Loss::Iddpm { c_1: self.c_1, c_2: self.c_2, m: self.m },
        };
        loss.check()?;
        Ok(loss)
    }
}

crate::settings! {
    /// What is done to images before the network sees them; it is told, so samples show nothing of it.
    pub struct Augment {
        /// Probability of each operation; 0: none, not even flips. EDM: 0.12 for 32x32, 0.15 for 64x64.
        p: f64 = 0.0;
        /// Multiplies p for mirroring left to right (besides a fair coin).
        xflip: f64 = 1e8;
        /// Multiplies p for mirroring top to bottom (besides a fair coin).
        yflip: f64 = 1.0;
        /// Multiplies p for scaling.
        scale: f64 = 1.0;
        /// Multiplies p for rotation.
        rotate_frac: f64 = 1.0;
        /// Multiplies p for stretching.
        aniso: f64 = 1.0;
        /// Multiplies p for shifts.
        translate_frac: f64 = 1.0;
    }
}

impl Augment {
    pub(super) fn pipe(&self) -> Result<Option<AugmentPipe>> {
        let Augment { p, xflip, yflip, scale, rotate_frac, aniso, translate_frac } = *self;
        let pipe = AugmentPipe { p, xflip, yflip, scale, rotate_frac, aniso, translate_frac };
        pipe.check()?;
        Ok((p > 0.0 && pipe.labels() > 0).then_some(pipe))
    }
}

crate::choice! {
    /// An optimiser.
    pub enum OptimizerKind {
        /// Adam, or AdamW with a weight decay.
        Adam = "adam",
        /// Gradient descent with momentum.
        Sgd = "sgd",
        /// RMSprop with momentum.
        RmsProp = "rmsprop",
    }
}

crate::choice! {
    /// What follows the warm-up of the learning rate.
    pub enum ScheduleKind {
        /// The rate stays.
        Constant = "constant",
        /// Down to 0, by half a cosine.
        Cosine = "cosine",
        /// EDM2's fall.
        InverseSqrt = "inverse-sqrt",
    }
}

crate::settings! {
    /// How weights are changed.
    pub struct OptimizerSection {
        /// The optimiser; each uses its own keys.
        name: OptimizerKind = OptimizerKind::Adam;
        /// Learning rate.
        lr: f64 = 1e-3, in Above(0.0);
        /// adam: decay of the first moment.
        beta1: f64 = 0.9, in 0.0..1.0;
        /// adam: decay of the second moment.
        beta2: f64 = 0.999, in 0.0..1.0;
        /// Added to roots of second moments.
        eps: f64 = 1e-8, in Above(0.0);
        /// Decoupled for adam, plain for sgd.
        weight_decay: f64 = 0.0, in 0.0..=1e30;
        /// sgd and rmsprop: momentum.
        momentum: f64 = 0.0, in 0.0..1.0;
        /// Images over which the rate rises from 0.
        warm_up: u64 = 10_000_000;
        /// What follows.
        schedule: ScheduleKind = ScheduleKind::Constant;
        /// Images of the cosine, or after which the fall begins; 0: those of the run.
        schedule_images: u64 = 0;
        /// Longer gradients are shortened to this; inf: none are.
        max_norm: f64 = f64::INFINITY, in OrInfinite(Above(0.0));
    }
}

impl OptimizerSection {
    /// The optimiser.
    pub fn config(&self) -> OptimizerConfig {
        let Self { lr, beta1, beta2, eps, weight_decay, momentum, .. } = *self;
        match self.name {
            OptimizerKind::Adam => OptimizerConfig::Adam { lr, beta1, beta2, eps, weight_decay },
            OptimizerKind::Sgd => OptimizerConfig::Sgd { lr, momentum, nesterov: false, weight_decay },
            OptimizerKind::RmsProp => OptimizerConfig::RmsProp { lr, alpha: 0.99, eps, momentum },
        }
    }

    /// The schedule of a run over so many images.
    pub fn schedule(&self, images: u64) -> Schedule {
        let total = if self.schedule_images == 0 { images } else { self.schedule_images };
        let decay = match self.schedule {
            ScheduleKind::Constant => Decay::Constant,
            ScheduleKind::Cosine => Decay::Cosine { total },
            ScheduleKind::InverseSqrt => Decay::InverseSqrt { reference: total },
        };
        Schedule { warm_up: self.warm_up, decay }
    }
}

crate::settings! {
    /// Running averages of the weights, in images.
    pub struct Average {
        /// Images after which a weight counts half; 0: no average.
        half_life: f64 = 500_000.0, in OrInfinite(AtLeast(0.0));
        /// Keeps the half-life below this part of the images seen; 0: no limit, as from trained weights.
        ramp: f64 = 0.05, in OrInfinite(AtLeast(0.0));
        /// Widths of power-function averages that are kept besides, for `veridical ema`; EDM2: \[0.05, 0.1\].
        power: Vec<f64> = Vec::new();
        /// Images between two snapshots of these; 0: none.
        snapshot_every: u64 = 0;
        /// Snapshots that are kept, the newest ones: averages then cannot begin before the first of them; 0: all.
        keep_snapshots: u64 = 0, in 0..=1 << 40;
    }
}

impl Average {
    /// The running average; `None` if there is none.
    pub fn half_life(&self) -> Option<HalfLife> {
        let ramp = (self.ramp > 0.0).then_some(self.ramp);
        (self.half_life > 0.0).then_some(HalfLife { images: self.half_life, ramp })
    }
}

crate::choice! {
    /// What is computed in. Weights and sums are f32 either way.
    pub enum Compute {
        /// Everything in single precision.
        F32 = "f32",
        /// Products of bfloat16.
        Bf16 = "bf16",
    }
}

impl Compute {
    /// The dtype.
    pub fn dtype(self) -> DType {
        match self {
            Compute::F32 => DType::F32,
            Compute::Bf16 => DType::BF16,
        }
    }
}

crate::settings! {
    /// The run itself.
    pub struct TrainSection {
        /// The seed of everything random.
        seed: u64 = 0, in 0..=MAX_SEED;
        /// Where to compute: cpu, cuda, cuda:N, emulator, or best (CUDA if there is a GPU, else CPU).
        device: String = "best".into();
        /// Images a step.
        batch: usize = 512, in 1..=1 << 20;
        /// Images that are in memory at once; 0: the batch.
        micro_batch: usize = 0, in 0..=1 << 20;
        /// Slots that a batch is cut into, whose gradients are added in a fixed order: as many processes at most can
        /// share the work, and any number of them gives the same bits.
        slots: usize = 1, in 1..=1 << 16;
        /// Whether each of several processes keeps only its share of the optimiser's state and of the averages, to the
        /// same bits: less memory, half as much again to exchange.
        shard_state: bool = false;
        /// Images of the whole run, each time one is seen.
        images: u64 = 200_000_000, in 1..=1 << 50;
        /// A model file to start from, of the same architecture; empty: random weights.
        init: String = String::new();
        /// What is computed in; weights and sums are f32 either way.
        compute: Compute = Compute::F32;
        /// Computes blocks of U-Nets again in the backward pass: less memory, more time, the same up to rounding.
        checkpoint_activations: bool = false;
        /// Steps between lines of log.jsonl.
        log_every: u64 = 50, in 1..=1 << 40;
        /// Steps between pictures of samples; 0: only at the end.
        sample_every: u64 = 1000;
        /// Steps between checkpoints; 0: only at the end.
        checkpoint_every: u64 = 1000;
        /// Checkpoints that are kept.
        keep_last: usize = 2, in 1..=1 << 20;
        /// Checkpoints of every so many steps are kept as well; 0: none.
        keep_every: u64 = 0;
    }
}

impl TrainSection {
    /// Images that are in memory at once.
    pub fn part(&self) -> usize {
        if self.micro_batch == 0 { self.batch } else { self.micro_batch.min(self.batch) }
    }

    /// Images of the smallest part of a batch: what is left of one of its slots.
    pub fn smallest_part(&self) -> usize {
        let (slots, part) = (self.slots.clamp(1, self.batch.max(1)), self.part().max(1));
        let sizes = [self.batch / slots, self.batch.div_ceil(slots)];
        let smallest = |size: usize| match size % part {
            0 => part.min(size),
            rest => rest,
        };
        sizes.map(smallest).into_iter().min().unwrap_or(part)
    }

    /// Steps of the whole run.
    pub fn steps(&self) -> u64 {
        self.images.div_ceil(self.batch.max(1) as u64)
    }
}

crate::settings! {
    /// The samples that are drawn while it trains, by Heun's method.
    pub struct Sampling {
        /// Steps; the network runs twice in each.
        steps: usize = 18, in 1..=10_000;
        /// The noise level before the last step.
        sigma_min: f64 = 0.002, in Above(0.0);
        /// The noise level at the start.
        sigma_max: f64 = 80.0, in Above(0.0);
        /// How closely the levels lie near the end.
        rho: f64 = 7.0, in OrInfinite(Above(0.0));
        /// Columns of the picture.
        columns: usize = 10, in 1..=64;
        /// Rows of the picture; with classes a row for each, up to this many.
        rows: usize = 10, in 1..=64;
        /// The seed of the noise that samples start from: the same through the run, so that pictures compare.
        seed: u64 = 0, in 0..=MAX_SEED;
        /// Samples that are compared with test images (else training images) at every picture.
        measured: usize = 500, in OrZero(2..=1 << 16);
    }
}

impl Sampling {
    /// The sampler.
    pub fn sampler(&self) -> Sampler {
        let Sampling { steps, sigma_min, sigma_max, rho, .. } = *self;
        Sampler { grid: Grid::Karras { rho }, steps, sigma_min, sigma_max, ..Sampler::default() }
    }
}

/// Errors with the settings that do not go together.
pub(super) fn check(config: &RunConfig) -> Result<()> {
    let RunConfig { optimizer, average, sampling, .. } = config;
    // In f32, as the optimiser has it.
    let eps = optimizer.eps as f32;
    if eps == 0.0 || !eps.is_finite() {
        return Err(Error::Config(format!("optimizer.eps = {:?} is {eps} in f32", optimizer.eps)));
    }
    let TrainSection { slots, batch, .. } = config.train;
    if slots > batch {
        return Err(Error::Config(format!(
            "train.slots = {slots} of a batch of train.batch = {batch}: a slot holds an image at least"
        )));
    }
    let Sampling { sigma_min, sigma_max, .. } = *sampling;
    if sigma_min > sigma_max {
        let what = format!("sampling.sigma_min = {sigma_min:?} lies above sampling.sigma_max = {sigma_max:?}");
        return Err(Error::Config(what));
    }
    if average.keep_snapshots != 0 && average.snapshot_every == 0 {
        let what = "keeps the newest snapshots, and average.snapshot_every = 0 makes none; set that, too";
        return Err(Error::Config(format!("average.keep_snapshots = {} {what}", average.keep_snapshots)));
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
