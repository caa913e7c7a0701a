//! Tables whose columns have names: a model keeps them, and whatever lies beside is taken in their order or refused.

use std::fs;

use serde_json::Value;
use veridical::data::{Images, ReadOptions, open_with};
use veridical::methods::noisy::{NoisySection, Sigma};
use veridical::train::RunConfig;

use super::people::{Place, SHORT, noise};
use super::{command, fails, succeeds};

/// Rows of three numbers of very different scale and a class.
fn rows() -> Vec<[String; 4]> {
    let numbers = noise(3 * 40);
    let row = |(i, x): (usize, &[f32])| {
        [
            (30.0 + 10.0 * x[0]).to_string(),
            (1000.0 * x[1]).to_string(),
            (x[2] / 10.0).to_string(),
            ["u", "v"][i % 2].into(),
        ]
    };
    numbers.chunks(3).enumerate().map(row).collect()
}

/// A table of these columns, of those in [`rows`], under these names.
fn write(place: &Place, name: &str, columns: [usize; 4], names: [&str; 4]) -> String {
    let line = |row: &[String; 4]| columns.map(|i| row[i].clone()).join(",");
    let lines: Vec<String> = rows().iter().map(line).collect();
    let path = place.at(name);
    fs::write(&path, format!("{}\n{}\n", names.join(","), lines.join("\n"))).unwrap();
    path
}

const ORDERED: [&str; 4] = ["width", "mass", "age", "class"];

/// Standard error of a command that succeeds.
fn said(args: &[&str]) -> String {
    let output = command(args).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "veridical {args:?}: {said}");
    said
}

#[test]
fn columns_are_taken_by_their_names() {
    let place = Place::new();
    let ordered = write(&place, "ordered.csv", [0, 1, 2, 3], ORDERED);
    let other = write(&place, "other.csv", [3, 2, 0, 1], ["class", "age", "width", "mass"]);
    let strange = write(&place, "strange.csv", [0, 1, 2, 3], ["width", "mass", "height", "class"]);
    let run = place.at("run");
    succeeds(&[&["train", "--data", &ordered, "--out", &run][..], &SHORT].concat());
    assert!(succeeds(&["info", &run]).contains("columns          width, mass, age\n"));
    let info: Value = serde_json::from_str(&succeeds(&["info", &run, "--json"])).unwrap();
    assert_eq!(info["columns"], serde_json::json!(["width", "mass", "age"]));

    // What is made of the same rows is the same, to the bit, and what was done is said.
    let denoised = |data: &str| {
        let out = place.at("out.npy");
        let args = ["denoise", "--model", &run, "--data", data, "--sigma", "0.3", "--device", "cpu", "--output", &out];
        let said = said(&args);
        (said.contains("columns age, width, mass put into the order width, mass, age"), fs::read(out).unwrap())
    };
    let (of_ordered, of_other) = (denoised(&ordered), denoised(&other));
    assert_eq!((of_ordered.0, of_other.0), (false, true));
    assert!(of_ordered.1 == of_other.1, "the columns of another order are denoised otherwise");
    let likelihood = |data: &str| {
        let args = ["likelihood", "--model", &run, "--data", data, "--first", "4", "--steps", "3", "--device", "cpu"];
        succeeds(&args)
    };
    assert_eq!(likelihood(&ordered), likelihood(&other));
    let evaluate = |made: &str| succeeds(&["evaluate", "--generated", made, "--real", &ordered]);
    assert_eq!(evaluate(&ordered), evaluate(&other));
    let next = place.at("next");
    let args = ["train", "--init", &run, "--data", &other, "--out", &next];
    assert!(said(&[&args[..], &SHORT].concat()).contains("put into the order width, mass, age"));
    assert!(succeeds(&["info", &next]).contains("columns          width, mass, age\n"));

    // Other names are errors, which say what is missing.
    let out = place.at("none");
    for args in [
        &["denoise", "--model", &run, "--data", &strange, "--sigma", "0.3", "--output", &place.at("x.npy")][..],
        &["likelihood", "--model", &run, "--data", &strange],
        &["evaluate", "--generated", &strange, "--real", &ordered],
        &["train", "--init", &run, "--data", &strange, "--out", &out],
    ] {
        let error = fails(1, args);
        assert!(error.contains("width, mass, height") && error.contains("width, mass, age"), "{args:?}: {error}");
        assert!(error.contains("missing: age; not known there: height"), "{args:?}: {error}");
    }

    // A table without a header is taken as it stands.
    let bare = place.at("bare.csv");
    let lines = rows().iter().map(|row| row[..3].join(",") + "\n").collect::<String>();
    fs::write(&bare, lines).unwrap();
    let without = denoised(&bare);
    assert!(!without.0 && without.1.len() == of_ordered.1.len());

    // A run goes on with its table, whose columns have changed their places meanwhile.
    fs::copy(&other, &ordered).unwrap();
    let longer = ["train", "--resume", "--out", &run, "--steps", "4"];
    assert!(said(&longer).contains("put into the order width, mass, age"));
}

#[test]
fn noisy_rows_are_read_in_the_order_of_the_clean_ones() {
    let place = Place::new();
    let ordered = write(&place, "ordered.csv", [0, 1, 2, 3], ORDERED);
    let other = write(&place, "other.csv", [3, 2, 0, 1], ["class", "age", "width", "mass"]);
    let strange = write(&place, "strange.csv", [0, 1, 2, 3], ["width", "mass", "height", "class"]);
    let clean = open_with(&ordered, &ReadOptions::default()).unwrap();
    let names = ["width", "mass", "age"].map(String::from);
    assert_eq!(clean.train.columns(), names);
    let run = {
        let mut run = RunConfig::fitting(&clean.train, false);
        run.data.path.clone_from(&ordered);
        run
    };
    let noisy = |path: &str| NoisySection { path: path.into(), sigma: Sigma::Number(0.3), ..NoisySection::default() };
    let data = noisy(&other).open(&run, None).unwrap();
    let pixels = |images: &Images| images.pixels().unwrap().into_owned();
    assert_eq!(pixels(data.noisy().unwrap()), pixels(data.clean().unwrap()));
    assert_eq!(data.set(data.noisy().unwrap().clone()).train.columns(), names);
    let error = noisy(&strange).open(&run, None).unwrap_err().to_string();
    assert!(error.contains("missing: age"), "{error}");
}
