//! Batches of images, some with labels.

use std::collections::BTreeMap;
use std::fmt::Debug;

use crate::data::{Affine, Batches, Images};
use crate::error::{Error, Result};
use crate::methods::game::{HeldOut, Truth, images_tensor};
use crate::random::{RandomKey, Samples};
use crate::tensor::{Device, Tensor};

/// Where batches come from.
pub trait Inputs: Debug {
    /// Classes.
    fn classes(&self) -> usize;

    /// Labelled images `[n, h, w, c]` and their classes `[n]` of a player's `step`-th step.
    fn labelled(&mut self, player: u32, step: u64) -> Result<(Tensor, Tensor)>;

    /// Unlabelled images of the same, of whose pairs the classifier's are made.
    fn unlabelled(&mut self, player: u32, step: u64) -> Result<Tensor>;

    /// Unlabelled images that join the true pairs of a step of the discriminator, with the classes that the classifier
    /// gives them; `None`: none do.
    fn joined(&mut self, step: u64) -> Result<Option<Tensor>>;

    /// What nothing is trained on.
    fn held_out(&self) -> &HeldOut;

    /// How many unlabelled images a step has.
    fn unlabelled_count(&self) -> usize;

    /// Pairs that the generator makes in a step.
    fn generated(&self) -> usize;
}

/// Images of a step, by what they are for.
#[derive(Debug, Clone, Copy)]
pub struct Counts {
    /// Labelled ones of the classifier.
    pub labelled: usize,
    /// Labelled ones of the discriminator.
    pub true_pairs: usize,
    /// Unlabelled ones of the classifier.
    pub unlabelled: usize,
    /// Unlabelled ones that join the true pairs.
    pub joined: usize,
    /// Images that are made.
    pub generated: usize,
}

/// Images in memory.
#[derive(Debug)]
pub struct ImageInputs {
    labelled: Images,
    unlabelled: Images,
    held_out: HeldOut,
    affine: Option<Affine>,
    counts: Counts,
    seed: u64,
    device: Device,
    orders: BTreeMap<u32, Batches>,
}

impl ImageInputs {
    /// Errors if what is measured on is unlike.
    pub fn new(
        (labelled, unlabelled, held_out): (Images, Images, &Images),
        affine: Option<Affine>,
        counts: Counts,
        seed: u64,
        device: &Device,
    ) -> Result<Self> {
        if held_out.size() != labelled.size() || held_out.classes() > labelled.classes() {
            let of = |images: &Images| format!("{:?} of {} classes", images.size(), images.classes());
            let what = format!("images {} to train on, {} to measure on; make them alike", of(&labelled), of(held_out));
            return Err(Error::Config(what));
        }
        let pixels = images_tensor(&held_out.pixels()?, held_out.size(), &Device::Cpu)?;
        let truth = Truth::Class(held_out.labels().to_vec());
        let held_out = HeldOut { student: pixels.clone(), teacher: pixels, truth };
        let (device, orders) = (device.clone(), BTreeMap::new());
        Ok(ImageInputs { labelled, unlabelled, held_out, affine, counts, seed, device, orders })
    }

    /// Labelled images in a step of the classifier.
    pub fn labelled_count(&self) -> usize {
        self.counts.labelled.min(self.labelled.len())
    }

    /// Images of a stream of batches.
    fn batch(&mut self, stream: u32, of_labelled: bool, count: usize, step: u64) -> Result<(Tensor, Vec<u32>)> {
        let seed = RandomKey::stage_seed(self.seed, 1 + stream)?;
        let images = if of_labelled { &self.labelled } else { &self.unlabelled };
        let order = match self.orders.entry(stream) {
            std::collections::btree_map::Entry::Occupied(order) => order.into_mut(),
            std::collections::btree_map::Entry::Vacant(place) => place.insert(Batches::new(images.len(), count, seed)?),
        };
        let (mut pixels, labels) = images.gather(&order.at(step)?)?;
        if let Some(affine) = &self.affine {
            let step = u32::try_from(step).map_err(|_| Error::argument("ImageInputs", "2^32 steps or more"))?;
            affine.apply(&mut pixels, images.size(), (seed, step), Samples::From(0))?;
        }
        Ok((images_tensor(&pixels, images.size(), &self.device)?, labels))
    }
}

impl Inputs for ImageInputs {
    fn classes(&self) -> usize {
        self.labelled.classes()
    }

    fn labelled(&mut self, player: u32, step: u64) -> Result<(Tensor, Tensor)> {
        let count = if player == 0 { self.labelled_count() } else { self.counts.true_pairs };
        let (x, y) = self.batch(4 * player, true, count, step)?;
        let y = Tensor::from_slice(&y, [y.len()], &self.device)?;
        Ok((x, y))
    }

    fn unlabelled(&mut self, player: u32, step: u64) -> Result<Tensor> {
        Ok(self.batch(4 * player + 1, false, self.counts.unlabelled, step)?.0)
    }

    fn joined(&mut self, step: u64) -> Result<Option<Tensor>> {
        match self.counts.joined {
            0 => Ok(None),
            count => Ok(Some(self.batch(2, false, count, step)?.0)),
        }
    }

    fn held_out(&self) -> &HeldOut {
        &self.held_out
    }

    fn unlabelled_count(&self) -> usize {
        self.counts.unlabelled
    }

    fn generated(&self) -> usize {
        self.counts.generated
    }
}
