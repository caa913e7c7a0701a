//! Solvers against reference values, closed forms and each other.

mod brownian;
mod conformance;
mod equalities;
mod likelihood;
mod orders;
mod problem;
mod sampler;
mod stochastic;
