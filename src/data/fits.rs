//! FITS, the files of telescopes: the images of its header and data units.

use std::io::Cursor;
use std::path::Path;

use fitsrs::card::Value;
use fitsrs::hdu::header::extension::image::Image;
use fitsrs::hdu::header::{Bitpix, Header};
use fitsrs::{Fits, HDU};

use super::npy::{self, Array, Kind, Type, Values};
use super::{AxisOrder, DataSet, ReadOptions, arrays, picture, source};
use crate::{Error, Result};

/// The images of a file, packed with gzip or not: of one unit with three axes or more, or of all units with two that
/// are alike. Scaled numbers (BSCALE, BZERO) are what they stand for, and rows come in the order of the file.
///
/// Errors on files that are damaged or cut short, on undefined values (BLANK, NaN), and where there is no image.
pub(super) fn open(path: &Path, name: &str, options: &ReadOptions) -> Result<DataSet> {
    let bytes = source::all(path, &mut source::open(path)?, source::MAX_BYTES)?;
    let units = picture::fenced(path, || units(path, &bytes))?;
    let Some(first) = units.images.first() else {
        let what = match units.tables {
            0 => "no unit with an image".into(),
            n => format!("{n} tables and no image; a compressed image is unpacked by funpack"),
        };
        return Err(Error::format(path, what));
    };
    let alike: Vec<&Unit> =
        units.images.iter().filter(|unit| (&unit.shape, unit.bitpix) == (&first.shape, first.bitpix)).collect();
    let alone = alike.len() == 1 || first.shape.len() > 2;
    let used = if alone { &alike[..1] } else { &alike[..] };
    let named = |what: String| Error::format(path, what);
    let (mut values, kind) = first.values(&bytes).map_err(named)?;
    for unit in &used[1..] {
        let (numbers, of_unit) = unit.values(&bytes).map_err(named)?;
        if of_unit != kind {
            return Err(named("images of different scale (BSCALE, BZERO); save all alike".into()));
        }
        values.append(numbers).map_err(named)?;
    }
    let rows = matches!(options.layout, AxisOrder::Points | AxisOrder::Signals);
    let shape = match (&first.shape[..], alone) {
        // Rows of one image may be the samples.
        (shape @ [_, _], true) if !rows => [&[1], shape].concat(),
        (shape, true) => shape.to_vec(),
        (shape, false) => [&[used.len()], shape].concat(),
    };
    let mut set = arrays::whole(path, name, "FITS", (Array { shape, values }, kind), options)?;
    let others = units.images.len() - used.len() + units.tables;
    if others > 0 {
        set.reading.left_out.push(format!("{others} units that are no images or of another shape than the first"));
    }
    Ok(set)
}

/// What a file holds.
struct Units {
    images: Vec<Unit>,
    tables: usize,
}

/// A unit with an image.
struct Unit {
    /// The slowest axis first, without axes of length 1 in front of the last two.
    shape: Vec<usize>,
    bitpix: i64,
    scale: f64,
    zero: f64,
    /// What stands for no number.
    blank: Option<i64>,
    /// Where its data are.
    first: u64,
    count: u64,
}

fn units(path: &Path, bytes: &[u8]) -> Result<Units> {
    let named = |what: String| Error::format(path, what);
    let mut units = Units { images: Vec::new(), tables: 0 };
    for hdu in Fits::from_reader(Cursor::new(bytes)) {
        match hdu.map_err(|e| named(words(&e)))? {
            HDU::Primary(hdu) | HDU::XImage(hdu) => {
                units.images.extend(Unit::of(hdu.get_header(), hdu.get_data_unit_byte_offset()).map_err(named)?);
            }
            HDU::XBinaryTable(_) | HDU::XASCIITable(_) => units.tables += 1,
        }
    }
    Ok(units)
}

/// What is wrong with a header, for a person.
fn words(error: &fitsrs::error::Error) -> String {
    match error {
        fitsrs::error::Error::Io(_) => "cut short: the file ends within a header".into(),
        other => format!("a header that is not as FITS has it ({other}): the file is damaged, or no FITS"),
    }
}

impl Unit {
    /// `None` of a unit without an image. Errors, in words, on more numbers than can be.
    fn of(header: &Header<Image>, first: u64) -> Result<Option<Self>, String> {
        let image = header.get_xtension();
        let mut shape: Vec<usize> = image.get_naxis().iter().rev().map(|&extent| extent as usize).collect();
        while shape.len() > 2 && shape[0] == 1 {
            shape.remove(0);
        }
        if shape.len() < 2 || shape.contains(&0) {
            return Ok(None);
        }
        let number = |key: &str| match header.get(key) {
            Some(Value::Integer { value, .. }) => Some(*value as f64),
            Some(Value::Float { value, .. }) => Some(*value),
            _ => None,
        };
        let bitpix = match image.get_bitpix() {
            Bitpix::U8 => 8,
            Bitpix::I16 => 16,
            Bitpix::I32 => 32,
            Bitpix::I64 => 64,
            Bitpix::F32 => -32,
            Bitpix::F64 => -64,
        };
        let count = shape.iter().try_fold(1u64, |n, &extent| n.checked_mul(extent as u64));
        let count = count.filter(|&count| count <= source::MAX_BYTES);
        let count = count.ok_or_else(|| format!("an image of {shape:?}; the file is damaged"))?;
        let (scale, zero) = (number("BSCALE").unwrap_or(1.0), number("BZERO").unwrap_or(0.0));
        let blank = number("BLANK").map(|blank| blank as i64).filter(|_| bitpix > 0);
        Ok(Some(Unit { shape, bitpix, scale, zero, blank, first, count }))
    }

    /// The numbers that are stored, or what they stand for. Errors, in words, where the file ends before they do, and
    /// on undefined ones.
    fn values(&self, bytes: &[u8]) -> Result<(Values, Type), String> {
        let width = self.bitpix.unsigned_abs() as usize / 8;
        let kind = match self.bitpix {
            8 => Kind::Unsigned,
            16 | 32 | 64 => Kind::Signed,
            _ => Kind::Float,
        };
        let first = usize::try_from(self.first).unwrap_or(usize::MAX);
        let end = first.saturating_add(self.count as usize * width);
        let there = bytes.get(first..end).ok_or_else(|| {
            format!("cut short: {} bytes end before an image of {:?} does, at {end}", bytes.len(), self.shape)
        })?;
        let stored = Type { kind, width };
        let values = npy::values(there.to_vec(), stored, true)?;
        if let (Some(blank), Values::U8(_) | Values::I64(_)) = (self.blank, &values) {
            let undefined = match &values {
                Values::U8(v) => v.iter().position(|&x| i64::from(x) == blank),
                Values::I64(v) => v.iter().position(|&x| x == blank),
                _ => None,
            };
            if let Some(at) = undefined {
                let (rest, x) = (at / self.shape[self.shape.len() - 1], at % self.shape[self.shape.len() - 1]);
                return Err(format!(
                    "row {rest}, column {x} (from 0) is undefined (BLANK = {blank}); every number must be"
                ));
            }
        }
        let unsigned = Type { kind: Kind::Unsigned, width };
        Ok(match (self.bitpix, self.scale, self.zero, values) {
            (_, 1.0, 0.0, values) => (values, stored),
            // How whole numbers without a sign are stored.
            (16, 1.0, 32768.0, Values::I64(v)) => (Values::I64(v.into_iter().map(|x| x + 32768).collect()), unsigned),
            (32, 1.0, 2147483648.0, Values::I64(v)) => {
                (Values::I64(v.into_iter().map(|x| x + (1 << 31)).collect()), unsigned)
            }
            (.., values) => {
                let numbers = Array { shape: Vec::new(), values }.to_f64();
                let scaled = numbers.into_iter().map(|x| x * self.scale + self.zero).collect();
                (Values::F64(scaled), Type { kind: Kind::Float, width: 8 })
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A unit as the standard has it: cards of 80 characters, blocks of 2,880 bytes.
    fn unit(cards: &[(&str, &str)], data: &[u8]) -> Vec<u8> {
        let mut bytes: Vec<u8> =
            cards.iter().flat_map(|(key, value)| format!("{key:<8}= {value:>20}{:50}", "").into_bytes()).collect();
        bytes.extend(format!("{:<80}", "END").bytes());
        bytes.resize(bytes.len().next_multiple_of(2880), b' ');
        bytes.extend(data);
        bytes.resize(bytes.len().next_multiple_of(2880), 0);
        bytes
    }

    fn read(bytes: &[u8], options: &ReadOptions) -> Result<DataSet> {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("x.fits");
        std::fs::write(&path, bytes).unwrap();
        open(&path, "x.fits", options)
    }

    #[test]
    fn a_cube_of_counts_is_a_stack() {
        let cards =
            [("SIMPLE", "T"), ("BITPIX", "16"), ("NAXIS", "3"), ("NAXIS1", "4"), ("NAXIS2", "2"), ("NAXIS3", "3")];
        let scaled = [&cards[..], &[("BSCALE", "1"), ("BZERO", "32768")]].concat();
        let counts: Vec<u16> = (0..24).map(|i| 40_000 + 11 * i).collect();
        let data: Vec<u8> = counts.iter().flat_map(|&x| (i32::from(x) - 32768).to_be_bytes()[2..].to_vec()).collect();
        let set = read(&unit(&scaled, &data), &ReadOptions::default()).unwrap();
        assert_eq!((set.train.len(), set.train.size()), (3, [2, 4, 1]));
        assert!(set.account().contains("from FITS [3, 2, 4] of uint16, values 40000 to 40253"), "{}", set.account());
        for (found, count) in set.train.units().all_to_user(&set.train.pixels().unwrap(), 1).iter().zip(&counts) {
            assert!((found - f32::from(*count)).abs() < 0.1, "{found} for {count}");
        }
        let cut = read(&unit(&scaled, &data)[..2880 + 40], &ReadOptions::default()).unwrap_err().to_string();
        assert!(cut.contains("cut short"), "{cut}");
        let blank = [&cards[..], &[("BLANK", "7")]].concat();
        let data: Vec<u8> = (0..24i16).flat_map(i16::to_be_bytes).collect();
        let error = read(&unit(&blank, &data), &ReadOptions::default()).unwrap_err().to_string();
        assert!(error.contains("row 1, column 3 (from 0) is undefined"), "{error}");
    }

    #[test]
    fn units_of_one_shape_are_a_stack_and_others_are_left_out() {
        let floats = |factor: f32, n: usize| -> Vec<u8> {
            (0..n).flat_map(|i| (factor * (i as f32).sin()).to_be_bytes()).collect()
        };
        let primary = unit(&[("SIMPLE", "T"), ("BITPIX", "8"), ("NAXIS", "0"), ("EXTEND", "T")], &[]);
        let image = |width: &str, data: &[u8]| {
            let cards = [
                ("XTENSION", "'IMAGE   '"),
                ("BITPIX", "-32"),
                ("NAXIS", "2"),
                ("NAXIS1", width),
                ("NAXIS2", "5"),
                ("PCOUNT", "0"),
                ("GCOUNT", "1"),
            ];
            unit(&cards, data)
        };
        let file = [primary, image("3", &floats(1.0, 15)), image("3", &floats(0.5, 15)), image("2", &floats(1.0, 10))];
        let set = read(&file.concat(), &ReadOptions::default()).unwrap();
        assert_eq!((set.train.len(), set.train.size()), (2, [5, 3, 1]));
        assert!(set.account().contains("left out: 1 units"), "{}", set.account());
        let seen: Vec<f32> = [1f32, 0.5].iter().flat_map(|f| (0..15).map(move |i| f * (i as f32).sin())).collect();
        assert_eq!(set.train.pixels().unwrap()[..], seen);
        let rows = ReadOptions { layout: AxisOrder::Points, ..ReadOptions::default() };
        let set = read(&file[..2].concat(), &rows).unwrap();
        assert_eq!((set.train.len(), set.train.size()), (5, [1, 1, 3]));
        assert!(read(b"SIMPLE  =                    T", &rows).is_err() && read(&[7; 3000], &rows).is_err());
    }
}
