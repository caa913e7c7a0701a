//! Optimisers, averages of weights, and schedules.
//!
//! Everything works on flat buffers: one tensor for all weights, one for their gradients
//! ([`flatten`](crate::ops::flatten())), so that a step is a handful of launches however many parameters there are.
//!
//! ```
//! use veridical::optim::{HalfLife, Optimizer, OptimizerConfig, Schedule, StepOptions};
//! use veridical::{DType, Device, Tensor, ops};
//! # fn main() -> veridical::Result<()> {
//! let mut weights = Tensor::full(1.0, [4], DType::F32, &Device::Cpu)?;
//! let mut ema = Tensor::zeros([4], DType::F32, &Device::Cpu)?;
//! let mut optimizer = Optimizer::new(OptimizerConfig::adam(1e-3), &weights)?;
//! let (schedule, average) = (Schedule::warm_up(1000), HalfLife { images: 500e3, ramp: Some(0.05) });
//! let (batch, mut seen) = (64, 0);
//! for _ in 0..3 {
//!     let gradient = weights.clone(); // of half the squared length, for example
//!     let clip = ops::gradient_norm(&[&gradient], 1.0)?;
//!     let beta = average.beta(seen, batch);
//!     seen += batch;
//!     let options = StepOptions {
//!         lr_factor: schedule.factor(seen),
//!         clip: Some(&clip),
//!         ema: Some((&mut ema, beta)),
//!         copy: None,
//!     };
//!     optimizer.step(&mut weights, &gradient, options)?;
//! }
//! # Ok(())
//! # }
//! ```

mod average;
mod optimizer;
mod schedule;

pub use average::{HalfLife, PowerFunction, Snapshot, post_hoc, post_hoc_weights};
pub use optimizer::{Optimizer, OptimizerConfig, StepOptions};
pub use schedule::{Decay, Schedule};
