//! Folders of `.npy` files, an image, a signal or a point each.

use std::path::{Path, PathBuf};

use super::{on_demand, whole};
use crate::data::entries::entries;
use crate::data::npy::{Array, Rows, Type, Values, typed};
use crate::data::reading::Examples;
use crate::data::{DataSet, ReadOptions};
use crate::escape::escaped;
use crate::{Error, Result, files};

/// The files of a folder as an array, of which each is a row.
struct Files {
    folder: PathBuf,
    files: Vec<PathBuf>,
    shape: Vec<usize>,
    numbers: Type,
}

/// The arrays of a folder as one data set, in the order of their names; `None` if there are none.
///
/// Errors where they differ in shape or type, and as a file of all of them would.
pub fn open(folder: &Path, name: &str, options: &ReadOptions) -> Result<Option<DataSet>> {
    let all: Vec<PathBuf> = entries(folder)?.into_iter().map(|(path, _)| path).collect();
    let is_array = |path: &&PathBuf| path.extension().is_some_and(|ending| ending == "npy");
    let files: Vec<PathBuf> = all.iter().filter(is_array).cloned().collect();
    let Some(first) = files.first() else { return Ok(None) };
    let (Array { shape, mut values }, numbers) = typed(first)?;
    if shape.is_empty() || shape.len() > 3 {
        let what = format!("an array {shape:?}; in a folder of .npy files each holds one image [h, w] or [h, w, c]");
        return Err(Error::format(first, what));
    }
    let shape = [&[files.len()], &shape[..]].concat();
    let held = if numbers.width == 1 { 1 } else { 4 };
    let takes = shape.iter().map(|&extent| extent as u128).product::<u128>() * held;
    let rows = Files { folder: folder.into(), files, shape: shape.clone(), numbers };
    let mut set = if takes > u128::from(options.may_take()) {
        on_demand::open(rows, name, ".npy files", options)?
    } else {
        for index in 1..rows.files.len() as u32 {
            values.append(rows.read(index)?).map_err(|what| Error::format(folder, what))?;
        }
        whole(folder, name, ".npy files", (Array { shape, values }, numbers), options)?
    };
    let others = Examples::of(folder, all.iter().map(PathBuf::as_path).filter(|path| !is_array(&&path.to_path_buf())));
    set.reading.left_out.extend(others.say("thing beside", "things beside"));
    Ok(Some(set))
}

impl Rows for Files {
    fn path(&self) -> &Path {
        &self.folder
    }

    fn shape(&self) -> &[usize] {
        &self.shape
    }

    fn numbers(&self) -> Type {
        self.numbers
    }

    fn length(&self) -> Result<u64> {
        self.files.iter().map(files::length).sum()
    }

    fn read(&self, index: u32) -> Result<Values> {
        let file = &self.files[index as usize];
        let (Array { shape, values }, numbers) = typed(file)?;
        match shape == self.shape[1..] && numbers == self.numbers {
            true => Ok(values),
            false => Err(Error::format(
                file,
                format!(
                    "an array {shape:?} of {numbers}, but {} is {:?} of {}; the arrays of a folder must be alike",
                    escaped(&self.files[0]),
                    &self.shape[1..],
                    self.numbers
                ),
            )),
        }
    }
}
