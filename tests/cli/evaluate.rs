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

/// Statistics from elsewhere, against themselves and against rows.
#[test]
fn means_and_covariances_are_compared() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name).display().to_string();
    let write = |name: &str, mu: &[f64], sigma: Vec<f64>, shape: [usize; 2]| {
        let mu = Array { shape: vec![mu.len()], values: Values::F64(mu.to_vec()) };
        let sigma = Array { shape: shape.to_vec(), values: Values::F64(sigma) };
        npy::write_npz(path(name), &[("mu".into(), mu), ("sigma".into(), sigma)].into()).unwrap();
        path(name)
    };
    let diagonal = |values: [f64; 3]| (0..9).map(|i| if i % 4 == 0 { values[i / 4] } else { 0.0 }).collect::<Vec<_>>();
    let a = write("a.npz", &[0.0; 3], diagonal([1.0, 4.0, 9.0]), [3, 3]);
    let b = write("b.npz", &[1.0, 0.0, 2.0], diagonal([4.0, 1.0, 9.0]), [3, 3]);
    let (rows, few, out) = (path("rows.npy"), path("few.npy"), path("figures.json"));
    let evaluate = |real: &str, generated: &str| {
        ["evaluate", "--real-features", real, "--generated-features", generated].map(String::from).to_vec()
    };
    let run = |mut args: Vec<String>, more: &[&str]| {
        args.extend(["--json", &out].iter().chain(more).map(|arg| arg.to_string()));
        let text = succeeds(&args.iter().map(String::as_str).collect::<Vec<_>>());
        (text, json(Path::new(&out)))
    };
    let refused = |real: &str, generated: &str| {
        let args = evaluate(real, generated);
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        let output = super::command(&args).output().unwrap();
        assert!(!output.status.success(), "{args:?}");
        String::from_utf8(output.stderr).unwrap()
    };
    // 1 + 4 of the means, (1 - 2)^2 twice of the deviations.
    let (text, figures) = run(evaluate(&a, &b), &[]);
    assert!(text.contains("7.00000") && text.contains("statistics of real ones"), "{text}");
    assert!((figures["generated"]["frechet_distance"].as_f64().unwrap() - 7.0).abs() < 1e-12, "{figures}");
    assert!(figures["notes"][0].as_str().unwrap().contains("KID") && figures["generated"]["real"].is_null());

    // Rows: normals of deviation 1 around 2, against (0, 0, 0) and deviations 1, 2, 3.
    npy::write(&rows, &normals(4000, 3, 2.0)).unwrap();
    let (text, figures) = run(evaluate(&a, &rows), &[]);
    let distance = figures["generated"]["frechet_distance"].as_f64().unwrap();
    assert!((distance - (12.0 + 1.0 + 4.0)).abs() < 0.6 && text.contains("4000 generated rows"), "{text}");
    // Three rows in three dimensions.
    npy::write(&few, &normals(3, 3, 2.0)).unwrap();
    let error = refused(&a, &few);
    assert!(error.contains("3 generated rows in 3 dimensions") && error.contains("--rank-deficient"), "{error}");
    let (_, figures) = run(evaluate(&a, &few), &["--rank-deficient"]);
    assert!(figures["generated"]["frechet_distance"].as_f64().unwrap() > 0.0);
    assert!(figures["generated"]["rank_deficient"].as_str().unwrap().contains("3 dimensions"), "{figures}");
    // Of a covariance from elsewhere a lack of rank is said.
    let flat = write("flat.npz", &[0.0; 3], diagonal([1.0, 0.0, 9.0]), [3, 3]);
    let (_, figures) = run(evaluate(&flat, &b), &[]);
    assert!(figures["generated"]["rank_deficient"].as_str().unwrap().contains("the real sigma has rank 2 of 3"));

    for (name, mu, sigma, shape, says) in [
        ("square", vec![0.0; 3], vec![0.0; 6], [2, 3], "2 rows of 3 numbers"),
        ("mean", vec![0.0; 2], diagonal([1.0; 3]), [3, 3], "mu of 2 numbers"),
        ("skew", vec![0.0; 2], vec![1.0, 0.5, 0.0, 1.0], [2, 2], "not symmetric"),
        ("nan", vec![0.0; 2], vec![1.0, 0.0, 0.0, f64::NAN], [2, 2], "row 1, column 1"),
        ("negative", vec![0.0; 2], vec![1.0, 0.0, 0.0, -1.0], [2, 2], "not positive semidefinite"),
        ("other", vec![0.0; 2], vec![1.0, 0.0, 0.0, 1.0], [2, 2], "2 numbers a row"),
    ] {
        let bad = write(&format!("{name}.npz"), &mu, sigma, shape);
        let error = refused(&a, &bad);
        assert!(error.contains(says), "{name}: {error}");
    }
    let one = Array { shape: vec![3], values: Values::F64(vec![0.0; 3]) };
    npy::write_npz(path("named.npz"), &[("mu".into(), one.clone()), ("images".into(), one)].into()).unwrap();
    let error = refused(&a, &path("named.npz"));
    assert!(error.contains("no array \"sigma\"") && error.contains("images, mu"), "{error}");
    std::fs::write(path("edm.pkl"), "x").unwrap();
    assert!(refused(&path("edm.pkl"), &a).contains("scripts/edm_statistics.py"));
}

#[test]
fn too_few_rows_for_a_covariance_are_said() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name).display().to_string();
    npy::write(path("a.npy"), &normals(40, 30, 0.0)).unwrap();
    npy::write(path("b.npy"), &normals(20, 30, 0.5)).unwrap();
    let (a, b, out) = (path("a.npy"), path("b.npy"), path("figures.json"));
    let args = ["evaluate", "--real-features", &a, "--generated-features", &b, "--json", &out];
    let text = succeeds(&args);
    assert!(text.contains("Fréchet distance"), "{text}");
    let figures = json(Path::new(&out));
    assert!(figures["generated"]["frechet_distance"].as_f64().unwrap() > 0.0);
    let why = figures["generated"]["rank_deficient"].as_str().unwrap();
    assert!(why.contains("20 generated rows in 30 dimensions") && why.contains("more samples"), "{why}");
    assert!(figures["notes"].to_string().contains("of little meaning"), "{figures}");
}

#[test]
fn kid_is_of_subsets_and_coverage_beside_that_of_real_rows() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name).display().to_string();
    npy::write(path("a.npy"), &normals(400, 2, 0.0)).unwrap();
    npy::write(path("b.npy"), &normals(100, 2, 4.0)).unwrap();
    let (a, b, out) = (path("a.npy"), path("b.npy"), path("figures.json"));
    let evaluate = |more: &[&str]| {
        let args = [&["evaluate", "--real-features", &a, "--generated-features", &b, "--json", &out], more].concat();
        let text = succeeds(&args);
        (text, json(Path::new(&out)))
    };
    let (text, figures) = evaluate(&[]);
    assert!(text.contains("generated        real"), "{text}");
    let of = &figures["generated"];
    assert_eq!(of["kid_subsets"], serde_json::json!([100, 50]), "half of the smaller sample");
    assert!(of["kid_error"].as_f64().unwrap() > of["kid_std"].as_f64().unwrap() / 10.0, "{of}");
    assert!(figures["notes"].to_string().contains("half of the 100"), "{figures}");
    // 400 and 100 rows: all 400 real ones are split in that proportion.
    assert_eq!(of["ceiling"]["rows"], serde_json::json!([320, 80]), "{of}");
    // 1 - 399 398 397 396 395 / (499 498 497 496 495).
    let expected = 1.0 - (395..400).map(f64::from).product::<f64>() / (495..500).map(f64::from).product::<f64>();
    assert!((of["ceiling"]["expected_coverage"].as_f64().unwrap() - expected).abs() < 1e-12);
    assert!((of["ceiling"]["coverage"].as_f64().unwrap() - expected).abs() < 0.15, "{of}");
    assert!(of["coverage"].as_f64().unwrap() < 0.1);
    let (_, figures) = evaluate(&["--kid-subsets", "7", "--kid-subset-size", "900"]);
    assert_eq!(figures["generated"]["kid_subsets"], serde_json::json!([7, 100]));
    assert!(figures["notes"].to_string().contains("not 900"), "{figures}");
    fails(2, &["evaluate", "--real-features", &a, "--generated-features", &b, "--kid-subsets", "0"]);
    fails(2, &["evaluate", "--real-features", &a, "--generated-features", &b, "--kid-subset-size", "1"]);
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
    // Real rows 0 or 1, half each, generated rows 1: E k(r, r') + 8 - 2 E k(r, 1) with k = (x y + 1)^3, which the mean
    // over subsets tends to.
    let column =
        |n: usize, f: fn(usize) -> f64| Array { shape: vec![n, 1], values: Values::F64((0..n).map(f).collect()) };
    npy::write(path("c.npy"), &column(60, |i| f64::from(u8::from(i < 30)))).unwrap();
    npy::write(path("d.npy"), &column(12, |_| 1.0)).unwrap();
    let out = path("figures.json");
    let (c, d) = (path("c.npy"), path("d.npy"));
    let subsets = ["--kid-subsets", "4000", "--kid-subset-size", "12", "--json", &out];
    succeeds(&[&["evaluate", "--real-features", &c, "--generated-features", &d][..], &subsets].concat());
    // Of the 60 * 59 pairs of real rows 30 * 29 have k = 8, the others 1; with a generated row half have 8, half 1.
    let same = (870.0 * 8.0 + 2670.0) / 3540.0;
    let figures = &json(Path::new(&out))["generated"];
    let [kid, deviation] = ["kid", "kid_std"].map(|name| figures[name].as_f64().unwrap());
    assert!((kid - (same + 8.0 - 9.0)).abs() < 4.0 * deviation / 4000f64.sqrt(), "{kid}");
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

/// A shift of everything is a distance in the numbers of the files, whatever a model would see of them.
#[test]
fn distances_are_in_the_units_of_the_data() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name).display().to_string();
    let out = path("figures.json");
    // 60 rows of as many numbers as a shape has, of deviation 9 and more, shifted by 30.
    let write = |name: &str, shape: &[usize], shift: i64, whole: bool| {
        let count = 60 * shape.iter().product::<usize>();
        let values: Vec<i64> = (0..count as i64).map(|i| 5000 + (i * i * 7919 + i * 31) % 199 + shift).collect();
        let values = match whole {
            true => Values::I64(values),
            false => Values::F64(values.into_iter().map(|x| x as f64).collect()),
        };
        npy::write(path(name), &Array { shape: [&[60], shape].concat(), values }).unwrap();
        path(name)
    };
    for (name, shape, more, noun) in [
        ("points", &[1][..], &[][..], "points"),
        ("pictures", &[3, 3], &[], "images"),
        ("whole", &[3, 3], &["--standardise", "none"], "images"),
        ("signals", &[20], &["--layout", "nl"], "signals"),
    ] {
        let whole = name == "whole";
        let real = write("real.npy", shape, 0, whole);
        let generated = write("generated.npy", shape, 30, whole);
        let args = [&["evaluate", "--real", &real, "--generated", &generated, "--json", &out][..], more].concat();
        let text = succeeds(&args);
        assert!(text.contains(&format!("60 generated and 60 real {noun}")), "{text}");
        let figures = &json(Path::new(&out))["generated"];
        let dims: usize = shape.iter().product();
        let distance = figures["frechet_distance"].as_f64().unwrap();
        assert!((distance / (900.0 * dims as f64) - 1.0).abs() < 1e-3, "{name}: {distance}");
        assert_eq!(figures["units"], "in the units of the data", "{name}");
        assert_eq!(figures["energy_distance"].is_number(), dims == 1, "{name}");
        if dims == 1 {
            assert!((figures["sliced_wasserstein"].as_f64().unwrap() - 30.0).abs() < 1e-3, "{figures}");
        }
    }
    // Columns of units of their own: standard deviations of each.
    let table =
        |shift: f64| (0..50).map(|i| format!("{},{}\n", (i * 7 % 50) as f64 + shift, i * 1000)).collect::<String>();
    std::fs::write(path("a.csv"), table(0.0)).unwrap();
    std::fs::write(path("b.csv"), table(10.0)).unwrap();
    succeeds(&["evaluate", "--real", &path("a.csv"), "--generated", &path("b.csv"), "--json", &out]);
    let figures = &json(Path::new(&out))["generated"];
    // 0 to 49 have a variance of (50^2 - 1) / 12.
    let expected = 100.0 / ((2500.0 - 1.0) / 12.0);
    assert!((figures["frechet_distance"].as_f64().unwrap() / expected - 1.0).abs() < 1e-2, "{figures}");
    assert!(figures["units"].as_str().unwrap().contains("standard deviations of each column"), "{figures}");
}

#[test]
fn what_is_generated_is_read_as_what_is_real() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name).display().to_string();
    for (folder, grey) in [("real", 90), ("generated", 110)] {
        std::fs::create_dir(path(folder)).unwrap();
        for i in 0..8u32 {
            let picture = image::GrayImage::from_fn(12 + i, 10, |x, y| image::Luma([grey + (x * y + i) as u8 % 40]));
            picture.save(path(&format!("{folder}/{i}.png"))).unwrap();
        }
    }
    let args = ["evaluate", "--real", &path("real"), "--generated", &path("generated"), "--size", "6x6"];
    assert!(succeeds(&args).contains("36 numbers each"));
    // Whole numbers that would be standardised by themselves are not comparable with others.
    let whole = |n: i64| Array { shape: vec![20, 3, 3], values: Values::I64((0..180).map(|i| n * (i % 97)).collect()) };
    let plain =
        Array { shape: vec![20, 3, 3], values: Values::F32((0..180).map(|i| (i % 7) as f32 / 7.0 - 0.5).collect()) };
    npy::write(path("plain.npy"), &plain).unwrap();
    npy::write(path("whole.npy"), &whole(50)).unwrap();
    let error = fails(2, &["evaluate", "--real", &path("plain.npy"), "--generated", &path("whole.npy")]);
    assert!(error.contains("in the same units"), "{error}");
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
