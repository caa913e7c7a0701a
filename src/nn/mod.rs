//! Networks, and the layers they are made of.
//!
//! A network holds no numbers: it registers its parameters in a [`Layout`], and [`Weights`] hold the values.

mod file;
mod layout;
mod weights;

pub use file::{load, metadata, save};
pub use layout::{Entry, FileForm, Init, Layout, ParamId, Scope};
pub use weights::Weights;
