use std::path::Path;

use serde_json::Value;
use veridical::data::npy::{self, Array, Values};
use veridical::tensor::{Shape, file};

use super::{fails, succeeds};

fn json(path: &Path) -> Value {
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

fn normals(n: usize, dims: usize, shift: f32) -> Array {
    let mut state = 9u64;
    let mut uniform = || {
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (state >> 40) as f32 / (1u64 << 24) as f32
    };
    let values = (0..n * dims).map(|_| (0..12).map(|_| uniform()).sum::<f32>() - 6.0 + shift).collect();
    Array { shape: vec![n, dims], values: Values::F32(values) }
}

#[test]
fn given_features_are_compared() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name).display().to_string();
    npy::write(path("a.npy"), &normals(400, 3, 0.0)).unwrap();
    npy::write(path("b.npy"), &normals(300, 3, 2.0)).unwrap();
    npy::write(path("c.npy"), &normals(300, 4, 2.0)).unwrap();
    let (a, b, c, out) = (path("a.npy"), path("b.npy"), path("c.npy"), path("figures.json"));
    let text = succeeds(&["evaluate", "--real-features", &a, "--generated-features", &b, "--json", &out]);
    assert!(text.contains("Fréchet distance") && text.contains("the features given"), "{text}");
    let figures = &json(Path::new(&out))["generated"];
    // A shift of 2 in each of three directions between Gaussians of equal covariance.
    let distance = figures["frechet_distance"].as_f64().unwrap();
    assert!((distance - 12.0).abs() < 0.6, "{distance}");
    assert!(figures["precision"].as_f64().unwrap() < 0.6 && figures["inception_score"].is_null());
    let error = fails(1, &["evaluate", "--real-features", &a, "--generated-features", &c]);
    assert!(error.contains("3 numbers a row"), "{error}");
    let Values::F32(mut values) = normals(300, 3, 2.0).values else { unreachable!() };
    values[217 * 3 + 1] = f32::NAN;
    npy::write(path("d.npy"), &Array { shape: vec![300, 3], values: Values::F32(values) }).unwrap();
    let error = fails(1, &["evaluate", "--real-features", &a, "--generated-features", &path("d.npy")]);
    assert!(error.contains("d.npy") && error.contains("row 217") && error.contains("column 1"), "{error}");
    fails(2, &["evaluate", "--real-features", &a]);
    fails(2, &["evaluate"]);
}

/// Features of a mean beside which f32 cannot hold their spread: rounded to it, all rows are one.
#[test]
fn given_features_keep_their_digits() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name).display().to_string();
    // Rows +-1 and rows +-1 + 0.5 in either column, a hundredth of it, a million from zero.
    let rows = |shift: f64| {
        let at = |i: usize| if (i / 2).is_multiple_of(2) == i.is_multiple_of(2) { 1.0 } else { -1.0 };
        let values = (0..80).map(|i| 1e6 + 0.01 * (at(i) + shift)).collect();
        Array { shape: vec![40, 2], values: Values::F64(values) }
    };
    npy::write(path("a.npy"), &rows(0.0)).unwrap();
    npy::write(path("b.npy"), &rows(0.5)).unwrap();
    let (a, b, out) = (path("a.npy"), path("b.npy"), path("figures.json"));
    succeeds(&["evaluate", "--real-features", &a, "--generated-features", &b, "--json", &out]);
    let figures = &json(Path::new(&out))["generated"];
    let close = |name: &str, expected: f64| {
        let got = figures[name].as_f64().unwrap();
        assert!((got - expected).abs() <= 1e-6 * expected, "{name}: {got}, expected {expected}");
    };
    // A shift of 0.005 in two directions.
    close("frechet_distance", 5e-5);
    // No generated row is as near to a real one as these are to each other: there are two places of each, 20 rows at
    // one.
    assert_eq!(figures["precision"], 0.0, "{figures}");
}

#[test]
fn unequal_sets_and_signs_of_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name).display().to_string();
    // Columns of one number: x.y / dims + 1 = 2 for every pair of rows, so KID is 0 whatever the sizes are.
    let ones = |n: usize| Array { shape: vec![n, 4], values: Values::F64(vec![1.0; n * 4]) };
    npy::write(path("a.npy"), &ones(60)).unwrap();
    npy::write(path("b.npy"), &ones(12)).unwrap();
    let text = succeeds(&["evaluate", "--real-features", &path("a.npy"), "--generated-features", &path("b.npy")]);
    assert!(text.contains("0.00000") && !text.contains("-0.00000"), "{text}");
    // Real rows 0 or 1, half each, generated rows 1: E k(r, r') + 1 - 2 E k(r, 1) with k = (x y + 1)^3 over all 60 and
    // 12 rows.
    let column =
        |n: usize, f: fn(usize) -> f64| Array { shape: vec![n, 1], values: Values::F64((0..n).map(f).collect()) };
    npy::write(path("c.npy"), &column(60, |i| f64::from(u8::from(i < 30)))).unwrap();
    npy::write(path("d.npy"), &column(12, |_| 1.0)).unwrap();
    let out = path("figures.json");
    succeeds(&["evaluate", "--real-features", &path("c.npy"), "--generated-features", &path("d.npy"), "--json", &out]);
    // Of the 60 * 59 pairs of real rows 30 * 29 have k = 8, the others 1; with a generated row half have 8, half 1.
    let same = (870.0 * 8.0 + 2670.0) / 3540.0;
    let kid = json(Path::new(&out))["generated"]["kid"].as_f64().unwrap();
    assert!((kid - (same + 8.0 - 9.0)).abs() < 1e-12, "{kid}");
}

#[test]
fn a_classifier_makes_features() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name).display().to_string();
    let (judge, out) = (path("judge.safetensors"), path("figures.json"));
    let said = succeeds(&[
        "classifier",
        "--data",
        "digits",
        "--output",
        &judge,
        "--epochs",
        "4",
        "--channels",
        "16,32",
        "--device",
        "cpu",
    ]);
    let accuracy: f64 = said.split_whitespace().nth(1).unwrap().parse().unwrap();
    assert!(accuracy > 0.85, "{said}");
    // Real digits in place of generated ones: as near as the floor.
    let args =
        ["evaluate", "--real", "digits", "--generated", "digits", "--features", &judge, "--floor", "--json", &out];
    let text = succeeds(&args);
    assert!(text.contains("a classifier's features") && text.contains("real"), "{text}");
    let figures = json(Path::new(&out));
    let distance = |which: &str| figures[which]["frechet_distance"].as_f64().unwrap();
    assert!((distance("generated") - distance("floor")).abs() < 1e-9, "the same rows in another order");
    let digits_score = figures["generated"]["inception_score"].as_f64().unwrap();
    assert!((1.5..=10.0).contains(&digits_score), "{digits_score}");

    // Noise in the form that `veridical sample` writes is far from digits, on pixels and on features.
    let noise = path("noise.safetensors");
    let Values::F32(values) = normals(200, 64, 0.0).values else { unreachable!() };
    file::write(&noise, [("samples", Shape::from([200, 1, 8, 8]), values)], &Default::default()).unwrap();
    for features in ["pixels", judge.as_str()] {
        succeeds(&[
            "evaluate",
            "--real",
            "digits",
            "--generated",
            &noise,
            "--features",
            features,
            "--floor",
            "--json",
            &out,
        ]);
        let figures = json(Path::new(&out));
        let of = |which: &str, figure: &str| figures[which][figure].as_f64().unwrap();
        assert!(of("generated", "frechet_distance") > 3.0 * of("floor", "frechet_distance"), "{figures}");
        if features != "pixels" {
            assert!(of("generated", "inception_score") < digits_score, "{figures}");
        }
        assert!(of("generated", "coverage") < of("floor", "coverage"), "{figures}");
    }
}

#[test]
fn points_that_sample_wrote_are_compared_with_points() {
    let dir = tempfile::tempdir().unwrap();
    let points = dir.path().join("points.safetensors").display().to_string();
    let Values::F32(values) = normals(300, 2, 0.0).values else { unreachable!() };
    file::write(&points, [("samples", Shape::from([300, 2]), values)], &Default::default()).unwrap();
    let text = succeeds(&["evaluate", "--real", "synthetic:two-moons", "--generated", &points, "--neighbours", "200"]);
    assert!(text.contains("300 generated"), "{text}");
}

#[test]
fn what_does_not_fit_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name).display().to_string();
    let other = path("other.safetensors");
    file::write(&other, [("samples", Shape::from([20, 3, 4, 4]), vec![0f32; 960])], &Default::default()).unwrap();
    let error = fails(2, &["evaluate", "--real", "digits", "--generated", &other]);
    assert!(error.contains("[4, 4, 3]") && error.contains("[8, 8, 1]"), "{error}");
    let empty = path("empty.safetensors");
    file::write(&empty, [("x", Shape::from([1]), vec![0f32])], &Default::default()).unwrap();
    assert!(fails(1, &["evaluate", "--real", "digits", "--generated", &empty]).contains("no tensor \"samples\""));
    assert!(
        fails(1, &["evaluate", "--real", "digits", "--generated", "digits", "--features", &other])
            .contains("not the file of a classifier")
    );
    assert!(fails(2, &["evaluate", "--real", "nowhere", "--generated", "digits"]).contains("nowhere"));
    let error = fails(2, &["classifier", "--data", "synthetic:two-moons", "--output", &path("c")]);
    assert!(error.contains("two classes"), "{error}");
}
