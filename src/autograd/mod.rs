//! Reverse-mode differentiation: a define-by-run tape.
//!
//! An operation computes its result, then records it with a closure that turns the gradient of the result into the
//! gradients of the inputs. [`Var::backward`] walks the tape from the end, and drops each closure, with everything it
//! kept, as soon as it has passed it.
//!
//! ```
//! use veridical::{Device, Tape, Tensor, ops};
//! # fn main() -> veridical::Result<()> {
//! let tape = Tape::new();
//! let x = tape.leaf(Tensor::from_slice(&[1f32, 2., 3.], [3], &Device::Cpu)?);
//! let y = ops::sum(&ops::mul(&x, &x)?, &[0])?;
//! let gradients = y.backward()?;
//! assert_eq!(gradients.get(&x).unwrap().to_vec::<f32>()?, [2., 4., 6.]);
//! # Ok(())
//! # }
//! ```
//!
//! A gradient can itself be a variable ([`Var::gradient`]), of which a loss is made and which is differentiated in
//! turn: the penalties of discriminators ([`players::penalty`](crate::players::penalty)) need it. It asks for rules
//! that compute with variables ([`Var::record_higher`]), or for the operation's composition of others
//! ([`Var::record_fused`]); an ordinary backward pass runs such a rule with constants, and records nothing.

mod backward;
mod checkpoint;
mod fused;
mod grad_check;
mod second_check;
mod tape;

pub use backward::{Backward, Gradients};
pub use checkpoint::checkpoint;
pub use grad_check::{GradCheck, grad_check};
pub use second_check::second_grad_check;
pub use tape::{Place, Tape, Var};
