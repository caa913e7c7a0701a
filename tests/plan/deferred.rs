//! Training steps whose launches are started together: the same bits as one by one, one graph for all steps, and
//! memory that others can have.

use veridical::backend::EmulatorOptions;
use veridical::backend::gpu::Gpu;
use veridical::backend::plan::{Event, Plan, Planner};
use veridical::diffusion::{Loss, Model, ModelConfig};
use veridical::nn::{Conditions, SongConfig};
use veridical::optim::HalfLife;
use veridical::tensor::Replayed;
use veridical::train::{Tick, TrainOptions, Trainer};
use veridical::{DType, Device, Error, Result, Tensor, ops};

use super::graphs::{started, values};
use super::networks::tiny;

/// A network with dropout, whose steps have other parameters each time: addresses of random numbers, averages.
struct Training {
    model: Model,
    trainer: Trainer,
    device: Device,
}

impl Training {
    fn new(device: &Device, compute: DType) -> Training {
        let network = SongConfig { model_channels: 8, dropout: 0.2, ..tiny() };
        let model = Model::new(&ModelConfig::new(network), 3, device).unwrap();
        let average = Some(HalfLife { images: 10.0, ramp: Some(0.05) });
        let options = TrainOptions { compute, average, max_norm: 1.0, ..TrainOptions::adam(1e-2, 5) };
        let trainer = Trainer::new(model.weights.clone(), options).unwrap();
        Training { model, trainer, device: device.clone() }
    }

    /// A step on images that nobody has any more when it ends.
    fn step(&mut self, batch: usize, part: usize) -> Result<Tick> {
        let first = self.trainer.steps() as f32;
        self.step_on(batch, part, |i| (first + 0.37 * i as f32).sin())
    }

    fn step_on(&mut self, batch: usize, part: usize, pixel: impl Fn(usize) -> f32) -> Result<Tick> {
        let pixels: Vec<f32> = (0..batch * 64).map(pixel).collect();
        let image = |pixels: &[f32]| Tensor::from_slice(pixels, [pixels.len() / 64, 8, 8, 1], &self.device);
        let mut images = pixels.chunks(part * 64).map(image).collect::<Result<Vec<_>>>()?.into_iter();
        let denoiser = self.model.denoiser().clone();
        self.trainer.step_in_parts(batch, part, |cx, _| {
            // Freed in the midst of the step.
            let images = images.next().expect("as many parts as images");
            Loss::default().forward(cx, &denoiser, &images, Conditions::default())
        })
    }

    /// The same with every launch started as it comes: what is part of a capture is not deferred.
    fn plain_step(&mut self, batch: usize, part: usize) -> Result<Tick> {
        let nothing = Tensor::zeros([1], DType::F32, &self.device)?;
        let mut tick = None;
        Replayed::default().call(&[&nothing], |nothing| {
            tick = Some(self.step(batch, part)?);
            Ok(nothing[0].clone())
        })?;
        Ok(tick.expect("it was called"))
    }

    fn bits(&self) -> Vec<u32> {
        let average = self.trainer.average().unwrap();
        let flats = [self.trainer.weights().flat(), average.flat()];
        flats.into_iter().flat_map(values).map(f32::to_bits).collect()
    }
}

/// How many launches of graphs were given other parameters.
fn changed(plan: &Plan) -> usize {
    plan.events()
        .iter()
        .map(|event| if let Event::Replay { changed, .. } = event { changed.unwrap_or(0) } else { 0 })
        .sum()
}

fn emulator() -> Gpu {
    Gpu::emulator(EmulatorOptions::default().races(false)).unwrap()
}

#[test]
fn steps_started_together_give_the_bits_of_steps_that_are_not() {
    for compute in [DType::F32, DType::BF16] {
        let (planner, other) = (Planner::watching(&emulator()), Device::Gpu(emulator()));
        let device = Device::Gpu(planner.gpu().clone());
        let (mut together, mut plain) = (Training::new(&device, compute), Training::new(&other, compute));
        planner.take();
        // Whole batches; in parts, of which the last is smaller; whole ones again.
        let steps = [(2, 2), (2, 2), (2, 2), (2, 2), (5, 2), (5, 2), (2, 2), (2, 2)];
        for (number, (batch, part)) in steps.into_iter().enumerate() {
            let tick = together.step(batch, part).unwrap();
            let plan = planner.take();
            assert_eq!(tick, plain.plain_step(batch, part).unwrap(), "{compute}, step {number}");
            assert_eq!(together.bits(), plain.bits(), "{compute}, step {number}");
            planner.take();
            let launches = plan.launch_count();
            match number {
                0 => assert_eq!(plan.replays(), 0),
                // The samples, the gradient's length, what is made of the weights, and fewer than sixteen launches at
                // the end are left to the host.
                1..=3 | 6 | 7 => {
                    assert!((2..=4).contains(&plan.replays()), "step {number}: {} graphs", plan.replays());
                    assert!(started(&plan) <= 23 && launches > 200, "{} of {launches}", started(&plan));
                    assert!(plan.allocations() <= 8 || number < 3, "step {number}: {} allocations", plan.allocations());
                }
                // Parts are not what a whole batch is, the first begins with a sum of zero, and the last is smaller.
                4 => assert!(plan.replays() <= 3, "{} graphs", plan.replays()),
                _ => assert!(plan.replays() >= 6, "{} graphs", plan.replays()),
            }
            // Random numbers, samples; memory is where it was.
            if matches!(number, 2 | 3 | 7) {
                assert!(changed(&plan) * 8 < launches, "step {number}: {} of {launches} changed", changed(&plan));
            }
        }
    }
}

#[test]
fn what_is_kept_for_the_next_step_goes_where_memory_is_short() {
    let needed = {
        let planner = Planner::new(64 << 30);
        let device = Device::Gpu(planner.gpu().clone());
        let mut training = Training::new(&device, DType::F32);
        device.reset_peak_memory();
        training.plain_step(64, 64).unwrap();
        device.peak_memory()
    };
    let planner = Planner::new(needed + needed / 8);
    let device = Device::Gpu(planner.gpu().clone());
    let mut training = Training::new(&device, DType::F32);
    // No two batches ask for memory of the same sizes.
    for batch in [64, 63, 62, 64, 61, 61, 61] {
        training.step(batch, batch).unwrap();
    }
    // Other work has it between the steps.
    let most = Tensor::empty([needed / 8], DType::F32, &device).unwrap();
    drop(most);
    training.step(64, 64).unwrap();
    let held = |device: &Device| {
        device.reset_peak_memory();
        device.peak_memory()
    };
    let before = held(&device);
    device.release_memory();
    assert!(held(&device) < before / 2, "{} of {before} bytes are kept", held(&device));
    training.step(64, 64).unwrap();
}

#[test]
fn threads_that_share_a_device_train_as_if_alone() {
    let device = Device::Gpu(emulator());
    let alone = {
        let mut training = Training::new(&device, DType::F32);
        for _ in 0..4 {
            training.plain_step(2, 2).unwrap();
        }
        training.bits()
    };
    std::thread::scope(|scope| {
        let train = || {
            let mut training = Training::new(&device, DType::F32);
            for _ in 0..4 {
                training.step(2, 2).unwrap();
            }
            training.bits()
        };
        let threads = [scope.spawn(train), scope.spawn(train)];
        for thread in threads {
            assert_eq!(thread.join().unwrap(), alone);
        }
    });
}

#[test]
fn other_threads_find_what_was_asked_for_before() {
    let device = Device::Gpu(emulator());
    let mut training = Training::new(&device, DType::F32);
    let denoiser = training.model.denoiser().clone();
    for number in 0..4 {
        let images = Tensor::full(f64::from(number), [2, 8, 8, 1], DType::F32, &device).unwrap();
        let step = training.trainer.step(2, |cx| {
            let doubled = ops::add(&images, &images)?.into_value();
            let found = std::thread::scope(|scope| scope.spawn(|| values(&doubled)).join());
            assert_eq!(found.unwrap(), [2.0 * number as f32; 128], "step {number}");
            Loss::default().forward(cx, &denoiser, &doubled, Conditions::default())
        });
        step.unwrap();
    }
}

#[test]
fn a_loss_that_fails_leaves_the_trainer_as_it_was() {
    let device = Device::Gpu(emulator());
    let (mut training, mut other) = (Training::new(&device, DType::F32), Training::new(&device, DType::F32));
    for number in 0..4 {
        let before = training.bits();
        // With commands waiting.
        let (denoiser, images) = (training.model.denoiser().clone(), Tensor::zeros([2, 8, 8, 1], DType::F32, &device));
        let failed = training.trainer.step(2, |cx| {
            Loss::default().forward(cx, &denoiser, &images?, Conditions::default())?;
            Err(Error::Config("no loss today".into()))
        });
        assert!(matches!(failed, Err(Error::Config(_))), "{failed:?}");
        let not_finite = training.step_on(2, 2, |_| f32::NAN);
        assert!(matches!(not_finite, Err(Error::NonFinite { .. })), "{not_finite:?}");
        assert_eq!(training.bits(), before, "step {number}");
        assert_eq!(training.step(2, 2).unwrap(), other.step(2, 2).unwrap());
        assert_eq!(training.bits(), other.bits(), "step {number}");
    }
}
