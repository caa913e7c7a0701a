//! Solvers of the reverse process, one file each. They take any denoiser, any starting point and any grid of noise
//! levels.
//!
//! Everywhere `x = y + sigma n` with clean data y and standard normal n; `D(x; sigma)` is the denoiser, `d = (x - D) /
//! sigma` the slope of the probability-flow ODE, and a step goes from noise level `a` to `b`. Coefficients are f64 on
//! the host; the state has the dtype of the start (f64 is recommended on the CPU).
//!
//! [`solve`] runs a [`Solver`]; [`named()`] makes one by the name that the command line knows it by. A solver of your
//! own implements [`Solver`] with what [`Run`] offers: see `examples/own_solver.rs`.

mod ancestral;
mod brownian;
mod churn;
mod deis;
mod dormand_prince;
mod dpm2;
mod dpmpp_2m;
mod dpmpp_2m_sde;
mod dpmpp_2s;
mod dpmpp_3m;
mod dpmpp_3m_sde;
mod dpmpp_sde;
mod edm_general;
mod euler;
mod euler_ancestral;
mod euler_maruyama;
mod heun;
mod ipndm;
mod lagrange;
mod lms;
mod named;
mod noise;
mod phi;
mod predictor_corrector;
mod reverse_diffusion;
mod rk45;
mod run;
mod sde;
mod unipc;

pub use ancestral::ancestral_step;
pub use brownian::BrownianPath;
pub use churn::Churn;
pub use deis::Deis;
pub(super) use dormand_prince::DormandPrince;
pub use dpm2::{Dpm2, Dpm2Ancestral};
pub use dpmpp_2m::DpmPp2M;
pub use dpmpp_2m_sde::{Correction, DpmPp2MSde};
pub use dpmpp_2s::DpmPp2S;
pub use dpmpp_3m::DpmPp3M;
pub use dpmpp_3m_sde::DpmPp3MSde;
pub use dpmpp_sde::DpmPpSde;
pub use edm_general::{EdmGeneral, SampleScale, Schedule};
pub use euler::Euler;
pub use euler_ancestral::EulerAncestral;
pub use euler_maruyama::EulerMaruyama;
pub use heun::{Heun, heun};
pub use ipndm::Ipndm;
pub use lms::{Lms, lms_coefficients};
pub use named::{NAMES, Options, canonical, named, unknown_option};
pub use noise::{FreshNoise, Noise};
pub use predictor_corrector::PredictorCorrector;
pub use reverse_diffusion::ReverseDiffusion;
pub use rk45::Rk45;
pub use run::{Run, Solution, State, combine, solve};
pub use sde::Sde;
pub use unipc::{BFunction, UniPc};

use crate::error::Result;
use crate::tensor::Tensor;

/// Something that denoises: `D(x; sigma)` for samples that share one noise level, in the shape and dtype of `x`.
///
/// Every `FnMut(&Tensor, f64) -> Result<Tensor>` is one.
pub trait Denoise {
    /// The expected clean samples, given noisy ones.
    fn at(&mut self, x: &Tensor, sigma: f64) -> Result<Tensor>;

    /// The noise level nearest to `sigma` that the denoiser knows; `sigma` itself unless it was made for certain levels
    /// only.
    fn round_sigma(&self, sigma: f64) -> f64 {
        sigma
    }
}

impl<F: FnMut(&Tensor, f64) -> Result<Tensor>> Denoise for F {
    fn at(&mut self, x: &Tensor, sigma: f64) -> Result<Tensor> {
        self(x, sigma)
    }
}

/// A method that takes samples from the first noise level of a grid to the last.
pub trait Solver: std::fmt::Debug + Send + Sync {
    /// Solves from `x` at `sigmas[0]` to the last level. The grid has at least two levels and falls strictly; the last
    /// may be 0.
    fn solve(&self, run: &mut Run, x: Tensor, sigmas: &[f64]) -> Result<Tensor>;

    /// Whether a sample's path depends on the others of its batch, as with a step size that all must agree on.
    fn couples_samples(&self) -> bool {
        false
    }

    /// Whether the noise can come from one Brownian path, as [`BrownianPath`] has it: only if every request is for the
    /// noise of a way that the samples go down, and none for noise beside it, which would have to be independent.
    fn path_use(&self) -> PathUse {
        PathUse::Possible
    }
}

/// How a solver stands to noise from one Brownian path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PathUse {
    /// It would sample another distribution, or none.
    Never,
    /// It samples the same distribution either way.
    Possible,
    /// A path is its default. Where requests overlap, what they share must be the same noise.
    Meant,
}
