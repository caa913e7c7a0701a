//! The same flags in every command, a run wherever a model is taken, and nothing that is asked for ignored in silence.

use std::fs;
use std::path::Path;

use image::{GrayImage, RgbaImage};
use toml::Table;
use veridical::Device;
use veridical::data::npy::{self, Array, Values};
use veridical::diffusion::Model;

use super::training::{Place, TINY, steps_of};
use super::{command, fails, succeeds};

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// Standard error of a command that succeeds.
fn said(args: &[&str]) -> String {
    let output = command(args).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{args:?}: {said}");
    said
}

fn written(config: &str) -> Table {
    toml::from_str(config).unwrap()
}

#[test]
fn batch_and_rate_are_flags_of_whatever_learns() {
    for command in ["train", "sfbd", "ambient", "csc"] {
        let shown = succeeds(&[command, "--print-config", "--batch", "24", "--lr", "0.0125"]);
        let settings = written(&shown);
        assert_eq!(settings["train"]["batch"].as_integer(), Some(24), "{command}");
        assert_eq!(settings["optimizer"]["lr"].as_float(), Some(0.0125), "{command}");
        assert!(fails(2, &[command, "--print-config", "--lr", "0"]).contains("optimizer.lr = 0"));
        assert!(fails(2, &[command, "--print-config", "--batch", "0"]).contains("train.batch = 0"));
    }
    // --steps counts in batches of that size.
    let settings = written(&succeeds(&["train", "--print-config", "--batch", "24", "--steps", "10"]));
    assert_eq!(settings["train"]["images"].as_integer(), Some(240));
    let settings = written(&succeeds(&["kdgan", "--print-config", "--batch", "24", "--lr", "0.0125"]));
    assert_eq!(settings["steps"]["batch"].as_integer(), Some(24));
    for (section, key) in [("student", "lr"), ("teacher", "lr"), ("teacher", "discriminator_lr")] {
        assert_eq!(settings[section][key].as_float(), Some(0.0125), "{section}.{key}");
    }
    let settings = written(&succeeds(&["triple-gan", "--print-config", "--batch", "24", "--lr", "0.0125"]));
    let game = &settings["triple_gan"];
    for key in ["labelled", "unlabelled", "generated", "joined"] {
        assert_eq!(game[key].as_integer(), Some(24), "{key}");
    }
    assert_eq!(game["lr"].as_float(), Some(0.0125));
}

/// A run, its model at the end and a checkpoint of it are one to every command.
#[test]
fn a_run_is_taken_wherever_a_model_is() {
    let place = Place::new(TINY);
    let run = place.out("run");
    let dropout = ["--set", "model.label_dropout=0.1"];
    succeeds(&place.first(&run, &[&["--images", "40"], &dropout[..]].concat()));
    let model = run.join("model.safetensors");
    for given in [&run, &model] {
        let shown = succeeds(&["info", text(given)]);
        assert_eq!(shown, succeeds(&["info", "--model", text(given)]));
        assert!(shown.contains("parameters"), "{shown}");
        let (a, b) = (place.out("a.npz"), place.out("b.npz"));
        let few = ["--steps", "2", "--seeds", "0-3", "--device", "cpu"];
        succeeds(&[&["sample", "--model", text(given), "--out", text(&a)][..], &few].concat());
        succeeds(&[&["sample", "--model", text(&model), "--output", text(&b)][..], &few].concat());
        assert_eq!(fs::read(&a).unwrap(), fs::read(&b).unwrap());
        for name in ["--init", "--model"] {
            let next = place.out("next");
            let more = ["--images", "8", "--overwrite", name, text(given)];
            succeeds(&place.first(&next, &[&more[..], &dropout].concat()));
            let settings = written(&fs::read_to_string(next.join("config.toml")).unwrap());
            assert_eq!(settings["train"]["init"].as_str(), Some(text(&model)));
        }
        for command in ["csc", "sfbd"] {
            let shown = succeeds(&[command, "--print-config", "--model", text(given)]);
            assert_eq!(written(&shown)[command]["model"].as_str(), Some(text(&model)), "{command}");
        }
    }
    // Nor does it matter how many are denoised at once.
    let noisy = place.out("noisy.npy");
    let pixels = (0..11 * 64).map(|i| ((i * 37 % 101) as f32) / 60.0 - 0.8).collect();
    npy::write(&noisy, &Array { shape: vec![11, 8, 8], values: Values::F32(pixels) }).unwrap();
    let clean = |batch: &str| {
        let out = place.out("clean.npy");
        let args = ["denoise", "--model", text(&run), "--data", text(&noisy), "--sigma", "0.3", "--device", "cpu"];
        succeeds(&[&args[..], &["--batch", batch, "--out", text(&out)]].concat());
        npy::read(&out).unwrap().to_f64()
    };
    let (one, all) = (clean("4"), clean("256"));
    assert!(one.len() == 11 * 64 && one.iter().zip(&all).all(|(a, b)| (a - b).abs() < 1e-5));
    assert!(fails(1, &["info", text(run.parent().unwrap())]).contains("no model in this directory"));
    assert!(fails(1, &["csc", "--print-config", "--model", text(run.parent().unwrap())]).contains("no model"));
    assert!(fails(2, &["info"]).contains("MODEL"));
    // Averages of the run that a model lies in, at its end or in a checkpoint.
    let wide = place.out("wide");
    let power = ["--set", "average.power=[0.05, 0.1]", "--set", "average.snapshot_every=80"];
    succeeds(&place.first(&wide, &power));
    let average = |given: &Path| {
        let path = place.out("average.safetensors");
        succeeds(&["ema", "--model", text(given), "--std", "0.07", "--out", text(&path)]);
        Model::load(path, &Device::Cpu).unwrap().weights.flat().to_vec::<f32>().unwrap()
    };
    let checkpoint = wide.join("checkpoints").join(steps_of(&wide).pop().unwrap()).join("ema.safetensors");
    let of_run = average(&wide);
    assert!(of_run == average(&wide.join("model.safetensors")) && of_run == average(&checkpoint));
}

#[test]
fn a_game_is_taken_for_its_classifier() {
    let place = Place::new("");
    let (run, samples) = (place.out("game"), place.out("samples.npz"));
    let short = ["--set", "steps.student=4", "--set", "steps.pretraining=2", "--labelled", "20", "--device", "cpu"];
    succeeds(&[&["kdgan", "--data", "digits", "--out", text(&run)][..], &short].concat());
    let model = place.out("model");
    let train =
        ["train", "--preset", "digits", "--steps", "1", "--set", "sampling.measured=0", "--device", "cpu", "--out"];
    succeeds(&[&train[..], &[text(&model)]].concat());
    let draw = ["sample", "--model", text(&model), "--steps", "2", "--seeds", "0-9", "--device", "cpu", "--out"];
    succeeds(&[&draw[..], &[text(&samples)]].concat());
    let student = run.join("models/student.safetensors");
    let judged = |by: &Path| {
        succeeds(&[
            "evaluate",
            "--data",
            "digits",
            "--generated",
            text(&samples),
            "--features",
            text(by),
            "--device",
            "cpu",
        ])
    };
    assert_eq!(judged(&run), judged(&student));
    let judge = place.out("judge.safetensors");
    let learn =
        ["classifier", "--data", "digits", "--epochs", "1", "--batch", "100", "--lr", "0.01", "--channels", "8"];
    let accuracy = succeeds(&[&learn[..], &["--device", "cpu", "--out", text(&judge)]].concat());
    assert!(accuracy.starts_with("accuracy 0."), "{accuracy}");
    assert!(fails(2, &["classifier", "--data", "digits", "--lr", "0", "--out", "x"]).contains("--lr"));
    let none = ["evaluate", "--data", "digits", "--generated", text(&samples), "--features", text(&model)];
    assert!(fails(1, &none).contains("no classifier in this directory"));
}

#[test]
fn an_ending_that_is_no_form_is_refused() {
    let refused = |args: &[&str], says: &str| {
        let error = fails(2, args);
        assert!(error.contains(says), "{error}");
    };
    refused(
        &["sample", "--model", "nowhere", "--output", "x.foo"],
        "--output x.foo: what is written is .safetensors or .npz or .tif or .tiff; end the name so",
    );
    refused(&["sample", "--model", "nowhere", "--out", "x.jpg"], "what is written is .safetensors");
    refused(&["sample", "--model", "nowhere", "--png", "x.bmp"], "what is written is .png");
    refused(&["ema", "--run", "nowhere", "--std", "0.1", "--output", "x.ckpt"], "what is written is .safetensors");
    refused(&["bench", "--op", "nowhere", "--json", "x.yaml"], "what is written is .jsonl or .json");
    assert!(fails(2, &["bench", "--op", "nowhere", "--json", "x.jsonl"]).contains("no benchmark fits"));
}

/// Flags that say how data are to be read, on data that leave no such choice.
#[test]
fn what_data_have_no_use_for_is_said() {
    let place = Place::new("");
    let pictures = |name: &str, alpha: bool| {
        let folder = place.out(name);
        fs::create_dir(&folder).unwrap();
        for i in 0..9u8 {
            let at = |x: u32, y: u32| 20 * i + 7 * (x + y) as u8;
            match alpha {
                true => RgbaImage::from_fn(8, 8, |x, y| image::Rgba([at(x, y), 9, 200, 100]))
                    .save(folder.join(format!("{i}.png"))),
                false => GrayImage::from_fn(8, 8, |x, y| image::Luma([at(x, y)])).save(folder.join(format!("{i}.png"))),
            }
            .unwrap();
        }
        text(&folder).to_string()
    };
    let (grey, clear) = (pictures("grey", false), pictures("clear", true));
    let table = place.out("table.csv");
    let rows = (0..40).map(|i| format!("{},{},{}\n", i % 7, f64::from(i) * 0.1, ["a", "b"][i as usize % 2]));
    fs::write(&table, "x,y,kind\n".to_string() + &rows.collect::<String>()).unwrap();
    let table = text(&table);
    let open = |data: &str, flags: &[&str]| said(&[&["train", "--print-config", "--data", data][..], flags].concat());
    // What is said is said where data are read for work; --print-config reads them, too, and says nothing.
    assert!(open(&grey, &["--alpha"]).is_empty());
    // Whether there is noise in them is another matter.
    let noise = |data: &str, flags: &[&str]| {
        let output = command(&[&["noise", "--data", data][..], flags].concat()).output().unwrap();
        String::from_utf8(output.stderr).unwrap()
    };
    for (data, flags, says) in [
        (&*grey, &["--alpha"][..], "--alpha (data.alpha) is for pictures that have some"),
        (&grey, &["--layout", "nhw"], "--layout (data.layout) is for arrays"),
        (&grey, &["--class-column", "kind"], "--class-column (data.class_column) is for tables"),
        (&grey, &["--standardise", "all"], "--standardise (data.standardise) is for numbers that are no bytes"),
        ("digits", &["--layout", "nhw"], "--layout (data.layout) is for arrays"),
    ] {
        let said = noise(data, flags);
        assert!(said.contains(&format!("warning: {says}, and changes nothing here")), "{data} {flags:?}: {said}");
    }
    assert!(!noise(&clear, &["--alpha"]).contains("changes nothing"));
    let out = place.out("run");
    let short = ["--steps", "1", "--set", "sampling.measured=0", "--device", "cpu", "--out", text(&out)];
    let learned = said(&[&["train", "--data", table, "--class-column", "kind", "--layout", "nd"][..], &short].concat());
    assert!(learned.contains("--layout (data.layout)") && !learned.contains("--class-column ("), "{learned}");
}

/// The same where there are tensors in place of data, or nothing is drawn.
#[test]
fn flags_without_a_use_are_refused() {
    for (args, flag) in [
        (&["denoise", "--model", "m", "--input", "x", "--output", "y", "--layout", "nhw"][..], "--layout"),
        (&["likelihood", "--model", "m", "--input", "x", "--alpha"], "--alpha"),
        (&["evaluate", "--real-features", "a", "--generated-features", "b", "--crop", "random"], "--crop"),
    ] {
        let error = fails(2, args);
        assert!(error.contains(&format!("{flag} says how data are read, and --")), "{error}");
    }
    let denoise = ["denoise", "--model", "m", "--data", "d", "--sigma", "1", "--output", "y"];
    for flag in [["--steps", "9"], ["--seed", "9"]] {
        assert!(fails(2, &[&denoise[..], &flag].concat()).contains("--draws"), "{flag:?}");
    }
}

/// Data that a model takes in its own units are not standardised otherwise.
#[test]
fn standardising_beside_a_models_units_is_refused() {
    let place = Place::new("");
    let (run, data) = (place.out("run"), place.out("data.csv"));
    let rows = (0..40).map(|i| format!("{},{}\n", 100 + i % 7, 3 * i));
    fs::write(&data, "x,y\n".to_string() + &rows.collect::<String>()).unwrap();
    let short = ["--steps", "2", "--set", "sampling.measured=0", "--device", "cpu"];
    succeeds(&[&["train", "--data", text(&data), "--out", text(&run)][..], &short].concat());
    let (out, next) = (place.out("out.npy"), place.out("next"));
    let (run, data, out, next) = (text(&run), text(&data), text(&out), text(&next));
    for args in [
        &["denoise", "--model", run, "--data", data, "--sigma", "1", "--output", out][..],
        &["likelihood", "--model", run, "--data", data],
        &["train", "--init", run, "--data", data, "--out", next],
    ] {
        let error = fails(2, &[args, &["--standardise", "all"]].concat());
        assert!(
            error.contains("--standardise all (data.standardise): the data are taken in the model's own units"),
            "{error}"
        );
    }
}

/// The sizes that a run tells before it starts are those of what it leaves.
#[test]
fn what_a_run_will_leave_on_disk_is_told_and_snapshots_are_pruned() {
    let place = Place::new(TINY);
    let out = place.out("run");
    let power = ["--set", "average.power=[0.05, 0.1]", "--set", "average.snapshot_every=80"];
    let keep = ["--set", "average.keep_snapshots=2"];
    let told = said(&place.first(&out, &[&power[..], &keep].concat()));
    let line = told.lines().find(|line| line.starts_with("on disk: ")).unwrap_or_else(|| panic!("{told}"));
    let after = |what: &str| -> f64 {
        let words: Vec<&str> = line.split_once(what).unwrap().1.split([' ', ',']).collect();
        let unit = ["B", "kB", "MB"].iter().position(|unit| *unit == words[1]).unwrap();
        words[0].parse::<f64>().unwrap() * 1000f64.powi(unit as i32)
    };
    let bytes = |folder: &Path| -> f64 {
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().metadata().unwrap().len() as f64).sum()
    };
    let checkpoint = bytes(&out.join("checkpoints/step-000000060"));
    let close = |told: f64, there: f64| (told / there - 1.0).abs() < 0.1;
    assert!(close(after("checkpoints of "), checkpoint), "{line}: {checkpoint}");
    assert!(line.contains("the newest 3 kept (train.keep_last)"), "{line}");
    // Two widths each, at 400 and at 480, the end.
    let snapshots = || {
        let mut names: Vec<String> = fs::read_dir(out.join("snapshots"))
            .unwrap()
            .map(|e| e.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    };
    let expected =
        [400, 480].map(|seen| ["0.050", "0.100"].map(|width| format!("{seen:012}-{width}.safetensors"))).concat();
    assert_eq!(snapshots(), expected);
    assert!(close(2.0 * after("snapshots of "), bytes(&out.join("snapshots"))), "{line}");
    assert!(
        line.contains("every 80 images (average.snapshot_every), the newest 2 kept (average.keep_snapshots), "),
        "{line}"
    );
    succeeds(&["ema", "--run", text(&out), "--std", "0.07", "--output", text(&place.out("ema.safetensors"))]);

    let all = said(&place.first(&place.out("all"), &power));
    assert!(all.contains("all 6 kept (average.keep_snapshots keeps fewer)"), "{all}");
    let every = ["--set", "train.keep_every=10", "--set", "average.snapshot_every=80"];
    let every = said(&place.first(&place.out("every"), &every));
    assert!(every.contains("and those of every 10 steps (train.keep_every), up to "), "{every}");
    assert!(every.contains("average.power names no widths"), "{every}");
    let end = said(&place.first(&place.out("end"), &["--set", "train.checkpoint_every=0"]));
    assert!(end.contains("on disk: a checkpoint of ") && end.contains(" at the end"), "{end}");
    let idle = fails(2, &place.first(&place.out("idle"), &keep));
    assert!(
        idle.contains("average.keep_snapshots = 2 keeps the newest snapshots, and average.snapshot_every = 0"),
        "{idle}"
    );
}
