//! What a run minimises and what it sees, where that is more than a loss and a data set.

use std::fmt::Debug;

use crate::autograd::Var;
use crate::diffusion::{Denoiser, Loss, Model};
use crate::error::Result;
use crate::nn::{Conditions, Context};
use crate::tensor::Tensor;

/// A part of a batch, as an [`Objective`] sees it.
#[derive(Debug, Clone)]
pub struct Batch<'a> {
    /// The samples `[n, ...]` (images NHWC) in f32, augmented.
    pub y: &'a Tensor,
    /// Which samples of the set they are, `[n]`.
    pub indices: &'a [u32],
    /// What the network is told of them.
    pub conditions: Conditions<'a>,
}

/// What a training step goes down on.
pub trait Objective: Debug {
    /// The mean over the batch, a scalar. Its random numbers are to come from the context's
    /// [address](Context::address).
    fn loss(&self, cx: &Context, denoiser: &Denoiser, batch: &Batch) -> Result<Var>;
}

impl Objective for Loss {
    fn loss(&self, cx: &Context, denoiser: &Denoiser, batch: &Batch) -> Result<Var> {
        self.forward(cx, denoiser, batch.y, batch.conditions)
    }
}

/// Samples that change while a model is trained on them. The set of the run keeps its length; what stands at an index
/// may change.
pub trait Source: Debug {
    /// Asked before step `step`, counted from 0. `model` gives the averaged model as it is then.
    ///
    /// If the step is left because the run is to [stop](crate::stop), this is asked again when the run goes on, perhaps
    /// after [`state`](Self::state) and [`restore`](Self::restore): what has been done for the step is not to be done
    /// twice.
    fn before(&mut self, step: u64, model: &dyn Fn() -> Result<Model>, note: &mut dyn FnMut(&str)) -> Result<()>;

    /// Pixels and labels of samples for step `step`; `first` is the place of the first of them in the batch.
    fn gather(&self, step: u64, first: usize, indices: &[u32]) -> Result<(Vec<f32>, Vec<u32>)>;

    /// What a checkpoint must hold, so that [`restore`](Self::restore) brings the source back bit for bit.
    fn state(&self) -> Result<Vec<u8>>;

    /// Goes on from what [`state`](Self::state) gave. Errors if it is not that.
    fn restore(&mut self, state: &[u8]) -> Result<()>;
}
