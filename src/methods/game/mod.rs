//! What games between networks share: players, whose turn it is, labelled examples, how well a player does.

mod data;
mod examples;
mod figures;
mod held_out;
mod logged;
mod moves;
#[cfg(feature = "report")]
mod pages;
mod player;
mod rows;
mod sections;
mod warner;

pub(crate) use data::darkest;
pub use data::{GameData, Labelled};
pub(crate) use examples::images_tensor;
pub use examples::{Batch, Examples, LabelledImages};
pub(crate) use figures::{figures_state, restored_figures, sizes};
pub use held_out::{HeldOut, Scores, Truth};
pub use logged::{is_logged, total_seconds};
pub use moves::{Moves, Phase, once_each};
#[cfg(feature = "report")]
pub use pages::{charts, confusion_table, score_table};
pub use player::Player;
pub use rows::LabelledRows;
pub use sections::{AffineSection, GameTrainSection, LabelledSection, Subset, TableSection};
pub use warner::Warner;
