//! Augmentation that gradients pass through, of real and made images alike.
//!
//! Zhao et al. 2020, Differentiable Augmentation for Data-Efficient GAN Training (arXiv 2006.10738).

use crate::autograd::Var;
use crate::error::{Error, Result};
use crate::ops;
use crate::ops::random::{Address, Draws};
use crate::random::Purpose;
use crate::tensor::{DType, Device, Tensor};

const OP: &str = "DiffAugment";

/// Random numbers of a sample, one a column, whether they are used or not.
const NUMBERS: usize = 7;

/// The sites of the draws of real and of made images; the augmentation of score networks' training has site 0.
const SITES: [u32; 2] = [1, 2];

/// What is done to NHWC images `[n, h, w, c]` in `[-1, 1]`, with random numbers of each sample's own.
///
/// The discriminator sees no image without it, and the generator's gradients pass through it; both are what keeps the
/// generator from learning the augmentation. [`both`](Self::both) sees to it in the discriminator's step; in the
/// generator's, [`apply`](Self::apply) it to what is made.
///
/// ```
/// use veridical::ops::random::Address;
/// use veridical::players::{DiffAugment, GanLoss};
/// use veridical::{Device, Result, Tensor, Var};
/// # fn main() -> Result<()> {
/// # let critic = |x: &Var| x.mean(&[1, 2, 3]);
/// # let grey = |value: f64| Tensor::full(value, [2, 8, 8, 3], veridical::DType::F32, &Device::Cpu);
/// # let (real, fake) = (grey(0.5)?, grey(0.0)?);
/// let address = Address::new(7, 0); // in a trainer's step: `cx.address()?`
/// let [real, fake] = DiffAugment::default().both(&real.into(), &fake.into(), &address)?;
/// let loss = GanLoss::Hinge.discriminator(&critic(&real)?, &critic(&fake)?)?;
/// # assert!(loss.value().item()?.is_finite());
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct DiffAugment {
    /// Brightness is shifted by up to 0.5, saturation scaled by 0 to 2, contrast by 0.5 to 1.5.
    pub colour: bool,
    /// The image is moved by up to this part of its extent, each way, over zeros. 0: not at all.
    pub translation: f64,
    /// A rectangle of this part of each extent becomes zero, anywhere, cut at the border. 0: none.
    pub cutout: f64,
}

impl Default for DiffAugment {
    /// All three, as the paper has them where data are few: an eighth, and a half.
    fn default() -> Self {
        DiffAugment { colour: true, translation: 0.125, cutout: 0.5 }
    }
}

impl DiffAugment {
    /// The images augmented, each with the random numbers of its sample in `draws`: the same in a batch of any size.
    ///
    /// Errors unless images are `[n, h, w, c]` of a floating-point dtype, if `translation` or `cutout` is not in `[0,
    /// 1]`, or if the sample ids do not fit.
    pub fn apply(&self, images: &Var, draws: &Draws) -> Result<Var> {
        let [n, height, width, _] = images.shape().dims(OP, "images [n, h, w, c]")?;
        ops::check_float(OP, images.value())?;
        for (name, part) in [("translation", self.translation), ("cutout", self.cutout)] {
            if !(0.0..=1.0).contains(&part) {
                return Err(Error::argument(OP, format!("{name} must be in [0, 1], got {part}")));
            }
        }
        let draws = Draws { samples: draws.samples.on_cpu()?, ..draws.clone() };
        let numbers = ops::uniform([n, NUMBERS], DType::F64, &draws, &Device::Cpu)?.to_vec::<f64>()?;
        if images.value().is_empty() {
            return Ok(images.clone());
        }
        let numbers: Vec<&[f64]> = numbers.chunks(NUMBERS).collect();
        let x = if self.colour { coloured(images, &numbers)? } else { images.clone() };
        self.moved_and_cut(&x, &numbers, [height, width])
    }

    /// Real and made images augmented alike, with random numbers of their own, from the address of a step.
    pub fn both(&self, real: &Var, fake: &Var, address: &Address) -> Result<[Var; 2]> {
        let [on_real, on_fake] = SITES.map(|site| address.draws_at(Purpose::Augmentation, site));
        Ok([self.apply(real, &on_real)?, self.apply(fake, &on_fake)?])
    }

    /// Translation, then cutout: each pixel of the result is one of the image, or zero.
    fn moved_and_cut(&self, x: &Var, numbers: &[&[f64]], extents: [usize; 2]) -> Result<Var> {
        let [height, width] = extents;
        let part = |of: f64, extent: usize| (extent as f64 * of + 0.5) as usize;
        let shifts = extents.map(|extent| part(self.translation, extent));
        let holes = extents.map(|extent| part(self.cutout, extent));
        let (moves, cuts) = (shifts != [0, 0], !holes.contains(&0));
        if !moves && !cuts {
            return Ok(x.clone());
        }
        let pixels = numbers.len() * height * width;
        let (mut from, mut kept) = (Vec::with_capacity(pixels), Vec::with_capacity(pixels));
        for (sample, numbers) in numbers.iter().enumerate() {
            let whole = |number: usize, count: usize| ((numbers[number] * count as f64) as usize).min(count - 1);
            let offset = |axis: usize| whole(3 + axis, 2 * shifts[axis] + 1) as isize - shifts[axis] as isize;
            // The hole's middle is any pixel, or for an even extent any edge between two or at the border.
            let hole = |axis: usize| {
                let middle = whole(5 + axis, extents[axis] + 1 - holes[axis] % 2) as isize;
                let first = middle - (holes[axis] / 2) as isize;
                first..first + holes[axis] as isize
            };
            let (by, hidden) = ([offset(0), offset(1)], [hole(0), hole(1)]);
            for (y, x) in (0..height as isize).flat_map(|y| (0..width as isize).map(move |x| (y, x))) {
                let (row, column) = (y + by[0], x + by[1]);
                let inside = (0..height as isize).contains(&row) && (0..width as isize).contains(&column);
                let cut = cuts && hidden[0].contains(&y) && hidden[1].contains(&x);
                let at = if inside { row as usize * width + column as usize } else { 0 };
                from.push(sample * height * width + at);
                kept.push(if inside && !cut { 1f32 } else { 0.0 });
            }
        }
        let kept = Tensor::from_vec(kept, [numbers.len(), height, width, 1], &Device::Cpu)?;
        let kept = ops::cast(kept, x.dtype())?.into_value().to_device(&x.device())?;
        ops::mul(if moves { gathered(x, from)? } else { x.clone() }, kept)
    }
}

/// Brightness, saturation and contrast, in this order.
fn coloured(x: &Var, numbers: &[&[f64]]) -> Result<Var> {
    let factors = |number: usize, low: f64, high: f64| -> Result<Tensor> {
        let values = numbers.iter().map(|numbers| low + (high - low) * numbers[number]).collect();
        let factors = Tensor::from_vec::<f64>(values, [numbers.len(), 1, 1, 1], &Device::Cpu)?;
        ops::cast(factors, x.dtype())?.into_value().to_device(&x.device())
    };
    let about_mean = |x: &Var, axes: &[usize], factors: Tensor| -> Result<Var> {
        let kept: Vec<usize> = (0..4).map(|axis| if axes.contains(&axis) { 1 } else { x.shape()[axis] }).collect();
        let mean = x.mean(axes)?.reshape(kept)?;
        ((x - &mean)? * factors)? + mean
    };
    let x = (x + factors(0, -0.5, 0.5)?)?;
    let x = about_mean(&x, &[3], factors(1, 0.0, 2.0)?)?;
    about_mean(&x, &[1, 2, 3], factors(2, 0.5, 1.5)?)
}

/// The pixels of these indices, in place of the images' own.
fn gathered(x: &Var, from: Vec<usize>) -> Result<Var> {
    let [n, height, width, channels] = x.shape().dims(OP, "images [n, h, w, c]")?;
    let index: Option<Vec<u32>> = from.into_iter().map(|at| u32::try_from(at).ok()).collect();
    let Some(index) = index else {
        return Err(Error::shape(OP, "fewer than 2^32 pixels in all", x.shape()));
    };
    let index = Tensor::from_vec(index, [n * height * width], &Device::Cpu)?.to_device(&x.device())?;
    ops::embedding(x.reshape([n * height * width, channels])?, &index)?.reshape(x.shape())
}
