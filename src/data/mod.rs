//! Where images and labels come from, and in which order training sees them.

pub mod affine;
pub mod arff;
#[cfg_attr(not(feature = "formats"), allow(dead_code, unused_imports))] // most is for archives
mod arrays;
mod axes;
pub mod batches;
pub mod cifar;
#[cfg(feature = "formats")]
mod columns;
mod conversion;
pub mod digits;
mod entries;
#[cfg(feature = "formats")]
mod fits;
#[cfg(feature = "formats")]
mod folder;
pub mod idx;
mod idx_files;
mod images;
mod kind;
#[cfg_attr(not(feature = "formats"), allow(dead_code))]
mod labels;
mod multi_label;
pub mod npy;
mod open;
mod options;
#[cfg(feature = "formats")]
pub(crate) mod picture;
mod reading;
#[cfg(feature = "formats")]
pub mod resize;
#[cfg_attr(not(feature = "formats"), allow(dead_code))]
mod scale;
mod source;
mod stored;
pub mod subset;
pub mod synthetic;
#[cfg(feature = "formats")]
mod table;
mod text;
#[cfg(feature = "formats")]
mod tiff;
mod window;

pub use crate::units::{Detector, Numbers, Transform, Units};
pub use affine::Affine;
pub use arrays::of_npy;
pub use batches::{Batches, Shuffle};
pub use digits::Digits;
#[cfg(feature = "formats")]
pub use folder::picture;
pub use images::Images;
pub use kind::Kind;
pub use multi_label::{Labels, Missing, MultiLabel, MultiLabelOptions, MultiLabelSet, Standardisation};
pub use open::{DataSet, open, open_noisy, open_with};
pub use options::{AxisOrder, ReadOptions, Standardise};
#[cfg(feature = "formats")]
pub use picture::is_picture;
pub use reading::Reading;
pub use text::Text;
