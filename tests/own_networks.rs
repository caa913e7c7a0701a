//! Networks from outside of the crate: what the engine asks of them, and what it does with several at once.

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};
use veridical::data::{DataSet, Images};
use veridical::diffusion::{Loss, Model, ModelConfig, Sampler};
use veridical::nn::{
    self, Architecture, BatchNorm, Conditions, Context, Conv2d, ConvOptions, Layout, Linear, Module, Scope,
    ScoreNetwork, Sequential, Weights,
};
use veridical::ops::random::Address;
use veridical::optim::HalfLife;
use veridical::random::Purpose;
use veridical::train::{
    Checkpoint, Existing, Observer, Plan, Prepared, RunConfig, RunDir, RunOptions, Tick, TrainOptions, Trained,
    Trainer, run, run_trained,
};
use veridical::{DType, Device, Error, Result, Tape, Tensor, Var, ops};

const CPU: Device = Device::Cpu;

/// A perceptron with batch normalisation, that can be told to be wrong.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Odd {
    dims: usize,
    fault: String,
}

#[derive(Debug)]
struct OddNetwork {
    fault: String,
    layers: Sequential,
    level: Linear,
}

impl Architecture for Odd {
    const MODEL_TYPE: &'static str = "Odd";
    type Network = OddNetwork;

    fn build(&self, scope: &mut Scope, outputs: usize) -> Result<OddNetwork> {
        let layers = Sequential::new()
            .then(Linear::new(&mut scope.at("first"), self.dims, 8, 1.0))
            .then(BatchNorm::new(&mut scope.at("norm"), 8))
            .then(|_: &Context, x: &Var| x.silu())
            .then(Linear::new(&mut scope.at("last"), 8, outputs, 1.0));
        if self.fault == "twice" {
            Linear::new(&mut scope.at("first"), 1, 1, 1.0);
        }
        if self.fault == "unused" {
            Linear::new(&mut scope.at("spare"), 3, 3, 1.0);
        }
        let level = Linear::new(&mut scope.at("level"), 1, self.dims, 1.0);
        Ok(OddNetwork { fault: self.fault.clone(), layers, level })
    }

    fn sample_shape(&self) -> Vec<usize> {
        vec![self.dims]
    }
}

impl ScoreNetwork for OddNetwork {
    fn forward(&self, cx: &Context, x: &Var, noise: &Var, _: Conditions) -> Result<Var> {
        let level = self.level.forward(cx, &noise.reshape([x.shape()[0], 1])?)?;
        let y = self.layers.forward(cx, &(x + level)?)?;
        match self.fault.as_str() {
            "shape" => y.slice(1, 0..1),
            "dtype" => y.cast(DType::F64),
            // Only where it is trained, and not in the rehearsal before it.
            "nan" if cx.address().is_ok_and(|address| address.step > 1) => y * f64::NAN,
            _ => Ok(y),
        }
    }
}

fn odd(fault: &str) -> ModelConfig {
    ModelConfig::edm(Odd { dims: 2, fault: fault.into() }, 0.5)
}

fn points() -> DataSet {
    let values = (0..200).map(|i| ((i * 37) % 101) as f32 / 101.0 - 0.5).collect();
    DataSet::new("points", Images::new(values, vec![0; 100], [1, 1, 2], 1).unwrap())
}

fn settings(model: &ModelConfig, images: u64) -> RunConfig {
    let changes = [
        "train.device='cpu'",
        "train.batch=10",
        "train.sample_every=0",
        "train.checkpoint_every=4",
        "sampling.measured=0",
        "average.half_life=20",
        &format!("train.images={images}"),
    ];
    let config = RunConfig::build(Some("points"), None, &changes.map(String::from)).unwrap();
    config.with_architecture(model).unwrap()
}

fn trained(model: &ModelConfig, images: u64, place: &Path, resume: bool) -> Result<Vec<u8>> {
    let existing = if resume { Existing::Resume } else { Existing::Refuse };
    let dir = RunDir::create(place, existing)?;
    run(
        &settings(model, images),
        &points(),
        &dir,
        RunOptions { resume, budget: None, ..RunOptions::default() },
        &mut (),
    )?;
    Ok(std::fs::read(place.join("model.safetensors")).unwrap())
}

#[test]
fn a_network_of_ones_own_is_trained_saved_loaded_sampled_and_resumed() {
    nn::register::<Odd>().unwrap();
    nn::register::<Odd>().unwrap(); // again: nothing happens
    let model = odd("none");
    let (straight, halved) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let whole = trained(&model, 120, straight.path(), false).unwrap();
    trained(&model, 50, halved.path(), false).unwrap();
    assert!(trained(&model, 120, halved.path(), true).unwrap() == whole, "other bits after a stop");
    let loaded = Model::load(straight.path().join("model.safetensors"), &CPU).unwrap();
    assert_eq!(loaded.config().network.of::<Odd>(), Some(&Odd { dims: 2, fault: "none".into() }));
    assert_eq!(loaded.denoiser().model_type(), "Odd");
    let samples = Sampler { steps: 3, ..Sampler::default() }.sample(&loaded, 1, 0, 4).unwrap();
    assert_eq!(samples.shape()[..], [4, 2]);
    // The running statistics were moved, and the file has them.
    let text = String::from_utf8_lossy(&whole).into_owned();
    assert!(text.contains("model.norm.running_mean"));
    let buffers = loaded.weights.buffers().to_vec::<f32>().unwrap();
    assert!(buffers.iter().any(|x| *x != 0.0 && *x != 1.0), "{buffers:?}");
}

#[test]
fn what_a_network_does_wrong_is_an_error_that_names_it() {
    nn::register::<Odd>().unwrap();
    let refused = |fault: &str, says: &[&str]| {
        let dir = tempfile::tempdir().unwrap();
        let error = trained(&odd(fault), 120, dir.path(), false).unwrap_err().to_string();
        assert!(says.iter().all(|says| error.contains(says)), "{fault}: {error}");
    };
    refused("shape", &["Odd", "[2, 2]", "[2, 1]"]);
    refused("dtype", &["Odd", "f64"]);
    refused("unused", &["Odd", "model.spare.weight"]);
    refused("nan", &["step 3", "Odd"]);
    let twice = odd("twice").build().unwrap_err().to_string();
    assert!(twice.contains("model.first.weight") && twice.contains("two"), "{twice}");

    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
    struct Other(usize);
    impl Architecture for Other {
        const MODEL_TYPE: &'static str = "SongUNet";
        type Network = OddNetwork;
        fn build(&self, _: &mut Scope, _: usize) -> Result<OddNetwork> {
            Err(Error::Config("never".into()))
        }
        fn sample_shape(&self) -> Vec<usize> {
            vec![self.0]
        }
    }
    let taken = nn::register::<Other>().unwrap_err().to_string();
    assert!(taken.contains("SongUNet") && taken.contains("name of its own"), "{taken}");
    let unnamed = ModelConfig::edm(Other(2), 0.5).to_json().unwrap_err().to_string();
    assert!(unnamed.contains("must have names"), "{unnamed}");
    let json = odd("none").to_json().unwrap().replace("Odd", "Even");
    let unknown = ModelConfig::from_json(&json).unwrap_err().to_string();
    assert!(["Even", "MLP", "DhariwalUNet", "register"].iter().all(|name| unknown.contains(name)), "{unknown}");
    // The same in a file.
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("of_even.safetensors");
    let model = Model::new(&odd("none"), 1, &CPU).unwrap();
    nn::save(&path, &model.weights, &BTreeMap::from([("veridical.model".to_string(), json)])).unwrap();
    let unknown = Model::load(&path, &CPU).unwrap_err().to_string();
    assert!(["of_even.safetensors", "Even", "MLP", "Odd"].iter().all(|name| unknown.contains(name)), "{unknown}");
    // Options that a file could not hold.
    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
    struct Clashing {
        sigma_data: f64,
    }
    impl Architecture for Clashing {
        const MODEL_TYPE: &'static str = "Clashing";
        type Network = OddNetwork;
        fn build(&self, _: &mut Scope, _: usize) -> Result<OddNetwork> {
            Err(Error::Config("never".into()))
        }
        fn sample_shape(&self) -> Vec<usize> {
            vec![2]
        }
    }
    let clash = ModelConfig::edm(Clashing { sigma_data: 1.0 }, 0.5).build().unwrap_err().to_string();
    assert!(clash.contains("Clashing") && clash.contains("sigma_data"), "{clash}");
    let lost = ModelConfig::edm(Clashing { sigma_data: f64::NAN }, 0.5).build().unwrap_err().to_string();
    assert!(lost.contains("read back"), "{lost}");
    let mut layout = Layout::new();
    layout.scope("net").buffer("filter", [3], nn::Init::Fixed(vec![1.0]));
    let short = Weights::init(&layout.into(), 0, &CPU).unwrap_err().to_string();
    assert!(short.contains("net.filter") && short.contains("1 values"), "{short}");
    // Data that the network does not take.
    let mut wide = settings(&odd("none"), 120);
    wide.model.insert("dims".into(), 3.into());
    let error = wide.completed(&points().train).unwrap_err().to_string();
    assert!(error.contains("Odd") && error.contains("[3]"), "{error}");
}

#[test]
fn layers_of_any_size_and_batch_norm_do_what_pytorchs_do() {
    let mut layout = Layout::new();
    let mut scope = layout.scope("net");
    let options = ConvOptions { kernel: 4, stride: 2, padding: 1 };
    let conv = Conv2d::new(&mut scope.at("conv"), [3, 5], options, 1.0).unwrap();
    assert!(Conv2d::new(&mut scope.at("none"), [3, 5], ConvOptions { stride: 0, ..options }, 1.0).is_err());
    let norm = BatchNorm::new(&mut scope.at("norm"), 2);
    let weights = Weights::init(&layout.into(), 1, &CPU).unwrap();
    let images = Tensor::full(0.5, [2, 8, 8, 3], DType::F32, &CPU).unwrap();
    let cx = Context::inference(&weights);
    assert_eq!(conv.forward(&cx, &images.into()).unwrap().shape()[..], [2, 4, 4, 5]);

    // Two channels of four values, by the formulas of torch.nn.BatchNorm1d.
    let x: Var = Tensor::from_vec(vec![1f32, -1.0, 2.0, 0.0, 3.0, 4.0, 6.0, 1.0], [4, 2], &CPU).unwrap().into();
    let training = Context::training(&weights, &Tape::new(), Address::new(0, 0));
    let y = norm.forward(&training, &x).unwrap().value().to_f64().unwrap();
    let expected = [-1.0690430, -1.0690428, -0.5345215, -0.5345214, 0.0, 1.6035642, 1.6035645, 0.0];
    for (found, expected) in y.iter().zip(expected) {
        approx::assert_abs_diff_eq!(*found, expected, epsilon = 2e-6);
    }
    let after = training.updated().unwrap().unwrap();
    let running: Vec<f64> = after
        .layout()
        .entries()
        .iter()
        .filter(|entry| !entry.trainable)
        .flat_map(|entry| after.view(entry).unwrap().to_f64().unwrap())
        .collect();
    for (found, expected) in running.iter().zip([0.3, 0.1, 0.9 + 0.1 * 14.0 / 3.0, 0.9 + 0.1 * 14.0 / 3.0]) {
        approx::assert_abs_diff_eq!(*found, expected, epsilon = 1e-6);
    }
    // And by the running statistics otherwise.
    let still = Context::inference(&after);
    let y = norm.forward(&still, &x).unwrap().value().to_f64().unwrap();
    let by_hand = (1.0 - 0.3) / (0.9f64 + 0.1 * 14.0 / 3.0 + 1e-5).sqrt();
    approx::assert_abs_diff_eq!(y[0], by_hand, epsilon = 1e-6);
    let one: Var = Tensor::zeros([1, 2], DType::F32, &CPU).unwrap().into();
    assert!(norm.forward(&training, &one).unwrap_err().to_string().contains("two or more"));
}

/// A teacher that is trained every step and a student that is trained every second one.
struct Pair {
    layer: Linear,
    players: [Trainer; 2],
    /// What goes wrong in step 8: "none", "error", or "nan" in the student's loss.
    fault: &'static str,
}

impl Pair {
    fn new(fault: &'static str) -> Self {
        let mut layout = Layout::new();
        let layer = Linear::new(&mut layout.scope("line"), 2, 1, 1.0);
        let layout = layout.into();
        let average = Some(HalfLife { images: 32.0, ramp: None });
        let player = |seed| {
            let weights = Weights::init(&layout, seed, &CPU).unwrap();
            Trainer::new(weights, TrainOptions { average, ..TrainOptions::adam(0.05, seed) }).unwrap()
        };
        Pair { players: [player(1), player(2)], layer, fault }
    }

    fn loss(&self, cx: &Context) -> Result<Var> {
        let x = ops::normal([8, 2], DType::F32, &cx.address()?.draws(Purpose::Synthetic), &CPU)?;
        let y = x.to_vec::<f32>()?.chunks(2).map(|x| 3.0 * x[0] - x[1]).collect::<Vec<_>>();
        (self.layer.forward(cx, &x.into())? - Tensor::from_vec(y, [8, 1], &CPU)?)?.square()?.mean_all()
    }
}

impl Trained for Pair {
    fn players(&self) -> Vec<(&str, &Trainer)> {
        vec![("teacher", &self.players[0]), ("student", &self.players[1])]
    }

    fn players_mut(&mut self) -> Vec<(&str, &mut Trainer)> {
        ["teacher", "student"].into_iter().zip(&mut self.players).collect()
    }

    fn step(&mut self, _: &mut dyn Observer) -> Result<Tick> {
        let step = self.players[0].steps();
        if self.fault == "error" && step == 7 {
            return Err(Error::Config("on purpose".into()));
        }
        let gradient = self.players[0].gradient(8, |cx| self.loss(cx))?;
        if step % 2 == 1 {
            let factor = if self.fault == "nan" && step == 7 { f64::NAN } else { 1.0 };
            let gradient = self.players[1].gradient(8, |cx| ops::scale(self.loss(cx)?, factor))?;
            self.players[1].apply(gradient)?;
        }
        self.players[0].apply(gradient)
    }

    fn figures(&self) -> Vec<(&'static str, f64)> {
        vec![("student_steps", self.players[1].steps() as f64)]
    }
}

fn plan(steps: u64) -> Plan {
    Plan { steps, log_every: 2, checkpoint_every: 3, keep_last: 2, ..Plan::default() }
}

#[test]
fn players_with_counts_of_their_own_resume_to_the_same_bits() {
    let (straight, halved) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let go = |pair: &mut Pair, place: &Path, steps, resume| {
        let existing = if resume { Existing::Resume } else { Existing::Refuse };
        let dir = RunDir::create(place, existing)?;
        run_trained(pair, &plan(steps), &dir, RunOptions { resume, budget: None, ..RunOptions::default() }, &mut ())
    };
    go(&mut Pair::new("none"), straight.path(), 20, false).unwrap();
    // Ended by an error in the middle, then resumed from the last checkpoint.
    assert!(go(&mut Pair::new("error"), halved.path(), 20, false).unwrap_err().to_string().contains("on purpose"));
    let lost = go(&mut Pair::new("nan"), halved.path(), 20, true).unwrap_err().to_string();
    assert!(lost.contains("the training loss of step 4 of the player student"), "{lost}");
    let mut pair = Pair::new("none");
    let ran = go(&mut pair, halved.path(), 20, true).unwrap();
    assert_eq!((ran.steps, pair.players[1].steps()), (20, 10));
    for file in ["teacher.safetensors", "student.safetensors"] {
        let [a, b] = [&straight, &halved].map(|dir| std::fs::read(dir.path().join("models").join(file)).unwrap());
        assert!(a == b, "{file} differs");
    }
    let log = std::fs::read_to_string(halved.path().join("log.jsonl")).unwrap();
    assert!(log.lines().last().unwrap().contains("\"student_steps\":10.0"), "{log}");
    let newest = Checkpoint::open(halved.path().join("checkpoints/step-000000020")).unwrap();
    assert_eq!(newest.state.players["student"], (10, 80));
    for file in ["teacher.safetensors", "teacher-ema.safetensors", "student-optimizer.safetensors"] {
        assert!(newest.state.files.contains_key(file), "{:?}", newest.state.files.keys());
    }
}

#[test]
fn a_gradient_belongs_to_the_step_that_it_was_taken_at() {
    let mut pair = Pair::new("none");
    let [old, new] = [0, 1].map(|_| pair.players[0].gradient(8, |cx| pair.loss(cx)).unwrap());
    assert!(old.loss() == new.loss() && old.flat().to_f64().unwrap() == new.flat().to_f64().unwrap());
    pair.players[0].apply(new).unwrap();
    let error = pair.players[0].apply(old).unwrap_err().to_string();
    assert!(error.contains("step 0") && error.contains("step 1"), "{error}");
    let of_another = pair.players[1].gradient(8, |cx| pair.loss(cx)).unwrap();
    let error = pair.players[0].apply(of_another).unwrap_err().to_string();
    assert!(error.contains("another trainer"), "{error}");
    // One gradient that cannot be applied keeps all from it.
    let (layer, [teacher, student]) = (pair.layer.clone(), &mut pair.players);
    let sound = student
        .gradient(8, |cx| layer.forward(cx, &Tensor::zeros([8, 2], DType::F32, &CPU)?.into())?.mean_all())
        .unwrap();
    let mut broken = teacher
        .gradient(8, |cx| layer.forward(cx, &Tensor::zeros([8, 2], DType::F32, &CPU)?.into())?.mean_all())
        .unwrap();
    broken.flat_mut().as_mut_slice::<f32>().unwrap()[0] = f32::NAN;
    let before = student.weights().fingerprint().unwrap();
    assert!(Trainer::apply_all([(student, sound), (teacher, broken)]).is_err());
    assert!(pair.players[1].weights().fingerprint().unwrap() == before && pair.players[1].steps() == 0);
    let nowhere = Context::inference(pair.players[0].weights());
    let model = Model::new(&ModelConfig::edm(Odd { dims: 2, fault: String::new() }, 0.5), 1, &CPU).unwrap();
    let y = Tensor::zeros([2, 2], DType::F32, &CPU).unwrap();
    let error = Loss::default().forward(&nowhere, model.denoiser(), &y, Conditions::default()).unwrap_err();
    assert!(error.to_string().contains("address"), "{error}");
}

/// Fine-tuning starts from all of a model: its running statistics, and the random frequencies of a Fourier embedding.
#[test]
fn fine_tuning_takes_over_the_buffers() {
    nn::register::<Odd>().unwrap();
    let data = points();
    let prepared = |seed: u64| {
        let mut config = settings(&odd("none"), 120);
        config.train.seed = seed;
        Prepared::new(&config, &data).unwrap()
    };
    let first = prepared(1);
    let weights = &first.model().weights;
    let moved = Tensor::full(0.25, weights.buffers().shape(), DType::F32, &CPU).unwrap();
    let mut given = weights.clone();
    given.set_buffers(moved).unwrap();
    let tuned = prepared(2).from_weights(&given).unwrap();
    assert_eq!(tuned.model().weights.fingerprint().unwrap(), given.fingerprint().unwrap());
}
