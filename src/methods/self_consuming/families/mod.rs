//! Model families for the loop.

mod categorical;
mod gaussian;
mod kernel;
mod mixture;
mod ngram;
mod points;
mod regression;

pub use categorical::{Categorical, Frequencies};
pub use gaussian::{Gaussian, Normal};
pub use kernel::{Bandwidth, Blurred, KernelDensity};
pub use mixture::{GaussianMixture, Mixture};
pub use ngram::{Ngram, Table};
pub use regression::LinearRegression;
