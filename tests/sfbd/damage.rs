//! Files of a run of SFBD that are not what they were: the run comes to the same bits or says what is wrong.

use std::fs;
use std::path::Path;

use super::runs::{data, patient, settings, weights, whole};
use veridical::Result;
use veridical::methods::sfbd::Round;
use veridical::methods::{AmbientTraining, Sfbd, SfbdSettings, presets};
use veridical::tensor::TensorFile;
use veridical::train::{Existing, RunDir, RunOptions, With};

fn flip(path: &Path) {
    let mut bytes = fs::read(path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(path, bytes).unwrap();
}

/// What a resumption says; it must come to its end.
fn resumed(settings: &With<SfbdSettings>, place: &Path) -> String {
    let run = RunDir::create(place, Existing::Resume).unwrap();
    let options = RunOptions { resume: true, budget: None, ..RunOptions::default() };
    let mut observer = patient();
    Sfbd::new(settings, &data()).unwrap().run(&run, options, &mut observer).unwrap();
    observer.notes.join("\n")
}

/// As if the process had died in round 2, before it began to train.
fn without_round_2(place: &Path) {
    fs::remove_dir_all(place.join("rounds/02")).unwrap();
}

#[test]
fn a_damaged_stage_is_done_again_to_the_same_bits() {
    let data = data();
    let last = "checkpoints/step-000000030/";
    for (optimizer, files, says) in [
        ("fresh", ["round.json".to_string(), "model.safetensors".into()], "torn or changed"),
        (
            "kept",
            [format!("{last}optimizer.safetensors"), format!("{last}state.json")],
            "no whole checkpoint of step 30",
        ),
    ] {
        let settings = settings(&["sfbd.denoiser=\"sde\"", &format!("sfbd.optimizer={optimizer:?}")]);
        let (dir, _) = whole(&settings, &data);
        let straight = weights(dir.path());
        // The stage that was done again is damaged again, in another way.
        for file in files {
            without_round_2(dir.path());
            flip(&dir.path().join("rounds/01").join(&file));
            let notes = resumed(&settings, dir.path());
            assert!(notes.contains("stage 1 is done again") && notes.contains(says), "{file}: {notes}");
            assert!(weights(dir.path()) == straight, "{file}: another model");
            assert!(Round::read(&RunDir::create(dir.path(), Existing::Resume).unwrap(), 1).unwrap().is_some());
        }
    }
}

/// Another stage's model in place of a stage's own is whole, but not the one of the record.
#[test]
fn a_model_that_is_another_stages_is_noticed() {
    let (data, settings) = (data(), settings(&[]));
    let (dir, _) = whole(&settings, &data);
    let straight = weights(dir.path());
    without_round_2(dir.path());
    let rounds = dir.path().join("rounds");
    fs::copy(rounds.join("00/model.safetensors"), rounds.join("01/model.safetensors")).unwrap();
    assert!(resumed(&settings, dir.path()).contains("another model than round.json says"));
    assert!(weights(dir.path()) == straight);
}

/// Parts are named by their first image; with other images asked for, one of the same name and length holds others.
#[test]
fn denoised_images_of_another_choice_are_not_taken() {
    let data = data();
    // So long that more than a part's 256 images are drawn, but not all 270.
    let longer = ["sfbd.rounds=1", "sfbd.round_images=560"];
    let (some, all) = (settings(&longer), settings(&[&longer[..], &["sfbd.files=true"]].concat()));
    let (of_all, _) = whole(&all, &data);
    let (dir, _) = whole(&some, &data);
    let straight = weights(dir.path());
    let part = "rounds/01/denoised/part-000000.safetensors";
    let images = |place: &Path| {
        let file = TensorFile::open(place.join(part)).unwrap();
        (file.shape("images").unwrap().to_vec(), file.floats("images").unwrap())
    };
    let ((a, of_some), (b, of_all_images)) = (images(dir.path()), images(of_all.path()));
    assert!(a == b && a == [256, 2] && of_some != of_all_images);
    // As if the process had died after this part, on its way to denoise all, and was then asked for those that are
    // drawn.
    fs::copy(of_all.path().join(part), dir.path().join(part)).unwrap();
    for made_later in ["round.json", "config.toml", "model.safetensors"] {
        fs::remove_file(dir.path().join("rounds/01").join(made_later)).unwrap();
    }
    let notes = resumed(&some, dir.path());
    assert!(notes.contains("denoised images are made again"), "{notes}");
    assert!(weights(dir.path()) == straight);
    // One byte less right than it was.
    fs::remove_file(dir.path().join("rounds/01/round.json")).unwrap();
    fs::remove_file(dir.path().join("rounds/01/config.toml")).unwrap();
    flip(&dir.path().join(part));
    assert!(resumed(&some, dir.path()).contains("torn or changed"));
    assert!(weights(dir.path()) == straight);
}

/// Figures of two judges never stand in one table, and a resumption without a judge takes none away.
#[test]
fn what_another_judge_measured_is_measured_again() {
    let rounds = |place: &Path| {
        let run = RunDir::create(place, Existing::Resume).unwrap();
        (0..=2).map(|k| Round::read(&run, k).unwrap().unwrap()).collect::<Vec<_>>()
    };
    let (of_20, of_30) = (settings(&["judge.images=20"]), settings(&["judge.images=30"]));
    let (dir, _) = whole(&of_20, &data());
    let (anew, _) = whole(&of_30, &data());
    let before = rounds(dir.path());
    let notes = resumed(&settings(&["judge.images=0"]), dir.path());
    assert!(!notes.contains("measured again") && rounds(dir.path()) == before, "{notes}");
    let notes = resumed(&of_30, dir.path());
    assert!(notes.contains("stage 1 was made with another judge: measured again"), "{notes}");
    for (found, expected) in rounds(dir.path()).iter().zip(rounds(anew.path())) {
        assert_eq!(found.generated, expected.generated);
        assert!(found.denoised.is_none() && found.rms_error == expected.rms_error);
    }
    assert!(!resumed(&of_30, dir.path()).contains("measured again"));
}

#[test]
fn what_was_finished_on_other_data_is_refused() {
    let settings = settings(&[]);
    let (dir, _) = whole(&settings, &data());
    without_round_2(dir.path());
    let mut other = data();
    let noisy = other.noisy.take().unwrap();
    let mut pixels = noisy.pixels().unwrap().into_owned();
    pixels[7] += 0.25;
    let labels = noisy.labels().to_vec();
    other.noisy = Some(veridical::data::Images::new(pixels, labels, noisy.size(), noisy.classes()).unwrap());
    let run = RunDir::create(dir.path(), Existing::Resume).unwrap();
    let options = RunOptions { resume: true, budget: None, ..RunOptions::default() };
    let error = Sfbd::new(&settings, &other).unwrap().run(&run, options, &mut patient()).unwrap_err().to_string();
    assert!(error.contains("is of other data"), "{error}");
}

/// The settings that a directory has are those of its run, whoever is told to go on in it.
#[test]
fn the_directory_of_another_method_or_of_other_settings_is_left_as_it_is() {
    let (data, settings) = (data(), settings(&[]));
    let (dir, _) = whole(&settings, &data);
    let before = fs::read(dir.path().join("config.toml")).unwrap();
    let options = RunOptions { resume: true, budget: None, ..RunOptions::default() };
    let short = ["train.device=\"cpu\"", "train.batch=20", "train.images=40", "judge.images=0", "sampling.steps=3"];
    let ambient = presets::ambient("points").unwrap().build(None, &short.map(String::from)).unwrap();
    let ambient = AmbientTraining::new(&ambient, &data).unwrap();
    let run = |place: &RunDir| Sfbd::new(&settings, &data).unwrap().run(place, options, &mut patient()).map(drop);
    let refused = |found: Result<()>, says: &[&str]| {
        let error = found.unwrap_err().to_string();
        assert!(says.iter().all(|says| error.contains(says)), "{error}");
    };

    let place = RunDir::create(dir.path(), Existing::Resume).unwrap();
    let name = dir.path().display().to_string();
    fs::write(dir.path().join("log.jsonl"), "{\"step\":5}\n").unwrap(); // would be cut by a run that goes on
    refused(ambient.run(&place, options, &mut ()).map(drop), &["another method", "[sfbd]", "[ambient]", &name]);
    let slower = super::runs::settings(&["optimizer.lr=0.5"]);
    let slower = Sfbd::new(&slower, &data).unwrap();
    refused(slower.run(&place, options, &mut patient()).map(drop), &["optimizer.lr is ", &name]);
    assert!(fs::read(dir.path().join("config.toml")).unwrap() == before);
    assert!(fs::read(dir.path().join("log.jsonl")).unwrap() == b"{\"step\":5}\n");
    run(&place).unwrap();

    let other = tempfile::tempdir().unwrap();
    let place = RunDir::create(other.path(), Existing::Refuse).unwrap();
    ambient.run(&place, RunOptions::default(), &mut ()).unwrap();
    refused(run(&place), &["another method", "[sfbd]", "[ambient]"]);
}

/// A process can die between the record of a stage and the end of its denoised images.
#[test]
fn denoised_images_of_a_finished_stage_are_removed() {
    let (data, settings) = (data(), settings(&["sfbd.files=true"]));
    let (dir, _) = whole(&settings, &data);
    let folder = dir.path().join("rounds/01/denoised");
    fs::copy(folder.join("part-000000.safetensors"), folder.join("part-000256.safetensors")).unwrap();
    resumed(&settings, dir.path());
    assert_eq!(fs::read_dir(folder).unwrap().count(), 1);
}
