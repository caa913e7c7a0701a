//! The settings of training on images with and without noise.

use super::{AmbientTweedie, Consistency};
use crate::autograd::Var;
use crate::data::DataSet;
use crate::diffusion::Denoiser;
use crate::error::{Error, Result};
use crate::methods::judge::JudgeSection;
use crate::methods::noisy::{NoisyData, NoisySection, joined};
use crate::methods::sure::Sure;
use crate::nn::Context;
use crate::settings::{AboveUpTo, AtLeast};
use crate::train::config::Augment;
use crate::train::{Batch, MethodSettings, Objective, RunConfig};

crate::choice! {
    /// Which images are trained on.
    pub enum TrainedOn {
        /// Clean and noisy ones.
        Both = "both",
        /// The noisy ones alone.
        Noisy = "noisy",
        /// The clean ones alone.
        Clean = "clean",
        /// All, before the noise was put on them: the ceiling.
        AllClean = "all-clean",
    }
}

crate::choice! {
    /// What noisy images are trained by.
    pub enum AmbientLoss {
        /// Ambient-Tweedie.
        Tweedie = "tweedie",
        /// Stein's unbiased risk estimate, at their own noise level and above.
        Sure = "sure",
        /// They are taken as they are.
        Plain = "plain",
    }
}

crate::settings! {
    /// Training on images with and without noise.
    pub struct AmbientSection {
        /// Which of them.
        images: TrainedOn = TrainedOn::Both;
        /// What noisy images are trained by.
        loss: AmbientLoss = AmbientLoss::Tweedie;
        /// Factor of the consistency term; 0: none.
        consistency: f64 = 0.0, in AtLeast(0.0);
        /// Euler steps of its continuations; 5 join the 6 levels of its authors' code.
        consistency_steps: usize = 6, in 1..=255;
        /// Its continuations of each sample.
        consistency_copies: usize = 6, in 1..=255;
        /// Whether gradients flow through the continuations.
        consistency_gradient: bool = true;
        /// sure: the step of the difference that stands for the divergence, as a share of the noise level.
        sure_step: f64 = 0.01, in AboveUpTo(0.0, 1.0);
    }
}

crate::sections! {
    /// The sections of `veridical ambient`.
    #[derive(Default)]
    pub struct AmbientSettings {
        /// The images.
        noisy: NoisySection,
        /// The loss.
        ambient: AmbientSection,
        /// What it is judged by.
        judge: JudgeSection,
    }
}

impl MethodSettings for AmbientSettings {
    const FREE: &'static [&'static str] = &["judge.", "noisy.path"];

    fn check(&self, run: &RunConfig) -> Result<()> {
        let ambient = &self.ambient;
        self.noisy.check()?;
        if ambient.loss == AmbientLoss::Sure && ambient.consistency > 0.0 {
            return Err(Error::Config(
                "ambient.consistency is a term of Ambient-Tweedie: with ambient.loss = \"sure\" set it to 0".into(),
            ));
        }
        let moves = |a: &Augment| a.scale + a.rotate_frac + a.aniso + a.translate_frac > 0.0;
        if matches!(ambient.images, TrainedOn::Both | TrainedOn::Noisy) && run.augment.p > 0.0 && moves(&run.augment) {
            return Err(Error::Config(
                "augment: resampling a noisy image changes its noise; allow flips alone (scale, rotate_frac, aniso and translate_frac = 0)"
                    .into(),
            ));
        }
        Ok(())
    }
}

impl AmbientSettings {
    /// The images to train on, and the objective. Errors if the images that are asked for are not there.
    pub fn task(&self, run: &RunConfig, data: &NoisyData) -> Result<(DataSet, AmbientObjective)> {
        let of_noisy =
            || (0..data.noisy.as_ref().map_or(0, |set| set.len())).map(|i| data.levels.of(i)).collect::<Vec<_>>();
        let (images, levels) = match self.ambient.images {
            TrainedOn::Clean => (data.clean()?.clone(), vec![0.0; data.clean()?.len()]),
            TrainedOn::Noisy => (data.noisy()?.clone(), of_noisy()),
            TrainedOn::AllClean => {
                let all = data.all_clean()?;
                let count = all.len();
                (all, vec![0.0; count])
            }
            TrainedOn::Both => {
                let sets: Vec<_> = data.clean.iter().chain(&data.noisy).collect();
                let mut levels = vec![0.0; data.clean.as_ref().map_or(0, |set| set.len())];
                levels.extend(of_noisy());
                (joined(&sets)?, levels)
            }
        };
        let levels = if self.ambient.loss == AmbientLoss::Plain { vec![0.0; levels.len()] } else { levels };
        let (loss, levels) = (run.loss.loss()?, levels.into());
        let AmbientSection { consistency: weight, consistency_steps: steps, consistency_copies: copies, .. } =
            self.ambient;
        let objective = match self.ambient.loss {
            AmbientLoss::Sure => AmbientObjective::Sure(Sure { loss, levels, step: self.ambient.sure_step }),
            AmbientLoss::Tweedie | AmbientLoss::Plain => {
                let through_chain = self.ambient.consistency_gradient;
                let consistency = Consistency { weight, steps, copies, through_chain };
                let consistency = (weight > 0.0).then_some(consistency);
                AmbientObjective::Tweedie(AmbientTweedie { loss, levels, consistency })
            }
        };
        Ok((data.set(images), objective))
    }
}

/// What a training on images with and without noise goes down on.
#[derive(Debug, Clone)]
pub enum AmbientObjective {
    /// Ambient-Tweedie; with levels of 0 the plain loss.
    Tweedie(AmbientTweedie),
    /// Stein's unbiased risk estimate.
    Sure(Sure),
}

impl Objective for AmbientObjective {
    fn loss(&self, cx: &Context, denoiser: &Denoiser, batch: &Batch) -> Result<Var> {
        match self {
            AmbientObjective::Tweedie(objective) => objective.loss(cx, denoiser, batch),
            AmbientObjective::Sure(objective) => objective.loss(cx, denoiser, batch),
        }
    }
}
