//! The runs below a folder.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use serde_json::Value;
use veridical::train::{RunDir, log};
use veridical::{Error, Result};

/// How many folders down runs are looked for: `runs/method/run/rounds/1`.
const DEPTH: usize = 5;

/// A run that has a log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Run {
    /// Its path below the folder that is served.
    pub name: String,
    pub place: PathBuf,
}

/// The runs below `folder`, and in it, by their names. Errors where the folder cannot be read; one below that cannot is
/// passed over.
pub fn find(folder: &Path) -> Result<Vec<Run>> {
    let mut found = Vec::new();
    look(folder, folder, DEPTH, &mut found).map_err(|e| Error::io(folder, e))?;
    found.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(found)
}

fn look(top: &Path, folder: &Path, depth: usize, found: &mut Vec<Run>) -> std::io::Result<()> {
    if RunDir::is_run(folder) && folder.join("log.jsonl").is_file() {
        let below = folder.strip_prefix(top).unwrap_or(folder).to_string_lossy();
        let name = if below.is_empty() { ".".into() } else { below.into_owned() };
        found.push(Run { name, place: folder.into() });
    }
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        // A link may lead up again.
        if depth > 0 && entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            let _ = look(top, &entry.path(), depth - 1, found);
        }
    }
    Ok(())
}

/// What a run has told of itself.
#[derive(Debug)]
pub struct Told {
    pub ticks: Vec<Value>,
    /// What is wrong with its log.
    pub problem: Option<String>,
    /// Since its last line; `None` if the log is gone.
    pub age: Option<Duration>,
}

impl Run {
    pub fn told(&self) -> Told {
        let (ticks, problem) = match log::read(self.log()) {
            Ok(ticks) => (ticks, None),
            Err(e) => (Vec::new(), Some(e.to_string())),
        };
        let age = self.changed().map(|at| SystemTime::now().duration_since(at).unwrap_or_default());
        Told { ticks, problem, age }
    }

    /// When the log was last written.
    pub fn changed(&self) -> Option<SystemTime> {
        fs::metadata(self.log()).and_then(|log| log.modified()).ok()
    }

    fn log(&self) -> PathBuf {
        self.place.join("log.jsonl")
    }

    /// The file of the newest picture of samples.
    pub fn newest_samples(&self) -> Option<PathBuf> {
        let count = |path: &Path| path.file_name()?.to_str()?.strip_suffix(".png")?.parse::<u64>().ok();
        let entries = fs::read_dir(self.place.join("samples")).ok()?;
        let pictures = entries.filter_map(|entry| entry.ok().map(|entry| entry.path()));
        pictures.filter_map(|path| Some((count(&path)?, path))).max().map(|(_, path)| path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use veridical::train::Existing;

    #[test]
    fn runs_are_found_where_they_lie() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(find(dir.path()).unwrap(), []);
        for name in ["b", "a/rounds/1", "no-log"] {
            let run = RunDir::create(dir.path().join(name), Existing::Refuse).unwrap();
            if name != "no-log" {
                run.log().unwrap();
            }
        }
        fs::create_dir(dir.path().join("data")).unwrap();
        fs::write(dir.path().join("data/log.jsonl"), "{}\n").unwrap();
        #[cfg(unix)]
        std::os::unix::fs::symlink(dir.path(), dir.path().join("circle")).unwrap();
        let names = |folder: &Path| find(folder).unwrap().into_iter().map(|run| run.name).collect::<Vec<_>>();
        assert_eq!(names(dir.path()), ["a/rounds/1", "b"]);
        assert_eq!(names(&dir.path().join("b")), ["."]);
        assert!(find(&dir.path().join("none")).unwrap_err().to_string().contains("none"));
    }

    #[test]
    fn a_log_that_is_broken_is_told_of() {
        let dir = tempfile::tempdir().unwrap();
        let run = Run { name: "run".into(), place: dir.path().into() };
        let write = |text: &str| fs::write(dir.path().join("log.jsonl"), text).unwrap();
        write("{\"step\":1}\n{\"step\":2");
        let told = run.told();
        assert_eq!((told.ticks.len(), told.problem), (1, None), "a line that is being written is none yet");
        write("{\"step\":1}\nnonsense\n");
        let told = run.told();
        assert!(told.ticks.is_empty() && told.problem.unwrap().contains("line 2") && told.age.is_some());
        fs::remove_file(dir.path().join("log.jsonl")).unwrap();
        assert!(run.told().problem.is_some() && run.told().age.is_none());
        assert_eq!(run.newest_samples(), None);
        fs::create_dir(dir.path().join("samples")).unwrap();
        for name in ["9.png", "10.png", "denoised.png"] {
            fs::write(dir.path().join("samples").join(name), "").unwrap();
        }
        assert_eq!(run.newest_samples(), Some(dir.path().join("samples/10.png")));
    }
}
