//! Stacks of images in one TIFF file, of whole or floating-point numbers: what microscopes write.

mod rows;

use std::io::Cursor;
use std::path::Path;

use tiff::decoder::{Decoder, DecodingResult};
use tiff::{ColorType, TiffError};

use super::npy::{Array, Kind, Type, Values};
use super::{DataSet, ReadOptions, arrays, source};
use crate::{Error, Result, files};

/// The pages of a file as a data set: grey `[n, h, w]`, or `[n, h, w, c]`.
///
/// Errors on files that are damaged or cut short, on pages that differ in size or kind, and on colours that are no
/// channels (palettes).
pub(super) fn open(path: &Path, name: &str, options: &ReadOptions) -> Result<DataSet> {
    let named = |what: String| Error::format(path, what);
    if let Some(pages) = rows::Pages::larger_than(path, options.may_take())? {
        return arrays::on_demand::open(pages, name, "TIFF pages", options);
    }
    let bytes = files::read_at_most(path, source::MAX_BYTES, "TIFF file")?;
    let mut decoder = Decoder::new(Cursor::new(&bytes)).map_err(|e| named(words(&e)))?;
    let mut pages: Option<Pages> = None;
    let mut count = 0usize;
    loop {
        let at = |what: String| named(format!("page {count} (counted from 0): {what}"));
        let ((width, height), colour) =
            decoder.dimensions().and_then(|size| Ok((size, decoder.colortype()?))).map_err(|e| at(words(&e)))?;
        let channels = channels(colour).map_err(at)?;
        let size = [height as usize, width as usize, channels];
        let values = decoder.read_image().map_err(|e| at(words(&e)))?;
        match &mut pages {
            None => pages = Some(Pages::new(size, values)),
            Some(pages) => pages.add(size, values).map_err(at)?,
        }
        count += 1;
        if !decoder.more_images() {
            break;
        }
        decoder.next_image().map_err(|e| named(format!("page {count} (counted from 0): {}", words(&e))))?;
    }
    let Some(Pages { size: [h, w, c], values, kind }) = pages else { return Err(named("no pages".into())) };
    let shape = if c == 1 { vec![count, h, w] } else { vec![count, h, w, c] };
    arrays::whole(path, name, "TIFF pages", (Array { shape, values }, kind), options)
}

/// What is wrong with a file, for a person.
fn words(error: &TiffError) -> String {
    match error {
        TiffError::IoError(e) if e.kind() == std::io::ErrorKind::UnexpectedEof => {
            "cut short: the file ends too soon".into()
        }
        TiffError::LimitsExceeded => "its header asks for more than any page takes: the file is damaged".into(),
        other => format!("{other}: the file is damaged, or no TIFF"),
    }
}

/// Numbers in a pixel, which follow each other.
fn channels(colour: ColorType) -> Result<usize, String> {
    match colour {
        ColorType::Gray(_) => Ok(1),
        ColorType::GrayA(_) => Ok(2),
        ColorType::RGB(_) => Ok(3),
        ColorType::RGBA(_) => Ok(4),
        ColorType::Multiband { num_samples, .. } => Ok(num_samples.into()),
        other => Err(format!("{other:?} are no channels of numbers; save it in grey or in red, green and blue")),
    }
}

/// Pages that are alike.
struct Pages {
    size: [usize; 3],
    values: Values,
    kind: Type,
}

impl Pages {
    fn new(size: [usize; 3], values: DecodingResult) -> Self {
        let (values, kind) = numbers(values);
        Pages { size, values, kind }
    }

    fn add(&mut self, size: [usize; 3], values: DecodingResult) -> Result<(), String> {
        if size != self.size {
            return Err(format!("{size:?} (height, width, channels), but the first is {:?}", self.size));
        }
        let (values, kind) = numbers(values);
        if kind != self.kind {
            return Err(format!("numbers of {kind}, but the first has {}", self.kind));
        }
        self.values.append(values)
    }
}

fn numbers(values: DecodingResult) -> (Values, Type) {
    let kind = |kind, width| Type { kind, width };
    let whole = |values: Vec<i64>, kind| (Values::I64(values), kind);
    match values {
        DecodingResult::U8(v) => (Values::U8(v), kind(Kind::Unsigned, 1)),
        DecodingResult::U16(v) => whole(v.into_iter().map(i64::from).collect(), kind(Kind::Unsigned, 2)),
        DecodingResult::U32(v) => whole(v.into_iter().map(i64::from).collect(), kind(Kind::Unsigned, 4)),
        DecodingResult::U64(v) => (Values::F64(v.into_iter().map(|x| x as f64).collect()), kind(Kind::Float, 8)),
        DecodingResult::I8(v) => whole(v.into_iter().map(i64::from).collect(), kind(Kind::Signed, 1)),
        DecodingResult::I16(v) => whole(v.into_iter().map(i64::from).collect(), kind(Kind::Signed, 2)),
        DecodingResult::I32(v) => whole(v.into_iter().map(i64::from).collect(), kind(Kind::Signed, 4)),
        DecodingResult::I64(v) => whole(v, kind(Kind::Signed, 8)),
        DecodingResult::F16(v) => (Values::F32(v.into_iter().map(f32::from).collect()), kind(Kind::Float, 2)),
        DecodingResult::F32(v) => (Values::F32(v), kind(Kind::Float, 4)),
        DecodingResult::F64(v) => (Values::F64(v), kind(Kind::Float, 8)),
    }
}

#[cfg(test)]
mod tests {
    use tiff::encoder::{TiffEncoder, colortype};

    use super::*;
    use crate::data::open_with;

    fn stack(pages: &[(u32, u32, Vec<u16>)]) -> Vec<u8> {
        let mut bytes = Cursor::new(Vec::new());
        let mut encoder = TiffEncoder::new(&mut bytes).unwrap();
        for (w, h, values) in pages {
            encoder.write_image::<colortype::Gray16>(*w, *h, values).unwrap();
        }
        bytes.into_inner()
    }

    fn read(bytes: &[u8]) -> Result<DataSet> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("stack.tif");
        std::fs::write(&path, bytes).unwrap();
        open_with(&path, &ReadOptions::default())
    }

    #[test]
    fn pages_are_images_in_their_own_numbers() {
        let page = |i: u16| (3, 2, (0..6).map(|x| 400 + 7 * x * i).collect::<Vec<u16>>());
        let pages = [page(1), page(2), page(3)];
        let set = read(&stack(&pages)).unwrap();
        assert_eq!((set.train.len(), set.train.size()), (3, [2, 3, 1]));
        let expected: Vec<f32> = pages.iter().flat_map(|(_, _, page)| page).map(|&x| f32::from(x)).collect();
        for (got, expected) in set.train.units().all_to_user(&set.train.pixels().unwrap(), 1).iter().zip(&expected) {
            assert!((got - expected).abs() < 1e-3, "{got} for {expected}");
        }
        assert!(set.account().contains("TIFF pages [3, 2, 3] of uint16"), "{}", set.account());
        let mut floats = Cursor::new(Vec::new());
        let mut encoder = TiffEncoder::new(&mut floats).unwrap();
        encoder.write_image::<colortype::RGB32Float>(1, 2, &[0.5, -0.5, 1.0, -1.0, 0.25, 0.0]).unwrap();
        let set = read(&floats.into_inner()).unwrap();
        assert_eq!(
            (set.train.size(), &set.train.pixels().unwrap()[..]),
            ([2, 1, 3], &[0.5, -0.5, 1.0, -1.0, 0.25, 0.0][..])
        );
    }

    #[test]
    fn a_stack_that_is_cut_short_or_mixed_is_an_error() {
        let whole = stack(&[(3, 2, vec![9, 8, 7, 6, 5, 4]), (3, 2, vec![1; 6])]);
        for length in 0..whole.len() {
            assert!(read(&whole[..length]).is_err(), "cut to {length} of {} bytes", whole.len());
        }
        let error = read(&stack(&[(3, 2, vec![9; 6]), (2, 3, vec![1; 6])])).unwrap_err().to_string();
        assert!(
            error.contains("page 1 (counted from 0): [3, 2, 1] (height, width, channels), but the first"),
            "{error}"
        );
    }
}
