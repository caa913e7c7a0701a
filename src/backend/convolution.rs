//! The geometry of a convolution, which the CPU's patches and a GPU's launch are made from.

/// The shape of a 2-D convolution over NHWC images with a weight of `[out, kernel, kernel, in]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Convolution {
    /// Number of images.
    pub batch: usize,
    /// Height of the input.
    pub height: usize,
    /// Width of the input.
    pub width: usize,
    /// Channels of the input.
    pub inputs: usize,
    /// Channels of the output.
    pub outputs: usize,
    /// Height and width of the kernel; at least 1.
    pub kernel: usize,
    /// Distance between neighbouring patches; at least 1.
    pub stride: usize,
    /// Zeros around the input, on each side.
    pub padding: usize,
}

impl Convolution {
    /// Height of the output.
    pub fn out_height(&self) -> usize {
        self.out_extent(self.height)
    }

    /// Width of the output.
    pub fn out_width(&self) -> usize {
        self.out_extent(self.width)
    }

    fn out_extent(&self, extent: usize) -> usize {
        (extent + 2 * self.padding).checked_sub(self.kernel).map_or(0, |room| room / self.stride + 1)
    }

    /// Weights per output channel.
    pub fn taps(&self) -> usize {
        self.kernel * self.kernel
    }

    /// Pixels of all outputs.
    pub fn out_pixels(&self) -> usize {
        self.batch * self.out_height() * self.out_width()
    }

    /// Pixels of all inputs.
    pub fn in_pixels(&self) -> usize {
        self.batch * self.height * self.width
    }
}
