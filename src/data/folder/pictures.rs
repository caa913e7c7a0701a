//! Pictures that stay in their files.

use std::path::PathBuf;

use super::stack::{Target, unchanged};
use crate::Result;
use crate::data::picture::{self, Header};
use crate::data::stored::{Reader, Row};
use crate::data::{ReadOptions, Units};

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
