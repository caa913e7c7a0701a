//! A run of `veridical triple-gan`: players of the settings, on images from files.

use super::game::TripleGan;
use super::inputs::{Counts, ImageInputs, Inputs};
use super::outcome::TripleGanOutcome;
#[cfg(feature = "report")]
use super::pages;
use super::players::{Move, Players};
use super::settings::{Baseline, ClassifierSection, NetworkKind, PairSection, TripleGanSettings};
use crate::data::{DataSet, Images};
use crate::error::{Error, Result};
use crate::evaluate::{CLASSIFIER_SCOPE, ClassifierTraining, ImageClassifier, classifier_metadata};
use crate::memory;
use crate::methods::game::{Labelled, Player, darkest, once_each, sizes, total_seconds};
use crate::metrics::classification;
use crate::nn::pairs::{
    ConvolutionalDiscriminator, ConvolutionalGenerator, PairDiscriminator, PairGenerator, PerceptronDiscriminator,
    PerceptronGenerator, ResidualDiscriminator, ResidualGenerator,
};
use crate::nn::{AnyClassifierConfig, FeatureClassifier, Scope, StackConfig};
use crate::optim::{Decay, HalfLife, OptimizerConfig, Schedule};
use crate::random::RandomKey;
use crate::stop;
use crate::tensor::Device;
use crate::train::{
    End, Observer, Own, OwnSettings, Plan, RunDir, RunOptions, Settings, TrainOptions, Trained, run_trained,
};

/// A run, ready to start.
#[derive(Debug)]
pub struct TripleGanRun {
    settings: Own<TripleGanSettings>,
    inputs: ImageInputs,
    /// All training images with their labels: for the classifier that reads samples, nothing else.
    all: Images,
    fingerprint: String,
    /// Labelled images.
    labelled: usize,
    account: String,
    class_names: Vec<String>,
    /// What was decided of the data, a line each.
    pub notes: Vec<String>,
}

impl TripleGanRun {
    /// Checks everything that can be checked: builds the players and lets each make its first step of every kind, whose
    /// results are dropped. Errors on settings that do not go with each other or with the data.
    pub fn new(settings: &Own<TripleGanSettings>, data: &DataSet) -> Result<Self> {
        settings.check()?;
        let own = &settings.0;
        let Labelled { labelled, unlabelled, held_out, mut notes } = Labelled::of(&own.data, data, own.train.seed)?;
        let device = Device::named(&own.train.device)?;
        let game = &own.triple_gan;
        let counts = Counts {
            labelled: game.labelled,
            true_pairs: game.true_pairs,
            unlabelled: game.unlabelled,
            joined: game.joined,
            generated: game.generated,
        };
        if game.labelled > labelled.len() {
            notes.push(format!(
                "triple_gan.labelled = {} is more than the {} labelled images: all of them in each step",
                game.labelled,
                labelled.len()
            ));
        }
        let makes = matches!(game.baseline, Baseline::None | Baseline::FeatureMatching);
        if own.samples.measured > 0 && makes {
            let count = (own.samples.measured * data.train.classes()) as u128;
            let bytes = 2 * 4 * count * data.train.values() as u128;
            memory::check(bytes, &format!("reading {count} generated images"), "lower samples.measured")?;
            let training = ClassifierTraining::default();
            ImageClassifier::untrained(data.train.size(), data.train.classes(), &training, &device).map_err(
                |error| {
                    Error::Config(format!(
                        "the classifier that reads what is generated: {error} (samples.measured=0 does without)"
                    ))
                },
            )?;
        }
        #[cfg(feature = "report")]
        if makes && !crate::methods::pages::are_pictures(data.train.size()) {
            let [height, width, channels] = data.train.size();
            notes.push(format!("no pictures of samples: {height}x{width}x{channels} is none"));
        }
        let affine = own.augment.affine(darkest(&labelled)?);
        let fingerprint =
            format!("{}; {}; {}", labelled.fingerprint(), unlabelled.fingerprint(), held_out.fingerprint());
        let count = labelled.len();
        let inputs =
            ImageInputs::new((labelled, unlabelled.clone(), &held_out), affine, counts, own.train.seed, &device)?;
        let (account, class_names) = (data.account(), data.class_names.clone());
        let settings = settings.clone();
        let mut run = TripleGanRun {
            settings,
            inputs,
            all: unlabelled,
            fingerprint,
            labelled: count,
            account,
            class_names,
            notes,
        };
        run.rehearse()?;
        Ok(run)
    }

    /// Every kind of move once, with players that are dropped.
    fn rehearse(&mut self) -> Result<()> {
        let settings = self.settings.0.clone();
        let (players, phases) = (self.players()?, once_each(&settings.phases()));
        // The last step's objective, in which everything is taught that ever is.
        let last = settings.triple_gan.pretraining + settings.triple_gan.iterations;
        let objective = |_| settings.objective(last);
        let teacher = settings.triple_gan.mean_teacher;
        let mut game = TripleGan::new(players, objective, teacher, &mut self.inputs, phases)?;
        (0..game.total()).try_for_each(|_| game.step(&mut ()).map(drop))?;
        self.notes.push(sizes(&game));
        Ok(())
    }

    fn players(&self) -> Result<Players> {
        let TripleGanSettings { triple_gan: game, networks, classifier, train, .. } = &self.settings.0;
        let (size, classes) = (self.all.size(), self.inputs.classes());
        let device = Device::named(&train.device)?;
        let phases = self.settings.0.phases();
        let steps = |wanted: &[Move]| -> u64 {
            let each = |m: &Move| u64::from(wanted.contains(m));
            phases.iter().map(|phase| phase.rounds * phase.moves.iter().map(each).sum::<u64>()).sum()
        };
        let options = |player: u32, lr: f64, weight_decay: f64, total: u64, average: Option<HalfLife>| {
            let beta1 = if player == 0 { game.classifier_beta1 } else { game.beta1 };
            let seed = RandomKey::stage_seed(train.seed, 1 + player)?;
            let optimizer = OptimizerConfig::Adam { lr, beta1, beta2: 0.999, eps: 1e-8, weight_decay };
            let schedule = Schedule { warm_up: 0, decay: Decay::Cosine { total } };
            let compute = train.compute.dtype();
            Ok::<_, Error>(TrainOptions { optimizer, schedule, average, compute, ..TrainOptions::adam(lr, seed) })
        };
        let seen = self.inputs.labelled_count() + game.unlabelled;
        // As many images as the average halves in: (1 - average)^steps = 1/2.
        let half_life = seen as f64 * 0.5f64.ln() / (1.0 - game.average.min(1.0 - 1e-9)).ln();
        // A short run's average is of its last tenth: the first weights are forgotten.
        let average = Some(HalfLife { images: half_life, ramp: Some(0.1) });
        let total = seen as u64 * steps(&[Move::Alone, Move::Classifier, Move::TellMade]);
        let config = classifier_network(classifier, size, classes);
        let options_c = options(0, game.classifier_lr, classifier.weight_decay, total, average)?;
        let build = |scope: &mut Scope| Ok(Box::new(config.build(scope)?) as Box<dyn FeatureClassifier>);
        let classifier = Player::new(CLASSIFIER_SCOPE, &device, options_c, build)?.described(classifier_metadata(
            size,
            &config,
            &self.class_names,
        )?);
        let makes = matches!(game.baseline, Baseline::None | Baseline::FeatureMatching);
        let judges = game.baseline == Baseline::None;
        let made = game.generated as u64;
        let generator = || {
            let total = made * steps(&[Move::Generator, Move::MatchFeatures]);
            let options = options(1, game.lr, 0.0, total, None)?;
            Player::new("generator", &device, options, |scope| generator_network(scope, networks, size, classes))
        };
        let discriminator = || {
            let options = options(2, game.lr, 0.0, made * steps(&[Move::Discriminator]), None)?;
            Player::new("discriminator", &device, options, |scope| judge_network(scope, networks, size, classes))
        };
        Ok(Players {
            generator: makes.then(generator).transpose()?,
            classifier,
            discriminator: judges.then(discriminator).transpose()?,
        })
    }

    /// Plays the game, or goes on with it, and writes what came of it.
    pub fn run(
        &mut self,
        place: &RunDir,
        options: RunOptions,
        observer: &mut dyn Observer,
    ) -> Result<(End, TripleGanOutcome)> {
        let settings = self.settings.clone();
        let own = &settings.0;
        let document = settings.document()?;
        let players = self.players()?;
        let teacher = own.triple_gan.mean_teacher;
        // Samples that a step of the classifier counts, and one of the others.
        let seen =
            [self.inputs.labelled_count() + own.triple_gan.unlabelled, own.triple_gan.generated].map(|n| n as u64);
        let game = TripleGan::new(players, |step| own.objective(step), teacher, &mut self.inputs, own.phases())?;
        #[cfg(feature = "report")]
        let game = game.drawing(own.train.seed, own.samples.columns, &self.class_names);
        let mut game = game;
        let steps = game.total();
        let phases = own.phases();
        let moves = phases
            .iter()
            .flat_map(|phase| phase.moves.iter().map(|m| phase.rounds * seen[usize::from(!m.of_classifier())]));
        let plan = Plan {
            steps,
            samples: moves.sum(),
            batch: None,
            log_every: own.train.log_every,
            show_every: own.train.show_every,
            checkpoint_every: own.train.checkpoint_every,
            keep_last: own.train.keep_last,
            keep_every: 0,
            settings: document.clone(),
            free: TripleGanSettings::FREE.iter().map(ToString::to_string).collect(),
            branches: Vec::new(),
            data: self.fingerprint.clone(),
        };
        let ran = run_trained(&mut game, &plan, place, options, observer)?;
        // A run that was stopped says what it has come to, which may take a while.
        if ran.end == End::Stopped {
            observer.note("stopped and kept for --resume; now measuring what it has come to, which may be cut off");
        }
        let classifier = stop::shielded(|| game.scores())?;
        let iterations = game.networks().classifier.trainer.steps().saturating_sub(own.triple_gan.pretraining);
        let seconds = total_seconds(place)?;
        let mut outcome = TripleGanOutcome {
            error: 1.0 - classifier.headline(),
            sample_accuracy: None,
            sample_accuracy_real: None,
            seconds,
            iterations,
            baseline: own.triple_gan.baseline.name().into(),
            labelled: self.labelled,
            seed: own.train.seed,
            finished: ran.end == End::Finished,
            classifier,
        };
        let (account, names) = (&self.account, &self.class_names);
        let write = |outcome: &TripleGanOutcome| -> Result<()> {
            place.write_json("metrics.json", outcome)?;
            #[cfg(feature = "report")]
            {
                let page = pages::page(own, outcome, ran.end, place, account, names, &document)?;
                place.write("report.html", page.as_bytes())?;
            }
            let _ = (account, names, &document);
            Ok(())
        };
        // Before the samples are read, which takes a while and may be stopped.
        stop::shielded(|| write(&outcome))?;
        if ran.end == End::Finished && game.networks().generator.is_some() && own.samples.measured > 0 {
            match read(own, &game, &self.all, observer) {
                Err(Error::Stopped) => {
                    observer.note("stopped: the samples are not read; --resume reads them");
                    return Ok((End::Stopped, outcome));
                }
                read => {
                    (outcome.sample_accuracy, outcome.sample_accuracy_real) = read.map(|r| (Some(r.0), Some(r.1)))?
                }
            }
            write(&outcome)?;
        }
        Ok((ran.end, outcome))
    }
}

/// How many of the images that the generator makes of each class, and of those held out, a classifier reads that was
/// trained on all labels.
fn read(
    settings: &TripleGanSettings,
    game: &TripleGan,
    all: &Images,
    observer: &mut dyn Observer,
) -> Result<(f64, f64)> {
    /// Images that such a classifier sees, each as often as it takes.
    const LEARNT_FROM: u64 = 60_000;
    let samples = &settings.samples;
    observer.note("a classifier of all training labels reads the generated images");
    let epochs = if samples.epochs > 0 { samples.epochs } else { LEARNT_FROM.div_ceil(all.len() as u64).clamp(1, 12) };
    let training = ClassifierTraining { epochs, seed: settings.train.seed, ..ClassifierTraining::default() };
    let judge = ImageClassifier::train(all, &training, &Device::Cpu)?;
    let classes: Vec<u32> =
        (0..all.classes() as u32).flat_map(|class| std::iter::repeat_n(class, samples.measured)).collect();
    let pixels = game.draw(settings.train.seed.wrapping_add(1), &classes)?;
    let accuracy = |pixels: &[f32], labels: &[u32]| -> Result<f64> {
        Ok(classification(&judge.logits(pixels)?, all.classes(), labels, 15)?.accuracy)
    };
    let (real, labels) = game.held_out_images()?;
    Ok((accuracy(&pixels, &classes)?, accuracy(&real, labels)?))
}

fn classifier_network(section: &ClassifierSection, size: [usize; 3], classes: usize) -> AnyClassifierConfig {
    let ClassifierSection { ref layers, dropout, noise, slope, .. } = *section;
    AnyClassifierConfig::Stack(StackConfig { size, layers: layers.clone(), classes, dropout, noise, slope })
}

fn generator_network(
    scope: &mut Scope,
    section: &PairSection,
    size: [usize; 3],
    classes: usize,
) -> Result<Box<dyn PairGenerator>> {
    let inputs = (section.latents, classes);
    Ok(match section.kind {
        NetworkKind::Perceptron => Box::new(PerceptronGenerator::new(scope, inputs, &section.generator, size)?),
        NetworkKind::Convolutional => Box::new(ConvolutionalGenerator::new(scope, inputs, section.channels, size)?),
        NetworkKind::Residual => {
            Box::new(ResidualGenerator::new(scope, inputs, (section.channels, section.blocks), size)?)
        }
    })
}

fn judge_network(
    scope: &mut Scope,
    section: &PairSection,
    size: [usize; 3],
    classes: usize,
) -> Result<Box<dyn PairDiscriminator>> {
    /// Blocks of the residual one, as in the published network.
    const BLOCKS: usize = 4;
    let channels = section.discriminator_channels;
    Ok(match section.kind {
        NetworkKind::Perceptron => {
            let noise = [section.image_noise, section.noise];
            Box::new(PerceptronDiscriminator::new(scope, size, &section.discriminator, classes, noise)?)
        }
        NetworkKind::Convolutional => Box::new(ConvolutionalDiscriminator::new(scope, size, channels, classes)?),
        NetworkKind::Residual => Box::new(ResidualDiscriminator::new(scope, size, (channels, BLOCKS), classes)?),
    })
}
