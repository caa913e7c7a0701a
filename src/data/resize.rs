//! Pictures brought to one size: a piece of each, cut out and made larger or smaller.

use std::fmt::{self, Display, Formatter};
use std::str::FromStr;

use image::imageops::{self, FilterType};
use image::{DynamicImage, ImageBuffer, Luma};

use super::Images;
use crate::random::{Purpose, RandomKey};
use crate::{Error, Result};

/// Height and width that all images are to have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Size(pub [usize; 2]);

impl FromStr for Size {
    type Err = Error;

    /// `64` is 64 x 64, `24x32` 24 rows of 32.
    fn from_str(text: &str) -> Result<Self> {
        let sides: Vec<usize> = text.split(['x', 'X']).filter_map(|side| side.trim().parse().ok()).collect();
        match sides[..] {
            [side] if !text.contains(['x', 'X']) && (1..=1 << 13).contains(&side) => Ok(Size([side; 2])),
            [h, w] if [h, w].iter().all(|side| (1..=1 << 13).contains(side)) => Ok(Size([h, w])),
            _ => Err(Error::Config(format!(
                "{text:?} is no size: give a side, as in 64, or height x width, as in 24x32, of 8192 at most"
            ))),
        }
    }
}

impl Display for Size {
    fn fmt(&self, f: &mut Formatter) -> fmt::Result {
        let [h, w] = self.0;
        write!(f, "{h}x{w}")
    }
}

/// Which piece of a picture is taken.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Crop {
    /// The largest of the shape that is wanted, from the middle: `center`, as EDM's data set tool crops.
    #[default]
    Center,
    /// The same from anywhere, the same place each time a picture is read: `random`.
    Random,
    /// All of it, stretched: `none`.
    Stretch,
    /// So many pixels from the middle as they are: a size.
    Window(Size),
}

impl FromStr for Crop {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        match text {
            "" | "center" | "centre" => Ok(Crop::Center),
            "random" => Ok(Crop::Random),
            "none" => Ok(Crop::Stretch),
            size => size.parse().map(Crop::Window).map_err(|_| {
                Error::Config(format!("{size:?} is no crop: there are center, random and none, or a size, as in 24x32"))
            }),
        }
    }
}

/// How pictures come to one size.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Sizing {
    /// What they are resized to; `None`: they keep the size that they have.
    pub size: Option<Size>,
    /// Which piece is taken before.
    pub crop: Crop,
}

impl Sizing {
    /// Whether pictures stay as they are.
    pub fn is_none(&self) -> bool {
        self.size.is_none() && !matches!(self.crop, Crop::Window(_))
    }

    /// Height and width of what pictures of this size become. Errors, in words, where there is not enough to crop.
    pub fn becomes(&self, [h, w]: [usize; 2]) -> Result<[usize; 2], String> {
        let [y, x] = match self.crop {
            Crop::Window(Size([y, x])) => [y, x],
            _ => [h, w],
        };
        if y > h || x > w {
            return Err(format!(
                "is {h} x {w} pixels (height, width), of which {y} x {x} cannot be cropped; make --crop smaller"
            ));
        }
        Ok(self.size.map_or([y, x], |size| size.0))
    }

    /// Top, left, height and width of the piece of picture `index`.
    fn piece(&self, [h, w]: [usize; 2], index: u32) -> Result<[usize; 4]> {
        let (piece, anywhere) = match (self.crop, self.size) {
            (Crop::Window(Size([y, x])), _) => ([y.min(h), x.min(w)], false),
            (Crop::Stretch, _) | (_, None) => ([h, w], false),
            (crop, Some(Size([to_h, to_w]))) => {
                // As high as it can be with the shape that is wanted.
                let high = h.min((w * to_h).div_ceil(to_w)).max(1);
                ([high, w.min((high * to_w).div_ceil(to_h)).max(1)], crop == Crop::Random)
            }
        };
        let room = [h - piece[0], w - piece[1]];
        let at = match anywhere {
            false => [room[0] / 2, room[1] / 2],
            true => {
                let stream = RandomKey::new(0, Purpose::Split).at_site(3).stream()?;
                let place =
                    |word: u64, room: usize| ((u64::from(stream.word(index, word)) * (room as u64 + 1)) >> 32) as usize;
                [place(0, room[0]), place(1, room[1])]
            }
        };
        Ok([at[0], at[1], piece[0], piece[1]])
    }

    /// Picture `index` of a set.
    pub fn picture(&self, picture: DynamicImage, index: u32) -> Result<DynamicImage> {
        let [h, w] = [picture.height() as usize, picture.width() as usize];
        let [top, left, high, wide] = self.piece([h, w], index)?.map(|extent| extent as u32);
        let piece = match [high as usize, wide as usize] == [h, w] {
            true => picture,
            false => picture.crop_imm(left, top, wide, high),
        };
        match self.size.map(|size| size.0) {
            Some([to_h, to_w]) if [to_h, to_w] != [high as usize, wide as usize] => {
                Ok(piece.resize_exact(to_w as u32, to_h as u32, FilterType::Lanczos3))
            }
            _ => Ok(piece),
        }
    }

    /// All images of a set, in f32 where they are resized. Errors, in words, where there is not enough to crop, and on
    /// points and signals.
    pub fn images(&self, images: Images) -> Result<Images, String> {
        // What stays in its files comes out of them in its size.
        if self.is_none() || images.is_stored() {
            return Ok(images);
        }
        let (mut pixels, mut size) = (Vec::new(), images.size());
        let whole = images.units().ends().is_some();
        let failed = |e: Error| e.to_string();
        for index in 0..images.len() as u32 {
            let (image, _) = images.gather(&[index]).map_err(failed)?;
            let (resized, to) = self.image(&image, images.size(), whole, index)?;
            pixels.extend(resized);
            size = to;
        }
        let resized = Images::new(pixels, images.labels().to_vec(), size, images.classes());
        resized.and_then(|resized| resized.with_units(images.units().clone())).map_err(failed)
    }

    /// Image `index` of a set, `[height, width, channels]`, and the size that it has then; with `whole`, values stay in
    /// [-1, 1]. Errors as [`images`](Self::images).
    pub(super) fn image(
        &self,
        image: &[f32],
        [h, w, c]: [usize; 3],
        whole: bool,
        index: u32,
    ) -> Result<(Vec<f32>, [usize; 3]), String> {
        if h == 1 {
            return Err("these are no pictures, and have no size to change: leave out --size and --crop".into());
        }
        let to = self.becomes([h, w])?;
        let [top, left, high, wide] = self.piece([h, w], index).map_err(|e| e.to_string())?;
        // The filter clips to [0, 1]; it overshoots by less than the room that is left here.
        let (least, most) = image.iter().fold((f32::MAX, f32::MIN), |(a, b), &x| (a.min(x), b.max(x)));
        let spread = if most > least { 2.0 * (most - least) } else { 1.0 };
        let (pack, unpack) = (|x: f32| (x - least) / spread + 0.25, |x: f32| (x - 0.25) * spread + least);
        let plane = |channel: usize| {
            let at = |x: u32, y: u32| image[((top + y as usize) * w + left + x as usize) * c + channel];
            let piece = ImageBuffer::from_fn(wide as u32, high as u32, |x, y| Luma([pack(at(x, y))]));
            match [high, wide] == to {
                true => piece.into_raw(),
                false => imageops::resize(&piece, to[1] as u32, to[0] as u32, FilterType::Lanczos3).into_raw(),
            }
        };
        let planes: Vec<Vec<f32>> = (0..c).map(plane).collect();
        let back = |x: f32| if whole { unpack(x).clamp(-1.0, 1.0) } else { unpack(x) };
        let pixels = (0..to[0] * to[1]).flat_map(|pixel| planes.iter().map(move |plane| back(plane[pixel]))).collect();
        Ok((pixels, [to[0], to[1], c]))
    }

    /// What was done, in words.
    pub fn said(&self) -> Option<String> {
        let size = self.size.map(|size| format!("resized to {size}"));
        match (self.crop, size) {
            (Crop::Window(window), None) => Some(format!("{window} pixels cropped from the middle")),
            (Crop::Window(window), Some(size)) => Some(format!("{window} pixels cropped from the middle, {size}")),
            (_, None) => None,
            (Crop::Center, Some(size)) => Some(format!("cropped to that shape from the middle and {size}")),
            (Crop::Random, Some(size)) => Some(format!("cropped to that shape at a random place and {size}")),
            (Crop::Stretch, Some(size)) => Some(format!("stretched or {size}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sizing(size: &str, crop: &str) -> Sizing {
        Sizing { size: (!size.is_empty()).then(|| size.parse().unwrap()), crop: crop.parse().unwrap() }
    }

    #[test]
    fn the_largest_piece_of_a_shape_is_taken() {
        assert_eq!(sizing("8", "center").piece([20, 30], 0).unwrap(), [0, 5, 20, 20]);
        assert_eq!(sizing("10x20", "").piece([20, 30], 0).unwrap(), [2, 0, 15, 30]);
        assert_eq!(sizing("8", "none").piece([20, 30], 0).unwrap(), [0, 0, 20, 30]);
        assert_eq!(sizing("", "6x4").piece([20, 30], 0).unwrap(), [7, 13, 6, 4]);
        let places: Vec<usize> = (0..200).map(|i| sizing("8", "random").piece([20, 30], i).unwrap()[1]).collect();
        assert!(places.contains(&0) && places.contains(&10) && places.iter().all(|&left| left <= 10));
        assert!(sizing("", "64").becomes([20, 30]).unwrap_err().contains("cannot be cropped"));
        assert_eq!(sizing("5", "16x8").becomes([20, 30]), Ok([5, 5]));
    }

    #[test]
    fn arrays_are_resized_as_pictures_are() {
        let bytes: Vec<u8> = (0..12 * 16 * 3).map(|i| (i * 37 % 251) as u8).collect();
        let picture = image::RgbImage::from_raw(16, 12, bytes.clone()).unwrap();
        let images = Images::from_bytes(bytes, vec![0], [12, 16, 3], 1).unwrap();
        for (size, crop) in [("6", "center"), ("5x9", "none"), ("", "7x3")] {
            let sizing = sizing(size, crop);
            let of_picture = sizing.picture(picture.clone().into(), 0).unwrap().into_rgb8().into_raw();
            let resized = sizing.images(images.clone()).unwrap();
            for (got, expected) in resized.pixels().unwrap().iter().zip(&of_picture) {
                let got = (got + 1.0) * 127.5;
                assert!((got.clamp(0.0, 255.0) - f32::from(*expected)).abs() < 1.0, "{got} for {expected}");
            }
        }
        assert!(sizing("6", "").images(Images::new(vec![0.0; 6], vec![0], [1, 6, 1], 1).unwrap()).is_err());
        assert!("3y4".parse::<Size>().is_err() && "0".parse::<Size>().is_err() && "4x5x6".parse::<Size>().is_err());
        assert!("edges".parse::<Crop>().is_err());
    }
}
