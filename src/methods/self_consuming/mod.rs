//! Training on one's own samples: what becomes of a model family when a share of its training data is its own output.
//!
//! Bakshi & Chakraborty 2026, "From Collapse to Improvement" (arXiv 2602.10531), and its neighbours. In round t a model
//! is fitted on n_t draws from `alpha_t * truth + (1 - alpha_t) * last model`, and measured. [`simulate`] runs the loop
//! for any [`Family`], by a [`Plan`] of [`Schedule`]s and an [`Arm`]; [`Law`] has its exact expectations for families
//! that keep the mean and the covariance of their data, [`theory`] the limits and bounds, and [`verdict()`] says what
//! becomes of it in the long run.
//!
//! ```
//! use veridical::methods::self_consuming::{Arm, Plan, Settings, families::Categorical, simulate, verdict};
//! # fn main() -> veridical::Result<()> {
//! let family = Categorical::random(50, 1)?;
//! let (alpha, samples) = ("0.1".parse()?, "100:power=1".parse()?);
//! let plan = Plan::new(Arm::Mixture, 30, &alpha, &samples, Some(&family.law()))?;
//! let found = simulate(&family, &plan, &Settings { repeats: 100, seed: 1, ..Settings::default() })?;
//! let risk = &found.measures[0];
//! let theory = risk.theory.as_ref().unwrap();
//! assert!((risk.mean[30] - theory[30]).abs() < 4.0 * risk.stderr[30]);
//! println!("{}", verdict(&alpha, &samples, family.law().variance)?); // The truth is recovered: the risk falls as t^-1. ...
//! # Ok(())
//! # }
//! ```

mod arm;
pub mod families;
mod family;
mod law;
mod plan;
mod schedule;
mod simulate;
pub mod theory;
mod verdict;

pub use arm::{Arm, Round, Weight};
pub use family::{Draw, Drawn, Family, Part};
pub use law::{Law, State, Widening};
pub use plan::Plan;
pub use schedule::{Quantity, Schedule};
pub use simulate::{Measured, Settings, Simulated, simulate};
pub use theory::optimal_weight;
pub use verdict::{Fate, Rate, Verdict, verdict};
