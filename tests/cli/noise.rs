//! Noise of known, estimated and unequal levels, through every command that takes some.

use std::fs;
use std::path::Path;

use super::people::{Place, SMALL, array, disc, noise};
use super::{command, fails, succeeds};

#[test]
fn noise_is_as_it_is_said_or_found() {
    let place = Place::new();
    let (clean, noisy) = (place.at("clean.npy"), place.at("noisy.npy"));
    let of = |i: usize| disc((i / 144) as u32, (i / 12 % 12) as u32, (i % 12) as u32, [12, 12]);
    let random = noise(40 * 144);
    array(&clean, &[40, 12, 12], |i| 1000.0 + 500.0 * of(i));
    array(&noisy, &[40, 12, 12], |i| 1000.0 + 500.0 * of(i) + 80.0 * f64::from(random[i]));
    let json = place.at("noise.json");
    for beside in [&["--clean", clean.as_str()][..], &[]] {
        succeeds(&[&["noise", "--data", &noisy, "--json", &json][..], beside].concat());
        let found: serde_json::Value = serde_json::from_slice(&fs::read(&json).unwrap()).unwrap();
        let (sigma, error) = (found["sigma"].as_f64().unwrap(), found["stderr"].as_f64().unwrap());
        assert!((sigma - 80.0).abs() < 8.0 && error > 0.0 && error < 8.0, "{found}");
    }
    let short = [
        "--device",
        "cpu",
        "--set",
        "train.images=64",
        "--set",
        "sampling.measured=0",
        "--set",
        "judge.images=0",
        "--set",
        "sfbd.rounds=1",
        "--set",
        "sfbd.round_images=64",
        "--set",
        "sfbd.steps=4",
        "--set",
        "sampling.rows=1",
    ];
    let (each, map, bad) = (place.at("each.txt"), place.at("map.npy"), place.at("bad.txt"));
    fs::write(&each, (0..40).map(|i| format!("{}\n", 60 + i)).collect::<String>()).unwrap();
    fs::write(&bad, "80\n-1\n").unwrap();
    array(&map, &[12, 12], |i| 70.0 + (i % 12) as f64);
    for (name, sigma, said) in [
        ("auto", "auto", "noise estimated from noisy and clean images: sigma"),
        ("each", each.as_str(), "60 to 99 (one for each of 40 images)"),
        ("map", map.as_str(), "noise was put on the pixels that had less"),
        ("number", "80", "images of noise 80"),
    ] {
        let out = place.at(name);
        let data = ["--data", clean.as_str(), "--noisy", noisy.as_str(), "--sigma", sigma, "--out", out.as_str()];
        let folder = place.at(&format!("{name}-folder"));
        let output = command(&[&["sfbd", "--denoised", &folder][..], &data, &short, &SMALL].concat()).output().unwrap();
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success() && text.contains(said), "{name}: {text}");
        assert!(text.contains("40 denoised images in ") && Path::new(&folder).join("000039.npy").exists(), "{text}");
        let out = place.at(&format!("ambient-{name}"));
        let denoised = place.at(&format!("{name}-denoised.npy"));
        let data = ["--data", clean.as_str(), "--noisy", noisy.as_str(), "--sigma", sigma, "--out", out.as_str()];
        let short = ["--device", "cpu", "--images", "64", "--set", "sampling.measured=0", "--set", "judge.images=0"];
        succeeds(&[&["ambient", "--denoised", &denoised][..], &data, &short, &SMALL].concat());
        // What the run leaves of its noisy images is what the model makes of them afterwards.
        let again = place.at(&format!("{name}-again.npy"));
        let of_run = ["denoise", "--model", &out, "--data", &noisy, "--sigma", sigma, "--clean", &clean];
        succeeds(&[&of_run[..], &["--device", "cpu", "--output", &again]].concat());
        assert!(fs::read(&denoised).unwrap() == fs::read(&again).unwrap(), "{name}");
    }
    let out = place.at("not-begun");
    let data = ["--data", clean.as_str(), "--noisy", noisy.as_str(), "--sigma", "80", "--out", out.as_str()];
    let error = fails(2, &[&["sfbd", "--denoised", "x.jpg"][..], &data].concat());
    assert!(error.contains("--denoised x.jpg: what is written is") && !Path::new(&out).exists(), "{error}");
    let out = place.at("refused");
    let refused = |sigma: &[&str], what: &str| {
        let data = ["sfbd", "--data", &clean, "--noisy", &noisy, "--out", &out];
        let output = command(&[&data[..], sigma].concat()).output().unwrap();
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && text.contains(what), "{what:?} is not in {text}");
        assert!(!Path::new(&out).exists(), "a refusal leaves no trace");
    };
    refused(&[], "--sigma auto to have it estimated");
    refused(&["--sigma", &bad], "2 levels for 40 noisy images");
    refused(&["--sigma", "-3"], "noisy.sigma = -3.0, expected above 0");
    refused(&["--sigma", "nowhere.npy"], "nowhere.npy");
    fs::write(&bad, "1\n".repeat(39) + "-1\n").unwrap();
    refused(&["--sigma", &bad], "level 39 (counted from 0) is -1");
    // As many numbers as an image has pixels, but not its rows and columns.
    for shape in [&[6, 24][..], &[144], &[144, 1]] {
        let flat = place.at("flat.npy");
        array(&flat, shape, |_| 80.0);
        refused(&["--sigma", &flat], "for 40 noisy images of 12 x 12 x 1");
    }
    // What is read stays what it is.
    let before = fs::read(&noisy).unwrap();
    refused(&["--sigma", "80", "--denoised", &noisy], "noisy.npy is what --noisy is read from");
    let model = place.at("number");
    let of_run = ["denoise", "--model", &model, "--data", &noisy, "--device", "cpu"];
    for (sigma, output, says) in [
        ("80", noisy.as_str(), "is what --data is read from"),
        (map.as_str(), map.as_str(), "is what --sigma is read from"),
    ] {
        let error = fails(2, &[&of_run[..], &["--sigma", sigma, "--output", output]].concat());
        assert!(error.contains(says), "{error}");
    }
    assert!(fs::read(&noisy).unwrap() == before);
    let file = place.at("number/model.safetensors");
    let error = fails(2, &["sample", "--model", &model, "--seeds", "0-1", "--output", &file]);
    assert!(error.contains("is what --model is read from"), "{error}");
    let folder = place.folder("pieces");
    fs::copy(&clean, folder.join("all.npy")).unwrap();
    let (data, inside) = (folder.to_str().unwrap(), folder.join("run"));
    let error = fails(2, &["train", "--data", data, "--steps", "1", "--out", inside.to_str().unwrap()]);
    assert!(error.contains("it lies in the folder of the data") && !inside.exists(), "{error}");
    // Whole numbers are counts, whatever type they have.
    let counts = place.at("counts.npy");
    array(&counts, &[40, 12, 12], |i| {
        (300.0 + 200.0 * of(i) + (200.0 + 200.0 * of(i)).sqrt() * f64::from(random[i])).round()
    });
    succeeds(&["noise", "--data", &counts, "--json", &json]);
    let found: serde_json::Value = serde_json::from_slice(&fs::read(&json).unwrap()).unwrap();
    assert!((found["gain"].as_f64().unwrap() - 1.0).abs() < 0.4, "{found}");
    assert!(fails(2, &["noise", "--data", &counts, "--offset", "1e9"]).contains("stands for no light"));
    let points = place.at("points.npy");
    array(&points, &[20, 2], |i| f64::from(random[i]));
    assert!(fails(2, &["noise", "--data", &points]).contains("no neighbours"));
}
