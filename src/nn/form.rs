//! In which order files store the axes of a tensor.

use crate::tensor::Shape;

/// How a file stores a tensor whose axes are in another order in memory: as PyTorch does, and the public code of EDM.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum FileForm {
    /// As it is.
    Plain,
    /// `[out, in, kh, kw]` in the file, `[out, kh, kw, in]` in memory.
    Convolution,
    /// `[out, in, 1, 1]` in the file, `[out, in]` in memory.
    Pointwise,
    /// A 1x1 convolution to queries, keys and values: output channel `3 c + {q, k, v}` in the file, `{q, k, v} C + c`
    /// in memory.
    QueryKeyValue,
    /// The bias of such a convolution.
    QueryKeyValueBias,
}

impl FileForm {
    /// The form of a tensor of which nothing else is said: four axes are those of a convolution's weight.
    pub fn of(shape: &Shape) -> Self {
        if shape.rank() == 4 { FileForm::Convolution } else { FileForm::Plain }
    }
}
