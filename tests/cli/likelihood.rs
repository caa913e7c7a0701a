use serde_json::Value;

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
    near(&measured(&place, &["--data", &data, "--probes", "50"]).1, 0.1);
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
