//! Where results go is looked at before the work.

use std::fs;

use veridical::diffusion::random_classes;
use veridical::tensor::TensorFile;
use veridical::{DType, Device, data, ops};

use super::sample::Place;
use super::{fails, succeeds};

/// Every flag that names a file to write, in a command whose input is missing: what is said first was tried first.
const COMMANDS: [&[&str]; 10] = [
    &["sample", "--model", "nowhere", "--output"],
    &["sample", "--model", "nowhere", "--png"],
    &["sample", "--model", "nowhere", "--trajectory"],
    &["denoise", "--model", "nowhere", "--input", "nowhere", "--output"],
    &["likelihood", "--model", "nowhere", "--input", "nowhere", "--output"],
    &["likelihood", "--model", "nowhere", "--input", "nowhere", "--json"],
    &["evaluate", "--real", "nowhere", "--generated", "nowhere", "--json"],
    &["classifier", "--data", "nowhere", "--output"],
    &["ema", "--run", "nowhere", "--std", "0.1", "--output"],
    &["bench", "--op", "nowhere", "--json"],
];

#[test]
fn results_that_cannot_be_written_are_refused_first() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name).to_str().unwrap().to_string();
    fs::create_dir(path("folder")).unwrap();
    fs::write(path("file"), "kept").unwrap();
    let long = "n".repeat(300);
    for command in COMMANDS {
        let flag = *command.last().unwrap();
        let refuses = |path: &str, says: &str| {
            let error = fails(1, &[command, &[path]].concat());
            assert!(error.contains(says) && error.contains(flag) && error.contains(path), "{command:?}: {error}");
        };
        refuses(&path("none/x"), "none is no folder; make it first");
        refuses(&path("file/x"), "file is no folder");
        refuses(&path("folder"), "a directory");
        refuses(&path(&long), "cannot be written");
        if cfg!(unix) {
            refuses("/dev/null", "not a regular file");
        }
        let foreign = fails(2, &[command, &[&path("new.H5")]].concat());
        assert!(foreign.contains(flag) && foreign.contains("new.H5: what is written is ."), "{command:?}: {foreign}");
        // A place that is good is no reason to stop, and nothing is left in it.
        for good in ["new", "file", "new-0.5"] {
            let output = super::command(&[command, &[&path(good)]].concat()).output().unwrap();
            let error = String::from_utf8(output.stderr).unwrap();
            assert!(!output.status.success() && error.contains("nowhere"), "{command:?}: {error}");
        }
    }
    assert_eq!(fs::read_to_string(path("file")).unwrap(), "kept");
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 2);
    let twice = fails(2, &["sample", "--model", "nowhere", "--output", &path("x"), "--png", &path("x")]);
    assert!(twice.contains("--output and --png"), "{twice}");
}

#[test]
fn samples_under_the_name_of_an_archive_are_a_data_set() {
    let place = Place::pictures();
    let draw = |more: &[&str]| {
        let out = place.file("samples.npz");
        let args = ["sample", "--device", "cpu", "--model", &place.model, "--seeds", "0-4", "--steps", "3", "--output"];
        succeeds(&[&args[..], &[&out], more].concat());
        out
    };
    let tensors = place.file("samples.safetensors");
    let args = ["sample", "--device", "cpu", "--model", &place.model, "--seeds", "0-4", "--steps", "3", "--output"];
    succeeds(&[&args[..], &[&tensors]].concat());
    let file = TensorFile::open(&tensors).unwrap();
    let samples = file.tensor("samples", DType::F32, &Device::Cpu).unwrap().unwrap();
    let samples = ops::permute(samples, &[0, 2, 3, 1]).unwrap().into_value().to_vec::<f32>().unwrap();

    let set = data::open(draw(&[])).unwrap().train;
    assert_eq!((set.size(), set.pixels().unwrap().to_vec()), ([8, 8, 3], samples));
    assert_eq!(set.labels(), random_classes(0, &[0, 1, 2, 3, 4], 3).unwrap());
    let set = data::open(draw(&["--class", "1"])).unwrap().train;
    assert_eq!(set.labels(), [1; 5]);
    // No class is no label, nor are shares of several.
    assert_eq!(data::open(draw(&["--no-class"])).unwrap().train.classes(), 1);
    let shares = place.file("shares.safetensors");
    super::sample::write(&shares, &[("class_labels", &[5, 3], &[0.5, 0.5, 0.0].repeat(5))]);
    assert_eq!(data::open(draw(&["--class-labels", &shares])).unwrap().train.classes(), 1);

    let points = Place::points(0);
    let out = points.file("points.npz");
    let args = ["sample", "--device", "cpu", "--model", &points.model, "--seeds", "0-2", "--steps", "3", "--output"];
    succeeds(&[&args[..], &[&out]].concat());
    assert_eq!(data::open(out).unwrap().train.size(), [1, 1, 2]);
}

#[test]
fn a_picture_of_points_is_refused_before_anything_is_drawn() {
    let place = Place::points(0);
    let (out, png) = (place.file("out.safetensors"), place.file("points.png"));
    let args = ["sample", "--device", "cpu", "--model", &place.model, "--seeds", "0-2", "--steps", "3"];
    let error = fails(2, &[&args[..], &["--output", &out, "--png", &png]].concat());
    assert!(error.contains("not pictures"), "{error}");
    assert!(!fs::exists(&out).unwrap(), "samples were written all the same");
    succeeds(&[&args[..], &["--output", &out]].concat());
    assert!(fs::exists(&out).unwrap());

    // Nor does a trajectory that cannot be had leave half of what was asked for.
    fs::remove_file(&out).unwrap();
    let way = place.file("way.safetensors");
    let error = fails(2, &[&args[..7], &["--solver", "rk45", "--output", &out, "--trajectory", &way]].concat());
    assert!(error.contains("alone"), "{error}");
    assert!(!fs::exists(&out).unwrap() && !fs::exists(&way).unwrap());
}
