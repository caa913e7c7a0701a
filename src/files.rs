//! Files that are never half-written.

use std::fs::{self, File};
use std::io::Write;
use std::path::Path;

use crate::error::{Error, Result};

/// Writes a file so that its name holds either the old bytes or the new ones, whatever happens in between: into a file
/// beside it, flushed to the disk, then renamed.
pub fn write_atomic(path: impl AsRef<Path>, bytes: &[u8]) -> Result<()> {
    let path = path.as_ref();
    let failed = |e| Error::io(path, e);
    let Some(name) = path.file_name() else {
        return Err(Error::argument("write_atomic", format!("{} does not name a file", path.display())));
    };
    let mut beside = std::ffi::OsString::from(".");
    beside.push(name);
    beside.push(format!(".{}.part", std::process::id()));
    let part = path.with_file_name(beside);
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
    // The rename itself lives in the directory; where directories cannot be flushed it is left to the system.
    if let Some(Ok(dir)) = path.parent().map(|p| File::open(if p.as_os_str().is_empty() { Path::new(".") } else { p }))
    {
        let _ = dir.sync_all();
    }
    Ok(())
}
