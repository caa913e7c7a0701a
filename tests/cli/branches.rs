//! Runs that go on otherwise: with other settings, or with data that stay in their files.

use std::fs;
use std::path::Path;

use super::people::{self, array, disc};
use super::resume::notes;
use super::training::{Place, TINY, resume};
use super::{fails, succeeds};

#[test]
fn a_run_goes_on_with_another_rate_as_a_branch_that_log_and_report_tell_of() {
    let place = Place::new(TINY);
    let (branched, straight) = (place.out("branched"), place.out("straight"));
    succeeds(&place.first(&branched, &["--steps", "5"]));
    let lower = ["--steps", "10", "--set", "optimizer.lr=0.0005", "--set", "loss.p_std=1.0"];
    let told = notes(&resume(&branched, &lower));
    assert!(
        told.contains("a branch of the run from step 5 on: ") && told.contains("optimizer.lr = 0.0005 (was "),
        "{told}"
    );
    let branches = || -> Vec<serde_json::Value> {
        let lines = fs::read_to_string(branched.join("log.jsonl")).unwrap();
        let lines = lines.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
        lines.filter(|line| line["branch"].is_array()).collect()
    };
    let [branch] = &branches()[..] else { panic!("{:?}", branches()) };
    assert_eq!((&branch["step"], branch["branch"].as_array().unwrap().len()), (&5.into(), 2));
    assert_eq!(branch["branch"][1]["key"], "optimizer.lr");
    assert_eq!(branch["branch"][1]["is"], 0.0005);
    // What follows is what the settings say from there on, not what they said before.
    succeeds(&place.first(&straight, &["--steps", "10"]));
    let model = |out: &Path| fs::read(out.join("model.safetensors")).unwrap();
    assert!(model(&branched) != model(&straight));
    // Going on once more is no other branch, and the stored settings are the new ones.
    let told = notes(&resume(&branched, &["--steps", "12"]));
    assert!(!told.contains("a branch of") && branches().len() == 1, "{told}");
    assert!(fs::read_to_string(branched.join("config.toml")).unwrap().contains("lr = 0.0005"));
    #[cfg(feature = "report")]
    {
        let report = fs::read_to_string(branched.join("report.html")).unwrap();
        assert!(report.contains("Branches") && report.contains("optimizer.lr"));
    }
}

#[test]
fn a_length_that_a_run_has_already_is_refused_and_changes_nothing() {
    let place = Place::new(TINY);
    let out = place.out("run");
    succeeds(&place.first(&out, &["--steps", "5"]));
    let files = || ["config.toml", "log.jsonl", "model.safetensors"].map(|name| fs::read(out.join(name)).unwrap());
    let before = files();
    for more in [&["--steps", "3"][..], &["--set", "optimizer.lr=0.0005"]] {
        let error = fails(2, &resume(&out, more));
        assert!(error.contains("the run has 5 steps already") && error.contains("give more"), "{error}");
    }
    assert!(files() == before);
    // As long as it is: there is nothing to do, and that is no mistake.
    succeeds(&resume(&out, &["--steps", "5"]));
}

#[test]
fn data_in_their_files_train_to_the_same_bits_and_so_does_a_run_that_goes_on() {
    let place = people::Place::new();
    let (stack, pictures) = (place.at("stack.npy"), place.folder("pictures"));
    array(&stack, &[30, 10, 12], |i| {
        1200.0 + 300.0 * disc(i as u32 / 120, i as u32 / 12 % 10, i as u32 % 12, [10, 12])
    });
    for i in 0..20 {
        let shade = |y: u32, x: u32| image::Luma([(255.0 * disc(i, y, x, [10, 12])) as u8]);
        let picture = image::GrayImage::from_fn(12, 10, |x, y| shade(y, x));
        picture.save(pictures.join(format!("{i:02}.png"))).unwrap();
    }
    for data in [stack.as_str(), pictures.to_str().unwrap()] {
        let run = |name: &str, more: &[&str]| {
            let out = place.at(&format!("{name}-{}", Path::new(data).file_stem().unwrap().display()));
            let small = ["--device", "cpu", "--set", "train.batch=4", "--set", "sampling.measured=0", "--overwrite"];
            succeeds(&[&["train", "--data", data, "--out", &out][..], &small, &people::SMALL, more].concat());
            out
        };
        let model = |out: &str| fs::read(Path::new(out).join("model.safetensors")).unwrap();
        let held = run("held", &["--steps", "8"]);
        let stored = run("stored", &["--steps", "8", "--in-memory", "0"]);
        let broken = run("broken", &["--steps", "3", "--in-memory", "0"]);
        succeeds(&["train", "--resume", "--out", &broken, "--steps", "8"]);
        assert!(model(&held) == model(&stored) && model(&stored) == model(&broken), "{data}");
    }
}
