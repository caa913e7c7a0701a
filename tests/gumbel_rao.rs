//! The Rao-Blackwellised straight-through estimator: its gradient in plain loops, its mean and its variance.

mod hardware;

use hardware::devices;
use veridical::autograd::Backward;
use veridical::ops::{self, random::Draws};
use veridical::random::{Purpose, RandomKey};
use veridical::{DType, Device, Tape, Tensor};

fn key() -> RandomKey {
    RandomKey::new(2010, Purpose::Custom).at_step(4838)
}

fn pseudo(n: usize, salt: u32) -> Vec<f64> {
    (0..n as u64).map(|i| f64::from(key().at_step(salt).stream().unwrap().word(0, i)) / 2f64.powi(31) - 1.0).collect()
}

/// A tensor of f64 numbers in another dtype, and what has become of the numbers.
fn rounded(values: &[f64], shape: [usize; 2], dtype: DType, device: &Device) -> (Tensor, Vec<f64>) {
    let tensor = match dtype {
        DType::F64 => Tensor::from_slice(values, shape, device).unwrap(),
        DType::BF16 => {
            let values: Vec<half::bf16> = values.iter().map(|&x| half::bf16::from_f64(x)).collect();
            Tensor::from_slice(&values, shape, device).unwrap()
        }
        _ => Tensor::from_slice(&values.iter().map(|&x| x as f32).collect::<Vec<_>>(), shape, device).unwrap(),
    };
    let values = tensor.to_f64().unwrap();
    (tensor, values)
}

/// The result and the gradient of the logits.
fn estimate(
    x: &Tensor,
    tau: f64,
    samples: Option<usize>,
    draws: &Draws,
    dy: impl Fn(&Tensor) -> Tensor,
) -> [Vec<f64>; 2] {
    let tape = Tape::new();
    let leaf = tape.leaf(x.clone());
    let y = match samples {
        Some(samples) => ops::gumbel_rao(&leaf, tau, samples, draws).unwrap(),
        None => ops::gumbel_softmax(&leaf, tau, true, draws).unwrap(),
    };
    let cotangent = Some(dy(y.value()));
    let dx = y.backward_with(Backward { cotangent, ..Default::default() }).unwrap().take(&leaf).unwrap();
    [y.value().to_f64().unwrap(), dx.to_f64().unwrap()]
}

/// Exponential number of element `e` of a sample.
fn exponential(sample: u32, e: usize) -> f64 {
    let unit = |w: u32| (f64::from(w) + 0.5) / 4_294_967_296.0;
    let w = key().stream().unwrap().word(sample, e as u64);
    if w < 1 << 31 { -(-unit(w)).ln_1p() } else { -unit(!w).ln() }
}

/// Section 3 of the paper with its own names: exponential numbers, unnormalised probabilities `theta`, their sum `Z`.
fn plainly(x: &[f64], k: usize, dy: &[f64], tau: f64, samples: usize) -> Vec<f64> {
    let mut dx = vec![0.0; x.len()];
    for (row, x) in x.chunks(k).enumerate() {
        let sample = 7 + row as u32;
        let theta: Vec<f64> = x.iter().map(|x| x.exp()).collect();
        let z: f64 = theta.iter().sum();
        let gumbel = |j: usize| x[j] - exponential(sample, j).ln();
        let d = (0..k).fold(0, |best, j| if gumbel(j) > gumbel(best) { j } else { best });
        for m in 0..samples {
            let e = |j: usize| exponential(sample, 4 * (m + 1) * k.div_ceil(4) + j);
            let v: Vec<f64> =
                (0..k).map(|j| if j == d { -(e(d) / z).ln() } else { -(e(j) / theta[j] + e(d) / z).ln() }).collect();
            assert!(v.iter().all(|&other| other <= v[d]), "another argmax");
            let weights: Vec<f64> = v.iter().map(|other| ((other - v[d]) / tau).exp()).collect();
            let sum: f64 = weights.iter().sum();
            let dy = &dy[row * k..][..k];
            let dot: f64 = weights.iter().zip(dy).map(|(w, dy)| w / sum * dy).sum();
            for j in 0..k {
                dx[row * k + j] += weights[j] / sum * (dy[j] - dot) / tau / samples as f64;
            }
        }
    }
    dx
}

#[test]
fn the_gradient_is_that_of_plain_loops() {
    for device in devices() {
        for (n, k, tau, samples) in
            [(3, 2, 0.5, 5), (35, 10, 1.0, 3), (2, 32, 0.3, 2), (3, 33, 2.0, 4), (2, 128, 0.7, 2), (2, 301, 0.9, 3)]
        {
            for dtype in [DType::F64, DType::F32, DType::BF16] {
                if dtype == DType::F64 && !matches!(device, Device::Cpu) {
                    continue;
                }
                let mut x: Vec<f64> = pseudo(n * k, 1).iter().map(|x| 3.0 * x).collect();
                x[k - 1] = f64::NEG_INFINITY;
                let (x, x_values) = rounded(&x, [n, k], dtype, &device);
                let (dy, dy_values) = rounded(&pseudo(n * k, 2), [n, k], dtype, &device);
                let [_, got] = estimate(&x, tau, Some(samples), &Draws::from_sample(key(), 7), |_| dy.clone());
                let want = plainly(&x_values, k, &dy_values, tau, samples);
                let scale = want.iter().fold(0f64, |max, x| max.max(x.abs()));
                // The noise is f32 in every dtype, and divided by tau.
                let tolerance = if dtype == DType::BF16 { 4e-3 } else { 2e-5 };
                for (i, (got, want)) in got.iter().zip(&want).enumerate() {
                    let off = (got - want).abs();
                    assert!(off <= tolerance * scale, "{dtype} on {device}, {k} labels: {i} is {got}, expected {want}");
                }
                assert_eq!(got[k - 1], 0.0, "a masked label has a gradient");
            }
        }
    }
}

#[test]
fn the_mean_is_that_of_straight_through_and_the_variance_is_less() {
    let (n, k, tau) = (60_000, 4, 0.5);
    let row = [0.3, -0.8, 1.1, 0.0];
    let x = Tensor::from_slice(&row.repeat(n), [n, k], &Device::Cpu).unwrap();
    // Of f(y) = <c, y>^2, whose gradient depends on what was drawn.
    let c = [1.0, -2.0, 0.5, 3.0];
    let slope = |y: &Tensor| {
        let y = y.to_f64().unwrap();
        let rows = y.chunks(k).map(|y| 2.0 * y.iter().zip(&c).map(|(y, c)| y * c).sum::<f64>());
        let dy: Vec<f64> = rows.flat_map(|s| c.map(|c| s * c)).collect();
        Tensor::from_slice(&dy, [n, k], &Device::Cpu).unwrap()
    };
    // Mean and variance of each coordinate, over independent rows.
    let moments = |samples: Option<usize>, first: u32| {
        let [_, dx] = estimate(&x, tau, samples, &Draws::from_sample(key(), first), slope);
        let mean: Vec<f64> = (0..k).map(|j| dx.iter().skip(j).step_by(k).sum::<f64>() / n as f64).collect();
        let square = |j: usize| dx.iter().skip(j).step_by(k).map(|dx| (dx - mean[j]).powi(2)).sum::<f64>() / n as f64;
        let variance: Vec<f64> = (0..k).map(square).collect();
        (mean, variance)
    };
    let (mean, variance) = moments(None, 0);
    let mut before: f64 = variance.iter().sum();
    for (samples, most) in [(1, 1.1), (4, 0.9), (64, 1.0)] {
        let (averaged, less) = moments(Some(samples), 1 << 20);
        for j in 0..k {
            let off = (averaged[j] - mean[j]).abs() / ((variance[j] + less[j]) / n as f64).sqrt();
            assert!(off < 4.5, "{samples} samples: coordinate {j} is {off} standard errors off");
        }
        let total: f64 = less.iter().sum();
        assert!(total < most * before, "{samples} samples: variance {total} after {before}");
        before = total;
    }
}

#[test]
fn the_conditional_samples_have_the_argmax_of_the_result() {
    for device in devices() {
        for k in [10, 200] {
            // So cold that a sample is one-hot: at the result, where alone its gradient is exactly nothing.
            let (x, _) = rounded(&pseudo(6 * k, 3), [6, k], DType::F32, &device);
            let (dy, _) = rounded(&pseudo(6 * k, 4), [6, k], DType::F32, &device);
            let [_, dx] = estimate(&x, 1e-30, Some(20), &Draws::new(key()), |_| dy.clone());
            assert!(dx.iter().all(|&dx| dx == 0.0), "{device}");
        }
    }
}

#[test]
fn rows_are_the_same_in_any_batch() {
    for device in devices() {
        let values = pseudo(7 * 10, 5);
        let (x, _) = rounded(&values, [7, 10], DType::F32, &device);
        let [y, dx] = estimate(&x, 0.8, Some(3), &Draws::new(key()), |_| x.clone());
        let (tail, _) = rounded(&values[40..], [3, 10], DType::F32, &device);
        assert_eq!(
            estimate(&tail, 0.8, Some(3), &Draws::from_sample(key(), 4), |_| tail.clone()),
            [y[40..].to_vec(), dx[40..].to_vec()]
        );
    }
}
