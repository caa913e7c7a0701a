//! The second part: a few digits are clean and the others noisy; what rounds of denoising and fine-tuning make of that,
//! below the ceiling that the model of all digits is.

use serde::Serialize;
use veridical::Result;
use veridical::data::{DataSet, Digits};
use veridical::diffusion::Model;
use veridical::methods::{NoisyData, Sfbd, sfbd};
use veridical::report::{ImageGrid, png};
use veridical::train::{End, Existing, MODEL, RunDir, RunOptions};

use super::distance::Distance;
use super::watch::Watch;
use super::{Config, draw};

/// Digits of each class that a stage draws: a stage more would otherwise cost as much as its training.
pub const PER_CLASS: usize = 20;
const SHOWN_COLUMNS: usize = 8;

/// A stage: the clean-only model, or the model after a round.
#[derive(Debug, Clone, Serialize)]
pub struct Stage {
    pub name: String,
    pub kid: f64,
    pub swd: f64,
    /// Root mean square error of the digits that were denoised for it.
    pub rms_error: Option<f64>,
}

pub struct Story {
    pub clean: usize,
    pub noisy: usize,
    pub stages: Vec<Stage>,
    pub picture: image::RgbImage,
}

/// Everything that the second part needs, checked before anything is written.
pub struct Plan {
    data: NoisyData,
    settings: veridical::train::With<veridical::methods::SfbdSettings>,
}

impl Plan {
    pub fn new(config: &Config, digits: &Digits) -> Result<Self> {
        let settings = config.sfbd()?;
        let noisy = &settings.method.noisy;
        let set = DataSet {
            name: "digits".into(),
            train: digits.train.clone(),
            test: Some(digits.held_out.clone()),
            class_names: Vec::new(),
            reading: Default::default(),
        };
        let data = NoisyData::simulated(set, noisy.clean_share, config.noise, noisy.seed)?;
        Sfbd::new(&settings, &data)?;
        Ok(Plan { data, settings })
    }

    /// Clean-only pre-training and rounds, in `sfbd/` of the run's directory. `ceiling` are digits of the model of all
    /// digits. `None` if that was stopped.
    pub fn tell(
        &self,
        config: &Config,
        digits: &Digits,
        run: &RunDir,
        existing: Existing,
        ceiling: &[f32],
    ) -> Result<Option<Story>> {
        let place = RunDir::create(run.path().join("sfbd"), existing)?;
        let mut watch = Watch::new("sfbd");
        let outcome = Sfbd::new(&self.settings, &self.data)?.run(&place, RunOptions::default(), &mut watch)?;
        watch.finish();
        if outcome.end != End::Finished {
            return Ok(None);
        }
        let mut stages = Vec::new();
        let mut last = Vec::new();
        for round in &outcome.rounds {
            let file = place.path().join(format!("rounds/{:02}", round.round)).join(MODEL);
            let model = Model::load(file, &veridical::Device::named(&config.device)?)?;
            let few = Config { per_class: PER_CLASS.min(config.per_class), ..config.clone() };
            let drawn = draw(&few, &model)?;
            let name = match round.round {
                0 => format!("{} clean digits alone", self.clean()?),
                k => format!("noisy ones denoised, round {k}"),
            };
            let Distance { kid, swd } = Distance::to_held_out(&drawn, &digits.held_out)?;
            stages.push(Stage { name, kid, swd, rms_error: round.rms_error });
            last = drawn;
        }
        let values = digits.held_out.values();
        let few: Vec<f32> = ceiling
            .chunks(config.per_class * values)
            .flat_map(|class| &class[..PER_CLASS.min(config.per_class) * values])
            .copied()
            .collect();
        if !few.is_empty() {
            let Distance { kid, swd } = Distance::to_held_out(&few, &digits.held_out)?;
            stages.push(Stage { name: "all digits clean (ceiling)".into(), kid, swd, rms_error: None });
        }
        let picture = self.picture(&place, &last)?;
        run.write("denoised.png", &png(&picture)?)?;
        Ok(Some(Story { clean: self.clean()?, noisy: self.data.noisy()?.len(), stages, picture }))
    }

    fn clean(&self) -> Result<usize> {
        Ok(self.data.clean()?.len())
    }

    /// Digits noisy, denoised in each round, and drawn by the last model.
    fn picture(&self, place: &RunDir, generated: &[f32]) -> Result<image::RgbImage> {
        let noisy = self.data.noisy()?;
        let values = noisy.values();
        let count = sfbd::SHOWN.min(noisy.len());
        let (shown, _) = noisy.gather(&(0..count as u32).collect::<Vec<_>>())?;
        let mut rounds = Vec::new();
        for k in 1..=self.settings.method.sfbd.rounds {
            rounds.extend(sfbd::first_denoised(place, k, count * values)?.map(|pixels| (k.to_string(), pixels)));
        }
        let mut grid = ImageGrid::new(noisy.size()).panel("noisy", &shown, 1);
        for (name, pixels) in &rounds {
            grid = grid.panel(if name == "1" { "round 1" } else { name.as_str() }, pixels, 1);
        }
        // A row of digits of each class.
        let per_class = (generated.len() / values / 10).max(1);
        let columns = SHOWN_COLUMNS.min(per_class);
        let drawn: Vec<f32> =
            generated.chunks(per_class * values).flat_map(|class| &class[..columns * values]).copied().collect();
        if !drawn.is_empty() {
            grid = grid.panel("generated after the last round", &drawn, columns);
        }
        let truth = self.data.originals.as_ref().map(|set| set.gather(&(0..count as u32).collect::<Vec<_>>()));
        let truth = truth.transpose()?;
        if let Some((truth, _)) = &truth {
            grid = grid.panel("the truth", truth, 1);
        }
        grid.smooth().footer("The model never saw the truth of the noisy digits.").render()
    }
}
