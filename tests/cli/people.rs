//! People and their files: what each has is learned by one command, without a preset, and what comes out is in the
//! units and the form of what went in.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use image::{ImageBuffer, Luma, Rgb, Rgba};
use tempfile::TempDir;
use veridical::data::npy::{self, Array, Values};
use veridical::random::{Normal, Purpose, RandomKey, Samples, fill};

use super::{command, fails, succeeds};

pub struct Place(TempDir);

impl Place {
    pub fn new() -> Self {
        Place(tempfile::tempdir().unwrap())
    }

    pub fn at(&self, name: &str) -> String {
        self.0.path().join(name).to_str().unwrap().to_string()
    }

    pub fn folder(&self, name: &str) -> PathBuf {
        let path = self.0.path().join(name);
        fs::create_dir_all(&path).unwrap();
        path
    }
}

/// Discs of different place and brightness, between 0 and 1.
pub fn disc(image: u32, y: u32, x: u32, [h, w]: [u32; 2]) -> f64 {
    let (cy, cx) = (f64::from(image * 7 % h), f64::from(image * 5 % w));
    let near = (f64::from(y) - cy).hypot(f64::from(x) - cx) < f64::from(h) / 3.0;
    if near { 0.4 + 0.6 * f64::from(image % 7) / 6.0 } else { 0.05 }
}

/// Numbers of a normal law, the same at every call.
pub fn noise(n: usize) -> Vec<f32> {
    let mut values = vec![0f32; n];
    let stream = RandomKey::new(5, Purpose::Latents).stream().unwrap();
    fill(Normal, &stream, Samples::From(0), n, &mut values).unwrap();
    values
}

pub fn array(path: &str, shape: &[usize], of: impl Fn(usize) -> f64) {
    let values = (0..shape.iter().product::<usize>()).map(|i| of(i) as f32).collect();
    npy::write(path, &Array { shape: shape.to_vec(), values: Values::F32(values) }).unwrap();
}

/// Whole numbers of 16 bits as NumPy writes them.
fn words(path: &str, [n, h, w]: [usize; 3], of: impl Fn(usize) -> u16) {
    let mut header = format!("{{'descr': '<u2', 'fortran_order': False, 'shape': ({n}, {h}, {w}), }}");
    header += &" ".repeat(63 - (header.len() + 10) % 64);
    header += "\n";
    let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
    bytes.extend((header.len() as u16).to_le_bytes());
    bytes.extend(header.as_bytes());
    bytes.extend((0..n * h * w).flat_map(|i| of(i).to_le_bytes()));
    fs::write(path, bytes).unwrap();
}

/// So few steps that a run takes a second.
pub const SHORT: [&str; 12] = [
    "--device",
    "cpu",
    "--steps",
    "3",
    "--set",
    "sampling.steps=2",
    "--set",
    "sampling.rows=1",
    "--set",
    "sampling.columns=2",
    "--set",
    "sampling.measured=4",
];
/// U-Nets of eight channels.
pub const SMALL: [&str; 2] = ["--set", "model.model_channels=8"];

/// What one of the people has and expects.
struct Person {
    /// The name of file or folder, and what is to be said of it.
    data: &'static str,
    said: &'static [&'static str],
    more: &'static [&'static str],
    /// The shape of the array that comes out of denoising it.
    shape: &'static [usize],
    /// Between which numbers samples lie on the whole, by their mean.
    mean: [f64; 2],
    /// What a sample is written as.
    ending: &'static str,
    unet: bool,
}

/// Training, sampling and denoising, each in the form that README shows.
fn learns(place: &Place, person: &Person) {
    let (data, run) = (place.at(person.data), place.at(&format!("run-{}", person.data)));
    let train = [&["train", "--data", &data, "--out", &run][..], &SHORT, person.more].concat();
    let train = if person.unet { [&train[..], &SMALL].concat() } else { train };
    let output = command(&train).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{}: {said}", person.data);
    for part in person.said.iter().chain(&["settings from the data: "]) {
        assert!(said.contains(part), "{}: {part:?} is not in {said}", person.data);
    }
    let config = fs::read_to_string(Path::new(&run).join("config.toml")).unwrap();
    assert!(config.contains("sigma_data") && config.contains("batch"), "{config}");
    let (npz, folder) = (place.at(&format!("{}.npz", person.data)), place.at(&format!("out-{}", person.data)));
    let few = ["--steps", "2", "--seeds", "0-7", "--device", "cpu"];
    succeeds(&[&["sample", "--model", &run, "--output", &npz, "--output-dir", &folder][..], &few].concat());
    let again = [&["sample", "--model", &run, "--output-dir", &folder][..], &few].concat();
    assert!(fails(2, &again).contains("is there already and would be replaced"));
    let samples = npy::read_npz(&npz).unwrap();
    let images = &samples["images"];
    assert_eq!(images.shape[0], 8);
    let values = images.to_f64();
    let mean = values.iter().sum::<f64>() / values.len() as f64;
    assert!((person.mean[0]..=person.mean[1]).contains(&mean), "{}: samples have mean {mean}", person.data);
    if person.ending == "png" && !person.data.contains("16") {
        assert!(matches!(images.values, Values::U8(_)) && samples["arr_0"] == *images, "{}", person.data);
    }
    for seed in 0..8 {
        assert!(Path::new(&folder).join(format!("{seed:06}.{}", person.ending)).is_file(), "{}", person.data);
    }
    // What is denoised at a level that is nothing beside its spread stays what it is.
    let (clean, drawn) =
        (place.at(&format!("{}-clean.npy", person.data)), place.at(&format!("{}-draws.npz", person.data)));
    let levels = ["--sigma", "0.01", "--device", "cpu"];
    let read = [&["--data", data.as_str()][..], person.more].concat();
    succeeds(&[&["denoise", "--model", &run, "--output", &clean][..], &read, &levels].concat());
    let clean = npy::read(&clean).unwrap();
    assert_eq!(clean.shape, person.shape, "{}", person.data);
    let draws = ["--draws", "2", "--steps", "3"];
    succeeds(&[&["denoise", "--model", &run, "--output", &drawn][..], &read, &levels, &draws].concat());
    let drawn = npy::read_npz(&drawn).unwrap();
    assert_eq!(drawn["draws"].shape, [&[2], person.shape].concat());
    assert_eq!((&drawn["mean"].shape[..], &drawn["sd"].shape[..]), (person.shape, person.shape));
    let real = [&["evaluate", "--generated", &npz, "--real", &data][..], person.more].concat();
    assert!(succeeds(&real).contains("8 generated"));
}

#[test]
fn everybody_learns_from_their_own_files() {
    let place = Place::new();
    let size = [24, 32];
    let folder = place.folder("colour");
    for i in 0..12 {
        let pixel = |x, y| Rgb([255.0, 180.0, 90.0].map(|most| (most * disc(i, y, x, size)) as u8));
        ImageBuffer::from_fn(32, 24, pixel).save(folder.join(format!("{i:02}.png"))).unwrap();
    }
    let folder = place.folder("grey16");
    for i in 0..8 {
        let pixel = |x, y| Luma([(400.0 + 3000.0 * disc(i, y, x, [16, 16])) as u16]);
        ImageBuffer::from_fn(16, 16, pixel).save(folder.join(format!("{i:02}.png"))).unwrap();
    }
    let folder = place.folder("alpha");
    for i in 0..8 {
        let pixel = |x, y| Rgba([200, 100, (250.0 * disc(i, y, x, [9, 9])) as u8, 128]);
        ImageBuffer::from_fn(9, 9, pixel).save(folder.join(format!("{i:02}.png"))).unwrap();
    }
    let folder = place.folder("mixed");
    for i in 0..8 {
        let (h, w) = (20 + i, 30 - i);
        let pixel = |x, y| Luma([(250.0 * disc(i, y, x, [h, w])) as u8]);
        ImageBuffer::from_fn(w, h, pixel).save(folder.join(format!("{i:02}.png"))).unwrap();
    }
    let of = |i: usize, h: u32, w: u32| {
        let (h2, w2) = (h as usize, w as usize);
        disc((i / (h2 * w2)) as u32, (i / w2 % h2) as u32, (i % w2) as u32, [h, w])
    };
    array(&place.at("float.npy"), &[8, 10, 14], |i| 900.0 + 1200.0 * of(i, 10, 14));
    let random = noise(8 * 12 * 12);
    words(&place.at("counts16.npy"), [8, 12, 12], |i| {
        let photons = 20.0 + 200.0 * of(i, 12, 12);
        (100.0 + 2.5 * (photons + photons.sqrt() * f64::from(random[i]))).max(0.0) as u16
    });
    array(&place.at("four.npy"), &[8, 8, 8, 4], |i| of(i / 4, 8, 8) + 0.1 * (i % 4) as f64);
    array(&place.at("signals.npy"), &[20, 40], |i| {
        40.0 + 8.0 * ((i % 40) as f64 / 40.0 * (1 + i / 40 % 4) as f64 * 6.25 + (i / 40) as f64).sin()
    });
    let numbers = noise(20 * 10);
    let mut table = (0..10).map(|c| format!("c{c}")).collect::<Vec<_>>().join(",") + "\n";
    for row in numbers.chunks(10) {
        let scaled = row.iter().enumerate().map(|(c, x)| format!("{}", f64::from(*x) * 10f64.powi(c as i32 - 3)));
        table += &(scaled.collect::<Vec<_>>().join(",") + "\n");
    }
    fs::write(place.at("table.csv"), table).unwrap();
    array(&place.at("points.npy"), &[20, 2], |i| f64::from(numbers[i]));
    for person in [
        Person {
            data: "colour",
            said: &["12x24x32x3", "0 to 255 is read as [-1, 1]"],
            more: &[],
            shape: &[12, 24, 32, 3],
            mean: [0.0, 255.0],
            ending: "png",
            unet: true,
        },
        Person {
            data: "grey16",
            said: &["16 bits", "standardised: (x - "],
            more: &[],
            shape: &[8, 16, 16],
            mean: [-6000.0, 9000.0],
            ending: "png",
            unet: true,
        },
        Person {
            data: "alpha",
            said: &["8x9x9x3", "without their alpha"],
            more: &[],
            shape: &[8, 9, 9, 3],
            mean: [0.0, 255.0],
            ending: "png",
            unet: true,
        },
        Person {
            data: "mixed",
            said: &["8x12x16x1", "from the middle and resized to 12x16"],
            more: &["--size", "12x16"],
            shape: &[8, 12, 16],
            mean: [0.0, 255.0],
            ending: "png",
            unet: true,
        },
        Person {
            data: "float.npy",
            said: &["[8, 10, 14] of float32", "standardised: (x - "],
            more: &[],
            shape: &[8, 10, 14],
            mean: [-3000.0, 6000.0],
            ending: "npy",
            unet: true,
        },
        Person {
            data: "counts16.npy",
            said: &["of uint16", "standardised: (x - "],
            more: &[],
            shape: &[8, 12, 12],
            mean: [-1500.0, 3000.0],
            ending: "png",
            unet: true,
        },
        Person {
            data: "four.npy",
            said: &["8x8x8x4", "taken as they are"],
            more: &[],
            shape: &[8, 8, 8, 4],
            mean: [-3.0, 3.0],
            ending: "npy",
            unet: true,
        },
        Person {
            data: "signals.npy",
            said: &["taken as signals of 40 numbers"],
            more: &[],
            shape: &[20, 40],
            mean: [0.0, 80.0],
            ending: "npy",
            unet: true,
        },
        Person {
            data: "table.csv",
            said: &["table with a header", "each channel standardised"],
            more: &[],
            shape: &[20, 10],
            mean: [-1e7, 1e7],
            ending: "npy",
            unet: false,
        },
        Person {
            data: "points.npy",
            said: &["20x1x1x2", "MLP"],
            more: &[],
            shape: &[20, 2],
            mean: [-5.0, 5.0],
            ending: "npy",
            unet: false,
        },
    ] {
        learns(&place, &person);
    }
}

/// A denoiser that knows nothing yet gives back what it got where there is hardly any noise: the numbers are the
/// user's.
#[test]
fn units_survive_the_way_through_a_model() {
    let place = Place::new();
    let (data, run) = (place.at("x.npy"), place.at("run"));
    array(&data, &[6, 8, 8], |i| 1200.0 + 300.0 * ((i * 37 % 101) as f64 / 50.0 - 1.0));
    succeeds(&[&["train", "--data", &data, "--out", &run][..], &SHORT, &SMALL].concat());
    let clean = place.at("clean.npy");
    let levels = place.at("levels.npy");
    array(&levels, &[6], |i| 0.5 + i as f64);
    succeeds(&["denoise", "--model", &run, "--data", &data, "--sigma", &levels, "--output", &clean, "--device", "cpu"]);
    let (before, after) = (npy::read(&data).unwrap().to_f64(), npy::read(&clean).unwrap().to_f64());
    for (i, (before, after)) in before.iter().zip(&after).enumerate() {
        assert!((before - after).abs() < 4.0 * (1.0 + (i / 64) as f64), "{i}: {before} became {after}");
    }
    // Its density is one of the user's numbers: log 600 nats a number below that of the standardised ones.
    let density = |data: &str, run: &str| -> f64 {
        let json = place.at("d.json");
        let fixed = ["--steps", "4", "--json", &json, "--device", "cpu"];
        succeeds(&[&["likelihood", "--model", run, "--data", data][..], &fixed].concat());
        let report: serde_json::Value = serde_json::from_slice(&fs::read(&json).unwrap()).unwrap();
        report["nats"].as_f64().unwrap()
    };
    let (halved, other) = (place.at("half.npy"), place.at("other"));
    array(&halved, &[6, 8, 8], |i| 600.0 + 150.0 * ((i * 37 % 101) as f64 / 50.0 - 1.0));
    succeeds(&[&["train", "--data", &halved, "--out", &other][..], &SHORT, &SMALL].concat());
    let gained = density(&halved, &other) - density(&data, &run);
    assert!((gained - 64.0 * 2f64.ln()).abs() < 2.0, "half of the spread is {gained} nats more");
    // Other data are read in the units of the model that is gone on with, whatever their own spread is.
    let (model, more) = (format!("{run}/model.safetensors"), place.at("more"));
    let go_on = ["train", "--data", &halved, "--init", &model, "--out", &more];
    let output = command(&[&go_on[..], &SHORT].concat()).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let scale = |said: &str| said.split_once("standardised: ").unwrap().1.split_once(')').unwrap().0.to_string();
    let before = String::from_utf8_lossy(&command(&["info", &model]).output().unwrap().stdout).into_owned();
    assert!(output.status.success() && scale(&said) == scale(&before), "{said}");
}

#[test]
fn what_cannot_be_meant_is_said() {
    let place = Place::new();
    let error = |data: &str, more: &[&str]| {
        let out = place.at("refused");
        let output = command(&[&["train", "--data", data, "--out", &out][..], &SHORT, more].concat()).output().unwrap();
        assert!(!output.status.success() && !Path::new(&out).exists());
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    let data = place.at("x.npy");
    array(&data, &[4, 6, 8, 9], |i| i as f64);
    let text = error(&data, &[]);
    assert!(text.contains("--layout nhwc") && text.contains("--layout nchw"), "{text}");
    array(&data, &[4, 6, 8], |_| 7.0);
    assert!(error(&data, &[]).contains("all numbers are 7, which has no scale"));
    array(&data, &[4, 6, 8], |i| if i == 100 { f64::NAN } else { i as f64 });
    assert!(error(&data, &[]).contains("pixel 4 of image 2 is not finite"));
    array(&data, &[4, 6, 8], |i| i as f64);
    assert!(error(&data, &["--crop", "7x8"]).contains("cannot be cropped"));
    assert!(error(&data, &["--size", "big"]).contains("\"big\" is no size"));
    assert!(error(&data, &["--layout", "nhwc"]).contains("data.layout = \"nhwc\" is for 4 axes"));
    let text = error(&data, &["--preset", "cifar10-ddpmpp"]);
    assert!(text.contains("for images of 32x32x3") && text.contains("without --preset"), "{text}");
    let table = place.at("t.csv");
    fs::write(&table, "a,b\n1,2\n3,4,5\n").unwrap();
    assert!(error(&table, &[]).contains("line 3 has 3 columns, the first has 2"));
    let folder = place.folder("mixed");
    ImageBuffer::from_fn(4, 4, |x, _| Luma([x as u8])).save(folder.join("a.png")).unwrap();
    ImageBuffer::from_fn(4, 4, |x, _| Luma([256 * x as u16])).save(folder.join("b.png")).unwrap();
    assert!(error(folder.to_str().unwrap(), &[]).contains("1 pictures of 8 bits and 1 of 16"));
    // A model of bytes is not gone on with on numbers of another size.
    let (run, bytes) = (place.at("run"), place.at("bytes.npz"));
    let images = Array { shape: vec![2, 6, 8], values: Values::U8((0..96).collect()) };
    npy::write_npz(&bytes, &BTreeMap::from([("images".to_string(), images)])).unwrap();
    succeeds(&[&["train", "--data", &bytes, "--out", &run][..], &SHORT, &SMALL].concat());
    array(&data, &[4, 6, 8], |i| 10.0 * i as f64);
    let text = error(&data, &["--init", &format!("{run}/model.safetensors")]);
    assert!(text.contains("numbers from 0 to 1910, but the data (or the model)"), "{text}");
    // What cannot be written is said before it is made, and so is a class that nobody knows.
    let (four, run) = (place.at("four.npy"), place.at("run-four"));
    array(&four, &[4, 8, 8, 4], |i| (i % 5) as f64 / 5.0);
    succeeds(&[&["train", "--data", &four, "--out", &run][..], &SHORT, &SMALL].concat());
    let out = place.at("out.tif");
    let denoise = ["denoise", "--model", &run, "--data", &four, "--sigma", "0.1", "--output", &out];
    assert!(fails(2, &denoise).contains("4 channels are no TIFF pages"));
    assert!(fails(2, &["sample", "--model", &run, "--output", &out]).contains("4 channels are no TIFF pages"));
    assert!(fails(2, &["sample", "--model", &run, "--output-dir", &four]).contains("give a folder"));
    assert!(!Path::new(&out).exists());
}
