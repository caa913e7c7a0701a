//! The pool of the CPU's buffers, under the networks of the presets. One test after the other, since they count what
//! the whole process touches.
#![cfg(target_os = "linux")]

use std::sync::{Mutex, PoisonError};

use veridical::backend::cpu;
use veridical::data::Images;
use veridical::diffusion::Model;
use veridical::nn::{Conditions, Context};
use veridical::ops::random::Draws;
use veridical::random::{Purpose, RandomKey};
use veridical::train::config::preset_shape;
use veridical::train::{RunConfig, TrainOptions, Trainer};
use veridical::{DType, Device, Result, Tensor, Var, ops};

static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

/// Pages that this process has touched for the first time, or again after it gave them back.
fn touched() -> i64 {
    // SAFETY: plain numbers, for which zeros are a value.
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    // SAFETY: the call fills the structure that it is given.
    assert_eq!(unsafe { libc::getrusage(libc::RUSAGE_SELF, &mut usage) }, 0);
    usage.ru_minflt
}

/// How many pages each of ten steps touches that are new.
fn by_step(mut step: impl FnMut() -> Result<()>) -> Vec<i64> {
    let counts = (0..10).map(|_| {
        let before = touched();
        step().unwrap();
        touched() - before
    });
    counts.collect()
}

/// Steps 6 to 10 may touch a page now and then, of a thread's stack or of the allocator of small things: 8 each on
/// average.
fn assert_settled(what: &str, counts: &[i64]) {
    println!("{what}: {counts:?}");
    let late: i64 = counts[5..].iter().sum();
    assert!(late <= 8 * 5, "{what}: new pages in each of ten steps: {counts:?}");
}

/// More than a gigabyte in use at once, in sizes that change from layer to layer.
fn large_tensors() -> Result<()> {
    let mut kept = Vec::new();
    for layer in 0..40usize {
        let elements = (layer << 16) + if layer % 4 == 0 { 24 << 20 } else { 1 << 20 };
        let mut tensor = Tensor::empty([elements], DType::F32, &Device::Cpu)?;
        tensor.as_mut_slice::<f32>()?.iter_mut().step_by(1024).for_each(|page| *page = 1.0);
        kept.push(tensor);
    }
    Ok(())
}

/// The network of a preset of the command line, with images for it.
struct Bench {
    config: RunConfig,
    model: Model,
    images: Tensor,
    batch: usize,
}

impl Bench {
    fn of(preset: &str, batch: usize) -> Result<Bench> {
        let config = RunConfig::build(Some(preset), None, &[])?;
        let (size, _) = preset_shape(preset).unwrap();
        let data = Images::new(vec![0.0; size.iter().product()], vec![0], size, 1)?;
        let model = Model::new(&config.model_config(&data)?, 0, &Device::Cpu)?;
        let shape = [&[batch][..], &model.denoiser().sample_shape()].concat();
        let draws = Draws::new(RandomKey::new(0, Purpose::Synthetic));
        let images = ops::normal(shape, DType::F32, &draws, &Device::Cpu)?;
        Ok(Bench { config, model, images, batch })
    }

    fn denoised(&self, dtype: DType) -> Result<Tensor> {
        let (cx, sigmas) = (Context::inference(&self.model.weights).compute_in(dtype), vec![1.0; self.batch]);
        self.model.denoiser().denoise(&cx, &(&self.images).into(), &sigmas, Conditions::default()).map(Var::into_value)
    }

    fn trainer(&self, dtype: DType) -> Result<Trainer> {
        let options = TrainOptions { compute: dtype, ..self.config.train_options() };
        Trainer::new(self.model.weights.clone(), options)
    }

    fn step(&self, trainer: &mut Trainer) -> Result<()> {
        let loss = self.config.loss.loss()?;
        let labels: Option<Var> = match self.model.denoiser().augment_dim() {
            0 => None,
            dim => Some(Tensor::zeros([self.batch, dim], DType::F32, &Device::Cpu)?.into()),
        };
        let step = trainer.step(self.batch, |cx| {
            let conditions = Conditions { class_labels: None, augment_labels: labels.as_ref() };
            loss.forward(cx, self.model.denoiser(), &self.images, conditions)
        });
        step.map(drop)
    }
}

/// From here on every page is one of 4 KiB, so that none is new without being counted; a large page would stand for 512
/// of them.
fn count_small_pages() {
    // SAFETY: the call changes what later mappings of this process are made of, and nothing in them.
    assert_eq!(unsafe { libc::prctl(libc::PR_SET_THP_DISABLE, 1, 0, 0, 0) }, 0);
}

#[test]
fn a_step_in_steady_state_touches_no_new_page() {
    let _alone = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    cpu::poison(false);
    count_small_pages();
    let counts = by_step(large_tensors);
    assert!(counts[0] >= 200_000, "the first step took {counts:?} from the system");
    assert_settled("large tensors", &counts);
    Device::Cpu.release_memory();
    let again = by_step(large_tensors);
    assert!(again[0] >= counts[0] / 2, "released memory was there all the same: {again:?} after {counts:?}");
    assert_settled("large tensors, after they were released", &again);

    for (preset, batch) in [("digits", 32), ("mnist", 4)] {
        let bench = Bench::of(preset, batch).unwrap();
        for dtype in [DType::F32, DType::BF16] {
            let counts = by_step(|| bench.denoised(dtype).map(drop));
            assert_settled(&format!("{preset}, forward in {dtype}"), &counts);
            let mut trainer = bench.trainer(dtype).unwrap();
            let counts = by_step(|| bench.step(&mut trainer));
            assert_settled(&format!("{preset}, training in {dtype}"), &counts);
        }
    }
}

/// The bits of what a network computes, and of its weights after three steps.
fn bits(bench: &Bench, dtype: DType) -> Result<[Vec<u32>; 2]> {
    let mut trainer = bench.trainer(dtype)?;
    (0..3).try_for_each(|_| bench.step(&mut trainer))?;
    let of = |tensor: &Tensor| Ok(tensor.as_slice::<f32>()?.iter().map(|x| x.to_bits()).collect());
    Ok([of(&bench.denoised(dtype)?)?, of(trainer.weights().flat())?])
}

#[test]
fn nothing_depends_on_what_a_buffer_held_before() {
    let _alone = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    for (preset, batch) in [("digits", 8), ("mnist", 2)] {
        let bench = Bench::of(preset, batch).unwrap();
        for dtype in [DType::F32, DType::BF16] {
            let [clean, poisoned] = [false, true].map(|on| {
                cpu::poison(on);
                bits(&bench, dtype).unwrap()
            });
            assert!(clean == poisoned, "{preset} in {dtype} reads what it has not written");
        }
    }
}
