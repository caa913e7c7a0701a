//! Optimiser and averages in shares, one on each rank.

use veridical::distributed::Ranks;
use veridical::nn::{Layout, Linear, Module, Weights};
use veridical::optim::HalfLife;
use veridical::train::{TrainOptions, Trainer, TrainerState};
use veridical::{DType, Device, Result, Tensor};

use super::on_ranks;

const BATCH: usize = 12;
const WIDTH: usize = 24;
const POWERS: [f64; 2] = [0.05, 0.1];

/// A regression with everything that a trainer keeps.
struct Regression {
    first: Linear,
    last: Linear,
    trainer: Trainer,
}

impl Regression {
    fn new(ranks: &Ranks, compute: DType, device: &Device) -> Result<Self> {
        let mut layout = Layout::new();
        let first = Linear::new(&mut layout.scope("first"), 2, WIDTH, 1.0);
        let last = Linear::new(&mut layout.scope("last"), WIDTH, 10, 1.0);
        let weights = Weights::init(&layout.into(), 7, device)?;
        let average = Some(HalfLife { images: 40.0, ramp: None });
        let adam = TrainOptions::adam(0.05, 7);
        let options = TrainOptions { slots: 8, max_norm: 0.5, average, compute, shard_state: true, ..adam };
        let mut trainer = Trainer::new(weights, options)?.with_power_averages(&POWERS)?;
        trainer.share_with(ranks)?;
        Ok(Regression { first, last, trainer })
    }

    fn steps(&mut self, count: usize) -> Result<()> {
        let device = self.trainer.weights().device();
        let xs: Vec<f32> = (0..2 * BATCH).map(|i| (i as f32 * 0.37).sin()).collect();
        for _ in 0..count {
            self.trainer.step_in_parts(BATCH, BATCH, |cx, range| {
                let n = range.len();
                let x = Tensor::from_slice(&xs[2 * range.start..2 * range.end], [n, 2], &device)?;
                let hidden = self.first.forward(cx, &(&x).into())?.relu()?;
                let y = veridical::ops::cast(&self.last.forward(cx, &hidden)?, DType::F32)?;
                (y - 0.5)?.square()?.mean_all()
            })?;
        }
        Ok(())
    }

    /// Weights, average, power-function averages and the optimiser's buffers.
    fn state(&mut self) -> Result<Vec<Vec<f32>>> {
        self.trainer.gather()?;
        let trainer = &self.trainer;
        let mut all = vec![trainer.weights().flat().to_vec()?, trainer.average()?.flat().to_vec()?];
        for (_, average) in trainer.power_averages()? {
            all.push(average.flat().to_vec()?);
        }
        for (_, buffer) in trainer.optimizer_state()? {
            all.push(buffer.to_vec()?);
        }
        Ok(all)
    }

    /// What another one needs to go on.
    fn checkpoint(&mut self) -> Result<TrainerState> {
        self.trainer.gather()?;
        let trainer = &self.trainer;
        Ok(TrainerState {
            step: trainer.steps(),
            seen: trainer.seen(),
            weights: trainer.weights().clone(),
            average: Some(trainer.average()?),
            powers: trainer.power_averages()?.into_iter().map(|(_, weights)| weights).collect(),
            optimizer: trainer.optimizer_state()?.into_iter().map(|(name, t)| (name.to_string(), t.clone())).collect(),
        })
    }
}

/// Three steps and three more, by ranks in shares and by one alone.
fn shares_are_those_of_the_whole(compute: DType, device: &Device) {
    let mut alone = Regression::new(&Ranks::alone(), compute, device).unwrap();
    alone.steps(3).unwrap();
    let middle = alone.state().unwrap();
    alone.steps(3).unwrap();
    let end = alone.state().unwrap();
    assert_eq!(end.len(), 2 + POWERS.len() + 2);
    // With eight, some have nothing to keep.
    for size in [2, 3, 8] {
        on_ranks(size, |ranks| {
            let mut own = Regression::new(&ranks, compute, device).unwrap();
            own.steps(3).unwrap();
            let error = own.trainer.average().unwrap_err().to_string();
            assert!(error.contains("call gather"), "{error}");
            let share = own.trainer.optimizer().state()[0].1.len();
            assert!(share <= own.trainer.weights().flat().len().div_ceil(size) + 64, "{share}");
            assert!(own.state().unwrap() == middle, "{size} ranks, three steps");
            // Another one goes on from there, as a run on other ranks would.
            let mut other = Regression::new(&ranks, compute, device).unwrap();
            other.trainer.restore(own.checkpoint().unwrap()).unwrap();
            for regression in [&mut own, &mut other] {
                regression.steps(3).unwrap();
                assert!(regression.state().unwrap() == end, "{size} ranks, six steps");
            }
        });
    }
}

#[test]
fn every_share_is_that_of_the_whole() {
    shares_are_those_of_the_whole(DType::F32, &Device::Cpu);
    shares_are_those_of_the_whole(DType::BF16, &Device::Cpu);
}

#[test]
#[cfg(feature = "emulator")]
fn on_the_kernels_too() {
    shares_are_those_of_the_whole(DType::BF16, &Device::emulator().unwrap());
}
