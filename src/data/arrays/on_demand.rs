//! Arrays that stay in their files.

use crate::data::conversion::Conversion;
use crate::data::npy::{Array, Rows};
use crate::data::stored::{Facts, Reader, Row, Stored, facts, sample};
use crate::data::{DataSet, Images, ReadOptions, Reading};
use crate::{Error, Result};

/// An array as a data set that stays in its file, which is of this form. What its numbers mean is found out of some of
/// its rows.
///
/// Errors as for arrays that are read whole; on values that are not finite where they are found.
pub fn open(rows: impl Rows + 'static, name: &str, form: &str, options: &ReadOptions) -> Result<DataSet> {
    let (path, shape) = (rows.path().to_path_buf(), rows.shape().to_vec());
    let named = |what: String| Error::format(&path, what);
    let count = shape[0];
    if u32::try_from(count).is_err() {
        return Err(named(format!("{count} images; at most 2^32 - 1 can be told apart")));
    }
    let indices = sample(count, 8 * shape[1..].iter().product::<usize>());
    let Some((&first, others)) = indices.split_first() else {
        return Err(named(format!("no images: an array {shape:?}")));
    };
    let mut values = rows.read(first)?;
    for &index in others {
        values.append(rows.read(index)?).map_err(named)?;
    }
    let some = Array { shape: [&[indices.len()], &shape[1..]].concat(), values };
    let mut said = Reading { form: form.into(), ..Reading::default() };
    let conversion = Conversion::of(&some, &shape, rows.numbers(), options, &mut said).map_err(named)?;
    said.on_demand(indices.len(), count, "values are", options);
    let (units, reader) = (conversion.units.clone(), Rowwise { rows, conversion, options: options.clone() });
    let (mut together, size) = reader.row(first)?;
    for &index in others {
        together.append(reader.row(index)?.0).map_err(named)?;
    }
    let (length, extents) = (reader.rows.length()?.to_le_bytes(), format!("{shape:?}"));
    let facts: Facts = facts([&length[..], extents.as_bytes()].into_iter(), &together);
    let bytes = matches!(together, Row::Bytes(_));
    let stored = Stored::new(reader, (size.iter().product(), bytes), options.cache(), facts);
    let images = Images::stored(stored, vec![0; count], size, 1)?.with_units(units)?;
    Ok(DataSet::read(name, images, None, Vec::new(), said))
}

/// Rows as images.
struct Rowwise<R> {
    rows: R,
    conversion: Conversion,
    options: ReadOptions,
}

impl<R: Rows> Rowwise<R> {
    /// An image in the size that is asked for, and this size.
    fn row(&self, index: u32) -> Result<(Row, [usize; 3])> {
        let named = |what: String| Error::format(self.rows.path(), what);
        let row = self.conversion.image(self.rows.read(index)?, index).map_err(named)?;
        let size = self.conversion.size();
        #[cfg(feature = "formats")]
        if !self.options.sizing.is_none() {
            let mut pixels = Vec::with_capacity(size.iter().product());
            row.append_to(&mut pixels);
            let whole = self.conversion.units.ends().is_some();
            let (pixels, size) = self.options.sizing.image(&pixels, size, whole, index).map_err(named)?;
            return Ok((Row::Floats(pixels), size));
        }
        Ok((row, size))
    }
}

impl<R: Rows> Reader for Rowwise<R> {
    fn read(&self, index: u32) -> Result<Row> {
        Ok(self.row(index)?.0)
    }
}
