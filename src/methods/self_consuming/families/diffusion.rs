//! This crate's diffusion model, on points and on handwritten digits.

use super::super::{Draw, Family, Part};
use crate::data::synthetic::Density;
use crate::data::{Digits, digits};
use crate::diffusion::{EdmLoss, Loss, Model, ModelConfig, Sampler};
use crate::error::{Error, Result};
use crate::evaluate::{ClassifierTraining, ImageClassifier};
use crate::metrics;
use crate::nn::Conditions;
use crate::nn::{MlpConfig, SongConfig};
use crate::optim::{Decay, HalfLife, Schedule as Rates};
use crate::random::Alias;
use crate::tensor::{Device, Tensor};
use crate::train::{TrainOptions, Trainer};

/// How each round's network is trained, from new first weights.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct DiffusionTraining {
    /// Steps.
    pub steps: u64,
    /// Samples a step.
    pub batch: usize,
    /// Adam's learning rate; falls along half a cosine after a short rise.
    pub learning_rate: f64,
}

impl DiffusionTraining {
    /// Errors on numbers that make no training.
    fn check(&self) -> Result<()> {
        let DiffusionTraining { steps, batch, learning_rate } = *self;
        if !(1..=1 << 32).contains(&steps) || !(1..=1 << 20).contains(&batch) {
            return Err(Error::Config(format!(
                "a fit of {steps} steps of {batch} samples; there are 1 to 2^32 steps of 1 to 2^20"
            )));
        }
        match learning_rate > 0.0 && learning_rate.is_finite() {
            true => Ok(()),
            false => Err(Error::Config(format!("a learning rate of {learning_rate}; it must be above 0"))),
        }
    }
}

impl Default for DiffusionTraining {
    /// 600 steps of 64 at 3e-3.
    fn default() -> Self {
        DiffusionTraining { steps: 600, batch: 64, learning_rate: 3e-3 }
    }
}

/// What is to be learnt, and how it is measured.
#[derive(Debug)]
enum Truth {
    Points {
        density: Density,
        held_out: Vec<f32>,
    },
    /// Digits without their classes; the judge, which has seen real ones only, reads what is generated.
    Digits {
        data: Box<Digits>,
        judge: Box<ImageClassifier>,
    },
}

/// Points or 8x8 digits as samples, and a score network with EDM's preconditioning, loss and sampler as model.
#[derive(Debug)]
pub struct Diffusion {
    truth: Truth,
    config: ModelConfig,
    training: DiffusionTraining,
    sampler: Sampler,
    device: Device,
    /// Makes the samples that are measured: the same in every round.
    seed: u64,
}

/// Samples that each round's model is measured on.
const MEASURED: usize = 500;
/// Directions of the sliced Wasserstein distance.
const DIRECTIONS: usize = 256;

impl Diffusion {
    /// Points of a density, by a perceptron. Errors where the density does.
    pub fn points(density: Density, training: DiffusionTraining, seed: u64, device: &Device) -> Result<Self> {
        let held_out = narrow(&density.sample(Draw::truth(seed).own_seed()?, 0, 4 * MEASURED)?);
        let config = ModelConfig::edm(MlpConfig::new(density.dims()), 0.5);
        Self::new(Truth::Points { density, held_out }, config, training, seed, device)
    }

    /// The handwritten digits in the binary, by a small U-Net that is not told their classes.
    pub fn digits(training: DiffusionTraining, seed: u64, device: &Device) -> Result<Self> {
        training.check()?; // before the judge is trained
        let data = digits::load()?;
        let judging = ClassifierTraining { seed, ..ClassifierTraining::default() };
        let judge = ImageClassifier::train(&data.train, &judging, &Device::Cpu)?;
        let network = SongConfig {
            model_channels: 32,
            channel_mult: vec![1, 1],
            num_blocks: 1,
            attn_resolutions: vec![4],
            dropout: 0.05,
            ..SongConfig::new(8, 1)
        };
        let config = ModelConfig::edm(network, 0.75);
        Self::new(Truth::Digits { data: Box::new(data), judge: Box::new(judge) }, config, training, seed, device)
    }

    fn new(truth: Truth, config: ModelConfig, training: DiffusionTraining, seed: u64, device: &Device) -> Result<Self> {
        training.check()?;
        Ok(Diffusion { truth, config, training, sampler: Sampler::default(), device: device.clone(), seed })
    }

    /// The same truth, learned by another model: any network, of one's own too. Errors unless it takes such samples and
    /// no classes.
    pub fn with_architecture(self, config: ModelConfig) -> Result<Self> {
        let (expected, network) = (self.config.network.sample_shape(), &config.network);
        if network.sample_shape() != expected || network.label_dim() != 0 || network.augment_dim() != 0 {
            let (kind, shape) = (network.model_type(), network.sample_shape());
            let what = format!("{kind} takes samples of shape {shape:?}; expected {expected:?}, and no labels");
            return Err(Error::Config(what));
        }
        Ok(Diffusion { config, ..self })
    }

    /// Numbers of a sample.
    fn values(&self) -> usize {
        match &self.truth {
            Truth::Points { density, .. } => density.dims(),
            Truth::Digits { data, .. } => data.train.values(),
        }
    }

    fn generate(&self, model: &Model, seed: u64, n: usize) -> Result<Vec<f32>> {
        self.sampler.sample(model, seed, 0, n)?.to_vec()
    }

    /// Pictures of the samples that a round's model is measured on, for whoever wants to see them.
    pub fn measured_samples(&self, model: &Model) -> Result<Vec<f32>> {
        self.generate(model, self.seed, MEASURED)
    }
}

fn narrow(values: &[f64]) -> Vec<f32> {
    values.iter().map(|&x| x as f32).collect()
}

/// The share of each class, as the judge reads them.
fn shares(labels: impl Iterator<Item = usize>, classes: usize) -> Vec<f64> {
    let mut counts = vec![0.0; classes];
    labels.for_each(|label| counts[label] += 1.0);
    let total: f64 = counts.iter().sum();
    counts.iter().map(|count| count / total).collect()
}

impl Family for Diffusion {
    /// Samples, one after the other.
    type Data = Vec<f32>;
    type Model = Model;

    fn measures(&self) -> Vec<String> {
        match &self.truth {
            Truth::Points { .. } => {
                vec!["sliced Wasserstein distance to real points".into(), "variance of a coordinate".into()]
            }
            Truth::Digits { .. } => vec![
                "sliced Wasserstein distance to held-out digits".into(),
                "KID on pixels to held-out digits".into(),
                "class imbalance: total variation distance of the classes' shares".into(),
                "variance of a pixel".into(),
            ],
        }
    }

    fn real(&self, n: u64, draw: &Draw) -> Result<Vec<f32>> {
        match &self.truth {
            Truth::Points { density, .. } => Ok(narrow(&density.sample(draw.own_seed()?, 0, n as usize)?)),
            Truth::Digits { data, .. } => {
                let mut sequence = draw.sequence()?;
                let picks: Vec<u32> = (0..n).map(|_| sequence.below(data.train.len() as u64) as u32).collect();
                Ok(data.train.gather(&picks)?.0)
            }
        }
    }

    fn synthetic(&self, model: &Model, n: u64, draw: &Draw) -> Result<Vec<f32>> {
        if n > u64::from(u32::MAX) {
            return Err(Error::Config(format!("{n} generated samples; at most 2^32 have numbers of their own")));
        }
        self.generate(model, draw.own_seed()?, n as usize)
    }

    fn merge(&self, into: &mut Vec<f32>, more: Vec<f32>) {
        into.extend(more);
    }

    fn fit(&self, parts: &[Part<Vec<f32>>], _: Option<&Model>, draw: &Draw) -> Result<Model> {
        let DiffusionTraining { steps, batch, learning_rate } = self.training;
        let mut sequence = draw.sequence()?;
        let seed = sequence.word64() >> 1;
        let mut model = Model::new(&self.config, seed, &self.device)?;
        let total = steps * batch as u64;
        let options = TrainOptions {
            schedule: Rates { warm_up: total / 20, decay: Decay::Cosine { total } },
            max_norm: 10.0,
            average: Some(HalfLife { images: total as f64 / 10.0, ramp: Some(0.1) }),
            ..TrainOptions::adam(learning_rate, seed)
        };
        let values = self.values();
        let weights: Vec<f64> = parts.iter().map(|part| part.weight * part.data.len() as f64).collect();
        let by_weight = Alias::new(&weights)?;
        let loss = match &self.truth {
            Truth::Points { .. } => Loss::default(),
            Truth::Digits { .. } => Loss::Edm(EdmLoss { p_mean: -0.8, p_std: 1.2 }),
        };
        let mut trainer = Trainer::new(model.weights.clone(), options)?;
        for _ in 0..steps {
            let mut rows: Vec<f32> = Vec::with_capacity(batch * values);
            for _ in 0..batch {
                let part = parts[by_weight.draw(&mut sequence)].data;
                let at = sequence.below((part.len() / values) as u64) as usize * values;
                rows.extend(&part[at..at + values]);
            }
            let shape = [&[batch][..], &model.denoiser().sample_shape()].concat();
            let clean = Tensor::from_slice(&rows, shape, &self.device)?;
            trainer.step(batch, |cx| loss.forward(cx, model.denoiser(), &clean, Conditions::default()))?;
        }
        model.weights = trainer.average()?;
        Ok(model)
    }

    fn measure(&self, model: &Model) -> Result<Vec<f64>> {
        let generated = self.measured_samples(model)?;
        let dims = self.values();
        let mean = generated.iter().map(|&x| f64::from(x)).sum::<f64>() / generated.len() as f64;
        let variance = generated.iter().map(|&x| (f64::from(x) - mean).powi(2)).sum::<f64>() / generated.len() as f64;
        let distance = |real: &[f32]| metrics::sliced_wasserstein(&generated, real, dims, DIRECTIONS, 2.0, 0);
        Ok(match &self.truth {
            Truth::Points { held_out, .. } => vec![distance(held_out)?, variance],
            Truth::Digits { data, judge } => {
                let real = data.held_out.pixels()?;
                let classes = judge.classes();
                let logits = judge.logits(&generated)?;
                let read = logits
                    .chunks(classes)
                    .map(|row| (0..classes).fold(0, |best, k| if row[k] > row[best] { k } else { best }));
                let (found, expected) =
                    (shares(read, classes), shares(data.train.labels().iter().map(|&label| label as usize), classes));
                let imbalance = 0.5 * found.iter().zip(&expected).map(|(a, b)| (a - b).abs()).sum::<f64>();
                vec![distance(&real)?, metrics::kid(&generated, &real, dims)?, imbalance, variance]
            }
        })
    }

    fn bytes(&self, n: u64) -> u128 {
        8 * u128::from(n) * self.values() as u128
    }
}
