//! Devices by name and by number: what cannot be had says why and what to do, and the best one always can be had.

mod hardware;

use veridical::nn::{Layout, Linear, Module, Weights};
use veridical::optim::HalfLife;
use veridical::tensor::Replayed;
use veridical::train::{TrainOptions, Trainer};
use veridical::{DType, Device, Error, Tensor, Var, ops};

/// The text of the error that `result` must be.
fn refused(result: veridical::Result<Device>) -> String {
    match result {
        Ok(device) => panic!("{device} should not be there"),
        Err(error @ Error::Unavailable { .. }) => error.to_string(),
        Err(error) => panic!("expected `Unavailable`, got {error:?}"),
    }
}

#[test]
fn the_best_device_works() {
    let device = Device::best();
    let tensor = Tensor::full(3.0, [2, 2], DType::F32, &device).unwrap();
    device.synchronize().unwrap();
    assert_eq!(tensor.to_f64().unwrap(), [3.0; 4]);
    assert!(Device::named("best").unwrap().same(&device));
}

/// The first GPU, or the one reason why there is none in this build and on this machine.
#[test]
fn no_gpu_has_its_own_text() {
    let error = match Device::cuda(0) {
        Ok(device) => {
            assert!(device.same(&Device::cuda(0).unwrap()), "two calls give one device");
            return;
        }
        Err(error) => error.to_string(),
    };
    assert!(hardware::cuda().is_none(), "VERIDICAL_GPU asks for one");
    println!("{error}");
    assert!(error.starts_with("no cuda:0 device: "), "{error}");
    assert!(error.contains("the CPU"), "says what to do instead: {error}");
    if !cfg!(feature = "cuda") {
        assert!(error.contains("--features cuda"), "{error}");
    } else if !cfg!(has_cuda_kernels) {
        assert!(error.contains("nvcc"), "{error}");
    } else {
        assert!(error.contains("driver") || error.contains("compute capability"), "{error}");
        assert!(!error.contains("nvcc") && !error.contains("--features"), "the build is not to blame: {error}");
    }
    assert_eq!(refused(Device::named("cuda")), error);
    assert_eq!(refused(Device::named("cuda:0")), error);
}

#[test]
fn a_gpu_beyond_the_last_is_refused() {
    for ordinal in [4096, usize::MAX] {
        let error = refused(Device::cuda(ordinal));
        assert!(error.starts_with(&format!("no cuda:{ordinal} device: ")), "{error}");
        assert_eq!(refused(Device::named(&format!("cuda:{ordinal}"))), error);
    }
}

#[test]
fn a_name_that_is_no_device_lists_those_there_are() {
    for name in
        ["", "gpu", "CPU", " cpu", "cpu:0", "cuda:", "cuda:x", "cuda:-1", "cuda:99999999999999999999", "emulator:0"]
    {
        let error = refused(Device::named(name));
        assert_eq!(error, format!("no {name:?} device: devices are cpu, cuda, cuda:N, emulator and best"));
    }
    assert!(Device::named("cpu").unwrap().same(&Device::Cpu));
}

#[test]
fn the_emulator_is_there_if_it_was_built() {
    if cfg!(feature = "emulator") {
        let device = Device::emulator().unwrap();
        assert!(device.same(&Device::named("emulator").unwrap()), "two calls give one device");
        assert!(!device.same(&Device::Cpu));
    } else {
        let error = refused(Device::emulator());
        assert!(error.contains("--features emulator"), "{error}");
        assert_eq!(refused(Device::named("emulator")), error);
    }
}

#[cfg(feature = "emulator")]
#[test]
fn peak_memory_counts_live_buffers_of_one_device() {
    let device = Device::emulator_with(Default::default()).unwrap();
    let zeros = |elements: usize| Tensor::zeros([elements], DType::F32, &device).unwrap();
    let (a, b) = (zeros(1000), zeros(500));
    let same = a.clone(); // shares its buffer
    drop((a, b));
    assert_eq!(device.peak_memory(), 6000);
    device.reset_peak_memory();
    assert_eq!(device.peak_memory(), 4000);
    drop(same);
    device.reset_peak_memory();
    assert_eq!(device.peak_memory(), 0);
}

#[test]
fn more_memory_than_there_is_has_its_own_error() {
    let mut devices = vec![Device::Cpu];
    devices.extend(Device::emulator());
    for device in devices {
        let elements = isize::MAX as usize / 8; // the most that a shape may have
        let error = Tensor::empty([elements], DType::F32, &device).unwrap_err();
        assert!(matches!(error, Error::OutOfMemory { bytes, .. } if bytes == 4 * elements), "{device}: {error}");
        assert!(error.to_string().contains("smaller batch"), "{error}");
    }
}

/// What a graph is made of, on every device: uploads and zeroings, a copy, kernels of both generations, and weights
/// that are freed while it runs.
#[test]
fn every_device_replays_what_it_did() {
    for device in hardware::devices().into_iter().filter(|device| matches!(device, Device::Gpu(_))) {
        let numbers = |count: usize, seed: f32| -> Vec<f32> { (0..count).map(|i| (i as f32 * seed).sin()).collect() };
        let weight = |seed| {
            let weight = Tensor::from_slice(&numbers(256 * 128, seed), [256, 128], &device).unwrap();
            ops::cast(&weight, DType::BF16).unwrap().into_value()
        };
        let run = |x: &[Tensor], weight: &Tensor| {
            let product = ops::linear(ops::cast(&x[0], DType::BF16)?, weight, None::<&veridical::Var>)?;
            let bias = Tensor::from_slice(&numbers(256, 0.3), [256], &device)?;
            let sum = ops::add(ops::cast(&product, DType::F32)?, &bias)?;
            let zeros = Tensor::zeros([128, 8], DType::F32, &device)?;
            Ok(ops::concat(&[&sum, &zeros.into()], 1)?.into_value())
        };
        let mut replayed = Replayed::default();
        for (round, seed) in [0.9, 0.11].into_iter().enumerate() {
            let weight = weight(seed);
            for call in 0..4 {
                let x = Tensor::from_slice(&numbers(128 * 128, 0.01 * (call + 1) as f32), [128, 128], &device).unwrap();
                let found = replayed.call(&[&x], |x| run(x, &weight)).unwrap();
                assert_eq!(replayed.is_graph(), call >= 1, "{device}, round {round}, call {call}");
                assert_eq!(
                    numbers_of(&found),
                    numbers_of(&run(&[x], &weight).unwrap()),
                    "{device}, round {round}, call {call}"
                );
            }
        }
        // While it is under way.
        let weight = weight(0.5);
        let x = Tensor::zeros([128, 128], DType::F32, &device).unwrap();
        let last = (0..3).map(|_| replayed.call(&[&x], |x| run(x, &weight)).unwrap()).last().unwrap();
        drop(replayed);
        assert_eq!(numbers_of(&last), numbers_of(&run(&[x], &weight).unwrap()), "{device}");
    }
}

fn numbers_of(tensor: &Tensor) -> Vec<f32> {
    tensor.to_vec().unwrap()
}

/// Steps of a trainer, whose launches are graphs with other parameters each time, beside those that are part of a
/// capture, which are started as they come.
#[test]
fn every_device_trains_by_graphs_as_without() {
    for device in hardware::devices().into_iter().filter(|device| matches!(device, Device::Gpu(_))) {
        let mut layout = Layout::new();
        let mut layer = |name: &str, inputs, outputs| Linear::new(&mut layout.scope(name), inputs, outputs, 1.0);
        let layers = [layer("first", 64, 128), layer("second", 128, 128), layer("third", 128, 64)];
        let layout = layout.into();
        let trainer = || {
            let average = Some(HalfLife { images: 100.0, ramp: None });
            let options = TrainOptions { compute: DType::BF16, average, max_norm: 1.0, ..TrainOptions::adam(1e-2, 5) };
            Trainer::new(Weights::init(&layout, 7, &device).unwrap(), options).unwrap()
        };
        let step = |trainer: &mut Trainer| {
            let first = trainer.steps() as f32;
            trainer.step(32, |cx| {
                let pixels: Vec<f32> = (0..32 * 64).map(|i| (first + 0.37 * i as f32).sin()).collect();
                let mut x: Var = Tensor::from_slice(&pixels, [32, 64], &device)?.into();
                for (site, layer) in layers.iter().enumerate() {
                    x = cx.dropout(&ops::silu(layer.forward(cx, &x)?)?, 0.2, site as u32)?;
                }
                x.square()?.mean_all()
            })
        };
        let (mut together, mut plain) = (trainer(), trainer());
        let nothing = Tensor::zeros([1], DType::F32, &device).unwrap();
        for number in 0..6 {
            let tick = step(&mut together).unwrap();
            let mut other = None;
            let captured = Replayed::default().call(&[&nothing], |nothing| {
                other = Some(step(&mut plain)?);
                Ok(nothing[0].clone())
            });
            captured.unwrap();
            assert_eq!(Some(tick), other, "{device}, step {number}");
            assert_eq!(
                numbers_of(together.weights().flat()),
                numbers_of(plain.weights().flat()),
                "{device}, step {number}"
            );
        }
    }
}
