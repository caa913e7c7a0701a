//! The third part: fifty digits have their class and all others do not. A classifier learns from the fifty alone;
//! another one in a game with a generator and a discriminator, which make something of the others.

use serde::Serialize;
use veridical::data::{DataSet, Digits};
use veridical::methods::triple_gan::{Baseline, TripleGanOutcome, TripleGanRun, TripleGanSettings, presets};
use veridical::train::{End, Existing, Own, RunDir, RunOptions, Settings};
use veridical::{Error, Result, files};

use super::Config;
use super::watch::Watch;

/// What fifty labels come to.
#[derive(Debug, Clone, Serialize)]
pub struct Few {
    pub labelled: usize,
    pub unlabelled: usize,
    /// Accuracy on the held-out digits: of a classifier that learned from the labels alone.
    pub alone: f64,
    /// Of the game's classifier.
    pub game: f64,
    /// Share of the generated digits that a classifier of all labels reads as the digit that was asked for.
    pub read: Option<f64>,
    /// Generated digits, a row for each class.
    #[serde(skip)]
    pub picture: image::RgbImage,
}

/// Everything that the third part needs, checked before anything is written.
pub struct Plan {
    alone: TripleGanRun,
    game: TripleGanRun,
    settings: TripleGanSettings,
    digits: usize,
}

impl Plan {
    pub fn new(config: &Config, digits: &Digits) -> Result<Self> {
        let mut settings = presets::named("digits")?.0;
        settings.data.labelled = config.labelled;
        settings.triple_gan.iterations = config.game_iterations;
        settings.triple_gan.pretraining = config.game_iterations / 4;
        // Half as wide as the preset's, which is for runs of two minutes, and with a rate that does it in fewer steps.
        (settings.networks.channels, settings.networks.discriminator_channels) = (16, 16);
        settings.triple_gan.lr = 1e-3;
        settings.train.seed = config.seed;
        settings.train.device.clone_from(&config.device);
        (settings.train.show_every, settings.train.checkpoint_every) = (0, 0);
        (settings.samples.measured, settings.samples.epochs) = (config.per_class, config.classifier_epochs);
        let set = DataSet {
            name: "digits".into(),
            train: digits.train.clone(),
            test: Some(digits.held_out.clone()),
            class_names: Vec::new(),
            reading: Default::default(),
        };
        let run = |baseline: Baseline| {
            let mut settings = settings.clone();
            settings.triple_gan.baseline = baseline;
            let own = Own(settings);
            own.check()?;
            TripleGanRun::new(&own, &set)
        };
        let (alone, game) = (run(Baseline::Supervised)?, run(Baseline::None)?);
        Ok(Plan { alone, game, settings, digits: digits.train.len() })
    }

    /// Both trainings, in `few/` of the run's directory. `None` if that was stopped.
    pub fn play(&mut self, run: &RunDir, existing: Existing) -> Result<Option<Few>> {
        let mut watch = Watch::new("few labels");
        let mut trained = |run: &mut TripleGanRun, place: &RunDir| -> Result<Option<TripleGanOutcome>> {
            let (end, outcome) = run.run(place, RunOptions::default(), &mut watch)?;
            Ok((end == End::Finished).then_some(outcome))
        };
        let place = |name: &str| RunDir::create(run.path().join("few").join(name), existing);
        let Some(alone) = trained(&mut self.alone, &place("alone")?)? else { return Ok(None) };
        let at = place("game")?;
        let Some(game) = trained(&mut self.game, &at)? else { return Ok(None) };
        watch.finish();
        let path = at.path().join("samples.png");
        let picture = image::load_from_memory(&files::read(&path)?);
        let picture = picture.map_err(|e| Error::format(&path, e.to_string()))?.to_rgb8();
        Ok(Some(Few {
            labelled: self.settings.data.labelled,
            unlabelled: self.digits - self.settings.data.labelled,
            alone: 1.0 - alone.error,
            game: 1.0 - game.error,
            read: game.sample_accuracy,
            picture,
        }))
    }
}
