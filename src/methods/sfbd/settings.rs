//! The settings of SFBD and its online variant.

use serde::{Deserialize, Serialize};

use crate::diffusion::{Model, Sampler, sigmas_from};
use crate::error::{Error, Result};
use crate::methods::ambient::one_of;
use crate::methods::denoising::denoiser;
use crate::methods::judge::JudgeSection;
use crate::methods::noisy::NoisySection;
use crate::methods::online_sfbd::OnlineSection;
use crate::random::RandomKey;
use crate::train::config::About;
use crate::train::{RunConfig, Sections, at_fault};

/// `[sfbd]`: the rounds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SfbdSection {
    /// K.
    pub rounds: u32,
    /// Images of each round's fine-tuning.
    pub round_images: u64,
    /// `ode`, `sde`, or a solver's name.
    pub denoiser: String,
    /// Levels of the denoiser's whole grid.
    pub steps: usize,
    /// Whether the clean images are trained on in every round.
    pub merge: bool,
    /// `fresh` or `kept`.
    pub optimizer: String,
    /// `fresh`: half-life of a round's running average, as a share of the round's images.
    pub half_life_share: f64,
    /// `f32` or `u8`.
    pub store: String,
    /// Whether each round's denoised images are written as `.npz`.
    pub files: bool,
    /// A model to start from instead of pre-training.
    pub model: String,
}

/// The sections of `veridical sfbd`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct SfbdSettings {
    /// The images.
    pub noisy: NoisySection,
    /// The rounds.
    pub sfbd: SfbdSection,
    /// The variant without rounds.
    pub online: OnlineSection,
    /// What it is judged by.
    pub judge: JudgeSection,
}

impl Default for SfbdSection {
    fn default() -> Self {
        SfbdSection {
            rounds: 4,
            round_images: 100_000,
            denoiser: "ode".into(),
            steps: 40,
            merge: true,
            optimizer: "fresh".into(),
            half_life_share: 0.1,
            store: "f32".into(),
            files: false,
            model: String::new(),
        }
    }
}

impl Sections for SfbdSettings {
    const ABOUT: &'static [About] = &[
        NoisySection::ABOUT,
        (
            "sfbd",
            "Stochastic forward-backward deconvolution: train.images of pre-training on the clean images, then rounds.",
            &[
                ("rounds", "Rounds of denoising all noisy images and fine-tuning on the result."),
                ("round_images", "Training images of each round."),
                (
                    "denoiser",
                    "ode (probability-flow, Heun), sde (backward SDE, a posterior sample), or any solver's name.",
                ),
                ("steps", "Levels of the denoiser's whole grid, of which those below the noise are used."),
                ("merge", "Whether the clean images are trained on beside the denoised ones."),
                (
                    "optimizer",
                    "fresh (as the public code: step 0, from the averaged weights) or kept (everything goes on).",
                ),
                (
                    "half_life_share",
                    "fresh: half-life of a round's average as a share of the round; at most average.half_life.",
                ),
                ("store", "Denoised images are kept as f32, or as u8 in [-1, 1] (the public code's PNG)."),
                (
                    "files",
                    "Whether to write denoised.npz in each round; then all noisy images are denoised, not only those that the training draws.",
                ),
                ("model", "A trained model to start from instead of pre-training on the clean images."),
            ],
        ),
        (
            "online",
            "Online SFBD: no rounds, but a buffer of denoised images that is refreshed while it is trained on.",
            &[
                ("enabled", "Whether it takes the place of the rounds."),
                ("images", "Training images after the pre-training."),
                ("ramp_images", "Training images over which the buffer's weight rises from 0 to 1."),
                ("every", "Steps between two refreshes."),
                ("count", "Images that are denoised at a refresh."),
                (
                    "refresh",
                    "fixed: all of them replace their old selves; kid: as many as the KID to the clean images improves by.",
                ),
            ],
        ),
        JudgeSection::ABOUT,
    ];
    const FREE: &'static [&'static str] = &["judge.", "noisy.path", "sfbd.rounds", "sfbd.files", "sfbd.model"];

    fn check(&self, run: &RunConfig) -> Result<()> {
        let (sfbd, online) = (&self.sfbd, &self.online);
        self.noisy.check(run)?;
        self.judge.check()?;
        if sfbd.files && !cfg!(feature = "formats") {
            let what = "sfbd.files = true writes archives, which this build does not: its feature `formats` is off";
            return Err(Error::Config(what.into()));
        }
        one_of("sfbd.optimizer", &sfbd.optimizer, &["fresh", "kept"])?;
        one_of("sfbd.store", &sfbd.store, &["f32", "u8"])?;
        one_of("online.refresh", &online.refresh, &["fixed", "kid"])?;
        for (name, value, least, most) in [
            ("sfbd.rounds", u64::from(sfbd.rounds), 0, 10_000),
            ("sfbd.round_images", sfbd.round_images, 1, 1 << 50),
            ("sfbd.steps", sfbd.steps as u64, 2, 10_000),
            ("online.images", online.images, 1, 1 << 50),
            ("online.ramp_images", online.ramp_images, 0, 1 << 50),
            ("online.every", online.every, 1, 1 << 32),
            ("online.count", online.count as u64, 1, 1 << 32),
        ] {
            if !(least..=most).contains(&value) {
                return Err(Error::Config(format!("{name} = {value}, expected {least} to {most}")));
            }
        }
        if !(sfbd.half_life_share > 0.0 && sfbd.half_life_share.is_finite()) {
            let what = format!("sfbd.half_life_share = {}, expected a share of a round above 0", sfbd.half_life_share);
            return Err(Error::Config(what));
        }
        // Steps of a kept optimiser are counted on, as are those of the variant without rounds.
        let more = match (online.enabled, sfbd.optimizer == "kept") {
            (true, _) => u128::from(online.images),
            (_, true) => u128::from(sfbd.rounds) * u128::from(sfbd.round_images),
            (_, false) => 0,
        };
        let steps = (u128::from(run.train.images) + more).max(sfbd.round_images.into()) / run.train.batch as u128;
        if steps > 1 << 32 {
            return Err(Error::Config(format!(
                "{steps} training steps in one count, and at most 2^32 can be told apart; lower train.images, sfbd.round_images or \
                 online.images, or raise train.batch"
            )));
        }
        if sfbd.optimizer == "kept" && !sfbd.model.is_empty() {
            return Err(Error::Config(
                "sfbd.optimizer = \"kept\" needs the optimiser of a pre-training, which a model file (sfbd.model) has not".into(),
            ));
        }
        let grid = |e| {
            let (steps, rho, sigma) = (sfbd.steps, run.sampling.rho, self.noisy.sigma);
            at_fault(
                &format!("no grid of sfbd.steps = {steps} with sampling.rho = {rho:?} from noisy.sigma = {sigma:?}"),
                e,
            )
        };
        let Sampler { grid: levels, sigma_min, sigma_max, .. } = self.denoiser(run)?;
        let levels = levels.sigmas(sfbd.steps, sigma_min, sigma_max);
        levels.and_then(|levels| sigmas_from(&levels, self.noisy.sigma)).map(drop).map_err(grid)
    }
}

impl SfbdSection {
    /// The settings of stage `k`'s training, of which 0 is the pre-training that `run` describes. With a fresh
    /// optimiser a round starts at step 0 with numbers of its own, and its average from the averaged weights before it;
    /// with a kept one it goes on.
    pub(super) fn stage(&self, run: &RunConfig, k: u32) -> Result<RunConfig> {
        let mut run = run.clone();
        match (k, self.optimizer.as_str()) {
            (0, _) => {}
            (_, "kept") => {
                // Whole batches, so that a stage ends where the next begins.
                let batch = run.train.batch as u64;
                let steps = run.train.images.div_ceil(batch) + u64::from(k) * self.round_images.div_ceil(batch);
                run.train.images = steps * batch;
            }
            _ => {
                run = run.for_trained_weights();
                run.train.images = self.round_images;
                run.train.seed = RandomKey::stage_seed(run.train.seed, k)?;
                // Were it longer, a round would be measured by the weights of the round before it.
                let longest = self.half_life_share * self.round_images as f64;
                run.average.half_life = run.average.half_life.min(longest);
            }
        }
        Ok(run)
    }
}

impl SfbdSettings {
    /// As [`denoiser`](Self::denoiser), tried in small on noise of level `sigma`. Errors where denoising with `model`
    /// would, and on a level that it does not know.
    pub(super) fn rehearsed(&self, run: &RunConfig, model: &Model, sigma: f64) -> Result<Sampler> {
        let (low, high) = model.denoiser().sigma_range();
        if !(low..=high).contains(&sigma) {
            return Err(Error::Config(format!("noisy.sigma = {sigma}: the model knows levels from {low} to {high}")));
        }
        let sampler = self.denoiser(run)?;
        let SfbdSection { denoiser, steps, .. } = &self.sfbd;
        let fault = |e| at_fault(&format!("sfbd.denoiser = {denoiser:?} in sfbd.steps = {steps} cannot denoise"), e);
        sampler.rehearse(model, Some(sigma)).map_err(fault)?;
        Ok(sampler)
    }

    /// How noisy images are denoised, in the dtype that training computes in. Errors on the name of a solver that there
    /// is not.
    pub fn denoiser(&self, run: &RunConfig) -> Result<Sampler> {
        let sampler = denoiser(&self.sfbd.denoiser, self.sfbd.steps, &run.sampling)?;
        Ok(Sampler { compute: run.train.compute()?, ..sampler })
    }
}
