//! Runs compilers side by side.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

/// One compilation: a command that writes `output`, and where its messages are kept beside it.
pub struct Job {
    pub what: String,
    pub command: Command,
    pub output: PathBuf,
}

impl Job {
    fn log(&self) -> PathBuf {
        self.output.with_extension("log")
    }
}

/// Runs the jobs whose output is not there yet, as many at a time as cargo allows, and returns the messages of all, in
/// order. `accept` judges a job's messages; what it refuses leaves no output, so the next build tries again.
pub fn run(jobs: Vec<Job>, accept: impl Fn(&str) -> Result<(), String> + Sync) -> Result<Vec<String>, String> {
    let count =
        std::env::var("NUM_JOBS").ok().and_then(|n| n.parse().ok()).unwrap_or(1usize).clamp(1, jobs.len().max(1));
    let results: Vec<Mutex<Result<String, String>>> = jobs.iter().map(|_| Mutex::new(Ok(String::new()))).collect();
    let jobs: Vec<Mutex<Job>> = jobs.into_iter().map(Mutex::new).collect();
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..count {
            scope.spawn(|| {
                loop {
                    let i = next.fetch_add(1, Ordering::Relaxed);
                    let Some(job) = jobs.get(i) else { break };
                    let result = job.lock().map_or(Err("a job died".into()), |mut job| one(&mut job, &accept));
                    if let Ok(mut slot) = results[i].lock() {
                        *slot = result;
                    }
                }
            });
        }
    });
    let mut logs = Vec::new();
    let mut errors = Vec::new();
    for result in results {
        match result.into_inner().unwrap_or(Err("a job died".into())) {
            Ok(log) => logs.push(log),
            Err(error) => errors.push(error),
        }
    }
    if errors.is_empty() { Ok(logs) } else { Err(errors.join("\n")) }
}

fn one(job: &mut Job, accept: impl Fn(&str) -> Result<(), String>) -> Result<String, String> {
    let log = job.log();
    if let (true, Ok(text)) = (job.output.exists(), fs::read_to_string(&log)) {
        return Ok(text);
    }
    if let Some(text) = copy_from_other_build(&job.output, &log) {
        return Ok(text);
    }
    let result =
        job.command.output().map_err(|e| format!("{}: cannot run {:?}: {e}", job.what, job.command.get_program()))?;
    let text = String::from_utf8_lossy(&result.stdout).into_owned() + &String::from_utf8_lossy(&result.stderr);
    if !result.status.success() {
        return Err(format!("{}: {}\n{text}", job.what, result.status));
    }
    if let Err(why) = accept(&text) {
        let _ = fs::remove_file(&job.output);
        return Err(format!("{}: {why}", job.what));
    }
    fs::write(&log, &text).map_err(|e| format!("{}: {e}", log.display()))?;
    Ok(text)
}

/// Takes what a build with other features has compiled already: cargo gives it its own `build/veridical-<hash>/out`
/// beside ours, and a file's name says what it was made from. The log is written last, so a file that has one is whole.
fn copy_from_other_build(output: &Path, log: &Path) -> Option<String> {
    let inside = Path::new(output.parent()?.file_name()?).join(output.file_name()?);
    for build in fs::read_dir(output.ancestors().nth(4)?).ok()?.flatten() {
        let other = build.path().join("out").join(&inside);
        let Ok(text) = fs::read_to_string(other.with_extension("log")) else { continue };
        if fs::copy(&other, output).is_ok() && fs::write(log, &text).is_ok() {
            return Some(text);
        }
    }
    None
}

/// Removes what earlier compilations left in `folder`: every file named `<stem>-<fingerprint>.*` that is not in `keep`.
pub fn sweep(folder: &Path, keep: &[PathBuf]) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        let output = path.file_stem().is_some_and(|stem| stem.to_string_lossy().contains('-'));
        if output && !keep.iter().any(|k| k.file_stem() == path.file_stem()) {
            let _ = fs::remove_file(path);
        }
    }
}
