//! One function for each reader: bytes in, a value or an error out. `fuzz/` gives them to libFuzzer, `tests/fuzz.rs` to
//! a plain driver.

use std::cell::RefCell;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use veridical::data::{
    self, Labels, Missing, MultiLabelOptions, MultiLabelSet, Standardisation, Text, cifar, idx, npy,
};
use veridical::diffusion::solvers::{self, Options};
use veridical::diffusion::{Grid, Model, ModelConfig};
use veridical::evaluate::ImageClassifier;
use veridical::methods::presets;
use veridical::methods::self_consuming::{Quantity, Schedule};
use veridical::tensor::TensorFile;
use veridical::train::{Checkpoint, Log, RunConfig, log, snapshots};
use veridical::{DType, Device};

#[path = "../../src/cli/sample/seeds.rs"]
mod cli_seeds;

/// A reader under test.
pub struct Target {
    /// Also the name of its folder in `fuzz/corpus` and of its binary in `fuzz`.
    pub name: &'static str,
    /// Reads the bytes; whatever they are it must return.
    pub read: fn(&[u8]),
    /// Most bytes that it may hold at once while it reads an input of some KiB.
    pub memory: usize,
}

const MIB: usize = 1 << 20;

const fn target(name: &'static str, read: fn(&[u8])) -> Target {
    Target { name, read, memory: 64 * MIB }
}

/// All of them. A new reader gets a line here, a function below, inputs in `seeds.rs` and three lines in `fuzz/`.
pub const TARGETS: &[Target] = &[
    target("npy", npy),
    target("npz", npz),
    target("npz_images", npz_images),
    target("idx", idx),
    target("idx_gzip", idx_gzip),
    target("cifar", cifar),
    target("class_names", class_names),
    // A picture of 8,192 by 8,192 pixels is within what is read, and a few bytes can claim to be one.
    Target { name: "picture", read: picture, memory: 1200 * MIB },
    target("dataset_json", dataset_json),
    target("arff", arff),
    target("arff_gzip", arff_gzip),
    target("label_list", label_list),
    target("text", text),
    target("features", features),
    target("tensors", tensors),
    target("model", model),
    target("architecture", architecture),
    target("classifier", classifier),
    target("checkpoint", checkpoint),
    target("snapshot", snapshot),
    target("log", log),
    target("config", config),
    target("settings", settings),
    target("seeds", seeds),
    target("schedule", schedule),
    target("solver", solver),
];

/// A folder of this thread's own, in memory where the system has such.
fn place() -> PathBuf {
    thread_local! {
        static PLACE: RefCell<Option<tempfile::TempDir>> = const { RefCell::new(None) };
    }
    PLACE.with_borrow_mut(|place| {
        let made = place.get_or_insert_with(|| {
            let memory = Path::new("/dev/shm");
            let folder = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() };
            folder.expect("a folder for the inputs")
        });
        made.path().to_path_buf()
    })
}

/// Writes the bytes as the file `name` and gives its path.
fn file(name: &str, bytes: &[u8]) -> PathBuf {
    let path = place().join(name);
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent).expect("a folder for the input");
    }
    fs::write(&path, bytes).expect("the input is written");
    path
}

/// A folder with no other files than these.
fn folder(files: &[(&str, &[u8])]) -> PathBuf {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let path = place().join(format!("folder-{}", NEXT.fetch_add(1, Ordering::Relaxed)));
    for (name, bytes) in files {
        let file = path.join(name);
        fs::create_dir_all(file.parent().unwrap_or(&path)).expect("a folder for the input");
        fs::write(file, bytes).expect("the input is written");
    }
    path
}

/// Calls `read` with a folder of these files, and removes it.
fn with_folder(files: &[(&str, &[u8])], read: impl FnOnce(&Path)) {
    let path = folder(files);
    read(&path);
    let _ = fs::remove_dir_all(path);
}

/// The input as text; what is no UTF-8 cannot reach a reader of text.
fn as_text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

pub fn npy(bytes: &[u8]) {
    if let Ok(array) = npy::read(file("x.npy", bytes)) {
        assert_eq!(array.shape.iter().product::<usize>(), array.values.len());
        let _ = array.tensor(&Device::Cpu);
        let _ = array.to_labels();
    }
    let _ = data::open(place().join("x.npy"));
}

pub fn npz(bytes: &[u8]) {
    let path = file("x.npz", bytes);
    let _ = npy::read_npz(&path);
    let _ = data::open(path);
}

/// The first byte says where the array of images ends and that of labels begins.
pub fn npz_images(bytes: &[u8]) {
    let Some((&at, arrays)) = bytes.split_first() else { return };
    let (images, labels) = arrays.split_at(arrays.len() * usize::from(at) / 255);
    let _ = data::open(file("pair.npz", &super::seeds::archive(&[("images.npy", images), ("labels.npy", labels)])));
}

pub fn idx(bytes: &[u8]) {
    if let Ok(found) = idx::read(file("images-idx3-ubyte", bytes)) {
        assert_eq!(found.shape.iter().product::<usize>(), found.values.len());
    }
    let _ = data::open(place().join("images-idx3-ubyte"));
}

/// The bytes behind gzip, so that what is mutated is not the checksum alone.
pub fn idx_gzip(bytes: &[u8]) {
    with_folder(
        &[("train-images-idx3-ubyte.gz", &super::seeds::gzip(bytes)), ("train-labels-idx1-ubyte", bytes)],
        |path| {
            let _ = data::open(path);
            let _ = idx::read(path.join("train-images-idx3-ubyte.gz"));
        },
    );
}

pub fn cifar(bytes: &[u8]) {
    let path = file("train.bin", bytes);
    if let Ok(records) = cifar::read(&path) {
        assert_eq!(records.pixels.len(), records.labels.len() * 32 * 32 * 3);
    }
    let _ = data::open(path);
}

/// CIFAR's list of names beside one record.
pub fn class_names(bytes: &[u8]) {
    with_folder(&[("data_batch_1.bin", &[7; 3073]), ("batches.meta.txt", bytes)], |path| {
        if let Ok(set) = data::open(path) {
            assert!(set.class_names.is_empty() || set.class_names.len() == set.train.classes());
        }
    });
}

/// The ending is that of neither format: what a picture is its bytes say.
pub fn picture(bytes: &[u8]) {
    let path = file("picture.png", bytes);
    for colour in [false, true] {
        let _ = data::picture(&path, colour, &Default::default());
    }
    with_folder(&[("a/1.jpg", bytes)], |path| {
        let _ = data::open(path);
    });
}

/// EDM's labels beside two pictures.
pub fn dataset_json(bytes: &[u8]) {
    let [first, second] = super::seeds::pictures();
    with_folder(
        &[("00000/img00000000.png", &first), ("00000/img00000001.png", &second), ("dataset.json", bytes)],
        |path| {
            let _ = data::open(path);
        },
    );
}

/// A table whose last column is the label, missing values and all.
pub fn arff(bytes: &[u8]) {
    read_arff(&file("table.arff", bytes));
}

/// The bytes behind gzip, and the bytes as gzip.
pub fn arff_gzip(bytes: &[u8]) {
    read_arff(&file("table.arff.gz", &super::seeds::gzip(bytes)));
    read_arff(&file("table.arff.gz", bytes));
}

fn read_arff(path: &Path) {
    for (labels, missing) in [(Labels::Last(1), Missing::Mean), (Labels::First(1), Missing::Refuse)] {
        if let Ok(mut set) = MultiLabelSet::open(path, &MultiLabelOptions { labels, missing, seed: 1 }) {
            assert!(!set.account.is_empty() && !set.train.is_empty() && !set.test.is_empty());
            assert_eq!(set.train.features().len(), set.train.len() * set.train.dims());
            let _ = set.standardise();
            let _ = Standardisation::of(&set.test).apply(&mut set.train);
        }
    }
}

/// Mulan's list of labels beside a table.
pub fn label_list(bytes: &[u8]) {
    let table = b"@relation t\n@attribute a numeric\n@attribute b {0,1}\n@attribute c {0,1}\n@data\n1,0,1\n2,1,1\n";
    with_folder(&[("table.arff", table), ("table.xml", bytes)], |path| {
        if let Ok(set) = MultiLabelSet::open(path, &MultiLabelOptions::default()) {
            assert!(set.train.labels() < 3);
        }
    });
}

pub fn text(bytes: &[u8]) {
    if let Ok(text) = Text::read(file("text.txt", bytes)) {
        assert_eq!(text.decode(&text.train) + &text.decode(&text.held_out), as_text(bytes));
    }
}

/// What `evaluate` does with features of one's own before it compares them.
pub fn features(bytes: &[u8]) {
    if let Ok(array) = npy::read(file("features.npy", bytes)) {
        let (narrow, wide) = (array.to_f32(), array.to_f64());
        assert_eq!(narrow.len(), wide.len());
    }
}

pub fn tensors(bytes: &[u8]) {
    let Ok(file) = TensorFile::open(file("x.safetensors", bytes)) else { return };
    let _ = file.metadata();
    for name in file.names() {
        assert!(file.shape(&name).is_some() && file.dtype(&name).is_some());
        for dtype in [DType::F32, DType::F64] {
            let _ = file.tensor(&name, dtype, &Device::Cpu);
        }
        let _ = file.floats(&name);
    }
}

pub fn model(bytes: &[u8]) {
    let path = file("model.safetensors", bytes);
    if let Ok(model) = Model::load(&path, &Device::Cpu) {
        let _ = model.config().to_json().expect("what was read can be written");
    }
    if let Ok(file) = TensorFile::open(&path) {
        let _ = ModelConfig::of_file(&file).map(|config| config.build().map(|_| ()));
    }
}

/// The architecture of a model file by itself, which mutations of the whole file seldom reach.
pub fn architecture(bytes: &[u8]) {
    if let Ok(config) = ModelConfig::from_json(&as_text(bytes)) {
        let _ = config.build();
    }
}

pub fn classifier(bytes: &[u8]) {
    let _ = ImageClassifier::load(file("classifier.safetensors", bytes), &Device::Cpu);
}

/// `state.json` beside the file that its seed names.
pub fn checkpoint(bytes: &[u8]) {
    with_folder(
        &[("step-000000001/state.json", bytes), ("step-000000001/model.safetensors", super::seeds::WEIGHTS)],
        |path| {
            if let Ok(checkpoint) = Checkpoint::open(path.join("step-000000001")) {
                let _ = checkpoint.model(&Device::Cpu);
                let _ = checkpoint.file("source.safetensors");
            }
            let _ = veridical::train::checkpoint::latest(path);
        },
    );
}

/// A snapshot, whose name is all that the bytes have before the first line break.
pub fn snapshot(bytes: &[u8]) {
    let at = bytes.iter().position(|&byte| byte == b'\n').unwrap_or(bytes.len());
    let (name, contents) = (as_text(&bytes[..at]), bytes.get(at + 1..).unwrap_or_default());
    // A name that is no name of a file in this folder does not occur.
    if name.is_empty() || name.len() > 200 || name.contains(['/', '\0']) || name == "." || name == ".." {
        return;
    }
    with_folder(&[(&format!("snapshots/{name}"), contents)], |path| {
        let _ = snapshots::list(path);
        let _ = snapshots::reconstruct(path, 0.05, None);
        let _ = snapshots::reconstruct(path, 0.1, Some(1000));
    });
}

pub fn log(bytes: &[u8]) {
    let path = file("log.jsonl", bytes);
    let before = log::read(&path).map(|ticks| ticks.len());
    // What a resumed run does: drop the torn end, then what came after its checkpoint.
    if Log::open(&path).is_ok()
        && let Ok(count) = before
    {
        assert_eq!(log::read(&path).expect("a log that was whole").len(), count);
    }
    let _ = log::cut(&path, 2);
}

pub fn config(bytes: &[u8]) {
    let text = as_text(bytes);
    if let Ok(config) = RunConfig::build(None, Some(&text), &[]) {
        let document = config.document().expect("settings that were taken can be written");
        assert!(RunConfig::build(None, Some(&document), &[]).is_ok(), "{document}");
        let _ = (config.batches(10), config.train_options(), config.pipe());
    }
    let _ = presets::sfbd("digits").and_then(|settings| settings.build(Some(&text), &[]));
    let _ = presets::ambient("digits").and_then(|settings| settings.build(Some(&text), &[]));
    let _ = presets::csc("digits").and_then(|settings| settings.build(Some(&text), &[]));
}

/// Values of `--set`, a line each.
pub fn settings(bytes: &[u8]) {
    let lines: Vec<String> = as_text(bytes).lines().map(String::from).collect();
    for preset in [None, Some("digits")] {
        if let Ok(config) = RunConfig::build(preset, None, &lines) {
            let _ = config.document().expect("settings that were taken can be written");
        }
    }
    let _ = presets::sfbd("digits").and_then(|settings| settings.build(None, &lines));
}

pub fn seeds(bytes: &[u8]) {
    if let Ok(seeds) = as_text(bytes).parse::<cli_seeds::Seeds>() {
        assert!((1..=1_000_000).contains(&seeds.0.len()));
    }
}

pub fn schedule(bytes: &[u8]) {
    let Ok(schedule) = as_text(bytes).parse::<Schedule>() else { return };
    let _ = schedule.check_real_share();
    for round in [1, 2, 1000] {
        let _ = (schedule.real_share(round), schedule.at(Quantity::Samples, round));
    }
}

/// A solver's name, a line break, then the bits of its options and of its grid.
pub fn solver(bytes: &[u8]) {
    let at = bytes.iter().position(|&byte| byte == b'\n').unwrap_or(bytes.len());
    let mut numbers = bytes.get(at + 1..).unwrap_or_default().chunks_exact(8);
    let mut next = || numbers.next().map(|bits| f64::from_le_bytes(bits.try_into().expect("8 bytes")));
    let options = Options {
        eta: next(),
        s_noise: next(),
        order: next().map(|order| order as usize),
        r: next(),
        alpha: next(),
        snr: next(),
        corrector_steps: next().map(|steps| steps as usize),
        atol: next(),
        rtol: next(),
        ..Options::default()
    };
    let _ = solvers::named(&as_text(&bytes[..at]), &options);
    let (low, high, rho) = (next().unwrap_or(0.002), next().unwrap_or(80.0), next().unwrap_or(7.0));
    for grid in
        [Grid::Karras { rho }, Grid::Polyexponential { rho }, Grid::Linear, Grid::Iddpm, Grid::Given(vec![high, low])]
    {
        if let Ok(sigmas) = grid.sigmas(18, low, high) {
            assert!(sigmas.iter().all(|sigma| sigma.is_finite()));
        }
    }
}
