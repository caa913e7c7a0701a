use super::{Array, Row, input};
use crate::{Result, Var, ops};

const EPS: f64 = 1e-5;

fn reference(x: &[Array], groups: usize, silu: bool) -> Array {
    let (x, gamma, beta) = (&x[0], &x[1], &x[2]);
    let (images, channels) = (x.shape[0], gamma.data.len());
    let pixels = x.shape[1..x.shape.len() - 1].iter().product::<usize>();
    let width = channels / groups;
    let mut y = x.clone();
    for image in 0..images {
        for group in 0..groups {
            let members: Vec<usize> = (0..pixels * width)
                .map(|i| (image * pixels + i / width) * channels + group * width + i % width)
                .collect();
            let count = members.len() as f64;
            let mean = members.iter().map(|&i| x.data[i]).sum::<f64>() / count;
            let variance = members.iter().map(|&i| (x.data[i] - mean).powi(2)).sum::<f64>() / count;
            for i in members {
                let u =
                    gamma.data[i % channels] * (x.data[i] - mean) / (variance + EPS).sqrt() + beta.data[i % channels];
                y.data[i] = if silu { u / (1.0 + (-u).exp()) } else { u };
            }
        }
    }
    y
}

type Op = fn(&Var, &Var, &Var, usize, f64) -> Result<Var>;

pub fn rows() -> Vec<Row> {
    let ops: [(&str, Op, bool); 2] = [
        ("group_norm", |x, gamma, beta, groups, eps| ops::group_norm(x, gamma, beta, groups, eps), false),
        ("group_norm_silu", |x, gamma, beta, groups, eps| ops::group_norm_silu(x, gamma, beta, groups, eps), true),
    ];
    let mut rows = Vec::new();
    for (name, op, silu) in ops {
        let row = |shape: &[usize], groups: usize| {
            let channels = [shape[shape.len() - 1]];
            let inputs = vec![input(shape), input(&channels), input(&channels)];
            let run = move |x: &[Var]| op(&x[0], &x[1], &x[2], groups, EPS);
            Row::new(name, inputs, run, move |x| reference(x, groups, silu))
                .case(format!("groups={groups}"))
                .tolerance(4e-6, 6e-3)
        };
        let cases: [(&[usize], usize); 16] = [
            (&[0, 3, 3, 4], 2),
            (&[2, 0, 4], 2),
            (&[3, 6], 2),           // no pixels: a vector per image
            (&[1, 2, 2, 4], 4),     // one channel to a group
            (&[2, 3, 3, 6], 2),     // three channels to a group: no wide loads
            (&[2, 4, 4, 8], 2),     // 8- or 16-byte loads
            (&[2, 3, 5, 24], 3),    // odd image, 16-byte loads
            (&[3, 5, 7], 1),        // one axis of pixels, one group
            (&[2, 2, 2, 2, 10], 5), // three axes of pixels
            (&[2, 8, 8, 64], 16),
            (&[1, 16, 16, 64], 2),
            (&[3, 2, 601], 1),     // more columns than threads
            (&[1, 32, 32, 25], 1), // too large for shared memory
            (&[2, 19, 17, 160], 32),
            (&[2, 1, 8000], 1),      // sums that leave no room for tiles
            (&[1, 32, 32, 384], 32), // in f32, 48 KiB of dynamic shared memory beside static arrays
        ];
        rows.extend(cases.map(|(shape, groups)| row(shape, groups)));
        for (shape, groups) in [(&[128, 8, 8, 64], 16), (&[8, 16, 16, 256], 32), (&[16, 32, 32, 256], 32)] {
            let n = shape.iter().product::<usize>() as f64;
            rows.push(row(shape, groups).bench(if silu { 12.0 } else { 8.0 } * n, 2.0 * n));
        }
    }
    rows
}
