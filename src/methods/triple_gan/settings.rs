//! The settings of `veridical triple-gan`.

use super::players::Move;
use super::{Objective, Pairs};
use crate::error::{Error, Result};
use crate::methods::game::{AffineSection, GameTrainSection, LabelledSection, Phase};
use crate::players::GanLoss;
use crate::settings::{Above, AtLeast};
use crate::train::OwnSettings;

crate::choice! {
    /// What is trained in place of the game, to compare with.
    pub enum Baseline {
        /// Nothing: the game is played.
        None = "none",
        /// The classifier by the labels alone.
        Supervised = "supervised",
        /// The classifier by labels and by what needs none: entropy, balance, consistency. No generator.
        Entropy = "entropy",
        /// Classifier and generator of Improved-GAN: one class more for what is made, matched mean features.
        /// Salimans et al. 2016, arXiv 1606.03498.
        FeatureMatching = "feature-matching",
    }
}

crate::choice! {
    /// What generator and discriminator are made of.
    pub enum NetworkKind {
        /// Linear layers: those for MNIST.
        Perceptron = "perceptron",
        /// Convolutions: those for SVHN and CIFAR-10.
        Convolutional = "convolutional",
        /// Residual blocks with a projection on the class: those of the second version.
        Residual = "residual",
    }
}

crate::settings! {
    /// The game.
    pub struct TripleGanSection {
        /// What is trained in its place, to compare with.
        baseline: Baseline = Baseline::None;
        /// Iterations: each player's steps.
        iterations: u64 = 2000, in 1..=1 << 32;
        /// Steps of the classifier alone that come first.
        pretraining: u64 = 300, in 0..=1 << 32;
        /// Steps of the discriminator in an iteration.
        discriminator_steps: u64 = 1, in 1..=100;
        /// Losses on true and false pairs.
        loss: GanLoss = GanLoss::NonSaturating;
        /// Which pairs stand for the classifier's.
        pairs: Pairs = Pairs::Argmax;
        /// What the game weighs for the classifier.
        adversarial: f64 = 0.1, in AtLeast(0.0);
        /// Weight of the entropy of the classifier's labels.
        entropy: f64 = 0.3, in AtLeast(0.0);
        /// Weight of the balance of their mean.
        balance: f64 = 1e-3, in AtLeast(0.0);
        /// The same in the steps that come first.
        pretraining_balance: f64 = 0.3, in AtLeast(0.0);
        /// Weight of the consistency of two passes, once it has risen.
        consistency: f64 = 0.0, in AtLeast(0.0);
        /// Steps of the classifier in which it rises.
        consistency_ramp: u64 = 1000, in 0..=1 << 32;
        /// Whether the second pass is that of the averaged classifier.
        mean_teacher: bool = false;
        /// Weight of what the classifier learns of what the generator makes.
        pseudo: f64 = 0.1, in AtLeast(0.0);
        /// Share of the iterations after which it begins to.
        pseudo_from: f64 = 0.3, in 0.0..=1.0;
        /// Labelled images in a step of the classifier; no more than there are.
        labelled: usize = 50, in 1..=1 << 20;
        /// Unlabelled images in a step of the classifier, whose pairs the discriminator is to tell.
        unlabelled: usize = 50, in 2..=1 << 20;
        /// Images that the generator makes in a step.
        generated: usize = 50, in 2..=1 << 20;
        /// Labelled images that the discriminator sees in a step: true pairs.
        true_pairs: usize = 1, in 1..=1 << 20;
        /// Unlabelled images that join them, with the classes that the classifier gives them; 0: none, without the
        /// bias.
        joined: usize = 50, in 0..=1 << 20;
        /// Adam's learning rate of generator and discriminator; it falls to 0 by half a cosine.
        lr: f64 = 1e-3, in Above(0.0);
        /// Adam's learning rate of the classifier.
        classifier_lr: f64 = 1e-3, in Above(0.0);
        /// Decay of Adam's first moment, of generator and discriminator.
        beta1: f64 = 0.5, in 0.0..1.0;
        /// The same of the classifier.
        classifier_beta1: f64 = 0.5, in 0.0..1.0;
        /// How far the averaged classifier moves towards it in a step, at least: at first it moves more, so that it
        /// forgets where it began.
        average: f64 = 0.01, in 1e-6..=1.0;
    }
}

crate::settings! {
    /// Generator and discriminator.
    pub struct PairSection {
        /// What they are made of.
        kind: NetworkKind = NetworkKind::Perceptron;
        /// Numbers that an image is made of.
        latents: usize = 100, in 1..=1 << 16;
        /// perceptron: widths of the generator's hidden layers.
        generator: Vec<usize> = vec![200, 200], in 1..=1 << 16;
        /// perceptron: widths of the discriminator's.
        discriminator: Vec<usize> = vec![200, 100, 50], in 1..=1 << 16;
        /// perceptron: deviation of the noise on the discriminator's images, in [-1, 1].
        image_noise: f64 = 0.6, in AtLeast(0.0);
        /// perceptron: deviation of the noise between its layers.
        noise: f64 = 0.5, in AtLeast(0.0);
        /// convolutional, residual: channels of the generator.
        channels: usize = 512, in 1..=1 << 14;
        /// convolutional, residual: channels of the discriminator.
        discriminator_channels: usize = 32, in 1..=1 << 14;
        /// residual: blocks of the generator, each of which doubles the size.
        blocks: usize = 2, in 1..=6;
    }
}

crate::settings! {
    /// The classifier.
    pub struct ClassifierSection {
        /// Its layers: 32x5v is a 5x5 convolution of 32 channels without padding, 64x3 one that keeps the size, pool
        /// the maxima of 2x2 pixels and dropout.
        layers: Vec<String> = ["32x3", "pool", "64x3", "64x3", "pool", "64x3"].map(String::from).to_vec();
        /// Probability of dropout after each pool.
        dropout: f64 = 0.5, in 0.0..1.0;
        /// Deviation of the noise on its images, in [-1, 1].
        noise: f64 = 0.0, in AtLeast(0.0);
        /// What negative numbers are multiplied by; 0: ReLU.
        slope: f64 = 0.0, in 0.0..1.0;
        /// Decoupled weight decay, as AdamW has it.
        weight_decay: f64 = 1e-4, in AtLeast(0.0);
    }
}

crate::settings! {
    /// What is measured and drawn.
    pub struct SamplesSection {
        /// Images of each class that are drawn to see whether a classifier of all labels reads their class; 0: none.
        measured: usize = 50, in 0..=100_000;
        /// Images of each class in pictures.
        columns: usize = 10, in 1..=64;
        /// Passes of that classifier over the training images; 0: as many as it takes.
        epochs: u64 = 0, in 0..=1000;
    }
}

crate::sections! {
    /// The settings of `veridical triple-gan`.
    #[derive(Default)]
    #[serde(deny_unknown_fields, default)]
    pub struct TripleGanSettings {
        /// What is learned from.
        data: LabelledSection,
        /// The game.
        triple_gan: TripleGanSection,
        /// Generator and discriminator.
        networks: PairSection,
        /// The classifier.
        classifier: ClassifierSection,
        /// What is done to pictures.
        augment: AffineSection,
        /// What is measured and drawn.
        samples: SamplesSection,
        /// The run.
        train: GameTrainSection,
    }
}

impl OwnSettings for TripleGanSettings {
    const FREE: &'static [&'static str] = &["train.show_every", "samples."];

    fn check(&self) -> Result<()> {
        let game = &self.triple_gan;
        match game.loss {
            GanLoss::NonSaturating | GanLoss::Hinge => Ok(()),
            other => Err(Error::Config(format!(
                "triple_gan.loss = {other} is of two players; there are {} and {}",
                GanLoss::NonSaturating,
                GanLoss::Hinge
            ))),
        }?;
        if self.train.slots != 1 {
            let what = "train.slots is 1 for Triple-GAN: its losses compare a batch's images, which slots would part";
            return Err(Error::Config(what.into()));
        }
        if !self.augment.pretraining {
            let what =
                "augment.pretraining = false is of veridical kdgan: here all of the classifier's steps are alike";
            return Err(Error::Config(what.into()));
        }
        if game.mean_teacher && game.consistency == 0.0 {
            let what = "triple_gan.mean_teacher = true is without effect where triple_gan.consistency = 0";
            return Err(Error::Config(what.into()));
        }
        Ok(())
    }

    fn device(&mut self) -> &mut String {
        &mut self.train.device
    }

    fn seed(&mut self) -> &mut u64 {
        &mut self.train.seed
    }
}

impl TripleGanSettings {
    /// The players' turns.
    pub fn phases(&self) -> Vec<Phase<Move>> {
        let game = &self.triple_gan;
        let phase = |rounds, moves: &[Move]| Phase { rounds, moves: moves.to_vec() };
        let first = phase(game.pretraining, &[Move::Alone]);
        match game.baseline {
            Baseline::Supervised | Baseline::Entropy => vec![first, phase(game.iterations, &[Move::Alone])],
            Baseline::FeatureMatching => {
                vec![first, phase(game.iterations, &[Move::TellMade, Move::MatchFeatures])]
            }
            Baseline::None => {
                let mut round = vec![Move::Discriminator; game.discriminator_steps as usize];
                round.extend([Move::Generator, Move::Classifier]);
                vec![first, phase(game.iterations, &round)]
            }
        }
    }

    /// What the players go down on when the classifier has made so many steps.
    pub fn objective(&self, step: u64) -> Objective {
        let game = &self.triple_gan;
        let unsupervised = if matches!(game.baseline, Baseline::None | Baseline::Entropy) { 1.0 } else { 0.0 };
        let first = step < game.pretraining;
        let iteration = step.saturating_sub(game.pretraining) as f64;
        let begun = iteration >= game.pseudo_from * game.iterations as f64;
        let ramp = (step as f64 / game.consistency_ramp.max(1) as f64).min(1.0);
        Objective {
            loss: game.loss,
            pairs: game.pairs,
            adversarial: game.adversarial,
            entropy: unsupervised * game.entropy,
            balance: unsupervised * if first { game.pretraining_balance } else { game.balance },
            consistency: unsupervised * game.consistency * (-5.0 * (1.0 - ramp) * (1.0 - ramp)).exp(),
            pseudo: if begun && !first { game.pseudo } else { 0.0 },
        }
    }
}
