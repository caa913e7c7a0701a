//! Functions that are replayed as graphs, on the emulator: the same results as without, and no graph where there must
//! be none.

use std::sync::Mutex;

use veridical::backend::EmulatorOptions;
use veridical::backend::gpu::Gpu;
use veridical::backend::plan::Planner;
use veridical::diffusion::solvers::{Denoise, heun};
use veridical::diffusion::{Conditioned, Model, ModelConfig, Request, Sampler, Start};
use veridical::nn::SongConfig;
use veridical::tensor::Replayed;
use veridical::{DType, Device, Error, Tensor, ops};

use super::graphs::{of, started, sum, values};
use super::networks::tiny;

fn labelled() -> ModelConfig {
    ModelConfig::new(SongConfig { label_dim: 3, ..tiny() })
}

/// The emulator, and what it is asked.
fn watched() -> (Planner, Device) {
    let planner = Planner::watching(&Gpu::emulator(EmulatorOptions::default().races(false)).unwrap());
    let device = Device::Gpu(planner.gpu().clone());
    (planner, device)
}

#[test]
fn a_network_replayed_gives_the_bits_of_one_that_is_not() {
    for dtype in [DType::F32, DType::BF16] {
        let (planner, device) = watched();
        let model = Model::new(&labelled(), 3, &device).unwrap();
        let labels = Tensor::from_slice(&[0.0f32, 1.0, 0.0, 0.0, 0.0, 1.0], [2, 3], &device).unwrap();
        let mut replayed = Conditioned::new(&model, Some(&labels), dtype).unwrap();
        let pixels: Vec<f32> = (0..128).map(|i| (i as f32 * 0.7).sin()).collect();
        let mut x = Tensor::from_slice(&pixels, [2, 8, 8, 1], &device).unwrap();
        planner.take();
        for (call, sigma) in [20.0, 3.0, 0.9, 0.2, 0.04].into_iter().enumerate() {
            let denoised = replayed.at(&x, sigma).unwrap();
            let plan = planner.take();
            // One that has captured nothing.
            let mut plain = Conditioned::new(&model, Some(&labels), dtype).unwrap();
            planner.take();
            let plain = plain.at(&x, sigma).unwrap();
            assert_eq!(values(&denoised), values(&plain), "{dtype}, call {call}");
            let whole = planner.take();
            match call {
                0 | 1 => assert_eq!((plan.replays(), started(&plan)), (0, whole.launch_count())),
                // What is left is none of the network's.
                _ => {
                    assert_eq!((plan.replays(), started(&plan), plan.waits()), (1, 0, 0));
                    assert_eq!(plan.launch_count(), whole.launch_count());
                    // Of the factors and of the result.
                    assert_eq!(plan.allocations(), 2);
                }
            }
            // The way of a solver: what was denoised is in use while the next call runs.
            x = sum(&x, &denoised).unwrap();
            planner.take();
        }
    }
}

#[test]
fn samples_are_those_of_a_model_that_is_called_plainly() {
    let (planner, device) = watched();
    let model = Model::new(&labelled(), 5, &device).unwrap();
    let labels = Tensor::from_slice(&[0.0f32, 1.0, 0.0], [1, 3], &device).unwrap();
    let latents = Tensor::from_slice(&[0.5f32; 64], [1, 8, 8, 1], &device).unwrap();
    let sampler = Sampler { steps: 4, ..Sampler::default() };
    let request = Request {
        model: &model,
        reference: None,
        labels: Some(labels.clone()),
        start: Start::Latents(latents.clone()),
        seed: 7,
        samples: vec![0],
        trajectory: false,
    };
    planner.take();
    let drawn = sampler.draw(&request).unwrap().samples;
    // Heun's method: two calls a step but the last.
    assert_eq!(planner.take().replays(), 7 - 2);

    let sigmas = sampler.sigmas(&model, None).unwrap();
    let mut plainly = |x: &Tensor, sigma: f64| Conditioned::new(&model, Some(&labels), DType::F32)?.at(x, sigma);
    let x = ops::scale(&latents, sigmas[0]).unwrap().into_value();
    let plain = heun(&mut plainly, &x, &sigmas).unwrap();
    assert_eq!(planner.take().replays(), 0);
    assert_eq!(values(&drawn), values(&plain));
}

#[test]
fn arguments_and_memory_beside_them_may_change() {
    let (planner, device) = watched();
    let mut weight = of(&[10.0, 20.0], &device);
    let mut replayed = Replayed::default();
    let call = |replayed: &mut Replayed, x: &[f32], weight: &Tensor| {
        let x = of(x, &device);
        let y = replayed.call(&[&x], |x| sum(&x[0], weight)).unwrap();
        assert_eq!(values(&x).len(), 2);
        values(&y)
    };
    for i in 0..5 {
        let i = i as f32;
        assert_eq!(call(&mut replayed, &[i, 2.0 * i], &weight), [10.0 + i, 20.0 + 2.0 * i]);
        assert_eq!(replayed.is_graph(), i >= 1.0);
    }
    assert_eq!(planner.take().replays(), 3);
    // Freed memory, whose place others may have by now, is not read: the function is captured anew.
    weight = of(&[1.0, 2.0], &device);
    let other = of(&[1000.0, 1000.0], &device);
    for i in 0..4 {
        let i = i as f32;
        assert_eq!(call(&mut replayed, &[i, 0.0], &weight), [1.0 + i, 2.0]);
        assert_eq!(replayed.is_graph(), i >= 1.0, "{i}");
    }
    assert_eq!(planner.take().replays(), 2);
    drop((other, weight));
}

#[test]
fn what_depends_on_the_host_is_no_graph() {
    let (planner, device) = watched();
    let x = of(&[1.0, 2.0], &device);

    // Another constant at each call: of its own making, and as a parameter of a kernel.
    let calls = Mutex::new(0.0f32);
    let next = || {
        let mut calls = calls.lock().unwrap();
        *calls += 1.0;
        *calls
    };
    let mut uploads = Replayed::default();
    let mut parameters = Replayed::default();
    for _ in 0..5 {
        let count = next();
        let y = uploads.call(&[&x], |x| sum(&x[0], &of(&[count, count], &device))).unwrap();
        assert_eq!(values(&y), [1.0 + count, 2.0 + count]);
        let y = parameters.call(&[&x], |x| Ok(ops::scale(&x[0], count.into())?.into_value())).unwrap();
        assert_eq!(values(&y), [count, 2.0 * count]);
    }
    assert!(!uploads.is_graph() && !parameters.is_graph());

    // It looks at numbers.
    let mut reads = Replayed::default();
    for i in 0..5 {
        let x = of(&[i as f32, 1.0], &device);
        let y = reads.call(&[&x], |x| match values(&x[0])[0] > 2.0 {
            true => sum(&x[0], &x[0]),
            false => Ok(x[0].clone()),
        });
        assert_eq!(values(&y.unwrap())[0], if i > 2 { 2.0 * i as f32 } else { i as f32 });
    }
    assert!(!reads.is_graph());

    // It keeps what it made.
    let kept = Mutex::new(Vec::new());
    let mut keeps = Replayed::default();
    for i in 0..5 {
        let x = of(&[i as f32, 1.0], &device);
        let y = keeps.call(&[&x], |x| {
            let y = sum(&x[0], &x[0])?;
            kept.lock().unwrap().push(y.clone());
            Ok(y)
        });
        assert_eq!(values(&y.unwrap())[0], 2.0 * i as f32);
    }
    assert!(!keeps.is_graph());
    for (i, y) in kept.lock().unwrap().iter().enumerate() {
        assert_eq!(values(y), [2.0 * i as f32, 2.0]);
    }

    // It keeps its argument.
    let kept = Mutex::new(Vec::new());
    let mut keeps = Replayed::default();
    for i in 0..5 {
        let x = of(&[i as f32, 1.0], &device);
        let y = keeps.call(&[&x], |x| {
            kept.lock().unwrap().push(x[0].clone());
            sum(&x[0], &x[0])
        });
        assert_eq!(values(&y.unwrap())[0], 2.0 * i as f32);
    }
    for (i, x) in kept.lock().unwrap().iter().enumerate() {
        assert_eq!(values(x)[0], i as f32, "an argument that was kept changed");
    }
    assert_eq!(planner.take().replays(), 0);
}

#[test]
fn a_cache_that_the_first_call_fills_costs_one_capture() {
    let (_planner, device) = watched();
    let cache: Mutex<Option<Tensor>> = Mutex::new(None);
    let cached = |replayed: &mut Replayed, i: usize| {
        let x = of(&[i as f32], &device);
        let y = replayed.call(&[&x], |x| {
            let twice = cache.lock().unwrap().get_or_insert_with(|| of(&[2.0], &device)).clone();
            Ok(ops::mul(&x[0], &twice)?.into_value())
        });
        assert_eq!(values(&y.unwrap()), [2.0 * i as f32]);
    };
    let mut replayed = Replayed::default();
    for i in 0..5 {
        cached(&mut replayed, i);
        assert_eq!(replayed.is_graph(), i >= 2, "{i}");
    }
    // The cache is memory of the first capture, of which nobody else is left. Where it is freed the graph is no more.
    *cache.lock().unwrap() = None;
    for i in 5..9 {
        cached(&mut replayed, i);
        assert_eq!(replayed.is_graph(), i >= 7, "{i}");
    }
}

#[test]
fn other_shapes_and_errors_begin_anew() {
    let (_planner, device) = watched();
    let mut replayed = Replayed::default();
    let twice = |replayed: &mut Replayed, x: &[f32]| {
        let y = replayed.call(&[&of(x, &device)], |x| sum(&x[0], &x[0])).unwrap();
        values(&y)
    };
    for _ in 0..3 {
        assert_eq!(twice(&mut replayed, &[1.0, 2.0]), [2.0, 4.0]);
    }
    assert!(replayed.is_graph());
    assert_eq!(twice(&mut replayed, &[3.0]), [6.0]);
    assert!(!replayed.is_graph());
    assert_eq!(twice(&mut replayed, &[4.0]), [8.0]);
    assert!(replayed.is_graph() && !replayed.clone().is_graph());
    assert_eq!(twice(&mut replayed, &[5.0]), [10.0]);

    let mut fails = Replayed::default();
    let x = of(&[1.0, 2.0], &device);
    let wrong = fails.call(&[&x], |x| sum(&x[0], &of(&[1.0, 2.0, 3.0], &device)));
    assert!(matches!(wrong, Err(Error::Shape { .. })), "{wrong:?}");
    // What was captured is over: memory is the driver's again, and outlives the function.
    let y = sum(&x, &x).unwrap();
    drop(fails);
    assert_eq!(values(&y), [2.0, 4.0]);

    // Within another one it is part of that.
    let (mut outer, mut inner) = (Replayed::default(), Replayed::default());
    for i in 0..4 {
        let x = of(&[i as f32], &device);
        let y = outer.call(&[&x], |x| inner.call(&[&x[0]], |x| sum(&x[0], &x[0])));
        assert_eq!(values(&y.unwrap()), [2.0 * i as f32]);
    }
    assert!(outer.is_graph() && !inner.is_graph());
}
