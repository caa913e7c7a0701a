//! What the op table does not ask of random operations: equal bits on all devices, batch splits, right frequencies, bad
//! input, golden values.

mod golden_cases;
mod hardware;

use golden_cases::cases;
use hardware::devices;
use veridical::autograd::Backward;
use veridical::ops::random::{Distribution, Draws};
use veridical::ops::{self, categorical::NO_LABEL, gumbel_softmax::GumbelNoise};
use veridical::random::{Purpose, RandomKey};
use veridical::{DType, Device, Error, Tape, Tensor, Var};

fn key() -> RandomKey {
    RandomKey::new(99, Purpose::Custom).at_step(3)
}

/// The CPU, and whatever runs the kernels here.
fn logits(data: &[f32], shape: [usize; 2], device: &Device) -> Var {
    Var::constant(Tensor::from_slice(data, shape, device).unwrap())
}

#[test]
fn all_devices_make_the_same_bits() {
    let on = |device: &Device| {
        let mut bits = Vec::new();
        let draws = Draws::from_sample(key(), 1000);
        for kind in [Distribution::Uniform, Distribution::Normal, Distribution::Exponential, Distribution::Gumbel] {
            for shape in [&[5, 1001][..], &[3, 64]] {
                let x = ops::random(kind, shape, DType::F32, &draws, device).unwrap();
                bits.extend(x.to_vec::<f32>().unwrap().into_iter().map(f32::to_bits));
                let x = ops::random(kind, shape, DType::BF16, &draws, device).unwrap();
                bits.extend(x.to_vec::<half::bf16>().unwrap().into_iter().map(|x| u32::from(x.to_bits())));
            }
        }
        let words = ops::random(Distribution::Words, [5, 1001], DType::U32, &draws, device).unwrap();
        bits.extend(words.to_vec::<u32>().unwrap());
        let x = Var::constant(ops::normal([3, 70], DType::F32, &draws, device).unwrap());
        let d = Var::constant(ops::uniform([3, 70], DType::F32, &draws, device).unwrap());
        let y = ops::solver_update(&x, Some((0.3.into(), &d)), Some((1.7.into(), &draws))).unwrap();
        bits.extend(y.value().to_vec::<f32>().unwrap().into_iter().map(f32::to_bits));
        let y = ops::dropout(&x, 0.4, &draws).unwrap();
        bits.extend(y.value().to_vec::<f32>().unwrap().into_iter().map(f32::to_bits));
        bits.extend(ops::categorical(&x, &draws).unwrap().to_vec::<u32>().unwrap());
        bits
    };
    let devices = devices();
    let want = on(&devices[0]);
    for device in &devices[1..] {
        assert!(on(device) == want, "{device}");
    }
}

#[test]
fn batches_split_anywhere() {
    for device in devices() {
        let whole = ops::normal([7, 13], DType::F32, &Draws::new(key()), &device).unwrap().to_vec::<f32>().unwrap();
        let tail = ops::normal([3, 13], DType::F32, &Draws::from_sample(key(), 4), &device).unwrap();
        assert_eq!(tail.to_vec::<f32>().unwrap(), whole[4 * 13..]);
        let ids = Tensor::from_slice(&[6u32, 0], [2], &device).unwrap();
        let picked = ops::normal([2, 13], DType::F32, &Draws::of_samples(key(), ids), &device).unwrap();
        assert_eq!(picked.to_vec::<f32>().unwrap(), [&whole[6 * 13..], &whole[..13]].concat());
    }
}

#[test]
fn dropout_drops_the_same_in_both_directions() {
    for device in devices() {
        let tape = Tape::new();
        let x = tape.leaf(Tensor::full(1.0, [16, 500], DType::F32, &device).unwrap());
        let y = ops::dropout(&x, 0.25, &Draws::new(key())).unwrap();
        let dy = Tensor::full(1.0, [16, 500], DType::F32, &device).unwrap();
        let dx = y.backward_with(Backward { cotangent: Some(dy), ..Default::default() }).unwrap().take(&x).unwrap();
        let y = y.value().to_vec::<f32>().unwrap();
        assert_eq!(dx.to_vec::<f32>().unwrap(), y);
        let dropped = y.iter().filter(|&&y| y == 0.0).count() as f64;
        assert!((dropped - 2000.0).abs() < 5.0 * (8000.0f64 * 0.25 * 0.75).sqrt(), "{dropped} of 8000");
        assert!(y.iter().all(|&y| y == 0.0 || y == 1.0 / 0.75));
    }
}

#[test]
fn categorical_frequencies_are_softmax() {
    let p = [0.5f64, 0.25, 0.125, 0.1, 0.025];
    let n = 200_000;
    // Rows that the CPU works on side by side, and one by one.
    for masked in [1, 40] {
        let k = 5 + masked;
        let masks = std::iter::repeat_n(f32::NEG_INFINITY, masked);
        let row: Vec<f32> = p.iter().map(|p| p.ln() as f32 + 3.0).chain(masks).collect();
        let x = logits(&row.repeat(n), [n, k], &Device::Cpu);
        let draws = Draws::new(key());
        let labels = ops::categorical(&x, &draws).unwrap().to_vec::<u32>().unwrap();
        let one_hot = ops::gumbel_softmax(&x, 0.7, true, &draws).unwrap().value().to_vec::<f32>().unwrap();
        let relaxed = ops::gumbel_softmax(&x, 0.7, false, &draws).unwrap().value().to_vec::<f32>().unwrap();
        let averaged = ops::gumbel_rao(&x, 0.7, 1, &draws).unwrap().value().to_vec::<f32>().unwrap();
        assert_eq!(averaged, one_hot);
        let mut counts = vec![0u32; k];
        for (i, &label) in labels.iter().enumerate() {
            counts[label as usize] += 1;
            let (soft, hard) = (&relaxed[k * i..][..k], &one_hot[k * i..][..k]);
            assert!((0..k).all(|j| hard[j] == f32::from(u8::from(j == label as usize))), "one-hot elsewhere");
            assert!(soft.iter().all(|&s| s <= soft[label as usize]), "the relaxed sample peaks elsewhere");
            assert!(soft[5..].iter().all(|&s| s == 0.0), "a masked label has a share");
        }
        assert!(counts[5..].iter().all(|&count| count == 0), "a masked label was drawn");
        let share = p.iter().zip(counts);
        let chi2: f64 = share.map(|(p, c)| (f64::from(c) - p * n as f64).powi(2) / (p * n as f64)).sum();
        assert!(chi2 < 18.5, "chi-square {chi2} with 4 degrees of freedom; 18.5 has p = 1e-3");
    }
}

#[test]
fn rows_without_a_distribution_are_found_on_every_device() {
    let (inf, nan) = (f32::INFINITY, f32::NAN);
    for device in devices() {
        for bad in [[-inf, -inf, -inf], [0.0, nan, 1.0], [nan, -inf, -inf], [inf, 0.0, 0.0]] {
            let mut rows = [0.0; 15];
            rows[9..12].copy_from_slice(&bad);
            let x = logits(&rows, [5, 3], &device);
            let error = ops::categorical(&x, &Draws::new(key())).unwrap_err();
            assert!(matches!(error, Error::NonFinite { .. }) && error.to_string().contains("row 3"), "{error}");
            let labels = ops::categorical_unchecked(&x, &Draws::new(key())).unwrap().to_vec::<u32>().unwrap();
            let missing: Vec<usize> = (0..5).filter(|&i| labels[i] == NO_LABEL).collect();
            assert_eq!(missing, [3]);
            for hard in [false, true] {
                match ops::gumbel_softmax(&x, 1.0, hard, &Draws::new(key())) {
                    Ok(y) => {
                        let y = y.value().to_vec::<f32>().unwrap();
                        assert!(y[9..12].iter().all(|y| y.is_nan()) && y[..9].iter().all(|y| y.is_finite()));
                    }
                    Err(error) => assert!(matches!(device, Device::Cpu) && error.to_string().contains("row 3")),
                }
            }
            match ops::gumbel_rao(&x, 1.0, 2, &Draws::new(key())) {
                Ok(y) => {
                    let y = y.value().to_vec::<f32>().unwrap();
                    assert!(y[9..12].iter().all(|y| y.is_nan()) && y[..9].iter().all(|y| y.is_finite()));
                }
                Err(error) => assert!(matches!(device, Device::Cpu) && error.to_string().contains("row 3")),
            }
        }
    }
}

#[test]
fn gumbel_softmax_matches_the_reference() {
    let mut compared = 0;
    for device in devices() {
        for case in cases("gumbel_softmax") {
            for dtype in [DType::F64, DType::F32, DType::BF16] {
                if case.tolerance(dtype).is_none() || (dtype == DType::F64 && !matches!(device, Device::Cpu)) {
                    continue;
                }
                let noise_dtype = if dtype == DType::F64 { DType::F64 } else { DType::F32 };
                let noise = case.tensor("in/gumbel", noise_dtype, &device);
                let tape = Tape::new();
                let x = tape.leaf(case.tensor("in/logits", dtype, &device));
                let hard = case.params["hard"].as_bool().unwrap();
                let y = ops::gumbel_softmax(&x, case.param("tau"), hard, GumbelNoise::Given(&noise)).unwrap();
                case.compare("out/y", dtype, &y.value().to_f64().unwrap());
                let dy = case.tensor("cot/y", dtype, &device);
                let gradients = y.backward_with(Backward { cotangent: Some(dy), ..Default::default() }).unwrap();
                case.compare("grad/logits", dtype, &gradients.get(&x).unwrap().to_f64().unwrap());
                compared += 1;
            }
        }
    }
    assert!(compared >= 60, "{compared} comparisons");
}

#[test]
fn the_smallest_tau_does_not_overflow() {
    for device in devices() {
        let x = logits(&[80.0, -80.0, 1.0, 2.0], [1, 4], &device);
        let y = ops::gumbel_softmax(&x, 1.2e-38, false, &Draws::new(key())).unwrap();
        assert_eq!(y.value().to_vec::<f32>().unwrap(), [1.0, 0.0, 0.0, 0.0]);
    }
}

#[test]
fn bad_arguments_are_errors() {
    for device in devices() {
        let x = Var::constant(Tensor::zeros([4, 3], DType::F32, &device).unwrap());
        let draws = Draws::new(key());
        for p in [-0.1, 1.0, 1.5, f64::NAN, 1.0 - 1e-12] {
            assert!(ops::dropout(&x, p, &draws).is_err(), "p = {p}");
        }
        for tau in [0.0, -1.0, f64::NAN, f64::INFINITY, 1e-60, 1e60] {
            assert!(ops::gumbel_softmax(&x, tau, false, &draws).is_err(), "tau = {tau}");
            assert!(ops::gumbel_rao(&x, tau, 1, &draws).is_err(), "tau = {tau}");
        }
        for samples in [0, ops::gumbel_rao::MOST_SAMPLES + 1] {
            assert!(ops::gumbel_rao(&x, 1.0, samples, &draws).is_err(), "{samples} samples");
        }
        let few = Draws::of_samples(key(), Tensor::from_slice(&[1u32, 2], [2], &device).unwrap());
        assert!(ops::dropout(&x, 0.5, &few).is_err());
        let floats = Draws::of_samples(key(), Tensor::zeros([4], DType::F32, &device).unwrap());
        assert!(ops::normal([4, 3], DType::F32, &floats, &device).is_err());
        assert!(ops::normal([4, 3], DType::U32, &draws, &device).is_err());
        assert!(ops::random(Distribution::Words, [4], DType::F32, &draws, &device).is_err());
        assert!(ops::normal([4], DType::F32, &Draws::new(key().at_site(1 << 24)), &device).is_err());
        let other = Var::constant(Tensor::zeros([4, 2], DType::F32, &device).unwrap());
        assert!(ops::solver_update(&x, Some((1.0.into(), &other)), None).is_err());
        let coefficients = Tensor::zeros([3], DType::F32, &device).unwrap();
        assert!(ops::solver_update(&x, Some((coefficients.into(), &x)), None).is_err());
        let empty = Var::constant(Tensor::zeros([4, 0], DType::F32, &device).unwrap());
        assert!(ops::categorical(&empty, &draws).is_err());
        let leaf = Tape::new().leaf(Tensor::zeros([4, 3], DType::F32, &device).unwrap());
        assert!(matches!(ops::categorical(&leaf, &draws), Err(Error::NoGradient { .. })));
    }
}

#[test]
fn multinomial_counts_are_those_of_their_weights() {
    for device in devices() {
        let draws = Draws::new(key());
        let counts = |weights: Tensor, n: u32| ops::multinomial(weights, n, &draws);
        let tensor = |values: &[f32]| Tensor::from_slice(values, [1, values.len()], &device).unwrap();
        // A factor changes nothing if it is a power of two, down to the smallest numbers; -0 is 0, and outcomes without
        // weight never come.
        let weights = [1.0f32, 0.0, 3.0, -0.0, 4.0];
        let expected = counts(tensor(&weights), 10_001).unwrap().to_vec::<u32>().unwrap();
        assert!(expected.iter().sum::<u32>() == 10_001 && expected[1] == 0 && expected[3] == 0);
        for exponent in [-148, -126, -1, 90, 125] {
            let scaled = weights.map(|w| (f64::from(w) * 2f64.powi(exponent)) as f32);
            assert_eq!(counts(tensor(&scaled), 10_001).unwrap().to_vec::<u32>().unwrap(), expected, "2^{exponent}");
        }
        let whole = Tensor::from_slice(&weights.map(|w| w as u32), [1, 5], &device).unwrap();
        assert_eq!(counts(whole, 10_001).unwrap().to_vec::<u32>().unwrap(), expected, "whole numbers");
        // Weights far below the largest count as nothing.
        assert_eq!(counts(tensor(&[1e30, 1e-30]), 50).unwrap().to_vec::<u32>().unwrap(), [50, 0]);
        // 4 standard deviations of a binomial count.
        assert!((f64::from(expected[4]) - 5000.5).abs() < 4.0 * 2500f64.sqrt());

        for bad in [[0.0, 0.0], [1.0, -1.0], [1.0, f32::NAN], [f32::INFINITY, 1.0]] {
            let rows = Tensor::from_slice(&[[1.0, 1.0], bad].concat(), [2, 2], &device).unwrap();
            let error = counts(rows, 5).unwrap_err().to_string();
            assert!(error.contains("row 1"), "{bad:?}: {error}");
        }
        assert!(counts(Tensor::zeros([2, 0], DType::F32, &device).unwrap(), 5).is_err());
        let leaf = Tape::new().leaf(tensor(&[1.0]));
        assert!(ops::multinomial(&leaf, 5, &draws).is_err());
    }
}
