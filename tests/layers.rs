//! Layers of classifiers, generators and discriminators, by formulas in plain loops.

use std::collections::BTreeMap;

use veridical::nn::{
    ConditionalBatchNorm, Context, Conv2d, ConvOptions, ConvTranspose2d, Dropout, GaussianNoise, Init, Layout, Linear,
    Module, Projection, SpectralNorm, WeightNorm, Weights,
};
use veridical::ops::random::Address;
use veridical::{DType, Device, Result, Tape, Tensor, Var, ops};

const CPU: Device = Device::Cpu;

/// A layer in a scope called `net`, with its first weights.
fn built<T>(build: impl FnOnce(&mut veridical::nn::Scope) -> T) -> (T, Weights) {
    let mut layout = Layout::new();
    let layer = build(&mut layout.scope("net"));
    (layer, Weights::init(&layout.into(), 3, &CPU).unwrap())
}

/// The values of each parameter and buffer, by the last part of its name.
fn values(weights: &Weights) -> BTreeMap<String, Vec<f64>> {
    let entries = weights.layout().entries().iter();
    entries.map(|entry| (entry.name.replace("net.", ""), weights.view(entry).unwrap().to_f64().unwrap())).collect()
}

fn numbers(shape: &[usize], step: usize) -> Var {
    let count = shape.iter().product();
    let values: Vec<f32> = (0..count).map(|i| ((i * step + 5) % 23) as f32 / 8.0 - 1.3).collect();
    Tensor::from_slice(&values, shape, &CPU).unwrap().into()
}

fn found(y: Result<Var>) -> Vec<f64> {
    y.unwrap().value().to_f64().unwrap()
}

fn message<T>(result: Result<T>) -> String {
    result.err().map(|error| error.to_string()).unwrap_or_default()
}

#[track_caller]
fn assert_near(found: &[f64], expected: &[f64], tolerance: f64) {
    assert_eq!(found.len(), expected.len());
    for (i, (found, expected)) in found.iter().zip(expected).enumerate() {
        assert!((found - expected).abs() <= tolerance, "element {i} is {found}, expected {expected}");
    }
}

fn training(weights: &Weights, step: u32) -> Context {
    Context::training(weights, &Tape::new(), Address::new(9, step))
}

#[test]
fn transposed_convolutions_double_images() {
    let (layer, weights) = built(|scope| ConvTranspose2d::doubling(scope, [3, 4], 1.0).unwrap());
    let cx = Context::inference(&weights);
    assert_eq!(layer.forward(&cx, &numbers(&[2, 7, 5, 3], 3)).unwrap().shape()[..], [2, 14, 10, 4]);
    assert_eq!(layer.multiply_adds(weights.layout()).unwrap(), 3 * 4 * 25);
    let options = ConvOptions { kernel: 5, stride: 2, padding: 2 };
    let error = |options, output_padding| {
        message(built(|scope| ConvTranspose2d::new(scope, [3, 4], options, output_padding, 1.0)).0)
    };
    assert!(error(options, 2).contains("output_padding below the stride"));
    assert!(error(ConvOptions { kernel: 0, ..options }, 1).contains("positive kernel"));
    assert!(error(ConvOptions { stride: 0, ..options }, 0).contains("positive kernel"));
}

/// A layer whose weight is made of length and direction starts as the plain one.
#[test]
fn weight_norm_is_a_length_and_a_direction() {
    let (layer, weights) = built(|scope| WeightNorm::linear(scope, 5, 3, 1.0));
    let (plain, of_plain) = built(|scope| Linear::new(scope, 5, 3, 1.0));
    let x = numbers(&[4, 5], 7);
    let (cx, plain_cx) = (Context::inference(&weights), Context::inference(&of_plain));
    assert_near(&found(layer.forward(&cx, &x)), &found(plain.forward(&plain_cx, &x)), 1e-6);
    let first = values(&weights);
    for (row, g) in first["weight_v"].chunks(5).zip(&first["weight_g"]) {
        assert!((row.iter().map(|v| v * v).sum::<f64>().sqrt() - g).abs() < 1e-6);
    }
    // Twice the direction and three times the length: three times the weight.
    let mut flat = weights.flat().clone();
    let entries = weights.layout().entries();
    for (name, factor) in [("net.weight_v", 2.0), ("net.weight_g", 3.0)] {
        let entry = entries.iter().find(|entry| entry.name == name).unwrap();
        let all = flat.as_mut_slice::<f32>().unwrap();
        all[entry.offset..][..entry.shape.elements()].iter_mut().for_each(|value| *value *= factor);
    }
    let changed = weights.with_flat(flat).unwrap();
    let expected: Vec<f64> = found(plain.forward(&plain_cx, &x)).iter().map(|y| 3.0 * y).collect();
    assert_near(&found(layer.forward(&Context::inference(&changed), &x)), &expected, 3e-6);

    let options = ConvOptions { kernel: 3, stride: 2, padding: 1 };
    let (layer, weights) = built(|scope| WeightNorm::conv2d(scope, [2, 3], options, 1.0).unwrap());
    let (plain, of_plain) = built(|scope| Conv2d::new(scope, [2, 3], options, 1.0).unwrap());
    let x = numbers(&[2, 5, 6, 2], 7);
    let expected = found(plain.forward(&Context::inference(&of_plain), &x));
    assert_near(&found(layer.forward(&Context::inference(&weights), &x)), &expected, 1e-5);
    let shape = |name: &str| weights.layout().entries().iter().find(|e| e.name == name).unwrap().shape.to_vec();
    assert_eq!(shape("net.weight_g"), [3, 1, 1, 1]);

    let none = ConvOptions { kernel: 3, stride: 0, padding: 1 };
    assert!(message(built(|scope| WeightNorm::conv2d(scope, [2, 3], none, 1.0)).0).contains("WeightNorm"));
    let (v, g) = (numbers(&[3, 4], 1), numbers(&[4], 1));
    assert!(message(veridical::nn::weight_norm(&v, &g)).contains("3 lengths for v [3, 4]"));
    assert!(message(veridical::nn::weight_norm(&numbers(&[], 1), &g)).contains("[out, ...]"));
}

#[test]
fn rows_that_are_not_there_have_no_norms() {
    let mut layout = Layout::new();
    let mut scope = layout.scope("net");
    let v = scope.parameter("v", [3, 2], Init::Constant(1.0));
    scope.parameter("g", [2], Init::RowNorms(v));
    assert!(message(Weights::init(&layout.into(), 0, &CPU)).contains("net.g is [2]"));
}

fn normalised(z: &[f64]) -> Vec<f64> {
    let norm = z.iter().map(|z| z * z).sum::<f64>().sqrt();
    z.iter().map(|z| z / norm).collect()
}

/// `w^T u` and `w v` for `w` `[out, 3]`.
fn products(w: &[f64], u: &[f64]) -> (Vec<f64>, Vec<f64>) {
    let of_u = (0..3).map(|i| w.chunks(3).zip(u).map(|(row, u)| row[i] * u).sum()).collect::<Vec<f64>>();
    let v = normalised(&of_u);
    let of_v = w.chunks(3).map(|row| row.iter().zip(&v).map(|(w, v)| w * v).sum()).collect();
    (v, of_v)
}

#[test]
fn spectral_norm_goes_on_by_one_iteration_a_step() {
    let (layer, mut weights) = built(|scope| SpectralNorm::linear(scope, 3, 4, 1.0));
    let first = values(&weights);
    let (w, mut u) = (first["weight_orig"].clone(), first["weight_u"].clone());
    assert!((u.iter().map(|u| u * u).sum::<f64>() - 1.0).abs() < 1e-6);
    let x = numbers(&[2, 3], 7);
    let x_values = x.value().to_f64().unwrap();
    let expected = |sigma: f64| -> Vec<f64> {
        let y = |x: &[f64], row: &[f64]| x.iter().zip(row).map(|(x, w)| x * w).sum::<f64>() / sigma;
        x_values.chunks(3).flat_map(|x| w.chunks(3).map(move |row| y(x, row)).collect::<Vec<_>>()).collect()
    };
    let mut sigma = 0.0;
    for step in 0..60 {
        let cx = training(&weights, step);
        let (_, of_v) = products(&w, &u);
        u = normalised(&of_v);
        sigma = u.iter().zip(&of_v).map(|(u, wv)| u * wv).sum();
        // Twice in a pass, on real and on generated samples: one weight, and one iteration.
        for _ in 0..2 {
            assert_near(&found(layer.forward(&cx, &x)), &expected(sigma), 2e-5);
        }
        weights = cx.updated().unwrap().unwrap();
        assert_near(&values(&weights)["weight_u"], &u, 1e-5);
    }
    // It has found the largest singular value: that of w w^T is its square.
    let (v, of_v) = products(&w, &u);
    let residual: f64 = u.iter().zip(&of_v).map(|(u, wv)| (wv - sigma * u).powi(2)).sum();
    assert!(residual.sqrt() < 1e-5 * sigma && v.len() == 3, "{residual}");
    // Outside of training nothing moves.
    let cx = Context::inference(&weights);
    assert_near(&found(layer.forward(&cx, &x)), &expected(sigma), 2e-5);
    assert!(cx.updated().unwrap().is_none());

    let options = ConvOptions::same(3);
    let (layer, weights) = built(|scope| SpectralNorm::conv2d(scope, [2, 3], options, 1.0).unwrap());
    let y = layer.forward(&training(&weights, 0), &numbers(&[1, 4, 5, 2], 7)).unwrap();
    assert_eq!(y.shape()[..], [1, 4, 5, 3]);
    let none = ConvOptions { kernel: 0, ..options };
    assert!(message(built(|scope| SpectralNorm::conv2d(scope, [2, 3], none, 1.0)).0).contains("SpectralNorm"));
    let (w, u) = (numbers(&[3, 4], 1), numbers(&[4], 1).into_value());
    assert!(message(veridical::nn::spectral_norm(&w, &u, 1e-12, true)).contains("u [3] for w [3, 4]"));
}

#[test]
fn every_class_has_its_scale_and_shift() {
    let (layer, weights) = built(|scope| ConditionalBatchNorm::new(scope, 3, 2));
    let mut flat = weights.flat().clone();
    for (i, value) in flat.as_mut_slice::<f32>().unwrap().iter_mut().enumerate() {
        *value = 1.0 + i as f32 / 4.0;
    }
    let weights = weights.with_flat(flat).unwrap();
    let tables = values(&weights);
    let x = numbers(&[4, 3, 2], 7);
    let labels = Tensor::from_slice(&[2u32, 0, 2, 1], [4], &CPU).unwrap();
    let cx = training(&weights, 0);
    let y = found(layer.forward(&cx, &x, &labels.clone().into()));
    let x_values = x.value().to_f64().unwrap();
    let mut expected = vec![0.0; 24];
    for c in 0..2 {
        let of_channel: Vec<f64> = x_values.iter().copied().skip(c).step_by(2).collect();
        let mean = of_channel.iter().sum::<f64>() / 12.0;
        let variance = of_channel.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / 12.0;
        for (i, x) in of_channel.iter().enumerate() {
            let class = [2, 0, 2, 1][i / 3];
            let (gamma, beta) = (tables["weight"][class * 2 + c], tables["bias"][class * 2 + c]);
            expected[i * 2 + c] = gamma * (x - mean) / (variance + 1e-5).sqrt() + beta;
        }
        let running = values(&cx.updated().unwrap().unwrap());
        assert!((running["running_mean"][c] - 0.1 * mean).abs() < 1e-6);
        assert!((running["running_var"][c] - 0.9 - 0.1 * variance * 12.0 / 11.0).abs() < 1e-6);
    }
    assert_near(&y, &expected, 1e-5);
    // One-hot rows say the same.
    let rows = ops::one_hot(&labels, 3, DType::F32).unwrap();
    assert_near(&found(layer.forward(&training(&weights, 0), &x, &rows.into())), &expected, 1e-5);
    let few = Tensor::from_slice(&[2u32, 0], [2], &CPU).unwrap();
    assert!(message(layer.forward(&cx, &x, &few.into())).contains("labels [4] or [4, classes]"));
    let one = numbers(&[1, 2], 1);
    let label = Tensor::from_slice(&[1u32], [1], &CPU).unwrap();
    assert!(message(layer.forward(&cx, &one, &label.clone().into())).contains("two or more values"));
    assert!(layer.forward(&Context::inference(&weights), &one, &label.into()).is_ok());
}

#[test]
fn a_projection_scores_one_label_and_all() {
    let (layer, weights) = built(|scope| Projection::new(scope, 5, 3, 1.0));
    let (phi, parts) = (numbers(&[4, 5], 7), values(&weights));
    let all = |class: usize, phi: &[f64]| -> f64 {
        let rows = parts["linear.weight"].iter().zip(&parts["embed.weight"][class * 5..]);
        parts["linear.bias"][0] + rows.zip(phi).map(|((w, e), phi)| (w + e) * phi).sum::<f64>()
    };
    let features = phi.value().to_f64().unwrap();
    let expected: Vec<f64> = features.chunks(5).flat_map(|phi| [0, 1, 2].map(|class| all(class, phi))).collect();
    let cx = Context::inference(&weights);
    assert_near(&found(layer.scores(&cx, &phi)), &expected, 1e-5);
    let labels = Tensor::from_slice(&[1u32, 0, 2, 2], [4], &CPU).unwrap();
    let chosen = [expected[1], expected[3], expected[8], expected[11]];
    let scores = layer.score(&cx, &phi, &labels).unwrap();
    assert_eq!(scores.shape()[..], [4]);
    assert_near(&found(Ok(scores)), &chosen, 1e-5);
    assert!(message(layer.scores(&cx, &numbers(&[5], 1))).contains("features [n, width]"));
    assert!(message(layer.scores(&cx, &numbers(&[2, 4], 1))).contains("linear"));
    assert!(message(layer.score(&cx, &numbers(&[3, 5], 1), &labels)).contains("labels [3]"));
    let beyond = Tensor::from_slice(&[1u32, 0, 3, 2], [4], &CPU).unwrap();
    assert!(!message(layer.score(&cx, &phi, &beyond)).is_empty());
}

#[test]
fn noise_and_dropout_are_functions_of_their_place() {
    let ((noise, other, dropped, twice), weights) = built(|scope| {
        scope.parameter("weight", [1], Init::Constant(0.0));
        let noise = |scope: &mut veridical::nn::Scope| GaussianNoise::new(scope, 0.3).unwrap();
        let dropout = |scope: &mut veridical::nn::Scope| Dropout::new(scope, 0.25).unwrap();
        (noise(scope), noise(scope), dropout(scope), dropout(scope))
    });
    let x: Var = Tensor::full(1.0, [64, 100], DType::F32, &CPU).unwrap().into();
    let cx = training(&weights, 4);
    let y = found(noise.forward(&cx, &x));
    let n = y.len() as f64;
    let mean = y.iter().sum::<f64>() / n;
    let deviation = (y.iter().map(|y| (y - mean).powi(2)).sum::<f64>() / n).sqrt();
    // Five standard errors.
    assert!((mean - 1.0).abs() < 5.0 * 0.3 / n.sqrt() && (deviation / 0.3 - 1.0).abs() < 5.0 / (2.0 * n).sqrt());
    assert_eq!(y, found(noise.forward(&training(&weights, 4), &x)));
    assert_ne!(y, found(other.forward(&cx, &x)));
    assert_ne!(y, found(noise.forward(&training(&weights, 5), &x)));
    // A sample alone has the noise that it has among others.
    let alone = found(noise.forward(&cx, &ops::slice(&x, 0, 0..1).unwrap()));
    assert_eq!(alone, y[..100]);
    let masks = [&dropped, &twice].map(|layer| found(layer.forward(&cx, &x)));
    assert_ne!(masks[0], masks[1]);
    let share = masks[0].iter().filter(|&&y| y == 0.0).count() as f64 / n;
    assert!((share - 0.25).abs() < 5.0 * (0.25 * 0.75 / n).sqrt(), "{share}");
    // The gradient of noise is that of the identity.
    let tape = Tape::new();
    let leaf = tape.leaf(x.value().clone());
    let gradient = noise.forward(&cx, &leaf).unwrap().sum_all().unwrap().backward().unwrap().of(&leaf).unwrap();
    assert!(gradient.to_f64().unwrap().iter().all(|&g| g == 1.0));
    let still = Context::inference(&weights);
    assert_eq!(found(noise.forward(&still, &x)), found(Ok(x.clone())));
    assert_eq!(found(dropped.forward(&still, &x)), found(Ok(x)));
    for sigma in [-1.0, f64::NAN, f64::INFINITY] {
        assert!(message(built(|scope| GaussianNoise::new(scope, sigma)).0).contains("sigma must be finite"));
    }
    for p in [1.0, -0.1, f64::NAN] {
        assert!(message(built(|scope| Dropout::new(scope, p)).0).contains("p must be in [0, 1)"));
    }
}
