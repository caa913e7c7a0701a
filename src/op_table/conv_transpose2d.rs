use super::{Array, Fill, Row, input};
use crate::{Var, ops};

#[derive(Clone, Copy)]
struct Case {
    image: [usize; 3],
    channels: [usize; 2],
    kernel: usize,
    stride: usize,
    padding: usize,
    output_padding: usize,
}

impl Case {
    /// The definition: each element of the input adds its share to the pixels around it.
    fn reference(self, x: &[Array]) -> Array {
        let ([batch, height, width], [inputs, outputs]) = (self.image, self.channels);
        let extent = |extent: usize| (extent - 1) * self.stride + self.kernel + self.output_padding - 2 * self.padding;
        let shape = [batch, extent(height), extent(width), outputs];
        let mut y = Array::from_fn(&shape, |i| x.get(2).map_or(0.0, |bias| bias.data[i % outputs]));
        for (n, i, j) in (0..batch * height * width).map(|p| (p / (height * width), p / width % height, p % width)) {
            for (r, s) in (0..self.kernel * self.kernel).map(|tap| (tap / self.kernel, tap % self.kernel)) {
                let (row, column) = (i * self.stride + r, j * self.stride + s);
                let inside = |at: usize, extent: usize| at >= self.padding && at - self.padding < extent;
                if !inside(row, shape[1]) || !inside(column, shape[2]) {
                    continue;
                }
                let pixel = (n * shape[1] + row - self.padding) * shape[2] + column - self.padding;
                for (c, o) in (0..inputs).flat_map(|c| (0..outputs).map(move |o| (c, o))) {
                    y.data[pixel * outputs + o] += x[0].at(&[n, i, j, c]) * x[1].at(&[c, r, s, o]);
                }
            }
        }
        y
    }

    fn row(self, bias: bool, fill: Fill) -> Row {
        let ([batch, height, width], [inputs, outputs]) = (self.image, self.channels);
        let mut shapes = vec![vec![batch, height, width, inputs], vec![inputs, self.kernel, self.kernel, outputs]];
        shapes.extend(bias.then(|| vec![outputs]));
        let of = shapes.iter().map(|shape| input(shape).fill(fill)).collect();
        let Case { stride, padding, output_padding, .. } = self;
        let run = move |x: &[Var]| ops::conv_transpose2d(&x[0], &x[1], x.get(2), stride, padding, output_padding);
        Row::new("conv_transpose2d", of, run, move |x: &[Array]| self.reference(x))
            .case(format!("stride={stride} padding={padding} output_padding={output_padding}"))
            .tolerance(4e-6, 6e-3)
    }
}

fn case(
    image: [usize; 3],
    channels: [usize; 2],
    kernel: usize,
    stride: usize,
    padding: usize,
    output_padding: usize,
) -> Case {
    Case { image, channels, kernel, stride, padding, output_padding }
}

pub fn rows() -> Vec<Row> {
    let (real, whole) = (Fill::Uniform(-1.7, 2.1), Fill::Integers(-2, 2));
    let mut rows = Vec::new();
    for (kernel, stride, padding, output_padding) in [
        (1, 1, 0, 0),
        (3, 1, 1, 0),
        (3, 1, 0, 0),
        (3, 2, 1, 1), // twice the size
        (4, 2, 1, 0),
        (5, 2, 2, 1),
        (5, 2, 2, 0),
        (2, 2, 0, 0), // no two shares meet
        (2, 3, 0, 2), // pixels with the bias alone
        (3, 3, 2, 1),
        (5, 1, 2, 0),
        (1, 2, 0, 1),
    ] {
        rows.push(case([2, 5, 4], [2, 3], kernel, stride, padding, output_padding).row(true, real));
        rows.push(case([1, 3, 4], [3, 1], kernel, stride, padding, output_padding).row(false, whole));
        rows.push(case([1, 4, 4], [16, 8], kernel, stride, padding, output_padding).row(true, whole));
    }
    rows.push(case([1, 1, 1], [1, 1], 1, 1, 0, 0).row(true, real));
    rows.push(case([1, 1, 1], [5, 4], 4, 1, 0, 0).row(true, real)); // a vector becomes an image
    rows.push(case([0, 4, 4], [2, 3], 5, 2, 2, 1).row(true, real));
    rows.push(case([2, 3, 4], [0, 3], 3, 2, 1, 1).row(true, real));
    rows.push(case([2, 3, 4], [2, 0], 3, 2, 1, 1).row(true, real));
    rows.push(case([3, 7, 7], [24, 16], 5, 2, 2, 1).row(true, real));
    rows.push(case([5, 5, 7], [9, 8], 5, 2, 2, 1).row(true, whole));
    for (image, channels, kernel) in
        [([100, 7, 7], [128, 64], 5), ([100, 14, 14], [64, 32], 5), ([64, 16, 16], [64, 64], 4)]
    {
        let case = case(image, channels, kernel, 2, kernel / 2 - usize::from(kernel == 4), usize::from(kernel == 5));
        let pixels = image.iter().product::<usize>() as f64;
        let [inputs, outputs] = channels.map(|c| c as f64);
        let weights = inputs * outputs * (kernel * kernel) as f64;
        rows.push(case.row(true, real).bench(2.0 * pixels * weights, pixels * (inputs + 4.0 * outputs) + weights));
    }
    rows
}
