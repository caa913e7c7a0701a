//! Training: the step, and what a run leaves behind: its directory, log, pictures and report.

mod canvas;
pub mod chart;
mod classify;
pub mod grid;
pub mod log;
pub mod report;
pub mod run_dir;
mod trainer;

pub use crate::files::write_atomic;
pub use canvas::png;
pub use chart::{Chart, Series};
pub use classify::{ClassifierTraining, ImageClassifier};
pub use grid::Grid;
pub use log::Log;
pub use report::Report;
pub use run_dir::{Existing, RunDir};
pub use trainer::{Tick, TrainOptions, Trainer};
