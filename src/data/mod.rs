//! Where images and labels come from, and in which order training sees them.

pub mod batches;
pub mod cifar;
pub mod digits;
mod folder;
pub mod idx;
mod images;
pub mod npy;
mod open;
mod source;
pub mod synthetic;
mod text;
mod window;

pub use batches::{Batches, Shuffle};
pub use digits::Digits;
pub use folder::picture;
pub use images::Images;
pub use open::{DataSet, open};
pub use text::Text;
