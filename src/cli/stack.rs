//! Images as people's files: one array of all, or a picture each.

use std::fs;
use std::io::Cursor;
use std::path::Path;

use image::{DynamicImage, ImageBuffer, ImageFormat};
use tiff::encoder::{TiffEncoder, colortype};
use veridical::data::npy::{self, Array, Values};
use veridical::data::{Images, Numbers};
use veridical::files::write_atomic;
use veridical::{Error, Result};

/// The array of images in the units of their files: `[n, h, w]` or `[n, h, w, c]`, signals `[n, l]` or `[n, l, c]`,
/// points `[n, d]`.
pub fn array(images: &Images) -> Result<Array> {
    let n = images.len();
    let shape = match images.size() {
        [1, 1, d] => vec![n, d],
        [1, l, 1] => vec![n, l],
        [1, l, c] => vec![n, l, c],
        [h, w, 1] => vec![n, h, w],
        [h, w, c] => vec![n, h, w, c],
    };
    Ok(Array { shape, values: images.user_values()? })
}

/// Whether images can be pictures: grey or in colour, perhaps with alpha, in whole numbers.
pub fn are_pictures(images: &Images) -> bool {
    let [h, _, c] = images.size();
    h > 1 && (1..=4).contains(&c) && matches!(images.units().numbers(), Numbers::Uint8 | Numbers::Uint16)
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
                let Array { shape, values } = array(&one)?;
                npy::write(folder.join(format!("{name}.npy")), &Array { shape: shape[1..].to_vec(), values })?;
            }
        }
    }
    Ok(())
}

/// Errors unless images of so many channels can be pages of a TIFF file.
pub fn check_tiff(path: &Path, channels: usize) -> Result<()> {
    match matches!(channels, 1 | 3) {
        true => Ok(()),
        false => {
            let what = format!("images of {channels} channels are no TIFF pages here; end the name in .npy or .npz");
            Err(Error::Config(format!("{}: {what}", path.display())))
        }
    }
}

/// Writes images as the pages of a TIFF file, of 8 or 16 bits where the data were such, else of floating-point numbers.
/// Errors on output, and on images of other than one or three channels.
pub fn write_tiff(path: &Path, images: &Images) -> Result<()> {
    let [h, w, c] = images.size();
    let failed = |e: tiff::TiffError| Error::format(path, e.to_string());
    let mut file = Cursor::new(Vec::new());
    let mut encoder = TiffEncoder::new(&mut file).map_err(failed)?;
    let (width, height) = (w as u32, h as u32);
    for i in 0..images.len() as u32 {
        let page = images.select(&[i])?;
        match (c, page.user_values()?, images.units().numbers()) {
            (1, Values::U8(v), _) => encoder.write_image::<colortype::Gray8>(width, height, &v),
            (3, Values::U8(v), _) => encoder.write_image::<colortype::RGB8>(width, height, &v),
            (1, _, Numbers::Uint16) => encoder.write_image::<colortype::Gray16>(width, height, &words(&page)?),
            (3, _, Numbers::Uint16) => encoder.write_image::<colortype::RGB16>(width, height, &words(&page)?),
            (1, Values::F64(v), _) => encoder.write_image::<colortype::Gray64Float>(width, height, &v),
            (3, Values::F64(v), _) => encoder.write_image::<colortype::RGB64Float>(width, height, &v),
            (1, Values::F32(v), _) => encoder.write_image::<colortype::Gray32Float>(width, height, &v),
            (3, Values::F32(v), _) => encoder.write_image::<colortype::RGB32Float>(width, height, &v),
            _ => return check_tiff(path, c),
        }
        .map_err(failed)?;
    }
    write_atomic(path, &file.into_inner())
}

/// The nearest whole numbers of 16 bits.
fn words(images: &Images) -> Result<Vec<u16>> {
    let (units, channels) = (images.units(), images.size()[2]);
    let nearest = |(i, x): (usize, &f32)| units.numbers().nearest(units.to_user((*x).into(), i % channels)) as u16;
    Ok(images.pixels()?.iter().enumerate().map(nearest).collect())
}

/// A picture of 8 or 16 bits.
fn png(image: &Images) -> Result<Vec<u8>> {
    let [h, w, c] = image.size();
    let (width, height) = (w as u32, h as u32);
    let picture = match image.user_values()? {
        Values::U8(bytes) => match c {
            1 => ImageBuffer::from_raw(width, height, bytes).map(DynamicImage::ImageLuma8),
            2 => ImageBuffer::from_raw(width, height, bytes).map(DynamicImage::ImageLumaA8),
            3 => ImageBuffer::from_raw(width, height, bytes).map(DynamicImage::ImageRgb8),
            _ => ImageBuffer::from_raw(width, height, bytes).map(DynamicImage::ImageRgba8),
        },
        _ => {
            let words = words(image)?;
            match c {
                1 => ImageBuffer::from_raw(width, height, words).map(DynamicImage::ImageLuma16),
                2 => ImageBuffer::from_raw(width, height, words).map(DynamicImage::ImageLumaA16),
                4 => ImageBuffer::from_raw(width, height, words).map(DynamicImage::ImageRgba16),
                _ => ImageBuffer::from_raw(width, height, words).map(DynamicImage::ImageRgb16),
            }
        }
    };
    let failed = |what: String| Error::argument("png", what);
    let picture = picture.ok_or_else(|| failed(format!("{h} x {w} x {c} values")))?;
    let mut bytes = Vec::new();
    let sink = &mut Cursor::new(&mut bytes);
    picture.write_to(sink, ImageFormat::Png).map_err(|e| failed(e.to_string()))?;
    Ok(bytes)
}
