//! Plans: what the launches of operations and networks are counted to be, held against formulas, and against the
//! launches that the emulator gets.

#[cfg(feature = "emulator")]
#[path = "plan/deferred.rs"]
mod deferred;
#[path = "plan/graphs.rs"]
mod graphs;
#[path = "plan/networks.rs"]
mod networks;
#[path = "plan/operations.rs"]
mod operations;
#[path = "plan/predictions.rs"]
mod predictions;
#[cfg(feature = "emulator")]
#[path = "plan/replayed.rs"]
mod replayed;

use veridical::backend::plan::Planner;
use veridical::{DType, Device, Tensor};

/// A device of 64 GiB that computes nothing.
fn planner() -> (Planner, Device) {
    let planner = Planner::new(64 << 30);
    let device = Device::Gpu(planner.gpu().clone());
    (planner, device)
}

fn empty<const N: usize>(shape: [usize; N], dtype: DType, device: &Device) -> Tensor {
    Tensor::empty(shape, dtype, device).unwrap()
}
