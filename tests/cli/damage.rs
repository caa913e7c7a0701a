//! Files of a run that are not what they were: noticed, and passed over or refused.

use std::fs;
use std::path::{Path, PathBuf};

use veridical::backend::cpu::Isa;

use super::training::{Place, TINY, resume, steps_of};
use super::{command, fails, succeeds};

/// Changes one byte in the middle of a file.
fn flip(path: &Path) {
    let mut bytes = fs::read(path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(path, bytes).unwrap();
}

fn model(out: &Path) -> Vec<u8> {
    fs::read(out.join("model.safetensors")).unwrap()
}

/// Standard error of a resumption that must succeed.
fn resumed(out: &Path, more: &[&str]) -> String {
    let output = command(&resume(out, more)).output().unwrap();
    let notes = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{notes}");
    notes
}

/// Ten steps with a checkpoint each five; returns the directory and the model after twenty.
fn begun() -> (Place, PathBuf, Vec<u8>) {
    let place = Place::new(&TINY.replace("images = 480", "images = 80"));
    let (out, longer) = (place.out("run"), place.out("longer"));
    succeeds(&place.first(&out, &[]));
    succeeds(&place.first(&longer, &["--steps", "20"]));
    let expected = model(&longer);
    (place, out, expected)
}

#[test]
fn a_changed_byte_in_any_file_of_a_checkpoint_passes_it_over() {
    let (place, out, expected) = begun();
    let newest = out.join("checkpoints/step-000000010");
    let files: Vec<PathBuf> = fs::read_dir(&newest).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert_eq!(files.len(), 4);
    for file in files {
        let copy = place.out("copy");
        succeeds(&place.first(&copy, &["--overwrite"]));
        flip(&copy.join("checkpoints/step-000000010").join(file.file_name().unwrap()));
        let notes = resumed(&copy, &["--steps", "20"]);
        assert!(notes.contains("passed over a checkpoint") && notes.contains("going on from"), "{notes}");
        assert!(notes.contains("step-000000005"), "{notes}");
        assert!(model(&copy) == expected, "{}: another model", file.display());
    }
    // A number that a person changed is a changed byte, too.
    let state = newest.join("state.json");
    let text = fs::read_to_string(&state).unwrap();
    fs::write(&state, text.replace("\"seen\": 80", "\"seen\": 88")).unwrap();
    assert!(resumed(&out, &["--steps", "20"]).contains("state.json"));
    assert!(model(&out) == expected && text.contains("\"seen\": 80"));
}

/// Earlier versions gave `state.json` and `config.toml` no checksums: their runs go on, and it is said.
#[test]
fn runs_of_earlier_versions_go_on() {
    let (_place, out, expected) = begun();
    let state = |step: &str| out.join("checkpoints").join(step).join("state.json");
    let old = |step: &str, seen: &str| {
        let mut value: serde_json::Value = serde_json::from_str(&fs::read_to_string(state(step)).unwrap()).unwrap();
        let fields = value.as_object_mut().unwrap();
        assert!(fields.remove("checksum").is_some() && fields.remove("arithmetic").is_some());
        fields.insert("format".into(), 1.into());
        let text = value.to_string().replace("\"seen\":80", seen);
        fs::write(state(step), text).unwrap();
    };
    let config = fs::read_to_string(out.join("config.toml")).unwrap();
    let (line, rest) = config.split_once('\n').unwrap();
    assert!(line.starts_with("# checksum "), "{line}");
    fs::write(out.join("config.toml"), rest).unwrap();
    let good = fs::read(state("step-000000010")).unwrap();
    old("step-000000010", "\"seen\":88");
    assert!(fails(2, &resume(&out, &["--steps", "20"])).contains("88 images in 10 steps of 8"));
    fs::write(state("step-000000010"), good).unwrap();
    old("step-000000010", "\"seen\":80");
    fs::write(out.join("config.toml"), rest).unwrap();
    let notes = resumed(&out, &["--steps", "20"]);
    assert!(
        notes.contains("config.toml has no checksum") && notes.contains("without a checksum of its state"),
        "{notes}"
    );
    assert!(model(&out) == expected);
    // Format 2 without its checksum is no earlier version's.
    let state = state("step-000000020");
    let text = fs::read_to_string(&state).unwrap();
    fs::write(&state, text.replace("\"checksum\"", "\"checksun\"")).unwrap();
    let notes = resumed(&out, &["--steps", "20"]);
    assert!(notes.contains("passed over a checkpoint"), "{notes}");
}

#[test]
fn settings_that_are_not_as_the_run_wrote_them_are_refused() {
    let (place, out, _) = begun();
    let path = out.join("config.toml");
    let text = fs::read_to_string(&path).unwrap();
    fs::write(&path, text.replace("images = 80", "images = 88")).unwrap();
    let error = fails(1, &resume(&out, &[]));
    assert!(error.contains("config.toml") && error.contains("--set"), "{error}");
    for cut in [0, 5, 60, text.len() / 2, text.len() - 1] {
        fs::write(&path, &text[..cut]).unwrap();
        assert!(fails(1, &resume(&out, &[])).contains("config.toml"), "cut at {cut}");
    }
    // As a file for --config it may be changed.
    fs::write(&path, text.replace("images = 80", "images = 88")).unwrap();
    let again = place.out("again");
    let args = ["train", "--config", path.to_str().unwrap(), "--out", again.to_str().unwrap()];
    succeeds(&args);
    assert_eq!(steps_of(&again).last().unwrap(), "step-000000011");
}

#[test]
fn damaged_models_and_snapshots_are_refused_by_name() {
    let place = Place::new(&TINY.replace("images = 480", "images = 128"));
    let out = place.out("run");
    succeeds(&place.first(&out, &["--set", "average.power=[0.1]", "--set", "average.snapshot_every=64"]));
    let ema = place.out("ema.safetensors");
    let args = ["ema", "--run", out.to_str().unwrap(), "--std", "0.1", "--output", ema.to_str().unwrap()];
    succeeds(&args);
    let snapshot = fs::read_dir(out.join("snapshots")).unwrap().map(|entry| entry.unwrap().path()).min().unwrap();
    flip(&snapshot);
    let error = fails(1, &args);
    assert!(error.contains(snapshot.to_str().unwrap()) && error.contains("torn or changed"), "{error}");
    let model = out.join("model.safetensors");
    flip(&model);
    assert!(fails(1, &["info", model.to_str().unwrap()]).contains("torn or changed"));
}

#[test]
fn another_level_of_vector_instructions_is_said_in_one_line() {
    let (_place, out, expected) = begun();
    let notes_with = |key: &str, word: &str, steps: &str| {
        let output = command(&resume(&out, &["--steps", steps])).env(key, word).output().unwrap();
        assert!(output.status.success());
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        text.lines().filter(|line| line.contains("bits may differ")).map(String::from).collect::<Vec<_>>()
    };
    let notes = |kernel: &str, steps: &str| notes_with("VERIDICAL_CPU_KERNEL", kernel, steps);
    let here = Isa::current();
    let direct = notes_with("VERIDICAL_WINOGRAD", "off", "12");
    assert_eq!(direct.len(), 1);
    assert!(direct[0].contains(&format!("with cpu {here} winograd so far and with cpu {here} from")), "{direct:?}");
    fs::remove_dir_all(out.join("checkpoints/step-000000012")).unwrap();
    if here == Isa::Portable {
        return println!("this processor has one level only");
    }
    let other = notes("portable", "12");
    assert_eq!(other.len(), 1);
    assert!(other[0].contains(&format!("with cpu {here} winograd so far and with cpu portable")), "{other:?}");
    // Gone back to the level that it began on, from the checkpoint before: the same bits as ever.
    fs::remove_dir_all(out.join("checkpoints/step-000000012")).unwrap();
    assert!(notes(&here.to_string(), "20").is_empty());
    assert!(model(&out) == expected);
}
