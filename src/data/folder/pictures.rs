//! Pictures of one size from files of their own, which they may stay in.

use std::path::{Path, PathBuf};

use crate::data::picture::{self, Header, Picture};
use crate::data::stored::{Reader, Row};
use crate::data::{ReadOptions, Units};
use crate::{Error, Result};

/// What all pictures of a set become.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Target {
    /// Red, green and blue, where any picture has colours; else grey.
    pub colour: bool,
    /// As f32, where any picture has 16 bits; else as bytes.
    pub wide: bool,
    /// With alpha, where that is wanted and any picture has it.
    pub alpha: bool,
}

impl Target {
    pub fn with(self, headers: &[Header], options: &ReadOptions) -> Self {
        Target {
            alpha: self.alpha || options.alpha && headers.iter().any(|header| header.alpha),
            colour: self.colour || headers.iter().any(|header| header.colour),
            wide: self.wide || headers.iter().any(|header| header.wide),
        }
    }
}

/// The picture in a file. Errors if it is another one than when its header was read.
pub fn unchanged(file: &Path, before: &Header) -> Result<Picture> {
    let picture = picture::decoded(file)?;
    let same = (picture.header.width, picture.header.height) == (before.width, before.height);
    if same { Ok(picture) } else { Err(Error::format(file, "changed while it was read")) }
}

/// The files of a set, each of which becomes an image as the others do.
pub struct Pictures {
    files: Vec<PathBuf>,
    headers: Vec<Header>,
    target: Target,
    units: Units,
    channels: usize,
    options: ReadOptions,
}

impl Pictures {
    pub fn new(
        files: &[PathBuf],
        headers: &[Header],
        target: Target,
        (units, channels): (Units, usize),
        options: &ReadOptions,
    ) -> Self {
        let (files, headers, options) = (files.to_vec(), headers.to_vec(), options.clone());
        Pictures { files, headers, target, units, channels, options }
    }
}

impl Reader for Pictures {
    fn read(&self, index: u32) -> Result<Row> {
        let at = index as usize;
        let picture = unchanged(&self.files[at], &self.headers[at])?;
        let image = self.options.sizing.picture(picture.image, index)?;
        let Target { colour, wide, alpha } = self.target;
        if !wide {
            return Ok(Row::Bytes(picture::bytes(image, colour, alpha)));
        }
        let seen = |(i, x): (usize, u16)| self.units.to_model(x.into(), i % self.channels) as f32;
        Ok(Row::Floats(picture::words(image, colour, alpha).into_iter().enumerate().map(seen).collect()))
    }
}
