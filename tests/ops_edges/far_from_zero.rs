//! The normalisations of numbers that are all alike, or far from zero compared with how far they are from each other.

use veridical::autograd::Backward;
use veridical::{Device, Tape, Tensor, Var, ops};

use super::hardware::devices;

/// Values whose sums are rounded: in the middle of a binade, not representable, large.
const CONSTANTS: [f32; 6] = [0.1, 1449.1, 1e6 + 0.25, -3333.3, 1e-3, 7e7];

type Norm = fn(&Var, &Var, &Var) -> veridical::Result<Var>;

fn layer(x: &Var, gamma: &Var, beta: &Var) -> veridical::Result<Var> {
    ops::layer_norm(x, gamma, beta, 1e-5)
}

/// One channel to a group, many pixels.
fn group(x: &Var, gamma: &Var, beta: &Var) -> veridical::Result<Var> {
    ops::group_norm(x, gamma, beta, gamma.shape()[0], 1e-5)
}

/// Over all rows.
fn batch(x: &Var, gamma: &Var, beta: &Var) -> veridical::Result<Var> {
    ops::batch_norm(x, gamma, beta, 1e-5).map(|(y, _)| y)
}

/// Results, and gradients of x, gamma and beta for the cotangent `dy`.
fn run(norm: Norm, x: &[f32], shape: &[usize], dy: &[f32], device: &Device) -> [Vec<f64>; 4] {
    let tape = Tape::new();
    let channels = *shape.last().unwrap();
    let affine = |base: f32| {
        let values: Vec<f32> = (0..channels).map(|c| base + c as f32 / 64.0).collect();
        tape.leaf(Tensor::from_slice(&values, [channels], device).unwrap())
    };
    let (gamma, beta) = (affine(1.0), affine(-0.5));
    let x = tape.leaf(Tensor::from_slice(x, shape, device).unwrap());
    let y = norm(&x, &gamma, &beta).unwrap();
    let dy = Tensor::from_slice(dy, shape, device).unwrap();
    let gradients = y.backward_with(Backward { cotangent: Some(dy), ..Default::default() }).unwrap();
    let of = |var| gradients.get(var).unwrap().to_f64().unwrap();
    [y.value().to_f64().unwrap(), of(&x), of(&gamma), of(&beta)]
}

/// Of equal numbers the result is beta, nothing flows to gamma, and what flows to x is the centred gradient over
/// sqrt(eps).
#[test]
fn equal_numbers_become_beta() {
    let shapes: [(Norm, &[usize]); 9] = [
        (layer, &[2, 48]),
        (layer, &[3, 1031]),
        (layer, &[1, 5000]),
        (group, &[1, 2048, 3]),
        (group, &[2, 40, 40, 8]),
        (group, &[1, 30_000, 1]),
        (batch, &[2048, 3]),
        (batch, &[2, 40, 40, 8]),
        (batch, &[30_000, 1]),
    ];
    for device in devices() {
        for (norm, shape) in shapes {
            let (n, channels) = (shape.iter().product::<usize>(), *shape.last().unwrap());
            for value in CONSTANTS {
                let dy: Vec<f32> = (0..n).map(|i| (i * 37 % 101) as f32 / 50.0 - 1.0).collect();
                let [y, dx, dgamma, _] = run(norm, &vec![value; n], shape, &dy, &device);
                for (i, y) in y.iter().enumerate() {
                    let beta = -0.5 + (i % channels) as f64 / 64.0;
                    assert!((y - beta).abs() < 1e-6, "{device}, {shape:?} of {value}: element {i} is {y}, not {beta}");
                }
                assert!(dgamma.iter().all(|g| g.abs() < 1e-4), "{device}, {shape:?} of {value}: {dgamma:?}");
                let sum: f64 = dx.iter().sum::<f64>().abs();
                let size: f64 = dx.iter().map(|d| d.abs()).sum();
                assert!(size.is_finite() && sum <= 1e-4 * size, "{device}, {shape:?} of {value}: dx adds up to {sum}");
            }
        }
    }
}

/// Against plain loops in f64 on the numbers as f32 holds them.
#[test]
fn rows_with_a_large_mean() {
    for device in devices() {
        for (mean, sd) in [(1e4f32, 1.0f32), (1e6, 1.0), (-3e5, 0.25), (1449.1, 1e-3)] {
            let (rows, channels) = (3, 96);
            let x: Vec<f32> =
                (0..rows * channels).map(|i| mean + sd * ((i * 7919 % 1009) as f32 / 504.5 - 1.0)).collect();
            let dy: Vec<f32> = (0..rows * channels).map(|i| (i * 37 % 101) as f32 / 50.0 - 1.0).collect();
            let [y, dx, ..] = run(layer, &x, &[rows, channels], &dy, &device);
            for row in 0..rows {
                let at = |i: usize| f64::from(x[row * channels + i]);
                let n = channels as f64;
                let mean = (0..channels).map(at).sum::<f64>() / n;
                let variance = (0..channels).map(|i| (at(i) - mean).powi(2)).sum::<f64>() / n;
                let rstd = 1.0 / (variance + 1e-5).sqrt();
                let gamma = |i: usize| 1.0 + i as f64 / 64.0;
                let unit = |i: usize| (at(i) - mean) * rstd;
                let g = |i: usize| f64::from(dy[row * channels + i]) * gamma(i);
                let slope = (0..channels).map(g).sum::<f64>() / n;
                let product = (0..channels).map(|i| g(i) * unit(i)).sum::<f64>() / n;
                for i in 0..channels {
                    let (got, expected) = (y[row * channels + i], gamma(i) * unit(i) - 0.5 + i as f64 / 64.0);
                    assert!((got - expected).abs() < 2e-5, "{device}, mean {mean}: y is {got}, not {expected}");
                    let (got, expected) = (dx[row * channels + i], rstd * (g(i) - slope - unit(i) * product));
                    assert!((got - expected).abs() < 2e-5 * rstd, "{device}, mean {mean}: dx is {got}, not {expected}");
                }
            }
        }
    }
}

/// The statistics of a group whose spread is a thousandth of its mean, over many pixels.
#[test]
fn groups_with_a_large_mean() {
    for device in devices() {
        let (pixels, channels) = (4096, 2);
        let x: Vec<f32> = (0..pixels * channels).map(|i| 1449.1 + (i * 7919 % 1009) as f32 / 504.5 - 1.0).collect();
        let dy = vec![1.0; x.len()];
        let [y, ..] = run(group, &x, &[1, pixels, channels], &dy, &device);
        for c in 0..channels {
            let at = |i: usize| f64::from(x[i * channels + c]);
            let mean = (0..pixels).map(at).sum::<f64>() / pixels as f64;
            let variance = (0..pixels).map(|i| (at(i) - mean).powi(2)).sum::<f64>() / pixels as f64;
            for i in 0..pixels {
                let expected =
                    (1.0 + c as f64 / 64.0) * (at(i) - mean) / (variance + 1e-5).sqrt() - 0.5 + c as f64 / 64.0;
                let got = y[i * channels + c];
                // The mean is kept in f32, whose numbers are 1.2e-4 apart there.
                assert!((got - expected).abs() < 3e-4, "{device}: y is {got}, not {expected}");
            }
        }
    }
}

/// A batch's channels against plain loops in f64: the mean is kept to more digits than f32 has.
#[test]
fn channels_with_a_large_mean() {
    for device in devices() {
        for (mean, sd) in [(1e4f32, 1.0f32), (1e6, 1.0), (-3e5, 0.25), (1449.1, 1e-3)] {
            let (rows, channels) = (1500, 5);
            let x: Vec<f32> =
                (0..rows * channels).map(|i| mean + sd * ((i * 7919 % 1009) as f32 / 504.5 - 1.0)).collect();
            let dy: Vec<f32> = (0..rows * channels).map(|i| (i * 37 % 101) as f32 / 50.0 - 1.0).collect();
            let [y, dx, ..] = run(batch, &x, &[rows, channels], &dy, &device);
            let n = rows as f64;
            for c in 0..channels {
                let at = |row: usize| f64::from(x[row * channels + c]);
                let dy_at = |row: usize| f64::from(dy[row * channels + c]);
                let mean = (0..rows).map(at).sum::<f64>() / n;
                let variance = (0..rows).map(|row| (at(row) - mean).powi(2)).sum::<f64>() / n;
                let (rstd, gamma) = (1.0 / (variance + 1e-5).sqrt(), 1.0 + c as f64 / 64.0);
                let unit = |row: usize| (at(row) - mean) * rstd;
                let slope = (0..rows).map(dy_at).sum::<f64>() / n;
                let product = (0..rows).map(|row| dy_at(row) * unit(row)).sum::<f64>() / n;
                for row in 0..rows {
                    let (got, expected) = (y[row * channels + c], gamma * unit(row) - 0.5 + c as f64 / 64.0);
                    assert!((got - expected).abs() < 2e-5, "{device}, mean {mean}: y is {got}, not {expected}");
                    let expected = gamma * rstd * (dy_at(row) - slope - unit(row) * product);
                    let got = dx[row * channels + c];
                    assert!((got - expected).abs() < 2e-5 * rstd, "{device}, mean {mean}: dx is {got}, not {expected}");
                }
            }
        }
    }
}
