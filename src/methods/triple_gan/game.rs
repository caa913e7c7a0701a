//! The players and their turns.

use std::fmt::{self, Debug, Formatter};
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::inputs::Inputs;
use super::pairs::{
    AGAIN, LABELLED, MADE, OPPONENT, from, likeliest, logits, make, one_hot, score_together, spread, stand,
    wanted_classes,
};
use super::players::{Move, Players};
use super::{Objective, Pairs, balance, consistency, entropy};
use crate::autograd::Var;
use crate::error::{Error, Result};
use crate::methods::game::{Moves, Phase, Scores, Truth, Warner, figures_state, is_logged, restored_figures};
use crate::nn::{self, Weights};
use crate::ops;
use crate::ops::random::Address;
use crate::tensor::Tensor;
use crate::train::{End, Log, Moment, Observer, RunDir, Tick, Trained, Trainer};

/// What changes over the game: the objective of a step of the classifier, and whether it is taught by what is made.
pub type Schedule<'a> = Box<dyn Fn(u64) -> Objective + 'a>;

/// A game in training.
pub struct TripleGan<'a> {
    pub(super) players: Players,
    pub(super) inputs: &'a mut dyn Inputs,
    objective: Schedule<'a>,
    /// Whether the consistency is with the averaged classifier.
    mean_teacher: bool,
    moves: Moves<Move>,
    #[cfg(feature = "report")]
    picture: super::pictures::Pictures,
    pub(super) last: Last,
    won: Warner,
}

/// What the last steps found, for the log.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
pub(super) struct Last {
    pub generator: Option<f64>,
    pub classifier: Option<f64>,
    discriminator: Option<f64>,
    value: Option<f64>,
    judged: Option<[f64; 3]>,
}

/// Players by number, as their batches are told apart.
pub(super) const CLASSIFIER: u32 = 0;
pub(super) const GENERATOR: u32 = 1;
const DISCRIMINATOR: u32 = 2;

impl<'a> TripleGan<'a> {
    /// The players' game on these images. Errors if a move is of a player that there is not.
    pub fn new(
        players: Players,
        objective: impl Fn(u64) -> Objective + 'a,
        mean_teacher: bool,
        inputs: &'a mut dyn Inputs,
        phases: Vec<Phase<Move>>,
    ) -> Result<Self> {
        let moves = Moves::new(phases);
        let makes = moves.count(|m| !matches!(m, Move::Alone)) > 0;
        let judges = moves.count(|m| matches!(m, Move::Discriminator | Move::Generator | Move::Classifier)) > 0;
        if makes && players.generator.is_none() || judges && players.discriminator.is_none() {
            return Err(Error::argument("TripleGan::new", "moves of a player that there is not"));
        }
        let (objective, won) = (Box::new(objective), Warner::default());
        Ok(TripleGan {
            players,
            inputs,
            objective,
            mean_teacher,
            moves,
            #[cfg(feature = "report")]
            picture: Default::default(),
            last: Last::default(),
            won,
        })
    }

    /// Pictures have so many columns, of latents of this seed, and the names of the classes beside their rows.
    #[cfg(feature = "report")]
    #[must_use]
    pub fn drawing(self, seed: u64, columns: usize, names: &[String]) -> Self {
        TripleGan { picture: super::pictures::Pictures { seed, columns, names: names.to_vec() }, ..self }
    }

    /// Steps of all players in the whole game.
    pub fn total(&self) -> u64 {
        self.moves.total()
    }

    /// The players.
    pub fn networks(&self) -> &Players {
        &self.players
    }

    /// Height, width and channels of images.
    #[cfg(feature = "report")]
    fn size(&self) -> [usize; 3] {
        let shape = self.inputs.held_out().student.shape();
        std::array::from_fn(|i| shape.get(i + 1).copied().unwrap_or(1))
    }

    /// Pixels and classes of what nothing is trained on.
    pub(super) fn held_out_images(&self) -> Result<(Vec<f32>, &[u32])> {
        let held_out = self.inputs.held_out();
        match &held_out.truth {
            Truth::Class(labels) => Ok((held_out.student.to_vec::<f32>()?, labels)),
            Truth::Labels(_) => Err(Error::argument("TripleGan", "images of one class each are needed")),
        }
    }

    /// How the averaged classifier does on what nothing is trained on.
    pub fn scores(&self) -> Result<Scores> {
        let (held_out, player) = (self.inputs.held_out(), &self.players.classifier);
        let cx = player.averaged()?;
        held_out.scores(&held_out.student, &player.device(), |x| logits(player, &cx, x))
    }

    /// Pixels of images of these classes, `[n, h, w, c]`, by the generator's average where it keeps one. Image `i` is a
    /// function of the seed, its class and `i`. Errors without a generator.
    pub fn draw(&self, seed: u64, classes: &[u32]) -> Result<Vec<f32>> {
        /// Images that are made at once.
        const AT_ONCE: usize = 250;
        let generator = self.players.generator.as_ref().ok_or_else(|| missing("generator"))?;
        let mut pixels = Vec::new();
        for (i, classes) in classes.chunks(AT_ONCE).enumerate() {
            let cx = generator.averaged()?.at(from(&Address::new(seed, 0), (i * AT_ONCE) as u32));
            let labels = Tensor::from_slice(classes, [classes.len()], &generator.device())?;
            pixels.extend(make(generator, &cx, &labels, self.inputs.classes())?.value().to_vec::<f32>()?);
        }
        Ok(pixels)
    }

    fn discriminate(&mut self, observer: &mut dyn Observer) -> Result<Tick> {
        let objective = (self.objective)(self.players.classifier.trainer.steps());
        let Players { generator, classifier, discriminator } = &mut self.players;
        let (Some(generator), Some(judge)) = (generator, discriminator) else { return Err(missing("discriminator")) };
        let (step, k) = (judge.trainer.steps(), self.inputs.classes());
        let (x, y) = self.inputs.labelled(DISCRIMINATOR, step)?;
        let classified = self.inputs.unlabelled(DISCRIMINATOR, step)?;
        let joined = self.inputs.joined(step)?;
        let count = self.inputs.generated();
        let cx = classifier.fixed();
        let p = logits(classifier, &cx, &classified)?.softmax()?;
        let found = joined.as_ref().map(|x| likeliest(&logits(classifier, &cx, x)?)).transpose()?;
        let (mut value, mut judged) = (None, None);
        let gradient = judge.trainer.gradient(count, |cx| {
            let address = cx.address()?;
            let wanted = wanted_classes(count, k, address, generator)?;
            let made = make(generator, &generator.opponent(address), &wanted, k)?.detach();
            let (x, classified) = (Var::from(&x), Var::from(&classified));
            let joined = joined.as_ref().map(Var::from);
            let likely = one_hot(&likeliest(&p)?, k)?;
            let mut parts: Vec<(&Var, Var)> = vec![(&made, one_hot(&wanted, k)?.into()), (&x, one_hot(&y, k)?.into())];
            if let (Some(x), Some(found)) = (&joined, &found) {
                parts.push((x, one_hot(found, k)?.into()));
            }
            let of_all = match objective.pairs {
                Pairs::Integrate => Some(judge.network.scores(&cx.beside(OPPONENT)?, &classified)?),
                Pairs::Argmax => {
                    parts.push((&classified, likely.clone().into()));
                    None
                }
            };
            let mut scores = score_together(judge, cx, &parts)?.into_iter();
            let mut next = || scores.next().ok_or_else(|| missing("batch"));
            let (generated, mut real) = (next()?, next()?);
            if joined.is_some() {
                real = ops::concat(&[&real, &next()?], 0)?;
            }
            let (of_classifier, p) = match of_all {
                Some(scores) => (scores, p.clone()),
                None => (spread(&next()?, &likely)?, likely.into()),
            };
            (value, judged) = stand(&real, &generated, &of_classifier, &p).map(|(v, j)| (Some(v), Some(j)))?;
            objective.discriminator(&real, &generated, (&of_classifier, &p))
        })?;
        let tick = judge.trainer.apply(gradient)?;
        self.last = Last { discriminator: Some(tick.loss), value, judged, ..self.last };
        self.won.see(tick.loss, observer);
        Ok(tick)
    }

    fn generate(&mut self) -> Result<Tick> {
        let objective = (self.objective)(self.players.classifier.trainer.steps());
        let Players { generator, discriminator, .. } = &mut self.players;
        let (Some(generator), Some(judge)) = (generator, discriminator) else { return Err(missing("generator")) };
        let (count, k) = (self.inputs.generated(), self.inputs.classes());
        let gradient = generator.trainer.gradient(count, |cx| {
            let address = cx.address()?;
            let wanted = wanted_classes(count, k, address, generator)?;
            let made = make(generator, cx, &wanted, k)?;
            let judged = judge.network.score(&judge.opponent(address), &made, &one_hot(&wanted, k)?.into())?;
            objective.generator(&judged)
        })?;
        let tick = generator.trainer.apply(gradient)?;
        self.last.generator = Some(tick.loss);
        Ok(tick)
    }

    /// (8), or (3) and (5) alone.
    fn classify(&mut self, alone: bool) -> Result<Tick> {
        let Players { generator, classifier, discriminator } = &mut self.players;
        let (step, k) = (classifier.trainer.steps(), self.inputs.classes());
        let objective = (self.objective)(step);
        let (x, y) = self.inputs.labelled(CLASSIFIER, step)?;
        let unsupervised = objective.entropy + objective.balance + objective.consistency > 0.0;
        let unlabelled = match alone && !unsupervised {
            true => None,
            false => Some(self.inputs.unlabelled(CLASSIFIER, step)?),
        };
        let count = self.inputs.generated();
        let average = match self.mean_teacher && objective.consistency > 0.0 {
            true => Some(classifier.averaged()?),
            false => None,
        };
        // Counted alike with and without unlabelled images: the average and the schedule are in samples.
        let batch = x.shape()[0] + self.inputs.unlabelled_count();
        let gradient = classifier.trainer.gradient(batch, |cx| {
            let Some(unlabelled) = &unlabelled else {
                return ops::cross_entropy(&logits(classifier, cx, &x)?, &y);
            };
            // The unlabelled images, which are like those that it will be used on, have the running statistics.
            let mut loss = ops::cross_entropy(&logits(classifier, &cx.beside(LABELLED)?, &x)?, &y)?;
            let found = logits(classifier, cx, unlabelled)?;
            for (weight, term) in
                [(objective.entropy, entropy as fn(&Var) -> Result<Var>), (objective.balance, balance)]
            {
                if weight > 0.0 {
                    loss = (loss + ops::scale(term(&found)?, weight)?)?;
                }
            }
            if objective.consistency > 0.0 {
                let other = match &average {
                    Some(cx) => logits(classifier, cx, unlabelled)?,
                    // Dropout and noise of its own: other samples' numbers.
                    None => logits(classifier, &classifier.opponent(&from(cx.address()?, AGAIN)), unlabelled)?,
                };
                loss = (loss + ops::scale(consistency(&found, &other)?, objective.consistency)?)?;
            }
            let (Some(generator), Some(judge), false) = (generator.as_ref(), discriminator.as_ref(), alone) else {
                return Ok(loss);
            };
            let address = cx.address()?;
            if objective.adversarial > 0.0 {
                let judging = judge.opponent(&from(address, OPPONENT));
                let p = found.softmax()?;
                let (judged, p) = match objective.pairs {
                    Pairs::Integrate => (judge.network.scores(&judging, &unlabelled.into())?, p),
                    Pairs::Argmax => {
                        let likely = one_hot(&likeliest(&found)?, k)?;
                        let score = judge.network.score(&judging, &unlabelled.into(), &(&likely).into())?;
                        // The likeliest class with its probability as weight.
                        (spread(&score, &likely)?, (p * likely)?)
                    }
                };
                loss = (loss + objective.fool(&judged, &p)?)?;
            }
            if objective.pseudo > 0.0 {
                let wanted = wanted_classes(count, k, address, generator)?;
                let made = make(generator, &generator.opponent(address), &wanted, k)?.detach();
                let taught = ops::cross_entropy(&logits(classifier, &cx.beside(MADE)?, made.value())?, &wanted)?;
                loss = (loss + ops::scale(taught, objective.pseudo)?)?;
            }
            Ok(loss)
        })?;
        let tick = classifier.trainer.apply(gradient)?;
        self.last.classifier = Some(tick.loss);
        Ok(tick)
    }
}

pub(super) fn missing(player: &str) -> Error {
    Error::argument("TripleGan", format!("a move of a {player}, but there is none"))
}

impl Trained for TripleGan<'_> {
    fn players(&self) -> Vec<(&str, &Trainer)> {
        let Players { generator, classifier, discriminator } = &self.players;
        let mut all = vec![("classifier", &classifier.trainer)];
        all.extend(generator.iter().map(|player| ("generator", &player.trainer)));
        all.extend(discriminator.iter().map(|player| ("discriminator", &player.trainer)));
        all
    }

    fn players_mut(&mut self) -> Vec<(&str, &mut Trainer)> {
        let Players { generator, classifier, discriminator } = &mut self.players;
        let mut all = vec![("classifier", &mut classifier.trainer)];
        all.extend(generator.iter_mut().map(|player| ("generator", &mut player.trainer)));
        all.extend(discriminator.iter_mut().map(|player| ("discriminator", &mut player.trainer)));
        all
    }

    /// Steps of all players together: a step of the run is a move of one of them.
    fn progress(&self) -> (u64, u64) {
        self.players().iter().fold((0, 0), |(steps, seen), (_, t)| (steps + t.steps(), seen + t.seen()))
    }

    fn step(&mut self, observer: &mut dyn Observer) -> Result<Tick> {
        let made = self.progress();
        let next = self.moves.at(made.0).ok_or_else(|| Error::argument("TripleGan", "the game is over"))?;
        let tick = match next {
            Move::Discriminator => self.discriminate(observer)?,
            Move::Generator => self.generate()?,
            Move::Classifier => self.classify(false)?,
            Move::Alone => self.classify(true)?,
            Move::MatchFeatures => self.match_features()?,
            Move::TellMade => self.tell_made()?,
        };
        let (step, seen) = self.progress();
        Ok(Tick { step, seen, ..tick })
    }

    fn figures(&self) -> Vec<(&'static str, f64)> {
        let Last { generator, classifier, discriminator, value, judged } = self.last;
        let all = [
            ("generator_loss", generator),
            ("classifier_loss", classifier),
            ("discriminator_loss", discriminator),
            ("value", value),
            ("judged_real", judged.map(|j| j[0])),
            ("judged_generated", judged.map(|j| j[1])),
            ("judged_classified", judged.map(|j| j[2])),
        ];
        all.into_iter().filter_map(|(name, figure)| Some((name, figure?))).collect()
    }

    fn state(&self) -> Result<Vec<(String, Vec<u8>)>> {
        figures_state(&(&self.last, &self.won))
    }

    fn restore(&mut self, read: &dyn Fn(&str) -> Result<Vec<u8>>) -> Result<()> {
        (self.last, self.won) = restored_figures(read)?;
        Ok(())
    }

    fn show(&mut self, place: &RunDir, log: &mut Log, moment: Moment, _: &mut dyn Observer) -> Result<()> {
        if matches!(moment, Moment::Last(end) if end != End::Finished) {
            return Ok(());
        }
        let step = self.progress().0;
        if !is_logged(place, step, "accuracy")? {
            log.append(&serde_json::json!({ "step": step, "accuracy": self.scores()?.headline() }))?;
        }
        #[cfg(feature = "report")]
        if let (Some(wanted), true) =
            (self.picture.wanted(self.inputs.classes(), self.size()), self.players.generator.is_some())
        {
            let pixels = self.draw(self.picture.seed, &wanted)?;
            self.picture.write(&pixels, self.size(), place, step)?;
        }
        Ok(())
    }

    fn save(&self, player: &str, weights: &Weights, path: &Path) -> Result<()> {
        let metadata = match player {
            "classifier" => self.players.classifier.metadata.clone(),
            "generator" => self.players.generator.as_ref().map(|p| p.metadata.clone()).unwrap_or_default(),
            _ => self.players.discriminator.as_ref().map(|p| p.metadata.clone()).unwrap_or_default(),
        };
        nn::save(path, weights, &metadata)
    }
}

impl Debug for TripleGan<'_> {
    fn fmt(&self, f: &mut Formatter) -> fmt::Result {
        f.debug_struct("TripleGan").field("moves", &self.moves).finish_non_exhaustive()
    }
}
