//! A discriminator that has won.

use serde::{Deserialize, Serialize};

use crate::train::Observer;

/// Above this the value of a game is pinned: both means of `log` are nearly 0, and with them the gradients of the
/// others.
const PINNED: f64 = -0.02;
/// Steps of the discriminator in which it was so without a break, before it is said.
const STEPS: u64 = 500;

/// Says once that a discriminator has won.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
pub struct Warner {
    pinned: u64,
    said: bool,
}

impl Warner {
    /// The value `E log D + E log(1 - D)` of a step.
    pub fn see(&mut self, value: f64, observer: &mut dyn Observer) {
        self.pinned = if value > PINNED { self.pinned + 1 } else { 0 };
        if self.pinned == STEPS && !self.said {
            self.said = true;
            observer.note(&format!(
                "the discriminator has won: for {STEPS} of its steps the value of the game is {value:.4}, near 0, where the \
                 others' gradients vanish; lower its learning rate or its steps, or give it dropout"
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
        let mut see = |value: f64, times: u64, expected: usize| {
            (0..times).for_each(|_| warner.see(value, &mut notes));
            assert_eq!(notes.0, expected);
        };
        see(-1e-3, STEPS - 1, 0);
        see(-1.386, 1, 0);
        see(-1e-3, STEPS, 1);
        see(-1.386, 1, 1);
        see(0.0, 2 * STEPS, 1);
    }
}
