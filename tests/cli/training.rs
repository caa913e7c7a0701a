//! A small run, and what it leaves.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;
use tempfile::TempDir;

/// A network so small that a step takes milliseconds.
pub const TINY: &str = r#"
[data]
path = "digits"
[model]
model_channels = 8
channel_mult = [1]
num_blocks = 1
attn_resolutions = []
dropout = 0.1
[augment]
p = 0.3
[optimizer]
warm_up = 200
[average]
half_life = 500
ramp = 0.1
[train]
device = "cpu"
batch = 8
micro_batch = 4
images = 480
log_every = 5
sample_every = 0
checkpoint_every = 5
keep_last = 3
[sampling]
steps = 2
columns = 2
measured = 20
"#;

pub struct Place {
    dir: TempDir,
    pub config: PathBuf,
}

impl Place {
    pub fn new(config: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("settings.toml");
        fs::write(&file, config).unwrap();
        Place { config: file, dir }
    }
    pub fn out(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }
    pub fn first<'a>(&'a self, out: &'a Path, more: &[&'a str]) -> Vec<&'a str> {
        [&["train", "--config", self.config.to_str().unwrap(), "--out", out.to_str().unwrap()], more].concat()
    }
}

pub fn resume<'a>(out: &'a Path, more: &[&'a str]) -> Vec<&'a str> {
    [&["train", "--resume", "--out", out.to_str().unwrap()], more].concat()
}

pub fn steps_of(out: &Path) -> Vec<String> {
    let entries = fs::read_dir(out.join("checkpoints")).map(|dir| dir.map(|e| e.unwrap().file_name()).collect());
    let mut names: Vec<std::ffi::OsString> = entries.unwrap_or_default();
    names.sort();
    names.into_iter().map(|name| name.into_string().unwrap()).collect()
}

/// Everything that a run leaves and that does not hold times.
pub fn results(out: &Path) -> Vec<(String, Vec<u8>)> {
    let last = steps_of(out).pop().unwrap();
    let mut files: Vec<PathBuf> =
        fs::read_dir(out.join("checkpoints").join(last)).unwrap().map(|e| e.unwrap().path()).collect();
    files.sort();
    files.push(out.join("model.safetensors"));
    files.extend(fs::read_dir(out.join("samples")).unwrap().map(|e| e.unwrap().path()));
    let name = |path: &Path| path.strip_prefix(out).unwrap().to_string_lossy().into_owned();
    files.iter().map(|path| (name(path), fs::read(path).unwrap())).collect()
}

pub fn assert_same(a: &Path, b: &Path) {
    let (a, b) = (results(a), results(b));
    let names = |files: &[(String, Vec<u8>)]| files.iter().map(|(name, _)| name.clone()).collect::<Vec<_>>();
    assert_eq!(names(&a), names(&b));
    for ((name, a), (_, b)) in a.iter().zip(&b) {
        assert!(a == b, "{name} differs");
    }
}

pub fn log(out: &Path) -> Vec<Value> {
    let text = fs::read_to_string(out.join("log.jsonl")).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}
