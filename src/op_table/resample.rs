use super::{Array, Fill, Row, input};
use crate::{Var, ops};

/// The definition: pixel by pixel, the two-dimensional filter, zeros beyond the border.
fn resample(x: &Array, taps: &[f64], up: bool, pad: usize) -> Array {
    let (n, h, w, c) = (x.shape[0], x.shape[1], x.shape[2], x.shape[3]);
    let total = taps.iter().sum::<f64>();
    let halved = |extent: usize| (extent + 2 * pad - taps.len()) / 2 + 1;
    let (to_h, to_w) = if up { (2 * h, 2 * w) } else { (halved(h), halved(w)) };
    let mut y = Array::from_fn(&[n, to_h, to_w, c], |_| 0.0);
    let (small_h, small_w) = if up { (h, w) } else { (to_h, to_w) };
    for image in 0..n {
        for channel in 0..c {
            for i in 0..small_h {
                for j in 0..small_w {
                    for (r, tap_r) in taps.iter().enumerate() {
                        for (s, tap_s) in taps.iter().enumerate() {
                            // (i, j) in the smaller image meets (big_i, big_j) in the larger one.
                            let (big_i, big_j) = ((2 * i + r).wrapping_sub(pad), (2 * j + s).wrapping_sub(pad));
                            let (big_h, big_w) = if up { (to_h, to_w) } else { (h, w) };
                            if big_i >= big_h || big_j >= big_w {
                                continue;
                            }
                            let f = tap_r * tap_s / (total * total);
                            let at = |height: usize, width: usize, i: usize, j: usize| {
                                ((image * height + i) * width + j) * c + channel
                            };
                            if up {
                                y.data[at(to_h, to_w, big_i, big_j)] += 4.0 * f * x.data[at(h, w, i, j)];
                            } else {
                                y.data[at(to_h, to_w, i, j)] += f * x.data[at(h, w, big_i, big_j)];
                            }
                        }
                    }
                }
            }
        }
    }
    y
}

pub fn rows() -> Vec<Row> {
    let mut rows = Vec::new();
    let filters: [&'static [f64]; 4] =
        [&[1.0, 1.0], &[1.0, 3.0, 3.0, 1.0], &[0.3, -1.0, 2.0, 1.5, 0.2, 0.1], &[2.0, 1.0]];
    let row = |up: bool, shape: &[usize], fill: Fill, taps: &'static [f64]| {
        let run = move |x: &[Var]| if up { ops::upsample2x(&x[0], taps) } else { ops::downsample2x(&x[0], taps) };
        let name = if up { "upsample2x" } else { "downsample2x" };
        let pad = (taps.len() - 1) / 2;
        Row::new(name, vec![input(shape).fill(fill)], run, move |x| resample(&x[0], taps, up, pad))
            .case(format!("{taps:?}"))
    };
    let uniform = Fill::Uniform(-1.7, 2.1);
    for taps in filters {
        for shape in [[1, 2, 2, 1], [2, 4, 6, 3], [1, 5, 3, 8], [1, 8, 8, 16], [0, 4, 4, 2], [2, 2, 3, 0]] {
            rows.push(row(true, &shape, uniform, taps));
            rows.push(row(false, &shape, uniform, taps));
        }
        rows.push(row(true, &[2, 1, 1, 4], uniform, taps));
    }
    for (taps, shape, pad) in [
        (filters[1], [2, 6, 8, 3], 0),
        (filters[1], [1, 5, 7, 8], 0),
        (filters[1], [1, 4, 4, 2], 0),
        (filters[1], [1, 3, 1, 4], 3),
        (filters[2], [1, 10, 9, 2], 0),
        (filters[2], [2, 5, 6, 1], 1),
        (filters[0], [1, 3, 4, 8], 1),
        (filters[1], [0, 6, 6, 2], 0),
    ] {
        let run = move |x: &[Var]| ops::downsample2x_padded(&x[0], taps, pad);
        let inputs = vec![input(&shape).fill(uniform)];
        let reference = move |x: &[Array]| resample(&x[0], taps, false, pad);
        rows.push(Row::new("downsample2x", inputs, run, reference).case(format!("{taps:?} padding {pad}")));
    }
    // With [1, 1] and multiples of four every result is a whole number.
    rows.push(row(true, &[2, 3, 5, 7], Fill::Integers(-9, 9), &[1.0, 1.0]));
    let elements = 16.0 * 32.0 * 32.0 * 256.0;
    for (taps, flops) in [(filters[0], 4.0), (filters[1], 16.0)] {
        rows.push(row(true, &[16, 16, 16, 256], uniform, taps).bench(elements * flops / 2.0, 1.25 * elements));
        rows.push(row(false, &[16, 32, 32, 256], uniform, taps).bench(elements * flops / 2.0, 1.25 * elements));
    }
    rows
}
