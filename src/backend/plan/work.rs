//! What there is to do in a launch.

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
    /// Whether those are `mma`.
    pub mma: bool,
    /// Instructions of all warps, where somebody counted those of the loop.
    pub instructions: f64,
    /// Blocks.
    pub blocks: f64,
    /// Whether the bytes are those of all buffers that the kernel was given, for want of something better.
    pub assumed: bool,
}
