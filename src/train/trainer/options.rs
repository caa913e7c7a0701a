//! How a trainer trains.

use crate::optim::{HalfLife, OptimizerConfig, Schedule};
use crate::tensor::DType;

/// How to train.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TrainOptions {
    /// The seed of everything random: noise, noise levels, dropout.
    pub seed: u64,
    /// The optimiser, with the learning rate.
    pub optimizer: OptimizerConfig,
    /// What the learning rate is multiplied by over the run.
    pub schedule: Schedule,
    /// Gradients longer than this are shortened to it; infinite: none are.
    pub max_norm: f64,
    /// The running average of the weights; `None`: there is none.
    pub average: Option<HalfLife>,
    /// What matrix products and convolutions are computed in, f32 or bf16.
    pub compute: DType,
    /// Whether U-Nets run their blocks again in the backward pass instead of keeping what they computed: less memory,
    /// the same result up to the rounding of sums.
    pub recompute: bool,
    /// Into how many slots a batch is cut, whose gradients are added in a fixed order: as many
    /// [ranks](crate::distributed::Ranks) at most can share the work, and any number of them gives the same bits.
    pub slots: usize,
    /// Whether each rank keeps only its share of the optimiser's state and of the averages, to the same bits: less
    /// memory, half as much again to exchange.
    pub shard_state: bool,
}

impl TrainOptions {
    /// Adam at this learning rate; no schedule, clipping or average; f32; one slot.
    pub fn adam(lr: f64, seed: u64) -> Self {
        TrainOptions {
            seed,
            optimizer: OptimizerConfig::adam(lr),
            schedule: Schedule::default(),
            max_norm: f64::INFINITY,
            average: None,
            compute: DType::F32,
            recompute: false,
            slots: 1,
            shard_state: false,
        }
    }
}
