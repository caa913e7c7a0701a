//! What a person looks at: charts, grids of images, and the page that holds them. Nothing here knows what it shows.

mod canvas;
pub mod chart;
pub mod image_grid;
mod page;
mod typeface;

pub use canvas::png;
pub use chart::{Chart, Series};
pub use image_grid::ImageGrid;
pub use page::Report;
