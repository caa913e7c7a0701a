//! What there is to do in a launch.

/// What multiplies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Unit {
    /// Multiply-adds, one for each lane.
    #[default]
    Fma,
    /// Tensor cores, by `mma` of 16x8x16.
    Mma,
    /// Tensor cores, by Hopper's `wgmma`, counted in `mma` of 16x8x16.
    Wgmma,
}

/// What a launch has to do, on any GPU.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Work {
    /// Floating-point operations of its product as textbooks count them, a multiply-add as two; 0 of what is none.
    pub flops: f64,
    /// Bytes that memory gives and takes if caches lose nothing while the kernel runs.
    pub bytes: f64,
    /// Bytes that products fetch through the L2 cache, each as often as tiles use it.
    pub cached: f64,
    /// Multiplying instructions, each of a warp, of whole tiles.
    pub multiplications: f64,
    /// What those are.
    pub unit: Unit,
    /// Instructions of all warps, where somebody counted those of the loop.
    pub instructions: f64,
    /// Blocks.
    pub blocks: f64,
    /// Whether they run in clusters.
    pub clustered: bool,
    /// Whether the bytes are those of all buffers that the kernel was given, for want of something better.
    pub assumed: bool,
}
