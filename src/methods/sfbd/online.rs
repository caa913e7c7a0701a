//! The run without rounds, whose data are refreshed while it trains.

use super::record::{Record, Trace};
use super::rounds::Rounds;
use super::{Sfbd, round};
use crate::error::Result;
use crate::methods::online_sfbd::OnlineSfbd;
use crate::train::{Prepared, With};

/// As for the rounds, but for the model that is started from: a checkpoint does not say which it was.
const FREE: &[&str] = &["judge.", "noisy.path", "sfbd.rounds", "sfbd.files"];

impl Sfbd<'_> {
    /// The variant without rounds: one training run, whose data are refreshed meanwhile.
    pub(super) fn online(&self, rounds: &mut Rounds) -> Result<()> {
        let mut config = self.settings.run.clone();
        let online = &self.settings.method.online;
        let first = config.train.steps();
        config.train.images = first * config.train.batch as u64 + online.images;
        let source = OnlineSfbd::new(online, self.data, self.denoiser.clone(), &config, first)?;
        let set = self.data.set(source.placeholder()?);
        let document = With { run: config.clone(), method: self.settings.method.clone() }.document()?;
        let mut prepared = Prepared::new(&config, &set)?;
        if let Some(given) = &self.given {
            prepared = prepared.from_weights(&given.weights)?;
        }
        let prepared = prepared.with_document(document, FREE).with_source(source);
        let directory = round::directory(rounds.stages.place(), 0);
        let model = rounds.stages.train(&directory, prepared)?;
        let ranks = rounds.stages.place().ranks().clone();
        ranks.on_first(|| {
            let round = round::Round { images: config.train.images, ..rounds.measured(0, &model, None)? };
            Record::write(&round, &Trace::of(&model, &self.identity, self.judge())?, &directory)?;
            rounds.add(round);
            Ok(())
        })?;
        Ok(())
    }
}
