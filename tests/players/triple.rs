//! Triple-GAN on a joint law that is known: a number from one of two normal laws that overlap.

use veridical::methods::game::{HeldOut, Phase, Player, Truth};
use veridical::methods::triple_gan::{Inputs, Move, Objective, Pairs, Players, TripleGan};
use veridical::nn::pairs::{PairDiscriminator, PairGenerator};
use veridical::nn::{
    AnyClassifierConfig, Context, FeatureClassifier, InputRange, LayerInit, Linear, Module, PerceptronConfig, Scope,
};
use veridical::optim::{HalfLife, OptimizerConfig};
use veridical::players::GanLoss;
use veridical::random::{self, Normal, Purpose, RandomKey, Samples};
use veridical::train::{TrainOptions, Trained};
use veridical::{Device, Result, Tape, Tensor, Var, ops};

const CENTRE: f32 = 0.4;
const WIDTH: f32 = 0.3;
const BATCH: usize = 128;

/// Images of one pixel, fresh in each step: class 0 about -0.4, class 1 about 0.4.
#[derive(Debug)]
struct Overlapping(HeldOut);

impl Overlapping {
    fn new() -> Self {
        let x = Tensor::from_slice(&[-CENTRE, CENTRE], [2, 1, 1, 1], &Device::Cpu).unwrap();
        Overlapping(HeldOut { student: x.clone(), teacher: x, truth: Truth::Class(vec![0, 1]) })
    }

    fn draw(&self, site: u32, step: u64) -> Result<(Tensor, Tensor)> {
        let key = RandomKey::new(9, Purpose::Custom).at_site(site).at_step(step as u32);
        let mut x = vec![0.0; BATCH];
        random::fill(Normal, &key.stream()?, Samples::From(0), 1, &mut x)?;
        let y: Vec<u32> = (0..BATCH as u32).map(|i| i % 2).collect();
        for (x, y) in x.iter_mut().zip(&y) {
            *x = WIDTH * *x + if *y == 0 { -CENTRE } else { CENTRE };
        }
        Ok((Tensor::from_slice(&x, [BATCH, 1, 1, 1], &Device::Cpu)?, Tensor::from_slice(&y, [BATCH], &Device::Cpu)?))
    }
}

impl Inputs for Overlapping {
    fn classes(&self) -> usize {
        2
    }

    fn labelled(&mut self, player: u32, step: u64) -> Result<(Tensor, Tensor)> {
        self.draw(2 * player, step)
    }

    fn unlabelled(&mut self, player: u32, step: u64) -> Result<Tensor> {
        Ok(self.draw(2 * player + 1, step)?.0)
    }

    fn joined(&mut self, _: u64) -> Result<Option<Tensor>> {
        Ok(None) // nothing that is biased
    }

    fn held_out(&self) -> &HeldOut {
        &self.0
    }

    fn unlabelled_count(&self) -> usize {
        BATCH
    }

    fn generated(&self) -> usize {
        BATCH
    }
}

/// Two hidden layers of numbers and a class.
struct Small([Linear; 3]);

impl Small {
    fn new(scope: &mut Scope, inputs: usize) -> Self {
        let sizes = [[inputs, 32], [32, 32], [32, 1]];
        Small(std::array::from_fn(|i| {
            let [from, to] = sizes[i];
            Linear::new(&mut scope.at(&format!("layer{i}")), from, to, LayerInit::Kaiming)
        }))
    }

    fn apply(&self, cx: &Context, x: &Var, labels: &Var) -> Result<Var> {
        let n = x.shape()[0];
        let x = x.reshape([n, x.value().len() / n])?;
        let mut x = ops::concat(&[&x, labels], 1)?;
        for layer in &self.0[..2] {
            x = layer.forward(cx, &x)?.silu()?;
        }
        self.0[2].forward(cx, &x)
    }
}

struct Made(Small);
struct Judge(Small);

impl PairGenerator for Made {
    fn latents(&self) -> usize {
        4
    }

    fn generate(&self, cx: &Context, z: &Var, labels: &Var) -> Result<Var> {
        let n = z.shape()[0];
        self.0.apply(cx, &((2.0 * z)? - 1.0)?, labels)?.reshape([n, 1, 1, 1])
    }
}

impl PairDiscriminator for Judge {
    fn classes(&self) -> usize {
        2
    }

    fn score(&self, cx: &Context, x: &Var, labels: &Var) -> Result<Var> {
        let n = x.shape()[0];
        self.0.apply(cx, x, labels)?.reshape([n])
    }
}

#[test]
fn generator_and_classifier_come_to_the_joint_law() {
    let adam = |lr, seed| TrainOptions {
        // The players go round the equilibrium; the averages of their weights come to it.
        average: Some(HalfLife { images: 150.0 * BATCH as f64, ramp: None }),
        optimizer: OptimizerConfig::Adam { lr, beta1: 0.5, beta2: 0.99, eps: 1e-8, weight_decay: 0.0 },
        ..TrainOptions::adam(lr, seed)
    };
    let config = AnyClassifierConfig::Perceptron(PerceptronConfig {
        inputs: 1,
        hidden: vec![32],
        classes: 2,
        dropout: 0.0,
        range: InputRange::default(),
    });
    let classifier = |scope: &mut Scope| Ok(Box::new(config.build(scope)?) as Box<dyn FeatureClassifier>);
    let players = Players {
        generator: Some(
            Player::new("g", &Device::Cpu, adam(1e-3, 1), |s| Ok(Box::new(Made(Small::new(s, 6))) as _)).unwrap(),
        ),
        classifier: Player::new("c", &Device::Cpu, adam(2e-3, 2), classifier).unwrap(),
        discriminator: Some(
            Player::new("d", &Device::Cpu, adam(2e-3, 3), |s| Ok(Box::new(Judge(Small::new(s, 3))) as _)).unwrap(),
        ),
    };
    let objective = Objective {
        loss: GanLoss::NonSaturating,
        pairs: Pairs::Integrate,
        adversarial: 0.1,
        entropy: 0.0,
        balance: 0.0,
        consistency: 0.0,
        pseudo: 0.1,
    };
    let mut inputs = Overlapping::new();
    let judge = [Move::Discriminator; 2];
    let round = [&judge[..], &[Move::Generator, Move::Classifier]].concat();
    let phases = vec![Phase { rounds: 2000, moves: round }];
    let mut game = TripleGan::new(players, |_| objective, false, &mut inputs, phases).unwrap();
    for _ in 0..game.total() {
        game.step(&mut ()).unwrap();
    }

    // What is generated has the centre and the width of its class.
    for class in 0..2u32 {
        let x: Vec<f64> = game.draw(5, &vec![class; 2000]).unwrap().into_iter().map(f64::from).collect();
        let mean = x.iter().sum::<f64>() / 2000.0;
        let deviation = (x.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / 2000.0).sqrt();
        let centre = f64::from(if class == 0 { -CENTRE } else { CENTRE });
        assert!((mean - centre).abs() < 0.06, "class {class}: mean {mean} for {centre}");
        assert!((deviation / f64::from(WIDTH) - 1.0).abs() < 0.2, "class {class}: deviation {deviation}");
    }
    // The classifier's p(1|x) is that of two normal laws, 1 / (1 + exp(-2 centre x / width^2)).
    let classifier = &game.networks().classifier;
    let points: Vec<f32> = (-8..=8).map(|i| i as f32 / 10.0).collect();
    let x = Tensor::from_slice(&points, [points.len(), 1, 1, 1], &Device::Cpu).unwrap();
    let logits = classifier.network.forward(&classifier.averaged().unwrap(), &x.into()).unwrap();
    let p: Vec<f32> = logits.softmax().unwrap().value().to_vec().unwrap();
    for (x, p) in points.iter().zip(p.chunks(2)) {
        let expected = 1.0 / (1.0 + (-2.0 * CENTRE * x / (WIDTH * WIDTH)).exp());
        assert!((p[1] - expected).abs() < 0.05, "at {x}: {} for {expected}", p[1]);
    }
    // The discriminator cannot tell.
    let figures: std::collections::BTreeMap<&str, f64> = game.figures().into_iter().collect();
    assert!((figures["value"] + 4f64.ln()).abs() < 0.03, "{figures:?}");
    for name in ["judged_real", "judged_generated", "judged_classified"] {
        assert!((figures[name] - 0.5).abs() < 0.04, "{figures:?}");
    }
}

/// `R_P = KL(p_g || p_c) + H_{p_g}(y|x) - KL(p_g(x) || p(x))` where `p_c(x, y) = p(x) p_c(y|x)`, on a table of three x
/// and two y.
#[test]
fn what_the_classifier_learns_of_what_is_made_is_a_divergence() {
    let generated = [[0.1, 0.25], [0.2, 0.05], [0.3, 0.1]];
    let marginal = [0.5, 0.3, 0.2];
    let classified: [[f64; 2]; 3] = [[0.3, 0.7], [0.8, 0.2], [0.6, 0.4]];
    let (mut pseudo, mut divergence, mut entropy, mut of_x) = (0.0, 0.0, 0.0, 0.0);
    for (x, row) in generated.iter().enumerate() {
        let sum: f64 = row.iter().sum();
        of_x += sum * (sum / marginal[x]).ln();
        for (y, &p) in row.iter().enumerate() {
            let p: f64 = p;
            pseudo -= p * classified[x][y].ln();
            divergence += p * (p / (marginal[x] * classified[x][y])).ln();
            entropy -= p * (p / sum).ln();
        }
    }
    // The library's term on a batch that has the table's frequencies.
    let counts: Vec<(usize, u32)> = generated
        .iter()
        .enumerate()
        .flat_map(|(x, row)| {
            row.iter()
                .enumerate()
                .flat_map(move |(y, &p)| std::iter::repeat_n((x, y as u32), (p * 20.0_f64).round() as usize))
        })
        .collect();
    let logits: Vec<f64> = counts.iter().flat_map(|(x, _)| classified[*x].map(f64::ln)).collect();
    let labels: Vec<u32> = counts.iter().map(|(_, y)| *y).collect();
    let logits = Var::constant(Tensor::from_slice(&logits, [labels.len(), 2], &Device::Cpu).unwrap());
    let labels = Tensor::from_slice(&labels, [labels.len()], &Device::Cpu).unwrap();
    let found = ops::cross_entropy(&logits, &labels).unwrap().value().item().unwrap();
    assert!((found - pseudo).abs() < 1e-12, "{found} {pseudo}");
    assert!((pseudo - (divergence + entropy - of_x)).abs() < 1e-12);
}

/// The discriminator's loss is flat at `D* = p / (p + (p_g + p_c) / 2)`, whether the classifier's pairs are of its
/// likeliest class or of all classes by their probabilities; elsewhere it is not.
#[test]
fn the_best_discriminator_is_of_the_mixture() {
    let truth = [[2, 4], [5, 1], [3, 5]]; // of 20
    let generated = [[1, 6], [4, 1], [6, 2]];
    let pairs = |table: &[[usize; 2]; 3]| -> Vec<usize> {
        table.as_flattened().iter().enumerate().flat_map(|(pair, &n)| std::iter::repeat_n(pair, n)).collect()
    };
    let rows_of_x: Vec<usize> = truth.iter().enumerate().flat_map(|(x, n)| vec![x; n.iter().sum()]).collect();
    let integrate = [[0.3, 0.7], [0.8, 0.2], [0.6, 0.4]];
    let argmax = [[0.0, 1.0], [1.0, 0.0], [1.0, 0.0]];
    let objective = Objective {
        loss: GanLoss::NonSaturating,
        pairs: Pairs::Integrate,
        adversarial: 1.0,
        entropy: 0.0,
        balance: 0.0,
        consistency: 0.0,
        pseudo: 0.0,
    };
    for (kind, p_c) in [(Pairs::Integrate, integrate), (Pairs::Argmax, argmax)] {
        let objective = Objective { pairs: kind, ..objective };
        // The logits of a table, looked up for each pair.
        let gradient = |logits: &[f64]| {
            let tape = Tape::new();
            let table = tape.leaf(Tensor::from_slice(logits, [6, 1], &Device::Cpu).unwrap());
            let look_up = |pairs: &[usize], shape: &[usize]| {
                let of = pairs.iter().flat_map(|&pair| (0..6).map(move |i| f64::from(u8::from(i == pair))));
                let of = Tensor::from_slice(&of.collect::<Vec<_>>(), [pairs.len(), 6], &Device::Cpu).unwrap();
                Var::from(&of).matmul(&table).unwrap().reshape(shape).unwrap()
            };
            let both: Vec<usize> = rows_of_x.iter().flat_map(|x| [2 * x, 2 * x + 1]).collect();
            let p: Vec<f64> = rows_of_x.iter().flat_map(|&x| p_c[x]).collect();
            let p = Var::constant(Tensor::from_slice(&p, [20, 2], &Device::Cpu).unwrap());
            let (real, made) = (look_up(&pairs(&truth), &[20]), look_up(&pairs(&generated), &[20]));
            let loss = objective.discriminator(&real, &made, (&look_up(&both, &[20, 2]), &p)).unwrap();
            loss.backward().unwrap().get(&table).unwrap().to_f64().unwrap()
        };
        let best: Vec<f64> = (0..6)
            .map(|pair| {
                let (x, y) = (pair / 2, pair % 2);
                let of_x = truth[x].iter().sum::<usize>() as f64 / 20.0;
                let others = (generated[x][y] as f64 / 20.0 + of_x * p_c[x][y]) / 2.0;
                (truth[x][y] as f64 / 20.0 / others).ln() // the logit of p / (p + others)
            })
            .collect();
        let flat = gradient(&best);
        assert!(flat.iter().all(|g| g.abs() < 1e-12), "{kind:?}: {flat:?}");
        let off: Vec<f64> = best.iter().map(|logit| logit + 0.1).collect();
        assert!(gradient(&off).iter().all(|&g| g > 1e-3), "{kind:?}");
    }
}
