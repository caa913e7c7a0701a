//! Images to classify, turned, moved and scaled a little: what a classifier of few digits is trained with.
//!
//! What KDGAN's published results on MNIST use (Wang et al. 2018, the authors' code): turns up to 15 degrees, shifts up
//! to a tenth of the extent and zooms up to a tenth, of width and height each by itself. Bilinear, on the host, in
//! parallel over the images. [`AugmentPipe`](crate::diffusion::AugmentPipe) is another thing: the pipe of EDM, between
//! wavelet filters, of which a network is told.

use rayon::prelude::*;

use crate::random::{self, Purpose, RandomKey, Samples, Uniform};
use crate::{Error, Result};

/// How far images are turned, moved and scaled, and what comes into view at their edges.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Affine {
    /// Largest angle in degrees, either way.
    pub rotation: f64,
    /// Largest shift, as a share of width and height, either way.
    pub shift: f64,
    /// Largest change of width and height, each drawn by itself: they are multiplied by 1 less this to 1 plus this.
    pub zoom: f64,
    /// The value of all channels outside of the image: that of its background.
    pub background: f32,
}

/// What is done to an image, around its middle.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Placement {
    /// What width and height are multiplied by, before all else.
    pub zoom: [f64; 2],
    /// An angle in radians, counter-clockwise as the image is seen.
    pub angle: f64,
    /// Pixels to the right and down.
    pub shift: [f64; 2],
}

/// Random numbers that an image draws.
const DRAWS: usize = 5;
/// The site of the random numbers, beside those of EDM's augmentation.
const SITE: u32 = 2;

impl Affine {
    /// Turns of up to 15 degrees, shifts and zooms of up to a tenth.
    pub fn kdgan(background: f32) -> Self {
        Affine { rotation: 15.0, shift: 0.1, zoom: 0.1, background }
    }

    /// Errors unless the rotation is from 0 to 180 degrees, shift from 0 to 1, zoom from 0 to below 1, and the
    /// background finite.
    pub fn check(&self) -> Result<()> {
        let ranges = (0.0..=180.0).contains(&self.rotation)
            && (0.0..=1.0).contains(&self.shift)
            && (0.0..1.0).contains(&self.zoom)
            && self.background.is_finite();
        if ranges {
            return Ok(());
        }
        let what = "affine augmentation needs a rotation from 0 to 180 degrees, a shift from 0 to 1, a zoom from 0 to \
                    below 1 and a finite background";
        Err(Error::Config(format!("{what}, got {self:?}")))
    }

    /// Augments images `[n, height, width, channels]` in place. What becomes of an image is a function of seed, step
    /// and its sample number alone, however it is batched.
    ///
    /// Errors on settings out of range ([`check`](Self::check)), if `images` does not hold whole images, and if there
    /// are not as many sample numbers as images.
    pub fn apply(
        &self,
        images: &mut [f32],
        [height, width, channels]: [usize; 3],
        (seed, step): (u64, u32),
        samples: Samples,
    ) -> Result<()> {
        self.check()?;
        let values =
            [height, width, channels].iter().try_fold(1usize, |product, &e| product.checked_mul(e)).unwrap_or(0);
        if values == 0 || !images.len().is_multiple_of(values) {
            let got = format!("{} values", images.len());
            return Err(Error::shape("affine", format!("images of {height} x {width} x {channels}"), got));
        }
        let key = RandomKey::new(seed, Purpose::Augmentation).at_site(SITE).at_step(step);
        let mut draws = vec![0.0; images.len() / values * DRAWS];
        random::fill(Uniform, &key.stream()?, samples, DRAWS, &mut draws)?;
        images.par_chunks_mut(values).zip(draws.par_chunks(DRAWS)).for_each(|(image, draws)| {
            let placement = self.placement(draws, height, width);
            placement.write(image, [height, width, channels], self.background);
        });
        Ok(())
    }

    /// From five numbers uniform in (0, 1).
    fn placement(&self, draws: &[f32], height: usize, width: usize) -> Placement {
        let within = |draw: usize, reach: f64| reach * (2.0 * f64::from(draws[draw]) - 1.0);
        Placement {
            angle: within(0, self.rotation.to_radians()),
            shift: [within(1, self.shift) * width as f64, within(2, self.shift) * height as f64],
            zoom: [1.0 + within(3, self.zoom), 1.0 + within(4, self.zoom)],
        }
    }
}

impl Placement {
    /// The image as it is.
    pub const IDENTITY: Placement = Placement { zoom: [1.0; 2], angle: 0.0, shift: [0.0; 2] };

    /// The image `[height, width, channels]` in its new place: bilinear between the middles of pixels, `background`
    /// outside.
    ///
    /// Errors if `image` is not of that size, or the placement is not finite or zooms by less than 1/1000.
    pub fn apply(&self, image: &[f32], size: [usize; 3], background: f32) -> Result<Vec<f32>> {
        let values = size.iter().try_fold(1usize, |product, &e| product.checked_mul(e));
        if values != Some(image.len()) || image.is_empty() {
            return Err(Error::shape("affine", format!("an image {size:?}"), format!("{} values", image.len())));
        }
        let numbers = [self.angle, self.shift[0], self.shift[1]];
        if !numbers.iter().all(|number| number.is_finite()) || !self.zoom.iter().all(|zoom| (1e-3..=1e3).contains(zoom))
        {
            let what = format!("{self:?}; expected finite numbers and zooms from 0.001 to 1000");
            return Err(Error::argument("affine", what));
        }
        let mut placed = image.to_vec();
        self.write(&mut placed, size, background);
        Ok(placed)
    }

    fn write(&self, image: &mut [f32], [height, width, channels]: [usize; 3], background: f32) {
        // What is left where it is keeps its bits.
        if *self == Self::IDENTITY {
            return;
        }
        let source = image.to_vec();
        let (sin, cos) = self.angle.sin_cos();
        let middle = [(width as f64 - 1.0) / 2.0, (height as f64 - 1.0) / 2.0];
        for (at, pixel) in image.chunks_exact_mut(channels).enumerate() {
            // Backwards: the shift off, the turn off, the zoom off. Rows count downwards, so counter-clockwise as it is
            // seen is clockwise in (x, y).
            let x = (at % width) as f64 - middle[0] - self.shift[0];
            let y = (at / width) as f64 - middle[1] - self.shift[1];
            let from_x = (cos * x - sin * y) / self.zoom[0] + middle[0];
            let from_y = (sin * x + cos * y) / self.zoom[1] + middle[1];
            let (left, top) = (from_x.floor(), from_y.floor());
            let (right_share, low_share) = ((from_x - left) as f32, (from_y - top) as f32);
            let (left, top) = (left as i64, top as i64);
            for (channel, value) in pixel.iter_mut().enumerate() {
                let at = |x: i64, y: i64| match (usize::try_from(x), usize::try_from(y)) {
                    (Ok(x), Ok(y)) if x < width && y < height => source[(y * width + x) * channels + channel],
                    _ => background,
                };
                // In this form between two equal values lies the same, to the bit: background stays background.
                let between = |a: f32, b: f32, share: f32| a + (b - a) * share;
                let line = |y: i64| between(at(left, y), at(left.saturating_add(1), y), right_share);
                *value = between(line(top), line(top.saturating_add(1)), low_share);
            }
        }
    }
}
