//! What commands say of the data that they read, and what they keep of it.

use std::path::{Path, PathBuf};
use std::process::Output;

use tempfile::TempDir;

use super::{command, fails, succeeds};

/// A folder of grey pictures of 8 by 8, two in each class.
fn pictures(place: &TempDir, name: &str, classes: &[&str]) -> String {
    let folder = place.path().join(name);
    for (i, class) in classes.iter().enumerate() {
        std::fs::create_dir_all(folder.join(class)).unwrap();
        for k in 0..2u32 {
            let picture = image::GrayImage::from_fn(8, 8, |x, y| image::Luma([(30 * x * k + 20 * y + i as u32) as u8]));
            picture.save(folder.join(class).join(format!("{k}.png"))).unwrap();
        }
    }
    text(&folder)
}

fn text(path: &Path) -> String {
    path.to_str().unwrap().into()
}

/// Standard error of a command that must succeed.
fn says(args: &[&str]) -> String {
    let Output { status, stderr, .. } = command(args).output().unwrap();
    let stderr = String::from_utf8(stderr).unwrap();
    assert!(status.success(), "veridical {args:?}: {stderr}");
    stderr
}

const SMALL: [&str; 20] = [
    "--device",
    "cpu",
    "--set",
    "model.model_channels=8",
    "--set",
    "model.channel_mult=[1]",
    "--set",
    "model.attn_resolutions=[]",
    "--set",
    "model.num_blocks=1",
    "--set",
    "sampling.measured=0",
    "--set",
    "train.sample_every=0",
    "--set",
    "train.batch=2",
    "--set",
    "sampling.steps=2",
    "--set",
    "average.half_life=0",
];

#[test]
fn class_names_live_in_the_model() {
    let place = tempfile::tempdir().unwrap();
    let out = text(&place.path().join("run"));
    let model = format!("{out}/model.safetensors");
    let set = pictures(&place, "set", &["bus", "car\u{1b}[2J", "tree"]);
    let said = says(&[&["train", "--steps", "1", "--out", &out, "--data", &set][..], &SMALL].concat());
    assert!(said.contains(": 6x8x8x1 from PNG pictures of 8 bits, values 0 to"), "{said}");
    assert!(said.contains("; 3 classes: bus, car\\u{1b}[2J, tree (2 each)"), "{said}");
    let report = std::fs::read_to_string(format!("{out}/report.html")).unwrap();
    assert!(report.contains("3 classes: bus, car\\u{1b}[2J, tree (2 each)"));

    let info = succeeds(&["info", &model]);
    assert!(info.contains("classes          3: bus, car\\u{1b}[2J, tree"), "{info}");
    let info: serde_json::Value = serde_json::from_str(&succeeds(&["info", "--json", &model])).unwrap();
    assert_eq!(info["class_names"], serde_json::json!(["bus", "car\u{1b}[2J", "tree"]));

    // A class by its name is the same as by its number.
    let draw = |class: &str| {
        let file = text(&place.path().join("samples.safetensors"));
        let args =
            ["sample", "--device", "cpu", "--steps", "2", "--seeds", "0-1", "--model", &model, "--output", &file];
        succeeds(&[&args[..], &["--class", class]].concat());
        std::fs::read(file).unwrap()
    };
    assert_eq!(draw("tree"), draw("2"));
    let error = fails(2, &["sample", "--device", "cpu", "--model", &model, "--class", "tram", "--output", "x"]);
    assert!(error.contains("3 classes, counted from 0: bus, car\\u{1b}[2J, tree"), "{error}");

    // Data whose labels mean other classes are refused, and their own are not.
    let measure = |set: &str| {
        let args = ["likelihood", "--device", "cpu", "--steps", "2", "--first", "1", "--model", &model, "--data", set];
        command(&args).output().unwrap()
    };
    assert!(measure(&set).status.success());
    let other = measure(&pictures(&place, "other", &["tree", "truck"]));
    let error = String::from_utf8(other.stderr).unwrap();
    assert!(!other.status.success() && error.contains("those of the data tree, truck"), "{error}");
}

#[test]
fn every_command_says_what_it_read() {
    let place = tempfile::tempdir().unwrap();
    let set = pictures(&place, "set", &["a", "b", "c"]);
    let account = ": 6x8x8x1 from PNG pictures of 8 bits";
    let classifier = text(&place.path().join("classifier.safetensors"));
    let args = ["classifier", "--device", "cpu", "--epochs", "1", "--channels", "4,4", "--data", &set];
    assert!(says(&[&args[..], &["--output", &classifier]].concat()).contains(account));
    let said = says(&["evaluate", "--device", "cpu", "--real", &set, "--generated", &set]);
    assert_eq!(said.matches(account).count(), 2, "{said}");
    let out = |name: &str| text(&place.path().join(name));
    let run = out("run");
    says(&[&["train", "--steps", "1", "--out", &run, "--data", &set][..], &SMALL].concat());
    let model = format!("{run}/model.safetensors");
    let short = ["--set", "train.images=2", "--set", "judge.images=0"];
    let csc = out("csc");
    let args = [&["csc", "--out", &csc, "--data", &set, "--model", &model][..], &["--set", "csc.method=plain"], &short];
    let said = says(&[&args.concat()[..], &["--device", "cpu", "--set", "train.batch=2"]].concat());
    assert!(said.contains(account), "{said}");
}

#[test]
fn a_photograph_is_a_start_by_its_contents() {
    let place = tempfile::tempdir().unwrap();
    let (set, run) = (pictures(&place, "set", &["a", "b"]), text(&place.path().join("run")));
    says(&[&["train", "--steps", "1", "--out", &run, "--data", &set][..], &SMALL].concat());
    let model = format!("{run}/model.safetensors");
    let photo = place.path().join("photo.jpg");
    image::RgbImage::from_fn(8, 8, |x, y| image::Rgb([20 * x as u8, 20 * y as u8, 99])).save(&photo).unwrap();
    let out = text(&place.path().join("samples.safetensors"));
    let draw = |photo: &PathBuf| -> Vec<String> {
        ["sample", "--device", "cpu", "--model", &model, "--steps", "2", "--start-sigma", "0.5", "--output", &out]
            .map(String::from)
            .into_iter()
            .chain(["--start-image".into(), text(photo)])
            .collect()
    };
    let args = draw(&photo);
    let said = says(&args.iter().map(String::as_str).collect::<Vec<_>>());
    assert!(said.contains("photo.jpg: 1x8x8x1 from JPEG picture of 8 bits") && said.contains("made grey"), "{said}");
    let whole = std::fs::read(&photo).unwrap();
    std::fs::write(&photo, &whole[..whole.len() / 2]).unwrap();
    let error = fails(1, &args.iter().map(String::as_str).collect::<Vec<_>>());
    assert!(error.contains("photo.jpg") && error.contains("cut short"), "{error}");
}

/// A text is opened as everything else is.
#[cfg(unix)]
#[test]
fn a_text_is_a_regular_file() {
    let place = tempfile::tempdir().unwrap();
    let pipe = place.path().join("pipe");
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    for path in [text(&pipe), "/dev/zero".into()] {
        let args = ["collapse", "--family", "transformer", "--text", &path, "--rounds", "1", "--steps", "1"];
        let error = fails(1, &args);
        assert!(error.contains("not a regular file"), "{error}");
    }
}
