//! The settings of `veridical kdgan`.

use super::game::{Lesson, Move};
use super::{Distillation, Objective};
use crate::error::{Error, Result};
use crate::methods::game::{AffineSection, GameTrainSection, LabelledSection, Phase, TableSection};
use crate::players::{
    Annealing, Baseline, Exact, GumbelSoftmax, LabelEstimator, RaoBlackwell, Reinforce, RewardRegression,
    StraightThrough,
};
use crate::settings::{Above, AboveUpTo, AtLeast};
use crate::train::OwnSettings;

crate::choice! {
    /// What a student is trained by.
    pub enum KdganMethod {
        /// Three players.
        Kdgan = "kdgan",
        /// Cross-entropy alone, teacher and student each by themselves.
        Ce = "ce",
        /// Logits of a trained teacher (Ba & Caruana 2013).
        Mimic = "mimic",
        /// Cross-entropy and softened labels of a trained teacher (Hinton, Vinyals and Dean 2015).
        Distn = "distn",
        /// Logits of a trained teacher under noise (Sau & Balasubramanian 2016).
        Noisy = "noisy",
        /// Teacher and student at once, each also by the other's softened labels (Anil and others 2018).
        Codis = "codis",
        /// Two players: student and discriminator.
        Nagan = "nagan",
    }
}

crate::choice! {
    /// Whose game it is.
    pub enum Variant {
        /// The paper's.
        Paper = "paper",
        /// The logged runs' of the authors' code of May 2018: the discriminator sees labels of the teacher only, the
        /// losses are simply added (no alpha, beta 1), and drawn labels' logits are moved to their reward.
        Code2018 = "code-2018",
    }
}

crate::choice! {
    /// How the gradient of an expectation over a player's labels is had.
    pub enum EstimatorKind {
        /// The sum over all labels.
        Exact = "exact",
        /// Drawn labels and the score function.
        Reinforce = "reinforce",
        /// The same, less the expected reward.
        ReinforceBaseline = "reinforce-baseline",
        /// Relaxed labels.
        Gumbel = "gumbel",
        /// Hard labels forward, relaxed ones backward.
        StraightThrough = "straight-through",
        /// The same, with the mean gradient of ten relaxed labels for each hard one.
        RaoBlackwell = "rao-blackwell",
        /// The published code's regression of drawn labels' logits on their reward; no gradient of the game.
        Reward = "reward",
    }
}

crate::choice! {
    /// What it costs to differ from another player.
    pub enum DistillationKind {
        /// Half the squared difference of logits.
        LogitL2 = "logit-l2",
        /// The Kullback-Leibler divergence of softened labels.
        Kl = "kl",
    }
}

crate::settings! {
    /// The game.
    pub struct KdganSection {
        /// What the student is trained by.
        method: KdganMethod = KdganMethod::Kdgan;
        /// kdgan: whose game it is.
        variant: Variant = Variant::Paper;
        /// kdgan: share of the student in what the discriminator sees (the authors' code has w = 1 - alpha).
        alpha: f64 = 0.5, in 0.0..=1.0;
        /// kdgan: weight of the student's distillation loss; codis: of both.
        beta: f64 = 1.0, in AtLeast(0.0);
        /// kdgan: weight of the teacher's distillation loss.
        gamma: f64 = 0.01, in AtLeast(0.0);
        /// kdgan, nagan: weight of cross-entropy in the game's steps of student and teacher; none in the paper.
        supervised: f64 = 0.0, in AtLeast(0.0);
        /// kdgan: the distillation loss.
        distillation: DistillationKind = DistillationKind::LogitL2;
        /// distn, codis, kl: the temperature that labels are softened by.
        temperature: f64 = 3.0, in Above(0.0);
        /// distn: weight of the softened labels; the rest is cross-entropy's.
        softened: f64 = 0.7, in 0.0..=1.0;
        /// noisy: share of the teacher's logits that is left out.
        noise_ratio: f64 = 0.1, in 0.0..1.0;
        /// noisy: deviation of the noise that the others are multiplied by.
        noise_sigma: f64 = 0.1, in AtLeast(0.0);
        /// kdgan, nagan: how the gradient of an expectation over a player's labels is had.
        estimator: EstimatorKind = EstimatorKind::Exact;
        /// kdgan, nagan: labels drawn for a row, by estimators that draw; the discriminator then sees drawn ones too.
        samples: usize = 5, in 1..=1 << 16;
        /// gumbel, straight-through, rao-blackwell: the temperature at first.
        tau: f64 = 1.0, in Above(0.0);
        /// What it is multiplied by every tau_every steps of a player; 1: it stays.
        tau_factor: f64 = 1.0, in AboveUpTo(0.0, 1.0);
        /// Steps between two changes of the temperature.
        tau_every: u64 = 100, in 1..=1 << 40;
        /// What the temperature does not fall below.
        tau_floor: f64 = 0.1, in 1e-6..=1e6;
        /// kdgan, nagan: steps of the discriminator in a round.
        discriminator_steps: u64 = 1, in 1..=1000;
        /// kdgan: steps of the teacher in a round.
        teacher_steps: u64 = 1, in 1..=1000;
        /// kdgan, nagan: steps of the student in a round.
        student_steps: u64 = 1, in 1..=1000;
    }
}

crate::settings! {
    /// How long, and how many at a time.
    pub struct StepsSection {
        /// Steps of the student, pre-training included: the same for every method. The teacher has as many; in the game
        /// teacher_steps a round.
        student: u64 = 3000, in 1..=1 << 32;
        /// Supervised steps of each player that come first.
        pretraining: u64 = 500;
        /// Examples a step.
        batch: usize = 50, in 1..=1 << 20;
    }
}

crate::settings! {
    /// The small network that is wanted, a perceptron.
    pub struct StudentSection {
        /// Widths of its hidden layers.
        hidden: Vec<usize> = vec![64, 64], in 1..=1 << 20;
        /// Probability of dropout after each.
        dropout: f64 = 0.1, in 0.0..1.0;
        /// Adam's learning rate.
        lr: f64 = 1e-3, in Above(0.0);
        /// Decoupled weight decay, as AdamW has it.
        weight_decay: f64 = 0.0, in AtLeast(0.0);
    }
}

crate::settings! {
    /// Teacher and discriminator: convolutions for pictures, else a perceptron with two hidden layers.
    pub struct TeacherSection {
        /// The file of a trained classifier that is the teacher at first, with an architecture of its own; empty: one
        /// with random weights.
        file: String = String::new();
        /// Whether that teacher stays as it is.
        fixed: bool = false;
        /// Channels of the convolutions, between which the resolution is halved; none: a perceptron.
        channels: Vec<usize> = vec![20, 20], in 1..=1 << 16;
        /// Height and width of their kernels.
        kernel: usize = 3, in 1..=63;
        /// Zeros beyond each border.
        padding: usize = 1, in 0..=31;
        /// Width of the hidden layer, or layers of a perceptron.
        hidden: usize = 128, in 1..=1 << 20;
        /// Probability of dropout after it.
        dropout: f64 = 0.5, in 0.0..1.0;
        /// Adam's learning rate of the teacher.
        lr: f64 = 1e-3, in Above(0.0);
        /// Adam's learning rate of the discriminator.
        discriminator_lr: f64 = 1e-3, in Above(0.0);
        /// Decoupled weight decay of both, as AdamW has it.
        weight_decay: f64 = 0.0, in AtLeast(0.0);
    }
}

crate::sections! {
    /// The settings of `veridical kdgan`.
    #[derive(Default)]
    #[serde(deny_unknown_fields, default)]
    pub struct KdganSettings {
        /// What is learned from.
        data: LabelledSection,
        /// Tables.
        table: TableSection,
        /// The game.
        kdgan: KdganSection,
        /// How long.
        steps: StepsSection,
        /// The small network.
        student: StudentSection,
        /// The large ones.
        teacher: TeacherSection,
        /// What is done to pictures.
        augment: AffineSection,
        /// The run.
        train: GameTrainSection,
    }
}

impl OwnSettings for KdganSettings {
    const FREE: &'static [&'static str] = &["train.show_every", "teacher.file"];

    fn check(&self) -> Result<()> {
        let StepsSection { student, pretraining, .. } = self.steps;
        if pretraining > student {
            let what = format!(
                "steps.pretraining = {pretraining}, expected 0 to steps.student = {student}: set both for a shorter run, such as \
                 --set steps.pretraining={}",
                student / 2
            );
            return Err(Error::Config(what));
        }
        let (slots, batch) = (self.train.slots, self.steps.batch);
        if slots > batch {
            return Err(Error::Config(format!(
                "train.slots = {slots} of a batch of steps.batch = {batch}: a slot holds an example at least"
            )));
        }
        let rest = student - pretraining;
        if rest == 0 && self.kdgan.method != KdganMethod::Ce {
            let method = self.kdgan.method;
            return Err(Error::Config(format!(
                "steps.pretraining = steps.student leaves no step for {method}; lower it, or take kdgan.method = ce"
            )));
        }
        let each = self.kdgan.student_steps;
        if matches!(self.kdgan.method, KdganMethod::Kdgan | KdganMethod::Nagan) && !rest.is_multiple_of(each) {
            let what = format!("kdgan.student_steps = {each} does not divide the {rest} steps after pre-training");
            return Err(Error::Config(what));
        }
        if self.teacher.padding >= self.teacher.kernel {
            let TeacherSection { padding, kernel, .. } = self.teacher;
            return Err(Error::Config(format!(
                "teacher.padding = {padding}, expected less than teacher.kernel = {kernel}"
            )));
        }
        let alone = matches!(self.kdgan.method, KdganMethod::Ce | KdganMethod::Nagan);
        if !self.teacher.file.is_empty() && alone {
            return Err(Error::Config(format!(
                "teacher.file names a teacher, but {} has none to learn from",
                self.kdgan.method
            )));
        }
        if self.teacher.fixed && self.teacher.file.is_empty() {
            return Err(Error::Config(
                "teacher.fixed = true, but there is no trained teacher: name one in teacher.file".into(),
            ));
        }
        let KdganSection { method, variant, alpha, beta, estimator, tau, tau_floor, .. } = &self.kdgan;
        if *variant == Variant::Code2018 {
            let usual = KdganSection::default();
            if *method != KdganMethod::Kdgan {
                return Err(Error::Config(format!(
                    "kdgan.variant = code-2018 is of kdgan.method = kdgan, not {method}"
                )));
            }
            if (*alpha, *beta, *estimator) != (usual.alpha, usual.beta, usual.estimator) {
                let what = "has its own alpha, beta and estimator: leave kdgan.alpha, beta and estimator as they are";
                return Err(Error::Config(format!("kdgan.variant = code-2018 {what}")));
            }
        }
        if tau < tau_floor {
            let what = format!("kdgan.tau = {tau} lies below kdgan.tau_floor = {tau_floor}; lower that");
            return Err(Error::Config(what));
        }
        self.objective(0).map(drop)
    }

    fn device(&mut self) -> &mut String {
        &mut self.train.device
    }

    fn seed(&mut self) -> &mut u64 {
        &mut self.train.seed
    }
}

impl KdganSettings {
    /// The players' turns.
    pub fn phases(&self) -> Vec<Phase<Move>> {
        let mut phases = self.all_phases();
        if self.teacher.fixed {
            phases.iter_mut().for_each(|phase| phase.moves.retain(|m| !matches!(m, Move::Teacher(_))));
        }
        phases
    }

    fn all_phases(&self) -> Vec<Phase<Move>> {
        let (kdgan, steps) = (&self.kdgan, &self.steps);
        let (first, rest) = (steps.pretraining, steps.student - steps.pretraining);
        let labels = |pretraining| Lesson::Labels { pretraining };
        let phase = |rounds, moves: &[Move]| Phase { rounds, moves: moves.to_vec() };
        let judge = |pretraining| Move::Discriminator { pretraining };
        let (study, teach) = (Move::Student(labels(true)), Move::Teacher(labels(true)));
        match kdgan.method {
            KdganMethod::Ce => {
                let both = [Move::Student(labels(false)), Move::Teacher(labels(false))];
                vec![phase(first, &[study, teach]), phase(rest, &both)]
            }
            KdganMethod::Mimic | KdganMethod::Distn | KdganMethod::Noisy => {
                let alone = [Move::Teacher(labels(false))];
                vec![
                    phase(first, &[teach, study]),
                    phase(rest, &alone),
                    phase(rest, &[Move::Student(self.distilled())]),
                ]
            }
            KdganMethod::Codis => {
                let each = self.codistilled(kdgan.beta);
                let both = [Move::Student(each), Move::Teacher(each)];
                vec![phase(first, &[study, teach]), phase(rest, &both)]
            }
            KdganMethod::Nagan => {
                let mut round = vec![judge(false); kdgan.discriminator_steps as usize];
                round.extend(vec![Move::Student(Lesson::Game); kdgan.student_steps as usize]);
                vec![phase(first, &[study, judge(true)]), phase(rest / kdgan.student_steps, &round)]
            }
            KdganMethod::Kdgan => {
                let mut round = vec![judge(false); kdgan.discriminator_steps as usize];
                round.extend(vec![Move::Teacher(Lesson::Game); kdgan.teacher_steps as usize]);
                round.extend(vec![Move::Student(Lesson::Game); kdgan.student_steps as usize]);
                vec![phase(first, &[study, teach, judge(true)]), phase(rest / kdgan.student_steps, &round)]
            }
        }
    }

    fn distilled(&self) -> Lesson {
        let KdganSection { temperature, softened, noise_ratio, noise_sigma, .. } = self.kdgan;
        match self.kdgan.method {
            KdganMethod::Distn => Lesson::Distilled {
                labels: 1.0 - softened,
                distilled: softened,
                loss: Distillation::Kl(temperature),
                noise: None,
            },
            method => Lesson::Distilled {
                labels: 0.0,
                distilled: 1.0,
                loss: Distillation::LogitL2,
                noise: (method == KdganMethod::Noisy).then_some((noise_ratio, noise_sigma)),
            },
        }
    }

    fn codistilled(&self, weight: f64) -> Lesson {
        let loss = Distillation::Kl(self.kdgan.temperature);
        Lesson::Distilled { labels: 1.0, distilled: weight, loss, noise: None }
    }

    /// What a player goes down on in its `step`-th step.
    pub fn objective(&self, step: u64) -> Result<Objective> {
        let kdgan = &self.kdgan;
        let annealing =
            Annealing { start: kdgan.tau, factor: kdgan.tau_factor, every: kdgan.tau_every, floor: kdgan.tau_floor };
        let (tau, samples) = (annealing.at(step)?, kdgan.samples);
        let code = kdgan.variant == Variant::Code2018 && kdgan.method == KdganMethod::Kdgan;
        let kind = if code { EstimatorKind::Reward } else { kdgan.estimator };
        let estimator: Box<dyn LabelEstimator> = match kind {
            EstimatorKind::Exact => Box::new(Exact),
            EstimatorKind::Reinforce => Box::new(Reinforce { samples, baseline: Baseline::None }),
            EstimatorKind::ReinforceBaseline => Box::new(Reinforce { samples, baseline: Baseline::Expected }),
            EstimatorKind::Gumbel => Box::new(GumbelSoftmax { tau, samples }),
            EstimatorKind::StraightThrough => Box::new(StraightThrough { tau, samples }),
            EstimatorKind::RaoBlackwell => Box::new(RaoBlackwell { tau, resamples: 10, samples }),
            EstimatorKind::Reward => Box::new(RewardRegression { samples }),
        };
        let distillation = match kdgan.distillation {
            DistillationKind::LogitL2 => Distillation::LogitL2,
            DistillationKind::Kl => Distillation::Kl(kdgan.temperature),
        };
        let (alpha, adversarial, beta, gamma) = match kdgan.method {
            KdganMethod::Nagan => (1.0, [1.0, 0.0], 0.0, 0.0),
            _ if code => (0.0, [1.0, 1.0], 1.0, kdgan.gamma),
            _ => (kdgan.alpha, [kdgan.alpha, 1.0 - kdgan.alpha], kdgan.beta, kdgan.gamma),
        };
        let samples = if kind == EstimatorKind::Exact { 0 } else { samples };
        let supervised = kdgan.supervised;
        Ok(Objective { alpha, adversarial, beta, gamma, supervised, distillation, estimator, samples })
    }
}
