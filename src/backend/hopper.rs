//! What a Hopper has that no other GPU has, and what of it has to be asked for.

use std::sync::OnceLock;

use super::switch;

/// What a GPU has that runs the kernels for Hopper: their machine code is for that generation alone, of compute
/// capability 9.0, and no other GPU, older or newer, takes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hopper {
    /// How many blocks run side by side, if each fills a multiprocessor.
    pub multiprocessors: u32,
    /// What it is asked for besides.
    pub asked: Asked,
}

/// What a Hopper does only where it is asked to, as no GPU has said yet that it does it as the emulator does
/// (`tests/golden/ptx`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Asked {
    /// Gradients of convolutions' weights are made by `wgmma`, too: of factors that lie transposed.
    pub weight_gradients: bool,
    /// Tiles are given to clusters of two blocks, which load what they share once for both. What they compute is the
    /// same, bit for bit.
    pub clusters: bool,
}

impl Asked {
    /// What `VERIDICAL_HOPPER_WEIGHTS` and `VERIDICAL_HOPPER_CLUSTERS` ask a GPU for, or a prediction for one, where
    /// they are `on`.
    pub(crate) fn by_environment() -> Asked {
        static ASKED: OnceLock<Asked> = OnceLock::new();
        *ASKED.get_or_init(|| Asked {
            weight_gradients: switch::is_on("VERIDICAL_HOPPER_WEIGHTS", false),
            clusters: switch::is_on("VERIDICAL_HOPPER_CLUSTERS", false),
        })
    }
}
