//! An affine map of an image without aliasing: continued by reflection, doubled, mapped, halved.

use num_traits::Float;

use super::transform::{Matrix, Transform};

/// The wavelet's low-pass filter of 12 taps, sym6 (Daubechies 1992), used rounded to f32 as in EDM. It is orthogonal:
/// doubling and halving with it changes nothing.
const SYM6: [f64; 12] = [
    0.015404109327027373,
    0.0034907120842174702,
    -0.11799011114819057,
    -0.048311742585633,
    0.4910559419267466,
    0.787641141030194,
    0.3379294217276218,
    -0.07263752278646252,
    -0.021060292512300564,
    0.04472490177066578,
    0.0017677118642428036,
    -0.007800708325034148,
];
/// Pixels that the filters need around the result.
const PAD: usize = 6;

/// An image as one plane for each channel, in f32 or f64.
#[derive(Debug, Clone, PartialEq)]
pub struct Planes<T> {
    planes: Vec<Plane<T>>,
}

#[derive(Debug, Clone, PartialEq)]
struct Plane<T> {
    width: usize,
    height: usize,
    values: Vec<T>,
}

impl<T: Float> Planes<T> {
    /// From values `[height, width, channels]`.
    pub fn of_nhwc(values: &[T], [height, width, channels]: [usize; 3]) -> Self {
        let plane = |c: usize| values.iter().skip(c).step_by(channels.max(1)).copied().collect();
        Planes { planes: (0..channels).map(|c| Plane { width, height, values: plane(c) }).collect() }
    }

    /// Writes the values as `[height, width, channels]`.
    pub fn write_nhwc(&self, values: &mut [T]) {
        let channels = self.planes.len();
        for (c, plane) in self.planes.iter().enumerate() {
            values.iter_mut().skip(c).step_by(channels).zip(&plane.values).for_each(|(to, from)| *to = *from);
        }
    }

    /// The image after `transform`, continued by `margins` (left, top, right, bottom) on the way.
    #[must_use]
    pub fn transformed(mut self, transform: &Transform, margins: [usize; 4]) -> Self {
        for plane in &mut self.planes {
            if transform.xflip {
                plane.values.chunks_mut(plane.width).for_each(<[T]>::reverse);
            }
            if transform.yflip {
                let rows: Vec<T> = plane.values.chunks(plane.width).rev().flatten().copied().collect();
                plane.values = rows;
            }
            // The filters are orthogonal, so the identity is the identity.
            if transform.inverse != Matrix::IDENTITY {
                *plane = plane.mapped(transform.inverse, margins);
            }
        }
        self
    }
}

impl<T: Float> Plane<T> {
    fn mapped(&self, inverse: Matrix, margins: [usize; 4]) -> Self {
        let [left, top, right, bottom] = margins.map(|m| m as f64);
        let doubled = self.reflected(margins).transposed().doubled().transposed().doubled();
        let map = Matrix::translation((left - right) / 2.0, (top - bottom) / 2.0).times(inverse);
        let map = Matrix::scaling(2.0, 2.0).times(map).times(Matrix::scaling(0.5, 0.5));
        let map = Matrix::translation(-0.5, -0.5).times(map).times(Matrix::translation(0.5, 0.5));
        let sampled = doubled.sampled(map, 2 * (self.width + PAD), 2 * (self.height + PAD));
        sampled.halved().transposed().halved().transposed()
    }

    fn transposed(&self) -> Self {
        let column = |x: usize| (0..self.height).map(move |y| self.values[y * self.width + x]);
        Plane { width: self.height, height: self.width, values: (0..self.width).flat_map(column).collect() }
    }

    /// Continued by reflection at the middle of the outermost pixels.
    fn reflected(&self, [left, top, right, bottom]: [usize; 4]) -> Self {
        let (width, height) = (self.width + left + right, self.height + top + bottom);
        let mirror = |at: usize, before: usize, extent: usize| {
            let at = at.abs_diff(before);
            if at < extent { at } else { 2 * (extent - 1) - at }
        };
        let mut values = Vec::with_capacity(width * height);
        for y in 0..height {
            let row = &self.values[mirror(y, top, self.height) * self.width..][..self.width];
            values.extend((0..width).map(|x| row[mirror(x, left, self.width)]));
        }
        Plane { width, height, values }
    }

    /// Twice as wide: zeros between the pixels, then the filter.
    fn doubled(&self) -> Self {
        let taps = SYM6.map(|tap| of::<T>(tap as f32));
        let width = 2 * self.width;
        let mut values = Vec::with_capacity(width * self.height);
        for row in self.values.chunks(self.width) {
            // Value i is the sum over the taps k of h[k] z[i + 5 - k], where z[2 m] is pixel m and the rest is zero.
            values.extend((0..width).map(|i| {
                let first = (i + 1) % 2;
                (first..12).step_by(2).fold(T::zero(), |sum, k| match (i + 5).checked_sub(k) {
                    Some(at) if at / 2 < row.len() => sum + taps[k] * row[at / 2],
                    _ => sum,
                })
            }));
        }
        Plane { width, height: self.height, values }
    }

    /// Half as wide, less the six pixels of the margin: the filter at every other place.
    fn halved(&self) -> Self {
        let taps = SYM6.map(|tap| of::<T>(tap as f32));
        let width = self.width / 2 - PAD;
        let mut values = Vec::with_capacity(width * self.height);
        for row in self.values.chunks(self.width) {
            // The outermost three on both sides are dropped.
            values.extend((3..width + 3).map(|n| {
                taps.iter().enumerate().fold(T::zero(), |sum, (k, &tap)| match (2 * n + k).checked_sub(5) {
                    Some(at) if at < row.len() => sum + tap * row[at],
                    _ => sum,
                })
            }));
        }
        Plane { width, height: self.height, values }
    }

    /// Bilinear samples where `map` sends the centres of `width` by `height` pixels; zero beyond the plane.
    fn sampled(&self, map: Matrix, width: usize, height: usize) -> Self {
        let at = |x: i64, y: i64| match (usize::try_from(x), usize::try_from(y)) {
            (Ok(x), Ok(y)) if x < self.width && y < self.height => self.values[y * self.width + x],
            _ => T::zero(),
        };
        let mut values = Vec::with_capacity(width * height);
        for i in 0..height {
            for j in 0..width {
                let (x, y) = map.map(j as f64 + 0.5 - width as f64 / 2.0, i as f64 + 0.5 - height as f64 / 2.0);
                let (column, row) = (x + self.width as f64 / 2.0 - 0.5, y + self.height as f64 / 2.0 - 0.5);
                let (x0, y0) = (column.floor(), row.floor());
                let (fx, fy): (T, T) = (of(column - x0), of(row - y0));
                let (x0, y0) = (x0 as i64, y0 as i64);
                let line = |y: i64| at(x0, y) * (T::one() - fx) + at(x0 + 1, y) * fx;
                values.push(line(y0) * (T::one() - fy) + line(y0 + 1) * fy);
            }
        }
        Plane { width, height, values }
    }
}

/// Rounded to the working type; the values here always fit.
fn of<T: Float>(value: impl num_traits::ToPrimitive) -> T {
    T::from(value).unwrap_or_else(T::zero)
}
