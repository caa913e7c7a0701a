//! `veridical kdgan` and `triple-gan`.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;
use tempfile::TempDir;
use veridical::data::{Images, npy};

use super::{fails, succeeds};

/// Games so short that they end in a second or two.
const KDGAN: [&str; 10] = [
    "kdgan",
    "--device",
    "cpu",
    "--set",
    "steps.student=40",
    "--set",
    "steps.pretraining=20",
    "--set",
    "train.checkpoint_every=30",
    "--overwrite",
];
const TRIPLE: [&str; 26] = [
    "triple-gan",
    "--device",
    "cpu",
    "--set",
    "triple_gan.iterations=6",
    "--set",
    "triple_gan.pretraining=4",
    "--set",
    "triple_gan.unlabelled=10",
    "--set",
    "triple_gan.generated=10",
    "--set",
    "triple_gan.joined=10",
    "--set",
    "classifier.layers=[\"8x3\", \"pool\", \"8x3\"]",
    "--set",
    "networks.channels=8",
    "--set",
    "networks.discriminator_channels=8",
    "--set",
    "samples.measured=2",
    "--set",
    "samples.epochs=1",
    "--set",
    "train.checkpoint_every=5",
    "--overwrite",
];

struct Place(TempDir);

impl Place {
    fn new() -> Self {
        Place(tempfile::tempdir().unwrap())
    }

    fn out(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn run(&self, command: &[&str], name: &str, more: &[&str]) -> (Value, String) {
        let out = self.out(name);
        let said = succeeds(&[command, &["--out", out.to_str().unwrap()], more].concat());
        let metrics = serde_json::from_str(&fs::read_to_string(out.join("metrics.json")).unwrap()).unwrap();
        let page = fs::read_to_string(out.join("report.html")).unwrap();
        assert!(!page.contains("NaN") && !page.contains("http") && page.contains("</html>"));
        (metrics, said)
    }

    fn refused(&self, command: &[&str], more: &[&str], part: &str) {
        let out = self.out("refused");
        let error = fails(2, &[command, &["--out", out.to_str().unwrap()], more].concat());
        assert!(error.contains(part), "{error}");
        assert!(!out.exists(), "a refusal leaves no trace");
    }
}

fn players(out: &Path) -> Vec<(String, Vec<u8>)> {
    let mut all: Vec<_> = fs::read_dir(out.join("models"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .map(|path| (path.file_name().unwrap().to_str().unwrap().to_string(), fs::read(&path).unwrap()))
        .collect();
    all.sort();
    all
}

fn names(out: &Path) -> Vec<String> {
    players(out).into_iter().map(|(name, _)| name.trim_end_matches(".safetensors").to_string()).collect()
}

#[test]
fn every_method_makes_as_many_steps_of_the_student() {
    let place = Place::new();
    for (method, expected) in [
        ("kdgan", &["discriminator", "student", "teacher"][..]),
        ("ce", &["student", "teacher"]),
        ("mimic", &["student", "teacher"]),
        ("distn", &["student", "teacher"]),
        ("noisy", &["student", "teacher"]),
        ("codis", &["student", "teacher"]),
        ("nagan", &["discriminator", "student"]),
    ] {
        let (metrics, said) = place.run(&KDGAN, method, &["--method", method, "--labelled", "50", "--seed", "3"]);
        assert_eq!(names(&place.out(method)), expected, "{method}");
        assert_eq!(
            (&metrics["student_steps"], &metrics["method"], &metrics["seed"]),
            (&40.into(), &method.into(), &3.into())
        );
        let accuracy = metrics["student_accuracy"].as_f64().unwrap();
        assert!((0.05..=1.0).contains(&accuracy) && metrics["seconds"].as_f64().unwrap() > 0.0);
        assert_eq!(metrics["teacher_accuracy"].is_number(), method != "nagan", "{method}");
        assert!(said.contains("student accuracy") && said.contains("finished after 40 steps"), "{said}");
    }
}

#[test]
fn every_estimator_and_variant_plays() {
    let place = Place::new();
    for estimator in
        ["exact", "reinforce", "reinforce-baseline", "gumbel", "straight-through", "rao-blackwell", "reward"]
    {
        let set = format!("kdgan.estimator={estimator}");
        place.run(&KDGAN, estimator, &["--set", &set, "--set", "kdgan.samples=2", "--set", "kdgan.tau_factor=0.9"]);
    }
    let (code, _) = place.run(&KDGAN, "code", &["--set", "kdgan.variant=code-2018"]);
    assert!(code["student_accuracy"].is_number());
    let more =
        ["--set", "kdgan.student_steps=2", "--set", "kdgan.discriminator_steps=3", "--set", "kdgan.distillation=kl"];
    let (steps, _) = place.run(&KDGAN, "steps", &more);
    assert_eq!(steps["student_steps"], 40);
}

#[test]
fn a_game_that_is_stopped_goes_on_to_the_same_bits() {
    let place = Place::new();
    for (command, name) in [(&KDGAN[..], "k"), (&TRIPLE[..], "t")] {
        let (straight, stopped) = (format!("{name}-straight"), format!("{name}-stopped"));
        place.run(command, &straight, &["--labelled", "50"]);
        // No time at all: it ends with a checkpoint before its first step.
        let out = place.out(&stopped);
        let out = out.to_str().unwrap();
        succeeds(&[command, &["--out", out, "--labelled", "50", "--minutes", "0"]].concat());
        succeeds(&[command[0], "--resume", "--out", out, "--minutes", "0.005"]);
        let said = succeeds(&[command[0], "--resume", "--out", out]);
        assert!(said.contains("finished"), "{said}");
        assert_eq!(players(&place.out(&straight)), players(&place.out(&stopped)), "{name}");
        let error = fails(2, &[command[0], "--resume", "--out", out, "--labelled", "60"]);
        assert!(error.contains("data.labelled is 50 there and 60 here"), "{error}");
    }
}

#[test]
fn a_student_is_a_classifier_and_a_classifier_a_teacher() {
    let place = Place::new();
    place.run(&KDGAN, "first", &["--labelled", "50"]);
    let [student, teacher] =
        ["student", "teacher"].map(|name| place.out("first").join(format!("models/{name}.safetensors")));
    for file in [&student, &teacher] {
        let said = succeeds(&["info", file.to_str().unwrap()]);
        assert!(said.contains("classes          10") && said.contains("images           [8,8,1]"), "{said}");
        assert!(!said.contains("problem"), "{said}");
    }
    let set = format!("teacher.file={}", teacher.display());
    let more = ["--method", "distn", "--set", &set, "--set", "teacher.fixed=true", "--labelled", "50"];
    let (metrics, _) = place.run(&KDGAN, "second", &more);
    let first: Value = serde_json::from_str(&fs::read_to_string(place.out("first/metrics.json")).unwrap()).unwrap();
    assert_eq!(metrics["teacher_accuracy"], first["teacher_accuracy"]);
    place.refused(&KDGAN, &["--set", &set, "--method", "ce"], "has none to learn from");
    place.refused(&KDGAN, &["--set", "teacher.fixed=true"], "name one in teacher.file");
    let images = Images::from_bytes(
        (0..40 * 64).map(|i| (i * 37 % 251) as u8).collect(),
        (0..40).map(|i| i % 3).collect(),
        [8, 8, 1],
        3,
    );
    let file = place.out("three.npz");
    npy::write_images(&file, &images.unwrap()).unwrap();
    let data = ["--data", file.to_str().unwrap(), "--labelled", "9", "--set", "data.validation=10"];
    let error = [&data[..], &["--set", &set]].concat();
    place.refused(&KDGAN, &error, "knows 10 classes; the data have [8, 8, 1] and 3");
    // Another teacher in the file: not the game that was begun.
    place.run(&KDGAN, "other", &["--labelled", "50", "--seed", "4"]);
    let (mine, out) = (place.out("mine.safetensors"), place.out("begun"));
    fs::copy(&teacher, &mine).unwrap();
    let (set, out) = (format!("teacher.file={}", mine.display()), out.to_str().unwrap());
    succeeds(&[&KDGAN[..], &["--out", out, "--labelled", "50", "--set", &set, "--minutes", "0"]].concat());
    fs::copy(place.out("other/models/teacher.safetensors"), &mine).unwrap();
    let error = fails(2, &["kdgan", "--resume", "--out", out]);
    assert!(error.contains("the checkpoint is of other data") && error.contains("teacher"), "{error}");
    // The same one in another place is.
    let moved = place.out("moved.safetensors");
    fs::copy(&teacher, &moved).unwrap();
    fs::remove_file(&mine).unwrap();
    assert!(fails(2, &["kdgan", "--resume", "--out", out]).contains("by --set teacher.file"));
    succeeds(&["kdgan", "--resume", "--out", out, "--set", &format!("teacher.file={}", moved.display())]);
}

/// Of more classes than a table of confusions has room for.
#[test]
fn thousands_of_classes_are_played_for() {
    let place = Place::new();
    let (classes, images) = (4500usize, 4600usize);
    let pixels = (0..images * 16).map(|i| (i * 37 % 251) as u8).collect();
    let labels = (0..images).map(|i| (i % classes) as u32).collect();
    let file = place.out("many.npz");
    npy::write_images(&file, &Images::from_bytes(pixels, labels, [4, 4, 1], classes).unwrap()).unwrap();
    let data = ["--data", file.to_str().unwrap(), "--subset", "random", "--labelled", "40", "--set"];
    let few = ["data.validation=12", "--set", "steps.student=3", "--set", "steps.pretraining=1", "--set"];
    let small = ["teacher.channels=[2]", "--set", "teacher.padding=2"];
    let (metrics, _) = place.run(&KDGAN, "many", &[&data[..], &few, &small].concat());
    assert_eq!(metrics["student"]["confusion"].as_array().unwrap().len(), 0);
}

#[test]
fn the_three_of_them_and_their_baselines() {
    let place = Place::new();
    for (baseline, expected) in [
        ("none", &["classifier", "discriminator", "generator"][..]),
        ("supervised", &["classifier"]),
        ("entropy", &["classifier"]),
        ("feature-matching", &["classifier", "generator"]),
    ] {
        let (metrics, said) =
            place.run(&TRIPLE, baseline, &["--baseline", baseline, "--labelled", "20", "--seed", "2"]);
        assert_eq!(names(&place.out(baseline)), expected);
        let makes = expected.contains(&"generator");
        assert!((0.0..=1.0).contains(&metrics["error"].as_f64().unwrap()) && said.contains("error"), "{said}");
        assert_eq!(metrics["sample_accuracy"].is_number(), makes, "{baseline}");
        assert_eq!(place.out(baseline).join("samples.png").exists(), makes);
        assert_eq!((&metrics["baseline"], &metrics["iterations"]), (&baseline.into(), &6.into()));
    }
    // Every network and loss.
    for (name, sets) in [
        (
            "convolutional",
            &["networks.kind=convolutional", "networks.channels=8", "networks.discriminator_channels=4"][..],
        ),
        (
            "first version",
            &[
                "networks.kind=perceptron",
                "networks.generator=[8]",
                "networks.discriminator=[8]",
                "triple_gan.loss=nonsaturating",
                "triple_gan.pairs=argmax",
            ],
        ),
        (
            "second version",
            &[
                "networks.kind=residual",
                "networks.channels=8",
                "networks.discriminator_channels=8",
                "triple_gan.loss=hinge",
                "triple_gan.pairs=integrate",
                "triple_gan.consistency=10",
                "triple_gan.mean_teacher=true",
                "triple_gan.discriminator_steps=2",
            ],
        ),
        ("consistency", &["triple_gan.consistency=1", "triple_gan.joined=0", "augment.shift=0.1"]),
    ] {
        let sets: Vec<&str> = sets.iter().flat_map(|set| ["--set", *set]).collect();
        place.run(&TRIPLE, name, &sets);
    }
}

#[test]
fn what_cannot_be_played_says_so_before_a_directory_is_made() {
    let place = Place::new();
    for command in [&KDGAN[..], &TRIPLE] {
        place.refused(command, &["--labelled", "2000"], "data.labelled = 2000, but there are 1500 training images");
        place.refused(
            command,
            &["--labelled", "2000", "--subset", "last"],
            "data.labelled = 2000, but there are 1500 training images",
        );
        place.refused(command, &["--data", "synthetic:two-moons"], "no classes to learn");
        place.refused(command, &["--data", "nowhere"], "nowhere: no such file or folder");
        place.refused(
            command,
            &["--set", "data.validation=5000"],
            "data.validation = 5000, but beside the 100 labelled",
        );
        place.refused(command, &["--preset", "imagenet"], "[possible values: ");
        place.refused(command, &["--set", "augment.rotation=200"], "augment.rotation = 200.0");
    }
    place.refused(&KDGAN, &["--set", "kdgan.tau=0"], "kdgan.tau = 0.0, expected above 0");
    place.refused(&KDGAN, &["--set", "steps.pretraining=41"], "expected 0 to steps.student = 40");
    place.refused(&KDGAN, &["--set", "kdgan.student_steps=3"], "does not divide the 20 steps");
    place.refused(&KDGAN, &["--set", "teacher.channels=[8,8,8,8]"], "nothing is left after convolution 3");
    place.refused(&TRIPLE, &["--set", "triple_gan.loss=wasserstein"], "of two players");
    place.refused(&TRIPLE, &["--set", "classifier.layers=[\"pol\"]"], "\"pol\" is no layer");
    place.refused(&TRIPLE, &["--set", "networks.kind=residual", "--set", "networks.blocks=4"], "multiples of 2^4");
    place.refused(&KDGAN, &["--set", "steps.pretraining=40"], "leaves no step for kdgan");
    place.refused(&KDGAN, &["--set", "kdgan.tau_floor=1e-30"], "kdgan.tau_floor");
    place.refused(&TRIPLE, &["--set", "augment.pretraining=false"], "is of veridical kdgan");
    place.refused(&TRIPLE, &["--labelled", "20", "--set", "data.validation=1480"], "one must be left");
    // Sides too small for the classifier that reads samples, before the game.
    let flat = Images::from_bytes(vec![7; 40 * 8], (0..40).map(|i| i % 2).collect(), [1, 8, 1], 2).unwrap();
    let file = place.out("flat.npz");
    npy::write_images(&file, &flat).unwrap();
    let data = ["--data", file.to_str().unwrap(), "--labelled", "9", "--set", "data.validation=10"];
    let linear = ["--set", "networks.kind=perceptron", "--set", "classifier.layers=[\"8x3\"]"];
    place.refused(&TRIPLE, &[&data[..], &linear].concat(), "samples.measured=0");
    // Images that have no labels are not taken for the first class.
    let idx = place.out("idx");
    fs::create_dir(&idx).unwrap();
    let head = |kind: u8, extents: &[u8]| -> Vec<u8> {
        let extents = extents.iter().flat_map(|&extent| [0, 0, 0, extent]);
        [0, 0, 8, kind].into_iter().chain(extents).collect()
    };
    let images =
        |n: u8| [head(3, &[n, 8, 8]), (0..64 * usize::from(n)).map(|i| (i * 37 % 251) as u8).collect()].concat();
    fs::write(idx.join("train-images-idx3-ubyte"), images(30)).unwrap();
    fs::write(idx.join("train-labels-idx1-ubyte"), [head(1, &[30]), (0..30).map(|i| i % 3).collect()].concat())
        .unwrap();
    fs::write(idx.join("t10k-images-idx3-ubyte"), images(6)).unwrap();
    for command in [&KDGAN[..], &TRIPLE] {
        let data = ["--data", idx.to_str().unwrap(), "--labelled", "9"];
        place.refused(command, &data, "its test images have no labels");
        place.run(command, "apart", &[&data[..], &["--set", "data.validation=6"]].concat());
    }
    // A class without a label is said, not refused.
    let out = place.out("absent");
    let output = super::command(
        &[&KDGAN[..], &["--labelled", "5", "--subset", "last", "--out", out.to_str().unwrap()]].concat(),
    )
    .output()
    .unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success() && said.contains("no labelled image is of class"), "{said}");
}

/// A table in ARFF: the student sees half of its columns.
#[test]
fn many_labels_are_ranked() {
    let place = Place::new();
    let mut text = String::from("@relation t\n");
    (0..6).for_each(|i| text += &format!("@attribute f{i} numeric\n"));
    (0..4).for_each(|i| text += &format!("@attribute l{i} {{0,1}}\n"));
    text += "@data\n";
    for row in 0..60u32 {
        let features: Vec<String> = (0..6).map(|f| format!("{}", (row * 7 + f * 13) % 17)).collect();
        let labels: Vec<String> = (0..4).map(|l| u32::from((row + l) % 3 == 0).to_string()).collect();
        text += &format!("{},{}\n", features.join(","), labels.join(","));
    }
    fs::write(place.out("t.arff"), &text).unwrap();
    let labels: String = (0..4).map(|i| format!("<label name=\"l{i}\"/>")).collect();
    fs::write(place.out("t.xml"), format!("<labels>{labels}</labels>")).unwrap();
    let data = place.out("t.arff");
    let data = ["--data", data.to_str().unwrap(), "--set", "student.hidden=[8]", "--set", "teacher.hidden=8"];
    let (metrics, said) = place.run(&KDGAN, "table", &data);
    assert!(metrics["student_accuracy"].is_null() && said.contains("MAP"), "{said}");
    for figure in ["p_at_3", "p_at_5", "f_at_3", "f_at_5", "map", "mrr"] {
        assert!((0.0..=1.0).contains(&metrics["student"][figure].as_f64().unwrap()), "{figure}");
        assert!(metrics["teacher"][figure].is_number());
    }
    place.refused(&KDGAN, &[&data[..], &["--labelled", "60"]].concat(), "but there are 40 training rows");
    place.refused(&TRIPLE, &data[..2], "triple-gan takes images");
    place.refused(
        &KDGAN,
        &[&data[..], &["--set", "augment.shift=0.1"]].concat(),
        "turns pictures, but the data are a table",
    );
    place.refused(
        &KDGAN,
        &[&data[..], &["--labelled", "30", "--set", "data.validation=10"]].concat(),
        "one must be left",
    );
    // One label has no ranking.
    let one = ["t1.arff", "t1.xml"].map(|name| place.out(name));
    fs::write(&one[0], &text).unwrap();
    fs::write(&one[1], "<labels><label name=\"l0\"/></labels>").unwrap();
    place.refused(
        &KDGAN,
        &[&["--data", one[0].to_str().unwrap()], &data[2..]].concat(),
        "one label has nothing to rank",
    );
    fs::write(place.out("t.arff"), text.replace("@attribute l3 {0,1}\n", "")).unwrap();
    let out = place.out("refused");
    let error = fails(1, &[&KDGAN[..], &["--out", out.to_str().unwrap()], &data].concat());
    assert!(error.contains("l3") && !out.exists(), "{error}");
}
