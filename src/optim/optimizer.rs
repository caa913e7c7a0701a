//! Optimisers with their state.

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::ops::adam::{AdamState, AdamStep};
use crate::ops::sgd::{SgdState, SgdStep};
use crate::ops::{adam, sgd};
use crate::tensor::Tensor;

/// Which optimiser, with its settings.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(tag = "name", rename_all = "lowercase", deny_unknown_fields)]
#[non_exhaustive]
pub enum OptimizerConfig {
    /// Adam (Kingma & Ba 2014), AdamW with a weight decay; see [`adam`](crate::ops::adam()).
    Adam {
        /// Learning rate.
        lr: f64,
        /// Decay of the first moment.
        #[serde(default = "beta1")]
        beta1: f64,
        /// Decay of the second moment.
        #[serde(default = "beta2")]
        beta2: f64,
        /// Added to the root of the second moment.
        #[serde(default = "eps")]
        eps: f64,
        /// Decoupled weight decay.
        #[serde(default)]
        weight_decay: f64,
    },
    /// Gradient descent; see [`sgd`](crate::ops::sgd()).
    Sgd {
        /// Learning rate.
        lr: f64,
        /// Decay of the momentum; 0: none.
        #[serde(default)]
        momentum: f64,
        /// Looks ahead along the momentum.
        #[serde(default)]
        nesterov: bool,
        /// Times the weights, added to the gradient.
        #[serde(default)]
        weight_decay: f64,
    },
    /// RMSprop, not centred; see [`sgd`](crate::ops::sgd()).
    RmsProp {
        /// Learning rate.
        lr: f64,
        /// Decay of the running squares.
        #[serde(default = "alpha")]
        alpha: f64,
        /// Added to the root of the running squares.
        #[serde(default = "eps")]
        eps: f64,
        /// Decay of the momentum; 0: none.
        #[serde(default)]
        momentum: f64,
    },
}

fn beta1() -> f64 {
    0.9
}
fn beta2() -> f64 {
    0.999
}
fn alpha() -> f64 {
    0.99
}
fn eps() -> f64 {
    1e-8
}

impl OptimizerConfig {
    /// Adam with the usual settings: betas 0.9 and 0.999, eps 1e-8, no weight decay.
    pub fn adam(lr: f64) -> Self {
        OptimizerConfig::Adam { lr, beta1: beta1(), beta2: beta2(), eps: eps(), weight_decay: 0.0 }
    }

    /// The learning rate, before any schedule.
    pub fn lr(&self) -> f64 {
        match *self {
            OptimizerConfig::Adam { lr, .. }
            | OptimizerConfig::Sgd { lr, .. }
            | OptimizerConfig::RmsProp { lr, .. } => lr,
        }
    }

    /// The names of the buffers that the optimiser keeps, first and second.
    fn buffers(&self) -> [Option<&'static str>; 2] {
        match *self {
            OptimizerConfig::Adam { .. } => [Some("m"), Some("v")],
            OptimizerConfig::Sgd { momentum, .. } => [(momentum != 0.0).then_some("momentum"), None],
            OptimizerConfig::RmsProp { momentum, .. } => [(momentum != 0.0).then_some("momentum"), Some("squares")],
        }
    }
}

/// What a single step is made with.
#[derive(Debug)]
pub struct StepOptions<'a> {
    /// Multiplies the learning rate: the schedule.
    pub lr_factor: f64,
    /// The result of [`gradient_norm`](crate::ops::gradient_norm()): its factor scales the gradient, and if it is not
    /// finite the step is left out.
    pub clip: Option<&'a Tensor>,
    /// An average of the weights, updated in the same pass, and its decay.
    pub ema: Option<(&'a mut Tensor, f64)>,
    /// A bf16 copy of the weights, written in the same pass.
    pub copy: Option<&'a mut Tensor>,
}

impl Default for StepOptions<'_> {
    fn default() -> Self {
        StepOptions { lr_factor: 1.0, clip: None, ema: None, copy: None }
    }
}

/// An optimiser and what it remembers of the weights it was made for.
#[derive(Debug)]
pub struct Optimizer {
    config: OptimizerConfig,
    buffers: [Option<Tensor>; 2],
    steps: u64,
}

impl Optimizer {
    /// An optimiser for weights like these: f32, or f64 on the CPU.
    pub fn new(config: OptimizerConfig, weights: &Tensor) -> Result<Self> {
        let [first, second] = config
            .buffers()
            .map(|name| name.map(|_| Tensor::zeros(weights.shape(), weights.dtype(), &weights.device())).transpose());
        Ok(Optimizer { config, buffers: [first?, second?], steps: 0 })
    }

    /// The settings.
    pub fn config(&self) -> &OptimizerConfig {
        &self.config
    }

    /// Steps made so far.
    pub fn steps(&self) -> u64 {
        self.steps
    }

    /// One step along the gradient, in place. Errors as [`adam`](crate::ops::adam()) and [`sgd`](crate::ops::sgd());
    /// nothing has changed then.
    pub fn step(&mut self, weights: &mut Tensor, gradient: &Tensor, options: StepOptions) -> Result<()> {
        let StepOptions { lr_factor, clip, ema, copy } = options;
        let (ema, ema_beta) = match ema {
            Some((ema, beta)) => (Some(ema), beta),
            None => (None, 0.0),
        };
        let lr = self.config.lr() * lr_factor;
        let step = self.steps + 1;
        let [first, second] = &mut self.buffers;
        let missing = || Error::Config("the optimiser has lost its state; make a new one".into());
        match self.config {
            OptimizerConfig::Adam { beta1, beta2, eps, weight_decay, .. } => {
                let settings = AdamStep { lr, beta1, beta2, eps, weight_decay, step, ema_beta };
                let (m, v) = (first.as_mut().ok_or_else(missing)?, second.as_mut().ok_or_else(missing)?);
                adam(&settings, AdamState { weights, m, v, ema, copy }, gradient, clip)?;
            }
            OptimizerConfig::Sgd { momentum, nesterov, weight_decay, .. } => {
                let settings = SgdStep { lr, momentum, nesterov, weight_decay, rms: None, ema_beta };
                let state = SgdState { weights, momentum: first.as_mut(), squares: second.as_mut(), ema, copy };
                sgd(&settings, state, gradient, clip)?;
            }
            OptimizerConfig::RmsProp { alpha, eps, momentum, .. } => {
                let rms = Some((alpha, eps));
                let settings = SgdStep { lr, momentum, nesterov: false, weight_decay: 0.0, rms, ema_beta };
                let state = SgdState { weights, momentum: first.as_mut(), squares: second.as_mut(), ema, copy };
                sgd(&settings, state, gradient, clip)?;
            }
        }
        self.steps = step;
        Ok(())
    }

    /// What has to be stored to go on later, beside the number of [`steps`](Self::steps): buffers by name.
    pub fn state(&self) -> Vec<(&'static str, &Tensor)> {
        self.config
            .buffers()
            .into_iter()
            .zip(&self.buffers)
            .filter_map(|(name, buffer)| Some((name?, buffer.as_ref()?)))
            .collect()
    }

    /// Goes on from a stored state; `find` gives the buffer of a name. Errors if one is missing or unlike the present
    /// one; nothing has changed then.
    pub fn restore(&mut self, steps: u64, find: impl Fn(&str) -> Option<Tensor>) -> Result<()> {
        let mut stored = [None, None];
        for ((name, buffer), stored) in self.config.buffers().into_iter().zip(&self.buffers).zip(&mut stored) {
            let (Some(name), Some(buffer)) = (name, buffer) else { continue };
            let found = find(name)
                .ok_or_else(|| Error::Config(format!("the stored state of the optimiser has no buffer {name:?}")))?;
            if found.shape() != buffer.shape() || found.dtype() != buffer.dtype() {
                let got = format!("{}{}", found.dtype(), found.shape());
                return Err(Error::shape(
                    "optimiser state",
                    format!("{name} {}{}", buffer.dtype(), buffer.shape()),
                    got,
                ));
            }
            *stored = Some(found.to_device(&buffer.device())?);
        }
        self.buffers = stored;
        self.steps = steps;
        Ok(())
    }
}
