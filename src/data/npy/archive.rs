//! `.npz`: a zip archive with a `.npy` member for each array.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufReader, Cursor, Write};
use std::path::Path;

use zip::ZipArchive;
use zip::result::ZipError;

use super::{Array, Type, Values, array};
use crate::data::axes::Axes;
use crate::data::{Images, Numbers, source};
use crate::escape::escaped;
use crate::files::{self, write_atomic};
use crate::{Error, Result};

/// Reads every array of a `.npz` file, by name without `.npy`.
///
/// Errors on a damaged archive, as [`read`](super::read) on its arrays, and if together they take more than one file
/// may.
pub fn read_npz(path: impl AsRef<Path>) -> Result<BTreeMap<String, Array>> {
    let mut archive = Archive::open(path.as_ref())?;
    let members = archive.members.clone();
    members.into_iter().map(|(name, index)| archive.read(index).map(|(array, _)| (name, array))).collect()
}

/// Reads the arrays of these names of a `.npz` file, and no others.
///
/// Errors as [`read_npz`], and if one of them is not there, with the names of those that are.
pub fn read_npz_members<const N: usize>(path: impl AsRef<Path>, names: [&str; N]) -> Result<[Array; N]> {
    let path = path.as_ref();
    let mut archive = Archive::open(path)?;
    let mut arrays = Vec::with_capacity(N);
    for name in names {
        let Some((array, _)) = archive.get(name)? else {
            let there: Vec<String> = archive.names().map(|name| escaped(name).to_string()).collect();
            let what = format!("no array \"{name}\"; it holds {}", there.join(", "));
            return Err(Error::format(path, what));
        };
        arrays.push(array);
    }
    arrays.try_into().map_err(|_| Error::format(path, "arrays went missing while they were read"))
}

/// Writes a `.npz` file, not compressed, whole or not at all.
pub fn write_npz(path: impl AsRef<Path>, arrays: &BTreeMap<String, Array>) -> Result<()> {
    let path = path.as_ref();
    let failed = |e: ZipError| Error::argument("npz", e.to_string());
    let mut archive = zip::ZipWriter::new(Cursor::new(Vec::new()));
    // The format's earliest date, so that equal arrays make equal files.
    let options = zip::write::SimpleFileOptions::default()
        .compression_method(zip::CompressionMethod::Stored)
        .last_modified_time(zip::DateTime::default())
        .large_file(true);
    for (name, array) in arrays {
        archive.start_file(format!("{name}.npy"), options).map_err(failed)?;
        archive.write_all(&array.to_bytes()?).map_err(|e| Error::io(path, e))?;
    }
    write_atomic(path, &archive.finish().map_err(failed)?.into_inner())
}

/// Writes a data set that every command reads, in the units of its files: `images` `[n, h, w, c]` (signals `[n, l, c]`,
/// points `[n, dims]`), and `labels` if there are two classes or more, with their number as `classes`: not every class
/// need have an image.
///
/// Images of bytes are bytes, and also called `arr_0`, as the scripts of ADM and EDM ask for; all others are f32.
pub fn write_images(path: impl AsRef<Path>, images: &Images) -> Result<()> {
    let shape = match images.size() {
        [1, 1, dims] => vec![images.len(), dims],
        [1, l, c] if Axes::are_signals(l, c) => vec![images.len(), l, c],
        [h, w, c] => vec![images.len(), h, w, c],
    };
    let bytes = images.units().numbers() == Numbers::Uint8;
    let pixels = Array { shape, values: images.user_values()? };
    let mut arrays = BTreeMap::from([("images".to_string(), pixels.clone())]);
    if bytes {
        arrays.insert(ADM.into(), pixels);
    }
    if images.classes() > 1 {
        let labels = images.labels().iter().map(|&label| label.into()).collect();
        arrays.insert("labels".into(), Array { shape: vec![images.len()], values: Values::I64(labels) });
        arrays.insert("classes".into(), Array { shape: vec![], values: Values::I64(vec![images.classes() as i64]) });
    }
    write_npz(path, &arrays)
}

/// What the scripts of ADM call images.
pub(in crate::data) const ADM: &str = "arr_0";

/// An archive of which only names are known; members are unpacked when they are asked for.
pub(in crate::data) struct Archive<'a> {
    path: &'a Path,
    zip: ZipArchive<BufReader<File>>,
    /// Where the array of each name is.
    members: BTreeMap<String, usize>,
    /// What the arrays that are still to be read may take.
    left: u64,
}

impl<'a> Archive<'a> {
    pub fn open(path: &'a Path) -> Result<Self> {
        let zip = ZipArchive::new(BufReader::new(files::open(path)?)).map_err(|e| unsound(path, e))?;
        if zip.has_duplicate_names() {
            return Err(Error::format(path, "two members have the same name; make the archive anew, with one of them"));
        }
        let mut members = BTreeMap::new();
        for (index, name) in zip.file_names().enumerate() {
            let name = name.map_err(|e| unsound(path, e))?;
            let array = name.strip_suffix(".npy").unwrap_or(&name).to_string();
            if !name.ends_with('/') && members.insert(array, index).is_some() {
                let what = format!("two members are called {} but for the ending .npy; leave one out", escaped(&*name));
                return Err(Error::format(path, what));
            }
        }
        Ok(Archive { path, zip, members, left: source::MAX_BYTES })
    }

    /// The names.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.members.keys().map(String::as_str)
    }

    /// The array of this name, if there is one.
    pub fn get(&mut self, name: &str) -> Result<Option<(Array, Type)>> {
        let index = self.members.get(name).copied();
        index.map(|index| self.read(index)).transpose()
    }

    fn read(&mut self, index: usize) -> Result<(Array, Type)> {
        let mut member = self.zip.by_index(index).map_err(|e| unsound(self.path, e))?;
        let name = member.name().map_err(|e| unsound(self.path, e))?.into_owned();
        array(self.path, &format!("{name}: "), &mut member, &mut self.left)
    }
}

fn unsound(path: &Path, e: ZipError) -> Error {
    Error::format(path, format!("not a sound .npz archive: {e}"))
}
