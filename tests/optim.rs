//! Optimisers and averages against reference values (`tests/golden/optim.safetensors`, made by PyTorch in f64), on all
//! devices.

mod golden_cases;
mod hardware;

use golden_cases::{Case, cases, tensor};
use hardware::devices;
use veridical::autograd::Tape;
use veridical::nn::{Context, Init, LayerInit, Layout, Linear, Module, Weights};
use veridical::ops::random::Draws;
use veridical::ops::{self, average, flatten};
use veridical::optim::*;
use veridical::random::{Purpose, RandomKey};
use veridical::train::{TrainOptions, Trainer, TrainerState};
use veridical::{DType, Device, Tensor};

/// The CPU, and whatever runs the kernels here.
fn precisions(device: &Device) -> &'static [DType] {
    if matches!(device, Device::Cpu) { &[DType::F32, DType::F64] } else { &[DType::F32] }
}

fn config(case: &Case) -> Option<OptimizerConfig> {
    let number = |name: &str| case.param(name);
    Some(match case.op.as_str() {
        "adam" | "adamw" => OptimizerConfig::Adam {
            lr: number("lr"),
            beta1: number("beta1"),
            beta2: number("beta2"),
            eps: number("eps"),
            weight_decay: case.params["weight_decay"].as_f64().unwrap_or(0.0),
        },
        "sgd" => OptimizerConfig::Sgd {
            lr: number("lr"),
            momentum: number("momentum"),
            nesterov: case.params["nesterov"].as_bool().unwrap(),
            weight_decay: number("weight_decay"),
        },
        "rmsprop" => OptimizerConfig::RmsProp {
            lr: number("lr"),
            alpha: number("alpha"),
            eps: number("eps"),
            momentum: number("momentum"),
        },
        _ => return None,
    })
}

#[test]
fn optimisers_match_the_reference() {
    let mut compared = 0;
    for device in devices() {
        for case in &cases("optim") {
            let Some(config) = config(case) else { continue };
            for &dtype in precisions(&device) {
                run(case, config, dtype, &device);
                compared += 1;
            }
        }
    }
    assert!(compared >= 44, "{compared} comparisons");
}

/// All parameters of a case in one flat buffer, gradients gathered by `flatten`.
fn run(case: &Case, config: OptimizerConfig, dtype: DType, device: &Device) {
    let names: Vec<&String> = case.inputs.iter().filter(|name| name.starts_with('p')).collect();
    let parameters: Vec<Tensor> = names.iter().map(|name| case.tensor(&format!("in/{name}"), dtype, device)).collect();
    let mut offsets = vec![0];
    parameters.iter().for_each(|p| offsets.push(offsets[offsets.len() - 1] + p.len()));
    let n = offsets[parameters.len()];
    let mut weights = Tensor::zeros([n], dtype, device).unwrap();
    let parts: Vec<(usize, &Tensor)> = offsets.iter().copied().zip(&parameters).collect();
    flatten(&mut weights, &parts, false).unwrap();
    let mut optimizer = Optimizer::new(config, &weights).unwrap();
    let steps = case.param("steps") as usize;
    let mut got = vec![Vec::new(); parameters.len()];
    for t in 0..steps {
        let gradients: Vec<Tensor> = (0..parameters.len())
            .map(|i| {
                let all = case.array(&format!("in/g{i}")).1;
                let len = all.len() / steps;
                tensor(&all[t * len..][..len], &[len], dtype, device)
            })
            .collect();
        let parts: Vec<(usize, &Tensor)> = offsets.iter().copied().zip(&gradients).collect();
        let mut gradient = Tensor::zeros([n], dtype, device).unwrap();
        flatten(&mut gradient, &parts, false).unwrap();
        optimizer.step(&mut weights, &gradient, StepOptions::default()).unwrap();
        let now = weights.to_f64().unwrap();
        for (i, got) in got.iter_mut().enumerate() {
            got.extend_from_slice(&now[offsets[i]..offsets[i + 1]]);
        }
    }
    assert_eq!(optimizer.steps(), steps as u64);
    for (got, name) in got.iter().zip(names) {
        case.compare(&format!("out/{name}"), dtype, got);
    }
}

#[test]
fn averages_match_the_reference() {
    let mut compared = 0;
    for device in devices() {
        for case in &cases("optim") {
            let beta: Box<dyn Fn(u64) -> f64> = match case.op.as_str() {
                "ema_half_life" => {
                    let rule = HalfLife { images: case.param("half_life"), ramp: case.params["rampup"].as_f64() };
                    Box::new(move |seen| rule.beta(seen, case.param("batch") as u64))
                }
                "ema_power" => {
                    let rule = PowerFunction::new(case.param("std")).unwrap();
                    Box::new(move |seen| rule.beta(seen, case.param("batch") as u64))
                }
                _ => continue,
            };
            for &dtype in precisions(&device) {
                let (shape, values) = case.array("in/values");
                let mut ema = case.tensor("in/initial", dtype, &device);
                let (mut emas, mut betas) = (Vec::new(), Vec::new());
                for (i, weights) in values.chunks(shape[1]).enumerate() {
                    let seen = case.param("start") as u64 + i as u64 * case.param("batch") as u64;
                    betas.push(beta(seen));
                    average(&mut ema, &tensor(weights, &shape[1..], dtype, &device), beta(seen)).unwrap();
                    emas.extend(ema.to_f64().unwrap());
                }
                case.compare("out/beta", DType::F64, &betas);
                case.compare("out/ema", dtype, &emas);
                compared += 1;
            }
        }
    }
    assert!(compared >= 12, "{compared} comparisons");
}

#[test]
fn post_hoc_averages_match_the_reference() {
    for case in &cases("optim") {
        if case.op == "ema_power_gamma" {
            let gammas: Vec<f64> =
                case.array("in/std").1.iter().map(|&std| PowerFunction::new(std).unwrap().gamma()).collect();
            case.compare("out/gamma", DType::F64, &gammas);
        }
        if case.op == "ema_post_hoc" {
            let (shape, data) = case.array("in/snapshots");
            let at = |name: &str, i: usize| case.array(name).1[i];
            let wanted = Snapshot { seen: case.param("out_t"), width: case.param("out_std") };
            for dtype in [DType::F64, DType::F32] {
                let stored: Vec<Tensor> =
                    data.chunks(shape[1]).map(|row| tensor(row, &[row.len()], dtype, &Device::Cpu)).collect();
                let snapshots: Vec<(Snapshot, &Tensor)> = (0..shape[0])
                    .map(|i| Snapshot { seen: at("in/t", i), width: at("in/std", i) })
                    .zip(&stored)
                    .collect();
                let times: Vec<Snapshot> = snapshots.iter().map(|(snapshot, _)| *snapshot).collect();
                case.compare("out/weights", DType::F64, &post_hoc_weights(&times, wanted).unwrap());
                case.compare("out/ema", dtype, &post_hoc(&snapshots, wanted).unwrap().to_f64().unwrap());
            }
        }
    }
    let one = Snapshot { seen: 100.0, width: 0.1 };
    assert_eq!(post_hoc_weights(&[one], one).unwrap(), [1.0]);
    assert!(post_hoc_weights(&[], one).is_err());
    assert!(post_hoc_weights(&[one, one], one).is_err());
    assert!(post_hoc_weights(&[Snapshot { seen: 0.0, ..one }], one).is_err());
    for width in [0.0, -1.0, 0.3, f64::NAN] {
        assert!(PowerFunction::new(width).is_err());
    }
}

fn noise(step: u32, n: usize, device: &Device) -> Tensor {
    let key = RandomKey::new(1, Purpose::Custom).at_step(step);
    ops::normal([n], DType::F32, &Draws::new(key), device).unwrap()
}

fn optimisers() -> Vec<OptimizerConfig> {
    vec![
        OptimizerConfig::adam(1e-2),
        OptimizerConfig::Sgd { lr: 1e-2, momentum: 0.9, nesterov: true, weight_decay: 0.1 },
        OptimizerConfig::Sgd { lr: 1e-2, momentum: 0.0, nesterov: false, weight_decay: 0.0 },
        OptimizerConfig::RmsProp { lr: 1e-2, alpha: 0.99, eps: 1e-8, momentum: 0.5 },
    ]
}

/// Weights and average after some steps, interrupted and resumed after `pause` of them.
fn train(config: OptimizerConfig, pause: Option<u32>, device: &Device) -> Vec<u32> {
    let n = 20_001;
    let (mut weights, mut ema) = (noise(0, n, device), Tensor::zeros([n], DType::F32, device).unwrap());
    let mut optimizer = Optimizer::new(config, &weights).unwrap();
    for step in 1..5 {
        if pause == Some(step) {
            let stored: Vec<(String, Tensor)> =
                optimizer.state().into_iter().map(|(name, tensor)| (name.to_string(), tensor.clone())).collect();
            let steps = optimizer.steps();
            optimizer = Optimizer::new(config, &weights).unwrap();
            let find = |name: &str| stored.iter().find(|(other, _)| other == name).map(|(_, tensor)| tensor.clone());
            optimizer.restore(steps, find).unwrap();
        }
        let gradient = noise(step, n, device);
        let clip = ops::gradient_norm(&[&gradient], 10.0).unwrap();
        let options = StepOptions { clip: Some(&clip), ema: Some((&mut ema, 0.9)), lr_factor: 0.5, copy: None };
        optimizer.step(&mut weights, &gradient, options).unwrap();
    }
    [weights, ema].iter().flat_map(|x| x.to_vec::<f32>().unwrap()).map(f32::to_bits).collect()
}

#[test]
fn devices_threads_and_pauses_do_not_matter() {
    let one = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap();
    for config in optimisers() {
        let want = train(config, None, &Device::Cpu);
        assert!(train(config, Some(3), &Device::Cpu) == want, "resumed {config:?}");
        assert!(one.install(|| train(config, None, &Device::Cpu)) == want, "one thread {config:?}");
        for device in &devices()[1..] {
            assert!(train(config, Some(2), device) == want, "{config:?} on {device}");
        }
    }
}

#[test]
fn weights_kept_in_bf16_follow_the_optimiser() {
    for device in devices() {
        let x = noise(9, 15, &device).reshape([3, 5]).unwrap();
        let x = ops::cast(&x, DType::BF16).unwrap().into_value();
        for optimizer in optimisers() {
            let mut layout = Layout::new();
            let linear = Linear::new(&mut layout.scope("linear"), 5, 4, LayerInit::Kaiming);
            let layout = layout.into();
            let options = TrainOptions { optimizer, compute: DType::BF16, average: None, ..TrainOptions::adam(0.1, 1) };
            let begin = |seed| Trainer::new(Weights::init(&layout, seed, &device).unwrap(), options).unwrap();
            let mut trainer = begin(1);
            let first = trainer.weights().flat().to_f64().unwrap();
            let step = |trainer: &mut Trainer| {
                let loss = |cx: &Context| ops::mean(ops::square(linear.forward(cx, &(&x).into())?)?, &[0, 1]);
                trainer.step(3, |cx| ops::cast(loss(cx)?, DType::F32)).unwrap();
            };
            (0..3).for_each(|_| step(&mut trainer));
            let kept = trainer.weights();
            assert!(kept.flat().to_f64().unwrap() != first);
            let outputs = |weights: &Weights| {
                let cx = Context::inference(weights).compute_in(DType::BF16);
                linear.forward(&cx, &(&x).into()).unwrap().value().to_f64().unwrap()
            };
            // The same weights without rounded values beside them: each is rounded when it is used.
            let plain = kept.with_flat(kept.flat().clone()).unwrap();
            assert!(outputs(kept) == outputs(&plain), "{optimizer:?} on {device}");
            let mut changed = kept.clone();
            *changed.flat_mut() = noise(5, first.len(), &device);
            assert!(outputs(&changed) != outputs(kept), "{optimizer:?} on {device}");
            // So are those that another trainer goes on from.
            let buffers = trainer.optimizer().state().into_iter();
            let mut resumed = begin(2);
            let state = TrainerState {
                step: 3,
                seen: 9,
                weights: plain,
                average: None,
                powers: Vec::new(),
                optimizer: buffers.map(|(name, tensor)| (name.to_string(), tensor.clone())).collect(),
            };
            resumed.restore(state).unwrap();
            assert!(outputs(resumed.weights()) == outputs(trainer.weights()), "{optimizer:?} on {device}, resumed");
            [&mut trainer, &mut resumed].into_iter().for_each(step);
            let flat = |trainer: &Trainer| trainer.weights().flat().to_f64().unwrap();
            assert!(flat(&resumed) == flat(&trainer), "{optimizer:?} on {device}, a step after it was resumed");
        }
    }
}

#[test]
fn a_state_that_does_not_fit_is_an_error_and_changes_nothing() {
    let weights = noise(0, 10, &Device::Cpu);
    let mut optimizer = Optimizer::new(OptimizerConfig::adam(0.1), &weights).unwrap();
    assert!(optimizer.restore(7, |_| None).is_err());
    assert!(optimizer.restore(7, |_| Some(noise(0, 9, &Device::Cpu))).is_err());
    assert_eq!(optimizer.steps(), 0);
    assert!(optimizer.state().iter().all(|(_, tensor)| tensor.to_f64().unwrap().iter().all(|&x| x == 0.0)));
}

#[test]
fn settings_are_read_from_text() {
    let read = |text: &str| toml::from_str::<OptimizerConfig>(text);
    assert_eq!(read("name = \"adam\"\nlr = 0.001").unwrap(), OptimizerConfig::adam(1e-3));
    assert!(matches!(read("name = \"rmsprop\"\nlr = 1.0").unwrap(), OptimizerConfig::RmsProp { alpha: 0.99, .. }));
    assert!(read("name = \"adam\"\nlr = 0.1\nbeta = 3").is_err());
    assert!(read("name = \"lion\"\nlr = 0.1").is_err());
}

#[test]
fn many_parts_become_one_buffer() {
    for device in devices() {
        let sizes: Vec<usize> = (0..70).map(|i| if i == 41 { 5000 } else { i % 7 }).collect();
        let parts: Vec<Tensor> = sizes.iter().enumerate().map(|(i, &n)| noise(i as u32, n, &device)).collect();
        let (mut placed, mut at) = (Vec::new(), 1);
        for part in &parts {
            placed.push((at, part));
            at += part.len() + 1;
        }
        let mut flat = Tensor::full(3.0, [at], DType::F32, &device).unwrap();
        flatten(&mut flat, &placed, false).unwrap();
        flatten(&mut flat, &placed, true).unwrap();
        let mut want = vec![3.0f32; at];
        for (at, part) in &placed {
            for (want, x) in want[*at..].iter_mut().zip(part.to_vec::<f32>().unwrap()) {
                *want = x + x;
            }
        }
        assert!(flat.to_vec::<f32>().unwrap() == want, "{device}");

        let half = Tensor::full(0.375, [3], DType::BF16, &device).unwrap();
        flatten(&mut flat, &[(0, &half)], false).unwrap();
        assert_eq!(flat.to_vec::<f32>().unwrap()[..3], [0.375; 3]);
        assert!(flatten(&mut flat, &[(at - 2, &half)], false).is_err());
        assert!(flatten(&mut flat, &[(usize::MAX, &half)], false).is_err());
        assert!(flatten(&mut flat, &[(4, &half), (6, &half)], false).is_err());
        let words = Tensor::zeros([1], DType::U32, &device).unwrap();
        assert!(flatten(&mut flat, &[(0, &words)], false).is_err());
    }
}

#[test]
fn bad_settings_are_errors() {
    for device in devices() {
        let gradient = noise(0, 4, &device);
        for config in [
            OptimizerConfig::Sgd { lr: f64::NAN, momentum: 0.0, nesterov: false, weight_decay: 0.0 },
            OptimizerConfig::Sgd { lr: 0.1, momentum: 1.0, nesterov: false, weight_decay: 0.0 },
            OptimizerConfig::Sgd { lr: 0.1, momentum: 0.0, nesterov: false, weight_decay: -1.0 },
            OptimizerConfig::RmsProp { lr: 0.1, alpha: 1.0, eps: 1e-8, momentum: 0.0 },
            OptimizerConfig::RmsProp { lr: 0.1, alpha: 0.9, eps: -1.0, momentum: 0.0 },
        ] {
            let mut weights = noise(1, 4, &device);
            let mut optimizer = Optimizer::new(config, &weights).unwrap();
            assert!(optimizer.step(&mut weights, &gradient, StepOptions::default()).is_err(), "{config:?}");
            assert_eq!(optimizer.steps(), 0);
        }
        let mut ema = noise(2, 4, &device);
        assert!(average(&mut ema, &gradient, 1.5).is_err());
        assert!(average(&mut ema, &noise(0, 5, &device), 0.5).is_err());
    }
}

#[test]
fn gradients_of_weights_kept_in_bf16_are_those_of_rounded_ones() {
    for device in devices() {
        let mut layout = Layout::new();
        let square = Linear::new(&mut layout.scope("square"), 5, 5, LayerInit::Kaiming);
        let last = Linear::new(&mut layout.scope("last"), 5, 2, LayerInit::Kaiming);
        Linear::new(&mut layout.scope("idle"), 5, 2, LayerInit::Kaiming);
        let shift = layout.scope("shift").parameter("shift", [2], Init::Uniform(1.0));
        let weights = Weights::init(&layout.into(), 3, &device).unwrap();
        let x = noise(9, 15, &device).reshape([3, 5]).unwrap();
        let gradient = |weights: &Weights| {
            let tape = Tape::new();
            let cx = Context::differentiable(weights, &tape).compute_in(DType::BF16);
            let x = ops::cast(&x, DType::BF16).unwrap();
            // One of the weights is used twice, one in another dtype as well, one not at all.
            let y = square.forward(&cx, &square.forward(&cx, &x).unwrap()).unwrap();
            let y = ops::add(last.forward(&cx, &y).unwrap(), cx.weight(shift).unwrap()).unwrap();
            let y = ops::add(ops::cast(&y, DType::F32).unwrap(), cx.parameter(shift).unwrap()).unwrap();
            let mut gradients = ops::mean(ops::square(&y).unwrap(), &[0, 1]).unwrap().backward().unwrap();
            let flat = cx.flat_gradient(&mut gradients).unwrap().to_f64().unwrap();
            (flat, cx.unused().into_iter().map(String::from).collect::<Vec<_>>())
        };
        let plain = gradient(&weights);
        assert_eq!(plain.1, ["idle.weight", "idle.bias"]);
        assert!(plain.0.iter().filter(|g| **g != 0.0).count() >= 35);
        assert!(gradient(&weights.for_compute(DType::BF16).unwrap()) == plain, "{device}");
    }
}
