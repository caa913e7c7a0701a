use super::{Array, Fill, Row, input};
use crate::{Var, ops};

#[derive(Clone, Copy)]
struct Case {
    image: [usize; 3],
    channels: [usize; 2],
    kernel: usize,
    stride: usize,
    padding: usize,
}

impl Case {
    fn extents(self) -> [usize; 2] {
        [1, 2].map(|axis| (self.image[axis] + 2 * self.padding - self.kernel) / self.stride + 1)
    }

    fn reference(self, x: &[Array]) -> Array {
        let ([batch, height, width], [inputs, outputs], [out_height, out_width]) =
            (self.image, self.channels, self.extents());
        let shape = [batch, out_height, out_width, outputs];
        let empty = Array { shape: shape.to_vec(), data: Vec::new() };
        Array::from_fn(&shape, |i| {
            let index = empty.index(i);
            let mut sum = x.get(2).map_or(0.0, |bias| bias.data[index[3]]);
            for (ky, kx) in (0..self.kernel).flat_map(|ky| (0..self.kernel).map(move |kx| (ky, kx))) {
                let (y, x_at) = (index[1] * self.stride + ky, index[2] * self.stride + kx);
                let inside = |at: usize, extent: usize| at >= self.padding && at - self.padding < extent;
                if inside(y, height) && inside(x_at, width) {
                    let pixel = [index[0], y - self.padding, x_at - self.padding];
                    for c in 0..inputs {
                        sum += x[0].at(&[pixel[0], pixel[1], pixel[2], c]) * x[1].at(&[index[3], ky, kx, c]);
                    }
                }
            }
            sum
        })
    }

    fn row(self, bias: bool, fill: Fill) -> Row {
        let ([batch, height, width], [inputs, outputs]) = (self.image, self.channels);
        let mut shapes = vec![vec![batch, height, width, inputs], vec![outputs, self.kernel, self.kernel, inputs]];
        shapes.extend(bias.then(|| vec![outputs]));
        let of = shapes.iter().map(|shape| input(shape).fill(fill)).collect();
        let run = move |x: &[Var]| ops::conv2d(&x[0], &x[1], x.get(2), self.stride, self.padding);
        Row::new("conv2d", of, run, move |x: &[Array]| self.reference(x))
            .case(format!("stride={} padding={}", self.stride, self.padding))
            .tolerance(4e-6, 6e-3)
    }
}

fn case(image: [usize; 3], channels: [usize; 2], kernel: usize, stride: usize, padding: usize) -> Case {
    Case { image, channels, kernel, stride, padding }
}

pub fn rows() -> Vec<Row> {
    let (real, whole) = (Fill::Uniform(-1.7, 2.1), Fill::Integers(-2, 2));
    let mut rows = Vec::new();
    for (kernel, stride, padding) in
        [(1, 1, 0), (3, 1, 1), (3, 1, 0), (3, 2, 1), (1, 2, 0), (3, 3, 2), (2, 1, 0), (5, 2, 2)]
    {
        rows.push(case([2, 5, 6], [2, 3], kernel, stride, padding).row(true, real));
        rows.push(case([1, 7, 5], [3, 1], kernel, stride, padding).row(false, whole));
        rows.push(case([1, 6, 6], [8, 16], kernel, stride, padding).row(true, whole));
    }
    rows.push(case([1, 1, 1], [1, 1], 1, 1, 0).row(true, real));
    rows.push(case([1, 1, 2], [4, 3], 3, 1, 1).row(true, real));
    rows.push(case([0, 4, 4], [2, 3], 3, 1, 1).row(true, real));
    rows.push(case([2, 4, 4], [0, 3], 3, 1, 1).row(true, real));
    rows.push(case([3, 8, 8], [16, 24], 3, 1, 1).row(true, real));
    rows.push(case([5, 9, 8], [8, 9], 3, 1, 1).row(true, whole));
    // As in small networks on small images: odd sizes, and a stride that forgets the last row.
    for (image, channels, kernel, stride, padding) in [
        ([2, 7, 9], [3, 5], 5, 2, 2),
        ([2, 9, 8], [4, 16], 5, 1, 0),
        ([1, 6, 6], [8, 4], 4, 2, 1),
        ([1, 11, 7], [1, 8], 5, 3, 1),
    ] {
        rows.push(case(image, channels, kernel, stride, padding).row(true, real));
        rows.push(case(image, channels, kernel, stride, padding).row(false, whole));
    }
    for (image, channels, kernel, stride) in [
        ([8, 16, 16], [256, 256], 3, 1),
        ([8, 32, 32], [128, 128], 3, 1),
        ([8, 16, 16], [256, 256], 1, 1),
        ([64, 8, 8], [32, 32], 3, 1),
        // Classifiers and discriminators of small images.
        ([100, 28, 28], [1, 32], 5, 1),
        ([100, 14, 14], [32, 64], 5, 1),
        ([100, 28, 28], [32, 64], 5, 2),
        ([100, 14, 14], [64, 64], 3, 1),
    ] {
        let case = case(image, channels, kernel, stride, kernel / 2);
        let pixels = image.iter().product::<usize>() as f64;
        let out_pixels = (image[0] * case.extents().iter().product::<usize>()) as f64;
        let [inputs, outputs] = channels.map(|c| c as f64);
        let weights = inputs * outputs * (kernel * kernel) as f64;
        let moved = pixels * inputs + out_pixels * outputs + weights;
        rows.push(case.row(true, real).bench(2.0 * out_pixels * weights, moved));
    }
    rows
}
