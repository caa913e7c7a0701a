//! A classifier of images, trained in seconds: the judge of what a generative model makes.

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::autograd::Var;
use crate::data::{Batches, Images};
use crate::distributed::{Ranks, floats, tree};
use crate::error::{Error, Result};
use crate::nn::{
    self, AnyClassifier, AnyClassifierConfig, ClassifierConfig, Context, FeatureClassifier, Layout, LeNetConfig,
    Module, StackConfig, Weights,
};
use crate::ops;
use crate::optim::{Decay, OptimizerConfig, Schedule};
use crate::tensor::{DType, Device, Tensor, TensorFile};
use crate::train::{TrainOptions, Trainer};

/// The metadata key of classifier files that holds the architecture.
const KEY: &str = "veridical.classifier";
/// Images that the network sees at once outside of training.
const AT_ONCE: usize = 256;

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
    /// AdamW's learning rate; falls along half a cosine.
    pub learning_rate: f64,
    /// AdamW's weight decay.
    pub weight_decay: f64,
    /// The seed of first weights, order and dropout.
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

/// What the file of a classifier says of itself.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Architecture {
    /// Height, width and channels of the images; channels are not there for the networks that know them.
    img_size: [usize; 2],
    #[serde(default, skip_serializing_if = "Option::is_none")]
    img_channels: Option<usize>,
    network: AnyClassifierConfig,
}

/// A small network with its weights.
#[derive(Debug, Clone)]
pub struct ImageClassifier {
    architecture: Architecture,
    network: AnyClassifier,
    weights: Weights,
}

impl ImageClassifier {
    /// Trains a classifier on `images`.
    ///
    /// Errors on settings that make no network, if the loss is not finite, and once the calling thread is to
    /// [stop](crate::stop).
    pub fn train(images: &Images, training: &ClassifierTraining, device: &Device) -> Result<Self> {
        let size = images.size();
        let ImageClassifier { architecture, network, weights } =
            Self::untrained(size, images.classes(), training, device)?;
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
            let (pixels, labels) = images.gather(&batches.at(step)?)?;
            let (x, labels) = (batch(&pixels, size, device)?, Tensor::from_slice(&labels, [labels.len()], device)?);
            trainer.step(training.batch, |cx| {
                ops::cross_entropy(&ops::cast(&network.forward(cx, &x.into())?, DType::F32)?, &labels)
            })?;
        }
        let weights = trainer.average()?;
        Ok(ImageClassifier { architecture, network, weights })
    }

    /// The classifier that [`train`](Self::train) begins with, for images `[height, width, channels]`. Errors on
    /// settings that make no network and on images too small for it.
    pub fn untrained(size: [usize; 3], classes: usize, training: &ClassifierTraining, device: &Device) -> Result<Self> {
        let ClassifierTraining { ref channels, dropout, seed, .. } = *training;
        let config = ClassifierConfig { img_channels: size[2], classes, channels: channels.clone(), dropout };
        let architecture = Architecture::new(size, AnyClassifierConfig::Convolutional(config));
        architecture.check()?;
        let (network, layout) = architecture.build()?;
        let weights = Weights::init(&layout.into(), seed, device)?;
        Ok(ImageClassifier { architecture, network, weights })
    }

    /// Writes the classifier to a safetensors file. Errors on output.
    pub fn save(&self, path: impl AsRef<Path>) -> Result<()> {
        nn::save(path, &self.weights, &self.architecture.metadata()?)
    }

    /// Reads what [`save`](Self::save) wrote. Errors on input, on an unsound file, and on tensors that do not fit.
    pub fn load(path: impl AsRef<Path>, device: &Device) -> Result<Self> {
        let file = TensorFile::open(path)?;
        let metadata = file.metadata();
        let unsound = |what: String| Error::format(file.path(), what);
        let Some(json) = metadata.get(KEY) else {
            return Err(unsound(format!(
                "no metadata key {KEY:?}: not the file of a classifier, as `veridical classifier` makes them"
            )));
        };
        let architecture: Architecture = serde_json::from_str(json).map_err(|error| unsound(error.to_string()))?;
        let (network, layout) = architecture.build().map_err(|error| unsound(error.to_string()))?;
        let weights = nn::load_from(&file, &layout.into(), device)?;
        Ok(ImageClassifier { architecture, network, weights })
    }

    /// The network and its weights, to go on with.
    pub fn into_parts(self) -> (AnyClassifierConfig, AnyClassifier, Weights) {
        (self.architecture.network, self.network, self.weights)
    }

    /// [`Weights::fingerprint`] of its weights.
    pub fn fingerprint(&self) -> Result<String> {
        self.weights.fingerprint()
    }

    /// Where its weights are.
    pub fn device(&self) -> Device {
        self.weights.device()
    }

    /// Height, width and channels of the images that it takes.
    pub fn size(&self) -> [usize; 3] {
        self.architecture.size()
    }

    /// How many classes it tells apart.
    pub fn classes(&self) -> usize {
        self.architecture.network.classes()
    }

    /// Numbers that it makes of an image before the last layer.
    pub fn feature_dims(&self) -> usize {
        self.architecture.network.feature_dims()
    }

    /// Logits `[n, classes]` of pixels `[n, height, width, channels]`. Errors if these are not whole images.
    pub fn logits(&self, pixels: &[f32]) -> Result<Vec<f32>> {
        Ok(self.features_and_logits(pixels)?.1)
    }

    /// The features before the last layer, `[n, feature_dims]`, of pixels `[n, height, width, channels]`. Errors as
    /// [`logits`](Self::logits).
    pub fn features(&self, pixels: &[f32]) -> Result<Vec<f32>> {
        Ok(self.features_and_logits(pixels)?.0)
    }

    /// As [`features`](Self::features), for images `[n, height, width, channels]` in f32 to which gradients may flow;
    /// the classifier is fixed.
    pub fn features_of(&self, x: &Var) -> Result<Var> {
        self.network.features(&Context::inference(&self.weights), x)
    }

    /// Both from one run of the network.
    pub fn features_and_logits(&self, pixels: &[f32]) -> Result<(Vec<f32>, Vec<f32>)> {
        self.features_and_logits_on(pixels, &Ranks::alone())
    }

    /// As [`features_and_logits`](Self::features_and_logits), each rank of `ranks` its share of the images, all of
    /// which get the whole: the bits of one. Errors also if a rank is lost.
    pub fn features_and_logits_on(&self, pixels: &[f32], ranks: &Ranks) -> Result<(Vec<f32>, Vec<f32>)> {
        let cx = Context::inference(&self.weights);
        let device = self.weights.device();
        let size = self.size();
        let values: usize = size.iter().product();
        if !pixels.len().is_multiple_of(values) {
            let got = format!("{} values", pixels.len());
            return Err(Error::shape("ImageClassifier", format!("whole images of {size:?}"), got));
        }
        // Whole batches of one process, so that each is computed as it would be there.
        let batches: Vec<&[f32]> = pixels.chunks(AT_ONCE * values).collect();
        let own = tree::share(batches.len(), ranks.rank(), ranks.size());
        let run = || {
            let (mut features, mut logits) = (Vec::new(), Vec::new());
            for pixels in &batches[own] {
                let found = self.network.features(&cx, &batch(pixels, size, &device)?.into())?;
                features.extend(found.value().to_vec::<f32>()?);
                logits.extend(self.network.classify(&cx, &found)?.value().to_vec::<f32>()?);
            }
            Ok((features, logits))
        };
        let (features, logits) = ranks.together(run())?;
        if ranks.is_alone() {
            return Ok((features, logits));
        }
        let images = |rank: usize| {
            let batches = &batches[tree::share(batches.len(), rank, ranks.size())];
            batches.iter().map(|pixels| pixels.len() / values).sum::<usize>()
        };
        let all = |own: &[f32], dims: usize| -> Result<Vec<f32>> {
            let mut all = Vec::new();
            for (rank, part) in ranks.gather(bytemuck::cast_slice(own))?.iter().enumerate() {
                all.extend(floats(rank, part, images(rank) * dims)?);
            }
            Ok(all)
        };
        Ok((all(&features, self.feature_dims())?, all(&logits, self.classes())?))
    }
}

/// What the file of a classifier of images `[height, width, channels]` says besides the weights, for
/// [`ImageClassifier::load`]; `names` are those of its classes, none if they have none.
pub fn classifier_metadata(
    size: [usize; 3],
    network: &AnyClassifierConfig,
    names: &[String],
) -> Result<BTreeMap<String, String>> {
    let mut metadata = Architecture::new(size, network.clone()).metadata()?;
    metadata.extend(nn::class_names_metadata(names)?);
    Ok(metadata)
}

/// What the file of a classifier says of itself, or nothing if it is none: the images `[height, width, channels]` that
/// it takes, its classes, and its network as JSON. Errors on an architecture that this version does not build.
pub fn classifier_of_file(file: &TensorFile) -> Result<Option<ClassifierDescription>> {
    let metadata = file.metadata();
    let Some(json) = metadata.get(KEY) else { return Ok(None) };
    let unsound = |what: String| Error::format(file.path(), what);
    let architecture: Architecture =
        serde_json::from_str(json).map_err(|error| unsound(format!("the metadata key {KEY:?}: {error}")))?;
    architecture.check().map_err(|error| unsound(error.to_string()))?;
    let (_, layout) = architecture.build().map_err(|error| unsound(error.to_string()))?;
    nn::check(file, &layout)?;
    let network = serde_json::to_value(&architecture.network).map_err(|error| unsound(error.to_string()))?;
    Ok(Some(ClassifierDescription {
        size: architecture.size(),
        classes: architecture.network.classes(),
        parameters: layout.parameter_count(),
        network,
    }))
}

/// What [`classifier_of_file`] found.
#[derive(Debug, Clone, PartialEq)]
pub struct ClassifierDescription {
    /// Height, width and channels of the images.
    pub size: [usize; 3],
    /// Classes.
    pub classes: usize,
    /// Numbers that were trained.
    pub parameters: usize,
    /// The options of the network.
    pub network: serde_json::Value,
}

/// The name of the scope that a classifier's parameters are registered in.
pub const CLASSIFIER_SCOPE: &str = "classifier";

impl Architecture {
    fn new([height, width, channels]: [usize; 3], network: AnyClassifierConfig) -> Self {
        let known = matches!(network, AnyClassifierConfig::Convolutional(_));
        Architecture { img_size: [height, width], img_channels: (!known).then_some(channels), network }
    }

    fn metadata(&self) -> Result<BTreeMap<String, String>> {
        let json = serde_json::to_string(self)
            .map_err(|error| Error::Config(format!("the classifier cannot be written: {error}")))?;
        Ok(BTreeMap::from([(KEY.to_string(), json)]))
    }

    fn size(&self) -> [usize; 3] {
        let [height, width] = self.img_size;
        let channels = match &self.network {
            AnyClassifierConfig::Convolutional(config) => config.img_channels,
            AnyClassifierConfig::LeNet(config) => config.size[2],
            AnyClassifierConfig::Stack(config) => config.size[2],
            AnyClassifierConfig::Perceptron(_) => self.img_channels.unwrap_or(1),
        };
        [height, width, channels]
    }

    /// Errors unless the network takes images of the size that the file names.
    fn check(&self) -> Result<()> {
        if self.img_size.iter().any(|extent| !(1..=1 << 14).contains(extent)) {
            return Err(Error::Config(format!("img_size must be between 1 and 16384, got {:?}", self.img_size)));
        }
        let size = self.size();
        let disagree = |takes: String| Err(Error::Config(format!("images of {size:?}, but the network takes {takes}")));
        match &self.network {
            AnyClassifierConfig::Convolutional(config) => {
                let halved = config.channels.len().saturating_sub(1);
                if self.img_size.iter().any(|extent| extent.checked_shr(halved as u32).unwrap_or(0) == 0) {
                    return Err(Error::Config(format!(
                        "images of {:?} cannot be halved {halved} times, as between {} convolutions; give fewer channels",
                        self.img_size,
                        halved + 1
                    )));
                }
                Ok(())
            }
            AnyClassifierConfig::LeNet(LeNetConfig { size: takes, .. })
            | AnyClassifierConfig::Stack(StackConfig { size: takes, .. })
                if *takes != size =>
            {
                disagree(format!("{takes:?}"))
            }
            AnyClassifierConfig::Perceptron(config)
                if size.iter().try_fold(1usize, |all, &extent| all.checked_mul(extent)) != Some(config.inputs) =>
            {
                disagree(format!("{} numbers", config.inputs))
            }
            _ => Ok(()),
        }
    }

    fn build(&self) -> Result<(AnyClassifier, Layout)> {
        self.check()?;
        let mut layout = Layout::new();
        let network = self.network.build(&mut layout.scope(CLASSIFIER_SCOPE))?;
        Ok((network, layout))
    }
}

fn batch(pixels: &[f32], [h, w, c]: [usize; 3], device: &Device) -> Result<Tensor> {
    Tensor::from_slice(pixels, [pixels.len() / (h * w * c), h, w, c], device)
}
