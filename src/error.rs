//! One error type for the whole crate.
//!
//! Every message says what was asked, what was found and what to do about it.

use std::path::{Path, PathBuf};

use crate::escape::escaped;

/// The result of everything here that can fail.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What can go wrong. Each variant's text is meant for the person who made the call.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Shapes that do not fit the operation.
    #[error("{op}: expected {expected}, got {got}")]
    Shape {
        /// The operation that was asked for.
        op: &'static str,
        /// The shapes it takes.
        expected: String,
        /// The shapes it was given.
        got: String,
    },
    /// A dtype that the operation does not take.
    #[error("{op}: expected dtype {expected}, got {got}; convert with `cast`")]
    DType {
        /// The operation that was asked for.
        op: &'static str,
        /// The dtypes it takes.
        expected: String,
        /// The dtype it was given.
        got: String,
    },
    /// Operands on different devices, or an operation that the device does not have.
    #[error("{op}: {what}")]
    Device {
        /// The operation that was asked for.
        op: &'static str,
        /// What is wrong and what to do.
        what: String,
    },
    /// A device that cannot be had.
    #[error("no {device} device: {why}")]
    Unavailable {
        /// The device that was asked for.
        device: String,
        /// Why it cannot be had and what to do.
        why: String,
    },
    /// A kernel launch or driver call that failed.
    #[error("{what}: {why}")]
    Driver {
        /// Kernel, grid and block, or the driver call.
        what: String,
        /// The driver's own text.
        why: String,
    },
    /// Memory that a device does not have.
    #[error("{bytes} bytes on {device} cannot be had: {why}; use a smaller batch or model")]
    OutOfMemory {
        /// The device that was to hold them.
        device: String,
        /// How many were asked for.
        bytes: usize,
        /// The device's own text.
        why: String,
    },
    /// An argument outside its range.
    #[error("{op}: {what}")]
    Argument {
        /// The function that was called.
        op: &'static str,
        /// The argument, its value, and the values it may have.
        what: String,
    },
    /// Misuse of the tape.
    #[error("autograd: {0}")]
    Autograd(String),
    /// A gradient of a gradient, through an operation whose rule is in tensors.
    #[error(
        "{op} has a gradient, but none of higher order, and a gradient is to be differentiated through it: make it of \
         operations that have them, or record it with `Var::record_higher` or `Var::record_fused`"
    )]
    NoHigherGradient {
        /// The operation.
        op: &'static str,
    },
    /// An operation without a gradient on a path to a leaf.
    #[error(
        "{op} has no gradient, but its input requires one; call `detach()` on the input if the gradient is to stop here"
    )]
    NoGradient {
        /// The operation without a gradient.
        op: &'static str,
    },
    /// NaN or infinity where a finite number is needed.
    #[error("{what} is not finite: {found}")]
    NonFinite {
        /// The tensor or quantity.
        what: String,
        /// What was found, where.
        found: String,
    },
    /// A file or directory that cannot be read or written.
    #[error("{}: {source}", escaped(path))]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// The operating system's error.
        source: std::io::Error,
    },
    /// A file whose contents are not what they should be.
    #[error("{}: {what}", escaped(path))]
    Format {
        /// The file.
        path: PathBuf,
        /// Offset or field, what was found, and what was expected.
        what: String,
    },
    /// Settings that contradict each other or make no sense.
    #[error("{0}")]
    Config(String),
    /// A rank of a [run over several processes](crate::distributed) that is lost, or ended.
    #[error("rank {rank} {what}")]
    Rank {
        /// Which one.
        rank: usize,
        /// What became of it.
        what: String,
    },
    /// An exchange between ranks that failed, although none of them is known to be lost.
    #[error("{what}")]
    Exchange {
        /// What failed, why, and what to do.
        what: String,
    },
    /// The time that a run was given is up.
    #[error("the time that was given is up before it was done; it can be taken up again where it is")]
    OutOfTime,
    /// The [`Stop`](crate::stop::Stop) that the calling thread heeds was requested.
    #[error("stopped before it was done, as was asked for; call it again to have the result")]
    Stopped,
}

impl Error {
    /// A shape error; `got` is anything that prints, such as a `Shape`.
    pub fn shape(op: &'static str, expected: impl Into<String>, got: impl ToString) -> Self {
        Error::Shape { op, expected: expected.into(), got: got.to_string() }
    }

    /// Whether what failed is between ranks, and nothing is wrong with what this one has.
    pub(crate) fn is_between_ranks(&self) -> bool {
        matches!(self, Error::Rank { .. } | Error::Exchange { .. })
    }

    /// A dtype error.
    pub fn dtype(op: &'static str, expected: impl Into<String>, got: impl ToString) -> Self {
        Error::DType { op, expected: expected.into(), got: got.to_string() }
    }

    /// An argument error.
    pub fn argument(op: &'static str, what: impl Into<String>) -> Self {
        Error::Argument { op, what: what.into() }
    }

    /// An input or output error at `path`.
    pub fn io(path: impl AsRef<Path>, source: std::io::Error) -> Self {
        Error::Io { path: path.as_ref().to_path_buf(), source }
    }

    /// A malformed file at `path`.
    pub fn format(path: impl AsRef<Path>, what: impl Into<String>) -> Self {
        Error::Format { path: path.as_ref().to_path_buf(), what: what.into() }
    }
}
