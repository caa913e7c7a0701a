//! To pictures of the `image` crate and back.

use image::{DynamicImage, GrayImage, RgbImage};

use super::{bytes, depth, transparent, words};
use crate::pixels::{of_byte, of_word, to_byte, to_rgb};
use crate::tensor::{DType, Device, Tensor};
use crate::{Error, Result};

impl Tensor {
    /// The pixels of a picture, f32 `[height, width, channels]` in `[-1, 1]`, just as the readers of
    /// [`data`](crate::data) give them: three channels of a picture in colour, else one.
    ///
    /// Errors on floating-point pictures and on those that are transparent anywhere.
    ///
    /// ```
    /// use image::{DynamicImage, RgbImage};
    /// use veridical::{Device, Tensor};
    ///
    /// let picture = DynamicImage::from(RgbImage::from_fn(4, 2, |x, y| image::Rgb([x as u8, y as u8, 255])));
    /// let x = Tensor::from_image(&picture, &Device::Cpu)?;
    /// assert_eq!(&x.shape()[..], [2, 4, 3]);
    /// assert_eq!(x.to_image()?, picture);
    /// # Ok::<(), veridical::Error>(())
    /// ```
    pub fn from_image(image: &DynamicImage, device: &Device) -> Result<Tensor> {
        let refused = |what: &str| Error::argument("from_image", what);
        if transparent(image) {
            return Err(refused(
                "the picture is transparent in places, which pixels cannot say; lay it over a background, or drop its alpha \
                 with `into_rgb8` (`into_rgb16`, `into_luma8`)",
            ));
        }
        let colour = image.color();
        let shape = [image.height() as usize, image.width() as usize, if colour.has_color() { 3 } else { 1 }];
        let pixels: Vec<f32> = match depth(colour) {
            Ok(8) => bytes(image.clone(), colour.has_color(), false).into_iter().map(of_byte).collect(),
            Ok(_) => words(image.clone(), colour.has_color(), false).into_iter().map(of_word).collect(),
            Err(_) => {
                let what = format!(
                    "values of type {colour:?}; `into_rgb16` makes 16 bits of them, `from_slice` takes the numbers"
                );
                return Err(refused(&what));
            }
        };
        Tensor::from_vec(pixels, shape, device)
    }

    /// A picture of 8 bits of the pixels `[height, width]`, `[height, width, 1]` (grey) or `[height, width, 3]` (red,
    /// green and blue), f32 in `[-1, 1]`, rounded to the nearest and clipped.
    ///
    /// As in the pictures of `veridical::report`, a pixel that is not finite is magenta, for which a grey picture
    /// becomes one in colour. Errors on other shapes and dtypes.
    pub fn to_image(&self) -> Result<DynamicImage> {
        const OP: &str = "to_image";
        let wrong = || Error::shape(OP, "[height, width], [height, width, 1] or [height, width, 3]", self.shape());
        let (height, width, channels) = match self.shape()[..] {
            [height, width] => (height, width, 1),
            [height, width, channels @ (1 | 3)] => (height, width, channels),
            _ => return Err(wrong()),
        };
        if self.dtype() != DType::F32 {
            return Err(Error::dtype(OP, "f32", self.dtype()));
        }
        let (Ok(width), Ok(height)) = (u32::try_from(width), u32::try_from(height)) else { return Err(wrong()) };
        let pixels = self.to_vec::<f32>()?;
        if channels == 1 && pixels.iter().all(|pixel| pixel.is_finite()) {
            let grey = pixels.into_iter().map(to_byte).collect();
            return GrayImage::from_raw(width, height, grey).map(DynamicImage::from).ok_or_else(wrong);
        }
        let rgb = pixels.chunks_exact(channels).flat_map(to_rgb).collect();
        RgbImage::from_raw(width, height, rgb).map(DynamicImage::from).ok_or_else(wrong)
    }
}
