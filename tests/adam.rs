//! The optimiser kernels against reference values, against each other on all devices, and on bad input.

mod golden_cases;
mod hardware;

use golden_cases::{Case, cases, tensor};
use hardware::devices;
use veridical::ops::adam::{AdamState, AdamStep};
use veridical::ops::random::Draws;
use veridical::ops::{self, adam, gradient_norm};
use veridical::random::{Purpose, RandomKey};
use veridical::{DType, Device, Tensor};

/// The CPU, and whatever runs the kernels here.
fn precisions(device: &Device) -> &'static [DType] {
    if matches!(device, Device::Cpu) { &[DType::F32, DType::F64] } else { &[DType::F32] }
}

/// A case's parameters in one flat tensor, with where each begins and ends.
fn flat(case: &Case, letter: char) -> (Vec<f64>, Vec<(String, std::ops::Range<usize>)>) {
    let (mut data, mut parts) = (Vec::new(), Vec::new());
    for name in case.inputs.iter().filter(|name| name.starts_with(letter)) {
        let part = case.array(&format!("in/{name}")).1;
        parts.push((name.clone(), data.len()..data.len() + part.len()));
        data.extend_from_slice(part);
    }
    (data, parts)
}

#[test]
fn adam_and_adamw_match_the_reference() {
    let mut compared = 0;
    for device in devices() {
        for case in cases("optim").iter().filter(|case| case.op.starts_with("adam")) {
            for &dtype in precisions(&device) {
                let (start, parts) = flat(case, 'p');
                let n = start.len();
                let mut weights = tensor(&start, &[n], dtype, &device);
                let zeros = || Tensor::zeros([n], dtype, &device).unwrap();
                let (mut m, mut v, mut ema) = (zeros(), zeros(), zeros());
                let steps = case.param("steps") as usize;
                let mut got = vec![Vec::new(); parts.len()];
                for t in 0..steps {
                    let gradient: Vec<f64> = (0..parts.len())
                        .flat_map(|i| {
                            let all = case.array(&format!("in/g{i}")).1;
                            let len = all.len() / steps;
                            all[t * len..][..len].to_vec()
                        })
                        .collect();
                    let step = AdamStep {
                        lr: case.param("lr"),
                        beta1: case.param("beta1"),
                        beta2: case.param("beta2"),
                        eps: case.param("eps"),
                        weight_decay: case.params["weight_decay"].as_f64().unwrap_or(0.0),
                        step: t as u64 + 1,
                        ema_beta: 0.0,
                    };
                    let state =
                        AdamState { weights: &mut weights, m: &mut m, v: &mut v, ema: Some(&mut ema), copy: None };
                    adam(&step, state, &tensor(&gradient, &[n], dtype, &device), None).unwrap();
                    let now = weights.to_f64().unwrap();
                    assert_eq!(ema.to_f64().unwrap(), now, "an average without memory is the weights");
                    for (got, (_, part)) in got.iter_mut().zip(&parts) {
                        got.extend_from_slice(&now[part.clone()]);
                    }
                }
                for (got, (name, _)) in got.iter().zip(&parts) {
                    case.compare(&format!("out/{name}"), dtype, got);
                }
                compared += 1;
            }
        }
    }
    assert!(compared >= 20, "{compared} comparisons");
}

#[test]
fn clipping_matches_the_reference() {
    for device in devices() {
        for case in cases("optim").iter().filter(|case| case.op == "clip_global_norm") {
            for &dtype in precisions(&device) {
                let gradients: Vec<Tensor> =
                    case.inputs.iter().map(|name| case.tensor(&format!("in/{name}"), dtype, &device)).collect();
                let all: Vec<&Tensor> = gradients.iter().collect();
                let clip = gradient_norm(&all, case.param("max_norm")).unwrap().to_f64().unwrap();
                case.compare("out/norm", dtype, &clip[..1]);
                for (name, gradient) in case.inputs.iter().zip(&gradients) {
                    let clipped: Vec<f64> = gradient.to_f64().unwrap().iter().map(|g| g * clip[1]).collect();
                    case.compare(&format!("out/c{}", &name[1..]), dtype, &clipped);
                }
            }
        }
    }
}

/// Everything a few steps leave behind, as bits.
fn steps(device: &Device, n: usize, half: bool, offset: usize) -> Vec<u32> {
    let key = RandomKey::new(5, Purpose::Custom);
    // A view at an offset has no aligned address; it is copied on the first write.
    let made = |step: u32, dtype: DType| {
        let draws = Draws::new(key.at_step(step));
        ops::normal([n + offset], dtype, &draws, device).unwrap().narrow(offset, n).unwrap()
    };
    let zeros = || Tensor::zeros([n], DType::F32, device).unwrap();
    let (mut weights, mut m, mut v, mut ema) = (made(0, DType::F32), zeros(), zeros(), zeros());
    let mut copy = Tensor::zeros([n], DType::BF16, device).unwrap();
    for t in 1..4 {
        let gradient = made(t, if half { DType::BF16 } else { DType::F32 });
        let clip = gradient_norm(&[&gradient], 1.0).unwrap();
        let step = AdamStep { lr: 0.01, weight_decay: 0.1, step: t.into(), ema_beta: 0.9, ..Default::default() };
        let state =
            AdamState { weights: &mut weights, m: &mut m, v: &mut v, ema: Some(&mut ema), copy: Some(&mut copy) };
        adam(&step, state, &gradient, Some(&clip)).unwrap();
    }
    let rounded: Vec<f32> = copy.to_vec::<half::bf16>().unwrap().iter().map(|x| x.to_f32()).collect();
    let expected: Vec<f32> =
        weights.to_vec::<f32>().unwrap().iter().map(|&w| half::bf16::from_f32(w).to_f32()).collect();
    assert!(rounded == expected, "the copy is not the rounded weights");
    [weights, m, v, ema].iter().flat_map(|x| x.to_vec::<f32>().unwrap()).map(f32::to_bits).collect()
}

#[test]
fn all_devices_and_threads_take_the_same_step() {
    let devices = devices();
    let one = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap();
    for n in [1, 3, 4, 257, 40_001] {
        for half in [false, true] {
            let want = steps(&devices[0], n, half, 0);
            assert!(one.install(|| steps(&devices[0], n, half, 0)) == want);
            for device in &devices[1..] {
                assert!(steps(device, n, half, 0) == want, "{n} on {device}");
            }
            let want = steps(&devices[0], n, half, 1);
            for device in &devices[1..] {
                assert!(steps(device, n, half, 1) == want, "{n} at an offset on {device}");
            }
        }
    }
}

#[test]
fn a_step_with_a_gradient_that_is_not_finite_changes_nothing() {
    for device in devices() {
        for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            let mut gradient = vec![1.0f32; 1000];
            gradient[777] = bad;
            let gradient = Tensor::from_slice(&gradient, [1000], &device).unwrap();
            let good = Tensor::full(1.0, [3], DType::F32, &device).unwrap();
            let clip = gradient_norm(&[&good, &gradient], 1.0).unwrap();
            let report = clip.to_vec::<f32>().unwrap();
            assert!(!report[0].is_finite() && report[1].is_nan(), "{report:?}");
            let full = |x: f64| Tensor::full(x, [1000], DType::F32, &device).unwrap();
            let (mut w, mut m, mut v, mut ema) = (full(1.0), full(2.0), full(3.0), full(4.0));
            let state = AdamState { weights: &mut w, m: &mut m, v: &mut v, ema: Some(&mut ema), copy: None };
            adam(&AdamStep::default(), state, &gradient, Some(&clip)).unwrap();
            for (tensor, value) in [(w, 1.0), (m, 2.0), (v, 3.0), (ema, 4.0)] {
                assert!(tensor.to_vec::<f32>().unwrap().iter().all(|&x| x == value));
            }
        }
    }
}

#[test]
fn norms_are_right_at_any_length_and_size() {
    for device in devices() {
        for (n, value) in [(1, 3.0), (5, -2.0), (100_003, 0.5), (64, 1e25), (7, 1e-30)] {
            let gradient = Tensor::full(value, [n], DType::F32, &device).unwrap();
            let value = f64::from(value as f32);
            let report = gradient_norm(&[&gradient], f64::INFINITY).unwrap().to_f64().unwrap();
            let want = value.abs() * (n as f64).sqrt();
            assert!((report[0] / want - 1.0).abs() < 1e-7, "{n} x {value}: {report:?}, not {want}");
            assert_eq!(report[1], 1.0);
        }
        let none = Tensor::zeros([0], DType::F32, &device).unwrap();
        assert_eq!(gradient_norm(&[&none], 1.0).unwrap().to_f64().unwrap(), [0.0, 1.0]);
    }
}

#[test]
fn bad_arguments_are_errors() {
    for device in devices() {
        let zeros = |n: usize, dtype: DType| Tensor::zeros([n], dtype, &device).unwrap();
        let attempt = |step: AdamStep, lengths: [usize; 4], gradient: DType, clip: Option<usize>| {
            let [mut w, mut m, mut v] = [lengths[0], lengths[1], lengths[2]].map(|n| zeros(n, DType::F32));
            let clip = clip.map(|n| zeros(n, DType::F32));
            let state = AdamState { weights: &mut w, m: &mut m, v: &mut v, ema: None, copy: None };
            adam(&step, state, &zeros(lengths[3], gradient), clip.as_ref())
        };
        let fine = AdamStep::default();
        assert!(attempt(fine, [4; 4], DType::F32, Some(2)).is_ok());
        assert!(attempt(fine, [0; 4], DType::F32, None).is_ok());
        assert!(attempt(fine, [4, 4, 4, 3], DType::F32, None).is_err());
        assert!(attempt(fine, [4, 3, 4, 4], DType::F32, None).is_err());
        assert!(attempt(fine, [4; 4], DType::U32, None).is_err());
        assert!(attempt(fine, [4; 4], DType::F32, Some(1)).is_err());
        for bad in [
            AdamStep { beta1: 1.0, ..fine },
            AdamStep { beta2: -0.1, ..fine },
            AdamStep { eps: f64::NAN, ..fine },
            AdamStep { lr: f64::INFINITY, ..fine },
            AdamStep { step: 0, ..fine },
            AdamStep { ema_beta: 1.5, ..fine },
            AdamStep { weight_decay: -1.0, ..fine },
        ] {
            assert!(attempt(bad, [4; 4], DType::F32, None).is_err(), "{bad:?}");
        }
        assert!(gradient_norm(&[], 1.0).is_err());
        assert!(gradient_norm(&[&zeros(1, DType::F32)], 0.0).is_err());
        assert!(gradient_norm(&[&zeros(1, DType::F32), &zeros(1, DType::BF16)], 1.0).is_err());
    }
}
