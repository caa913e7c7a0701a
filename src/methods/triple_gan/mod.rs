//! Triple-GAN: a generator makes images of classes, a classifier names the classes of images, and a discriminator is to
//! tell the pairs of either from true ones (Li, Xu, Zhu & Zhang, *Triple Generative Adversarial Nets*, NeurIPS 2017,
//! arXiv 1703.02291; the second version: arXiv 1912.09784).
//!
//! The classifier's pairs are `p_c(x, y) = p(x) p_c(y|x)`, the generator's `p_g(x, y) = p(y) p_g(x|y)`:
//!
//! ```text
//! min_{C,G} max_D U = E_p log D + alpha E_{p_c} log(1 - D) + (1 - alpha) E_{p_g} log(1 - D(G(z, y), y)),  alpha = 1/2   (1)
//! D* = p / (p + p_alpha),  p_alpha = alpha p_c + (1 - alpha) p_g                                                        (2)
//! R_L = E_p [-log p_c(y|x)]                supervised                                                                   (3)
//! R_P = E_{p_g} [-log p_c(y|x)]            pseudo-discriminative: the classifier learns what the generator makes        (4)
//! R_U   entropy of p_c(y|x), balance of its mean over the batch, consistency of two passes: what needs no labels        (5)
//! ```
//!
//! The game alone pins only the mixture `p_alpha`; with `R_L` the one equilibrium is `p = p_c = p_g`. An iteration:
//!
//! ```text
//! discriminator: descend  l(D(x, y)) + 1/2 l'(D(G(z, y), y)) + 1/2 sum_y p_c(y|x) l'(D(x, y))                           (6)
//! generator:     descend  1/2 l''(D(G(z, y), y))                                                                        (7)
//! classifier:    descend  a/2 sum_y p_c(y|x) l''(D(x, y)) + R_L + R_U + alpha_P R_P                                     (8)
//! ```
//!
//! with the [`GanLoss`]'s terms `l` on true, `l'` on false pairs and `l''` to fool. In place of the sums over classes
//! the first version's code takes the likeliest class, in (8) with its probability as weight ([`Pairs::Argmax`]); and
//! where labels are few, true pairs are joined by unlabelled images with the classes that the classifier gives them,
//! which is biased. The order is the code's; the paper's algorithm has (8) before (7).
//!
//! Numbers are those of this listing, made from the published code and its readers: the paper's own are not public to
//! us.

mod feature_matching;
mod game;
mod inputs;
mod outcome;
#[cfg(feature = "report")]
mod pages;
mod pairs;
#[cfg(feature = "report")]
mod pictures;
mod players;
pub mod presets;
mod run;
mod settings;

pub use game::TripleGan;
pub use inputs::{Counts, ImageInputs, Inputs};
pub use outcome::TripleGanOutcome;
pub use players::{Move, Players};
pub use run::TripleGanRun;
pub use settings::{Baseline, NetworkKind, TripleGanSection, TripleGanSettings};

use crate::autograd::Var;
use crate::error::Result;
use crate::ops;
use crate::players::GanLoss;

crate::choice! {
    /// Which pairs stand for the classifier's.
    pub enum Pairs {
        /// An image with its likeliest class.
        Argmax = "argmax",
        /// All classes of an image, each as likely as the classifier has it.
        Integrate = "integrate",
    }
}

/// The weights of the game.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Objective {
    /// l, l' and l''.
    pub loss: GanLoss,
    /// Which pairs stand for the classifier's.
    pub pairs: Pairs,
    /// a: what the game weighs for the classifier.
    pub adversarial: f64,
    /// Weight of the entropy of its labels.
    pub entropy: f64,
    /// Weight of the balance of their mean.
    pub balance: f64,
    /// Weight of the consistency of two passes.
    pub consistency: f64,
    /// alpha_P.
    pub pseudo: f64,
}

impl Objective {
    /// (6), of logits on true pairs `[b]`, on the generator's `[b']`, and on the classifier's: `[n, k]` of all classes
    /// with probabilities `p` of the same shape, rows that sum to 1.
    pub fn discriminator(&self, real: &Var, generated: &Var, (classified, p): (&Var, &Var)) -> Result<Var> {
        let of_generator = ops::scale(self.loss.on_fake(generated)?.mean_all()?, 0.5)?;
        let of_classifier = ops::scale((p.detach() * self.loss.on_fake(classified)?)?.sum(&[1])?.mean_all()?, 0.5)?;
        (self.loss.on_real(real)?.mean_all()? + of_generator)? + of_classifier
    }

    /// (7), of logits on the generator's pairs.
    pub fn generator(&self, generated: &Var) -> Result<Var> {
        ops::scale(self.loss.to_fool(generated)?.mean_all()?, 0.5)
    }

    /// The first term of (8): gradients go by the probabilities alone.
    pub fn fool(&self, classified: &Var, p: &Var) -> Result<Var> {
        let worth = self.loss.to_fool(&classified.detach())?;
        ops::scale((p * worth)?.sum(&[1])?.mean_all()?, 0.5 * self.adversarial)
    }
}

/// The mean entropy of `softmax(logits)`, in nats; logits `[n, k]`.
pub fn entropy(logits: &Var) -> Result<Var> {
    let log_p = logits.log_softmax()?;
    ops::neg((log_p.exp()? * log_p)?.sum(&[1])?.mean_all()?)
}

/// Cross-entropy from the uniform law to the batch's mean prediction, `-(1/k) sum_y log mean_i softmax(logits_i)_y`: at
/// least `log k`, as where all classes are predicted alike.
pub fn balance(logits: &Var) -> Result<Var> {
    let mean = logits.softmax()?.mean(&[0])?;
    ops::neg(mean.log()?.mean_all()?)
}

/// The mean over all elements of the squared difference of `softmax(a)` and `softmax(b)`.
pub fn consistency(a: &Var, b: &Var) -> Result<Var> {
    (a.softmax()? - b.softmax()?)?.square()?.mean_all()
}
