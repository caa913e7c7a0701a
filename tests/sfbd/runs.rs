//! Whole runs: interrupted anywhere and taken up again they come to the same bits, and every variant trains.

use std::fs;
use std::path::Path;

use tempfile::TempDir;
use veridical::data::{DataSet, Images};
use veridical::methods::noisy::NoiseLevels;
use veridical::methods::sfbd::Round;
use veridical::methods::{NoisyData, Sfbd, SfbdSettings, presets};
use veridical::random::{Normal, Purpose, RandomKey, Samples, fill};
use veridical::stop::Stop;
use veridical::train::{End, Existing, Observer, RunDir, RunOptions, Started, Tick, With};

/// Points of two clusters in the plane.
pub fn data() -> NoisyData {
    let n = 300;
    let mut z = vec![0f32; 2 * n];
    fill(Normal, &RandomKey::new(1, Purpose::Synthetic).stream().unwrap(), Samples::From(0), 2, &mut z).unwrap();
    let place = |i: usize| if (i / 2).is_multiple_of(3) { -0.6 } else { 0.5 };
    let points = z.iter().enumerate().map(|(i, z)| place(i) + 0.1 * z).collect();
    let train = Images::new(points, vec![0; n], [1, 1, 2], 1).unwrap();
    let set =
        DataSet { name: "clusters".into(), train, test: None, class_names: Vec::new(), reading: Default::default() };
    NoisyData::simulated(set, 0.1, 0.3, 0).unwrap()
}

pub fn settings(more: &[&str]) -> With<SfbdSettings> {
    let base = [
        "train.device=\"cpu\"",
        "model.hidden=16",
        "model.layers=1",
        "model.noise_channels=8",
        "train.batch=20",
        "train.images=400",
        "train.checkpoint_every=7",
        "train.sample_every=0",
        "optimizer.warm_up=100",
        "average.half_life=200",
        "sfbd.rounds=2",
        "sfbd.round_images=200",
        "sfbd.steps=10",
        "judge.images=0",
        "sampling.steps=3",
        "noisy.sigma=0.3",
    ];
    let all: Vec<String> = base.iter().chain(more).map(|s| s.to_string()).collect();
    presets::sfbd("points").unwrap().build(None, &all).unwrap()
}

/// Stops at the `left`-th question.
pub struct Impatient {
    left: usize,
    pub notes: Vec<String>,
}

impl Observer for Impatient {
    fn started(&mut self, _: &Started) {}
    fn ticked(&mut self, _: &Tick, _: f64, _: u64) {}
    fn note(&mut self, text: &str) {
        self.notes.push(text.into());
    }
    fn stop(&mut self) -> bool {
        self.left = self.left.saturating_sub(1);
        self.left == 0
    }
}

pub fn patient() -> Impatient {
    Impatient { left: usize::MAX, notes: Vec::new() }
}

pub fn weights(place: &Path) -> Vec<u8> {
    fs::read(place.join("model.safetensors")).unwrap()
}

pub fn whole(settings: &With<SfbdSettings>, data: &NoisyData) -> (TempDir, Vec<Round>) {
    let dir = tempfile::tempdir().unwrap();
    let place = RunDir::create(dir.path(), Existing::Refuse).unwrap();
    let outcome = Sfbd::new(settings, data).unwrap().run(&place, RunOptions::default(), &mut patient()).unwrap();
    assert_eq!(outcome.end, End::Finished);
    drop(place);
    (dir, outcome.rounds)
}

#[test]
fn an_interrupted_run_comes_to_the_same_bits() {
    let data = data();
    for more in [
        &["sfbd.denoiser=\"sde\""][..],
        &["sfbd.optimizer=\"kept\"", "sfbd.store=\"u8\"", "sfbd.merge=false"],
        &["online.enabled=true", "online.images=400", "online.every=3", "online.count=40", "sfbd.denoiser=\"sde\""],
    ] {
        let settings = settings(more);
        let (straight, rounds) = whole(&settings, &data);
        let expected = weights(straight.path());
        let dir = tempfile::tempdir().unwrap();
        let mut sessions = 0;
        // Some tens of questions in all: every eleventh is the end of a session, in training and in denoising.
        loop {
            let place = match sessions {
                0 => RunDir::create(dir.path(), Existing::Refuse),
                _ => RunDir::create(dir.path(), Existing::Resume),
            };
            let options = RunOptions { resume: sessions > 0, budget: None, ..RunOptions::default() };
            let mut observer = Impatient { left: 11, notes: Vec::new() };
            let outcome = Sfbd::new(&settings, &data).unwrap().run(&place.unwrap(), options, &mut observer).unwrap();
            sessions += 1;
            if outcome.end == End::Finished {
                assert_eq!(outcome.rounds, rounds);
                break;
            }
            assert!(sessions < 100, "{more:?} does not come to an end");
        }
        assert!(sessions > 3, "{more:?}: {sessions} sessions");
        assert!(weights(dir.path()) == expected, "{more:?}: another model");
    }
}

/// A stop from another thread, some time later, in the middle of whatever is done then.
#[test]
fn a_run_that_is_stopped_anywhere_comes_to_the_same_bits() {
    let data = data();
    for more in [
        &["sfbd.optimizer=\"kept\"", "judge.images=40"][..],
        &["online.enabled=true", "online.images=400", "online.every=2", "online.count=40", "online.refresh=\"kid\""],
    ] {
        let settings = settings(more);
        let (straight, rounds) = whole(&settings, &data);
        let (expected, dir) = (weights(straight.path()), tempfile::tempdir().unwrap());
        // Longer from session to session, so that it comes to an end on any machine.
        let mut patience = std::time::Duration::from_millis(2);
        let mut stops = 0;
        loop {
            let resume = dir.path().join("config.toml").is_file();
            let place =
                RunDir::create(dir.path(), if resume { Existing::Resume } else { Existing::Overwrite }).unwrap();
            let sfbd = Sfbd::new(&settings, &data).unwrap();
            let stop = Stop::new();
            let (remote, done) = (stop.clone(), std::sync::mpsc::channel::<()>());
            let waiting = std::thread::spawn(move || {
                let _ = done.1.recv_timeout(patience);
                remote.request();
            });
            let outcome = {
                let _heeding = stop.enter();
                sfbd.run(&place, RunOptions { resume, budget: None, ..RunOptions::default() }, &mut patient()).unwrap()
            };
            drop(done.0);
            waiting.join().unwrap();
            if outcome.end == End::Finished {
                assert_eq!(outcome.rounds, rounds);
                break;
            }
            assert_eq!(outcome.end, End::Stopped);
            stops += 1;
            patience = patience * 5 / 4;
        }
        assert!(stops > 0, "{more:?}: never stopped");
        assert!(weights(dir.path()) == expected, "{more:?}: another model after {stops} stops");
    }
}

/// A process that dies leaves what it has written; what it was writing is made again.
#[test]
fn a_killed_run_goes_on_from_torn_files() {
    let (data, settings) = (data(), settings(&["sfbd.denoiser=\"sde\"", "sfbd.files=true"]));
    let (straight, _) = whole(&settings, &data);
    let (dir, _) = whole(&settings, &data);
    let rounds = dir.path().join("rounds");
    // As if it had died in round 2: its record is not there, its newest checkpoint torn, its denoised images cut short.
    fs::remove_file(rounds.join("02/round.json")).unwrap();
    fs::remove_file(rounds.join("02/model.safetensors")).unwrap();
    let last = fs::read_dir(rounds.join("02/checkpoints")).unwrap().map(|e| e.unwrap().path()).max().unwrap();
    fs::write(last.join("optimizer.safetensors"), b"torn").unwrap();
    let part = rounds.join("02/denoised/part-000000.safetensors");
    let bytes = fs::read(&part).unwrap();
    fs::write(&part, &bytes[..bytes.len() / 2]).unwrap();
    let place = RunDir::create(dir.path(), Existing::Resume).unwrap();
    let options = RunOptions { resume: true, budget: None, ..RunOptions::default() };
    let mut observer = patient();
    Sfbd::new(&settings, &data).unwrap().run(&place, options, &mut observer).unwrap();
    assert!(observer.notes.iter().any(|note| note.contains("torn or changed")), "{:?}", observer.notes);
    assert!(weights(dir.path()) == weights(straight.path()));
    // The denoised images were asked for as files, and every command reads them.
    let denoised = veridical::data::open(rounds.join("01/denoised.npz")).unwrap().train;
    assert_eq!((denoised.len(), denoised.size()), (270, [1, 1, 2]));
}

#[test]
fn the_variants_differ_and_more_rounds_go_on() {
    let data = data();
    let result = |more: &[&str]| {
        let (dir, _) = whole(&settings(more), &data);
        weights(dir.path())
    };
    let all = [
        result(&[]),
        result(&["sfbd.denoiser=\"sde\""]),
        result(&["sfbd.merge=false"]),
        result(&["sfbd.optimizer=\"kept\""]),
        result(&["sfbd.store=\"u8\""]),
        result(&["online.enabled=true", "online.images=400", "online.refresh=\"fixed\""]),
    ];
    for (i, a) in all.iter().enumerate() {
        assert!(all[..i].iter().all(|b| a != b), "variant {i} is like another");
    }
    // A finished run takes a further round as if it had been asked for at first.
    let (dir, _) = whole(&settings(&["sfbd.rounds=1"]), &data);
    let place = RunDir::create(dir.path(), Existing::Resume).unwrap();
    let options = RunOptions { resume: true, budget: None, ..RunOptions::default() };
    Sfbd::new(&settings(&[]), &data).unwrap().run(&place, options, &mut patient()).unwrap();
    assert!(weights(dir.path()) == all[0]);
}

/// A round shorter than the noisy set denoises what its training draws; with files asked for, everything, and to the
/// same bits.
#[test]
fn what_is_not_drawn_is_not_denoised_and_changes_nothing() {
    let data = data();
    for more in [&[][..], &["sfbd.optimizer=\"kept\""], &["sfbd.merge=false", "data.shuffle=\"epochs\""]] {
        let run = |files: bool| {
            let all: Vec<&str> = more.iter().copied().chain(files.then_some("sfbd.files=true")).collect();
            let dir = tempfile::tempdir().unwrap();
            let place = RunDir::create(dir.path(), Existing::Refuse).unwrap();
            let mut observer = patient();
            Sfbd::new(&settings(&all), &data).unwrap().run(&place, RunOptions::default(), &mut observer).unwrap();
            let said: Vec<String> = observer.notes.into_iter().filter(|note| note.contains("denoising")).collect();
            (weights(dir.path()), said.join("\n"))
        };
        let ((some, said), (all, said_of_all)) = (run(false), run(true));
        assert!(said.contains("that are drawn of 270 images"), "{said}");
        assert!(said_of_all.contains("denoising 270 images"), "{said_of_all}");
        assert!(some == all, "{more:?}: another model");
    }
}

/// The denoised images are nearer to the truth than the noisy ones, and later rounds judge by what they have learned.
#[test]
fn denoising_takes_noise_away() {
    let data = data();
    let longer = ["train.images=8000", "sfbd.round_images=4000", "optimizer.warm_up=400", "optimizer.lr=0.003"];
    let (_dir, rounds) = whole(&settings(&longer), &data);
    assert!(rounds[0].rms_error.is_none());
    for round in &rounds[1..] {
        let error = round.rms_error.unwrap();
        assert!(error < 0.25, "round {}: {error}, the noise is 0.3", round.round);
    }
}

#[test]
fn what_makes_no_sense_is_said_before_anything_is_written() {
    let data = data();
    let says = |more: &[&str], what: &str| {
        let all: Vec<String> = more.iter().map(|s| s.to_string()).collect();
        let error = match presets::sfbd("points").unwrap().build(None, &all) {
            Err(error) => error.to_string(),
            Ok(settings) => {
                let level: f64 = settings.method.noisy.sigma.to_string().parse().unwrap();
                let data = NoisyData { levels: NoiseLevels::One(level), ..data.clone() };
                Sfbd::new(&settings, &data).err().map(|error| error.to_string()).unwrap_or_default()
            }
        };
        assert!(error.contains(what), "{error}");
    };
    says(&["noisy.sigma=0"], "above 0");
    says(&["noisy.sigma=90"], "sampling.sigma_max = 80");
    says(&["noisy.sigma=0.001"], "sampling.sigma_min = 0.002");
    says(&["noisy.clean_share=0"], "above 0, up to 1");
    says(&["noisy.clean_share=1.5"], "above 0, up to 1");
    says(&["sfbd.denoiser=\"magic\""], "no solver");
    says(&["sfbd.denoiser=\"rk45\""], "depend on each other");
    says(&["sfbd.optimizer=\"old\""], "there are fresh and kept");
    says(&["sfbd.half_life_share=0"], "sfbd.half_life_share = 0.0, expected above 0");
    says(&["model.sigma_max=0.1", "train.device=\"cpu\""], "the model knows levels from 0 to 0.1");
}
