//! `log.jsonl`: one JSON object a line, one line a tick.

use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde_json::Value;

use crate::{Error, Result};

/// A log that is open for appending.
///
/// A line reaches the operating system in one write and before `append` returns, so a process that dies leaves whole
/// lines; should the machine die, at most the end of the file is torn, and [`Log::open`] and [`read`] leave a torn end
/// out.
#[derive(Debug)]
pub struct Log {
    /// `None`: another process keeps the log.
    file: Option<File>,
    path: PathBuf,
}

impl Log {
    /// Opens the log for appending; makes it if there is none. A torn last line is cut off.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref().to_path_buf();
        let failed = |e| Error::io(&path, e);
        let mut file =
            OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path).map_err(failed)?;
        let whole = end_of_last_line(&mut file).map_err(failed)?;
        file.set_len(whole).map_err(failed)?;
        file.seek(SeekFrom::End(0)).map_err(failed)?;
        Ok(Log { file: Some(file), path })
    }

    /// A log that another process keeps: what is appended here goes nowhere.
    pub(super) fn nowhere(path: PathBuf) -> Self {
        Log { file: None, path }
    }

    /// Waits until what was appended is on the disk: what a checkpoint goes on from is then there, should the machine
    /// die.
    pub fn sync(&self) -> Result<()> {
        self.file.as_ref().map_or(Ok(()), |file| file.sync_data().map_err(|e| Error::io(&self.path, e)))
    }

    /// Appends one object. Numbers that are not finite become `null`, as JSON has none.
    ///
    /// Errors if `tick` is not an object, or cannot be written.
    pub fn append(&mut self, tick: &impl Serialize) -> Result<()> {
        let value = serde_json::to_value(tick).map_err(|e| Error::argument("Log::append", e.to_string()))?;
        if !value.is_object() {
            return Err(Error::argument("Log::append", format!("a tick is an object with named fields, got {value}")));
        }
        let Some(file) = &mut self.file else { return Ok(()) };
        let line = format!("{value}\n");
        let before = file.stream_position().map_err(|e| Error::io(&self.path, e))?;
        file.write_all(line.as_bytes()).map_err(|e| {
            // A full disk: what part was written goes, so that the next tick doesn't continue a torn line.
            let _ = file.set_len(before).and_then(|()| file.seek(SeekFrom::Start(before)));
            Error::io(&self.path, e)
        })
    }
}

/// Where the last line that ends in a newline ends, searched from the back.
fn end_of_last_line(file: &mut File) -> std::io::Result<u64> {
    let mut end = file.seek(SeekFrom::End(0))?;
    let mut chunk = vec![0; 1 << 16];
    while end > 0 {
        let start = end.saturating_sub(chunk.len() as u64);
        let part = &mut chunk[..(end - start) as usize];
        file.seek(SeekFrom::Start(start))?;
        file.read_exact(part)?;
        if let Some(newline) = part.iter().rposition(|&byte| byte == b'\n') {
            return Ok(start + newline as u64 + 1);
        }
        end = start;
    }
    Ok(0)
}

/// Leaves out the ticks after `step`, which a resumed run is going to make again. A log that is not there stays so.
pub fn cut(path: impl AsRef<Path>, step: u64) -> Result<()> {
    let path = path.as_ref();
    if !path.exists() {
        return Ok(());
    }
    let (text, ticks) = whole_lines(path)?;
    // The lines as they stand: numbers that are read and written again may change in their last digits.
    let lines = text.split_inclusive(|&byte| byte == b'\n').zip(&ticks);
    let kept: Vec<&[u8]> =
        lines.filter(|(_, tick)| tick["step"].as_u64().is_some_and(|at| at <= step)).map(|(line, _)| line).collect();
    crate::files::write_atomic(path, &kept.concat())
}

/// All ticks of a log. A torn last line is left out; any other line that is no JSON object is an error that names it.
pub fn read(path: impl AsRef<Path>) -> Result<Vec<Value>> {
    whole_lines(path.as_ref()).map(|(_, ticks)| ticks)
}

/// The text of a log up to its last whole line, and the tick in each line.
fn whole_lines(path: &Path) -> Result<(Vec<u8>, Vec<Value>)> {
    let mut bytes = crate::files::read(path)?;
    let ticks = take_whole_lines(path, 0, &mut bytes)?;
    Ok((bytes, ticks))
}

/// Cuts a torn last line off, and parses the others, before which the log has `before` lines.
fn take_whole_lines(path: &Path, before: usize, bytes: &mut Vec<u8>) -> Result<Vec<Value>> {
    let whole = bytes.iter().rposition(|&byte| byte == b'\n').map_or(0, |newline| newline + 1);
    bytes.truncate(whole);
    let lines = bytes.split_inclusive(|&byte| byte == b'\n');
    let parse = |(i, line): (usize, &[u8])| match serde_json::from_slice::<Value>(line) {
        Ok(tick) if tick.is_object() => Ok(tick),
        Ok(other) => Err(Error::format(path, format!("line {}: expected an object, found {other}", before + i + 1))),
        Err(e) => Err(Error::format(path, format!("line {}: {e}", before + i + 1))),
    };
    lines.enumerate().map(parse).collect()
}

/// Reads a log while it is written.
#[derive(Debug)]
pub struct Follower {
    path: PathBuf,
    /// Bytes and lines that were read.
    read: (u64, usize),
}

impl Follower {
    /// From the first line of the log on.
    pub fn new(path: impl AsRef<Path>) -> Self {
        Follower { path: path.as_ref().to_path_buf(), read: (0, 0) }
    }

    /// The ticks that came since they were last asked for. A line that is not whole yet is left for the next time; any
    /// other that is no JSON object is an error that names it.
    pub fn ticks(&mut self) -> Result<Vec<Value>> {
        let failed = |e| Error::io(&self.path, e);
        let mut file = crate::files::open(&self.path)?;
        file.seek(SeekFrom::Start(self.read.0)).map_err(failed)?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).map_err(failed)?;
        let ticks = take_whole_lines(&self.path, self.read.1, &mut bytes)?;
        self.read = (self.read.0 + bytes.len() as u64, self.read.1 + ticks.len());
        Ok(ticks)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn ticks_come_back_and_a_torn_end_does_not() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log.jsonl");
        let mut log = Log::open(&path).unwrap();
        log.append(&json!({"step": 1, "loss": 0.5})).unwrap();
        log.append(&json!({"step": 2, "loss": f64::NAN})).unwrap();
        // What a reader sees while the log is open.
        assert_eq!(read(&path).unwrap(), [json!({"step": 1, "loss": 0.5}), json!({"step": 2, "loss": null})]);
        drop(log);

        let whole = std::fs::read(&path).unwrap();
        for cut in 0..whole.len() {
            std::fs::write(&path, &whole[..cut]).unwrap();
            let left = read(&path).unwrap().len();
            assert_eq!(left, whole[..cut].iter().filter(|&&b| b == b'\n').count());
            Log::open(&path).unwrap().append(&json!({"step": 3})).unwrap();
            let ticks = read(&path).unwrap();
            assert_eq!((ticks.len(), &ticks[left]), (left + 1, &json!({"step": 3})));
        }
    }

    #[test]
    fn a_log_is_cut_without_another_change() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log.jsonl");
        // A number whose last digit does not survive being read and written.
        let first = "{\"step\": 1, \"loss\":110.82225799560547}\n{\"step\":2}\n";
        std::fs::write(&path, format!("{first}{{\"step\":3}}\n{{\"st")).unwrap();
        cut(&path, 2).unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), first);
        cut(dir.path().join("none.jsonl"), 2).unwrap();
    }

    #[test]
    fn a_torn_end_longer_than_a_block_is_found() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log.jsonl");
        std::fs::write(&path, format!("{{\"step\":1}}\n{}", "x".repeat(200_000))).unwrap();
        Log::open(&path).unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "{\"step\":1}\n");
    }

    #[test]
    fn a_log_is_followed_line_by_line() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log.jsonl");
        let mut follower = Follower::new(&path);
        assert!(matches!(follower.ticks(), Err(Error::Io { .. })));
        let mut log = Log::open(&path).unwrap();
        assert_eq!(follower.ticks().unwrap(), [] as [Value; 0]);
        log.append(&json!({"step": 1})).unwrap();
        log.append(&json!({"step": 2})).unwrap();
        assert_eq!(follower.ticks().unwrap(), [json!({"step": 1}), json!({"step": 2})]);
        let write = |text: &[u8]| OpenOptions::new().append(true).open(&path).unwrap().write_all(text).unwrap();
        write(b"{\"step\":");
        assert!(follower.ticks().unwrap().is_empty(), "half a line is none");
        write(b"3}\n");
        assert_eq!(follower.ticks().unwrap(), [json!({"step": 3})]);
        write(b"[4]\n");
        assert!(follower.ticks().unwrap_err().to_string().contains("line 4"));
    }

    #[test]
    fn foreign_lines_and_ticks_are_errors() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log.jsonl");
        std::fs::write(&path, "{}\n[1]\n").unwrap();
        assert!(read(&path).unwrap_err().to_string().contains("line 2"));
        std::fs::write(&path, b"{}\n{}\n\xff\n").unwrap();
        assert!(read(&path).unwrap_err().to_string().contains("line 3"));
        assert!(matches!(Log::open(&path).unwrap().append(&1), Err(Error::Argument { .. })));
        assert!(matches!(Log::open(dir.path().join("no/log.jsonl")), Err(Error::Io { .. })));
    }
}
