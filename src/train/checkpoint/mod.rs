//! Checkpoints: everything that a run needs to go on as if it had never stopped.
//!
//! A directory for each step, `step-000001200/`, with `model.safetensors` (the weights), `ema.safetensors` (their
//! running average), `ema-0.050.safetensors` for each power-function average, `optimizer.safetensors`, and
//! `state.json`, which says what the others must be. Where several [players](super::Trained::players) are trained,
//! their names stand before those of their files. It is written under another name, flushed and then renamed: a
//! directory of this name is whole, whenever the process or the machine died. What is not whole all the same, or not
//! ours, is recognised by its sizes and checksums, of which `state.json` has one of itself. [`recover`] clears up after
//! a process that died.

mod players;
mod upkeep;

pub(super) use players::{bytes, check_names, weights};
pub use upkeep::{prune, recover};

use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::trained::{MODEL_PLAYER, Trained};
use crate::backend::cpu::{F32Products, Isa, winograd_is_allowed};
use crate::checksum;
use crate::diffusion::Model;
use crate::error::{Error, Result};
use crate::escape::escaped;
use crate::files;
use crate::stop;
use crate::tensor::Device;

/// In format 1 `state.json` had no checksum, and did not say what the numbers were computed with.
const FORMATS: [u32; 2] = [1, 2];
const STATE: &str = "state.json";
/// Directories that were being written, or removed, start so.
const PARTIAL: &str = ".partial-";
/// A state file is some kilobytes.
const MAX_STATE: u64 = 1 << 22;

/// `state.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct State {
    /// The version of the files' layout.
    pub format: u32,
    /// The version of the crate that wrote them.
    pub version: String,
    /// Steps made.
    pub step: u64,
    /// Images seen.
    pub seen: u64,
    /// What the numbers were computed with, as [`arithmetic`] says it; `None` in format 1.
    #[serde(default)]
    pub arithmetic: Option<String>,
    /// The run's settings, as TOML.
    pub config: String,
    /// The data's fingerprint.
    pub data: String,
    /// Steps made and samples seen by players that have counts of their own, by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub players: BTreeMap<String, (u64, u64)>,
    /// The other files, by name.
    pub files: BTreeMap<String, FileState>,
}

/// What a file must be.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FileState {
    /// Its length.
    pub bytes: u64,
    /// Its CRC-32.
    pub crc32: u32,
}

/// A checkpoint whose files were found to be whole.
#[derive(Debug, Clone)]
pub struct Checkpoint {
    /// Its directory.
    pub path: PathBuf,
    /// What it says of itself.
    pub state: State,
}

/// What computes on a device, as far as it decides how sums round: equal settings give equal bits where this is equal.
/// On the CPU it is the level of its vector instructions, how convolutions are computed and how products of f32, where
/// that is not by multiply-adds, such as `cpu avx512 winograd` or `cpu amx winograd split6` (`VERIDICAL_CPU_KERNEL`,
/// `VERIDICAL_WINOGRAD` and `VERIDICAL_F32_PRODUCTS` can ask for others).
pub fn arithmetic(device: &Device) -> String {
    match device {
        Device::Cpu => {
            let products = F32Products::current().name().map(|name| format!(" {name}")).unwrap_or_default();
            format!("cpu {}{}{products}", Isa::current(), if winograd_is_allowed() { " winograd" } else { "" })
        }
        // Other kernels, which sum in another order.
        Device::Gpu(gpu) if gpu.hopper().is_some_and(|hopper| hopper.asked.weight_gradients) => {
            format!("{device} with VERIDICAL_HOPPER_WEIGHTS")
        }
        other => other.to_string(),
    }
}

/// What to say where a run goes on with another [`arithmetic`] than `there`; nothing if it is the same, or was not
/// recorded.
pub fn other_arithmetic(there: Option<&str>, device: &Device) -> Option<String> {
    let here = arithmetic(device);
    there.filter(|there| **there != here).map(|there| {
        format!(
            "warning: computed with {there} so far and with {here} from here on: bits may differ from those of an \
             uninterrupted run"
        )
    })
}

/// The name of a step's directory.
fn name(step: u64) -> String {
    format!("step-{step:09}")
}

/// Where below `directory` a step's checkpoint is.
pub(super) fn path(directory: &Path, step: u64) -> PathBuf {
    directory.join(name(step))
}

/// Whether a path is that of a step's checkpoint.
pub(super) fn is_of(path: &Path, step: u64) -> bool {
    path.file_name().is_some_and(|file| file == name(step).as_str())
}

/// What a checkpoint is of, besides what is trained.
#[derive(Debug, Clone, Copy)]
pub struct Subject<'a> {
    /// The run's settings, as TOML.
    pub settings: &'a str,
    /// The data's fingerprint.
    pub data: &'a str,
}

/// Writes a checkpoint below `directory`. Returns its path.
///
/// Errors on output, a full disk for example; earlier checkpoints are then as they were, and nothing of this one is
/// left. Written whole even where the calling thread is to [stop].
pub fn save(directory: &Path, trained: &dyn Trained, subject: Subject) -> Result<PathBuf> {
    let (step, _) = trained.progress();
    let path = directory.join(name(step));
    let partial = directory.join(format!("{PARTIAL}{}-{}", name(step), std::process::id()));
    fs::create_dir_all(&partial).map_err(|e| Error::io(&partial, e))?;
    let written = stop::shielded(|| {
        let files = players::write(&partial, trained)?;
        let (step, seen) = trained.progress();
        let state = State {
            format: FORMATS[FORMATS.len() - 1],
            version: env!("CARGO_PKG_VERSION").into(),
            step,
            seen,
            arithmetic: players::device(trained).map(|device| arithmetic(&device)),
            config: subject.settings.into(),
            data: subject.data.into(),
            players: players::apart(trained),
            files,
        };
        checksum::write_json(&partial.join(STATE), &state)?;
        upkeep::publish(&partial, &path)
    });
    if written.is_err() {
        let _ = fs::remove_dir_all(&partial);
    }
    written.map(|()| path)
}

/// Length and checksum of what was written, read back.
fn checked(path: &Path) -> Result<FileState> {
    let mut file = files::open(path)?;
    let (mut bytes, mut crc, mut chunk) = (0, flate2::Crc::new(), vec![0; 1 << 20]);
    loop {
        stop::check()?;
        match file.read(&mut chunk) {
            Ok(0) => return Ok(FileState { bytes, crc32: crc.sum() }),
            Ok(count) => {
                bytes += count as u64;
                crc.update(&chunk[..count]);
            }
            Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
            Err(e) => return Err(Error::io(path, e)),
        }
    }
}

impl Checkpoint {
    /// Reads a checkpoint's state and checks all its files.
    ///
    /// Errors with the file that is missing, torn or not a checkpoint's.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref().to_path_buf();
        let file = path.join(STATE);
        let (value, sealed) = checksum::read_json(&file, MAX_STATE, "state of a checkpoint").map_err(|e| match e {
            Error::Io { source, .. } if source.kind() == std::io::ErrorKind::NotFound => {
                Error::format(&path, format!("has no {STATE}: not a checkpoint"))
            }
            other => other,
        })?;
        let [old, new] = FORMATS;
        if ![old, new].iter().any(|format| value["format"] == *format) {
            let what = format!("format {}, but this version reads {old} and {new}", value["format"]);
            return Err(Error::format(&file, what));
        }
        let state: State = serde_json::from_value(value).map_err(|e| Error::format(&file, e.to_string()))?;
        if state.format == new && !sealed {
            return Err(Error::format(&file, "its checksum is not there: torn or changed"));
        }
        for (name, expected) in &state.files {
            let file = path.join(name);
            if Path::new(name).components().count() != 1 {
                return Err(Error::format(path.join(STATE), format!("names a file elsewhere: {}", escaped(name))));
            }
            let found = checked(&file)?;
            if found != *expected {
                let what = format!(
                    "{} bytes with checksum {:08x}, but {STATE} says {} bytes with {:08x}: torn or changed",
                    found.bytes, found.crc32, expected.bytes, expected.crc32
                );
                return Err(Error::format(file, what));
            }
        }
        Ok(Checkpoint { path, state })
    }

    /// Whether its `state.json` has a checksum, which those of earlier versions have not.
    pub fn is_sealed(&self) -> bool {
        self.state.format != FORMATS[0]
    }

    /// The averaged weights, or the weights themselves if the run keeps no average.
    pub fn model(&self, device: &Device) -> Result<Model> {
        let [model, average] = [players::WEIGHTS, players::AVERAGE].map(|what| players::file(MODEL_PLAYER, what));
        let name = if self.state.files.contains_key(&average) { average } else { model };
        Model::load(self.path.join(name), device)
    }

    /// Puts the stored state of every player into `trained`. Errors if an architecture differs, naming the difference,
    /// or something is missing.
    pub fn restore_players(&self, trained: &mut dyn Trained) -> Result<()> {
        players::restore(self, trained)
    }

    /// Puts all of the stored state into `trained`: that of every player, and what it keeps besides. Errors as
    /// [`restore_players`](Self::restore_players) does.
    pub fn restore(&self, trained: &mut dyn Trained) -> Result<()> {
        self.restore_players(trained)?;
        trained.restore(&|name| self.file(name))
    }

    /// One of the checkpoint's files. Errors if it has none of this name, and on input.
    pub fn file(&self, name: &str) -> Result<Vec<u8>> {
        match self.state.files.contains_key(name) {
            true => files::read(self.path.join(name)),
            false => {
                let what = format!("there is no {name}: the checkpoint is of another kind of run");
                Err(Error::format(&self.path, what))
            }
        }
    }
}

/// Errors with the options in which two models differ.
pub(super) fn same_architecture(path: &Path, found: &Model, expected: &Model) -> Result<()> {
    let fields = |model: &Model| -> Result<serde_json::Map<String, serde_json::Value>> {
        serde_json::from_str(&model.config().to_json()?).map_err(|e| Error::format(path, e.to_string()))
    };
    let (found, expected) = (fields(found)?, fields(expected)?);
    let keys: std::collections::BTreeSet<&String> = found.keys().chain(expected.keys()).collect();
    let show = |value: Option<&serde_json::Value>| value.map_or("nothing".into(), ToString::to_string);
    let differ: Vec<String> = keys
        .into_iter()
        .filter(|key| found.get(*key) != expected.get(*key))
        .map(|key| format!("{key} is {} there and {} here", show(found.get(key)), show(expected.get(key))))
        .collect();
    match differ.is_empty() {
        true => Ok(()),
        false => Err(Error::Config(format!("{}: another architecture: {}", path.display(), differ.join("; ")))),
    }
}

/// The steps of which there is a directory, rising; whether they are whole is seen when they are opened.
pub fn steps(directory: &Path) -> Result<Vec<u64>> {
    let entries = match fs::read_dir(directory) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(|e| Error::io(directory, e))?,
    };
    let mut steps = Vec::new();
    for entry in entries {
        let file = entry.map_err(|e| Error::io(directory, e))?.file_name();
        let step = file.to_str().and_then(|file| file.strip_prefix("step-")).and_then(|step| step.parse().ok());
        steps.extend(step.filter(|&step| file == name(step).as_str()));
    }
    steps.sort_unstable();
    Ok(steps)
}

/// The newest checkpoint that is whole, and what is wrong with the newer ones. Errors if there are some but none is
/// whole.
pub fn latest(directory: &Path) -> Result<(Option<Checkpoint>, Vec<Error>)> {
    let mut problems = Vec::new();
    for step in steps(directory)?.into_iter().rev() {
        match Checkpoint::open(directory.join(name(step))) {
            Ok(checkpoint) if checkpoint.state.step == step => return Ok((Some(checkpoint), problems)),
            Ok(other) => {
                let what = format!("the directory of step {step} holds step {}", other.state.step);
                problems.push(Error::format(&other.path, what));
            }
            Err(Error::Stopped) => return Err(Error::Stopped), // says nothing of the checkpoint
            Err(problem) => problems.push(problem),
        }
    }
    if problems.is_empty() {
        return Ok((None, problems));
    }
    let all: Vec<String> = problems.iter().map(ToString::to_string).collect();
    Err(Error::format(directory, format!("no checkpoint is whole: {}", all.join("; "))))
}
