//! The log of a run in forms that other programs read: tables for whatever reads CSV, event files for TensorBoard.
//!
//! `log.jsonl` and `samples/` are what counts. The copies follow them, line by line and picture by picture, and are
//! made good from them where a run goes on.

mod events;
mod kind;
mod pictures;
mod table;

use serde_json::Value;

use self::events::Events;
use self::kind::Kind;
use self::pictures::pictures;
use self::table::Table;
use super::log::Follower;
use super::plan::{Plan, RunOptions};
use super::run_dir::RunDir;
use crate::error::Result;

/// The copies of a run's log and pictures.
pub(super) struct Copies<'a> {
    place: &'a RunDir,
    log: Follower,
    tables: [Table; 2],
    events: Option<Events>,
    /// The first step whose picture was not copied yet.
    next_picture: u64,
    /// Samples of a step, if they are the same number.
    batch: Option<u64>,
}

impl<'a> Copies<'a> {
    /// Copies what is in the directory of a run that has made so many steps. There are event files where they are asked
    /// for, and where a run goes on that has some.
    ///
    /// Errors on output, and on a log that cannot be read.
    pub fn open(place: &'a RunDir, plan: &Plan, options: RunOptions, step: u64) -> Result<Self> {
        let wanted = options.tensorboard || options.resume && place.path().join(events::FOLDER).is_dir();
        let folders: &[&str] = if wanted { &[events::FOLDER] } else { &[] };
        place.check_writable(&[Kind::Training.file(), Kind::Measured.file()], folders)?;
        let mut log = Follower::new(place.path().join("log.jsonl"));
        let ticks = log.ticks()?;
        let table = |kind| Table::make(place, kind, &ticks);
        let tables = [table(Kind::Training)?, table(Kind::Measured)?];
        let events = if wanted { Some(Events::begin(place.path(), step)?) } else { None };
        let next_picture = events.as_ref().map_or(0, Events::first);
        let mut copies = Copies { place, log, tables, events, next_picture, batch: plan.batch };
        copies.tell(&ticks, step)?;
        Ok(copies)
    }

    /// Copies what has come since, up to `step`.
    pub fn follow(&mut self, step: u64) -> Result<()> {
        let ticks = self.log.ticks()?;
        for table in &mut self.tables {
            table.add(self.place, &ticks)?;
        }
        self.tell(&ticks, step)
    }

    fn tell(&mut self, ticks: &[Value], step: u64) -> Result<()> {
        let Some(events) = &mut self.events else { return Ok(()) };
        let first = events.first();
        for tick in ticks.iter().filter(|tick| tick["step"].as_u64().is_some_and(|at| at >= first)) {
            events.tick(tick)?;
        }
        let due = self.next_picture..=step;
        for (at, path) in pictures(self.place.path(), self.batch).into_iter().filter(|(at, _)| due.contains(at)) {
            events.picture(at, &path)?;
            self.next_picture = at + 1;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::train::Existing;
    use serde_json::json;

    fn options(resume: bool, tensorboard: bool) -> RunOptions {
        RunOptions { resume, tensorboard, ..RunOptions::default() }
    }

    fn text(place: &RunDir, name: &str) -> String {
        std::fs::read_to_string(place.path().join(name)).unwrap_or_default()
    }

    #[test]
    fn tables_follow_the_log_and_are_made_good_where_a_run_goes_on() {
        let dir = tempfile::tempdir().unwrap();
        let place = RunDir::create(dir.path(), Existing::Refuse).unwrap();
        let mut log = place.log().unwrap();
        let mut copies = Copies::open(&place, &Plan::default(), options(false, false), 0).unwrap();
        assert!(!place.path().join("log.csv").exists() && !place.path().join("tensorboard").exists());
        for step in [1, 2] {
            log.append(&json!({"step": step, "seen": 4 * step, "loss": 0.25, "gradient_norm": f64::NAN})).unwrap();
            copies.follow(step).unwrap();
        }
        log.append(&json!({"step": 2, "kid": 0.5, "seen": 8})).unwrap();
        log.append(&json!({"step": 2, "seen": 8, "branch": []})).unwrap();
        copies.follow(2).unwrap();
        let head = "step,seen,loss,gradient_norm,learning_rate,images_per_second,seconds";
        assert_eq!(text(&place, "log.csv"), format!("{head}\n1,4,0.25,,,,\n2,8,0.25,,,,\n"));
        assert_eq!(text(&place, "measured.csv"), "step,seen,kid\n2,8,0.5\n");
        // A figure that comes later has a column of its own at the right.
        log.append(&json!({"step": 3, "loss": 1e-7, "a, b": -2})).unwrap();
        copies.follow(3).unwrap();
        let widened = format!("{head},\"a, b\"\n1,4,0.25,,,,,\n2,8,0.25,,,,,\n3,,1e-7,,,,,-2\n");
        assert_eq!(text(&place, "log.csv"), widened);
        // The run goes on after its second step.
        crate::train::log::cut(place.path().join("log.jsonl"), 2).unwrap();
        Copies::open(&place, &Plan::default(), options(true, false), 2).unwrap();
        assert_eq!(text(&place, "log.csv"), format!("{head}\n1,4,0.25,,,,\n2,8,0.25,,,,\n"));
        crate::train::log::cut(place.path().join("log.jsonl"), 0).unwrap();
        Copies::open(&place, &Plan::default(), options(true, false), 0).unwrap();
        assert!(!place.path().join("log.csv").exists() && !place.path().join("measured.csv").exists());
    }

    #[test]
    fn what_is_in_the_way_of_a_copy_is_an_error() {
        for (name, wanted) in [("log.csv", false), ("measured.csv", false)] {
            let dir = tempfile::tempdir().unwrap();
            let place = RunDir::create(dir.path(), Existing::Refuse).unwrap();
            place.log().unwrap();
            std::fs::create_dir(place.path().join(name)).unwrap();
            let error = Copies::open(&place, &Plan::default(), options(false, wanted), 0).err().unwrap().to_string();
            assert!(error.contains(name) && error.contains("move it away"), "{error}");
        }
        let dir = tempfile::tempdir().unwrap();
        let place = RunDir::create(dir.path(), Existing::Refuse).unwrap();
        std::fs::write(place.path().join("log.jsonl"), "{}\nnot json\n").unwrap();
        let error = Copies::open(&place, &Plan::default(), options(false, true), 0).err().unwrap().to_string();
        assert!(error.contains("line 2"), "{error}");
        std::fs::write(place.path().join("log.jsonl"), "").unwrap();
        std::fs::write(place.path().join("tensorboard"), "a file").unwrap();
        let error = Copies::open(&place, &Plan::default(), options(false, true), 0).err().unwrap().to_string();
        assert!(error.contains("tensorboard"), "{error}");
    }
}
