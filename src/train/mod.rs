//! Training: the step, and what a run leaves behind: its directory, log, pictures and report.

pub mod checkpoint;
pub mod config;
#[cfg(feature = "report")]
mod copies;
#[cfg(not(feature = "report"))]
#[path = "no_copies.rs"]
mod copies;
mod diffusion;
#[cfg(feature = "report")]
mod drawn;
mod early;
pub mod log;
mod measure;
mod observer;
#[cfg(feature = "report")]
mod pages;
mod plan;
mod prepared;
mod rate;
mod rehearsal;
mod resume;
mod run;
pub mod run_dir;
pub(crate) mod shown;
pub mod snapshots;
mod stages;
mod task;
pub mod together;
mod trained;
mod trainer;

pub use crate::files::write_atomic;
pub use checkpoint::Checkpoint;
pub use config::{MethodSettings, Own, OwnSettings, RunConfig, Settings, With};
pub use diffusion::{Outcome, run};
pub use log::Log;
pub(crate) use measure::draw;
pub use observer::{End, Observer, Started};
pub use plan::{CHECKPOINTS, MODEL, MODELS, Plan, RunOptions, model_file};
pub use prepared::Prepared;
pub(crate) use rehearsal::at_fault;
pub use run::{Ran, run_trained};
pub use run_dir::{Existing, RunDir};
pub use stages::{Ended, Stages};
pub use task::{Batch, Objective, Source};
pub use trained::{MODEL_PLAYER, Moment, Trained};
pub use trainer::{Gradient, Tick, TrainOptions, Trainer, TrainerState};
