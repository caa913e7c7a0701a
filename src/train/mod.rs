//! Training: the step, and what a run leaves behind: its directory, log, pictures and report.

mod canvas;
pub mod chart;
pub mod checkpoint;
mod classify;
pub mod config;
pub mod evaluate;
pub mod image_grid;
pub mod log;
mod measure;
pub(crate) mod pages;
mod prepared;
mod rate;
pub mod report;
mod resume;
mod run;
pub mod run_dir;
pub mod snapshots;
mod task;
mod trainer;
mod typeface;

pub use crate::files::write_atomic;
pub use canvas::png;
pub use chart::{Chart, Series};
pub use checkpoint::Checkpoint;
pub use classify::{ClassifierTraining, ImageClassifier};
pub use config::{RunConfig, Sections, With};
pub use image_grid::ImageGrid;
pub use log::Log;
pub(crate) use measure::draw;
pub use prepared::Prepared;
pub use report::{Report, grouped};
pub use run::{CHECKPOINTS, End, MODEL, Observer, Outcome, RunOptions, run};
pub use run_dir::{Existing, RunDir};
pub use task::{Batch, Objective, Source};
pub use trainer::{Tick, TrainOptions, Trainer, TrainerState};
