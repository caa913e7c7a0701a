//! The settings that games share.

use crate::data::{Affine, Images, subset};
use crate::error::{Error, Result};
use crate::settings::MAX_SEED;
use crate::train::config::Compute;

crate::choice! {
    /// Which training examples keep their labels.
    pub enum Subset {
        /// As many of each class, drawn by the seed.
        Balanced = "balanced",
        /// The last of the set, as they are: what KDGAN's published figures on MNIST were trained on. Another problem
        /// than a balanced subset.
        Last = "last",
        /// Any, drawn by the seed.
        Random = "random",
    }
}

crate::settings! {
    /// What is learned from.
    pub struct LabelledSection {
        /// A folder or file (IDX, CIFAR, pictures, .npz) with classes, or `digits`;
        /// for veridical kdgan also an ARFF file with many labels, or its folder.
        path: String = "digits".into();
        /// How many training examples have a label; 0: all.
        labelled: usize = 100;
        /// Which.
        subset: Subset = Subset::Balanced;
        /// So many other training examples take the place of the test set in everything that is measured, to choose
        /// settings by; 0: the test set.
        validation: usize = 0;
    }
}

crate::settings! {
    /// Tables: what the student does not see.
    pub struct TableSection {
        /// Share of the columns that only teacher and discriminator see.
        privileged: f64 = 0.5, in 0.0..1.0;
        /// The seed that draws these columns, whatever that of the run.
        seed: u64 = 0, in 0..=MAX_SEED;
    }
}

impl LabelledSection {
    /// Which training images have a label. Errors on more than there are, and on a class of a balanced subset that has
    /// too few.
    pub fn subset(&self, train: &Images, seed: u64) -> Result<subset::Subset> {
        if self.labelled == 0 {
            return subset::last(train, train.len());
        }
        if self.labelled > train.len() {
            let (labelled, there) = (self.labelled, train.len());
            let what = format!("data.labelled = {labelled}, but there are {there} training images; 0 is all of them");
            return Err(Error::Config(what));
        }
        let found = match self.subset {
            Subset::Last => subset::last(train, self.labelled),
            Subset::Balanced => subset::balanced(train, self.labelled, seed),
            Subset::Random => subset::random(train, self.labelled, seed),
        };
        found.map_err(|e| Error::Config(format!("data.labelled = {} ({}): {e}", self.labelled, self.subset)))
    }
}

crate::settings! {
    /// What is done to pictures before a network sees them, alike for all players.
    pub struct AffineSection {
        /// Largest turn in degrees.
        rotation: f64 = 0.0, in 0.0..=180.0;
        /// Largest shift, as a share of width and height.
        shift: f64 = 0.0, in 0.0..=1.0;
        /// Largest change of width and height, as a share.
        zoom: f64 = 0.0, in 0.0..1.0;
        /// Whether the supervised steps that come first have it too.
        pretraining: bool = true;
    }
}

impl AffineSection {
    /// The augmentation; `None` if it does nothing. What comes into view has the value `background`.
    pub fn affine(&self, background: f32) -> Option<Affine> {
        let AffineSection { rotation, shift, zoom, .. } = *self;
        let any = [rotation, shift, zoom].iter().any(|reach| *reach > 0.0);
        any.then_some(Affine { rotation, shift, zoom, background })
    }
}

crate::settings! {
    /// The run itself.
    pub struct GameTrainSection {
        /// Makes everything random: subset, first weights, order, augmentation, dropout, drawn labels.
        seed: u64 = 0, in 0..=MAX_SEED;
        /// Where to compute: cpu, cuda, cuda:N, emulator, or best (CUDA if there is a GPU, else CPU).
        device: String = "best".into();
        /// What is computed in; weights and sums are f32 either way.
        compute: Compute = Compute::F32;
        /// Slots that a batch is cut into, whose gradients are added in a fixed order: as many processes at most can
        /// share the work, and any number of them gives the same bits. Triple-GAN has one.
        slots: usize = 1, in 1..=1 << 16;
        /// Steps of all players together between lines of log.jsonl.
        log_every: u64 = 100, in 1..=1 << 40;
        /// Steps of all players together between two measurements; 0: only at the end.
        show_every: u64 = 1000;
        /// Steps of all players together between checkpoints; 0: only at the end.
        checkpoint_every: u64 = 5000;
        /// Checkpoints that are kept.
        keep_last: usize = 2, in 1..=1 << 20;
    }
}
