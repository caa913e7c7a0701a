//! Real handwritten digits inside the binary: 1,797 grey images of 8x8 pixels.
//!
//! E. Alpaydin and C. Kaynak, *Optical Recognition of Handwritten Digits* (UCI, 1998), CC BY 4.0,
//! <https://doi.org/10.24432/C50P49>. `DIGITS-LICENSE.md` beside this file has the details.

use std::io::Read;

use super::Images;
use crate::{Error, Result};

/// Source and licence of the data in one line, for whatever shows the digits.
pub const SOURCE: &str = "Optical Recognition of Handwritten Digits, E. Alpaydin and C. Kaynak, UCI 1998, CC BY 4.0";

const FILE: &str = "digits.csv.gz";
const EMBEDDED: &[u8] = include_bytes!("digits.csv.gz");
const SIDE: usize = 8;
const INK: f32 = 16.0;
const CLASSES: usize = 10;
const HELD_OUT: usize = 297;
/// The real file unpacks to 264,712 bytes; nothing that calls itself digits is allowed to fill the memory.
const MAX_UNPACKED: u64 = 16 << 20;

/// The digits in two disjoint parts.
#[derive(Debug, Clone)]
pub struct Digits {
    /// 1,500 images to train on.
    pub train: Images,
    /// 297 images that nothing is trained on: the metrics' reference and the classifiers' test.
    pub held_out: Images,
}

/// Unpacks the embedded digits: images `[n, 8, 8, 1]`, -1 is paper and 1 is ink, labels 0 to 9.
///
/// The split is always the same, and every class has the same share of both parts, to within one image.
pub fn load() -> Result<Digits> {
    split(&parse(EMBEDDED)?)
}

fn parse(packed: &[u8]) -> Result<Images> {
    let mut text = String::new();
    let read = flate2::read::GzDecoder::new(packed).take(MAX_UNPACKED).read_to_string(&mut text);
    read.map_err(|e| Error::format(FILE, format!("not gzipped text: {e}")))?;

    let mut pixels = Vec::new();
    let mut labels = Vec::new();
    for (row, line) in text.lines().enumerate() {
        let bad = |what: String| Error::format(FILE, format!("line {}: {what}", row + 1));
        let fields: Vec<u8> = line
            .split(',')
            .map(|field| field.trim().parse().map_err(|_| bad(format!("`{field}` is not a number from 0 to 255"))))
            .collect::<Result<_>>()?;
        let [image @ .., label] = fields.as_slice() else { return Err(bad("empty".into())) };
        if image.len() != SIDE * SIDE {
            return Err(bad(format!("{} fields, expected {} pixels and a label", fields.len(), SIDE * SIDE)));
        }
        if let Some(ink) = image.iter().find(|&&ink| f32::from(ink) > INK) {
            return Err(bad(format!("grey value {ink}, expected 0 to {INK}")));
        }
        pixels.extend(image.iter().map(|&ink| f32::from(ink) / (INK / 2.0) - 1.0));
        labels.push(u32::from(*label));
    }
    Images::new(pixels, labels, [SIDE, SIDE, 1], CLASSES).map_err(|e| Error::format(FILE, e.to_string()))
}

/// Sorts the images by class, then spreads `HELD_OUT` picks evenly over that list: each class gives its share.
fn split(all: &Images) -> Result<Digits> {
    let by_class = (0..CLASSES as u32).flat_map(|class| all.of_class(class));
    let (mut train, mut held_out) = (Vec::new(), Vec::new());
    for (rank, index) in by_class.enumerate() {
        let picked = (rank + 1) * HELD_OUT / all.len() > rank * HELD_OUT / all.len();
        if picked { &mut held_out } else { &mut train }.push(index);
    }
    let part = |indices: &[u32]| {
        let (pixels, labels) = all.gather(indices)?;
        Images::new(pixels, labels, all.size(), CLASSES)
    };
    Ok(Digits { train: part(&train)?, held_out: part(&held_out)? })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn packed(text: &str) -> Vec<u8> {
        let mut gz = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gz.write_all(text.as_bytes()).unwrap();
        gz.finish().unwrap()
    }

    #[test]
    fn the_embedded_file_is_the_published_one() {
        let all = parse(EMBEDDED).unwrap();
        assert_eq!((all.len(), all.size(), all.classes()), (1797, [8, 8, 1], 10));
        // scikit-learn's load_digits: the grey values sum to 561,718, and these are the class counts.
        let sum: f64 = all.pixels().unwrap().iter().map(|&p| f64::from(p + 1.0) * 8.0).sum();
        assert_eq!(sum, 561_718.0);
        let counts: Vec<_> = (0..10).map(|c| all.of_class(c).len()).collect();
        assert_eq!(counts, [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]);
        assert_eq!(all.labels()[..10], [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
        // First row of the first image: 0 0 5 13 9 1 0 0.
        assert_eq!(all.pixels().unwrap()[..8], [-1.0, -1.0, -0.375, 0.625, 0.125, -0.875, -1.0, -1.0]);
        assert!(all.pixels().unwrap().iter().all(|p| (-1.0..=1.0).contains(p)));
    }

    #[test]
    fn the_split_is_stratified_and_loses_nothing() {
        let all = parse(EMBEDDED).unwrap();
        let Digits { train, held_out } = load().unwrap();
        assert_eq!((train.len(), held_out.len()), (1500, 297));
        for class in 0..10 {
            let share = all.of_class(class).len() as f64 * 297.0 / 1797.0;
            assert!((held_out.of_class(class).len() as f64 - share).abs() < 1.0, "class {class}");
        }
        let rows = |set: &Images| {
            set.pixels().unwrap().chunks(64).map(|row| row.iter().map(|p| p.to_bits()).collect()).collect()
        };
        let mut parts: Vec<Vec<u32>> = rows(&train);
        parts.extend::<Vec<_>>(rows(&held_out));
        let mut whole: Vec<Vec<u32>> = rows(&all);
        parts.sort();
        whole.sort();
        assert_eq!(parts, whole);
    }

    #[test]
    fn malformed_files_are_errors_that_name_the_line() {
        let row = |first: &str, label: &str| format!("{first}{},{label}\n", ",0".repeat(63));
        assert_eq!(parse(&packed(&row("16", "9"))).unwrap().pixels().unwrap()[..2], [1.0, -1.0]);
        for (text, says) in [
            (String::new(), "no images"),
            (row("17", "1"), "line 1: grey value 17"),
            (row("0", "1") + &row("x", "1"), "line 2: `x`"),
            (row("0", "1") + &row("-1", "1"), "line 2: `-1`"),
            (row("0", "10"), "label 10"),
            ("1,2,3\n".into(), "line 1: 3 fields"),
            (row("0", "1") + "\n", "line 2: ``"),
        ] {
            let error = parse(&packed(&text)).unwrap_err().to_string();
            assert!(error.contains(says), "{error}");
        }
        for bytes in [&EMBEDDED[..100], &EMBEDDED[..EMBEDDED.len() - 9], b"not gzip", b""] {
            assert!(matches!(parse(bytes), Err(Error::Format { .. })));
        }
    }

    #[test]
    fn images_refuse_what_does_not_fit() {
        let new = |pixels: Vec<f32>, labels: Vec<u32>, size| Images::new(pixels, labels, size, 2);
        assert!(new(vec![0.0; 8], vec![0, 1], [2, 2, 1]).is_ok());
        assert!(new(vec![0.0; 7], vec![0, 1], [2, 2, 1]).is_err());
        assert!(new(vec![0.0; 8], vec![0, 2], [2, 2, 1]).is_err());
        assert!(new(vec![], vec![], [2, 2, 1]).is_err());
        assert!(new(vec![], vec![0], [2, 0, 1]).is_err());
        assert!(new(vec![0.0], vec![0], [usize::MAX, 2, 1]).is_err());
        assert!(new(vec![f32::NAN; 4], vec![0], [2, 2, 1]).is_err());
        assert!(new(vec![0.0; 4], vec![0], [2, 2, 1]).unwrap().gather(&[1]).is_err());
    }
}
