//! A classifier of images, trained in seconds: the judge of what a generative model makes.

use super::trainer::{TrainOptions, Trainer};
use crate::data::{Batches, Images};
use crate::error::{Error, Result};
use crate::nn::{Classifier, ClassifierConfig, Context, Layout, Module, Weights};
use crate::ops;
use crate::optim::{Decay, OptimizerConfig, Schedule};
use crate::tensor::{DType, Device, Tensor};

/// How [`ImageClassifier::train`] trains.
#[derive(Debug, Clone, PartialEq)]
pub struct ClassifierTraining {
    /// Channels of the convolutions; between two the resolution is halved.
    pub channels: Vec<usize>,
    /// Probability of dropout before the last layer.
    pub dropout: f64,
    /// Passes over the data.
    pub epochs: u64,
    /// Images a step.
    pub batch: usize,
    /// Of AdamW; falls along half a cosine.
    pub learning_rate: f64,
    /// Of AdamW.
    pub weight_decay: f64,
    /// Of first weights, order and dropout.
    pub seed: u64,
}

impl Default for ClassifierTraining {
    /// For some thousand small pictures.
    fn default() -> Self {
        ClassifierTraining {
            channels: vec![32, 64],
            dropout: 0.2,
            epochs: 12,
            batch: 50,
            learning_rate: 4e-3,
            weight_decay: 0.02,
            seed: 0,
        }
    }
}

/// A small convolutional network with its weights.
#[derive(Debug, Clone)]
pub struct ImageClassifier {
    network: Classifier,
    weights: Weights,
    size: [usize; 3],
}

impl ImageClassifier {
    /// Trains a classifier on `images`. `go_on` is asked before each step; once it says no the result is `None`.
    ///
    /// Errors on settings that make no network, and if the loss is not finite.
    pub fn train(
        images: &Images,
        training: &ClassifierTraining,
        device: &Device,
        mut go_on: impl FnMut() -> bool,
    ) -> Result<Option<Self>> {
        let size = images.size();
        let config = ClassifierConfig {
            img_channels: size[2],
            classes: images.classes(),
            channels: training.channels.clone(),
            dropout: training.dropout,
        };
        let mut layout = Layout::new();
        let network = Classifier::new(&mut layout.scope("classifier"), &config)?;
        let weights = Weights::init(&layout.into(), training.seed, device)?;
        let total = images.len() as u64 * training.epochs;
        let options = TrainOptions {
            optimizer: OptimizerConfig::Adam {
                lr: training.learning_rate,
                beta1: 0.9,
                beta2: 0.999,
                eps: 1e-8,
                weight_decay: training.weight_decay,
            },
            schedule: Schedule { warm_up: total / 20, decay: Decay::Cosine { total } },
            ..TrainOptions::adam(training.learning_rate, training.seed)
        };
        let mut trainer = Trainer::new(weights, options)?;
        let mut batches = Batches::new(images.len(), training.batch, training.seed)?;
        for step in 0..total.div_ceil(training.batch as u64) {
            if !go_on() {
                return Ok(None);
            }
            let (pixels, labels) = images.gather(&batches.at(step)?)?;
            let (x, labels) = (batch(&pixels, size, device)?, Tensor::from_slice(&labels, [labels.len()], device)?);
            trainer.step(training.batch, |cx, _| {
                ops::cross_entropy(&ops::cast(&network.forward(cx, &x.into())?, DType::F32)?, &labels)
            })?;
        }
        let weights = trainer.average()?;
        Ok(Some(ImageClassifier { network, weights, size }))
    }

    /// Logits `[n, classes]` of pixels `[n, height, width, channels]`. Errors if these are not whole images.
    pub fn logits(&self, pixels: &[f32]) -> Result<Vec<f32>> {
        const BATCH: usize = 256;
        let cx = Context::inference(&self.weights);
        let device = self.weights.device();
        let values: usize = self.size.iter().product();
        if !pixels.len().is_multiple_of(values) {
            let got = format!("{} values", pixels.len());
            return Err(Error::shape("ImageClassifier::logits", format!("images of {:?}", self.size), got));
        }
        let mut logits = Vec::new();
        for pixels in pixels.chunks(BATCH * values) {
            let x = batch(pixels, self.size, &device)?;
            logits.extend(self.network.forward(&cx, &x.into())?.value().to_vec::<f32>()?);
        }
        Ok(logits)
    }
}

fn batch(pixels: &[f32], [h, w, c]: [usize; 3], device: &Device) -> Result<Tensor> {
    Tensor::from_slice(pixels, [pixels.len() / (h * w * c), h, w, c], device)
}
