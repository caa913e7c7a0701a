//! KDGAN: a student, a teacher that knows more, and a discriminator play for the true distribution of labels (Wang,
//! Zhang, Sun & Qi, *KDGAN: Knowledge Distillation with Generative Adversarial Networks*, NeurIPS 2018).
//!
//! The student `p_c(y|x)` sees `x`, the teacher `p_t(y|x)` also what is there in training only (features, or capacity).
//! The discriminator `D(x, y)` is to tell true labels from theirs:
//!
//! ```text
//! min_{c,t} max_d U = E_{y~p_u} log D + alpha E_{y~p_c} log(1 - D) + (1 - alpha) E_{y~p_t} log(1 - D)
//!                     + beta L(p_c, p_t) + gamma L(p_t, p_c)                                                        (1)
//! ```
//!
//! where the distillation loss `L` trains its first argument only: half the squared difference of logits (what the
//! paper's tables are made with), or softened Kullback-Leibler divergence. For fixed players the best discriminator is
//! `p_u / (p_u + p_alpha)` with `p_alpha = alpha p_c + (1 - alpha) p_t`, and with it `U` is `-log 4` plus twice the
//! Jensen-Shannon divergence of `p_u` and `p_alpha` plus the distillation losses: the only equilibrium is `p_c = p_t =
//! p_u`, `D = 1/2`, `U = -log 4`.
//!
//! ```text
//! pre-train student, teacher on labels, and the discriminator on what they say then                                 (2)
//! repeat
//!     discriminator_steps times: ascend E_{p_u} log D + alpha E_{p_c} log(1 - D) + (1 - alpha) E_{p_t} log(1 - D)   (3)
//!     teacher_steps times:       descend (1 - alpha) E_{p_t} log(1 - D) + gamma L(p_t, p_c)                         (4)
//!     student_steps times:       descend alpha E_{p_c} log(1 - D) + beta L(p_c, p_t)                                (5)
//! ```
//!
//! The expectations over the players' labels are sums over all labels by default, which with ten or a few hundred of
//! them cost nothing and have no variance; the paper draws labels (its "concrete" samples), which any
//! [`LabelEstimator`] does. Its published code has `w = 1 - alpha`, and what its logged runs of 2018 did is
//! [`Variant::Code2018`]. `docs/methods/kdgan.md` says where else paper, code and this differ.
//!
//! Equation and line numbers are those of this listing: the camera-ready paper's own are not public to us.

mod game;
mod outcome;
#[cfg(feature = "report")]
mod pages;
pub mod presets;
mod run;
mod settings;

pub use game::{Kdgan, Lesson, Move, Players};
pub use outcome::KdganOutcome;
pub use run::KdganRun;
pub use settings::{DistillationKind, EstimatorKind, KdganMethod, KdganSection, KdganSettings, StepsSection, Variant};

use std::ops::Range;

use serde::{Deserialize, Serialize};

use crate::autograd::Var;
use crate::error::{Error, Result};
use crate::ops;
use crate::ops::random::Address;
use crate::players::estimators::{expectation, one_hot_samples};
use crate::players::{LabelEstimator, Reward, cross_entropy_soft, kl_softened, logit_l2};

/// A distillation loss.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Distillation {
    /// Half the squared difference of logits.
    LogitL2,
    /// Kullback-Leibler divergence of distributions softened by this temperature, times its square.
    Kl(f64),
}

impl Distillation {
    /// `L`: what it costs `learner` `[n, k]` to differ from `other`, which is a constant.
    pub fn loss(&self, learner: &Var, other: &Var) -> Result<Var> {
        match *self {
            Distillation::LogitL2 => logit_l2(learner, &other.detach()),
            Distillation::Kl(temperature) => kl_softened(learner, &other.detach(), temperature),
        }
    }
}

/// The objective.
#[derive(Debug)]
pub struct Objective {
    /// How much of what the discriminator sees is the student's.
    pub alpha: f64,
    /// What the game weighs for the student (in the paper alpha) and for the teacher (1 - alpha).
    pub adversarial: [f64; 2],
    /// Weight of the student's distillation loss.
    pub beta: f64,
    /// Weight of the teacher's.
    pub gamma: f64,
    /// Weight of cross-entropy with the true labels in the steps of student and teacher; none in the paper.
    pub supervised: f64,
    /// L.
    pub distillation: Distillation,
    /// How the gradient of an expectation over a player's labels is had.
    pub estimator: Box<dyn LabelEstimator>,
    /// Labels that the discriminator sees of each player and row; 0: the expectation over all.
    pub samples: usize,
}

/// Logits `[n, k]` of all players on a batch; for the discriminator, those of `D(x, y)` for each label.
#[derive(Debug, Clone)]
pub struct Logits {
    /// h(x, y).
    pub student: Var,
    /// f(x, y).
    pub teacher: Var,
    /// g(x, y).
    pub discriminator: Var,
}

impl Objective {
    /// What the discriminator goes down on: minus U of (1), by (3). `truth` is `[n, k]`.
    pub fn discriminator(&self, logits: &Logits, truth: &Var, address: &Address) -> Result<Var> {
        let d = &logits.discriminator;
        let real = expectation(truth, &(-d)?.softplus()?)?;
        let fake = d.softplus()?;
        let mut loss = real;
        for (player, share, which) in [(&logits.student, self.alpha, 0), (&logits.teacher, 1.0 - self.alpha, 1)] {
            if share == 0.0 {
                continue;
            }
            let seen = match self.samples {
                0 => player.detach().softmax()?,
                samples => drawn(player, which * samples..(which + 1) * samples, address)?,
            };
            loss = (loss + ops::scale(expectation(&seen, &fake)?, share)?)?;
        }
        Ok(loss)
    }

    /// What the teacher goes down on, (4).
    pub fn teacher(&self, logits: &Logits, truth: &Var, address: &Address) -> Result<Var> {
        let weights = [self.adversarial[1], self.gamma];
        self.player(&logits.teacher, &logits.student, &logits.discriminator, truth, weights, address)
    }

    /// What the student goes down on, (5).
    pub fn student(&self, logits: &Logits, truth: &Var, address: &Address) -> Result<Var> {
        let weights = [self.adversarial[0], self.beta];
        self.player(&logits.student, &logits.teacher, &logits.discriminator, truth, weights, address)
    }

    fn player(
        &self,
        own: &Var,
        other: &Var,
        discriminator: &Var,
        truth: &Var,
        [adversarial, distilled]: [f64; 2],
        address: &Address,
    ) -> Result<Var> {
        let d = discriminator.detach();
        let values = (-d.softplus()?)?; // log(1 - D)
        let relaxed = |y: &Var| -(y * &d)?.sum(&[1])?.softplus()?;
        let reward = Reward { values: &values, relaxed: &relaxed };
        let mut loss = ops::scale(self.estimator.surrogate(own, &reward, address)?, adversarial)?;
        if distilled > 0.0 {
            loss = (loss + ops::scale(self.distillation.loss(own, other)?, distilled)?)?;
        }
        if self.supervised > 0.0 {
            let labels = cross_entropy_soft(own, truth)?;
            loss = (loss + ops::scale(labels, self.supervised)?)?;
        }
        Ok(loss)
    }

    /// The value of the game without the distillation losses: [`Value`].
    pub fn value(&self, logits: &Logits, truth: &Var) -> Result<Value> {
        let (d, alpha) = (logits.discriminator.detach(), self.alpha);
        let mixed = ops::add_scaled(
            logits.student.detach().softmax()?,
            alpha,
            logits.teacher.detach().softmax()?,
            1.0 - alpha,
        )?;
        let number = |var: Var| var.value().item();
        Ok(Value {
            value: -number(expectation(truth, &(-&d)?.softplus()?)?)? - number(expectation(&mixed, &d.softplus()?)?)?,
            real: number(expectation(truth, &d.sigmoid()?)?)?,
            fake: number(expectation(&mixed, &d.sigmoid()?)?)?,
        })
    }
}

/// How the game stands on a batch.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Value {
    /// `E_{p_u} log D + E_{p_alpha} log(1 - D)`: `-log 4` at the equilibrium, near 0 where the discriminator has won.
    pub value: f64,
    /// Mean of D on true labels.
    pub real: f64,
    /// Mean of D on the players' labels.
    pub fake: f64,
}

/// The mean of one-hot labels that a player draws, `[n, k]`, one at each site.
fn drawn(logits: &Var, sites: Range<usize>, address: &Address) -> Result<Var> {
    let samples = sites.len();
    let mut sum: Option<Var> = None;
    for y in one_hot_samples(logits, sites, address)? {
        sum = Some(match sum {
            None => y.into(),
            Some(sum) => (sum + y)?,
        });
    }
    let missing = || Error::argument("kdgan", "no labels drawn");
    ops::scale(sum.ok_or_else(missing)?, 1.0 / samples as f64)
}
