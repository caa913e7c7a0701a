//! Many files of pictures, as images of one size.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use image::DynamicImage;
use image::metadata::Orientation;
use rayon::prelude::*;

use super::pictures::{Pictures, Target, unchanged};
use crate::data::picture::{self, Header, Picture};
use crate::data::reading::Examples;
use crate::data::stored::{self, Row, Stored};
use crate::data::{Images, Numbers, ReadOptions, Reading, Standardise, Units, source};
use crate::escape::escaped;
use crate::{Error, Result, files};

/// The headers of all pictures, which must be of one size, or become so.
pub fn headers(files: &[PathBuf], options: &ReadOptions) -> Result<Vec<Header>> {
    let headers: Vec<Header> = files.par_iter().map(|file| picture::header(file)).collect::<Result<_>>()?;
    let Some(first) = headers.first() else { return Ok(headers) };
    for (header, file) in headers.iter().zip(files) {
        let size = [header.height as usize, header.width as usize];
        options.sizing.becomes(size).map_err(|what| Error::format(file, what))?;
    }
    if !options.sizing.is_none() {
        return Ok(headers);
    }
    match headers.iter().position(|header| (header.width, header.height) != (first.width, first.height)) {
        None => Ok(headers),
        Some(i) => {
            let (Header { width, height, .. }, other) = (first, &headers[i]);
            Err(Error::format(
                &files[i],
                format!(
                    "is {} x {} pixels (width, height), but {} is {width} x {height}; --size HEIGHTxWIDTH brings all to one size, --crop says how",
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
    options: &ReadOptions,
) -> Result<(Images, Reading)> {
    let Some(Header { width, height, .. }) = headers.first() else { return Err(Error::format(root, "no pictures")) };
    let becomes = options.sizing.becomes([*height as usize, *width as usize]);
    let [height, width] = becomes.map_err(|what| Error::format(root, what))?;
    let size = [height, width, if target.colour { 3 } else { 1 } + usize::from(target.alpha)];
    let values = size.iter().product::<usize>();
    let takes = values as u64 * if target.wide { 4 } else { 1 };
    let in_files = takes.saturating_mul(files.len() as u64) > options.may_take();
    let mut kept = Kept { root: root.to_path_buf(), ..Kept::default() };
    files.iter().zip(headers).for_each(|(file, header)| kept.add_header(header, file, target.colour));
    kept.check_depth()?;
    let indices = match in_files {
        true => stored::sample(files.len(), takes as usize),
        false => (0..files.len() as u32).collect(),
    };
    let items: Vec<Item> = indices.iter().map(|&i| (i, &*files[i as usize], &headers[i as usize])).collect();
    let total = values as u64 * items.len() as u64;
    let (pixels, units) = if target.wide {
        let mut pixels: Vec<f32> = source::room(root, total)?;
        let facts = decode(&items, &mut pixels, values, options, |image, pixels| {
            let words = picture::words(image, target.colour, target.alpha);
            pixels.iter_mut().zip(&words).for_each(|(pixel, &word)| *pixel = word.into());
            range(words)
        })?;
        let range = kept.add_all(&items, &facts);
        let colours = size[2] - usize::from(target.alpha);
        let units = of_words(&pixels, [size[2], colours], range, options).map_err(|what| Error::format(root, what))?;
        let seen = |(i, x): (usize, &mut f32)| *x = units.to_model((*x).into(), i % size[2]) as f32;
        pixels.par_iter_mut().enumerate().for_each(seen);
        (Row::Floats(pixels), units)
    } else {
        let mut pixels = source::room(root, total)?;
        let facts = decode(&items, &mut pixels, values, options, |image, pixels| {
            let bytes = picture::bytes(image, target.colour, target.alpha);
            pixels.copy_from_slice(&bytes);
            range(bytes)
        })?;
        kept.add_all(&items, &facts);
        (Row::Bytes(pixels), Units::bytes())
    };
    kept.units = units.clone();
    let mut reading = kept.reading();
    reading.converted.extend(options.sizing.said());
    let images = if in_files {
        reading.on_demand(
            items.len(),
            files.len(),
            "values, transparency and number of pictures in a file are",
            options,
        );
        let facts = stored::facts(known(root, files)?.iter().map(Vec::as_slice), &pixels);
        let pictures = Pictures::new(files, headers, target, (units.clone(), size[2]), options);
        let stored = Stored::new(pictures, (values, !target.wide), options.cache(), facts);
        Images::stored(stored, labels, size, classes)
    } else {
        match pixels {
            Row::Bytes(bytes) => Images::from_bytes(bytes, labels, size, classes),
            Row::Floats(floats) => Images::new(floats, labels, size, classes),
        }
    };
    Ok((images?.with_units(units)?, reading))
}

/// What tells a set of files from others: their names from `root` on, and how long they are.
fn known(root: &Path, files: &[PathBuf]) -> Result<Vec<Vec<u8>>> {
    let of = |file: &PathBuf| {
        let name = file.strip_prefix(root).unwrap_or(file).to_string_lossy().into_owned();
        Ok([name.as_bytes(), &files::length(file)?.to_le_bytes()].concat())
    };
    files.par_iter().map(of).collect()
}

/// The units of values of 16 bits: all that there can be where they take up a good part of it, else their own spread.
/// Errors, in words, where all are the same.
fn of_words(
    words: &[f32],
    [all, colours]: [usize; 2],
    range: [f64; 2],
    options: &ReadOptions,
) -> Result<Units, String> {
    let whole = |units: &&Units| !units.is_unit_size() || units.numbers() == Numbers::Uint16;
    if let Some(units) = options.units.as_ref().filter(whole) {
        return Ok(units.clone());
    }
    let full = Units::spread(Numbers::Uint16, [0.0, 65535.0]);
    // Alpha is no brightness.
    let of_colours = || words.chunks_exact(all).flat_map(|pixel| &pixel[..colours]).map(|&x| f64::from(x));
    let [least, most] = match all == colours {
        true => range,
        false => of_colours().fold([f64::MAX, 0.0], |[least, most], x| [least.min(x), most.max(x)]),
    };
    match options.standardise {
        Standardise::None => return Ok(full),
        Standardise::Auto if most - least >= 65535.0 / 8.0 => return Ok(full),
        _ => {}
    }
    let each = options.standardise == Standardise::Channel;
    let moments_of = |channels: std::ops::Range<usize>| {
        let numbers = || words.chunks_exact(all).flat_map(|pixel| &pixel[channels.clone()]).map(|&x| f64::from(x));
        let count = (words.len() / all * channels.len()) as f64;
        let mean = numbers().sum::<f64>() / count;
        [mean, (numbers().map(|x| (x - mean).powi(2)).sum::<f64>() / count).sqrt()]
    };
    let moments: Vec<[f64; 2]> = match each {
        true => (0..colours).map(|channel| moments_of(channel..channel + 1)).collect(),
        false => vec![moments_of(0..colours)],
    };
    let units = Units::standardising(Numbers::Uint16, &moments).map_err(|channel| {
        format!("all values of 16 bits are {}, which has no scale: there is nothing to learn", moments[channel][0])
    })?;
    Ok(if all == colours { units } else { units.beside_alpha(all, &full) })
}

/// What is told of a picture when its pixels are gone, besides its header.
struct Facts {
    frames: usize,
    cmyk: bool,
    transparent: bool,
    /// Least and largest of its values as bytes, or as words of 16 bits.
    range: [u16; 2],
}

/// A picture of a set: its place, its file and what this said at first.
type Item<'a> = (u32, &'a Path, &'a Header);

fn range<T: Into<u16>>(values: Vec<T>) -> [u16; 2] {
    let widen = |[least, most]: [u16; 2], value: u16| [least.min(value), most.max(value)];
    values.into_iter().map(Into::into).fold([u16::MAX, 0], widen)
}

/// Decodes every file into its part of `pixels`; `fill` gives back the least and the greatest value.
fn decode<T: Send>(
    items: &[Item],
    pixels: &mut [T],
    values: usize,
    options: &ReadOptions,
    fill: impl Fn(DynamicImage, &mut [T]) -> [u16; 2] + Sync,
) -> Result<Vec<Facts>> {
    let pictures = pixels.par_chunks_mut(values.max(1)).zip(items);
    let each = pictures.map(|(pixels, &(index, file, before))| {
        let Picture { frames, cmyk, image, .. } = unchanged(file, before)?;
        let transparent = !options.alpha && picture::transparent(&image);
        let image = options.sizing.picture(image, index)?;
        Ok(Facts { frames, cmyk, transparent, range: fill(image, pixels) })
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
    units: Units,
    animated: Examples,
    transparent: Examples,
    cmyk: Examples,
    turned: Examples,
    coloured: Examples,
    greyed: Examples,
}

impl Kept {
    /// Takes note of a picture that becomes one of colour or of grey.
    fn add_header(&mut self, header: &Header, file: &Path, colour: bool) {
        *self.forms.entry(header.form).or_default() += 1;
        *if header.wide { &mut self.wide } else { &mut self.narrow } += 1;
        for (is, examples) in [
            (header.turned != Orientation::NoTransforms, &mut self.turned),
            (colour && !header.colour, &mut self.coloured),
            (!colour && header.colour, &mut self.greyed),
        ] {
            if is {
                examples.add(&self.root, file);
            }
        }
    }

    /// Takes note of pictures that were decoded, and gives back the least and the greatest of all values.
    fn add_all(&mut self, items: &[Item], facts: &[Facts]) -> [f64; 2] {
        for ((_, file, _), facts) in items.iter().zip(facts) {
            let [least, most] = facts.range;
            self.range = Some(self.range.map_or(facts.range, |[a, b]| [a.min(least), b.max(most)]));
            for (is, examples) in [
                (facts.frames > 1, &mut self.animated),
                (facts.transparent, &mut self.transparent),
                (facts.cmyk, &mut self.cmyk),
            ] {
                if is {
                    examples.add(&self.root, file);
                }
            }
        }
        self.range.unwrap_or_default().map(f64::from)
    }

    /// `PNG and JPEG pictures of 8 bits`.
    fn form(&self) -> String {
        let forms: Vec<String> = match self.forms.len() {
            1 => self.forms.keys().map(ToString::to_string).collect(),
            _ => self.forms.iter().map(|(form, count)| format!("{form} ({count})")).collect(),
        };
        let bits = if self.wide > 0 { "16 bits" } else { "8 bits" };
        let noun = if self.wide + self.narrow == 1 { "picture" } else { "pictures" };
        format!("{} {noun} of {bits}", forms.join(", "))
    }

    /// What is to be told.
    pub fn reading(&self) -> Reading {
        let converted = [
            self.greyed.say("picture made grey", "pictures made grey"),
            self.coloured.say("grey picture made red, green and blue", "grey pictures made red, green and blue"),
            self.turned.say("picture turned as its EXIF data say", "pictures turned as their EXIF data say"),
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
            units: self.units.clone(),
            converted: converted.into_iter().flatten().collect(),
            left_out: later.into_iter().collect(),
            ..Reading::default()
        }
    }

    /// Errors on pictures of 8 bits beside others of 16: a number would not mean the same in both.
    fn check_depth(&self) -> Result<()> {
        match (self.wide, self.narrow) {
            (0, _) | (_, 0) => Ok(()),
            (wide, narrow) => Err(Error::format(
                &self.root,
                format!(
                    "holds {narrow} pictures of 8 bits and {wide} of 16, whose numbers do not mean the same; save all with as many bits"
                ),
            )),
        }
    }
}
