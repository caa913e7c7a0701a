//! Where images and labels come from, and in which order training sees them.

mod arrays;
pub mod batches;
pub mod cifar;
pub mod digits;
mod folder;
pub mod idx;
mod images;
mod labels;
pub mod npy;
mod open;
pub(crate) mod picture;
mod reading;
mod source;
pub mod synthetic;
mod text;
mod window;

pub use batches::{Batches, Shuffle};
pub use digits::Digits;
pub use folder::picture;
pub use images::Images;
pub use open::{DataSet, open, open_noisy};
pub use picture::is_picture;
pub use reading::Reading;
pub use text::Text;
