//! The run without rounds, whose data are refreshed while it trains.

use super::record::{Record, Trace};
use super::{Session, Sfbd, SfbdOutcome, SfbdSettings, round};
use crate::error::Result;
use crate::methods::online_sfbd::OnlineSfbd;
use crate::train::{End, Observer, Prepared, RunDir, RunOptions, Sections, With};

impl Sfbd<'_> {
    /// The variant without rounds: one training run, whose data are refreshed meanwhile.
    pub(super) fn online(
        &self,
        place: &RunDir,
        session: &Session,
        observer: &mut dyn Observer,
        outcome: &mut SfbdOutcome,
    ) -> Result<End> {
        let mut config = self.settings.run.clone();
        let online = &self.settings.method.online;
        let first = config.train.steps();
        config.train.images = first * config.train.batch as u64 + online.images;
        let source = OnlineSfbd::new(online, self.data, self.denoising.clone(), &config, first)?;
        let set = self.data.set(source.placeholder()?);
        let document = With { run: config.clone(), method: self.settings.method.clone() }.document()?;
        let mut prepared = Prepared::new(&config, &set)?;
        if let Some(given) = &self.given {
            prepared = prepared.from_weights(&given.weights)?;
        }
        let prepared = prepared.with_document(document, <SfbdSettings as Sections>::FREE);
        let directory = round::directory(place, 0);
        let resume = round::begun(&directory);
        let at = round::open(&directory, resume)?;
        let options = RunOptions { resume, budget: session.left() };
        let trained = prepared.with_source(source).run(&at, options, observer)?;
        let model = outcome.model.insert(trained.model);
        if trained.end == End::Finished {
            let round = self.measure(0, &config, model, None)?;
            Record::write(&round, &Trace::of(model, &self.identity, self.judge.as_ref())?, &directory)?;
            outcome.rounds.push(round);
        }
        Ok(trained.end)
    }
}
