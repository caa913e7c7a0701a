//! Images of any size in a network that halves its resolution some times.

use crate::autograd::Var;
use crate::error::{Error, Result};
use crate::nn::score::DataShape;
use crate::ops;
use crate::tensor::Tensor;

/// A frame of zeros around images, so that their size can be halved as often as the network does.
///
/// Images of one row are signals: they are halved along their length only and get no rows above and below.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Canvas {
    /// Height and width of the images.
    images: [usize; 2],
    /// Height and width of the images with their frame.
    framed: [usize; 2],
}

impl Canvas {
    /// For a network of `levels` resolutions. `resolution` is the larger of height and width, and both where these are
    /// not said. Errors on contradictions and on sizes that cannot be halved so often.
    pub fn new(resolution: usize, height: Option<usize>, width: Option<usize>, levels: usize) -> Result<Self> {
        let images = [height.unwrap_or(resolution), width.unwrap_or(resolution)];
        let larger = images[0].max(images[1]);
        if larger != resolution || images.contains(&0) || larger > 1 << 16 {
            let [h, w] = images;
            let what = "img_resolution must be the larger of img_height and img_width, between 1 and 65536";
            return Err(Error::Config(format!("{what}, got {resolution} for {h} x {w}")));
        }
        let halvings = levels.saturating_sub(1);
        if halvings >= 16 || (1 << halvings) > resolution {
            return Err(Error::Config(format!(
                "img_resolution {resolution} cannot be halved {halvings} times; use fewer entries in channel_mult"
            )));
        }
        let [height, width] = images.map(|extent| extent.next_multiple_of(1 << halvings));
        Ok(Canvas { images, framed: [if images[0] == 1 { 1 } else { height }, width] })
    }

    /// The larger of height and width at a level, which names layers and where attention is.
    pub fn resolution(&self, level: usize) -> usize {
        self.framed[0].max(self.framed[1]) >> level
    }

    /// Height and width with the frame.
    pub fn framed(&self) -> [usize; 2] {
        self.framed
    }

    /// Whether the images are signals.
    pub fn is_signal(&self) -> bool {
        self.images[0] == 1
    }

    /// Images `[n, h, w, channels]` with their frame. Errors unless they have the size of the network's.
    pub fn framing(&self, op: &'static str, x: &Var, channels: usize) -> Result<Var> {
        let [n, h, w, c] = x.shape().dims(op, "images [n, h, w, channels]")?;
        let [height, width] = self.images;
        if [h, w, c] != [height, width, channels] {
            return Err(Error::shape(op, format!("images [n, {height}, {width}, {channels}]"), x.shape()));
        }
        let (mut x, mut shape) = (x.clone(), [n, h, w, c]);
        for axis in [1, 2] {
            let border = self.border(axis);
            let zeros = |extent: usize| -> Result<Var> {
                let mut shape = shape;
                shape[axis] = extent;
                Ok(Tensor::zeros(shape, x.dtype(), &x.device())?.into())
            };
            let [before, after] = [zeros(border[0])?, zeros(border[1])?];
            let parts = [(border[0], &before), (shape[axis], &x), (border[1], &after)];
            let parts: Vec<&Var> = parts.into_iter().filter(|(extent, _)| *extent > 0).map(|(_, part)| part).collect();
            let framed = ops::concat(&parts, axis)?;
            x = framed;
            shape[axis] = self.framed[axis - 1];
        }
        Ok(x)
    }

    /// What lies within the frame.
    pub fn cutting(&self, y: &Var) -> Result<Var> {
        let mut y = y.clone();
        for axis in [1, 2] {
            let before = self.border(axis)[0];
            y = ops::slice(&y, axis, before..before + self.images[axis - 1])?;
        }
        Ok(y)
    }

    /// Zeros before and after the image along height (1) or width (2).
    fn border(&self, axis: usize) -> [usize; 2] {
        let more = self.framed[axis - 1] - self.images[axis - 1];
        [more / 2, more - more / 2]
    }
}

impl DataShape {
    /// The options of U-Nets for images of any size, in EDM's names: `img_height` and `img_width` only where images are
    /// not square.
    pub fn images(&self) -> Vec<(&'static str, usize)> {
        let [height, width, channels] = self.size;
        let mut sizes =
            vec![("label_dim", self.classes), ("img_resolution", height.max(width)), ("img_channels", channels)];
        if height != width {
            sizes.extend([("img_height", height), ("img_width", width)]);
        }
        sizes.push(("augment_dim", self.augment));
        sizes
    }
}

/// Images of half the size; of signals, half as long.
pub fn halved(x: &Var, filter: &[f64]) -> Result<Var> {
    match x.shape()[1] {
        // The mean of two equal rows is the row.
        1 => ops::downsample2x(ops::concat(&[x, x], 1)?, filter),
        _ => ops::downsample2x(x, filter),
    }
}

/// Images of twice the size; of signals, twice as long.
pub fn doubled(x: &Var, filter: &[f64]) -> Result<Var> {
    let y = ops::upsample2x(x, filter)?;
    match x.shape()[1] {
        1 => ops::slice(&y, 1, 0..1),
        _ => Ok(y),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tensor::Device;

    fn numbers(shape: [usize; 4]) -> Var {
        let values: Vec<f32> = (0..shape.iter().product::<usize>()).map(|i| i as f32).collect();
        Tensor::from_slice(&values, shape, &Device::Cpu).unwrap().into()
    }

    #[test]
    fn what_is_framed_comes_back_and_the_frame_is_zero() {
        for (h, w) in [(24, 32), (25, 33), (7, 5), (8, 8), (1, 30), (4, 1)] {
            let canvas = Canvas::new(h.max(w), Some(h), Some(w), 3).unwrap();
            let x = numbers([2, h, w, 3]);
            let framed = canvas.framing("test", &x, 3).unwrap();
            let [height, width] = canvas.framed();
            assert_eq!(framed.shape()[..], [2, height, width, 3]);
            assert!((height % 4 == 0 || h == 1) && width % 4 == 0, "{h} x {w} became {height} x {width}");
            assert!(height < h + 4 && width < w + 4);
            let total = |x: &Var| x.value().to_vec::<f32>().unwrap().iter().map(|&v| f64::from(v)).sum::<f64>();
            assert_eq!(total(&framed), total(&x));
            let back = canvas.cutting(&framed).unwrap();
            assert_eq!(back.value().to_vec::<f32>().unwrap(), x.value().to_vec::<f32>().unwrap());
        }
    }

    #[test]
    fn signals_are_halved_along_their_length() {
        let x = numbers([1, 1, 8, 2]);
        let half = halved(&x, &[1.0, 1.0]).unwrap();
        assert_eq!(half.shape()[..], [1, 1, 4, 2]);
        assert_eq!(half.value().to_vec::<f32>().unwrap(), [1.0, 2.0, 5.0, 6.0, 9.0, 10.0, 13.0, 14.0]);
        let twice = doubled(&half, &[1.0, 1.0]).unwrap();
        assert_eq!(twice.value().to_vec::<f32>().unwrap()[..6], [1.0, 2.0, 1.0, 2.0, 5.0, 6.0]);
    }

    #[test]
    fn sizes_that_make_no_network_are_errors() {
        let error = |r, h, w, levels| Canvas::new(r, h, w, levels).unwrap_err().to_string();
        assert!(error(24, Some(24), Some(32), 2).contains("larger of img_height and img_width"));
        assert!(error(4, None, None, 4).contains("cannot be halved 3 times"));
        assert!(error(0, None, None, 1).contains("between 1 and 65536"));
    }
}
