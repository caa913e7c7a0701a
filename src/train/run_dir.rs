//! The directory of a run: made before the work starts, locked while it lasts, and never half-written.

use std::fs::{self, File, TryLockError};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::Log;
use crate::distributed::Ranks;
use crate::escape::escaped;
use crate::files::{being_written, check_folder, write_atomic};
use crate::{Error, Result};

/// What shows that a directory is ours; it is locked as long as a run writes there.
const MARKER: &str = crate::files::RUN_MARKER;

/// What a run writes at the top of its directory; a new run in the same place clears these.
const OWN: &[&str] = &[
    "config.toml",
    "log.jsonl",
    "log.csv",
    "measured.csv",
    "tensorboard",
    "metrics.json",
    "report.html",
    "loss.png",
    "risk.png",
    "model.safetensors",
    "samples.png",
    "denoised.png",
    "measured.json",
    "models",
    "samples",
    "checkpoints",
    "snapshots",
    "rounds",
    "few",
];
/// What stages write at the top of their directories besides; only a run that starts them again clears these.
const OWN_OF_STAGES: &[&str] = &["round.json", "denoised.npz", "denoised"];

/// What to do with a directory that is already there and not empty.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Existing {
    /// Refuse, whoever it belongs to. A run that died before it wrote its settings has left nothing to refuse for.
    Refuse,
    /// Clear the files of an earlier run; refuse if no run made it.
    ReplaceRun,
    /// Write there whatever it holds: files of an earlier run are cleared, everything else stays.
    Overwrite,
    /// Go on with the run that made it: nothing is cleared.
    Resume,
}

/// A run directory that this process may write to, and no other. Where [several](RunDir::shared) share the run, the
/// first one may: what the others are asked to write goes nowhere.
#[derive(Debug)]
pub struct RunDir {
    path: PathBuf,
    /// How it was taken over, and whether a run of ours had made it.
    taken: (Existing, bool),
    /// Who shares the run.
    ranks: Ranks,
    /// Holds the lock until the run directory is dropped; `None` where another rank writes.
    marker: Option<File>,
}

impl RunDir {
    /// Makes the directory (and those above it), or takes over one that is there as `existing` allows.
    ///
    /// Errors, before anything of an earlier run is touched, if it cannot be written to, belongs to somebody else, or
    /// another process is writing there.
    pub fn create(path: impl AsRef<Path>, existing: Existing) -> Result<Self> {
        let run = Self::claim(path, existing)?;
        run.clear_earlier()?;
        Ok(run)
    }

    /// As [`RunDir::create`], but what an earlier run left stays until [`RunDir::clear_earlier`]: for work that has
    /// nothing to show before its end, so that a stop on the way loses neither.
    pub fn claim(path: impl AsRef<Path>, existing: Existing) -> Result<Self> {
        let path = path.as_ref().to_path_buf();
        fs::create_dir_all(&path).map_err(|e| match e.kind() {
            ErrorKind::AlreadyExists | ErrorKind::NotADirectory => {
                Error::Config(format!("{}: is a file, or lies below one; give a directory", path.display()))
            }
            _ => Error::io(&path, e),
        })?;
        let ours = Self::is_run(&path);
        let empty = nothing_begun(&path)?;
        let refuse = |why: &str| Err(Error::Config(format!("{}: {why}", path.display())));
        match existing {
            Existing::Refuse if ours && !empty => {
                return refuse("the directory is not empty: a run of veridical is there; choose another");
            }
            Existing::Refuse | Existing::ReplaceRun if !empty && !ours => {
                return refuse("the directory is not empty, and no run of veridical made it; choose another");
            }
            Existing::Resume if !ours => return refuse("there is no run of veridical to resume"),
            _ => {}
        }
        let marker = lock(&path)?;
        // Whoever holds the lock knows that nobody writes these any more.
        if ours {
            clear_parts(&path, true)?;
        }
        Ok(RunDir { path, taken: (existing, ours), ranks: Ranks::alone(), marker: Some(marker) })
    }

    /// As [`RunDir::create`], of a run that several processes share: the first one makes the directory, and the others
    /// wait for it. Errors where it does, on all of them.
    pub fn shared(path: impl AsRef<Path>, existing: Existing, ranks: &Ranks) -> Result<Self> {
        let path = path.as_ref();
        ranks.first_then_others(|| match ranks.is_first() {
            true => Ok(RunDir { ranks: ranks.clone(), ..Self::create(path, existing)? }),
            false => {
                Ok(RunDir { path: path.to_path_buf(), taken: (existing, false), ranks: ranks.clone(), marker: None })
            }
        })
    }

    /// A directory below, of a stage of the run, for the same ranks.
    pub fn below(&self, path: impl AsRef<Path>, existing: Existing) -> Result<Self> {
        Self::shared(path, existing, &self.ranks)
    }

    /// Who shares the run.
    pub fn ranks(&self) -> &Ranks {
        &self.ranks
    }

    /// Whether what is written here arrives on the disk: not where another rank writes.
    pub fn is_writer(&self) -> bool {
        self.marker.is_some()
    }

    /// Removes what an earlier run left, where it was allowed to be replaced; nothing otherwise.
    pub fn clear_earlier(&self) -> Result<()> {
        match self.taken {
            (Existing::ReplaceRun | Existing::Overwrite, ours) if self.is_writer() => clear(&self.path, ours),
            _ => Ok(()),
        }
    }

    /// Whether a run of veridical made the directory, so that it can be resumed or replaced.
    pub fn is_run(path: impl AsRef<Path>) -> bool {
        path.as_ref().join(MARKER).is_file()
    }

    /// The directory.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Errors unless these files and files in these folders can be written, which need not be there yet. Leaves nothing
    /// behind.
    pub fn check_writable(&self, files: &[&str], folders: &[&str]) -> Result<()> {
        if !self.is_writer() {
            return Ok(());
        }
        for file in files.iter().map(|name| self.path.join(name)) {
            if file.is_dir() {
                let what = "a directory, where the run is to write a file; move it away";
                return Err(Error::Config(format!("{}: {what}", escaped(&file))));
            }
        }
        folders.iter().try_for_each(|name| check_folder(self.path.join(name)))
    }

    /// Writes a file, whole or not at all; `name` may lie in a sub-directory, which is made. Returns its path.
    pub fn write(&self, name: impl AsRef<Path>, bytes: &[u8]) -> Result<PathBuf> {
        let path = self.path.join(name);
        if !self.is_writer() {
            return Ok(path);
        }
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent).map_err(|e| Error::io(parent, e))?;
        }
        write_atomic(&path, bytes)?;
        Ok(path)
    }

    /// Writes `value` as JSON a person can read, as [`RunDir::write`] does.
    pub fn write_json(&self, name: impl AsRef<Path>, value: &impl Serialize) -> Result<PathBuf> {
        let text = serde_json::to_string_pretty(value).map_err(|e| Error::argument("write_json", e.to_string()))?;
        self.write(name, (text + "\n").as_bytes())
    }

    /// Writes `value` as TOML, as [`RunDir::write`] does.
    pub fn write_toml(&self, name: impl AsRef<Path>, value: &impl Serialize) -> Result<PathBuf> {
        let text = toml::to_string(value).map_err(|e| Error::argument("write_toml", e.to_string()))?;
        self.write(name, text.as_bytes())
    }

    /// Opens `log.jsonl` for appending.
    pub fn log(&self) -> Result<Log> {
        let path = self.path.join("log.jsonl");
        if self.is_writer() { Log::open(path) } else { Ok(Log::nowhere(path)) }
    }
}

/// Whether a directory holds nothing, but for the marker and what was being written when a process died before its
/// first file was whole.
fn nothing_begun(path: &Path) -> Result<bool> {
    let ours = path.join(MARKER).is_file();
    for entry in fs::read_dir(path).map_err(|e| Error::io(path, e))? {
        let name = entry.map_err(|e| Error::io(path, e))?.file_name();
        if !(ours && (name == MARKER || being_written(&name).is_some_and(is_own))) {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Whether a run or one of its stages writes a file or folder of this name at the top of its directory.
fn is_own(name: &str) -> bool {
    OWN.iter().chain(OWN_OF_STAGES).any(|own| *own == name)
}

/// Removes what processes that died were writing, in a run's directory and the folders below it that are a run's. At
/// the `top` others may write too, so only files of a run's own names go.
fn clear_parts(path: &Path, top: bool) -> Result<()> {
    for entry in fs::read_dir(path).map_err(|e| Error::io(path, e))? {
        let entry = entry.map_err(|e| Error::io(path, e))?;
        let (name, kind) = (entry.file_name(), entry.file_type().map_err(|e| Error::io(path, e))?);
        let ours = |name: &str| !top || is_own(name);
        if kind.is_dir() && name.to_str().is_some_and(ours) {
            clear_parts(&entry.path(), false)?;
        } else if kind.is_file() && being_written(&name).is_some_and(ours) {
            fs::remove_file(entry.path()).map_err(|e| Error::io(entry.path(), e))?;
        }
    }
    Ok(())
}

/// Takes the marker's lock; this is also the proof that the directory can be written to.
fn lock(path: &Path) -> Result<File> {
    let marker = path.join(MARKER);
    let mut file = File::options().create(true).append(true).open(&marker).map_err(|e| Error::io(path, e))?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let what =
                format!("{}: another run is writing here; wait for it or choose another directory", path.display());
            return Err(Error::Config(what));
        }
        // A file system without locks: two runs at once are then the user's affair.
        Err(TryLockError::Error(e)) if e.kind() == ErrorKind::Unsupported => {}
        Err(TryLockError::Error(e)) => return Err(Error::io(marker, e)),
    }
    let text = "A run of veridical made this directory and may replace its files.\n";
    // New, or cut short by the death of the process that made it.
    if file.metadata().map_err(|e| Error::io(&marker, e))?.len() != text.len() as u64 {
        file.set_len(0).and_then(|()| file.write_all(text.as_bytes())).map_err(|e| Error::io(&marker, e))?;
    }
    Ok(file)
}

/// Removes what an earlier run wrote, so that the files of two runs never mix. In a directory that was not ours only
/// files go that the new run is going to write; a folder `samples` there is somebody else's.
fn clear(path: &Path, ours: bool) -> Result<()> {
    for name in OWN {
        let file = path.join(name);
        let Ok(found) = fs::symlink_metadata(&file) else { continue };
        let removed = match found.is_dir() {
            true if ours => fs::remove_dir_all(&file),
            true => continue,
            false => fs::remove_file(&file),
        };
        removed.map_err(|e| Error::io(&file, e))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(path: &Path, existing: Existing, says: &str) {
        let error = RunDir::create(path, existing).unwrap_err().to_string();
        assert!(error.contains(says) && error.contains(path.to_str().unwrap()), "{error}");
    }

    #[test]
    fn a_new_directory_takes_files() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("deep/down");
        let run = RunDir::create(&path, Existing::Refuse).unwrap();
        run.write("samples/0001.png", b"first").unwrap();
        run.write("samples/0001.png", b"second").unwrap();
        run.write_json("metrics.json", &serde_json::json!({"kid_after": 0.25})).unwrap();
        assert_eq!(fs::read(path.join("samples/0001.png")).unwrap(), b"second");
        assert_eq!(fs::read_to_string(path.join("metrics.json")).unwrap(), "{\n  \"kid_after\": 0.25\n}\n");
        assert_eq!(fs::read_dir(path.join("samples")).unwrap().count(), 1, "nothing half-written stays");
    }

    #[test]
    fn only_one_run_at_a_time() {
        let dir = tempfile::tempdir().unwrap();
        let run = RunDir::create(dir.path(), Existing::Refuse).unwrap();
        run.write("loss.png", b"x").unwrap();
        refused(dir.path(), Existing::ReplaceRun, "another run is writing here");
        assert!(dir.path().join("loss.png").exists());
        drop(run);
        RunDir::create(dir.path(), Existing::ReplaceRun).unwrap();
        assert!(!dir.path().join("loss.png").exists());
    }

    #[test]
    fn an_earlier_run_stays_until_there_is_something_in_its_place() {
        let dir = tempfile::tempdir().unwrap();
        RunDir::create(dir.path(), Existing::Refuse).unwrap().write("loss.png", b"x").unwrap();
        let there = || dir.path().join("loss.png").exists();
        drop(RunDir::claim(dir.path(), Existing::ReplaceRun).unwrap());
        assert!(there());
        RunDir::claim(dir.path(), Existing::Resume).unwrap().clear_earlier().unwrap();
        assert!(there(), "a run that goes on clears nothing");
        let run = RunDir::claim(dir.path(), Existing::ReplaceRun).unwrap();
        refused(dir.path(), Existing::ReplaceRun, "another run is writing here");
        run.clear_earlier().unwrap();
        assert!(!there());
    }

    #[test]
    fn what_dead_processes_were_writing_goes_with_the_next_owner() {
        let dir = tempfile::tempdir().unwrap();
        drop(RunDir::create(dir.path(), Existing::Refuse).unwrap());
        // A process that died before its settings were written: the same command can be given again.
        let at = |name: &str| dir.path().join(name);
        fs::write(at(".config.toml.17.part"), "[tr").unwrap();
        let marker = fs::read(at(MARKER)).unwrap();
        fs::write(at(MARKER), &marker[..7]).unwrap();
        let run = RunDir::create(dir.path(), Existing::Refuse).unwrap();
        assert!(!at(".config.toml.17.part").exists() && fs::read(at(MARKER)).unwrap() == marker);
        run.write("rounds/01/samples/1.png", b"x").unwrap();
        run.write("samples/1.png", b"x").unwrap();
        let parts = [".model.safetensors.17.part", "samples/.1.png.17.part", "rounds/01/samples/.1.png.17.part"];
        let others = [".thesis.tex.17.part", ".model.safetensors.part", "samples/.1.png.swp"];
        parts.iter().chain(&others).for_each(|name| fs::write(at(name), "x").unwrap());
        refused(dir.path(), Existing::Resume, "another run is writing here");
        assert!(parts.iter().all(|name| at(name).exists()), "they may be the owner's");
        drop(run);
        RunDir::create(dir.path(), Existing::Resume).unwrap();
        assert!(parts.iter().all(|name| !at(name).exists()) && others.iter().all(|name| at(name).exists()));
        refused(dir.path(), Existing::Refuse, "not empty");
    }

    #[test]
    fn foreign_directories_are_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("thesis.tex"), "years").unwrap();
        fs::write(dir.path().join("metrics.json"), "{}").unwrap();
        fs::create_dir(dir.path().join("samples")).unwrap();
        refused(dir.path(), Existing::Refuse, "not empty");
        refused(dir.path(), Existing::ReplaceRun, "no run of veridical made it");
        refused(dir.path(), Existing::Resume, "no run of veridical to resume");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 3, "a refusal leaves no trace");

        RunDir::create(dir.path(), Existing::Overwrite).unwrap();
        assert!(dir.path().join("thesis.tex").exists() && dir.path().join("samples").exists());
        assert!(!dir.path().join("metrics.json").exists());
    }

    #[test]
    fn what_is_in_the_way_is_found_before_it_is_needed() {
        let dir = tempfile::tempdir().unwrap();
        let run = RunDir::create(dir.path(), Existing::Refuse).unwrap();
        let there = || fs::read_dir(dir.path()).unwrap().count();
        run.check_writable(&["report.html"], &["samples", "checkpoints"]).unwrap();
        assert_eq!(there(), 1, "a trial leaves nothing behind");
        fs::write(dir.path().join("samples"), "a file").unwrap();
        let error = run.check_writable(&[], &["samples"]).unwrap_err().to_string();
        assert!(error.contains("samples"), "{error}");
        fs::create_dir(dir.path().join("report.html")).unwrap();
        let error = run.check_writable(&["report.html"], &[]).unwrap_err().to_string();
        assert!(error.contains("report.html: a directory"), "{error}");
    }

    #[test]
    fn a_run_goes_on_where_it_was() {
        let dir = tempfile::tempdir().unwrap();
        let run = RunDir::create(dir.path(), Existing::Refuse).unwrap();
        run.log().unwrap().append(&serde_json::json!({"step": 1})).unwrap();
        drop(run);
        refused(dir.path(), Existing::Refuse, "not empty");
        let run = RunDir::create(dir.path(), Existing::Resume).unwrap();
        run.log().unwrap().append(&serde_json::json!({"step": 2})).unwrap();
        assert_eq!(crate::train::log::read(dir.path().join("log.jsonl")).unwrap().len(), 2);
    }

    #[test]
    fn what_cannot_be_written_says_so() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("file");
        fs::write(&file, "x").unwrap();
        refused(&file, Existing::Overwrite, "give a directory");
        refused(&file.join("below"), Existing::Overwrite, "give a directory");
        assert!(matches!(write_atomic(dir.path().join("none/x"), b""), Err(Error::Io { .. })));
        assert!(matches!(write_atomic("/", b""), Err(Error::Argument { .. })));
        // A directory in the way of the rename: the error names it, and the file beside it goes.
        fs::create_dir_all(dir.path().join("taken/inside")).unwrap();
        assert!(matches!(write_atomic(dir.path().join("taken"), b"x"), Err(Error::Io { .. })));
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 2);
    }
}
