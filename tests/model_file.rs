//! Weights in files: round trips, and files that are not what they should be.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use veridical::diffusion::{Model, ModelConfig};
use veridical::nn::{self, Init, LayerInit, Layout, Linear, SongConfig, Weights};
use veridical::{Device, Error};

const CPU: Device = Device::Cpu;

fn layout() -> Arc<Layout> {
    let mut layout = Layout::new();
    let mut scope = layout.scope("model");
    let xavier = |fan_in, fan_out| Init::Xavier { fan_in, fan_out, gain: 1.0 };
    scope.at("linear").parameter("weight", [5, 3], xavier(3, 5));
    scope.at("conv").parameter("weight", [4, 3, 3, 2], xavier(18, 36));
    Linear::query_key_value(&mut scope.at("qkv"), 2, LayerInit::Kaiming);
    scope.at("conv").buffer("resample_filter", [1, 1, 2, 2], Init::Fixed(vec![0.25; 4]));
    Arc::new(layout)
}

fn saved(dir: &Path) -> (std::path::PathBuf, Weights) {
    let path = dir.join("model.safetensors");
    let weights = Weights::init(&layout(), 3, &CPU).unwrap();
    nn::save(&path, &weights, &BTreeMap::from([("made".to_string(), "by a test".to_string())])).unwrap();
    (path, weights)
}

/// The file as a program writes it that knows of no checksum, so that what is changed in it is seen by what follows.
fn without_checksum(bytes: &[u8]) -> Vec<u8> {
    let name = b"veridical.crc32";
    let at = bytes.windows(name.len()).position(|window| window == name).unwrap();
    let mut bytes = bytes.to_vec();
    bytes[at..at + name.len()].copy_from_slice(b"a-program.crc32");
    bytes
}

#[test]
fn weights_survive_a_round_trip() {
    let dir = tempfile::tempdir().unwrap();
    let (path, weights) = saved(dir.path());
    let read = nn::load(&path, &layout(), &CPU).unwrap();
    assert_eq!(read.flat().to_vec::<f32>().unwrap(), weights.flat().to_vec::<f32>().unwrap());
    assert_eq!(nn::metadata(&path).unwrap()["made"], "by a test");
}

#[test]
fn files_have_the_axis_order_of_public_checkpoints() {
    let dir = tempfile::tempdir().unwrap();
    let (path, weights) = saved(dir.path());
    let bytes = std::fs::read(path).unwrap();
    let file = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    let read = |name: &str| -> (Vec<usize>, Vec<f32>) {
        let view = file.tensor(name).unwrap();
        let values = view.data().as_chunks().0.iter().map(|&b| f32::from_le_bytes(b)).collect();
        (view.shape().to_vec(), values)
    };
    let memory = |i: usize| weights.view(&weights.layout().entries()[i]).unwrap().to_vec::<f32>().unwrap();
    let (shape, conv) = read("model.conv.weight");
    assert_eq!(shape, [4, 2, 3, 3]);
    for (o, y, x, i) in [(0, 0, 0, 1), (2, 1, 2, 0), (3, 2, 1, 1)] {
        assert_eq!(conv[((o * 2 + i) * 3 + y) * 3 + x], memory(1)[((o * 3 + y) * 3 + x) * 2 + i]);
    }
    // Queries, keys and values of a channel stand together in the file.
    let (shape, qkv) = read("model.qkv.weight");
    assert_eq!(shape, [6, 2, 1, 1]);
    let (_, bias) = read("model.qkv.bias");
    for (c, part) in [(0, 0), (0, 2), (1, 0), (1, 1)] {
        assert_eq!(qkv[(3 * c + part) * 2..][..2], memory(2)[(2 * part + c) * 2..][..2]);
        assert_eq!(bias[3 * c + part], memory(3)[2 * part + c]);
    }
}

#[test]
fn the_same_seed_gives_the_same_weights_and_another_seed_others() {
    let flat = |seed| Weights::init(&layout(), seed, &CPU).unwrap().flat().to_vec::<f32>().unwrap();
    assert_eq!(flat(1), flat(1));
    assert_ne!(flat(1), flat(2));
    let bound = (6f32 / 8.0).sqrt();
    assert!(flat(1)[..15].iter().all(|w| w.abs() <= bound) && flat(1)[..15].iter().any(|w| w.abs() > bound / 2.0));
}

fn refused(path: &Path, layout: &Arc<Layout>) -> String {
    let error = nn::load(path, layout, &CPU).unwrap_err();
    assert!(matches!(error, Error::Format { .. } | Error::Io { .. }), "{error}");
    let text = error.to_string();
    assert!(text.contains(path.to_str().unwrap()), "the file is not named: {text}");
    text
}

#[test]
fn other_tensors_are_listed() {
    let dir = tempfile::tempdir().unwrap();
    let (path, _) = saved(dir.path());
    let mut other = Layout::new();
    let mut scope = other.scope("model");
    scope.at("linear").parameter("weight", [3, 5], Init::Constant(0.0));
    scope.at("extra").parameter("bias", [2], Init::Constant(0.0));
    let text = refused(&path, &Arc::new(other));
    for part in
        ["model.linear.weight is [5, 3], expected [3, 5]", "missing model.extra.bias", "unexpected model.qkv.bias"]
    {
        assert!(text.contains(part), "{part:?} is not in {text}");
    }
}

#[test]
fn another_filter_is_noticed() {
    let dir = tempfile::tempdir().unwrap();
    let (path, _) = saved(dir.path());
    let mut bytes = without_checksum(&std::fs::read(&path).unwrap());
    let quarter = 0.25f32.to_le_bytes();
    let at = bytes.windows(4).position(|window| window == quarter).unwrap();
    bytes[at..at + 4].copy_from_slice(&0.5f32.to_le_bytes());
    std::fs::write(&path, bytes).unwrap();
    assert!(refused(&path, &layout()).contains("resample_filter"));
}

#[test]
fn weights_that_are_not_finite_are_noticed() {
    let dir = tempfile::tempdir().unwrap();
    let (path, _) = saved(dir.path());
    let mut bytes = without_checksum(&std::fs::read(&path).unwrap());
    let end = bytes.len();
    bytes[end - 4..].copy_from_slice(&f32::NAN.to_le_bytes());
    std::fs::write(&path, bytes).unwrap();
    assert!(refused(&path, &layout()).contains("NaN"));
}

#[test]
fn truncated_files_are_errors_at_every_length() {
    let dir = tempfile::tempdir().unwrap();
    let (path, _) = saved(dir.path());
    let bytes = std::fs::read(&path).unwrap();
    for part in 0..16 {
        let len = bytes.len() * part / 16;
        std::fs::write(&path, &bytes[..len]).unwrap();
        refused(&path, &layout());
    }
    refused(Path::new("/nonexistent/model.safetensors"), &layout());
}

#[test]
fn lying_headers_are_errors() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("lying.safetensors");
    let file = |header: &str, len: u64, data: usize| {
        let mut bytes = len.to_le_bytes().to_vec();
        bytes.extend(header.as_bytes());
        bytes.extend(vec![0; data]);
        bytes
    };
    let honest = r#"{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}"#;
    let beyond = r#"{"a":{"dtype":"F32","shape":[1000000],"data_offsets":[0,4000000]}}"#;
    let overflow = r#"{"a":{"dtype":"F32","shape":[4294967296,4294967296,4294967296],"data_offsets":[0,8]}}"#;
    let short = r#"{"a":{"dtype":"F32","shape":[4],"data_offsets":[0,8]}}"#;
    let overlap = r#"{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"b":{"dtype":"F32","shape":[2],"data_offsets":[4,12]}}"#;
    let cases = [
        file(honest, u64::MAX, 8),
        file(honest, 1 << 40, 8),
        file(honest, 200_000_000, 8),
        file("", 0, 0),
        file("not json", 8, 0),
        file("{\"a\":", 5, 0),
        file(beyond, beyond.len() as u64, 8),
        file(overflow, overflow.len() as u64, 8),
        file(short, short.len() as u64, 8),
        file(overlap, overlap.len() as u64, 12),
        file(honest, honest.len() as u64, 9000),
        vec![0xff; 64],
        Vec::new(),
    ];
    for (i, bytes) in cases.into_iter().enumerate() {
        std::fs::write(&path, bytes).unwrap();
        assert!(!refused(&path, &layout()).is_empty(), "case {i}");
    }
}

/// Flips and replaces bytes all over a sound file: an answer or an error, never a panic.
#[test]
fn damaged_files_never_panic() {
    let dir = tempfile::tempdir().unwrap();
    let (path, _) = saved(dir.path());
    let bytes = std::fs::read(&path).unwrap();
    let mut state = 0x1234_5678_9abc_def0u64;
    for _ in 0..400 {
        let mut damaged = bytes.clone();
        for _ in 0..3 {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let at = (state >> 33) as usize % damaged.len();
            damaged[at] ^= (state >> 20) as u8;
        }
        std::fs::write(&path, &damaged).unwrap();
        let _ = nn::load(&path, &layout(), &CPU);
        let _ = nn::metadata(&path);
    }
}

#[test]
fn an_unwritable_place_is_an_error_and_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let weights = Weights::init(&layout(), 3, &CPU).unwrap();
    let error = nn::save(dir.path().join("none/model.safetensors"), &weights, &BTreeMap::new()).unwrap_err();
    assert!(matches!(error, Error::Io { .. }));
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
}

/// A whole model in a file: architecture and weights.
fn saved_model(dir: &Path) -> (std::path::PathBuf, Vec<u8>) {
    let network = SongConfig {
        model_channels: 8,
        channel_mult: vec![1],
        num_blocks: 1,
        attn_resolutions: vec![],
        label_dim: 2,
        ..SongConfig::new(4, 1)
    };
    let path = dir.join("model.safetensors");
    let config = ModelConfig::new(network);
    Model::new(&config, 1, &CPU).unwrap().save(&path).unwrap();
    let bytes = without_checksum(&std::fs::read(&path).unwrap());
    (path, bytes)
}

fn model_refused(path: &Path) -> String {
    let error = Model::load(path, &CPU).unwrap_err();
    assert!(matches!(error, Error::Format { .. } | Error::Io { .. }), "{error}");
    let text = error.to_string();
    assert!(text.contains(path.to_str().unwrap()), "the file is not named: {text}");
    text
}

/// The file with another header text, and the same tensors.
fn with_header(bytes: &[u8], change: impl Fn(&str) -> String) -> Vec<u8> {
    let len = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    let text = change(std::str::from_utf8(&bytes[8..8 + len]).unwrap());
    [&(text.len() as u64).to_le_bytes()[..], text.as_bytes(), &bytes[8 + len..]].concat()
}

#[test]
fn torn_model_files_are_errors() {
    let dir = tempfile::tempdir().unwrap();
    let (path, bytes) = saved_model(dir.path());
    for part in 0..16 {
        std::fs::write(&path, &bytes[..bytes.len() * part / 16]).unwrap();
        model_refused(&path);
    }
    std::fs::write(&path, [&bytes[..], &[0]].concat()).unwrap();
    model_refused(&path);
}

/// Every bit of the header turned over, one at a time: a model or an error, never a panic.
#[test]
fn no_bit_of_the_header_panics() {
    let dir = tempfile::tempdir().unwrap();
    let (path, bytes) = saved_model(dir.path());
    let len = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    // The names repeat themselves: the length, the architecture and the first tensors are enough.
    for at in (0..1600.min(8 + len)).chain([8 + len - 1]) {
        let mut damaged = bytes.clone();
        damaged[at] ^= 1 << (at % 8);
        std::fs::write(&path, &damaged).unwrap();
        if let Err(error) = Model::load(&path, &CPU) {
            assert!(error.to_string().contains("model.safetensors"), "{error}");
        }
    }
}

#[test]
fn architectures_that_lie_are_errors() {
    let dir = tempfile::tempdir().unwrap();
    let (path, bytes) = saved_model(dir.path());
    for (from, to, says) in [
        (r#"\"img_resolution\":4"#, r#"\"img_resolution\":99999999999999999999"#, "architecture"),
        (r#"\"img_resolution\":4"#, r#"\"img_resolution\":4294967296"#, "img_resolution"),
        (r#"\"img_resolution\":4"#, r#"\"img_resolution\":-4"#, "architecture"),
        (
            r#"\"model_channels\":8"#,
            r#"\"model_channels\":65536"#,
            "enc.4x4_conv.weight is [8, 1, 3, 3], expected [65536, 1, 3, 3]",
        ),
        (r#"\"model_channels\":8"#, r#"\"model_channels\":16"#, "is [8, 1, 3, 3], expected [16, 1, 3, 3]"),
        (r#"\"num_blocks\":1"#, r#"\"num_blocks\":1000000000"#, "num_blocks"),
        (r#"\"channel_mult\":[1]"#, r#"\"channel_mult\":[]"#, "channel_mult"),
        (r#"\"channel_mult\":[1]"#, r#"\"channel_mult\":[[1]]"#, "architecture"),
        (r#"\"label_dim\":2"#, r#"\"label_dim\":0"#, "unexpected model.map_label.weight [8, 2]"),
        (r#"\"label_dim\":2"#, r#"\"label_dim\":3"#, "model.map_label.weight is [8, 2], expected [8, 3]"),
        (r#"\"augment_dim\":0"#, r#"\"augment_dim\":9"#, "missing model.map_augment.weight [8, 9]"),
        ("SongUNet", "DhariwalUNet", "unknown field"),
        (r#"\"precond\":\"edm\""#, r#"\"precond\":\"iddpm\""#, "sigma_data"),
        (r#"\"resample_filter\":[1.0,1.0]"#, r#"\"resample_filter\":[1.0]"#, "resample_filter"),
        (r#"\"dropout\":0.1"#, r#"\"dropout\":null"#, "architecture"),
        ("veridical.model", "veridical.muddle", "no metadata key"),
        (r#""dtype":"F32""#, r#""dtype":"I32""#, "dtype I32"),
    ] {
        let changed = with_header(&bytes, |text| {
            assert!(text.contains(from), "{from} is not in {text}");
            text.replacen(from, to, 1)
        });
        std::fs::write(&path, changed).unwrap();
        let text = model_refused(&path);
        assert!(text.contains(says), "{to}: {says:?} is not in {text}");
    }
    let deep = with_header(&bytes, |text| {
        text.replacen(r#"\"channel_mult\":[1]"#, &format!(r#"\"channel_mult\":{}"#, "[".repeat(5000)), 1)
    });
    std::fs::write(&path, deep).unwrap();
    model_refused(&path);
}

#[test]
fn a_model_with_one_weight_that_is_no_number_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let (path, bytes) = saved_model(dir.path());
    for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        let mut damaged = bytes.clone();
        let at = damaged.len() - 400;
        damaged[at..at + 4].copy_from_slice(&bad.to_le_bytes());
        std::fs::write(&path, damaged).unwrap();
        let text = model_refused(&path);
        assert!(text.contains("model.") && text.contains(&bad.to_string()), "{text}");
    }
}
