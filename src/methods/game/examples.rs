//! What games are played on.

use std::fmt::Debug;
use std::ops::Range;

use super::held_out::{HeldOut, Truth};
use crate::data::{Affine, Batches, Images};
use crate::error::{Error, Result};
use crate::ops;
use crate::random::{RandomKey, Samples};
use crate::tensor::{DType, Device, Tensor};

/// A batch as the players see it.
#[derive(Debug, Clone)]
pub struct Batch {
    /// What the student sees, `[n, ...]`.
    pub student: Tensor,
    /// What teacher and discriminator see, `[n, ...]`: perhaps more.
    pub teacher: Tensor,
    /// The true distribution of labels, `[n, k]` in f32, rows that sum to 1.
    pub truth: Tensor,
}

impl Batch {
    /// Some of its rows. Errors on rows that it does not have.
    pub fn part(&self, rows: Range<usize>) -> Result<Batch> {
        let part = |all: &Tensor| all.narrow(rows.start, rows.len());
        Ok(Batch { student: part(&self.student)?, teacher: part(&self.teacher)?, truth: part(&self.truth)? })
    }
}

/// Examples of which everything is known that a game asks for.
pub trait Examples: Debug {
    /// Labels.
    fn labels(&self) -> usize;

    /// Labelled examples.
    fn count(&self) -> usize;

    /// The batch of a player's `step`-th step, counted from 0: a pure function of both. `pretraining` says that it is
    /// one of the supervised steps that come first.
    fn batch(&mut self, player: u32, step: u64, pretraining: bool) -> Result<Batch>;

    /// What nothing is trained on.
    fn held_out(&self) -> &HeldOut;

    /// A text that changes when the examples do, those to measure on too.
    fn fingerprint(&self) -> String;
}

/// Images with a class each, the same for all players.
#[derive(Debug)]
pub struct LabelledImages {
    images: Images,
    fingerprint: String,
    held_out: HeldOut,
    affine: Option<(Affine, bool)>,
    batch: usize,
    seed: u64,
    device: Device,
    order: Vec<Option<Batches>>,
}

impl LabelledImages {
    /// Trained on `images`, `batch` at a time, measured on `held_out`. `affine` is what is done to pictures, and
    /// whether also in pretraining.
    ///
    /// Errors if the two are unlike, and on an augmentation out of range.
    pub fn new(
        images: Images,
        held_out: &Images,
        affine: Option<(Affine, bool)>,
        (batch, seed): (usize, u64),
        device: &Device,
    ) -> Result<Self> {
        if held_out.size() != images.size() || held_out.classes() > images.classes() {
            let of = |images: &Images| format!("{:?} of {} classes", images.size(), images.classes());
            let what = format!("images {} to train on, {} to measure on; make them alike", of(&images), of(held_out));
            return Err(Error::Config(what));
        }
        if let Some((affine, _)) = &affine {
            affine.check()?;
        }
        let fingerprint = format!("{}; {}", images.fingerprint(), held_out.fingerprint());
        let pixels = images_tensor(&held_out.pixels()?, held_out.size(), &Device::Cpu)?;
        let truth = Truth::Class(held_out.labels().to_vec());
        let held_out = HeldOut { student: pixels.clone(), teacher: pixels, truth };
        let device = device.clone();
        Ok(LabelledImages { images, fingerprint, held_out, affine, batch, seed, device, order: Vec::new() })
    }
}

impl Examples for LabelledImages {
    fn labels(&self) -> usize {
        self.images.classes()
    }

    fn count(&self) -> usize {
        self.images.len()
    }

    fn batch(&mut self, player: u32, step: u64, pretraining: bool) -> Result<Batch> {
        let seed = RandomKey::stage_seed(self.seed, 1 + player)?;
        let order = order(&mut self.order, player, self.images.len(), self.batch, seed)?;
        let (mut pixels, labels) = self.images.gather(&order.at(step)?)?;
        if let Some((affine, always)) = &self.affine
            && (*always || !pretraining)
        {
            let step = u32::try_from(step).map_err(|_| Error::argument("LabelledImages", "2^32 steps or more"))?;
            affine.apply(&mut pixels, self.images.size(), (seed, step), Samples::From(0))?;
        }
        let x = images_tensor(&pixels, self.images.size(), &self.device)?;
        let labels = Tensor::from_slice(&labels, [labels.len()], &self.device)?;
        let truth = ops::one_hot(&labels, self.images.classes(), DType::F32)?;
        Ok(Batch { student: x.clone(), teacher: x, truth })
    }

    fn held_out(&self) -> &HeldOut {
        &self.held_out
    }

    fn fingerprint(&self) -> String {
        self.fingerprint.clone()
    }
}

/// The order in which a player sees `len` examples, of those that have been asked for.
pub(super) fn order(
    known: &mut Vec<Option<Batches>>,
    player: u32,
    len: usize,
    batch: usize,
    seed: u64,
) -> Result<&mut Batches> {
    let at = player as usize;
    if known.len() <= at {
        known.resize_with(at + 1, || None);
    }
    match &mut known[at] {
        Some(order) => Ok(order),
        none => Ok(none.insert(Batches::new(len, batch, seed)?)),
    }
}

/// Images `[n, h, w, c]` of pixels.
pub(crate) fn images_tensor(pixels: &[f32], [h, w, c]: [usize; 3], device: &Device) -> Result<Tensor> {
    Tensor::from_slice(pixels, [pixels.len() / (h * w * c), h, w, c], device)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_measured_on_is_part_of_the_examples() {
        let images = |shade: u8| Images::from_bytes(vec![shade; 8], vec![0, 1], [2, 2, 1], 2).unwrap();
        let fingerprint = |train: u8, test: u8| {
            let examples = LabelledImages::new(images(train), &images(test), None, (1, 0), &Device::Cpu).unwrap();
            examples.fingerprint()
        };
        assert_eq!(fingerprint(1, 2), fingerprint(1, 2));
        assert!(fingerprint(1, 2) != fingerprint(1, 3) && fingerprint(1, 2) != fingerprint(2, 2));
    }
}
