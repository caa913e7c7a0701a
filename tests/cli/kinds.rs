//! What comes out of a model is of the kind of what went in.

use std::fs;

use image::{ImageBuffer, Luma, Rgba};
use veridical::data::npy::{self, Array, Values};

use super::people::{Place, SHORT, SMALL, disc};
use super::{fails, succeeds};

/// What is drawn is compared with what was learned from in the same numbers, and keeps what tells them apart.
#[test]
fn what_is_drawn_is_of_the_kind_of_the_data() {
    let place = Place::new();
    let few = ["--steps", "2", "--seeds", "0-9", "--device", "cpu"];
    // The whole range of 16 bits, with alpha, as pictures and as an array.
    let folder = place.folder("alpha");
    for i in 0..10 {
        let bright = |c: u32, y, x| (60_000.0 * disc(i + c, y, x, [8, 8])) as u16;
        let pixel = |x, y| Rgba([bright(0, y, x), bright(1, y, x), bright(2, y, x), 32_768u16]);
        ImageBuffer::from_fn(8, 8, pixel).save(folder.join(format!("{i:02}.png"))).unwrap();
    }
    let (data, run) = (place.at("alpha"), place.at("run-alpha"));
    succeeds(&[&["train", "--data", &data, "--alpha", "--out", &run][..], &SHORT, &SMALL].concat());
    let (npz, out) = (place.at("alpha.npz"), place.at("out"));
    succeeds(&[&["sample", "--model", &run, "--output", &npz, "--output-dir", &out][..], &few].concat());
    let distance = |generated: &str, real: &[&str]| -> f64 {
        let json = place.at("e.json");
        succeeds(&[&["evaluate", "--generated", generated, "--json", &json, "--device", "cpu"][..], real].concat());
        let report: serde_json::Value = serde_json::from_slice(&fs::read(&json).unwrap()).unwrap();
        report["generated"]["sliced_wasserstein"].as_f64().unwrap()
    };
    let real = ["--real", data.as_str(), "--alpha"];
    let (of_array, of_pictures) = (distance(&npz, &real), distance(&out, &real));
    // In units of [-1, 1] and of the data.
    let unit = 65_535.0 / 2.0;
    assert!(of_array < 200.0 * unit && of_pictures < 2.0 * unit, "{of_array} and {of_pictures} in {unit}");
    // Truth values come back as such.
    let (truth, run) = (place.at("truth.npy"), place.at("run-truth"));
    let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
    let mut header = "{'descr': '|b1', 'fortran_order': False, 'shape': (10, 8, 8), }".to_string();
    header += &(" ".repeat(63 - (header.len() + 10) % 64) + "\n");
    bytes.extend((header.len() as u16).to_le_bytes());
    bytes.extend(header.as_bytes());
    bytes.extend((0..640).map(|i| u8::from(disc((i / 64) as u32, (i / 8 % 8) as u32, (i % 8) as u32, [8, 8]) > 0.2)));
    fs::write(&truth, bytes).unwrap();
    succeeds(&[&["train", "--data", &truth, "--out", &run][..], &SHORT, &SMALL].concat());
    let npz = place.at("truth.npz");
    succeeds(&[&["sample", "--model", &run, "--output", &npz][..], &few].concat());
    assert!(distance(&npz, &["--real", &truth]) < 2.0);
    // Times in seconds of an epoch: what differs is lost in 32 bits.
    let (times, run) = (place.at("times.csv"), place.at("run-times"));
    let rows = (0..40).map(|i| format!("{}.{},{}\n", 1_700_000_000 + i % 4, i % 10, i % 7));
    fs::write(&times, "t,v\n".to_string() + &rows.collect::<String>()).unwrap();
    succeeds(&[&["train", "--data", &times, "--out", &run][..], &SHORT].concat());
    let clean = place.at("times.npy");
    let denoise = ["denoise", "--model", &run, "--data", &times, "--sigma", "0.01", "--device", "cpu"];
    succeeds(&[&denoise[..], &["--output", &clean]].concat());
    let found: std::collections::BTreeSet<u64> =
        npy::read(&clean).unwrap().to_f64().chunks(2).map(|row| ((row[0] - 1.7e9) * 10.0).round() as u64).collect();
    assert!(found.len() > 10, "{found:?}");
    // Numbers that were standardised are no others: their density under such a model is no density of theirs.
    let (low, run) = (place.folder("low"), place.at("run-low"));
    for i in 0..8 {
        let pixel = |x, y| Luma([(1000.0 + 200.0 * disc(i, y, x, [8, 8])) as u16]);
        ImageBuffer::from_fn(8, 8, pixel).save(low.join(format!("{i}.png"))).unwrap();
    }
    let low = low.to_str().unwrap();
    succeeds(&[&["train", "--data", low, "--out", &run][..], &SHORT, &SMALL].concat());
    let error = fails(2, &["likelihood", "--model", &run, "--data", "digits", "--steps", "1", "--device", "cpu"]);
    assert!(error.contains("the same number would mean another"), "{error}");
}

/// Points are plotted against each other and signals drawn as curves, beside the training set.
#[test]
fn reports_show_what_the_data_are() {
    let place = Place::new();
    let rows = (0..40).map(|i| format!("{},{},{}\n", i % 7, 100 * (i % 5), i % 3));
    fs::write(place.at("table.csv"), "width,mass,age\n".to_string() + &rows.collect::<String>()).unwrap();
    let values = (0..20 * 32).map(|i| 40.0 + ((i % 32) as f32 / 5.0 + (i / 32) as f32).sin()).collect();
    npy::write(place.at("signals.npy"), &Array { shape: vec![20, 32], values: Values::F32(values) }).unwrap();
    let (table, signals) = (place.at("table.csv"), place.at("signals.npy"));
    // Plots of 310 units at two pixels to the unit, one row and two; a row of two curves in each panel.
    let plots = |rows: u32| (2 * (76 + 2 * 336), 2 * (404 * rows + 8));
    let curves = (2 * (76 + 2 * 310 + 30 + 20), 2 * (20 + 28 + 88 + 44));
    for (name, data, more, noun, numbers, size) in [
        ("moons", "synthetic:two-moons", &[][..], "points", "coordinates", plots(1)),
        ("table", &table, &[], "points", "coordinates", plots(2)),
        ("signals", &signals, &SMALL[..], "signals", "values", curves),
    ] {
        let run = place.at(name);
        succeeds(&[&["train", "--data", data, "--out", &run][..], &SHORT, more].concat());
        let page = fs::read_to_string(format!("{run}/report.html")).unwrap();
        for part in [
            format!("{noun} were seen"),
            format!("beside {noun} of the training set"),
            format!("KID on {numbers}"),
            "its standard error, which the bars show".into(),
            "in the units of the data".into(),
        ] {
            assert!(page.to_lowercase().contains(&part.to_lowercase()), "{name}: {part:?} is not in the report");
        }
        let samples: Vec<_> = fs::read_dir(format!("{run}/samples")).unwrap().collect();
        let picture = image::open(samples[0].as_ref().unwrap().path()).unwrap();
        assert_eq!((picture.width(), picture.height()), size, "{name}");
    }
}
