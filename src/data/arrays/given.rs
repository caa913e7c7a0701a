//! Data sets in arrays that a program has, rather than a file.

use std::path::Path;

use super::{Part, Read};
use crate::data::labels::{self, MAX_CLASSES};
use crate::data::{DataSet, ReadOptions, Reading, npy};
use crate::{Error, Result};

/// Images (or points), and their labels if there are any, as [`open`](crate::data::open) reads those of a `.npz` file:
/// each is an array as the bytes of a `.npy` file, which say type, order and shape. `name` is the set's from then on.
///
/// Errors on bytes that are no such file, on axes that cannot be told, on labels that do not fit, on values that are
/// not finite, and where all are the same.
pub fn of_npy(name: &str, images: &[u8], marks: Option<&[u8]>, options: &ReadOptions) -> Result<DataSet> {
    let path = Path::new(name);
    let named = |what: String| Error::format(path, what);
    let mut said = Reading { form: "array".into(), ..Reading::default() };
    let read = Read::of(npy::of_bytes(path, "images: ", images)?, options, &mut said).map_err(named)?;
    let labels = match marks {
        Some(bytes) => {
            let (array, _) = npy::of_bytes(path, "labels: ", bytes)?;
            Some(labels::classes(&array, read.count).map_err(named)?)
        }
        None => None,
    };
    said.without_labels = [labels.is_none(), false];
    let mut classes = labels.as_ref().map_or(1, |(_, classes)| *classes);
    if classes > MAX_CLASSES {
        return Err(named(format!("{classes} classes, at most {MAX_CLASSES}")));
    }
    let (mut part, mut names) = (Part { read, labels }, Vec::new());
    if let Some((labels, _)) = &mut part.labels
        && let Some((found, word)) = labels::from_one(&mut [labels], &mut classes)
    {
        names = found;
        said.converted.push(word);
    }
    let images = part.images(classes, options).map_err(|e| named(e.to_string()))?;
    Ok(DataSet::read(name, images, None, names, said))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::npy::{Array, Values};

    fn bytes(shape: &[usize], values: Values) -> Vec<u8> {
        Array { shape: shape.to_vec(), values }.to_bytes().unwrap()
    }

    #[test]
    fn bytes_stay_bytes_and_labels_their_classes() {
        let images = bytes(&[4, 2, 2], Values::U8((0..16).map(|i| 17 * i).collect()));
        let labels = bytes(&[4], Values::I64(vec![0, 2, 1, 2]));
        let set = of_npy("mine", &images, Some(&labels), &ReadOptions::default()).unwrap();
        assert_eq!(
            (set.name.as_str(), set.train.len(), set.train.size(), set.train.classes()),
            ("mine", 4, [2, 2, 1], 3)
        );
        assert_eq!(set.train.labels(), [0, 2, 1, 2]);
        // Byte b is b / 127.5 - 1.
        assert_eq!(set.train.pixels().unwrap()[..2], [-1.0, 17.0 / 127.5 - 1.0]);
        assert!(set.account().contains("mine"), "{}", set.account());
    }

    #[test]
    fn what_does_not_fit_is_named() {
        let images = bytes(&[2, 2, 2], Values::F32(vec![0.5, -0.5, 0.25, 0.0, 0.5, -0.5, 0.25, f32::NAN]));
        let error = of_npy("mine", &images, None, &ReadOptions::default()).unwrap_err().to_string();
        assert!(error.contains("mine") && error.contains("not finite"), "{error}");
        let images = bytes(&[2, 2, 2], Values::F32(vec![0.5, -0.5, 0.25, 0.0, 0.5, -0.5, 0.25, 0.1]));
        for (labels, word) in [(vec![0], "1 labels"), (vec![0, -1], "label -1")] {
            let labels = bytes(&[labels.len()], Values::I64(labels));
            let error = of_npy("mine", &images, Some(&labels), &ReadOptions::default()).unwrap_err().to_string();
            assert!(error.contains(word), "{error}");
        }
        let error = of_npy("mine", b"\x93NUMPY", None, &ReadOptions::default()).unwrap_err().to_string();
        assert!(error.contains("images"), "{error}");
    }
}
