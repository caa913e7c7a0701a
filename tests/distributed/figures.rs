//! What several processes count together besides gradients: KDGAN's figures, and the features of `evaluate`.
#![cfg(unix)]

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;

use super::commands::{said, succeeds};
use super::locate;

fn veridical(args: &[&str]) -> Output {
    Command::new(locate::program()).args(args).env("RAYON_NUM_THREADS", "1").output().unwrap()
}

/// The log without what the clock says.
fn log(run: &Path) -> Vec<Value> {
    let text = fs::read_to_string(run.join("log.jsonl")).unwrap();
    let timeless = |line: &str| {
        let mut line: Value = serde_json::from_str(line).unwrap();
        ["seconds", "images_per_second"].iter().for_each(|name| drop(line.as_object_mut().unwrap().remove(*name)));
        line
    };
    text.lines().map(timeless).collect()
}

/// A game of few steps with labels that are drawn.
fn kdgan(out: &Path, more: &[&str]) {
    let game = ["kdgan", "--device", "cpu", "--batch", "10", "--overwrite", "--out", out.to_str().unwrap()];
    let steps = ["steps.student=6", "steps.pretraining=3", "train.log_every=1", "train.checkpoint_every=4"];
    let drawn = ["kdgan.estimator=gumbel", "kdgan.samples=2"];
    let set: Vec<&str> = steps.iter().chain(&drawn).flat_map(|set| ["--set", set]).collect();
    succeeds(&[veridical(&[&game[..], &set, more].concat())]);
}

#[test]
fn kdgan_is_the_same_on_any_number_of_ranks() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    let models = |run: &Path| {
        ["student", "teacher", "discriminator"]
            .map(|name| fs::read(run.join(format!("models/{name}.safetensors"))).unwrap())
    };
    kdgan(&at("one"), &["--set", "train.slots=3"]);
    for ranks in ["2", "3"] {
        kdgan(&at(ranks), &["--set", "train.slots=3", "--ranks", ranks]);
        assert!(models(&at(ranks)) == models(&at("one")), "{ranks} ranks");
        assert_eq!(log(&at(ranks)), log(&at("one")), "{ranks} ranks");
    }
    // What the student is taught is behind noise of its own for each row.
    let noisy = ["--method", "noisy", "--set", "train.slots=3"];
    kdgan(&at("noisy"), &noisy);
    kdgan(&at("noisy-2"), &[&noisy[..], &["--ranks", "2"]].concat());
    assert_eq!(log(&at("noisy-2")), log(&at("noisy")));
    let student = |run: &str| fs::read(at(run).join("models/student.safetensors")).unwrap();
    assert!(student("noisy-2") == student("noisy") && student("noisy") != student("one"));
    // In slots everything is a mean over the batch as before, up to rounding, as long as the players are the same.
    kdgan(&at("whole"), &[]);
    let (whole, slots) = (log(&at("whole")), log(&at("one")));
    let mut compared = Vec::new();
    for (whole, slots) in whole.iter().zip(&slots) {
        for (name, figure) in whole.as_object().unwrap() {
            let (a, b) = (figure.as_f64().unwrap(), slots[name].as_f64().unwrap_or_else(|| panic!("{name}: {slots}")));
            assert!((a - b).abs() <= 2e-3 * a.abs().max(0.1), "{name}: {a} of a batch, {b} of its slots");
            compared.push(name.clone());
        }
    }
    for figure in ["value", "judged_real", "student_loss", "teacher_loss", "discriminator_loss", "gradient_norm"] {
        assert!(compared.iter().any(|name| name == figure), "{figure}");
    }
}

#[test]
fn a_classifiers_features_are_those_of_one_process() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name).to_str().unwrap().to_string();
    let judge = at("judge.safetensors");
    let trained = ["classifier", "--device", "cpu", "--epochs", "1", "--channels", "4,4", "--data", "digits"];
    succeeds(&[veridical(&[&trained[..], &["--output", &judge]].concat())]);
    let figures = |ranks: &str| {
        let json = at(&format!("{ranks}.json"));
        let evaluate = ["evaluate", "--device", "cpu", "--real", "digits", "--generated", "digits", "--against-train"];
        let more = ["--features", &judge, "--neighbours", "100", "--ranks", ranks, "--json", &json];
        let output = veridical(&[&evaluate[..], &more].concat());
        assert!(output.status.success(), "{}", said(&output));
        (fs::read_to_string(json).unwrap(), output.stdout)
    };
    let alone = figures("1");
    assert!(alone.0.contains("frechet_distance"), "{}", alone.0);
    // 1,500 images are six batches of the network: three each, and two each.
    assert_eq!(figures("2"), alone);
    assert_eq!(figures("3"), alone);
}
