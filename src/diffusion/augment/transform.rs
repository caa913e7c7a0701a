//! From random numbers to a map of the plane, and to what the network is told of it.

use std::f64::consts::PI;

use super::AugmentPipe;

/// A map of the plane in homogeneous coordinates.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Matrix(pub [[f64; 3]; 3]);

impl Matrix {
    /// The identity.
    pub const IDENTITY: Matrix = Matrix::scaling(1.0, 1.0);

    /// By `x` and `y` along the axes.
    pub const fn scaling(x: f64, y: f64) -> Self {
        Matrix([[x, 0.0, 0.0], [0.0, y, 0.0], [0.0, 0.0, 1.0]])
    }

    /// By an angle.
    pub fn rotation(angle: f64) -> Self {
        let (sin, cos) = angle.sin_cos();
        Matrix([[cos, -sin, 0.0], [sin, cos, 0.0], [0.0, 0.0, 1.0]])
    }

    /// By `x` and `y`.
    pub const fn translation(x: f64, y: f64) -> Self {
        Matrix([[1.0, 0.0, x], [0.0, 1.0, y], [0.0, 0.0, 1.0]])
    }

    /// This matrix times `other`.
    #[must_use]
    pub fn times(&self, other: Matrix) -> Self {
        let entry = |row: usize, column: usize| (0..3).map(|k| self.0[row][k] * other.0[k][column]).sum();
        Matrix(std::array::from_fn(|row| std::array::from_fn(|column| entry(row, column))))
    }

    /// Where a point goes.
    pub fn map(&self, x: f64, y: f64) -> (f64, f64) {
        let [a, b, _] = self.0;
        (a[0] * x + a[1] * y + a[2], b[0] * x + b[1] * y + b[2])
    }
}

/// What is drawn for an image. Each operation has a number uniform in (0, 1) that decides whether it is applied.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Choices {
    /// The coin, and whether it counts.
    pub xflip: (bool, f64),
    /// The coin, and whether it counts.
    pub yflip: (bool, f64),
    /// Normal, and whether it is applied.
    pub scale: (f64, f64),
    /// Whether it is applied, and the angle as a number in (0, 1).
    pub rotate: (f64, f64),
    /// Normal, and whether it is applied.
    pub aniso: (f64, f64),
    /// Whether the axis is turned, and its angle as a number in (0, 1).
    pub aniso_frame: (f64, f64),
    /// Normal along x and y, and whether they are applied.
    pub translate: ([f64; 2], f64),
}

/// What is done to an image.
#[derive(Debug, Clone, PartialEq)]
pub struct Transform {
    /// Mirrored left to right.
    pub xflip: bool,
    /// Mirrored top to bottom.
    pub yflip: bool,
    /// From a point of the result to one of the (mirrored) image; the centre is 0, pixels are 1 apart, y points down.
    pub inverse: Matrix,
    /// What the network is told, zero for what was not done.
    pub labels: Vec<f64>,
}

impl AugmentPipe {
    /// The map for an image of `width` by `height`.
    pub fn transform(&self, choices: &Choices, width: usize, height: usize) -> Transform {
        let applied = |multiplier: f64, u: f64| u < multiplier * self.p;
        let mut labels = Vec::new();
        let flip = |multiplier: f64, (coin, u): (bool, f64)| multiplier > 0.0 && coin && applied(multiplier, u);
        let (xflip, yflip) = (flip(self.xflip, choices.xflip), flip(self.yflip, choices.yflip));
        for (multiplier, flipped) in [(self.xflip, xflip), (self.yflip, yflip)] {
            if multiplier > 0.0 {
                labels.push(f64::from(u8::from(flipped)));
            }
        }
        let mut inverse = Matrix::IDENTITY;
        if self.scale > 0.0 {
            let w = if applied(self.scale, choices.scale.1) { choices.scale.0 } else { 0.0 };
            let s = (-0.2 * w).exp2();
            inverse = inverse.times(Matrix::scaling(s, s));
            labels.push(w);
        }
        if self.rotate_frac > 0.0 {
            let (u, turn) = choices.rotate;
            let w = if applied(self.rotate_frac, u) { PI * (2.0 * turn - 1.0) } else { 0.0 };
            inverse = inverse.times(Matrix::rotation(w));
            labels.extend([w.cos() - 1.0, w.sin()]);
        }
        if self.aniso > 0.0 {
            let w = if applied(self.aniso, choices.aniso.1) { choices.aniso.0 } else { 0.0 };
            let (u, turn) = choices.aniso_frame;
            let r = if u < 0.5 { PI * (2.0 * turn - 1.0) } else { 0.0 };
            let q = (0.2 * w).exp2();
            if w != 0.0 {
                let stretched = Matrix::rotation(-r).times(Matrix::scaling(1.0 / q, q)).times(Matrix::rotation(r));
                inverse = inverse.times(stretched);
            }
            labels.extend([w * r.cos(), w * r.sin()]);
        }
        if self.translate_frac > 0.0 {
            let [x, y] = if applied(self.translate_frac, choices.translate.1) { choices.translate.0 } else { [0.0; 2] };
            inverse = inverse.times(Matrix::translation(-0.125 * width as f64 * x, -0.125 * height as f64 * y));
            labels.extend([x, y]);
        }
        Transform { xflip, yflip, inverse, labels }
    }
}

impl Transform {
    /// How far the image has to be continued to the left, top, right and bottom, so that nothing beyond it is looked
    /// at: at most by its own size less one.
    pub fn margins(&self, width: usize, height: usize) -> [usize; 4] {
        let half = [(width as f64 - 1.0) / 2.0, (height as f64 - 1.0) / 2.0];
        let corners = [[-1.0, -1.0], [1.0, -1.0], [1.0, 1.0], [-1.0, 1.0]];
        let mapped = corners.map(|[x, y]| self.inverse.map(x * half[0], y * half[1]));
        let furthest = |of: fn(&(f64, f64)) -> f64| mapped.iter().map(of).fold(f64::NEG_INFINITY, f64::max);
        // The filter reaches six pixels further.
        let margin = |reach: f64, axis: usize, extent: usize| {
            (reach + 6.0 - half[axis]).clamp(0.0, extent as f64 - 1.0).ceil() as usize
        };
        [
            margin(furthest(|p| -p.0), 0, width),
            margin(furthest(|p| -p.1), 1, height),
            margin(furthest(|p| p.0), 0, width),
            margin(furthest(|p| p.1), 1, height),
        ]
    }
}
