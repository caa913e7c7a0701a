//! Images as people's files: one array of all, or a picture each.

use std::fs;
use std::path::Path;

use image::{DynamicImage, ImageBuffer, ImageFormat};
use veridical::data::npy::{self, Array, Values};
use veridical::data::{Images, Numbers};
use veridical::files::write_atomic;
use veridical::{Error, Result};

/// The array of images in the units of their files: `[n, h, w]` or `[n, h, w, c]`, signals `[n, l]` or `[n, l, c]`,
/// points `[n, d]`.
pub fn array(images: &Images) -> Array {
    let n = images.len();
    let shape = match images.size() {
        [1, 1, d] => vec![n, d],
        [1, l, 1] => vec![n, l],
        [1, l, c] => vec![n, l, c],
        [h, w, 1] => vec![n, h, w],
        [h, w, c] => vec![n, h, w, c],
    };
    Array { shape, values: images.user_values() }
}

/// Whether images can be pictures: of one or three channels, in whole numbers.
pub fn are_pictures(images: &Images) -> bool {
    let [h, _, c] = images.size();
    h > 1 && matches!(c, 1 | 3) && matches!(images.units().numbers(), Numbers::Uint8 | Numbers::Uint16)
}

/// Writes each image as a file of its name in `folder`, which is made: PNG of 8 or 16 bits where the data were such,
/// else `.npy`. Errors on output.
pub fn write(folder: &Path, images: &Images, names: impl Iterator<Item = String>) -> Result<()> {
    fs::create_dir_all(folder).map_err(|e| Error::io(folder, e))?;
    for (i, name) in names.take(images.len()).enumerate() {
        let one = images.select(&[i as u32])?;
        match are_pictures(&one) {
            true => write_atomic(folder.join(format!("{name}.png")), &png(&one)?)?,
            false => {
                let Array { shape, values } = array(&one);
                npy::write(folder.join(format!("{name}.npy")), &Array { shape: shape[1..].to_vec(), values })?;
            }
        }
    }
    Ok(())
}

/// A picture of 8 or 16 bits.
fn png(image: &Images) -> Result<Vec<u8>> {
    let [h, w, c] = image.size();
    let (width, height) = (w as u32, h as u32);
    let units = image.units();
    let nearest = |(i, x): (usize, &f32)| units.numbers().nearest(units.to_user((*x).into(), i % c));
    let picture = match image.user_values() {
        Values::U8(bytes) if c == 1 => ImageBuffer::from_raw(width, height, bytes).map(DynamicImage::ImageLuma8),
        Values::U8(bytes) => ImageBuffer::from_raw(width, height, bytes).map(DynamicImage::ImageRgb8),
        _ => {
            let words: Vec<u16> = image.pixels().iter().enumerate().map(|at| nearest(at) as u16).collect();
            match c {
                1 => ImageBuffer::from_raw(width, height, words).map(DynamicImage::ImageLuma16),
                _ => ImageBuffer::from_raw(width, height, words).map(DynamicImage::ImageRgb16),
            }
        }
    };
    let failed = |what: String| Error::argument("png", what);
    let picture = picture.ok_or_else(|| failed(format!("{h} x {w} x {c} values")))?;
    let mut bytes = Vec::new();
    let sink = &mut std::io::Cursor::new(&mut bytes);
    picture.write_to(sink, ImageFormat::Png).map_err(|e| failed(e.to_string()))?;
    Ok(bytes)
}
