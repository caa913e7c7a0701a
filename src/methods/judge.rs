//! How far a model is from the truth, measured the same way for every method and round.

use std::sync::OnceLock;

use crate::data::Images;
use crate::diffusion::{Model, Sampler, random_classes};
use crate::error::Result;
use crate::evaluate::{
    self, Ceiling, Comparing, Comparison, FeatureSpace, Features, ImageClassifier, Measured, ceiling, compare,
};
use crate::settings::{MAX_SEED, OrZero};
use crate::tensor::Device;
use crate::train::{at_fault, draw};

crate::settings! {
    /// What a model is measured by: images that it draws, against test images, or the clean ones if there are none.
    pub struct JudgeSection {
        /// How many it draws; 0: nothing is measured.
        images: usize = 1000, in OrZero(10..=10_000_000);
        /// pixels, or the file of a classifier (veridical classifier).
        features: String = "pixels".into();
        /// The seed of the noise that they start from: the same for every model.
        seed: u64 = 1, in 0..=MAX_SEED;
        /// Most rows of the figures that compare every row with every other.
        neighbours: usize = 10_000, in 10..=1_000_000;
        /// The Fréchet distance even of no more images than they have numbers, where it says little.
        rank_deficient: bool = false;
    }
}

/// Measures models against real images.
#[derive(Debug)]
pub struct Judge {
    section: JudgeSection,
    space: FeatureSpace,
    real: Features,
    size: [usize; 3],
    sampler: Sampler,
    identity: String,
    /// What real images measure in place of as many as are drawn; known once something was measured.
    ceiling: OnceLock<Option<Ceiling>>,
}

impl Judge {
    /// Against `real` images, with samples by `sampler`. `None` if nothing is to be measured. Errors on the file of a
    /// classifier that cannot be read or takes other images, and on fewer real images than the metrics need.
    pub fn new(section: &JudgeSection, real: &Images, sampler: Sampler) -> Result<Option<Self>> {
        if section.images == 0 {
            return Ok(None);
        }
        let space = match section.features.as_str() {
            "pixels" => FeatureSpace::Pixels,
            file => FeatureSpace::Classifier(Box::new(ImageClassifier::load(file, &Device::Cpu)?)),
        };
        let features = section.features.as_str();
        let settings = format!("judge.images = {} by judge.features = {features:?} cannot be measured", section.images);
        let fault = |e| at_fault(&format!("{settings} (judge.images = 0 measures nothing)"), e);
        let real_features = space.of(real).map_err(fault)?;
        evaluate::check(&real_features, section.images).map_err(fault)?;
        let by = match &space {
            FeatureSpace::Pixels => "pixels".into(),
            FeatureSpace::Classifier(classifier) => format!("the classifier {}", classifier.fingerprint()?),
        };
        let JudgeSection { images, seed, neighbours, rank_deficient, .. } = section;
        let real_images = real.fingerprint();
        let flat = if *rank_deficient { ", covariances of any rank" } else { "" };
        let identity = format!(
            "{images} images of seed {seed} by {sampler:?}, against {real_images} on {by}, {neighbours} rows for neighbours{flat}"
        );
        Ok(Some(Judge {
            section: section.clone(),
            real: real_features,
            size: real.size(),
            space,
            sampler,
            identity,
            ceiling: OnceLock::new(),
        }))
    }

    /// All that its figures follow from, the model aside: figures of equal identity can stand in one table.
    pub fn identity(&self) -> &str {
        &self.identity
    }

    /// What the distances are measured on.
    pub fn features(&self) -> Measured {
        self.real.measured
    }

    /// Images of the model. Errors where sampling does.
    pub fn draw(&self, model: &Model) -> Result<Images> {
        let JudgeSection { images: count, seed, .. } = self.section;
        let classes = model.denoiser().label_dim();
        let samples: Vec<u32> = (0..count as u32).collect();
        let mut labels = if classes > 0 { random_classes(seed, &samples, classes)? } else { Vec::new() };
        let pixels = draw(&self.sampler, model, seed, count, &labels)?;
        labels.resize(count, 0);
        Images::new(pixels, labels, self.size, classes.max(1))
    }

    /// The distances of images, whatever made them.
    pub fn images(&self, images: &Images) -> Result<Comparison> {
        let JudgeSection { neighbours, seed, rank_deficient, .. } = self.section;
        let comparing = Comparing { neighbours, seed, rank_deficient, ceiling: false, ..Comparing::default() };
        let mut comparison = compare(&self.real, &self.space.of(images)?, &comparing)?;
        if images.len() == self.section.images {
            comparison.ceiling = match self.ceiling.get() {
                Some(known) => *known,
                None => {
                    let found = ceiling(&self.real, images.len(), &comparing)?;
                    *self.ceiling.get_or_init(|| found)
                }
            };
        }
        Ok(comparison)
    }

    /// The distances of what a model draws.
    pub fn model(&self, model: &Model) -> Result<Comparison> {
        self.images(&self.draw(model)?)
    }
}
