//! What a run came to.

use serde::{Deserialize, Serialize};

use crate::methods::game::Scores;

/// What a run came to; `metrics.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct KdganOutcome {
    /// The student's accuracy on what is held out, at the end; `None` where examples have any number of labels.
    pub student_accuracy: Option<f64>,
    /// The teacher's; `None` without a teacher.
    pub teacher_accuracy: Option<f64>,
    /// Steps of the student.
    pub student_steps: u64,
    /// Time of all sessions.
    pub seconds: f64,
    /// What it was trained by.
    pub method: String,
    /// Labelled examples.
    pub labelled: usize,
    /// The seed.
    pub seed: u64,
    /// Whether all steps were made.
    pub finished: bool,
    /// All figures of the student.
    pub student: Scores,
    /// And of the teacher.
    pub teacher: Option<Scores>,
}
