//! The settings of SFBD and its online variant.

use crate::diffusion::{Model, Sampler, sigmas_from};
use crate::error::{Error, Result};
use crate::methods::denoising::denoiser;
use crate::methods::judge::JudgeSection;
use crate::methods::noisy::NoisySection;
use crate::methods::online_sfbd::OnlineSection;
use crate::random::RandomKey;
use crate::settings::Above;
use crate::train::{MethodSettings, RunConfig, at_fault};

crate::choice! {
    /// How a round's fine-tuning begins.
    pub enum RoundOptimizer {
        /// As the public code: step 0, from the averaged weights.
        Fresh = "fresh",
        /// Everything goes on.
        Kept = "kept",
    }
}

crate::choice! {
    /// What denoised images are kept as.
    pub enum Store {
        /// As they are.
        F32 = "f32",
        /// In \[-1, 1\], as the public code's PNG.
        U8 = "u8",
    }
}

crate::settings! {
    /// Stochastic forward-backward deconvolution: train.images of pre-training on the clean images, then rounds.
    pub struct SfbdSection {
        /// Rounds of denoising all noisy images and fine-tuning on the result.
        rounds: u32 = 4, in 0..=10_000;
        /// Training images of each round.
        round_images: u64 = 100_000, in 1..=1 << 50;
        /// ode (probability-flow, Heun), sde (backward SDE, a posterior sample), or any solver's name.
        denoiser: String = "ode".into();
        /// Levels of the denoiser's whole grid, of which those below the noise are used.
        steps: usize = 40, in 2..=10_000;
        /// Whether the clean images are trained on beside the denoised ones.
        merge: bool = true;
        /// How a round's fine-tuning begins.
        optimizer: RoundOptimizer = RoundOptimizer::Fresh;
        /// fresh: half-life of a round's average as a share of the round; at most average.half_life.
        half_life_share: f64 = 0.1, in Above(0.0);
        /// What denoised images are kept as.
        store: Store = Store::F32;
        /// Whether to write denoised.npz in each round; then all noisy images are denoised, not only those that the
        /// training draws.
        files: bool = false;
        /// A trained model to start from instead of pre-training on the clean images.
        model: String = String::new();
    }
}

crate::sections! {
    /// The sections of `veridical sfbd`.
    #[derive(Default)]
    pub struct SfbdSettings {
        /// The images.
        noisy: NoisySection,
        /// The rounds.
        sfbd: SfbdSection,
        /// The variant without rounds.
        online: OnlineSection,
        /// What it is judged by.
        judge: JudgeSection,
    }
}

impl MethodSettings for SfbdSettings {
    const FREE: &'static [&'static str] = &["judge.", "noisy.path", "sfbd.rounds", "sfbd.files", "sfbd.model"];

    fn check(&self, run: &RunConfig) -> Result<()> {
        let (sfbd, online) = (&self.sfbd, &self.online);
        self.noisy.check()?;
        if sfbd.files && !cfg!(feature = "formats") {
            let what = "sfbd.files = true writes archives, which this build does not: its feature `formats` is off";
            return Err(Error::Config(what.into()));
        }
        // Steps of a kept optimiser are counted on, as are those of the variant without rounds.
        let more = match (online.enabled, sfbd.optimizer == RoundOptimizer::Kept) {
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
        if sfbd.optimizer == RoundOptimizer::Kept && !sfbd.model.is_empty() {
            return Err(Error::Config(
                "sfbd.optimizer = \"kept\" needs the optimiser of a pre-training, which a model file (sfbd.model) has not".into(),
            ));
        }
        self.denoiser(run).map(drop)
    }
}

impl SfbdSettings {
    /// Errors unless the denoiser's grid has levels below noise of level `sigma`.
    pub(super) fn check_grid(&self, run: &RunConfig, sigma: f64) -> Result<()> {
        let grid = |e| {
            let (steps, rho) = (self.sfbd.steps, run.sampling.rho);
            let what =
                format!("no grid of sfbd.steps = {steps} with sampling.rho = {rho:?} from noisy.sigma = {sigma:?}");
            at_fault(&what, e)
        };
        let Sampler { grid: levels, sigma_min, sigma_max, .. } = self.denoiser(run)?;
        let levels = levels.sigmas(self.sfbd.steps, sigma_min, sigma_max);
        levels.and_then(|levels| sigmas_from(&levels, sigma)).map(drop).map_err(grid)
    }
}

impl SfbdSection {
    /// The settings of stage `k`'s training, of which 0 is the pre-training that `run` describes. With a fresh
    /// optimiser a round starts at step 0 with numbers of its own, and its average from the averaged weights before it;
    /// with a kept one it goes on.
    pub(super) fn stage(&self, run: &RunConfig, k: u32) -> Result<RunConfig> {
        let mut run = run.clone();
        match (k, self.optimizer) {
            (0, _) => {}
            (_, RoundOptimizer::Kept) => {
                // Whole batches, so that a stage ends where the next begins.
                let batch = run.train.batch as u64;
                let steps = run.train.images.div_ceil(batch) + u64::from(k) * self.round_images.div_ceil(batch);
                run.train.images = steps * batch;
            }
            (_, RoundOptimizer::Fresh) => {
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
        Ok(Sampler { compute: run.train.compute.dtype(), ..sampler })
    }
}
