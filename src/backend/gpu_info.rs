//! What a driver says of its GPUs.

/// The oldest compute capability that the kernels run on: `mma.sync` in bf16 and `cp.async` came with it.
pub(super) const OLDEST: (i32, i32) = (8, 0);

/// The driver of NVIDIA's GPUs, and what it sees.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GpuDriver {
    /// The newest CUDA that it knows, major and minor.
    pub cuda: (i32, i32),
    /// The GPUs, in its order.
    pub gpus: Vec<GpuInfo>,
}

/// A GPU as the driver describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GpuInfo {
    /// Its number, as in `cuda:0`.
    pub ordinal: usize,
    /// Its name.
    pub name: String,
    /// Its compute capability, major and minor.
    pub capability: (i32, i32),
    /// Its memory, in bytes.
    pub memory: u64,
    /// What is free of that, in bytes, if it can be asked.
    pub free: Option<u64>,
}

impl GpuInfo {
    /// Whether it is new enough for the kernels here: of compute capability 8.0 (Ampere) or later.
    pub fn is_new_enough(&self) -> bool {
        self.capability >= OLDEST
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gpu_is_new_enough_from_ampere_on() {
        let gpu = |capability| GpuInfo { ordinal: 0, name: "GPU".into(), capability, memory: 0, free: None };
        assert!(gpu((8, 0)).is_new_enough() && gpu((9, 0)).is_new_enough() && gpu((12, 0)).is_new_enough());
        assert!(!gpu((7, 5)).is_new_enough());
    }
}
