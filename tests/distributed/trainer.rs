//! A trainer whose batches ranks share comes to the bits of one process.

use veridical::distributed::Ranks;
use veridical::nn::{BatchNorm, Layout, Linear, Module, Weights};
use veridical::train::{TrainOptions, Trainer};
use veridical::{Device, Error, Result, Tensor};

use super::on_ranks;

const BATCH: usize = 24;
const WIDTH: usize = 5;

/// A regression with running statistics, in three steps: weights, buffers, loss and gradient norm of the last.
fn trained(ranks: &Ranks, slots: usize, part: usize, device: &Device) -> Result<(Vec<f32>, Vec<f32>, f64, f64)> {
    let mut layout = Layout::new();
    let first = Linear::new(&mut layout.scope("first"), 2, WIDTH, 1.0);
    let norm = BatchNorm::new(&mut layout.scope("norm"), WIDTH);
    let last = Linear::new(&mut layout.scope("last"), WIDTH, 1, 1.0);
    let weights = Weights::init(&layout.into(), 7, device)?;
    let mut trainer = Trainer::new(weights, TrainOptions { slots, max_norm: 0.5, ..TrainOptions::adam(0.05, 7) })?;
    trainer.share_with(ranks)?;
    let xs: Vec<f32> = (0..2 * BATCH).map(|i| (i as f32 * 0.37).sin()).collect();
    let mut tick = None;
    for _ in 0..3 {
        tick = Some(trainer.step_in_parts(BATCH, part, |cx, range| {
            let n = range.len();
            let own = &xs[2 * range.start..2 * range.end];
            let x = Tensor::from_slice(own, [n, 2], device)?;
            let y: Vec<f32> = own.chunks(2).map(|x| x[0] * x[1] + 0.5).collect();
            let y = Tensor::from_slice(&y, [n, 1], device)?;
            let hidden = norm.forward(cx, &first.forward(cx, &(&x).into())?)?.relu()?;
            (last.forward(cx, &hidden)? - &y)?.square()?.mean_all()
        })?);
    }
    let tick = tick.unwrap();
    let weights = trainer.weights();
    Ok((weights.flat().to_vec()?, weights.buffers().to_vec()?, tick.loss, tick.gradient_norm))
}

#[test]
fn any_number_of_ranks_gives_the_bits_of_one() {
    for (slots, part) in [(1, 3), (2, 3), (4, 3), (5, BATCH), (7, BATCH)] {
        let alone = trained(&Ranks::alone(), slots, part, &Device::Cpu).unwrap();
        for size in (2..=slots.min(4)).chain([slots]).filter(|size| *size > 1) {
            for (rank, found) in
                on_ranks(size, |ranks| trained(&ranks, slots, part, &Device::Cpu).unwrap()).into_iter().enumerate()
            {
                assert!(found == alone, "rank {rank} of {size}, {slots} slots: {found:?}\n{alone:?}");
            }
        }
    }
}

#[test]
#[cfg(feature = "emulator")]
fn the_kernels_do_as_well() {
    let device = Device::emulator().unwrap();
    let alone = trained(&Ranks::alone(), 4, BATCH, &device).unwrap();
    for found in on_ranks(2, |ranks| trained(&ranks, 4, BATCH, &device).unwrap()) {
        assert!(found == alone);
    }
}

/// More slots only change how sums round, where no layer looks at the whole batch.
#[test]
fn slots_are_parts_of_the_same_batch() {
    let step = |slots: usize| {
        let mut layout = Layout::new();
        let line = Linear::new(&mut layout.scope("line"), 1, 1, 1.0);
        let weights = Weights::init(&layout.into(), 7, &Device::Cpu).unwrap();
        let trainer = Trainer::new(weights, TrainOptions { slots, ..TrainOptions::adam(0.1, 7) }).unwrap();
        let gradient = trainer.gradient_in_parts(BATCH, BATCH, |cx, range| {
            let x: Vec<f32> = range.clone().map(|i| i as f32 / 24.0).collect();
            let x = Tensor::from_slice(&x, [x.len(), 1], &Device::Cpu)?;
            line.forward(cx, &(&x).into())?.square()?.mean_all()
        });
        let gradient = gradient.unwrap();
        (gradient.loss(), gradient.flat().to_vec::<f32>().unwrap())
    };
    let (loss, whole) = step(1);
    for slots in [2, 3, 7, 24] {
        let (other, cut) = step(slots);
        assert!((loss - other).abs() < 1e-6 * loss.abs(), "{loss} {other}");
        assert!(whole.iter().zip(&cut).all(|(a, b)| (a - b).abs() <= 1e-5 * a.abs().max(1e-3)), "{whole:?} {cut:?}");
    }
}

#[test]
fn what_cannot_be_shared_is_an_error() {
    let error = trained(&Ranks::alone(), 25, 3, &Device::Cpu).unwrap_err().to_string();
    assert!(error.contains("a batch of 24 in 25 slots"), "{error}");
    for error in on_ranks(3, |ranks| trained(&ranks, 2, 3, &Device::Cpu).unwrap_err().to_string()) {
        assert!(error.contains("train.slots = 2 gives 3 ranks nothing to share"), "{error}");
    }
    let ends = on_ranks(2, |ranks| {
        let mut layout = Layout::new();
        let line = Linear::new(&mut layout.scope("line"), 1, 1, 1.0);
        let weights = Weights::init(&layout.into(), 7, &Device::Cpu)?;
        let mut trainer = Trainer::new(weights, TrainOptions { slots: 2, ..TrainOptions::adam(0.1, 7) })?;
        trainer.share_with(&ranks)?;
        let before: Vec<f32> = trainer.weights().flat().to_vec()?;
        let step = trainer.step_in_parts(2, 2, |cx, range| {
            let x = if range.start == 1 { f32::NAN } else { 1.0 };
            let x = Tensor::from_slice(&[x], [1, 1], &Device::Cpu)?;
            line.forward(cx, &(&x).into())?.square()?.mean_all()
        });
        assert_eq!(trainer.weights().flat().to_vec::<f32>()?, before, "nobody has made the step");
        step
    });
    let told = ends[0].as_ref().unwrap_err().to_string();
    assert!(told.contains("rank 1 ended: the training loss of step 1 is not finite"), "{told}");
    assert!(matches!(ends[1], Err(Error::NonFinite { .. })), "{:?}", ends[1]);
}
