//! Directories of checkpoints: how one gets its name, and which go.

use std::fs;
use std::path::Path;

use super::{PARTIAL, name, steps};
use crate::error::{Error, Result};
use crate::files;

/// A directory whose place another one is about to take starts so.
const REPLACED: &str = ".replaced-";

/// What a step's directory is called while another one takes its place.
fn replaced(path: &Path) -> String {
    format!("{REPLACED}{}", path.file_name().unwrap_or_default().to_string_lossy())
}

/// Gives a finished directory its name.
pub(super) fn publish(partial: &Path, path: &Path) -> Result<()> {
    if path.exists() {
        // Left by a run that was resumed from an earlier step, perhaps torn: the new one takes its place. Should the
        // process die between the two renames, `recover` brings the old one back.
        let aside = path.with_file_name(replaced(path));
        let _ = fs::remove_dir_all(&aside);
        fs::rename(path, &aside).map_err(|e| Error::io(path, e))?;
        fs::rename(partial, path).map_err(|e| Error::io(path, e))?;
        let _ = fs::remove_dir_all(aside);
    } else {
        fs::rename(partial, path).map_err(|e| Error::io(path, e))?;
    }
    path.parent().into_iter().for_each(files::sync_directory);
    Ok(())
}

/// Removes old checkpoints: all but the last `keep_last` up to step `current` and those whose step is a multiple of
/// `keep_every` (0: none of them). Later ones, which a resumed run passed over because they are not whole, do not count
/// and stay until it gets there.
pub fn prune(directory: &Path, current: u64, keep_last: usize, keep_every: u64) -> Result<()> {
    let steps: Vec<u64> = steps(directory)?.into_iter().filter(|&step| step <= current).collect();
    for &step in &steps[..steps.len().saturating_sub(keep_last.max(1))] {
        if keep_every == 0 || !step.is_multiple_of(keep_every) {
            let path = directory.join(name(step));
            // Renamed first, so that a half-removed one is not taken for a torn one.
            let aside = directory.join(format!("{PARTIAL}{}-removed", name(step)));
            fs::rename(&path, &aside).map_err(|e| Error::io(&path, e))?;
            fs::remove_dir_all(&aside).map_err(|e| Error::io(&aside, e))?;
        }
    }
    Ok(())
}

/// Clears up after a process that died: a checkpoint that was about to be replaced and was not is brought back, what
/// was being written or removed goes. Only for the owner of the directory.
pub fn recover(directory: &Path) -> Result<()> {
    let Ok(entries) = fs::read_dir(directory) else { return Ok(()) };
    for entry in entries {
        let path = entry.map_err(|e| Error::io(directory, e))?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let whole = name.strip_prefix(REPLACED).map(|name| directory.join(name));
        match whole {
            Some(whole) if !whole.exists() => fs::rename(&path, whole).map_err(|e| Error::io(&path, e))?,
            None if !name.starts_with(PARTIAL) => {}
            _ => fs::remove_dir_all(&path).map_err(|e| Error::io(&path, e))?,
        }
    }
    Ok(())
}
