//! Whole runs through the library: what must not change the result, and every loss.

use std::cell::Cell;
use std::path::Path;

use tempfile::TempDir;
use veridical::autograd::Var;
use veridical::data::{DataSet, Images};
use veridical::diffusion::Denoiser;
use veridical::nn::Context;
use veridical::stop::Stop;
use veridical::train::{
    self, Batch, End, Existing, Objective, Observer, Outcome, Prepared, RunConfig, RunDir, RunOptions, Tick,
};
use veridical::{Error, Result};

const TINY: &str = "
[model]
model_channels = 8
channel_mult = [1, 1]
num_blocks = 1
attn_resolutions = [4]
dropout = 0.2
[optimizer]
warm_up = 40
[average]
half_life = 100
[train]
device = 'cpu'
batch = 10
images = 60
sample_every = 0
checkpoint_every = 0
[sampling]
steps = 1
rows = 1
columns = 1
";

/// Twenty grey pictures of 8 by 8 in two classes.
fn data() -> DataSet {
    let pixels =
        (0..20 * 64u32).map(|i| if (i / 64 % 2 == 0) ^ (i % 8 < 4) { 40 + i as u8 % 16 } else { 200 }).collect();
    let images = Images::from_bytes(pixels, (0..20).map(|i| i % 2).collect(), [8, 8, 1], 2).unwrap();
    let class_names = vec!["left".into(), "right".into()];
    DataSet { name: "stripes".into(), train: images, test: None, class_names, reading: Default::default() }
}

struct Losses(Vec<f64>);

impl Observer for Losses {
    fn started(&mut self, _: &veridical::train::Started) {}
    fn ticked(&mut self, tick: &Tick, _: f64, _: u64) {
        self.0.push(tick.loss);
    }
    fn note(&mut self, text: &str) {
        assert_eq!(text, "drawing 500 samples to measure");
    }
}

/// Losses of the steps, and the weights at the end.
fn run(settings: &[&str]) -> Result<(Vec<f64>, Vec<f32>)> {
    let dir: TempDir = tempfile::tempdir().unwrap();
    let settings: Vec<String> = settings.iter().map(|s| s.to_string()).collect();
    let config = RunConfig::build(None, Some(TINY), &settings)?;
    let place = RunDir::create(dir.path(), Existing::Refuse)?;
    let mut losses = Losses(Vec::new());
    let outcome = train::run(&config, &data(), &place, RunOptions::default(), &mut losses)?;
    assert_eq!((outcome.end, outcome.steps, losses.0.len()), (End::Finished, 6, 6));
    Ok((losses.0, outcome.model.weights.flat().to_vec()?))
}

#[test]
fn a_batch_in_parts_is_the_same_batch() {
    for augment in ["augment.p=0", "augment.p=0.5"] {
        let (losses, weights) = run(&[augment]).unwrap();
        for micro in ["train.micro_batch=5", "train.micro_batch=3"] {
            let (split, weights_split) = run(&[augment, micro]).unwrap();
            assert!(weights != weights_split, "another order of sums rounds differently");
            for (a, b) in losses.iter().zip(&split) {
                approx::assert_relative_eq!(a, b, max_relative = 1e-4);
            }
        }
    }
}

/// The second computation is the first one bit for bit; the gradients of a block's inputs are summed in another order.
#[test]
fn what_is_computed_twice_is_the_same_up_to_rounding() {
    let adm = [
        "model.model_type=\"DhariwalUNet\"",
        "model.model_channels=16",
        "model.channel_mult=[1]",
        "model.num_blocks=1",
        "model.attn_resolutions=[]",
        "model.dropout=0.2",
    ];
    for settings in [&[][..], &adm] {
        let (plain, _) = run(settings).unwrap();
        let (again, _) = run(&[settings, &["train.checkpoint_activations=true"]].concat()).unwrap();
        assert_eq!(plain[0], again[0], "the first loss has seen no gradient");
        for (a, b) in plain.iter().zip(&again) {
            approx::assert_relative_eq!(a, b, max_relative = 1e-4);
        }
    }
}

#[test]
fn every_loss_trains_its_own_preconditioning() {
    let mut first = Vec::new();
    for kind in ["edm", "vp", "ve", "iddpm"] {
        let precond = format!("model.precond=\"{kind}\"");
        let loss = format!("loss.kind=\"{kind}\"");
        let (losses, weights) = run(&[&precond, &loss]).unwrap();
        assert!(losses.iter().all(|l| l.is_finite() && *l > 0.0) && weights.iter().all(|w| w.is_finite()), "{kind}");
        first.push(losses[0]);
    }
    assert!(first.iter().enumerate().all(|(i, a)| first[..i].iter().all(|b| a != b)), "{first:?}");
}

#[test]
fn bf16_stays_close_to_f32() {
    let (plain, _) = run(&["model.dropout=0"]).unwrap();
    let (half, _) = run(&["model.dropout=0", "train.compute=\"bf16\""]).unwrap();
    assert_ne!(plain, half);
    for (a, b) in plain.iter().zip(&half) {
        approx::assert_relative_eq!(a, b, max_relative = 0.05);
    }
}

#[test]
fn a_network_that_is_told_nothing_of_classes_has_none() {
    let (with, _) = run(&[]).unwrap();
    let (without, weights) = run(&["data.labels=false"]).unwrap();
    assert!(weights.iter().all(|w| w.is_finite()));
    assert_ne!(with[5], without[5]);
    assert!(run(&["model.label_dim=3"]).unwrap_err().to_string().contains("model.label_dim is 3, but the data have 2"));
}

/// The loss of the settings, which requests a stop in the middle of a step.
#[derive(Debug)]
struct Stopping {
    loss: veridical::diffusion::Loss,
    stop: Stop,
    /// Steps that are still made whole.
    left: Cell<u64>,
}

impl Objective for Stopping {
    fn loss(&self, cx: &Context, denoiser: &Denoiser, batch: &Batch) -> Result<Var> {
        let loss = self.loss.loss(cx, denoiser, batch)?;
        match self.left.get().checked_sub(1) {
            Some(left) => self.left.set(left),
            None => self.stop.request(),
        }
        Ok(loss)
    }
}

/// A session that makes `steps` whole steps and is stopped in the middle of the next.
fn session(dir: &Path, resume: bool, steps: u64) -> Result<Outcome> {
    let config = RunConfig::build(None, Some(TINY), &["train.images=100".into(), "train.log_every=1".into()])?;
    let place = RunDir::create(dir, if resume { Existing::Resume } else { Existing::Refuse })?;
    let data = data();
    let (stop, options) = (Stop::new(), RunOptions { resume, budget: None, ..RunOptions::default() });
    // The rehearsal before the first step asks for the loss, too.
    let objective = Stopping { loss: config.loss.loss()?, stop: stop.clone(), left: Cell::new(steps + 1) };
    let _heeding = stop.enter();
    Prepared::new(&config, &data)?.with_objective(objective).run(&place, options, &mut ())
}

#[test]
fn a_step_that_is_stopped_is_dropped_and_made_again() {
    let (straight, stopped) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let whole = session(straight.path(), false, 100).unwrap();
    assert_eq!((whole.end, whole.steps), (End::Finished, 10));
    let mut steps = 0;
    for (i, count) in [0, 3, 1, 0, 4].into_iter().enumerate() {
        let outcome = session(stopped.path(), i > 0, count).unwrap();
        steps += count;
        assert_eq!((outcome.end, outcome.steps), (End::Stopped, steps), "session {i}");
        assert!(!stopped.path().join("samples").exists(), "a picture was drawn after the stop");
        assert!(stopped.path().join("report.html").is_file());
    }
    let outcome = session(stopped.path(), true, 100).unwrap();
    assert_eq!((outcome.end, outcome.steps), (End::Finished, 10));
    assert_eq!(
        outcome.model.weights.flat().to_vec::<f32>().unwrap(),
        whole.model.weights.flat().to_vec::<f32>().unwrap()
    );
    let log = |dir: &TempDir| -> Vec<serde_json::Value> {
        let text = std::fs::read_to_string(dir.path().join("log.jsonl")).unwrap();
        let mut lines: Vec<serde_json::Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        for line in &mut lines {
            for time in ["seconds", "images_per_second"] {
                line[time].take();
            }
        }
        lines
    };
    assert_eq!(log(&straight), log(&stopped));
}

#[test]
fn what_is_stopped_before_there_is_anything_to_keep_is_an_error() {
    let dir = tempfile::tempdir().unwrap();
    let (config, data) = (RunConfig::build(None, Some(TINY), &[]).unwrap(), data());
    let place = RunDir::create(dir.path(), Existing::Refuse).unwrap();
    let stop = Stop::new();
    let _heeding = stop.enter();
    stop.request();
    let outcome = train::run(&config, &data, &place, RunOptions::default(), &mut ());
    assert!(matches!(outcome, Err(Error::Stopped)), "{outcome:?}");
}

/// What the loss is asked for: step, first sample, indices and pixels.
#[cfg(feature = "emulator")]
type Seen = Vec<(u32, u32, Vec<u32>, Vec<f32>)>;

/// The loss of the settings, which remembers what it saw.
#[cfg(feature = "emulator")]
#[derive(Debug)]
struct Watching<'a> {
    loss: veridical::diffusion::Loss,
    seen: &'a std::cell::RefCell<Seen>,
}

#[cfg(feature = "emulator")]
impl Objective for Watching<'_> {
    fn loss(&self, cx: &Context, denoiser: &Denoiser, batch: &Batch) -> Result<Var> {
        use veridical::ops::random::SampleIds;
        let address = cx.address()?;
        let first = if let SampleIds::From(first) = address.samples { first } else { panic!("{address:?}") };
        self.seen.borrow_mut().push((address.step, first, batch.indices.to_vec(), batch.y.to_vec()?));
        self.loss.loss(cx, denoiser, batch)
    }
}

/// On a GPU samples are made while the step before is computed, and must be the same as those that are made in time.
#[cfg(feature = "emulator")]
#[test]
fn samples_that_are_made_early_are_those_of_their_step() {
    let seen = |device: &str, settings: &[&str]| {
        let seen = std::cell::RefCell::new(Vec::new());
        let device = format!("train.device='{device}'");
        let mut settings: Vec<String> = settings.iter().map(|s| s.to_string()).collect();
        settings.extend([device, "train.images=30".into(), "data.flip=true".into(), "augment.p=0.5".into()]);
        let small = ["model.attn_resolutions=[]", "model.channel_mult=[1]", "sampling.measured=0"];
        settings.extend(small.map(String::from));
        let config = RunConfig::build(None, Some(TINY), &settings).unwrap();
        let dir = tempfile::tempdir().unwrap();
        let place = RunDir::create(dir.path(), Existing::Refuse).unwrap();
        let objective = Watching { loss: config.loss.loss().unwrap(), seen: &seen };
        let data = data();
        let prepared = Prepared::new(&config, &data).unwrap().with_objective(objective);
        prepared.run(&place, RunOptions::default(), &mut ()).unwrap();
        seen.into_inner()
    };
    let cases: [&[&str]; 2] = [&[], &["train.slots=2", "train.micro_batch=3", "data.shuffle='epochs'"]];
    for settings in cases {
        let (in_time, early) = (seen("cpu", settings), seen("emulator", settings));
        // 3 steps, and the rehearsal before them.
        assert!(in_time.len() >= 4 && in_time.iter().any(|(step, ..)| *step == 2), "{settings:?}");
        assert_eq!(in_time, early, "{settings:?}");
    }
}
