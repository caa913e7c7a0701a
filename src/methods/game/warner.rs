//! A discriminator that has won, and players that run away from each other.

use serde::{Deserialize, Serialize};

use crate::train::Observer;

/// Below this a discriminator's loss has nothing left to lose, be it cross-entropy or hinge.
const WON: f64 = 0.02;
/// Steps of the discriminator in which it was so without a break, before it is said.
const STEPS: u64 = 500;

/// A loss that no classifier comes to while it learns: probabilities and logits of a sane size are far below.
const LOUD: f64 = 500.0;

/// Says once that a discriminator has won, and once that a player's loss has run away.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
pub struct Warner {
    pinned: u64,
    said: bool,
    #[serde(default)]
    loud: bool,
}

impl Warner {
    /// The loss of a player that learns from the others, in a step of it.
    pub fn hear(&mut self, player: &str, loss: f64, observer: &mut dyn Observer) {
        if loss > LOUD && !self.loud {
            self.loud = true;
            observer.note(&format!(
                "the {player}'s loss is {loss:.0}: logits run away, and what comes of it is of little use; lower the learning \
                 rates or the weights of distillation"
            ));
        }
    }

    /// The discriminator's loss in a step of it.
    pub fn see(&mut self, loss: f64, observer: &mut dyn Observer) {
        self.pinned = if loss < WON { self.pinned + 1 } else { 0 };
        if self.pinned == STEPS && !self.said {
            self.said = true;
            observer.note(&format!(
                "the discriminator has won: for {STEPS} of its steps its loss was near 0 ({loss:.4} in the last), and it tells \
                 the others little more than that; lower its learning rate or its steps, or give it noise or dropout"
            ));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::train::{Started, Tick};

    struct Notes(usize);

    impl Observer for Notes {
        fn started(&mut self, _: &Started) {}
        fn ticked(&mut self, _: &Tick, _: f64, _: u64) {}
        fn note(&mut self, _: &str) {
            self.0 += 1;
        }
    }

    #[test]
    fn it_is_said_once_and_only_of_a_long_stay() {
        let (mut warner, mut notes) = (Warner::default(), Notes(0));
        let mut see = |loss: f64, times: u64, expected: usize| {
            (0..times).for_each(|_| warner.see(loss, &mut notes));
            assert_eq!(notes.0, expected);
        };
        see(1e-3, STEPS - 1, 0);
        see(1.386, 1, 0);
        see(1e-3, STEPS, 1);
        see(1.386, 1, 1);
        see(0.0, 2 * STEPS, 1);
    }

    #[test]
    fn a_loss_that_runs_away_is_said_once() {
        let (mut warner, mut notes) = (Warner::default(), Notes(0));
        [3.0, 90.0, 887.0, 1e4].into_iter().for_each(|loss| warner.hear("student", loss, &mut notes));
        assert_eq!(notes.0, 1);
    }
}
