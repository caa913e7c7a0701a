//! The players and their turns.

use std::fmt::{self, Debug, Formatter};
use std::ops::Range;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::{Distillation, Logits, Objective, Value};
use crate::autograd::Var;
use crate::error::{Error, Result};
use crate::methods::game::{
    Batch, Examples, Moves, Phase, Player, Scores, Warner, figures_state, is_logged, restored_figures,
};
use crate::nn::{self, Context, Weights};
use crate::players::{cross_entropy_soft, noisy_logits};
use crate::tensor::Tensor;
use crate::train::{End, Gradient, Log, Moment, Observer, RunDir, Tick, Trained};

/// What a move teaches its player.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Lesson {
    /// Cross-entropy with the true labels; `true` in the steps that come first.
    Labels {
        /// Whether it is one of the supervised steps that come first.
        pretraining: bool,
    },
    /// Cross-entropy and a distillation loss, with these weights.
    Distilled {
        /// Weight of cross-entropy.
        labels: f64,
        /// Weight of the distillation loss.
        distilled: f64,
        /// The loss.
        loss: Distillation,
        /// Of the other's logits: the share that is left out and the deviation of the noise (NOISY).
        noise: Option<(f64, f64)>,
    },
    /// The game.
    Game,
}

/// A player's turn.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Move {
    /// The discriminator is told true labels from the players'.
    Discriminator {
        /// Whether it is one of the steps that come first.
        pretraining: bool,
    },
    /// The teacher learns.
    Teacher(Lesson),
    /// The student learns.
    Student(Lesson),
}

/// The three players; a method without one of them has none.
pub struct Players {
    /// h: sees what there is when it is used.
    pub student: Player,
    /// f: sees more, or is larger.
    pub teacher: Option<Player>,
    /// g: sees what the teacher sees.
    pub discriminator: Option<Player>,
}

/// A game in training.
pub struct Kdgan<'a> {
    players: Players,
    objective: Box<dyn Fn(u64) -> Result<Objective> + 'a>,
    examples: &'a mut dyn Examples,
    moves: Moves<Move>,
    /// What the last move found.
    last: Last,
    won: Warner,
}

/// What the last steps found, for the log.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
struct Last {
    student: Option<f64>,
    teacher: Option<f64>,
    discriminator: Option<f64>,
    value: Option<Value>,
}

/// Players by number, as their batches are told apart.
const STUDENT: u32 = 0;
const TEACHER: u32 = 1;
const DISCRIMINATOR: u32 = 2;

impl<'a> Kdgan<'a> {
    /// The players' game on these examples. `objective` is asked for that of a student's or teacher's step, counted
    /// from 0, as temperatures fall.
    ///
    /// Errors if a move is of a player that there is not.
    pub fn new(
        players: Players,
        objective: impl Fn(u64) -> Result<Objective> + 'a,
        examples: &'a mut dyn Examples,
        phases: Vec<Phase<Move>>,
    ) -> Result<Self> {
        let moves = Moves::new(phases);
        let of = |wanted: fn(Move) -> bool| moves.count(wanted) > 0;
        for (name, there, needed) in [
            ("teacher", players.teacher.is_some(), of(|m| matches!(m, Move::Teacher(_)))),
            ("discriminator", players.discriminator.is_some(), of(|m| matches!(m, Move::Discriminator { .. }))),
        ] {
            if needed && !there {
                return Err(Error::argument("Kdgan::new", format!("moves of a {name}, but there is none")));
            }
        }
        let (objective, won) = (Box::new(objective), Warner::default());
        Ok(Kdgan { players, objective, examples, moves, last: Last::default(), won })
    }

    /// Steps of all players in the whole game.
    pub fn total(&self) -> u64 {
        self.moves.total()
    }

    /// The players.
    pub fn networks(&self) -> &Players {
        &self.players
    }

    /// How student and teacher do on what nothing is trained on.
    pub fn scores(&self) -> Result<(Scores, Option<Scores>)> {
        let held_out = self.examples.held_out();
        let of = |player: &Player, view: &Tensor| {
            let cx = player.averaged()?;
            held_out.scores(view, &player.device(), |x| player.logits(&cx, x))
        };
        let student = of(&self.players.student, &held_out.student)?;
        let teacher = self.players.teacher.as_ref().map(|teacher| of(teacher, &held_out.teacher)).transpose()?;
        Ok((student, teacher))
    }

    fn discriminate(&mut self, pretraining: bool, observer: &mut dyn Observer) -> Result<Tick> {
        let objective = (self.objective)(self.players.student.trainer.steps())?;
        let Players { student, teacher, discriminator } = &mut self.players;
        let Some(judge) = discriminator else { return Err(missing("discriminator")) };
        let batch = self.examples.batch(DISCRIMINATOR, judge.trainer.steps(), pretraining)?;
        let rows = rows(&batch);
        let gradient = judge.trainer.gradient_and_figures(rows, rows, |cx, range| {
            let (batch, truth) = part(&batch, range)?;
            let (student, teacher) = others(student, teacher.as_ref(), &batch)?;
            let discriminator = judge.logits(cx, &batch.teacher)?;
            let logits = Logits { student, teacher, discriminator };
            let Value { value, real, fake } = objective.value(&logits, &truth)?;
            Ok((objective.discriminator(&logits, &truth, cx.address()?)?, vec![value, real, fake]))
        })?;
        let value = match *gradient.figures() {
            [value, real, fake] => Some(Value { value, real, fake }),
            _ => None,
        };
        let tick = judge.trainer.apply(gradient)?;
        self.last = Last { discriminator: Some(tick.loss), value, ..self.last };
        self.won.see(tick.loss, observer);
        Ok(tick)
    }

    fn teach(&mut self, lesson: Lesson) -> Result<Tick> {
        let objective = self.players.teacher.as_ref().map(|teacher| (self.objective)(teacher.trainer.steps()));
        let Players { student, teacher, discriminator } = &mut self.players;
        let (Some(teacher), Some(objective)) = (teacher, objective.transpose()?) else {
            return Err(missing("teacher"));
        };
        let pretraining = lesson == Lesson::Labels { pretraining: true };
        let batch = self.examples.batch(TEACHER, teacher.trainer.steps(), pretraining)?;
        let other = |batch: &Batch| student.fixed_logits(&batch.student);
        let gradient = learn(
            teacher,
            |batch| &batch.teacher,
            &batch,
            lesson,
            &other,
            |batch, truth, own, other, cx| {
                let discriminator = judged(discriminator.as_ref(), batch)?;
                let logits = Logits { student: other.clone(), teacher: own.clone(), discriminator };
                objective.teacher(&logits, truth, cx.address()?)
            },
        )?;
        let tick = teacher.trainer.apply(gradient)?;
        self.last.teacher = Some(tick.loss);
        Ok(tick)
    }

    fn study(&mut self, lesson: Lesson) -> Result<Tick> {
        let Players { student, teacher, discriminator } = &mut self.players;
        let objective = (self.objective)(student.trainer.steps())?;
        let pretraining = lesson == Lesson::Labels { pretraining: true };
        let batch = self.examples.batch(STUDENT, student.trainer.steps(), pretraining)?;
        // Without a teacher nothing is weighed that hangs on one; the student stands in its place.
        let (student, teacher) = (student, teacher.as_ref());
        let other = |batch: &Batch| match teacher {
            Some(teacher) => teacher.fixed_logits(&batch.teacher),
            None => student.fixed_logits(&batch.student),
        };
        let gradient = learn(
            student,
            |batch| &batch.student,
            &batch,
            lesson,
            &other,
            |batch, truth, own, other, cx| {
                let discriminator = judged(discriminator.as_ref(), batch)?;
                let logits = Logits { student: own.clone(), teacher: other.clone(), discriminator };
                objective.student(&logits, truth, cx.address()?)
            },
        )?;
        let tick = student.trainer.apply(gradient)?;
        self.last.student = Some(tick.loss);
        Ok(tick)
    }
}

/// The gradient of a lesson; `view` is what the player sees of a batch, `other` the other's logits on it, and `game`
/// the loss of the game, of a batch with its true labels and own and other logits.
fn learn(
    player: &Player,
    view: impl Fn(&Batch) -> &Tensor,
    batch: &Batch,
    lesson: Lesson,
    other: &dyn Fn(&Batch) -> Result<Var>,
    game: impl Fn(&Batch, &Var, &Var, &Var, &Context) -> Result<Var>,
) -> Result<Gradient> {
    player.trainer.gradient_in_parts(rows(batch), rows(batch), |cx, range| {
        let (batch, truth) = part(batch, range)?;
        let own = player.logits(cx, view(&batch))?;
        match lesson {
            Lesson::Labels { .. } => cross_entropy_soft(&own, truth),
            Lesson::Distilled { labels, distilled, loss, noise } => {
                let mut target = other(&batch)?;
                if let Some((ratio, sigma)) = noise {
                    target = noisy_logits(target.value(), ratio, sigma, cx.address()?)?.into();
                }
                let distilled = (distilled * loss.loss(&own, &target)?)?;
                if labels > 0.0 { distilled + (labels * cross_entropy_soft(&own, truth)?)? } else { Ok(distilled) }
            }
            Lesson::Game => game(&batch, &truth, &own, &other(&batch)?, cx),
        }
    })
}

/// Rows of a batch, with their true labels: those of a slot, where several ranks or none share it.
fn part(batch: &Batch, rows: Range<usize>) -> Result<(Batch, Var)> {
    let part = batch.part(rows)?;
    let truth = Var::from(&part.truth);
    Ok((part, truth))
}

/// Constant logits of student and teacher; without a teacher the student's stand for both.
fn others(student: &Player, teacher: Option<&Player>, batch: &Batch) -> Result<(Var, Var)> {
    let of_student = student.fixed_logits(&batch.student)?;
    let of_teacher = teacher.map_or_else(|| Ok(of_student.clone()), |teacher| teacher.fixed_logits(&batch.teacher))?;
    Ok((of_student, of_teacher))
}

fn judged(discriminator: Option<&Player>, batch: &Batch) -> Result<Var> {
    discriminator.ok_or_else(|| missing("discriminator"))?.fixed_logits(&batch.teacher)
}

fn missing(player: &str) -> Error {
    Error::argument("Kdgan", format!("a move of a {player}, but there is none"))
}

fn rows(batch: &Batch) -> usize {
    batch.truth.shape().first().copied().unwrap_or(0)
}

impl Trained for Kdgan<'_> {
    fn players(&self) -> Vec<(&str, &crate::train::Trainer)> {
        let Players { student, teacher, discriminator } = &self.players;
        let all =
            [("student", Some(student)), ("teacher", teacher.as_ref()), ("discriminator", discriminator.as_ref())];
        all.into_iter().filter_map(|(name, player)| Some((name, &player?.trainer))).collect()
    }

    fn players_mut(&mut self) -> Vec<(&str, &mut crate::train::Trainer)> {
        let Players { student, teacher, discriminator } = &mut self.players;
        let all =
            [("student", Some(student)), ("teacher", teacher.as_mut()), ("discriminator", discriminator.as_mut())];
        all.into_iter().filter_map(|(name, player)| Some((name, &mut player?.trainer))).collect()
    }

    /// Steps of all players together: a step of the run is a move of one of them.
    fn progress(&self) -> (u64, u64) {
        self.players().iter().fold((0, 0), |(steps, seen), (_, t)| (steps + t.steps(), seen + t.seen()))
    }

    fn step(&mut self, observer: &mut dyn Observer) -> Result<Tick> {
        let made = self.progress();
        let next = self.moves.at(made.0).ok_or_else(|| Error::argument("Kdgan", "the game is over"))?;
        let tick = match next {
            Move::Discriminator { pretraining } => self.discriminate(pretraining, observer)?,
            Move::Teacher(lesson) => self.teach(lesson)?,
            Move::Student(lesson) => self.study(lesson)?,
        };
        match next {
            Move::Discriminator { .. } => {}
            Move::Teacher(_) => self.won.hear("teacher", tick.loss, observer),
            Move::Student(_) => self.won.hear("student", tick.loss, observer),
        }
        let (step, seen) = self.progress();
        Ok(Tick { step, seen, ..tick })
    }

    fn figures(&self) -> Vec<(&'static str, f64)> {
        let Last { student, teacher, discriminator, value } = self.last;
        let all = [
            ("student_loss", student),
            ("teacher_loss", teacher),
            ("discriminator_loss", discriminator),
            ("value", value.map(|v| v.value)),
            ("judged_real", value.map(|v| v.real)),
            ("judged_fake", value.map(|v| v.fake)),
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
        if is_logged(place, step, "student")? {
            return Ok(());
        }
        let (student, teacher) = self.scores()?;
        let mut line = serde_json::json!({ "step": step, "student": student.headline() });
        if let Some(teacher) = teacher {
            line["teacher"] = teacher.headline().into();
        }
        log.append(&line)
    }

    fn save(&self, player: &str, weights: &Weights, path: &Path) -> Result<()> {
        let network = match player {
            "student" => Some(&self.players.student),
            "teacher" => self.players.teacher.as_ref(),
            _ => self.players.discriminator.as_ref(),
        };
        nn::save(path, weights, &network.map(|player| player.metadata.clone()).unwrap_or_default())
    }
}

impl Debug for Kdgan<'_> {
    fn fmt(&self, f: &mut Formatter) -> fmt::Result {
        f.debug_struct("Kdgan").field("moves", &self.moves).finish_non_exhaustive()
    }
}
