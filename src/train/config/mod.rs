//! What a run is asked to do: a TOML file of a few sections, every key of which has a default.
//!
//! ```
//! use veridical::train::RunConfig;
//! let config = RunConfig::build(Some("digits"), None, &["train.images=640".into()])?;
//! assert_eq!(config.train.images, 640);
//! let error = RunConfig::build(None, None, &["train.colour=1".into()]).unwrap_err();
//! assert!(error.to_string().contains("train.colour"));
//! # Ok::<(), veridical::Error>(())
//! ```

mod continued;
mod fitting;
mod model;
mod own;
mod presets;
mod sections;
mod stored;
mod with;

use toml::{Table, Value};

use super::trainer::TrainOptions;
use crate::data::{Batches, Images};
use crate::diffusion::ModelConfig;
use crate::error::{Error, Result};
use crate::nn::{DataShape, NetworkConfig};
use crate::settings::{Sections, laid_over, parsed, table_of, written};

pub(super) use continued::continues;
pub use continued::{BRANCHES, Change};
pub use own::{Own, OwnSettings, Settings};
pub use presets::{names as preset_names, shape as preset_shape};
pub use sections::{
    Augment, Average, Compute, Data, LossSection, OptimizerKind, OptimizerSection, Sampling, ScheduleKind, TrainSection,
};
pub use stored::{NAME, Stored, stored};
pub(super) use stored::{check_same, store};
pub use with::{MethodSettings, With};

crate::sections! {
    /// The settings of a run.
    #[serde(deny_unknown_fields, default)]
    pub struct RunConfig {
        /// What is learned from.
        data: Data,
        /// The architecture, with EDM's keyword names; what is left out follows from the data, or is EDM's default.
        model: Table,
        /// What is minimised.
        loss: LossSection,
        /// What is done to images before the network sees them.
        augment: Augment,
        /// How weights are changed.
        optimizer: OptimizerSection,
        /// Running averages of the weights.
        average: Average,
        /// The run itself.
        train: TrainSection,
        /// The samples that are drawn while it trains.
        sampling: Sampling,
    }
}

impl Default for RunConfig {
    fn default() -> Self {
        presets::base()
    }
}

impl RunConfig {
    /// A preset, or EDM's settings without one, changed by a settings file (its text) and by `section.key=value`
    /// settings, in this order.
    ///
    /// Errors on presets, sections and keys that do not exist, naming them, and on values that make no sense.
    pub fn build(preset: Option<&str>, file: Option<&str>, settings: &[String]) -> Result<Self> {
        preset.map_or_else(|| Ok(presets::base()), presets::named)?.changed(file, settings)
    }

    /// These settings, changed as [`build`](Self::build) changes a preset's. Errors as that does.
    pub fn changed(&self, file: Option<&str>, settings: &[String]) -> Result<Self> {
        let config: RunConfig = parsed(laid_over(table_of(self)?, file, settings)?, Self::ABOUT)?;
        config.check()?;
        Ok(config)
    }

    /// Errors with the setting that makes no sense. What a network asks of its sizes it says when it is built.
    pub fn check(&self) -> Result<()> {
        self.in_range()?;
        self.loss.loss()?;
        self.pipe()?;
        sections::check(self)
    }

    /// The order in which a run sees `len` samples. Errors if there are none, or too many.
    pub fn batches(&self, len: usize) -> Result<Batches> {
        Batches::shuffled(self.data.shuffle, len, self.train.batch, self.train.seed)
    }

    /// How the weights are trained.
    pub fn train_options(&self) -> TrainOptions {
        TrainOptions {
            seed: self.train.seed,
            optimizer: self.optimizer.config(),
            schedule: self.optimizer.schedule(self.train.images),
            max_norm: self.optimizer.max_norm,
            average: self.average.half_life(),
            compute: self.train.compute.dtype(),
            recompute: self.train.checkpoint_activations,
            slots: self.train.slots,
            shard_state: self.train.shard_state,
        }
    }

    /// The augmentation pipe; `None` without augmentation.
    pub fn pipe(&self) -> Result<Option<crate::diffusion::AugmentPipe>> {
        self.augment.pipe()
    }

    /// The architecture for these data, complete.
    ///
    /// Errors if the settings contradict the data or name options that the network does not have.
    pub fn model_config(&self, data: &Images) -> Result<ModelConfig> {
        let classes = if self.data.labels && data.classes() > 1 { data.classes() } else { 0 };
        let augment = self.pipe()?.map_or(0, |pipe| pipe.labels());
        let shape = DataShape { size: data.size(), classes, augment };
        let mut model = self.model.clone();
        let kind = model.entry("model_type").or_insert_with(|| "SongUNet".into());
        let kind =
            kind.as_str().ok_or_else(|| Error::Config(format!("model.model_type is no name: {kind}")))?.to_string();
        let fixed = NetworkConfig::of_data(&kind, &shape)?;
        for (key, value) in fixed {
            match model.get(key).and_then(Value::as_integer) {
                None => {
                    model.insert(key.into(), Value::Integer(value as i64));
                }
                Some(given) if given == value as i64 => {}
                // A network that can be told of augmentation is told nothing where there is none.
                Some(given) if key == "augment_dim" && value == 0 && given > 0 => {}
                Some(given) => {
                    let why = if key == "augment_dim" { "[augment] makes" } else { "the data have" };
                    return Err(Error::Config(format!("model.{key} is {given}, but {why} {value}")));
                }
            }
        }
        let json = serde_json::to_string(&model).map_err(|e| Error::Config(format!("[model]: {e}")))?;
        let config = ModelConfig::from_json(&json)?;
        fits(&config.network, &shape)?;
        Ok(config)
    }

    /// The same settings with the architecture of a model, to go on with it. Errors if it cannot be written as TOML.
    pub fn with_architecture(&self, model: &ModelConfig) -> Result<Self> {
        Ok(RunConfig { model: model_table(model)?, ..self.clone() })
    }

    /// The same settings with what follows from them and these data: the architecture written out, and the average as
    /// [`for_trained_weights`](Self::for_trained_weights) has it where the run starts from a model file.
    pub fn completed(&self, data: &Images) -> Result<Self> {
        let config = if self.train.init.is_empty() { self.clone() } else { self.clone().for_trained_weights() };
        Ok(RunConfig { model: model_table(&self.model_config(data)?)?, ..config })
    }

    /// The same settings for a run that starts from trained weights instead of random ones: the running average starts
    /// from them too, at its full half-life, as under `--transfer` of EDM's code. A ramp is there to forget a start
    /// that says nothing, and would forget these.
    #[must_use]
    pub fn for_trained_weights(mut self) -> Self {
        self.average.ramp = 0.0;
        self
    }

    /// The settings as TOML, with a comment over each key.
    pub fn document(&self) -> Result<String> {
        Ok(written(&table_of(self)?, Self::ABOUT))
    }
}

/// Errors unless a network takes what the data have, where it did not say so
/// [itself](crate::nn::Architecture::of_data).
fn fits(network: &NetworkConfig, data: &DataShape) -> Result<()> {
    let (kind, taken) = (network.model_type(), network.sample_shape());
    let flat = [data.size.iter().product::<usize>()];
    if taken != data.size && taken != flat {
        let what = format!("{kind} takes samples of shape {taken:?}, but the data have {:?}", data.size);
        return Err(Error::Config(what));
    }
    if network.label_dim() != data.classes {
        let (takes, there) = (network.label_dim(), data.classes);
        let what = format!("{kind} takes {takes} classes, but the data have {there} (data.labels = false: none)");
        return Err(Error::Config(what));
    }
    if data.augment != 0 && network.augment_dim() != data.augment {
        let (takes, there) = (network.augment_dim(), data.augment);
        return Err(Error::Config(format!("{kind} takes {takes} augmentation labels, but [augment] makes {there}")));
    }
    Ok(())
}

fn model_table(model: &ModelConfig) -> Result<Table> {
    let bad = |e: String| Error::Config(format!("the architecture cannot be written: {e}"));
    let fields: serde_json::Map<String, serde_json::Value> =
        serde_json::from_str(&model.to_json()?).map_err(|e| bad(e.to_string()))?;
    // TOML has no null; what is null is left to its default.
    let fields: serde_json::Map<_, _> = fields.into_iter().filter(|(_, value)| !value.is_null()).collect();
    Table::try_from(fields).map_err(|e| bad(e.to_string()))
}
