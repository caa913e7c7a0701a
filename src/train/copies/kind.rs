//! Kinds of lines of a log.

use serde_json::Value;

/// What a line of a log is, which has figures.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// How training went since the line before: it has a loss.
    Training,
    /// What was measured of what has been learned: distances, accuracies.
    Measured,
}

impl Kind {
    /// The kind of a line; `None` of one that tells of a branch of the run.
    pub fn of(tick: &Value) -> Option<Kind> {
        match (tick.get("loss"), tick.get("branch")) {
            (Some(_), _) => Some(Kind::Training),
            (None, None) => Some(Kind::Measured),
            (None, Some(_)) => None,
        }
    }

    /// The table of such lines.
    pub fn file(self) -> &'static str {
        match self {
            Kind::Training => "log.csv",
            Kind::Measured => "measured.csv",
        }
    }

    /// The table's first columns: those that every run has.
    pub fn columns(self) -> &'static [&'static str] {
        match self {
            Kind::Training => {
                &["step", "seen", "loss", "gradient_norm", "learning_rate", "images_per_second", "seconds"]
            }
            Kind::Measured => &["step", "seen"],
        }
    }

    /// What names of its figures begin with in TensorBoard, which groups by that.
    pub fn group(self) -> &'static str {
        match self {
            Kind::Training => "train",
            Kind::Measured => "measured",
        }
    }
}
