//! The settings of training on images with and without noise.

use serde::{Deserialize, Serialize};

use super::{AmbientTweedie, Consistency};
use crate::data::DataSet;
use crate::error::{Error, Result};
use crate::methods::judge::JudgeSection;
use crate::methods::noisy::{NoisyData, NoisySection, joined};
use crate::train::config::{About, Augment};
use crate::train::{RunConfig, Sections};

/// `[ambient]`: what is trained on, and by which loss.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AmbientSection {
    /// `both`, `noisy`, `clean` or `all-clean`.
    pub images: String,
    /// `tweedie` or `plain`.
    pub loss: String,
    /// Factor of the consistency term; 0: none.
    pub consistency: f64,
    /// Steps of its continuations.
    pub consistency_steps: usize,
    /// Its continuations of each sample.
    pub consistency_copies: usize,
    /// Whether gradients flow through them.
    pub consistency_gradient: bool,
}

/// The sections of `veridical ambient`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct AmbientSettings {
    /// The images.
    pub noisy: NoisySection,
    /// The loss.
    pub ambient: AmbientSection,
    /// What it is judged by.
    pub judge: JudgeSection,
}

impl Default for AmbientSection {
    fn default() -> Self {
        AmbientSection {
            images: "both".into(),
            loss: "tweedie".into(),
            consistency: 0.0,
            consistency_steps: 6,
            consistency_copies: 6,
            consistency_gradient: true,
        }
    }
}

impl Sections for AmbientSettings {
    const ABOUT: &'static [About] = &[
        NoisySection::ABOUT,
        (
            "ambient",
            "Training on images with and without noise.",
            &[
                (
                    "images",
                    "Which of them: both, noisy, clean, or all-clean (before the noise was put on them; the ceiling).",
                ),
                ("loss", "tweedie (Ambient-Tweedie), or plain: noisy images are taken as they are."),
                ("consistency", "Factor of the consistency term; 0: none."),
                ("consistency_steps", "Euler steps of its continuations; 5 join the 6 levels of its authors' code."),
                ("consistency_copies", "Its continuations of each sample."),
                ("consistency_gradient", "Whether gradients flow through the continuations."),
            ],
        ),
        JudgeSection::ABOUT,
    ];
    const FREE: &'static [&'static str] = &["judge.", "noisy.path"];

    fn check(&self, run: &RunConfig) -> Result<()> {
        let ambient = &self.ambient;
        self.noisy.check(run)?;
        self.judge.check()?;
        one_of("ambient.images", &ambient.images, &["both", "noisy", "clean", "all-clean"])?;
        one_of("ambient.loss", &ambient.loss, &["tweedie", "plain"])?;
        if !(ambient.consistency >= 0.0 && ambient.consistency.is_finite()) {
            return Err(Error::Config(format!("ambient.consistency = {}, expected 0 or more", ambient.consistency)));
        }
        for (name, value) in
            [("consistency_steps", ambient.consistency_steps), ("consistency_copies", ambient.consistency_copies)]
        {
            if !(1..=255).contains(&value) {
                return Err(Error::Config(format!("ambient.{name} = {value}, expected 1 to 255")));
            }
        }
        let moves = |a: &Augment| a.scale + a.rotate_frac + a.aniso + a.translate_frac > 0.0;
        if matches!(ambient.images.as_str(), "both" | "noisy") && run.augment.p > 0.0 && moves(&run.augment) {
            return Err(Error::Config(
                "augment: resampling a noisy image changes its noise; allow flips alone (scale, rotate_frac, aniso and translate_frac = 0)"
                    .into(),
            ));
        }
        Ok(())
    }
}

/// Errors with the values that there are.
pub(in crate::methods) fn one_of(name: &str, value: &str, there: &[&str]) -> Result<()> {
    match there.contains(&value) {
        true => Ok(()),
        false => Err(Error::Config(format!("{name} = {value:?}; there are {}", there.join(", ")))),
    }
}

impl AmbientSettings {
    /// The images to train on, and the objective. Errors if the images that are asked for are not there.
    pub fn task(&self, run: &RunConfig, data: &NoisyData) -> Result<(DataSet, AmbientTweedie)> {
        let (images, levels) = match self.ambient.images.as_str() {
            "clean" => (data.clean()?.clone(), vec![0.0; data.clean()?.len()]),
            "noisy" => (data.noisy()?.clone(), vec![data.sigma; data.noisy()?.len()]),
            "all-clean" => {
                let all = data.all_clean()?;
                let count = all.len();
                (all, vec![0.0; count])
            }
            _ => {
                let sets: Vec<_> = data.clean.iter().chain(&data.noisy).collect();
                let level = |clean: bool| if clean { 0.0 } else { data.sigma };
                let levels = [(&data.clean, true), (&data.noisy, false)]
                    .iter()
                    .flat_map(|(set, clean)| vec![level(*clean); set.as_ref().map_or(0, |set| set.len())])
                    .collect();
                (joined(&sets)?, levels)
            }
        };
        let levels = if self.ambient.loss == "plain" { vec![0.0; levels.len()] } else { levels };
        let AmbientSection { consistency: weight, consistency_steps: steps, consistency_copies: copies, .. } =
            self.ambient;
        let consistency = Consistency { weight, steps, copies, through_chain: self.ambient.consistency_gradient };
        let objective = AmbientTweedie {
            loss: run.loss.loss()?,
            levels: levels.into(),
            consistency: (weight > 0.0).then_some(consistency),
        };
        Ok((data.set(images), objective))
    }
}
