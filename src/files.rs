//! Files: only regular ones are read, and none is ever half-written.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::Path;

use crate::error::{Error, Result};

/// What shows that a directory is one of a run, whose files are results and no data.
pub const RUN_MARKER: &str = ".veridical-run";

/// Opens a file to read it.
///
/// Errors on what is not a regular file, and before it is opened: a pipe would wait for its writer, and a device may
/// have no end.
pub fn open(path: impl AsRef<Path>) -> Result<File> {
    let path = path.as_ref();
    let failed = |e| Error::io(path, e);
    regular(path, &fs::metadata(path).map_err(failed)?)?;
    let mut options = File::options();
    options.read(true);
    // What was a file a moment ago may be a pipe by now: it is not waited for, and refused below.
    #[cfg(target_os = "linux")]
    std::os::unix::fs::OpenOptionsExt::custom_flags(&mut options, libc::O_NONBLOCK);
    let file = options.open(path).map_err(failed)?;
    regular(path, &file.metadata().map_err(failed)?)?;
    Ok(file)
}

fn regular(path: &Path, found: &fs::Metadata) -> Result<()> {
    if found.is_file() {
        return Ok(());
    }
    let what = if found.is_dir() { "a directory, not a regular file" } else { "not a regular file" };
    Err(Error::format(path, format!("{what}; give the path of a file, a copy if need be")))
}

/// Flushes a directory, in which the names of its files live, to the disk; where that cannot be done it is left to the
/// system.
pub fn sync_directory(path: impl AsRef<Path>) {
    let path = path.as_ref();
    let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
    if let Ok(directory) = File::open(path) {
        let _ = directory.sync_all();
    }
}

/// Errors where files cannot be written in a folder, or where it is not there and cannot be made. Leaves nothing
/// behind.
pub fn check_folder(folder: impl AsRef<Path>) -> Result<()> {
    let folder = folder.as_ref();
    let missing = folder.ancestors().take_while(|part| !part.as_os_str().is_empty() && !part.exists());
    let missing: Vec<&Path> = missing.collect();
    let trial = folder.join(format!(".trial.{}.part", std::process::id()));
    let tried = fs::create_dir_all(folder).and_then(|()| File::create(&trial)).and_then(|_| fs::remove_file(&trial));
    let cleared = missing.into_iter().filter(|part| part.is_dir()).try_for_each(fs::remove_dir);
    tried.and(cleared).map_err(|e| Error::io(folder, e))
}

/// How many bytes a file has.
pub fn length(path: impl AsRef<Path>) -> Result<u64> {
    let path = path.as_ref();
    Ok(fs::metadata(path).map_err(|e| Error::io(path, e))?.len())
}

/// The bytes of a regular file; errors as [`open`].
pub fn read(path: impl AsRef<Path>) -> Result<Vec<u8>> {
    let path = path.as_ref();
    let mut bytes = Vec::new();
    open(path)?.read_to_end(&mut bytes).map_err(|e| Error::io(path, e))?;
    Ok(bytes)
}

/// The bytes of a regular file of at most `most` bytes; `what` says what it is to be. Errors as [`open`], and on larger
/// files.
pub fn read_at_most(path: impl AsRef<Path>, most: u64, what: &str) -> Result<Vec<u8>> {
    let path = path.as_ref();
    let file = open(path)?;
    let size = file.metadata().map_err(|e| Error::io(path, e))?.len();
    let too_many = |size| Error::format(path, format!("{size} bytes are no {what}, which has {most} at most"));
    if size > most {
        return Err(too_many(size));
    }
    let mut bytes = Vec::with_capacity(size as usize);
    // A file may grow, or not know its size.
    file.take(most.saturating_add(1)).read_to_end(&mut bytes).map_err(|e| Error::io(path, e))?;
    if bytes.len() as u64 > most { Err(too_many(bytes.len() as u64)) } else { Ok(bytes) }
}

/// The text of a regular file of at most `most` bytes; `what` says what it is to be. Errors as [`read_at_most`], and on
/// bytes that are no UTF-8.
pub fn read_text(path: impl AsRef<Path>, most: u64, what: &str) -> Result<String> {
    let path = path.as_ref();
    String::from_utf8(read_at_most(path, most, what)?).map_err(|e| {
        let at = e.utf8_error().valid_up_to();
        Error::format(path, format!("no {what}: not UTF-8 from byte {at} on; convert it"))
    })
}

/// What the system says in a file of its own making, below `/proc` or `/sys`; nothing if it has none.
pub fn system(path: impl AsRef<Path>) -> Option<String> {
    fs::read_to_string(path).ok()
}

/// What a file called `name` is called while [`write_atomic`] writes it.
fn part_of(name: &OsStr) -> OsString {
    let mut part = OsString::from(".");
    part.push(name);
    part.push(format!(".{}.part", std::process::id()));
    part
}

/// The name of the file that was being written, if `part` is what a process calls a file while it writes it. One that
/// nobody writes any more was left by a process that died.
pub(crate) fn being_written(part: &OsStr) -> Option<&str> {
    let (name, process) = part.to_str()?.strip_prefix('.')?.strip_suffix(".part")?.rsplit_once('.')?;
    (!name.is_empty() && !process.is_empty() && process.bytes().all(|byte| byte.is_ascii_digit())).then_some(name)
}

/// Writes a file so that its name holds either the old bytes or the new ones, whatever happens in between: into a file
/// beside it, flushed to the disk, then renamed.
pub fn write_atomic(path: impl AsRef<Path>, bytes: &[u8]) -> Result<()> {
    let path = path.as_ref();
    let failed = |e| Error::io(path, e);
    let Some(name) = path.file_name() else {
        return Err(Error::argument("write_atomic", format!("{} does not name a file", path.display())));
    };
    let part = path.with_file_name(part_of(name));
    let written = (|| {
        let mut file = File::create(&part)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        drop(file);
        fs::rename(&part, path)
    })();
    if let Err(e) = written {
        let _ = fs::remove_file(&part);
        return Err(failed(e));
    }
    path.parent().into_iter().for_each(sync_directory); // the rename itself lives there
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_are_tried_and_left_as_they_were() {
        let dir = tempfile::tempdir().unwrap();
        let deep = dir.path().join("a/b");
        check_folder(&deep).unwrap();
        assert!(!dir.path().join("a").exists());
        fs::create_dir(dir.path().join("a")).unwrap();
        check_folder(&deep).unwrap();
        assert!(dir.path().join("a").is_dir() && !deep.exists());
        fs::write(dir.path().join("file"), "").unwrap();
        let error = check_folder(dir.path().join("file/below")).unwrap_err().to_string();
        assert!(error.contains("file/below"), "{error}");
    }

    #[test]
    fn parts_are_told_from_other_files() {
        let part = part_of(OsStr::new("model.safetensors"));
        assert_eq!(being_written(&part), Some("model.safetensors"));
        for other in
            ["model.safetensors", ".12.part", ".hidden", ".a.part", ".a.b.part", "a.12.part", ".a.12.part2", ".a..part"]
        {
            assert_eq!(being_written(OsStr::new(other)), None, "{other}");
        }
    }
}
