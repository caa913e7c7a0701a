//! The players, and what their turns are.

use crate::methods::game::Player;
use crate::nn::FeatureClassifier;
use crate::nn::pairs::{PairDiscriminator, PairGenerator};

/// A player's turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Move {
    /// (6).
    Discriminator,
    /// (7).
    Generator,
    /// (8).
    Classifier,
    /// (3) and (5) alone: what comes before the game, and the baselines.
    Alone,
    /// The generator matches the classifier's mean features (Salimans et al. 2016).
    MatchFeatures,
    /// The classifier of k classes and one more, of what is made (the same).
    TellMade,
}

impl Move {
    /// Whether it is the classifier that learns.
    pub fn of_classifier(self) -> bool {
        matches!(self, Move::Classifier | Move::Alone | Move::TellMade)
    }
}

/// The three players; a baseline without one of them has none.
pub struct Players {
    /// G.
    pub generator: Option<Player<dyn PairGenerator>>,
    /// C: its mean features are matched by one of the baselines.
    pub classifier: Player<dyn FeatureClassifier>,
    /// D.
    pub discriminator: Option<Player<dyn PairDiscriminator>>,
}
