//! What a new user gives in place of what is wanted, and what is said of it.

use std::fs;
use std::path::Path;

use veridical::Device;
use veridical::data::npy::{self, Array, Values};
use veridical::data::{Units, open};
use veridical::diffusion::{Model, ModelConfig};
use veridical::evaluate::{ClassifierTraining, ImageClassifier};
use veridical::nn::SongConfig;

use super::people::{Place, array};
use super::{fails, succeeds};

/// A small model of pictures, untrained.
fn model(path: impl AsRef<Path>, size: usize, seed: u64) {
    let network = SongConfig {
        model_channels: 8,
        channel_mult: vec![1],
        num_blocks: 1,
        attn_resolutions: vec![],
        ..SongConfig::ncsnpp(size, 1)
    };
    fs::create_dir_all(path.as_ref().parent().unwrap()).unwrap();
    let model = Model::new(&ModelConfig::edm(network, 0.5), seed, &Device::Cpu).unwrap();
    model.with_units(&Units::bytes()).unwrap().save(path).unwrap();
}

#[test]
fn a_run_is_no_data() {
    let place = Place::new();
    let (run, samples) = (place.folder("run"), place.folder("run/samples"));
    fs::write(run.join(".veridical-run"), "").unwrap();
    for i in 0..3u8 {
        let picture = image::GrayImage::from_fn(8, 8, |x, y| image::Luma([(x * 7 + y * 5) as u8 * (i + 1)]));
        picture.save(run.join(format!("{i}.png"))).unwrap();
        picture.save(samples.join(format!("{i}.png"))).unwrap();
    }
    let run = run.to_str().unwrap();
    for args in [
        &["train", "--data", run, "--out", &place.at("out")][..],
        &["evaluate", "--generated", run, "--real", "digits"],
    ] {
        let error = fails(2, args);
        assert!(error.contains("the directory of a run, not data"), "{error}");
        assert!(error.contains(&format!("veridical sample --model {run} --output samples.npz")), "{error}");
    }
    // What lies below it is what it is.
    assert_eq!(open(samples).unwrap().train.len(), 3);
}

#[test]
fn a_run_in_rounds_stands_for_its_newest_model() {
    let place = Place::new();
    let run = place.folder("run");
    model(run.join("rounds/00/model.safetensors"), 4, 0);
    let found = |file: &str| {
        let told = succeeds(&["info", run.to_str().unwrap()]);
        assert!(told.contains(file), "{file} is not in {told}");
    };
    found("rounds/00/model.safetensors");
    model(run.join("rounds/01/checkpoints/step-000000005/ema.safetensors"), 4, 1);
    model(run.join("rounds/01/checkpoints/step-000000010/model.safetensors"), 4, 2);
    found("rounds/01/checkpoints/step-000000010/model.safetensors");
    // A round that has only begun has no model yet.
    place.folder("run/rounds/02/checkpoints");
    found("rounds/01/checkpoints/step-000000010/model.safetensors");
    model(run.join("model.safetensors"), 4, 3);
    found("run/model.safetensors");

    // The networks of a game are named, for one to be chosen.
    let game = place.folder("game");
    for player in ["teacher", "student"] {
        model(game.join(format!("models/{player}.safetensors")), 4, 0);
    }
    let error = fails(1, &["info", game.to_str().unwrap()]);
    assert!(error.contains("models/student.safetensors") && error.contains("name one"), "{error}");
    assert!(error.find("student") < error.find("teacher"), "{error}");
}

#[test]
fn a_file_of_another_kind_is_called_what_it_is() {
    let place = Place::new();
    let (table, points, weights) = (place.at("t.csv"), place.at("points.safetensors"), place.at("m.safetensors"));
    fs::write(&table, "a,b,c\n1,2,3\n2,3,5\n4,3,2\n").unwrap();
    npy::write(&points, &Array { shape: vec![2, 2], values: Values::F32(vec![0.0; 4]) }).unwrap();
    model(&weights, 4, 0);
    for (given, what) in [(&table, "its name ends in .csv"), (&points, "an array of NumPy's")] {
        for args in [&["info", given][..], &["sample", "--model", given, "--output", &place.at("x.npz")]] {
            let error = fails(1, args);
            assert!(error.contains("not a model") && error.contains(what), "{error}");
            assert!(!error.contains("complete"), "{error}");
        }
    }
    // One that is cut short is none of these.
    let cut = place.at("cut.safetensors");
    let whole = fs::read(&weights).unwrap();
    fs::write(&cut, &whole[..whole.len() / 2]).unwrap();
    assert!(fails(1, &["info", &cut]).contains("is it complete?"));

    let judge = place.at("judge.safetensors");
    let training = ClassifierTraining::default();
    ImageClassifier::untrained([8, 8, 1], 3, &training, &Device::Cpu).unwrap().save(&judge).unwrap();
    let error = fails(1, &["sample", "--model", &judge, "--output", &place.at("x.npz")]);
    assert!(error.contains("a classifier") && error.contains("veridical evaluate --features"), "{error}");
    let error = fails(1, &["evaluate", "--generated", &weights, "--real", "digits"]);
    assert!(error.contains("a model; draw samples first"), "{error}");
}

#[test]
fn another_shape_is_told_as_one() {
    let place = Place::new();
    let (table, points, images) = (place.at("t.csv"), place.at("points.npy"), place.at("images.npy"));
    let rows = (0..20).map(|i| format!("{},{},{}\n", 30 + i, 3000 * (i % 7), i % 5)).collect::<String>();
    fs::write(&table, format!("a,b,c\n{rows}")).unwrap();
    array(&points, &[30, 5], |i| (i * 37 % 101) as f64 * [1.0, 10.0, 100.0, 0.1, 3.0][i % 5]);
    array(&images, &[20, 8, 8], |i| (i * 37 % 101) as f64 / 50.0 - 1.0);
    let weights = place.at("m.safetensors");
    model(&weights, 8, 0);
    let error = fails(1, &["train", "--data", &table, "--init", &weights, "--out", &place.at("out")]);
    assert!(error.contains("rows of 3 numbers") && error.contains("images of 8x8x1"), "{error}");
    let error = fails(1, &["evaluate", "--generated", &points, "--real", &images]);
    assert!(error.contains("rows of 5 numbers") && error.contains("images of 8x8x1"), "{error}");
}

#[test]
fn files_that_hold_nothing_known_say_so() {
    let place = Place::new();
    let error = |name: &str| open(place.at(name)).unwrap_err().to_string();
    fs::write(place.at("text.npy"), "hello\n").unwrap();
    assert!(error("text.npy").contains("not a .npy file"));
    for name in ["zero.npy", "zero.csv"] {
        fs::write(place.at(name), "").unwrap();
        assert!(error(name).contains("an empty file"));
    }
    fs::write(place.folder("pictures").join("a.png"), "").unwrap();
    assert!(error("pictures").contains("an empty file"));
    let foo = Array { shape: vec![2, 3], values: Values::F32(vec![0.0; 6]) };
    npy::write_npz(place.at("weird.npz"), &[("foo".to_string(), foo)].into()).unwrap();
    let weird = error("weird.npz");
    for name in ["images", "x_train", "train_images", "data", "arr_0", "found foo"] {
        assert!(weird.contains(name), "{name} is not in {weird}");
    }
}
