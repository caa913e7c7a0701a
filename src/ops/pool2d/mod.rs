//! Pooling: the largest or the mean value of each window of an image.

mod cpu;
mod gpu;

use super::{check_float, check_same_device, on};
use crate::autograd::Var;
use crate::error::{Error, Result};
use crate::tensor::{DType, Shape, Tensor};

/// `y[n, i, j, c]` is the largest of `x[n, stride i + r, stride j + s, c]` over `r` and `s` below `kernel`.
///
/// `x` is `[n, h, w, c]` of any floating-point dtype, `y` `[n, (h - kernel) / stride + 1, (w - kernel) / stride + 1,
/// c]`, rounded down: there is no padding, and rows and columns at the end that fill no window are left out. The first
/// of equal maxima counts, row by row, and a NaN counts as larger than any number. The gradient goes where the maximum
/// was. What is kept for it is one u32 an element of `y`: [`Maxima`].
///
/// Errors unless `x` has four axes, if `kernel` or `stride` is 0, or if the kernel is larger than the image.
pub fn max_pool2d(x: impl Into<Var>, kernel: usize, stride: usize) -> Result<Var> {
    max_pool2d_with_maxima(x, kernel, stride).map(|(y, _)| y)
}

/// As [`max_pool2d`], with the places of the maxima.
pub fn max_pool2d_with_maxima(x: impl Into<Var>, kernel: usize, stride: usize) -> Result<(Var, Maxima)> {
    const OP: &str = "max_pool2d";
    let x = &x.into();
    let windows = Windows::of(OP, x.value(), kernel, stride)?;
    let mut y = Tensor::empty(windows.result(), x.dtype(), &x.device())?;
    let mut taps = Tensor::empty(windows.result(), DType::U32, &x.device())?;
    if !y.is_empty() {
        on!(x.device(), largest(OP, &windows, x.value(), &mut y, &mut taps))?;
    }
    let maxima = Maxima { windows, taps };
    let places = maxima.clone();
    let y = Var::record_higher(OP, y, [x], move |dy, _| Ok([Some(places.scatter(dy)?)]))?;
    Ok((y, maxima))
}

/// The mean of each window; windows, shapes and errors are those of [`max_pool2d`].
///
/// Sums are in f32 (f64 for f64). The gradient spreads each element evenly over its window.
pub fn avg_pool2d(x: impl Into<Var>, kernel: usize, stride: usize) -> Result<Var> {
    const OP: &str = "avg_pool2d";
    let x = &x.into();
    let windows = Windows::of(OP, x.value(), kernel, stride)?;
    means(windows, x)
}

fn means(windows: Windows, x: &Var) -> Result<Var> {
    let y = windows.means("avg_pool2d", x.value())?;
    Var::record_higher("avg_pool2d", y, [x], move |dy, _| Ok([Some(spread(windows, dy)?)]))
}

/// The adjoint of the means, whose adjoint they are.
fn spread(windows: Windows, y: &Var) -> Result<Var> {
    let x = windows.spread("avg_pool2d", y.value())?;
    Var::record_higher("avg_pool2d", x, [y], move |dx, _| Ok([Some(means(windows, dx)?)]))
}

/// Where the maxima of a [`max_pool2d`] were: a choice of one pixel for each window and channel.
///
/// To [gather](Self::gather) another tensor's elements there and to [scatter](Self::scatter) elements to there are
/// linear and each other's gradient, so derivatives of any order are made of the two.
#[derive(Debug, Clone)]
pub struct Maxima {
    windows: Windows,
    /// `kernel r + s` for each element of the result, u32.
    taps: Tensor,
}

impl Maxima {
    /// The elements of `x` at these places: `x` has the shape of what was pooled, the result that of the result.
    /// Errors on another shape, on integers, and on another device.
    pub fn gather(&self, x: impl Into<Var>) -> Result<Var> {
        const OP: &str = "gather";
        let x = &x.into();
        let y = self.gathered(OP, x.value())?;
        let places = self.clone();
        Var::record_higher(OP, y, [x], move |dy, _| Ok([Some(places.scatter(dy)?)]))
    }

    /// Zeros but at these places, where the elements of `y` are added: `y` has the shape of the result of pooling, the
    /// result that of what was pooled. Windows that overlap may have their maximum in common; such elements are added
    /// in the order of windows. Errors on another shape, on integers, and on another device.
    pub fn scatter(&self, y: impl Into<Var>) -> Result<Var> {
        const OP: &str = "scatter";
        let y = &y.into();
        let x = self.scattered(OP, y.value())?;
        let places = self.clone();
        Var::record_higher(OP, x, [y], move |dx, _| Ok([Some(places.gather(dx)?)]))
    }

    /// [`gather`](Self::gather) without a tape.
    pub(crate) fn gathered(&self, op: &'static str, x: &Tensor) -> Result<Tensor> {
        self.check(op, x, &self.windows.image())?;
        let mut y = Tensor::empty(self.windows.result(), x.dtype(), &x.device())?;
        if !y.is_empty() {
            on!(x.device(), gather(op, &self.windows, x, &self.taps, &mut y))?;
        }
        Ok(y)
    }

    /// [`scatter`](Self::scatter) without a tape.
    pub(crate) fn scattered(&self, op: &'static str, y: &Tensor) -> Result<Tensor> {
        self.check(op, y, &self.windows.result())?;
        let mut x = Tensor::empty(self.windows.image(), y.dtype(), &y.device())?;
        if !x.is_empty() {
            on!(y.device(), scatter(op, &self.windows, y, Some(&self.taps), 1.0, &mut x))?;
        }
        Ok(x)
    }

    fn check(&self, op: &'static str, given: &Tensor, shape: &Shape) -> Result<()> {
        check_float(op, given)?;
        check_same_device(op, &self.taps, given)?;
        match given.shape() == shape {
            true => Ok(()),
            false => Err(Error::shape(op, format!("{shape}, as pooled"), given.shape())),
        }
    }
}

/// The geometry: windows over NHWC images.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Windows {
    images: usize,
    height: usize,
    width: usize,
    channels: usize,
    kernel: usize,
    stride: usize,
    out_height: usize,
    out_width: usize,
}

impl Windows {
    fn of(op: &'static str, x: &Tensor, kernel: usize, stride: usize) -> Result<Self> {
        check_float(op, x)?;
        let [images, height, width, channels] = x.shape().dims(op, "images [n, h, w, c]")?;
        if kernel == 0 || stride == 0 {
            return Err(Error::argument(op, format!("kernel and stride must be positive, got {kernel} and {stride}")));
        }
        if kernel > height.min(width) {
            return Err(Error::shape(op, format!("images of at least {kernel}x{kernel} pixels"), x.shape()));
        }
        // Places within a window, and positions within an image, are u32 in kernels.
        if height.max(width) >= 1 << 30 || kernel >= 1 << 15 {
            let what = format!("an image of {height}x{width} with a kernel of {kernel}; extents must be below 2^30");
            return Err(Error::argument(op, format!("{what}, the kernel below 2^15")));
        }
        let stride = stride.min(1 << 30); // no image has a second window then
        let of = |extent: usize| (extent - kernel) / stride + 1;
        Ok(Windows { images, height, width, channels, kernel, stride, out_height: of(height), out_width: of(width) })
    }

    /// The shape of what is pooled.
    fn image(&self) -> Shape {
        [self.images, self.height, self.width, self.channels].into()
    }

    /// The shape of the result.
    fn result(&self) -> Shape {
        [self.images, self.out_height, self.out_width, self.channels].into()
    }

    /// Pixels of a window.
    fn taps(&self) -> usize {
        self.kernel * self.kernel
    }

    /// [`avg_pool2d`] without a tape, of an `x` of the right shape.
    pub(crate) fn means(&self, op: &'static str, x: &Tensor) -> Result<Tensor> {
        let mut y = Tensor::empty(self.result(), x.dtype(), &x.device())?;
        if !y.is_empty() {
            on!(x.device(), mean(op, self, x, &mut y))?;
        }
        Ok(y)
    }

    /// The adjoint of [`means`](Self::means): each element of `y` spread over its window.
    pub(crate) fn spread(&self, op: &'static str, y: &Tensor) -> Result<Tensor> {
        let mut x = Tensor::empty(self.image(), y.dtype(), &y.device())?;
        if !x.is_empty() {
            on!(y.device(), scatter(op, self, y, None, 1.0 / self.taps() as f64, &mut x))?;
        }
        Ok(x)
    }
}
