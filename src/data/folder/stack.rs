//! Many files of pictures, as images of one size.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use image::DynamicImage;
use rayon::prelude::*;

use crate::data::picture::{self, Header, Picture};
use crate::data::reading::Examples;
use crate::data::{Images, Reading, source};
use crate::escape::escaped;
use crate::pixels::of_word;
use crate::{Error, Result};

/// What all pictures of a set become.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Target {
    /// Red, green and blue, where any picture has colours; else grey.
    pub colour: bool,
    /// As f32, where any picture has 16 bits; else as bytes.
    pub wide: bool,
}

impl Target {
    pub fn with(self, headers: &[Header]) -> Self {
        Target {
            colour: self.colour || headers.iter().any(|header| header.colour),
            wide: self.wide || headers.iter().any(|header| header.wide),
        }
    }
}

/// The headers of all pictures, which must be of one size.
pub fn headers(files: &[PathBuf]) -> Result<Vec<Header>> {
    let headers: Vec<Header> = files.par_iter().map(|file| picture::header(file)).collect::<Result<_>>()?;
    let Some(first) = headers.first() else { return Ok(headers) };
    match headers.iter().position(|header| (header.width, header.height) != (first.width, first.height)) {
        None => Ok(headers),
        Some(i) => {
            let (Header { width, height, .. }, other) = (first, &headers[i]);
            Err(Error::format(
                &files[i],
                format!(
                    "is {} x {} pixels, but {} is {width} x {height}; all must have one size",
                    other.width,
                    other.height,
                    escaped(&files[0])
                ),
            ))
        }
    }
}

/// Decodes the pictures, at least one, all of which become as `target` says; `root` is what their names are told from.
pub fn images(
    root: &Path,
    files: &[PathBuf],
    headers: &[Header],
    (labels, classes): (Vec<u32>, usize),
    target: Target,
) -> Result<(Images, Reading)> {
    let Some(Header { width, height, .. }) = headers.first() else { return Err(Error::format(root, "no pictures")) };
    let size = [*height as usize, *width as usize, if target.colour { 3 } else { 1 }];
    let values = size.iter().product::<usize>();
    let width_of_value = if target.wide { 4 } else { 1 };
    let total = (values as u64).saturating_mul(files.len() as u64);
    if total.saturating_mul(width_of_value) > source::MAX_BYTES {
        return Err(Error::format(
            root,
            format!("{} pictures of {width} x {height} do not fit in memory", files.len()),
        ));
    }
    let facts;
    let images = if target.wide {
        let mut pixels = source::room(root, total)?;
        facts = decode(files, &mut pixels, values, (*width, *height), |image, pixels| {
            let words = picture::words(image, target.colour);
            pixels.iter_mut().zip(&words).for_each(|(pixel, &word)| *pixel = of_word(word));
            range(words)
        })?;
        Images::new(pixels, labels, size, classes)
    } else {
        let mut pixels = source::room(root, total)?;
        facts = decode(files, &mut pixels, values, (*width, *height), |image, pixels| {
            let bytes = picture::bytes(image, target.colour);
            pixels.copy_from_slice(&bytes);
            range(bytes)
        })?;
        Images::from_bytes(pixels, labels, size, classes)
    };
    let mut kept = Kept { root: root.to_path_buf(), ..Kept::default() };
    files.iter().zip(&facts).for_each(|(file, facts)| kept.add(facts, file, target.colour));
    kept.check_depth()?;
    Ok((images?, kept.reading()))
}

/// What is told of a picture when its pixels are gone.
struct Facts {
    header: Header,
    frames: usize,
    cmyk: bool,
    transparent: bool,
    /// Least and largest of its values as bytes, or as words of 16 bits.
    range: [u16; 2],
}

fn range<T: Into<u16>>(values: Vec<T>) -> [u16; 2] {
    let widen = |[least, most]: [u16; 2], value: u16| [least.min(value), most.max(value)];
    values.into_iter().map(Into::into).fold([u16::MAX, 0], widen)
}

/// Decodes every file into its part of `pixels`; `fill` gives back the least and the greatest value.
fn decode<T: Send>(
    files: &[PathBuf],
    pixels: &mut [T],
    values: usize,
    size: (u32, u32),
    fill: impl Fn(DynamicImage, &mut [T]) -> [u16; 2] + Sync,
) -> Result<Vec<Facts>> {
    let pictures = pixels.par_chunks_mut(values.max(1)).zip(files);
    let each = pictures.map(|(pixels, file)| {
        let picture = picture::decoded(file)?;
        if (picture.header.width, picture.header.height) != size {
            return Err(Error::format(file, "changed while it was read"));
        }
        let Picture { header, frames, cmyk, image } = picture;
        let transparent = picture::transparent(&image);
        Ok(Facts { header, frames, cmyk, transparent, range: fill(image, pixels) })
    });
    each.collect()
}

/// What is to be told of pictures that were decoded.
#[derive(Debug, Default)]
pub struct Kept {
    root: PathBuf,
    forms: BTreeMap<&'static str, usize>,
    wide: usize,
    narrow: usize,
    /// Least and largest of all values as bytes, or as words of 16 bits if any picture has them.
    range: Option<[u16; 2]>,
    animated: Examples,
    transparent: Examples,
    cmyk: Examples,
    coloured: Examples,
    greyed: Examples,
}

impl Kept {
    /// Takes note of a picture that became one of colour or of grey.
    fn add(&mut self, facts: &Facts, file: &Path, colour: bool) {
        *self.forms.entry(facts.header.form).or_default() += 1;
        *if facts.header.wide { &mut self.wide } else { &mut self.narrow } += 1;
        let [least, most] = facts.range;
        self.range = Some(self.range.map_or(facts.range, |[a, b]| [a.min(least), b.max(most)]));
        for (is, examples) in [
            (facts.frames > 1, &mut self.animated),
            (facts.transparent, &mut self.transparent),
            (facts.cmyk, &mut self.cmyk),
            (colour && !facts.header.colour, &mut self.coloured),
            (!colour && facts.header.colour, &mut self.greyed),
        ] {
            if is {
                examples.add(&self.root, file);
            }
        }
    }

    /// `PNG and JPEG pictures of 8 bits`.
    fn form(&self) -> String {
        let forms: Vec<String> = match self.forms.len() {
            1 => self.forms.keys().map(ToString::to_string).collect(),
            _ => self.forms.iter().map(|(form, count)| format!("{form} ({count})")).collect(),
        };
        let bits = match (self.wide, self.narrow) {
            (0, _) => "8 bits",
            (_, 0) => "16 bits",
            _ => "8 and 16 bits",
        };
        let noun = if self.wide + self.narrow == 1 { "picture" } else { "pictures" };
        format!("{} {noun} of {bits}", forms.join(", "))
    }

    /// What is to be told.
    pub fn reading(&self) -> Reading {
        let converted = [
            self.greyed.say("picture made grey", "pictures made grey"),
            self.coloured.say("grey picture made red, green and blue", "grey pictures made red, green and blue"),
            self.cmyk.say("picture made red, green and blue of CMYK", "pictures made red, green and blue of CMYK"),
            self.transparent.say(
                "picture that is transparent in places, without its alpha",
                "pictures that are transparent in places, without their alpha",
            ),
        ];
        let later = self
            .animated
            .say("file of several pictures, all but the first", "files of several pictures, all but the first of each");
        Reading {
            form: self.form(),
            range: self.range.map(|range| range.map(f64::from)),
            scale: Some([0.0, if self.wide > 0 { 65535.0 } else { 255.0 }]),
            converted: converted.into_iter().flatten().collect(),
            left_out: later.into_iter().collect(),
            ..Reading::default()
        }
    }

    /// Errors on pictures of 16 bits whose values all fit 8: either they are of 8 bits and would be all but black, or
    /// they are no pictures.
    fn check_depth(&self) -> Result<()> {
        match self.range {
            Some([_, most]) if most <= 255 && self.narrow == 0 => Err(Error::format(
                &self.root,
                format!(
                    "pictures of 16 bits with no value above {most} of 65535: black, or of another scale; save them with 8 bits, \
                     or stretch their values"
                ),
            )),
            _ => Ok(()),
        }
    }
}
