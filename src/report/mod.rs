//! What a person looks at: charts, grids of images, and the page that holds them. Nothing here knows what it shows.

mod axis;
mod canvas;
pub mod chart;
mod curves;
pub mod image_grid;
mod page;
mod points;
mod scatter;
mod typeface;

pub use canvas::png;
pub use chart::{Chart, Series};
pub use curves::Curves;
pub use image_grid::ImageGrid;
pub use page::Report;
pub use points::points;
pub use scatter::Scatter;
