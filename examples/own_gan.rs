//! Two networks with two optimisers that train each other, in a run that can be stopped and resumed to the same bits.
//!
//! `cargo run --release --example own_gan`

use veridical::nn::{BatchNorm, Context, Layout, Linear, Module, Sequential, Weights};
use veridical::ops::random::Address;
use veridical::players::{GanLoss, penalty};
use veridical::random::Purpose;
use veridical::train::{
    Existing, Observer, Plan, RunDir, RunOptions, Tick, TrainOptions, Trained, Trainer, run_trained,
};
use veridical::{DType, Device, Result, Tensor, Var, ops};

const BATCH: usize = 128;
const SEED: u64 = 5;
const LOSS: GanLoss = GanLoss::NonSaturating;
const R1: f64 = 0.1;

/// A generator of numbers, and a discriminator that tells them from those of N(2, 0.5^2).
struct Gan {
    networks: [Sequential; 2],
    generator: Trainer,
    discriminator: Trainer,
}

impl Gan {
    fn new() -> Result<Self> {
        let silu = |_: &Context, x: &Var| ops::silu(x);
        let mut layout = Layout::new();
        let mut scope = layout.scope("generator");
        let generator = Sequential::new()
            .then(Linear::new(&mut scope.at("first"), 4, 16, 1.0))
            .then(BatchNorm::new(&mut scope.at("norm"), 16))
            .then(silu)
            .then(Linear::new(&mut scope.at("last"), 16, 1, 1.0));
        let weights = Weights::init(&layout.into(), SEED, &Device::Cpu)?;
        let mut layout = Layout::new();
        let mut scope = layout.scope("discriminator");
        let discriminator = Sequential::new()
            .then(Linear::new(&mut scope.at("first"), 1, 16, 1.0))
            .then(silu)
            .then(Linear::new(&mut scope.at("last"), 16, 1, 1.0));
        let judged = Weights::init(&layout.into(), SEED + 1, &Device::Cpu)?;
        Ok(Gan {
            networks: [generator, discriminator],
            generator: Trainer::new(weights, TrainOptions::adam(2e-3, SEED))?,
            discriminator: Trainer::new(judged, TrainOptions::adam(4e-3, SEED + 1))?,
        })
    }

    fn fake(&self, cx: &Context) -> Result<Var> {
        let noise = ops::normal([BATCH, 4], DType::F32, &cx.address()?.draws(Purpose::Latents), &Device::Cpu)?;
        self.networks[0].forward(cx, &noise.into())
    }

    fn logits(&self, cx: &Context, x: &Var) -> Result<Var> {
        self.networks[1].forward(cx, x)
    }

    /// The numbers that the generator makes of one address, without gradients.
    fn sample(&self, step: u32) -> Result<Tensor> {
        let cx = Context::inference(self.generator.weights()).at(Address::new(SEED, step));
        Ok(self.fake(&cx)?.into_value())
    }
}

impl Trained for Gan {
    fn players(&self) -> Vec<(&str, &Trainer)> {
        vec![("generator", &self.generator), ("discriminator", &self.discriminator)]
    }

    fn players_mut(&mut self) -> Vec<(&str, &mut Trainer)> {
        vec![("generator", &mut self.generator), ("discriminator", &mut self.discriminator)]
    }

    /// Both gradients at the same weights, then both steps. The discriminator's is differentiated through its gradient
    /// at the real numbers: `penalty::r1`, of logits that the loss has anyway.
    fn step(&mut self, _: &mut dyn Observer) -> Result<Tick> {
        let step = self.generator.steps() as u32;
        let fakes = self.sample(step)?;
        let judged = self.discriminator.gradient(BATCH, |cx| {
            let real = ops::normal([BATCH, 1], DType::F32, &cx.address()?.draws(Purpose::Synthetic), &Device::Cpu)?;
            let real = cx.leaf(((0.5 * real)? + 2.0)?)?;
            let on_real = self.logits(cx, &real)?;
            let loss = LOSS.discriminator(&on_real, &self.logits(cx, &(&fakes).into())?)?;
            loss + (0.5 * R1 * penalty::squared_norms(&on_real, &real)?.mean_all()?)?
        })?;
        let made = self.generator.gradient(BATCH, |cx| {
            let judge = Context::inference(self.discriminator.weights());
            LOSS.generator(&self.logits(&judge, &self.fake(cx)?)?)
        })?;
        let [_, tick] = Trainer::apply_all([(&mut self.discriminator, judged), (&mut self.generator, made)])?;
        Ok(tick)
    }
}

fn main() -> Result<()> {
    let plan = |steps| Plan { steps, log_every: 100, keep_last: 2, ..Plan::default() };
    let place = |name: &str| std::env::temp_dir().join(name);
    let (straight, halved) = (place("veridical-gan-straight"), place("veridical-gan-halved"));

    let mut gan = Gan::new()?;
    let dir = RunDir::create(&straight, Existing::Overwrite)?;
    run_trained(&mut gan, &plan(1500), &dir, RunOptions::default(), &mut ())?;
    let made = gan.sample(10_000)?.to_f64()?;
    println!("mean of the generated numbers {:.2}, of the data 2", made.iter().sum::<f64>() / made.len() as f64);

    for (steps, resume, existing) in [(700, false, Existing::Overwrite), (1500, true, Existing::Resume)] {
        let dir = RunDir::create(&halved, existing)?;
        run_trained(
            &mut Gan::new()?,
            &plan(steps),
            &dir,
            RunOptions { resume, budget: None, ..RunOptions::default() },
            &mut (),
        )?;
    }
    for player in ["generator.safetensors", "discriminator.safetensors"] {
        let [a, b] = [&straight, &halved].map(|dir| std::fs::read(dir.join("models").join(player)));
        assert!(a.is_ok_and(|a| b.is_ok_and(|b| a == b)), "{player} differs");
    }
    println!("stopped after 700 steps and resumed: the same bits");
    Ok(())
}
