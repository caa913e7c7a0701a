//! Whether results can be written, asked before the work that makes them.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use veridical::train::{Existing, RunDir};
use veridical::{Error, Result};

use super::interrupt;

/// What a file holds, which the ending of its name must not contradict.
#[derive(Clone, Copy)]
pub enum Form {
    /// Named tensors.
    Tensors,
    /// Named tensors, or a data set.
    Samples,
    /// An array, or several.
    Numbers,
    Picture,
    Json,
    /// JSON, an object a line.
    JsonLines,
}

impl Form {
    fn endings(self) -> &'static [&'static str] {
        match self {
            Form::Tensors => &["safetensors"],
            Form::Samples => &["safetensors", "npz", "tif", "tiff"],
            Form::Numbers => &["npy", "npz", "tif", "tiff"],
            Form::Picture => &["png"],
            Form::Json => &["json"],
            Form::JsonLines => &["jsonl", "json"],
        }
    }
}

/// Errors unless a file can be written under every path that was given: flags by name, what they write, where.
/// A name may have no ending, or a number for one (`model-0.05`). Any other than that of a form that is written is
/// refused: it would mislead whoever opens the file, or what was meant by it is not to be had. Nothing is left behind.
pub fn check<'a>(outputs: impl IntoIterator<Item = (&'a str, Form, Option<&'a PathBuf>)>) -> Result<()> {
    let _writing = interrupt::writing();
    let mut taken: Vec<(&str, &PathBuf)> = Vec::new();
    for (flag, form, path) in outputs {
        let Some(path) = path else { continue };
        if let Some((other, _)) = taken.iter().find(|(_, known)| *known == path) {
            let what = format!("{other} and {flag} both name {}: give each a file of its own", path.display());
            return Err(Error::Config(what));
        }
        let ending = ending(path);
        if !ending.bytes().all(|byte| byte.is_ascii_digit()) && !form.endings().contains(&&*ending) {
            let forms = form.endings().join(" or .");
            return Err(Error::Config(format!(
                "{flag} {}: what is written is .{forms}; end the name so",
                path.display()
            )));
        }
        writable(flag, path)?;
        taken.push((flag, path));
    }
    Ok(())
}

/// Errors where an output, given by a flag, is one of the files that the command reads: it would be gone.
pub fn apart<'a>(outputs: &[(&str, &Path)], inputs: impl IntoIterator<Item = (&'a str, &'a Path)>) -> Result<()> {
    let real = |path: &Path| fs::canonicalize(path).ok();
    for (input_flag, input) in inputs {
        let files = [Some(input.to_path_buf()), input.is_dir().then(|| input.join("model.safetensors"))];
        for (flag, output) in outputs {
            let Some(there) = real(output) else { continue };
            if files.iter().flatten().any(|file| real(file).is_some_and(|file| file == there)) {
                let shown = output.display();
                return Err(Error::Config(format!(
                    "{flag} {shown} is what {input_flag} is read from; give it another name"
                )));
            }
        }
    }
    Ok(())
}

/// Errors where the directory of a run lies in a folder of data, among whose files its own would be.
pub fn outside<'a>(out: &Path, data: impl IntoIterator<Item = &'a str>) -> Result<()> {
    let place = std::path::absolute(out).map_err(|e| Error::io(out, e))?;
    let Some(place) = place.ancestors().find_map(|part| fs::canonicalize(part).ok()) else { return Ok(()) };
    for path in data {
        if let Ok(folder) = fs::canonicalize(path)
            && folder.is_dir()
            && place.starts_with(&folder)
        {
            return Err(Error::Config(format!(
                "--out {}: it lies in the folder of the data, {path}, whose files a run's would be among; give a directory elsewhere",
                out.display()
            )));
        }
    }
    Ok(())
}

/// A directory of results, where those of an earlier run are to be replaced ([`RunDir::clear_earlier`]); with
/// `overwrite` they may go beside anybody's files.
pub fn claimed(out: &Path, overwrite: bool) -> Result<RunDir> {
    let existing = if overwrite { Existing::Overwrite } else { Existing::ReplaceRun };
    let foreign = out.is_dir() && !RunDir::is_run(out);
    RunDir::claim(out, existing).map_err(|e| match e {
        Error::Config(what) if foreign && !overwrite => {
            Error::Config(format!("{what}, or write beside what is there by --overwrite"))
        }
        other => other,
    })
}

/// What the name ends in after its last dot, in small letters; nothing if there is none.
pub fn ending(path: &Path) -> String {
    path.extension().unwrap_or_default().to_string_lossy().to_lowercase()
}

/// Errors unless `path`, which `flag` names, can become a file: its folder is there and takes files, and it is not
/// something else.
fn writable(flag: &str, path: &Path) -> Result<()> {
    let refused = |what: String| Err(Error::format(path, format!("{flag}: {what}")));
    let Some(name) = path.file_name() else { return refused("not the name of a file".into()) };
    let folder = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    if !folder.is_dir() {
        return refused(format!("{} is no folder; make it first", folder.display()));
    }
    match fs::metadata(path) {
        Ok(there) if there.is_dir() => return refused("a directory; give the name of a file".into()),
        Ok(there) if !there.is_file() => return refused("not a regular file, which would be replaced".into()),
        _ => {}
    }
    // Named as `write_atomic` names the file that it writes first.
    let mut trial = std::ffi::OsString::from(".");
    trial.push(name);
    trial.push(format!(".{}.part", std::process::id()));
    let trial = folder.join(trial);
    File::create(&trial).map_err(|e| Error::format(path, format!("{flag}: cannot be written: {e}")))?;
    fs::remove_file(&trial).map_err(|e| Error::io(&trial, e))
}
