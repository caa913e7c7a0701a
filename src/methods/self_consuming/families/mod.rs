//! Model families for the loop.

mod categorical;
mod diffusion;
mod gaussian;
mod kernel;
mod mixture;
mod ngram;
mod points;
mod regression;
mod transformer;

pub use categorical::{Categorical, Frequencies};
pub use diffusion::{Diffusion, DiffusionTraining};
pub use gaussian::{Gaussian, Normal};
pub use kernel::{Bandwidth, Blurred, KernelDensity};
pub use mixture::{GaussianMixture, Mixture};
pub use ngram::{Ngram, Table};
pub use regression::LinearRegression;
pub use transformer::{LanguageModel, LanguageTraining};
