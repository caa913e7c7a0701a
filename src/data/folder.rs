//! Folders of pictures, PNG or JPEG: one folder a class, in the order of their names.

use std::io::BufReader;
use std::path::{Path, PathBuf};

use image::{ImageDecoder, ImageReader, Limits};
use rayon::prelude::*;

use super::{Images, source};
use crate::{Error, Result, files};

/// Pictures with longer sides are not training data.
const MAX_SIDE: u32 = 1 << 13;

/// Whether the name ends as a picture's does.
pub(super) fn is_picture(path: &Path) -> bool {
    let ending = path.extension().and_then(|e| e.to_str()).unwrap_or("").to_ascii_lowercase();
    matches!(ending.as_str(), "png" | "jpg" | "jpeg")
}

/// What a directory holds, sorted by name, hidden things left out.
pub(super) fn entries(dir: &Path) -> Result<Vec<PathBuf>> {
    let failed = |e| Error::io(dir, e);
    let mut paths = Vec::new();
    for entry in std::fs::read_dir(dir).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        if !path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.')) {
            paths.push(path);
        }
    }
    paths.sort();
    Ok(paths)
}

/// The folders of a directory that hold pictures: the classes.
pub(super) fn classes(dir: &Path) -> Result<Vec<String>> {
    let mut names = Vec::new();
    for path in entries(dir)?.into_iter().filter(|path| path.is_dir()) {
        if entries(&path)?.iter().any(|file| is_picture(file)) {
            names.push(path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default());
        }
    }
    Ok(names)
}

/// All pictures of the folders `classes` in `dir`, or those of `dir` itself if there are no classes. `colour` as [`is_colour`].
pub(super) fn read(dir: &Path, classes: &[String], colour: bool) -> Result<Images> {
    let mut files = Vec::new();
    for (label, name) in classes.iter().enumerate() {
        let folder = dir.join(name);
        if folder.is_dir() {
            files
                .extend(entries(&folder)?.into_iter().filter(|file| is_picture(file)).map(|file| (file, label as u32)));
        }
    }
    if classes.is_empty() {
        files.extend(entries(dir)?.into_iter().filter(|file| is_picture(file)).map(|file| (file, 0)));
    }
    let Some((first, _)) = files.first() else { return Err(Error::format(dir, "no PNG or JPEG pictures")) };
    let (width, height) = decoder(first)?.dimensions();
    let channels = if colour { 3 } else { 1 };
    let values = height as usize * width as usize * channels;
    let total = (values as u64).saturating_mul(files.len() as u64);
    if total > source::MAX_BYTES {
        return Err(Error::format(dir, format!("{} pictures of {width} x {height} do not fit in memory", files.len())));
    }
    let mut pixels = source::room(dir, total)?;
    let pictures = pixels.par_chunks_mut(values.max(1)).zip(&files);
    pictures.try_for_each(|(pixels, (file, _))| {
        let found = decoder(file)?;
        if found.dimensions() != (width, height) {
            let (w, h) = found.dimensions();
            let what =
                format!("is {w} x {h} pixels, but {} is {width} x {height}; all must have one size", first.display());
            return Err(Error::format(file, what));
        }
        pixels.copy_from_slice(&decoded(file, found, colour)?);
        Ok(())
    })?;
    let labels = files.iter().map(|(_, label)| *label).collect();
    let size = [height as usize, width as usize, channels];
    Images::from_bytes(pixels, labels, size, classes.len().max(1))
}

/// Whether any of the pictures has colours: the whole set is then taken as red, green and blue. Only headers are read.
pub(super) fn is_colour(dir: &Path) -> Result<bool> {
    let mut files = Vec::new();
    for path in entries(dir)? {
        match path.is_dir() {
            true => files.extend(entries(&path)?.into_iter().filter(|file| is_picture(file))),
            false if is_picture(&path) => files.push(path),
            false => {}
        }
    }
    let colours: Vec<bool> =
        files.par_iter().map(|file| Ok(decoder(file)?.color_type().has_color())).collect::<Result<_>>()?;
    Ok(colours.contains(&true))
}

/// One picture, PNG or JPEG by its contents: in colour `[height, width, 3]`, else in grey `[height, width, 1]`.
///
/// Errors on files that are neither, and on sides of more than 8,192 pixels.
pub fn picture(path: impl AsRef<Path>, colour: bool) -> Result<Images> {
    let path = path.as_ref();
    let found = decoder(path)?;
    let (width, height) = found.dimensions();
    let size = [height as usize, width as usize, if colour { 3 } else { 1 }];
    Images::from_bytes(decoded(path, found, colour)?, vec![0], size, 1)
}

/// Red, green and blue, or grey, row by row.
fn decoded(path: &Path, decoder: impl ImageDecoder, colour: bool) -> Result<Vec<u8>> {
    let picture = image::DynamicImage::from_decoder(decoder).map_err(|e| Error::format(path, e.to_string()))?;
    Ok(if colour { picture.into_rgb8().into_raw() } else { picture.into_luma8().into_raw() })
}

fn decoder(path: &Path) -> Result<impl ImageDecoder + use<>> {
    let file = BufReader::new(files::open(path)?);
    let mut reader = ImageReader::new(file).with_guessed_format().map_err(|e| Error::io(path, e))?;
    let mut limits = Limits::default();
    (limits.max_image_width, limits.max_image_height) = (Some(MAX_SIDE), Some(MAX_SIDE));
    reader.limits(limits);
    reader.into_decoder().map_err(|e| Error::format(path, e.to_string()))
}
