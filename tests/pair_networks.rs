//! What generators make, discriminators judge and classifiers read, forward and backward: on every device as on the
//! CPU.

mod hardware;

use veridical::nn::pairs::{
    ConvolutionalDiscriminator, ConvolutionalGenerator, PairDiscriminator, PairGenerator, PerceptronDiscriminator,
    PerceptronGenerator, ResidualDiscriminator, ResidualGenerator,
};
use veridical::nn::{Context, Layout, Scope, Stack, StackConfig, Weights};
use veridical::ops::random::Address;
use veridical::players::{DiffAugment, GanLoss};
use veridical::{DType, Device, Result, Tape, Tensor, Var, ops};

const SIZE: [usize; 3] = [8, 8, 3];
const CLASSES: usize = 3;
const LATENTS: usize = 4;

type Pair = (Box<dyn PairGenerator>, Box<dyn PairDiscriminator>);

fn perceptrons(at: &mut Scope) -> Result<Pair> {
    let generator = PerceptronGenerator::new(&mut at.at("g"), (LATENTS, CLASSES), &[10, 12], SIZE)?;
    let discriminator = PerceptronDiscriminator::new(&mut at.at("d"), SIZE, &[12, 6], CLASSES, [0.6, 0.5])?;
    Ok((Box::new(generator), Box::new(discriminator)))
}

fn convolutional(at: &mut Scope) -> Result<Pair> {
    let generator = ConvolutionalGenerator::new(&mut at.at("g"), (LATENTS, CLASSES), 8, SIZE)?;
    let discriminator = ConvolutionalDiscriminator::new(&mut at.at("d"), SIZE, 4, CLASSES)?;
    Ok((Box::new(generator), Box::new(discriminator)))
}

fn residual(at: &mut Scope) -> Result<Pair> {
    let generator = ResidualGenerator::new(&mut at.at("g"), (LATENTS, CLASSES), (8, 2), SIZE)?;
    let discriminator = ResidualDiscriminator::new(&mut at.at("d"), SIZE, (8, 3), CLASSES)?;
    Ok((Box::new(generator), Box::new(discriminator)))
}

/// A loss in which all have a part, and its gradient; in training, so that noise and dropout have theirs.
fn loss_and_gradient(build: fn(&mut Scope) -> Result<Pair>, device: &Device) -> Result<Vec<Vec<f64>>> {
    let mut layout = Layout::new();
    let mut scope = layout.scope("players");
    let (generator, discriminator) = build(&mut scope)?;
    let layers = ["4x3", "pool", "6x3v"].map(String::from).to_vec();
    let config = StackConfig { size: SIZE, layers, classes: CLASSES, dropout: 0.5, noise: 0.1, slope: 0.1 };
    let classifier = Stack::new(&mut scope.at("c"), &config)?;
    let weights = Weights::init(&layout.into(), 5, &Device::Cpu)?.to_device(device)?;

    let address = Address::new(3, 2);
    let cx = Context::training(&weights, &Tape::new(), address.clone());
    let labels = Tensor::from_slice(&[2u32, 0, 1, 1, 2], [5], device)?;
    let hot: Var = ops::one_hot(&labels, CLASSES, DType::F32)?.into();
    let z: Vec<f32> = (0..5 * LATENTS).map(|i| ((i * 37 + 11) % 100) as f32 / 100.0).collect();
    let made = generator.generate(&cx, &Tensor::from_slice(&z, [5, LATENTS], device)?.into(), &hot)?;
    let [seen, again] = DiffAugment::default().both(&made, &(0.5 * &made)?, &address)?;
    let judged = GanLoss::NonSaturating.discriminator(
        &discriminator.score(&cx, &again, &hot)?,
        &discriminator.scores(&cx, &seen)?.reshape([5 * CLASSES])?,
    )?;
    let read = ops::cross_entropy(classifier.classify(&cx, &classifier.features(&cx, &made)?)?, &labels)?;
    let loss = (judged + read)?;
    let gradient = cx.flat_gradient(&mut loss.backward()?)?;
    Ok(vec![made.value().to_f64()?, loss.value().to_f64()?, gradient.to_f64()?])
}

#[test]
fn the_networks_of_a_game_are_the_same_on_every_device() {
    type Build = fn(&mut Scope) -> Result<Pair>;
    let all: [(&str, Build); 3] =
        [("perceptron", perceptrons), ("convolutional", convolutional), ("residual", residual)];
    for (name, build) in all {
        let expected = loss_and_gradient(build, &Device::Cpu).unwrap();
        for device in hardware::devices() {
            let found = loss_and_gradient(build, &device).unwrap();
            for (what, (found, expected)) in ["images", "loss", "gradient"].iter().zip(found.iter().zip(&expected)) {
                let scale = expected.iter().fold(0f64, |max, x| max.max(x.abs()));
                let off = found.iter().zip(expected).fold(0f64, |max, (a, b)| max.max((a - b).abs()));
                assert!(scale > 0.0 && found.len() == expected.len());
                assert!(off <= 1e-4 * scale, "{name} on {device}: {what} off by {off:e} of {scale:e}");
            }
        }
    }
}
