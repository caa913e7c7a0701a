//! A network in a game.

use std::collections::BTreeMap;
use std::fmt::{self, Debug, Formatter};

use crate::autograd::Var;
use crate::error::Result;
use crate::nn::{Context, Layout, Module, Scope, Weights};
use crate::ops;
use crate::ops::random::Address;
use crate::tensor::{DType, Device, Tensor};
use crate::train::{TrainOptions, Trainer};

/// A network with its weights, optimiser and average.
pub struct Player<N: ?Sized = dyn Module + Send + Sync> {
    /// Its weights in training.
    pub trainer: Trainer,
    /// What they are the weights of.
    pub network: Box<N>,
    /// What its file says of it besides the weights.
    pub metadata: BTreeMap<String, String>,
    compute: DType,
}

impl<N: ?Sized> Player<N> {
    /// A network that `build` makes in a scope called `name`, with first weights of the options' seed.
    ///
    /// Errors where `build` does, if two parameters have one name, and on settings that the optimiser does not take.
    pub fn new(
        name: &str,
        device: &Device,
        options: TrainOptions,
        build: impl FnOnce(&mut Scope) -> Result<Box<N>>,
    ) -> Result<Self> {
        let mut layout = Layout::new();
        let network = build(&mut layout.scope(name))?;
        layout.check()?;
        Self::of(network, Weights::init(&layout.into(), options.seed, device)?, options)
    }

    /// A network with weights that it has already. Errors on settings that the optimiser does not take.
    pub fn of(network: Box<N>, weights: Weights, options: TrainOptions) -> Result<Self> {
        let trainer = Trainer::new(weights, options)?;
        Ok(Player { trainer, network, metadata: BTreeMap::new(), compute: options.compute })
    }

    /// With words for its file.
    #[must_use]
    pub fn described(mut self, metadata: BTreeMap<String, String>) -> Self {
        self.metadata = metadata;
        self
    }

    /// The weights as they are, without gradients to them, dropout or statistics of the batch.
    pub fn fixed(&self) -> Context {
        Context::inference(self.trainer.weights()).compute_in(self.compute)
    }

    /// The weights as they are, without gradients to them, but random as in training.
    pub fn opponent(&self, address: &Address) -> Context {
        Context::opponent(self.trainer.weights(), address.clone()).compute_in(self.compute)
    }

    /// As [`fixed`](Self::fixed), with the averaged weights.
    pub fn averaged(&self) -> Result<Context> {
        Ok(Context::inference(&self.trainer.average()?).compute_in(self.compute))
    }

    /// Where the network is.
    pub fn device(&self) -> Device {
        self.trainer.weights().device()
    }
}

impl Player {
    /// Logits `[n, k]` in f32 of a batch, in a context of this player.
    pub fn logits(&self, cx: &Context, x: impl Into<Var>) -> Result<Var> {
        ops::cast(&self.network.forward(cx, &x.into())?, DType::F32)
    }

    /// The same by the weights as they are, as a constant.
    pub fn fixed_logits(&self, x: &Tensor) -> Result<Var> {
        self.logits(&self.fixed(), x)
    }
}

impl<N: ?Sized> Debug for Player<N> {
    fn fmt(&self, f: &mut Formatter) -> fmt::Result {
        f.debug_struct("Player").field("trainer", &self.trainer).finish_non_exhaustive()
    }
}
