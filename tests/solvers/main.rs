//! Solvers against reference values, closed forms and each other.

mod brownian;
mod conformance;
mod equalities;
#[path = "../hardware/mod.rs"]
mod hardware;
mod likelihood;
#[path = "../locate/mod.rs"]
mod locate;
mod orders;
mod problem;
mod sampler;
mod stochastic;
