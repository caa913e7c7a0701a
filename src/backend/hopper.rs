//! What a Hopper has that no other GPU has, and what of it has to be asked for.

use std::sync::OnceLock;

use super::switch;

/// What a GPU has that runs the kernels for Hopper: their machine code is for that generation alone, of compute
/// capability 9.0, and no other GPU, older or newer, takes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hopper {
    /// How many blocks run side by side, if each fills a multiprocessor.
    pub multiprocessors: u32,
    /// Whether gradients of convolutions' weights are made by `wgmma`, too: of factors that lie transposed, of which no
    /// GPU has said yet that it finds them as the emulator does (`tests/golden/ptx`). So it has to be asked for.
    pub weight_gradients: bool,
}

/// Whether `VERIDICAL_HOPPER_WEIGHTS` asks a GPU, or a prediction for one, for [`Hopper::weight_gradients`]: it does if
/// it is `on`.
pub(crate) fn asks_for_weight_gradients() -> bool {
    static ASKED: OnceLock<bool> = OnceLock::new();
    *ASKED.get_or_init(|| switch::is_on("VERIDICAL_HOPPER_WEIGHTS", false))
}
