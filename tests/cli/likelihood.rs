use serde_json::Value;
use veridical::data;
use veridical::data::npy::{self, Array, Values};
use veridical::nn::{MlpConfig, NetworkConfig};
use veridical::tensor::TensorFile;

use super::sample::{Place, write};
use super::{fails, succeeds};

/// Standard output, and the JSON.
fn measured(place: &Place, more: &[&str]) -> (String, Value) {
    let json = place.file("likelihood.json");
    let args = [&["likelihood", "--device", "cpu", "--model", &place.model, "--json", &json], more].concat();
    let shown = succeeds(&args);
    (shown, serde_json::from_str(&std::fs::read_to_string(json).unwrap()).unwrap())
}

#[test]
fn bits_are_measured_with_their_error() {
    let place = Place::points(3);
    let data = place.file("data.safetensors");
    let values: Vec<f32> = (0..12).map(|i| (i as f32 * 0.7).sin() * 0.6).collect();
    let labels: Vec<f32> = (0..6).flat_map(|i| (0..3).map(move |k| f32::from(u8::from(i % 3 == k)))).collect();
    write(&data, &[("x", &[6, 2], &values), ("class_labels", &[6, 3], &labels)]);
    let (shown, exact) = measured(&place, &["--input", &data, "--trace", "exact"]);
    let bits = exact["bits_per_dim"].as_f64().unwrap();
    assert!(shown.contains(&format!("{bits:.4}")) && shown.contains('±'), "{shown}");
    assert_eq!(
        (exact["samples"].as_u64(), exact["dims"].as_u64(), exact["levels"].as_u64()),
        (Some(6), Some(2), Some(0))
    );
    assert!(exact["standard_error"].as_f64().unwrap() > 0.0);
    let nats = exact["nats"].as_f64().unwrap();
    approx::assert_relative_eq!(bits, -nats / 2.0 / 2f64.ln(), max_relative = 1e-9);
    // A fresh network's F is nearly zero: D = c_skip x, the denoiser of N(0, 0.5^2).
    let v = 0.25;
    let expected: f64 = values
        .chunks(2)
        .map(|x| -(2.0 * std::f64::consts::PI * v).ln() - f64::from(x[0] * x[0] + x[1] * x[1]) / (2.0 * v))
        .sum::<f64>()
        / 6.0;
    approx::assert_abs_diff_eq!(nats, expected, epsilon = 0.3);

    let near = |other: &Value, epsilon: f64| {
        approx::assert_abs_diff_eq!(other["bits_per_dim"].as_f64().unwrap(), bits, epsilon = epsilon);
    };
    near(&measured(&place, &["--input", &data, "--trace", "exact", "--steps", "60"]).1, 1e-3);
    near(&measured(&place, &["--input", &data, "--trace", "exact", "--batch", "2"]).1, 1e-3);
    near(&measured(&place, &["--input", &data, "--probes", "50"]).1, 0.1);
    let out = place.file("each.safetensors");
    let (_, first) = measured(&place, &["--input", &data, "--first", "1", "--output", &out]);
    assert!(first["standard_error"].is_null() && std::path::Path::new(&out).exists());
}

#[test]
fn images_of_whole_levels_have_eight_bits_more_or_less() {
    let place = Place::pictures();
    let data = place.file("data.safetensors");
    let values: Vec<f32> = (0..192).map(|i| (i * 7 % 256) as f32 / 127.5 - 1.0).collect();
    write(&data, &[("x", &[1, 3, 8, 8], &values), ("class_labels", &[1, 3], &[0.0, 1.0, 0.0])]);
    let flags = ["--input", data.as_str(), "--steps", "12", "--sigma-min", "0.01"];
    let (_, plain) = measured(&place, &[&flags[..], &["--no-dequantize"]].concat());
    let (_, spread) = measured(&place, &flags);
    assert_eq!(plain["levels"].as_u64(), Some(256));
    assert_eq!(plain["dequantized"].as_bool(), Some(false));
    assert_eq!(spread["dequantized"].as_bool(), Some(true));
    let density = measured(&place, &[&flags[..], &["--levels", "0"]].concat()).1;
    let bits = |value: &Value| value["bits_per_dim"].as_f64().unwrap();
    approx::assert_relative_eq!(bits(&plain) - bits(&density), 7.0, max_relative = 1e-9);
    assert_ne!(bits(&spread), bits(&plain));
    assert!((2.0..40.0).contains(&bits(&spread)), "{spread}");
}

/// A perceptron of points whose labels matter.
fn labelled_points(label_dim: usize) -> Place {
    Place::new(NetworkConfig::from(MlpConfig { label_dim, ..MlpConfig::new(2) }), 2, 0.05)
}

#[test]
fn a_data_set_is_measured_as_its_tensors_are() {
    let place = labelled_points(3);
    let bits = |more: &[&str]| measured(&place, more).1["bits_per_dim"].as_f64().unwrap();
    let values: Vec<f32> = (0..8).map(|i| (i as f32 * 0.7).sin() * 0.6).collect();
    let (x, y) = (Array { shape: vec![4, 2], values: Values::F32(values.clone()) }, vec![2, 0, 1, 2]);
    let labels: Vec<f32> = y.iter().flat_map(|&class| (0..3).map(move |k| f32::from(u8::from(k == class)))).collect();
    let (set, file) = (place.file("set.npz"), place.file("set.safetensors"));
    let y = Array { shape: vec![4], values: Values::I64(y) };
    npy::write_npz(&set, &[("x".to_string(), x.clone()), ("y".to_string(), y)].into()).unwrap();
    write(&file, &[("x", &[4, 2], &values), ("class_labels", &[4, 3], &labels)]);
    for more in [&["--batch", "3"][..], &["--first", "2", "--trace", "exact"]] {
        let (by_set, by_file) =
            (bits(&[&["--data", &set], more].concat()), bits(&[&["--input", &file], more].concat()));
        assert_eq!(by_set, by_file);
    }
    // Without classes it is another figure.
    let plain = place.file("plain.npy");
    npy::write(&plain, &x).unwrap();
    write(&file, &[("x", &[4, 2], &values)]);
    let without = bits(&["--data", &plain]);
    assert_eq!(without, bits(&["--input", &file]));
    assert_ne!(without, bits(&["--data", &set]));

    // The part to test on, where there is one.
    let free = labelled_points(0);
    let test = data::open("synthetic:two-moons").unwrap().test.unwrap();
    let (values, _) = test.gather(&[0, 1, 2]).unwrap();
    let file = free.file("moons.safetensors");
    write(&file, &[("x", &[3, 2], &values)]);
    let first = ["--first", "3"];
    let moons = measured(&free, &[&["--data", "synthetic:two-moons"], &first[..]].concat()).1;
    assert_eq!(moons["bits_per_dim"], measured(&free, &["--input", &file]).1["bits_per_dim"]);

    let refuses = |spec: &str, says: &str| {
        let error = fails(2, &["likelihood", "--device", "cpu", "--model", &place.model, "--data", spec]);
        assert!(error.contains(says), "{error}");
    };
    refuses("digits", "[8, 8, 1]");
    refuses("nowhere", "no such file or folder");
    refuses(&file, "--input");
    let many = Array { shape: vec![4], values: Values::I64(vec![0, 1, 2, 3]) };
    npy::write_npz(&set, &[("x".to_string(), x), ("y".to_string(), many)].into()).unwrap();
    refuses(&set, "4 classes, the model has 3");
    let both = ["likelihood", "--model", &place.model, "--data", "digits", "--input", &file];
    assert!(fails(2, &both).contains("--input") && fails(2, &both[..3]).contains("--data"));
}

#[test]
fn our_own_samples_are_measured() {
    let place = labelled_points(0);
    let samples = place.file("samples.safetensors");
    succeeds(&["sample", "--device", "cpu", "--model", &place.model, "--seeds", "0-3", "--output", &samples]);
    let (_, found) = measured(&place, &["--input", &samples]);
    assert_eq!(found["samples"].as_u64(), Some(4));
    let values = TensorFile::open(&samples).unwrap().floats("samples").unwrap().unwrap();
    let renamed = place.file("x.safetensors");
    write(&renamed, &[("x", &[4, 2], &values)]);
    assert_eq!(found, measured(&place, &["--input", &renamed]).1);
}

#[test]
fn what_cannot_be_measured_is_an_error() {
    let place = Place::points(0);
    let data = place.file("data.safetensors");
    write(&data, &[("x", &[1, 3], &[0.0; 3])]);
    let refuses = |code: i32, more: &[&str]| {
        fails(code, &[&["likelihood", "--device", "cpu", "--model", &place.model, "--input", &data], more].concat())
    };
    assert!(refuses(1, &[]).contains("[1, 3]"));
    write(&data, &[("x", &[1, 2], &[0.0; 2])]);
    assert!(refuses(2, &["--sigma-min", "0"]).contains("--sigma-min"));
    assert!(refuses(2, &["--sigma-min", "nan"]).contains("above 0"));
    assert!(refuses(2, &["--tolerance", "0"]).contains("--tolerance"));
    assert!(refuses(2, &["--levels", "1"]).contains("--levels"));
    assert!(refuses(2, &["--trace", "guess"]).contains("hutchinson"));
    write(&data, &[("y", &[1, 2], &[0.0; 2])]);
    assert!(refuses(1, &[]).contains("no tensor x"));
}
