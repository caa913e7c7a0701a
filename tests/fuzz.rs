//! Every reader on hostile input: the inputs of `fuzz/seeds.rs` and mutations of them, the same ones each time.
//!
//! `VERIDICAL_FUZZ_RUNS=100000` (runs of each reader) and `VERIDICAL_FUZZ_SEED=2` take it further;
//! `VERIDICAL_FUZZ_CORPUS=FOLDER` writes the inputs as files for `cargo fuzz`, which shares the readers' functions (see
//! `fuzz/README.md`). A finding prints the input as Rust would write it: it belongs into `seeds.rs`.

#[path = "fuzz/mutate.rs"]
mod mutate;
#[path = "fuzz/seeds.rs"]
mod seeds;
#[path = "fuzz/targets.rs"]
mod targets;
#[path = "fuzz/watch.rs"]
mod watch;

use std::fmt::Write;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use mutate::{Random, mutated};
use targets::{TARGETS, Target};
use watch::{Counting, Watchdog, memory_of};

#[global_allocator]
static COUNTING: Counting = Counting;

/// Runs of each reader where nothing else is asked for: together under a minute on two processors.
const RUNS: usize = 10_000;
/// An input of some KiB that takes longer than this hangs.
const LIMIT: Duration = Duration::from_secs(60);

fn number(variable: &str, otherwise: usize) -> usize {
    match std::env::var(variable) {
        Ok(text) => text.parse().unwrap_or_else(|_| panic!("{variable}={text} is no number")),
        Err(_) => otherwise,
    }
}

/// Reads one input; what is wrong with that, if anything.
fn fault(target: &Target, bytes: &[u8]) -> Option<String> {
    let mut panicked = None;
    let memory = memory_of(|| {
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| (target.read)(bytes))) {
            let text = panic.downcast_ref::<String>().map(String::as_str);
            panicked = Some(text.or(panic.downcast_ref::<&str>().copied()).unwrap_or("a panic").to_string());
        }
    });
    let absurd = (memory > target.memory).then(|| format!("took {memory} bytes of memory"));
    panicked.or(absurd)
}

fn check(name: &str) {
    let target = TARGETS.iter().find(|target| target.name == name).expect("a target of this name");
    let (runs, seed) = (number("VERIDICAL_FUZZ_RUNS", RUNS), number("VERIDICAL_FUZZ_SEED", 1));
    let inputs = seeds::of(name);
    let watchdog = Watchdog::new(LIMIT);
    let mut random = Random(seed as u64);
    let mut faults = Vec::new();
    for run in 0..inputs.len() + runs {
        let bytes = match inputs.get(run) {
            Some(sound) => sound.clone(),
            None => {
                let from = &inputs[random.below(inputs.len())];
                mutated(&mut random, from, &inputs)
            }
        };
        watchdog.begin(|| format!("{name}, run {run}, seed {seed}"));
        if let Some(what) = fault(target, &bytes) {
            let mut text = String::new();
            let _ = write!(text, "{name}, run {run}: {what}\n  b\"{}\"", bytes.escape_ascii());
            faults.push(text);
            if faults.len() == 3 {
                break;
            }
        }
    }
    println!("{name}: {} inputs, {runs} mutations of them", inputs.len());
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

macro_rules! readers {
    ($($name:ident),* $(,)?) => {
        $(#[test] fn $name() { check(stringify!($name)) })*

        #[test]
        fn every_target_is_run() {
            let run: &[&str] = &[$(stringify!($name)),*];
            assert_eq!(TARGETS.iter().map(|target| target.name).collect::<Vec<_>>(), run);
            // The published crate has no `fuzz`.
            let Ok(manifest) = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/fuzz/Cargo.toml")) else {
                return;
            };
            for name in run {
                assert!(manifest.contains(&format!("name = \"{name}\"")), "fuzz/Cargo.toml has no {name}");
                let program = format!("{}/fuzz/fuzz_targets/{name}.rs", env!("CARGO_MANIFEST_DIR"));
                assert!(std::path::Path::new(&program).is_file(), "there is no {program}");
            }
        }
    };
}

readers! {
    npy, npz, npz_images, idx, idx_gzip, cifar, class_names, picture, dataset_json, arff,
    arff_gzip, label_list, text, features, tensors, model,
    architecture, classifier, checkpoint, snapshot, log, config, settings, seeds, schedule, solver,
}

#[test]
fn the_inputs_are_written_for_other_fuzzers() {
    let place = tempfile::tempdir().expect("a folder");
    let asked = std::env::var_os("VERIDICAL_FUZZ_CORPUS");
    let corpus = asked.as_ref().map_or(place.path(), std::path::Path::new);
    for target in TARGETS {
        let folder = corpus.join(target.name);
        std::fs::create_dir_all(&folder).expect("a folder for the inputs");
        for (i, input) in seeds::of(target.name).iter().enumerate() {
            std::fs::write(folder.join(format!("seed-{i}")), input).expect("an input");
        }
        assert!(std::fs::read_dir(folder).expect("the folder").count() > 0, "{} has no inputs", target.name);
    }
}

/// The driver itself: it must see a panic and what takes too much memory, and run the same inputs each time.
#[test]
fn faults_are_found() {
    let panics = Target { name: "panics", read: |bytes| assert!(bytes.len() < 3), memory: 1000 };
    assert_eq!(fault(&panics, b"ab"), None);
    assert!(fault(&panics, b"abc").is_some());
    let greedy = Target { name: "greedy", read: |bytes| drop(vec![0u8; bytes.len() * 1000]), memory: 1000 };
    assert_eq!(fault(&greedy, b"a"), None);
    assert!(fault(&greedy, b"ab").is_some_and(|what| what.contains("bytes of memory")));
    let twice = [(); 2].map(|()| {
        let mut random = Random(7);
        (0..100).map(|_| mutated(&mut random, b"{\"a\": 12}", &[b"other".to_vec()])).collect::<Vec<_>>()
    });
    assert_eq!(twice[0], twice[1]);
    assert!(twice[0].iter().any(|bytes| bytes.len() < 9) && twice[0].iter().any(|bytes| bytes.len() > 9));
}
