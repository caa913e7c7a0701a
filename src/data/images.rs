use crate::{Error, Result};

/// Labelled images in memory: pixels in `[-1, 1]`, rows of `height * width * channels` values (NHWC), one label each.
#[derive(Debug, Clone, PartialEq)]
pub struct Images {
    pixels: Vec<f32>,
    labels: Vec<u32>,
    size: [usize; 3],
    classes: usize,
}

impl Images {
    /// Takes pixels `[n, height, width, channels]` and `n` labels below `classes`; `size` is `[height, width, channels]`.
    ///
    /// Errors if there are no images, a size is zero, the lengths disagree, a label is out of range or a pixel is not finite.
    pub fn new(pixels: Vec<f32>, labels: Vec<u32>, size: [usize; 3], classes: usize) -> Result<Self> {
        let values = size.iter().try_fold(1usize, |product, &s| product.checked_mul(s)).unwrap_or(0);
        if values == 0 || labels.is_empty() {
            return Err(Error::argument("Images::new", format!("no images: {} labels, size {size:?}", labels.len())));
        }
        if labels.len().checked_mul(values) != Some(pixels.len()) {
            return Err(Error::shape(
                "Images::new",
                format!("{} images of {size:?}", labels.len()),
                format!("{} pixels", pixels.len()),
            ));
        }
        if let Some(i) = labels.iter().position(|&label| label as usize >= classes) {
            let what = format!("label {} of image {i} is not below the number of classes, {classes}", labels[i]);
            return Err(Error::argument("Images::new", what));
        }
        if let Some(i) = pixels.iter().position(|pixel| !pixel.is_finite()) {
            return Err(Error::NonFinite {
                what: format!("pixel {} of image {}", i % values, i / values),
                found: pixels[i].to_string(),
            });
        }
        Ok(Images { pixels, labels, size, classes })
    }

    /// Number of images.
    pub fn len(&self) -> usize {
        self.labels.len()
    }

    /// Never true: a set holds at least one image.
    pub fn is_empty(&self) -> bool {
        self.labels.is_empty()
    }

    /// `[height, width, channels]`.
    pub fn size(&self) -> [usize; 3] {
        self.size
    }

    /// Values in one image.
    pub fn values(&self) -> usize {
        self.size.iter().product()
    }

    /// Number of classes; labels lie below it.
    pub fn classes(&self) -> usize {
        self.classes
    }

    /// All pixels, `[n, height, width, channels]`.
    pub fn pixels(&self) -> &[f32] {
        &self.pixels
    }

    /// All labels, `[n]`.
    pub fn labels(&self) -> &[u32] {
        &self.labels
    }

    /// The images at `indices`, in that order, and their labels.
    ///
    /// Errors if an index is out of range.
    pub fn gather(&self, indices: &[u32]) -> Result<(Vec<f32>, Vec<u32>)> {
        let values = self.values();
        let mut pixels = Vec::with_capacity(indices.len() * values);
        let mut labels = Vec::with_capacity(indices.len());
        for &index in indices {
            let i = index as usize;
            let Some(&label) = self.labels.get(i) else {
                return Err(Error::argument("Images::gather", format!("index {i} of {} images", self.len())));
            };
            pixels.extend_from_slice(&self.pixels[i * values..(i + 1) * values]);
            labels.push(label);
        }
        Ok((pixels, labels))
    }

    /// Indices of the images with this label, rising.
    pub fn of_class(&self, label: u32) -> Vec<u32> {
        (0..self.len() as u32).filter(|&i| self.labels[i as usize] == label).collect()
    }
}
