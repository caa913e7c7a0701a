//! What generators make, discriminators judge and classifiers read, forward and backward: on every device as on the
//! CPU; and penalties on the discriminators' gradients.

mod hardware;

use veridical::nn::pairs::{
    ConvolutionalDiscriminator, ConvolutionalGenerator, PairDiscriminator, PairGenerator, PerceptronDiscriminator,
    PerceptronGenerator, ResidualDiscriminator, ResidualGenerator,
};
use veridical::nn::{Context, Layout, Scope, Stack, StackConfig, Weights};
use veridical::ops::random::Address;
use veridical::players::{DiffAugment, GanLoss, penalty};
use veridical::{DType, Device, Result, Tape, Tensor, Var, ops};

const SIZE: [usize; 3] = [8, 8, 3];
const CLASSES: usize = 3;
const LATENTS: usize = 4;

type Pair = (Box<dyn PairGenerator>, Box<dyn PairDiscriminator>);
type Build = fn(&mut Scope) -> Result<Pair>;

const ALL: [(&str, Build); 3] = [("perceptron", perceptrons), ("convolutional", convolutional), ("residual", residual)];

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
fn loss_and_gradient(build: Build, device: &Device) -> Result<Vec<Vec<f64>>> {
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
    for (name, build) in ALL {
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

/// Of each discriminator of pairs, through normalised weights, residual blocks and the projection on the class: how the
/// penalty changes along its own gradient is what that gradient says. Networks compute in f32, and so do the
/// differences.
#[test]
fn penalties_of_the_pair_networks_agree_with_differences() {
    let values = |x: &Tensor| x.to_f64().unwrap();
    let shown: Vec<f32> = (0..3 * 8 * 8 * 3).map(|i| ((i * 37 + 11) % 101) as f32 / 50.0 - 1.013).collect();
    let shown = Tensor::from_vec(shown, [3, 8, 8, 3], &Device::Cpu).unwrap();
    let labels = Tensor::from_slice(&[2u32, 0, 1], [3], &Device::Cpu).unwrap();
    let labels: Var = ops::one_hot(&labels, CLASSES, DType::F32).unwrap().into();
    for (name, build) in ALL {
        let mut layout = Layout::new();
        let (_, network) = build(&mut layout.scope("players")).unwrap();
        let layout = layout.into();
        for (kind, center) in [("R1", None), ("WGAN-GP", Some(1.0))] {
            let penalty = |weights: &Weights, louder: f64| -> (f64, Vec<f64>) {
                let cx = Context::differentiable(weights, &Tape::new());
                let critic = |x: &Var| ops::scale(network.score(&cx, x, &labels)?, louder);
                let x = cx.leaf(&shown).unwrap();
                let loss = match center {
                    None => penalty::r1(&x, 10.0, critic),
                    Some(center) => penalty::gradient_penalty(&x, 10.0, center, critic),
                };
                let loss = loss.unwrap();
                let gradient = cx.flat_gradient(&mut loss.backward().unwrap()).unwrap();
                (values(loss.value())[0], values(&gradient))
            };
            // Where a leaky ReLU bends, the penalty jumps, and the difference across is no slope: the median of five.
            let mut off: Vec<f64> = (0..5)
                .map(|seed| {
                    let weights = Weights::init(&layout, seed, &Device::Cpu).unwrap();
                    // At first some networks hardly say anything: 10 (1e-5 - 1)^2 is 10 to f32.
                    let louder = 1e3f64.powi((name == "convolutional").into());
                    let gradient = penalty(&weights, louder).1;
                    let norm = gradient.iter().map(|g| g * g).sum::<f64>().sqrt();
                    assert!(norm > 0.0, "{name} {kind}: no gradient");
                    let flat = values(weights.flat());
                    let moved = |by: f64| {
                        let moved = flat.iter().zip(&gradient).map(|(w, g)| (w + by * g / norm) as f32);
                        let moved = Tensor::from_vec(moved.collect(), [flat.len()], &Device::Cpu).unwrap();
                        penalty(&weights.with_flat(moved).unwrap(), louder).0
                    };
                    let step = 3e-4;
                    ((moved(step) - moved(-step)) / (2.0 * step) / norm - 1.0).abs()
                })
                .collect();
            off.sort_by(f64::total_cmp);
            assert!(off[2] < 1e-3, "{name} {kind}: slopes and gradients differ by {off:?}");
        }
    }
}
