//! Where images and labels come from, and in which order training sees them.

pub mod batches;
pub mod digits;
mod images;

pub use batches::Batches;
pub use digits::Digits;
pub use images::Images;
