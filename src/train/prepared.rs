//! A run before it starts.

use std::path::Path;

use super::checkpoint::{self, Checkpoint};
use super::config::{BRANCHES, RunConfig};
use super::task::{Batch, Objective, Source};
use super::trainer::TrainOptions;
use crate::autograd::Var;
use crate::data::DataSet;
use crate::diffusion::{AugmentPipe, Model, flip};
use crate::error::{Error, Result};
use crate::nn::{Conditions, Context, Weights};
use crate::ops;
use crate::tensor::{DType, Device, Tensor};

/// What settings and data make before anything is written: to find out early what is wrong with them.
#[derive(Debug)]
pub struct Prepared<'a> {
    pub(super) config: RunConfig,
    pub(super) data: &'a DataSet,
    pub(super) fingerprint: String,
    pub(super) document: String,
    /// Settings besides the usual ones that may differ from a checkpoint's.
    pub(super) free: &'static [&'static str],
    /// Settings that a run which goes on may change, as a branch.
    pub(super) branches: &'static [&'static str],
    pub(super) model: Model,
    pub(super) objective: Box<dyn Objective + 'a>,
    pub(super) source: Option<Box<dyn Source + 'a>>,
    pub(super) start: Option<Checkpoint>,
    pub(super) pipe: Option<AugmentPipe>,
    pub(super) options: TrainOptions,
    /// Whether the run was rehearsed, and what it is then known to leave out, for a person to read.
    pub(super) rehearsed: bool,
    pub(super) left_out: Vec<String>,
}

impl<'a> Prepared<'a> {
    /// Builds the model and checks everything that can be checked.
    pub fn new(config: &RunConfig, data: &'a DataSet) -> Result<Self> {
        config.check()?;
        let config = config.completed(&data.train)?;
        if config.data.flip && data.train.size()[0] == 1 {
            return Err(Error::Config(
                "data.flip mirrors pictures, and these are points or signals; leave it out".into(),
            ));
        }
        let device = Device::named(&config.train.device)?;
        let mut model = Model::new(&config.model_config(&data.train)?, config.train.seed, &device)?;
        if !config.train.init.is_empty() {
            let path = Path::new(&config.train.init);
            let from = Model::load(path, &device)?;
            checkpoint::same_architecture(path, &from, &model)?;
            from.check_classes(&data.class_names)?;
            from.check_units(data.train.units())?;
            from.check_columns(data.train.columns())?;
            model = from;
        }
        model = model.with_units(data.train.units())?;
        // What has no names keeps those of the model that it goes on from.
        if !data.train.columns().is_empty() {
            model = model.with_columns(data.train.columns())?;
        }
        // Data without labels to learn have no use for names.
        if data.class_names.len() == model.denoiser().label_dim() {
            model = model.with_class_names(&data.class_names)?;
        }
        let options = config.train_options();
        let (objective, pipe) = (Box::new(config.loss.loss()?), config.pipe()?);
        let (fingerprint, document) = (data.train.fingerprint(), config.document()?);
        Ok(Prepared {
            config,
            data,
            fingerprint,
            document,
            free: &[],
            branches: BRANCHES,
            model,
            objective,
            source: None,
            start: None,
            pipe,
            options,
            rehearsed: false,
            left_out: Vec::new(),
        })
    }

    /// Minimises something else than the loss of the settings.
    #[must_use]
    pub fn with_objective(self, objective: impl Objective + 'a) -> Self {
        Prepared { objective: Box::new(objective), ..self }
    }

    /// Trains on samples that change meanwhile. The data that the run was prepared with give their number, and names
    /// and pictures to compare with.
    #[must_use]
    pub fn with_source(self, source: impl Source + 'a) -> Self {
        Prepared { source: Some(Box::new(source)), ..self }
    }

    /// Writes these settings into the run's directory and its checkpoints instead of the training's alone: a method's,
    /// with sections of its own. A checkpoint of other settings is refused, but for those that start as one of `free`
    /// does.
    #[must_use]
    pub fn with_document(self, document: String, free: &'static [&'static str]) -> Self {
        Prepared { document, free, branches: &[], ..self }
    }

    /// Has a run that goes on from a checkpoint of other settings, which start as these do, tell of them as a branch.
    #[must_use]
    pub fn with_branches(self, branches: &'static [&'static str]) -> Self {
        Prepared { branches, ..self }
    }

    /// Starts from these weights, the average too, which goes on [without a ramp](RunConfig::for_trained_weights):
    /// fine-tuning with a fresh optimiser. To be called before [`with_document`](Self::with_document). Errors if their
    /// number differs.
    pub fn from_weights(self, weights: &Weights) -> Result<Self> {
        let weights = weights.to_device(&self.model.weights.device())?;
        let (model, config) = (self.model.with_weights(&weights)?, self.config.for_trained_weights());
        let (options, document) = (config.train_options(), config.document()?);
        Ok(Prepared { model, config, options, document, ..self })
    }

    /// Goes on from the end of another run, with its optimiser, averages and count of steps: fine-tuning with a kept
    /// optimiser.
    #[must_use]
    pub fn from_checkpoint(self, checkpoint: Checkpoint) -> Self {
        Prepared { start: Some(checkpoint), ..self }
    }

    /// The settings, complete.
    pub fn config(&self) -> &RunConfig {
        &self.config
    }

    /// The model, with its first weights.
    pub fn model(&self) -> &Model {
        &self.model
    }

    /// The samples at `indices` of the set, which are those from `first` on of step `step`, as a step sees them.
    pub(super) fn samples(&self, step: u64, first: usize, indices: &[u32]) -> Result<Samples> {
        let (mut pixels, labels) = match &self.source {
            None => self.data.train.gather(indices)?,
            Some(source) => source.gather(step, first, indices)?,
        };
        let (size, seed) = (self.data.train.size(), self.options.seed);
        let at = (seed, u32::try_from(step).map_err(|_| Error::argument("train", format!("step {step}")))?);
        if self.config.data.flip {
            flip(&mut pixels, size, at, first as u32)?;
        }
        let told = self.pipe.as_ref().map(|pipe| pipe.apply(&mut pixels, size, at, first as u32)).transpose()?;
        Ok(Samples { pixels, labels, told })
    }

    /// The mean loss of the samples at `indices` of the set.
    pub(super) fn loss(&self, cx: &Context, samples: &Samples, indices: &[u32]) -> Result<Var> {
        let (denoiser, device) = (self.model.denoiser(), self.model.weights.device());
        let Samples { pixels, labels, told } = samples;
        let n = labels.len();
        let told = match (told, &self.pipe) {
            (Some(told), Some(pipe)) => Some(Tensor::from_slice(told, [n, pipe.labels()], &device)?.into()),
            _ => None,
        };
        let shape = [&[n][..], &denoiser.sample_shape()].concat();
        let y = Tensor::from_slice(pixels, shape, &device)?;
        let class_labels = match denoiser.label_dim() {
            0 => None,
            classes => Some(ops::one_hot(&Tensor::from_slice(labels, [n], &device)?, classes, DType::F32)?.into()),
        };
        let conditions = Conditions { class_labels: class_labels.as_ref(), augment_labels: told.as_ref() };
        self.objective.loss(cx, denoiser, &Batch { y: &y, indices, conditions })
    }
}

/// Samples on the host, augmented.
#[derive(Debug)]
pub(super) struct Samples {
    pixels: Vec<f32>,
    labels: Vec<u32>,
    /// What the network is told of the augmentation.
    told: Option<Vec<f32>>,
}
