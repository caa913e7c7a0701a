//! `veridical demo`: real handwritten digits, learned and drawn; then learned once more from a few clean ones and many
//! noisy ones; then told apart when fifty of them have a label.

mod config;
mod distance;
mod few;
mod results;
mod story;
mod watch;

use std::time::Instant;

pub use config::{Args, Config};
use distance::Distance;
use results::Results;
use veridical::data::{self, Batches, Digits, digits};
use veridical::diffusion::Model;
use veridical::evaluate::{ClassifierTraining, ImageClassifier};
use veridical::metrics::classification;
use veridical::nn::Conditions;
use veridical::train::{Existing, MODEL, RunDir, Trainer};
use veridical::{DType, Device, Error, Result, Tensor, ops, stop};

use super::progress::{Progress, clock, note};
use super::{Ended, interrupt, output, say};

/// Between two lines of the log, in steps.
const LOG_EVERY: u64 = 10;
/// Digits that are sampled at once.
const SAMPLED_AT_ONCE: usize = 100;

pub fn run(args: Args) -> Result<Ended> {
    let started = Instant::now();
    let config = args.config()?;
    let device = Device::named(&config.device)?;
    let data = digits::load()?;
    let [side, _, channels] = data.train.size();
    // Everything that can be wrong with the settings shows here, before a directory is made.
    let mut model = Model::new(&config.model(side, channels, data.train.classes()), config.seed, &device)?;
    let sampler = config.sampler().rehearse(&model, None);
    sampler.map_err(|e| Error::Config(format!("sampler_steps = {}: {e}", config.sampler_steps)))?;
    let plan = story::Plan::new(&config, &data)?;
    let mut game = few::Plan::new(&config, &data)?;
    let existing = if args.overwrite { Existing::Overwrite } else { Existing::ReplaceRun };
    let writing = interrupt::writing();
    let run = output::claimed(&args.out, args.overwrite)?;
    drop(writing);
    note(&data::open("builtin:digits")?.account());
    note(&format!("{} parameters on {device}; results go to {}", count(&model), run.path().display()));

    let judge = judge(&config, &data)?;
    let before = draw(&config, &model)?;
    // Until here there is nothing in the place of what an earlier run left.
    let writing = interrupt::writing();
    run.clear_earlier()?;
    run.write_toml("config.toml", &config)?;
    drop(writing);
    let mut keeping = interrupt::keeping("what was learned is kept, pictures are not drawn");
    let losses = train(&config, &mut model, &data, &run)?;
    stop::shielded(|| model.save(run.path().join(MODEL)))?;
    let generated = match draw(&config, &model) {
        Err(Error::Stopped) => return learned(&run, losses.len()),
        generated => generated?,
    };
    keeping.now("the parts that are not done are left out");
    let story = match plan.tell(&config, &data, &run, existing, &generated) {
        Err(Error::Stopped) => None,
        story => story?,
    };
    let few = match story.is_some().then(|| game.play(&run, existing)) {
        None | Some(Err(Error::Stopped)) => None,
        Some(few) => few?,
    };

    let _writing = interrupt::writing();
    let accuracy = |pixels: &[f32], labels: &[u32]| -> Result<f64> {
        Ok(classification(&judge.logits(pixels)?, data.train.classes(), labels, 15)?.accuracy)
    };
    let results = Results {
        story,
        few,
        before: Distance::to_held_out(&before, &data.held_out)?,
        after: Distance::to_held_out(&generated, &data.held_out)?,
        real: Distance::of_real(&data, config.per_class)?,
        accuracy: accuracy(&generated, &classes(&config))?,
        accuracy_real: accuracy(&data.held_out.pixels()?, data.held_out.labels())?,
        losses,
        generated,
        started,
    };
    results.write(&run, &config, &data)?;
    say(&results.summary())?;
    results.story().iter().chain(&results.few()).try_for_each(|line| say(line))?;
    say(&format!("{} in all; see {}", clock(started.elapsed()), run.path().join("report.html").display()))?;
    Ok(interrupt::ended())
}

/// Says what a training that was stopped leaves.
fn learned(run: &RunDir, steps: usize) -> Result<Ended> {
    let model = run.path().join(MODEL);
    say(&format!(
        "stopped after {steps} steps; `veridical sample --model {}` draws what was learned",
        model.display()
    ))?;
    Ok(Ended::Interrupted)
}

fn count(model: &Model) -> usize {
    model.weights.layout().entries().iter().filter(|e| e.trainable).map(|e| e.shape.elements()).sum()
}

/// Trains the classifier that judges the digits, on real ones only. On the CPU whatever the device: a measure must not
/// depend on where the measured thing was made.
fn judge(config: &Config, data: &Digits) -> Result<ImageClassifier> {
    let training = ClassifierTraining { epochs: config.classifier_epochs, seed: config.seed, ..Default::default() };
    ImageClassifier::train(&data.train, &training, &Device::Cpu)
}

/// The classes of the digits that are generated, `per_class` of each.
fn classes(config: &Config) -> Vec<u32> {
    (0..10).flat_map(|class| std::iter::repeat_n(class, config.per_class)).collect()
}

/// Samples digits, sorted by class.
fn draw(config: &Config, model: &Model) -> Result<Vec<f32>> {
    let classes = classes(config);
    let mut pixels = Vec::new();
    let mut progress = Progress::new("sampling", classes.len() as u64);
    for (i, classes) in classes.chunks(SAMPLED_AT_ONCE).enumerate() {
        let first = (i * SAMPLED_AT_ONCE) as u32;
        let samples = config.sampler().sample_classes(model, config.seed, first, classes)?;
        pixels.extend(samples.to_vec::<f32>()?);
        progress.tick(first as u64 + classes.len() as u64, None);
    }
    progress.finish();
    Ok(pixels)
}

/// Trains until the last step or until a stop is asked for, and leaves the averaged weights in `model`. Returns step
/// and loss of every step made.
fn train(config: &Config, model: &mut Model, data: &Digits, run: &RunDir) -> Result<Vec<(f64, f64)>> {
    let device = model.weights.device();
    let mut log = run.log()?;
    let mut trainer = Trainer::new(model.weights.clone(), config.training())?;
    let mut batches = Batches::new(data.train.len(), config.batch, config.seed)?;
    let mut progress = Progress::new("training", config.steps);
    let mut losses = Vec::new();
    let (loss, denoiser) = (config.loss(), model.denoiser());
    while trainer.steps() < config.steps {
        let (pixels, labels) = data.train.gather(&batches.at(trainer.steps())?)?;
        let [h, w, c] = data.train.size();
        let y = Tensor::from_slice(&pixels, [labels.len(), h, w, c], &device)?;
        let index = Tensor::from_slice(&labels, [labels.len()], &device)?;
        let classes = stop::shielded(|| ops::one_hot(&index, data.train.classes(), DType::F32))?.into();
        let made = trainer.step(labels.len(), |cx| {
            let conditions = Conditions { class_labels: Some(&classes), augment_labels: None };
            loss.forward(cx, denoiser, &y, conditions)
        });
        let tick = match made {
            Err(Error::Stopped) => break,
            made => made?,
        };
        losses.push((tick.step as f64, tick.loss));
        progress.tick(tick.step, Some(tick.loss));
        if tick.step % LOG_EVERY == 0 || tick.step == config.steps {
            log.append(&tick)?;
        }
    }
    progress.finish();
    model.weights = trainer.average()?;
    Ok(losses)
}
