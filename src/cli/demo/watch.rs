//! Progress of a part of the demo.

use veridical::train::{Observer, Started, Tick};

use crate::cli::progress::{Progress, note};

pub struct Watch {
    what: &'static str,
    progress: Option<Progress>,
}

impl Watch {
    pub fn new(what: &'static str) -> Self {
        Watch { what, progress: None }
    }

    pub fn finish(&mut self) {
        if let Some(progress) = self.progress.take() {
            progress.finish();
        }
    }
}

impl Observer for Watch {
    fn started(&mut self, run: &Started) {
        self.finish();
        self.progress = Some(Progress::new(self.what, run.steps));
    }

    fn ticked(&mut self, tick: &Tick, _: f64, _: u64) {
        if let Some(progress) = &mut self.progress {
            progress.tick(tick.step, Some(tick.loss));
        }
    }

    fn note(&mut self, text: &str) {
        self.finish();
        note(text);
    }
}
