//! `--model`: a file, or the directory of a run.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use veridical::diffusion::Model;
use veridical::escape::escaped;
use veridical::train::{RunDir, model_file};
use veridical::{Device, Error, Result};

use super::progress::note;

/// The model of a file, or the newest one of a run's directory.
pub fn load(given: &Path, device: &Device) -> Result<Model> {
    Model::load(file(given)?, device)
}

/// The file that is meant, which is said where a directory stands for it. Errors as [`newest`].
pub fn file(given: &Path) -> Result<PathBuf> {
    let found = newest(given)?;
    if given.is_dir() {
        note(&format!("model {}", escaped(&found)));
    }
    Ok(found)
}

/// The file that is meant: a run's directory stands for its newest model, the averaged weights where it keeps some, and
/// where it goes in rounds for that of the newest one. Errors where a directory holds none, and where it holds the
/// networks of a game, of which one is to be named.
pub fn newest(given: &Path) -> Result<PathBuf> {
    if !given.is_dir() {
        return Ok(given.to_path_buf());
    }
    if let Some(newest) = in_run(given) {
        return Ok(newest);
    }
    let players = players(given);
    let what = match players.is_empty() {
        true => "no model in this directory: neither model.safetensors nor a checkpoint, as a run leaves them".into(),
        false => {
            let shown: Vec<String> = players.iter().map(|file| escaped(file).to_string()).collect();
            format!(
                "no model.safetensors in this directory, but the networks of a game: {}; name one",
                shown.join(", ")
            )
        }
    };
    Err(Error::format(given, what))
}

/// The newest model of a run's directory, if there is one.
fn in_run(run: &Path) -> Option<PathBuf> {
    let age = |path: &Path| fs::metadata(path).and_then(|there| there.modified()).unwrap_or(SystemTime::UNIX_EPOCH);
    let finished = Some(run.join("model.safetensors")).filter(|path| path.is_file());
    let unfinished =
        checkpoint(run).or_else(|| numbered(&run.join("rounds"), "").iter().rev().find_map(|it| in_run(it)));
    match (finished, unfinished) {
        (Some(finished), Some(unfinished)) if age(&unfinished) > age(&finished) => Some(unfinished),
        (finished, unfinished) => finished.or(unfinished),
    }
}

/// The files of the networks that a game leaves, in the order of their names.
fn players(run: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(run.join("models")).into_iter().flatten();
    let mut files: Vec<PathBuf> = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.extension().is_some_and(|ending| ending == "safetensors"))
        .collect();
    files.sort();
    files
}

/// The same for a settings file, which can name UTF-8 paths only.
pub fn setting(given: &Path) -> Result<String> {
    let file = file(given)?;
    file.to_str()
        .map(String::from)
        .ok_or_else(|| Error::Config(format!("--model {}: a settings file can name UTF-8 paths only", escaped(&file))))
}

/// The file of a classifier: the directory of a run of a game stands for the one that it was played for, which is said.
pub fn classifier(given: &Path) -> Result<PathBuf> {
    if !given.is_dir() {
        return Ok(given.to_path_buf());
    }
    let files = ["student", "classifier"].map(|player| given.join(model_file(player)));
    let Some(found) = files.into_iter().find(|file| file.is_file()) else {
        let what = "no classifier in this directory: neither models/student.safetensors nor models/classifier.safetensors, \
                    as runs of kdgan and triple-gan leave them";
        return Err(Error::format(given, what));
    };
    note(&format!("classifier {}", escaped(&found)));
    Ok(found)
}

/// The directory of a run that is meant: a model file stands for the run that it lies in, be it at its end or in a
/// checkpoint.
pub fn run(given: &Path) -> &Path {
    let above = given.ancestors().skip(1).take(3).find(|folder| RunDir::is_run(folder));
    if given.is_file() { above.unwrap_or(given) } else { given }
}

/// The weights of the newest checkpoint.
fn checkpoint(run: &Path) -> Option<PathBuf> {
    let whole = |folder: &PathBuf| {
        ["ema.safetensors", "model.safetensors"].map(|name| folder.join(name)).into_iter().find(|file| file.is_file())
    };
    numbered(&run.join("checkpoints"), "step-").iter().rev().find_map(whole)
}

/// What lies in a folder under a number behind `prefix`, in the order of these.
fn numbered(folder: &Path, prefix: &str) -> Vec<PathBuf> {
    let number = |path: &PathBuf| path.file_name()?.to_str()?.strip_prefix(prefix)?.parse::<u64>().ok();
    let entries = fs::read_dir(folder).into_iter().flatten();
    let mut found: Vec<(u64, PathBuf)> = entries
        .filter_map(|entry| {
            let path = entry.ok()?.path();
            Some((number(&path)?, path))
        })
        .collect();
    found.sort();
    found.into_iter().map(|(_, path)| path).collect()
}
