//! A run of `veridical kdgan`: players of the settings, on data from files.

use std::collections::BTreeMap;

use super::game::{Kdgan, Players};
use super::outcome::KdganOutcome;
#[cfg(feature = "report")]
use super::pages;
use super::settings::{KdganMethod, KdganSettings, StudentSection, TeacherSection};
use crate::error::{Error, Result};
use crate::evaluate::{CLASSIFIER_SCOPE, ImageClassifier, classifier_metadata};
use crate::methods::game::{
    Examples, GameData, Labelled, LabelledImages, LabelledRows, Player, Scores, darkest, once_each, sizes,
    total_seconds,
};
use crate::nn::{AnyClassifierConfig, InputRange, LeNetConfig, PerceptronConfig};
use crate::optim::OptimizerConfig;
use crate::random::RandomKey;
use crate::stop;
use crate::tensor::Device;
use crate::train::{
    End, Observer, Own, OwnSettings, Plan, RunDir, RunOptions, Settings, TrainOptions, Trained, run_trained,
};

/// A run, ready to start.
#[derive(Debug)]
pub struct KdganRun {
    settings: Own<KdganSettings>,
    examples: Box<dyn Examples>,
    /// What student and teacher see of an example: height, width, channels.
    sizes: [[usize; 3]; 2],
    /// The least and the largest of the training pixels: 0 and 1 to the networks, as in the authors' experiments.
    range: InputRange,
    /// What was read, for a person.
    pub account: String,
    /// Names of the classes or labels, where there are any.
    pub class_names: Vec<String>,
    /// What was decided of the data, a line each.
    pub notes: Vec<String>,
}

impl KdganRun {
    /// Checks everything that can be checked: builds the players and lets each make its first steps of every kind,
    /// whose results are dropped. Errors on settings that do not go with each other or with the data.
    pub fn new(settings: &Own<KdganSettings>, data: &GameData) -> Result<Self> {
        settings.check()?;
        let own = &settings.0;
        let device = Device::named(&own.train.device)?;
        let order = (own.steps.batch, own.train.seed);
        let (examples, sizes, range, mut notes): (Box<dyn Examples>, _, _, _) = match data {
            GameData::Images(data) => {
                let Labelled { labelled, held_out, mut notes, .. } = Labelled::of(&own.data, data, own.train.seed)?;
                let size = labelled.size();
                let mut affine =
                    own.augment.affine(darkest(&labelled)?).map(|affine| (affine, own.augment.pretraining));
                if size[0] * size[1] == 1 && affine.take().is_some() {
                    notes.push("[augment] turns and moves pictures; these are points, which stay as they are".into());
                }
                let examples = LabelledImages::new(labelled, &held_out, affine, order, &device)?;
                (Box::new(examples), [size; 2], InputRange::of(data.train.range()), notes)
            }
            GameData::Table(set) => {
                if own.augment.affine(0.0).is_some() {
                    return Err(Error::Config(
                        "[augment] turns pictures, but the data are a table: set it to 0".into(),
                    ));
                }
                let mut rows = LabelledRows::new((&own.data, &own.table), set, order, &device)?;
                let (seen, all) = rows.dims();
                let notes = std::mem::take(&mut rows.notes);
                (Box::new(rows), [[1, 1, seen], [1, 1, all]], InputRange::default(), notes)
            }
        };
        let (account, class_names) = (data.account(), data.names().to_vec());
        if own.steps.batch > examples.count() {
            let (batch, count) = (own.steps.batch, examples.count());
            notes.push(format!(
                "steps.batch = {batch}, but {count} examples are labelled: a step sees some more than once"
            ));
        }
        let mut run = KdganRun { settings: settings.clone(), examples, sizes, range, account, class_names, notes };
        run.rehearse()?;
        Ok(run)
    }

    /// Every kind of move once, with players that are dropped.
    fn rehearse(&mut self) -> Result<()> {
        let settings = self.settings.0.clone();
        let (players, phases) = (self.players()?, once_each(&settings.phases()));
        let mut game = Kdgan::new(players, |step| settings.objective(step), self.examples.as_mut(), phases)?;
        (0..game.total()).try_for_each(|_| game.step(&mut ()).map(drop))?;
        self.notes.push(sizes(&game));
        Ok(())
    }

    fn players(&self) -> Result<Players> {
        let KdganSettings { kdgan, student, teacher, .. } = &self.settings.0;
        let classes = self.examples.labels();
        let [seen, all] = self.sizes;
        let small = student_network(student, (seen, self.range), classes);
        let large = teacher_network(teacher, (all, self.range), classes);
        let options = |player: u32, lr: f64, weight_decay: f64| self.options(player, lr, weight_decay);
        let judge = matches!(kdgan.method, KdganMethod::Kdgan | KdganMethod::Nagan);
        let taught = kdgan.method != KdganMethod::Nagan;
        Ok(Players {
            student: self.player(seen, &small, options(0, student.lr, student.weight_decay)?)?,
            teacher: taught.then(|| self.teacher(&large, options(1, teacher.lr, teacher.weight_decay)?)).transpose()?,
            discriminator: judge
                .then(|| {
                    let options = options(2, teacher.discriminator_lr, teacher.weight_decay)?;
                    // Its logits are no classifier's, and its file does not say that they are.
                    Ok::<_, Error>(self.player(all, &large, options)?.described(BTreeMap::new()))
                })
                .transpose()?,
        })
    }

    fn options(&self, player: u32, lr: f64, weight_decay: f64) -> Result<TrainOptions> {
        let train = &self.settings.0.train;
        let seed = RandomKey::stage_seed(train.seed, 1 + player)?;
        let optimizer = OptimizerConfig::Adam { lr, beta1: 0.9, beta2: 0.999, eps: 1e-8, weight_decay };
        let (compute, slots) = (train.compute.dtype(), train.slots);
        Ok(TrainOptions { optimizer, compute, slots, ..TrainOptions::adam(lr, seed) })
    }

    /// The teacher of the settings, or that of a file. Errors if that one takes other images or knows other classes.
    fn teacher(&self, large: &AnyClassifierConfig, options: TrainOptions) -> Result<Player> {
        let (section, size, classes) = (&self.settings.0.teacher, self.sizes[1], self.examples.labels());
        if section.file.is_empty() {
            return self.player(size, large, options);
        }
        let device = Device::named(&self.settings.0.train.device)?;
        let trained = ImageClassifier::load(&section.file, &device).map_err(|error| {
            Error::Config(format!(
                "teacher.file: {error}; a run that was begun takes the file's new place by --set teacher.file"
            ))
        })?;
        if trained.size() != size || trained.classes() != classes {
            let (takes, knows) = (trained.size(), trained.classes());
            let what =
                format!("takes images {takes:?} and knows {knows} classes; the data have {size:?} and {classes}");
            return Err(Error::Config(format!("teacher.file = {:?}: {what}", section.file)));
        }
        let (config, network, weights) = trained.into_parts();
        Ok(Player::of(Box::new(network) as _, weights, options)?.described(classifier_metadata(
            size,
            &config,
            &self.class_names,
        )?))
    }

    fn player(&self, size: [usize; 3], network: &AnyClassifierConfig, options: TrainOptions) -> Result<Player> {
        let device = Device::named(&self.settings.0.train.device)?;
        let player = Player::new(CLASSIFIER_SCOPE, &device, options, |scope| Ok(Box::new(network.build(scope)?) as _))?;
        Ok(player.described(classifier_metadata(size, network, &self.class_names)?))
    }

    /// Plays the game, or goes on with it, and writes what came of it.
    pub fn run(
        &mut self,
        place: &RunDir,
        options: RunOptions,
        observer: &mut dyn Observer,
    ) -> Result<(End, KdganOutcome)> {
        let settings = self.settings.clone();
        let own = &settings.0;
        let document = settings.document()?;
        let players = self.players()?;
        let InputRange([low, high]) = self.range;
        let mut fingerprint = format!("{}; {low} to {high}", self.examples.fingerprint());
        let labelled = self.examples.count();
        if let (false, Some(teacher)) = (own.teacher.file.is_empty(), &players.teacher) {
            fingerprint = format!("{fingerprint}; teacher {}", teacher.trainer.weights().fingerprint()?);
        }
        let mut game = Kdgan::new(players, |step| own.objective(step), self.examples.as_mut(), own.phases())?;
        let steps = game.total();
        let plan = Plan {
            steps,
            samples: steps * own.steps.batch as u64,
            batch: Some(own.steps.batch as u64),
            log_every: own.train.log_every,
            show_every: own.train.show_every,
            checkpoint_every: own.train.checkpoint_every,
            keep_last: own.train.keep_last,
            keep_every: 0,
            settings: document.clone(),
            free: KdganSettings::FREE.iter().map(ToString::to_string).collect(),
            branches: Vec::new(),
            data: fingerprint,
        };
        let ran = run_trained(&mut game, &plan, place, options, observer)?;
        // A run that was stopped says what it has come to, which may take a while.
        if ran.end == End::Stopped {
            observer.note("stopped and kept for --resume; now measuring what it has come to, which may be cut off");
        }
        // The first rank measures, and tells the others.
        let measured = place.ranks().on_first(|| {
            let (student, teacher) = stop::shielded(|| game.scores())?;
            let outcome = KdganOutcome {
                student_accuracy: student.accuracy(),
                teacher_accuracy: teacher.as_ref().and_then(Scores::accuracy),
                student_steps: game.networks().student.trainer.steps(),
                seconds: total_seconds(place)?,
                method: own.kdgan.method.name().into(),
                labelled,
                seed: own.train.seed,
                finished: ran.end == End::Finished,
                student,
                teacher,
            };
            place.write_json("metrics.json", &outcome)?;
            #[cfg(feature = "report")]
            {
                let page = pages::page(own, &outcome, ran.end, place, &self.account, &self.class_names, &document)?;
                place.write("report.html", page.as_bytes())?;
            }
            Ok(outcome)
        })?;
        let outcome = place.ranks().as_first_finds(
            || measured,
            |outcome| serde_json::to_vec(outcome).unwrap_or_default(),
            |told| {
                serde_json::from_slice(told).map_err(|e| Error::Rank { rank: 0, what: format!("sent no outcome: {e}") })
            },
        )?;
        let outcome = outcome.ok_or_else(|| Error::Rank { rank: 0, what: "sent no outcome".into() })?;
        Ok((ran.end, outcome))
    }
}

/// The small network for images of this size.
fn student_network(
    section: &StudentSection,
    (size, range): ([usize; 3], InputRange),
    classes: usize,
) -> AnyClassifierConfig {
    let StudentSection { ref hidden, dropout, .. } = *section;
    let inputs = size.iter().product();
    AnyClassifierConfig::Perceptron(PerceptronConfig { inputs, hidden: hidden.clone(), classes, dropout, range })
}

/// The large one: convolutions for pictures, else a perceptron.
fn teacher_network(
    section: &TeacherSection,
    (size, range): ([usize; 3], InputRange),
    classes: usize,
) -> AnyClassifierConfig {
    let TeacherSection { ref channels, kernel, padding, hidden, dropout, .. } = *section;
    if channels.is_empty() || size[0] == 1 {
        let inputs = size.iter().product();
        return AnyClassifierConfig::Perceptron(PerceptronConfig {
            inputs,
            hidden: vec![hidden; 2],
            classes,
            dropout,
            range,
        });
    }
    let channels = channels.clone();
    AnyClassifierConfig::LeNet(LeNetConfig { size, channels, kernel, padding, hidden, classes, dropout, range })
}
