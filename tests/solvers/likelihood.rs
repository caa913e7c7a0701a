//! Likelihoods against closed forms.

use std::f64::consts::PI;

use veridical::diffusion::likelihood::{DenoiseWithGradient, Integrator, Likelihood, Trace, bits_per_dim, dequantize};
use veridical::diffusion::solvers::combine;
use veridical::diffusion::{Conditioned, Model, ModelConfig, one_hot};
use veridical::nn::MlpConfig;
use veridical::ops::random::{Draws, SampleIds};
use veridical::random::{Purpose, RandomKey};
use veridical::{DType, Result, Tensor, ops};

use super::problem::{CPU, Mixture, normals, order, tensor};

const IDS: (u64, &SampleIds) = (3, &SampleIds::From(0));

/// The exact denoiser `C (C + sigma^2)^-1 x` of data N(0, C) in the plane, and its Jacobian, which is symmetric.
fn correlated(c: [[f64; 2]; 2]) -> impl FnMut(&Tensor, f64, &[Tensor]) -> Result<(Tensor, Vec<Tensor>)> {
    move |x, sigma, cotangents| {
        let v = sigma * sigma;
        let (a, b, d) = (c[0][0] + v, c[0][1], c[1][1] + v);
        let det = a * d - b * b;
        let inverse = [[d / det, -b / det], [-b / det, a / det]];
        // C (C + v)^-1 = 1 - v (C + v)^-1
        let j = [[1.0 - v * inverse[0][0], -v * inverse[0][1]], [-v * inverse[1][0], 1.0 - v * inverse[1][1]]];
        let apply = |x: &Tensor| -> Result<Tensor> {
            let rows = |p: &[f64]| [j[0][0] * p[0] + j[0][1] * p[1], j[1][0] * p[0] + j[1][1] * p[1]];
            tensor(&x.to_f64()?.chunks(2).flat_map(rows).collect::<Vec<_>>(), x)
        };
        Ok((apply(x)?, cotangents.iter().map(apply).collect::<Result<_>>()?))
    }
}

const C: [[f64; 2]; 2] = [[0.4, 0.15], [0.15, 0.2]];

fn points() -> Tensor {
    normals(10, 5).reshape([5, 2]).unwrap()
}

/// ln N(x; 0, C + v) in the plane.
fn exact(x: &[f64], v: f64) -> f64 {
    let (a, b, d) = (C[0][0] + v, C[0][1], C[1][1] + v);
    let det = a * d - b * b;
    let square = (d * x[0] * x[0] - 2.0 * b * x[0] * x[1] + a * x[1] * x[1]) / det;
    -(2.0 * PI).ln() - 0.5 * det.ln() - 0.5 * square
}

#[test]
fn exact_on_isotropic_gaussian_data() {
    // N(0, 0.5^2) in the plane: the end of the way is exactly the Gaussian that the likelihood assumes, and v^T J v is
    // the trace.
    let mut denoise = correlated([[0.25, 0.0], [0.0, 0.25]]);
    for trace in [Trace::Exact, Trace::Hutchinson { probes: 1 }] {
        let integrator = Integrator::Adaptive { tolerance: 1e-9, max_steps: 10_000 };
        let likelihood = Likelihood { trace, integrator, ..Default::default() };
        let found = likelihood.log_density(&mut denoise, &points(), IDS).unwrap();
        let v = 0.25 + 0.002f64.powi(2);
        for (x, nats) in points().to_f64().unwrap().chunks(2).zip(&found.nats) {
            let expected = -(2.0 * PI * v).ln() - (x[0] * x[0] + x[1] * x[1]) / (2.0 * v);
            approx::assert_abs_diff_eq!(*nats, expected, epsilon = 1e-7);
        }
        assert!(found.nfe < 2000, "{} calls", found.nfe);
    }
}

#[test]
fn probes_are_fed_by_the_lot() {
    // N(0, 0.5^2) in 150 dimensions: three lots of unit vectors, or of sign vectors.
    let (dim, v) = (150, 0.25 + 4e-6f64);
    let x = normals(2 * dim, 3).reshape([2, dim]).unwrap();
    for trace in [Trace::Exact, Trace::Hutchinson { probes: 150 }] {
        let mut largest = 0;
        let mut denoise = |x: &Tensor, sigma: f64, probes: &[Tensor]| -> Result<(Tensor, Vec<Tensor>)> {
            largest = largest.max(probes.len());
            let keep = |x: &Tensor| combine(&[(0.25 / (0.25 + sigma * sigma), x)]);
            Ok((keep(x)?, probes.iter().map(keep).collect::<Result<_>>()?))
        };
        let likelihood = Likelihood { trace, integrator: Integrator::Fixed { steps: 100 }, ..Default::default() };
        let found = likelihood.log_density(&mut denoise, &x, IDS).unwrap();
        assert_eq!((largest, found.nfe), (64, 3 * 4 * 100));
        for (x, nats) in x.to_f64().unwrap().chunks(dim).zip(&found.nats) {
            let expected = -0.5 * (dim as f64 * (2.0 * PI * v).ln() + x.iter().map(|x| x * x).sum::<f64>() / v);
            approx::assert_relative_eq!(*nats, expected, max_relative = 1e-5);
        }
    }
}

#[test]
fn exact_on_correlated_gaussian_data() {
    let integrator = Integrator::Adaptive { tolerance: 1e-8, max_steps: 10_000 };
    let likelihood = Likelihood { trace: Trace::Exact, sigma_max: 200.0, integrator, ..Default::default() };
    let found = likelihood.log_density(&mut correlated(C), &points(), IDS).unwrap();
    for (x, nats) in points().to_f64().unwrap().chunks(2).zip(&found.nats) {
        // At sigma 200 the Gaussian that is assumed differs by 1e-5.
        approx::assert_abs_diff_eq!(*nats, exact(x, 4e-6), epsilon = 1e-4);
    }
}

#[test]
fn random_traces_are_unbiased() {
    let with = |probes| Likelihood { trace: Trace::Hutchinson { probes }, ..Default::default() };
    let run = |probes| with(probes).log_density(&mut correlated(C), &points(), IDS).unwrap().nats;
    let x = points().to_f64().unwrap();
    let (one, many) = (run(1), run(4000));
    // A single sign vector in the plane sees the off-diagonal element with either sign.
    assert!(x.chunks(2).zip(&one).all(|(x, nats)| (nats - exact(x, 4e-6)).abs() > 0.05), "{one:?}");
    for (x, nats) in x.chunks(2).zip(&many) {
        approx::assert_abs_diff_eq!(*nats, exact(x, 4e-6), epsilon = 0.03);
    }
    assert_eq!(one, run(1));
}

#[test]
fn fixed_steps_have_order_four() {
    let error = |steps| {
        let integrator = Integrator::Fixed { steps };
        let likelihood = Likelihood { trace: Trace::Exact, integrator, ..Default::default() };
        let mut denoise = correlated([[0.25, 0.0], [0.0, 0.25]]);
        let found = likelihood.log_density(&mut denoise, &points(), IDS).unwrap();
        assert_eq!(found.nfe, 4 * steps);
        let v = 0.25 + 4e-6;
        let exact = |x: &[f64]| -(2.0 * PI * v).ln() - (x[0] * x[0] + x[1] * x[1]) / (2.0 * v);
        points()
            .to_f64()
            .unwrap()
            .chunks(2)
            .zip(&found.nats)
            .map(|(x, nats)| (nats - exact(x)).abs())
            .fold(0.0, f64::max)
    };
    let measured = order(&[20, 40, 80].map(|steps| (steps, error(steps))));
    assert!((3.7..4.5).contains(&measured), "order {measured}");
}

#[test]
fn a_mixtures_density_is_found() {
    let data = Mixture::two_modes();
    let mut denoise = |x: &Tensor, sigma: f64, v: &[Tensor]| -> Result<(Tensor, Vec<Tensor>)> {
        let slope = |x: f64| {
            let h = 1e-5 * sigma.max(0.01);
            (data.denoised(&[x + h], sigma)[0] - data.denoised(&[x - h], sigma)[0]) / (2.0 * h)
        };
        let slopes: Vec<f64> = x.to_f64()?.into_iter().map(slope).collect();
        let product = |v: &Tensor| tensor(&v.to_f64()?.iter().zip(&slopes).map(|(v, s)| v * s).collect::<Vec<_>>(), v);
        Ok((data.denoise(x, sigma)?, v.iter().map(product).collect::<Result<_>>()?))
    };
    let x = Tensor::from_slice(&[-0.9, -0.6, 0.0, 0.5, 0.8], [5, 1], &CPU).unwrap();
    let likelihood = Likelihood { sigma_data: 0.6, ..Default::default() };
    let found = likelihood.log_density(&mut denoise, &x, IDS).unwrap();
    for (x, nats) in x.to_f64().unwrap().iter().zip(&found.nats) {
        approx::assert_abs_diff_eq!(*nats, data.log_density(&[*x], 0.002), epsilon = 2e-3);
    }
}

#[test]
fn a_models_products_are_its_jacobians() {
    let config = ModelConfig::new(MlpConfig { label_dim: 3, ..MlpConfig::new(2) });
    let model = Model::new(&config, 4, &CPU).unwrap();
    // Fresh networks end in a layer of nearly zero; larger weights give the Jacobian something to say.
    let louder = ops::scale(model.weights.flat(), 3.0).unwrap().into_value();
    let model = model.with_flat_weights(louder).unwrap();
    let labels = one_hot(&model, &[2, 0]).unwrap();
    let mut denoise = Conditioned::new(&model, Some(&labels), DType::F32).unwrap();
    let draws = Draws::new(RandomKey::new(1, Purpose::Custom));
    let x = ops::normal([2, 2], DType::F64, &draws, &CPU).unwrap();
    let units = [[1.0, 0.0, 1.0, 0.0], [0.0, 1.0, 0.0, 1.0]].map(|v| Tensor::from_slice(&v, [2, 2], &CPU).unwrap());
    let (denoised, products) = denoise.with_products(&x, 0.4, &units).unwrap();
    assert_eq!(denoised.to_f64().unwrap(), model.denoise(&x, 0.4, Some(&labels)).unwrap().to_f64().unwrap());
    let h = 1e-3;
    for input in 0..2 {
        let moved = |h: f64| {
            let values: Vec<f64> =
                x.to_f64().unwrap().iter().enumerate().map(|(i, x)| if i % 2 == input { x + h } else { *x }).collect();
            model.denoise(&tensor(&values, &x).unwrap(), 0.4, Some(&labels)).unwrap().to_f64().unwrap()
        };
        let (up, down) = (moved(h), moved(-h));
        for sample in 0..2 {
            for output in 0..2 {
                let slope = (up[2 * sample + output] - down[2 * sample + output]) / (2.0 * h);
                let product = products[output].to_f64().unwrap()[2 * sample + input];
                approx::assert_abs_diff_eq!(product, slope, epsilon = 2e-3);
            }
        }
    }
}

#[test]
fn bits_count_levels() {
    // Noise without structure takes 8 bits an element: the density is 1/2 on [-1, 1].
    approx::assert_relative_eq!(bits_per_dim(-12.0 * 2f64.ln(), 12, Some(256)), 8.0, max_relative = 1e-12);
    approx::assert_relative_eq!(bits_per_dim(-2f64.ln(), 1, None), 1.0, max_relative = 1e-12);
    let levels: Vec<f32> = (0..256).map(|k| k as f32 / 127.5 - 1.0).collect();
    let x = Tensor::from_slice(&levels, [4, 64], &CPU).unwrap();
    let spread = dequantize(&x, 256, (1, 0)).unwrap().to_vec::<f32>().unwrap();
    for (k, x) in spread.iter().enumerate() {
        assert!(*x >= k as f32 / 128.0 - 1.0 - 1e-6 && *x <= (k + 1) as f32 / 128.0 - 1.0 + 1e-6, "{k}: {x}");
    }
    let mean: f32 = spread.iter().enumerate().map(|(k, x)| (x + 1.0) * 128.0 - k as f32).sum::<f32>() / 256.0;
    assert!((mean - 0.5).abs() < 0.06, "{mean}");
    let part = dequantize(&x.narrow(2, 2).unwrap(), 256, (1, 2)).unwrap().to_vec::<f32>().unwrap();
    assert_eq!(part, spread[128..]);
}

#[test]
fn settings_that_make_no_sense_are_errors() {
    let says = |likelihood: Likelihood, x: &Tensor, text: &str| {
        let error = likelihood.log_density(&mut correlated(C), x, IDS).unwrap_err().to_string();
        assert!(error.contains(text), "{error}");
    };
    let fine = Likelihood::default();
    says(Likelihood { sigma_min: 0.0, ..fine }, &points(), "sigma_min");
    says(Likelihood { sigma_max: f64::NAN, ..fine }, &points(), "sigma_min");
    says(Likelihood { trace: Trace::Hutchinson { probes: 0 }, ..fine }, &points(), "vectors");
    says(Likelihood { integrator: Integrator::Fixed { steps: 0 }, ..fine }, &points(), "steps");
    says(Likelihood { integrator: Integrator::Adaptive { tolerance: 0.0, max_steps: 9 }, ..fine }, &points(), "atol");
    says(fine, &Tensor::zeros([0, 2], DType::F64, &CPU).unwrap(), "at least one");
    says(fine, &Tensor::full(f64::NAN, [1, 2], DType::F64, &CPU).unwrap(), "not");
    assert!(dequantize(&Tensor::zeros([1, 2], DType::F32, &CPU).unwrap(), 1, (0, 0)).is_err());
}
