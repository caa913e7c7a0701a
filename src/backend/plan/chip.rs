//! Every number that predictions are made of, but for those that the launches and the compiled kernels say.

/// A GPU as its data sheet has it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Chip {
    /// As `--model` calls it.
    pub name: &'static str,
    /// As its maker calls it.
    pub title: &'static str,
    /// Bytes of memory.
    pub memory: usize,
    /// Bytes a second between chip and memory.
    pub bandwidth: f64,
}

impl Chip {
    /// H100 SXM: 80 GB, 3.35 TB/s (data sheet).
    pub const H100: Chip = Chip { name: "h100", title: "NVIDIA H100 SXM", memory: 80_000_000_000, bandwidth: 3.35e12 };
    /// H200 SXM: 141 GB, 4.8 TB/s (data sheet). Its multiprocessors are the H100's.
    pub const H200: Chip = Chip { name: "h200", title: "NVIDIA H200 SXM", memory: 141_000_000_000, bandwidth: 4.8e12 };
    /// All that there are.
    pub const ALL: [Chip; 2] = [Chip::H100, Chip::H200];

    /// The chip called `name`.
    pub fn named(name: &str) -> Option<Chip> {
        Self::ALL.into_iter().find(|chip| chip.name == name)
    }
}

// Of both chips; beside each constant stands what it is worth. *Estimate* is what a device has yet to judge.

/// Multiprocessors: data sheet.
pub(super) const MULTIPROCESSORS: f64 = 132.0;
/// Those that clusters of two blocks run on, each block alone on one: estimate, all. A cluster runs within one of the
/// chip's clusters of multiprocessors (GPC), and these are enabled in pairs, so that none should have an odd number. A
/// driver says how many there are (`cuOccupancyMaxActiveClusters`); where it says fewer, rounds of tiles take longer.
pub(super) const CLUSTERED: f64 = 132.0;
/// Schedulers of a multiprocessor, each of which issues one instruction of a warp a cycle: data sheet.
pub(super) const SCHEDULERS: f64 = 4.0;
/// Cycles a second: what the data sheet's 989.4 TFLOP/s of dense bf16 are, at 4,096 operations a multiprocessor and
/// cycle.
pub(super) const CLOCK: f64 = 1.83e9;
/// Cycles of a scheduler's tensor core for one `mma` of 16x8x16: data sheet, 1,024 operations of 4,096.
pub(super) const MMA_CYCLES: f64 = 4.0;
/// The share of that rate that `mma.sync` has: published, 63 to 65 % (494 of 757 TFLOP/s on an H800, arXiv 2501.12084).
/// Only `wgmma` has the rest.
pub(super) const MMA_SYNC: f64 = 0.63;
/// The share of the rate of `mma.sync` that a kernel reaches: estimate, the middle of the 330 to 450 TFLOP/s of kernels
/// that are built like these.
pub(super) const MMA_REACHED: f64 = 0.63;
/// The share of the tensor cores' rate that a kernel reaches by `wgmma`: estimate, the 600 to 700 TFLOP/s of kernels
/// that are built like these.
pub(super) const WGMMA_REACHED: f64 = 0.65;
/// Cycles of a scheduler for a warp's multiply-add: data sheet, 128 a multiprocessor.
pub(super) const FMA_CYCLES: f64 = 1.0;
/// The share of a scheduler's cycles in which it issues an instruction, with warps enough: estimate.
pub(super) const ISSUED: f64 = 0.85;
/// The share of its rate that a product has whose blocks are alone on their multiprocessors: estimate.
pub(super) const ALONE: f64 = 0.7;
/// The share of the data sheet's bandwidth that large transfers reach: estimate, 4.3 of 4.8 TB/s.
pub(super) const COPIED: f64 = 0.9;
/// Bytes a second out of the L2 cache: estimate, what is remembered of microbenchmarks of the H100 PCIe.
pub(super) const CACHE: f64 = 5.5e12;
/// Bytes a second that one block has: estimate, 32 KiB under way for half a microsecond.
pub(super) const ONE_BLOCK: f64 = 6.5e10;
/// Seconds from the last block of a kernel to the first work of the next: estimate, in a stream that never runs dry.
pub(super) const START: f64 = 2.5e-6;
/// The same within a graph, whose next kernel the device knows: estimate.
pub(super) const START_IN_GRAPH: f64 = 1.5e-6;
/// Seconds of the host for starting a graph: estimate.
pub(super) const HOST_REPLAY: f64 = 1e-5;
/// Seconds of the host for each launch of a graph while it is made: estimate, as long as a launch.
pub(super) const HOST_PREPARED: f64 = 5e-6;
/// Seconds of the host for what it does itself for each command of a graph that it asks for anew: estimate.
pub(super) const HOST_GATHERED: f64 = 2e-6;
/// Seconds of the host for giving a launch of a graph other parameters: estimate.
pub(super) const HOST_CHANGED: f64 = 1.5e-6;
/// Seconds of the host for a launch, a copy or a zeroing: estimate. With a pair of [`HOST_PAIR`] it comes to the 8
/// microseconds that a review of this crate estimated.
pub(super) const HOST_LAUNCH: f64 = 5e-6;
/// Seconds of the host for an allocation and its return: estimate.
pub(super) const HOST_PAIR: f64 = 3e-6;
/// Seconds that the device idles after the host has waited for it: estimate.
pub(super) const HOST_WAIT: f64 = 2e-5;
/// Bytes a second from the host: estimate, half of what PCIe 5.0 with 16 lanes has.
pub(super) const HOST_COPIED: f64 = 3e10;
/// Bytes of the largest upload that the host does not wait for: `Staging::LARGEST` in `backend/cuda/staging.rs`.
pub(crate) const STAGED: usize = 8 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rates_are_those_of_the_data_sheet() {
        let dense = MULTIPROCESSORS * SCHEDULERS * CLOCK * 4096.0 / MMA_CYCLES;
        assert!((dense / 989.4e12 - 1.0).abs() < 0.01, "{dense}");
        // What comes of the estimates lies where those who built such kernels found it.
        let reached = dense * MMA_SYNC * MMA_REACHED;
        assert!((330e12..450e12).contains(&reached), "{reached}");
    }
}
