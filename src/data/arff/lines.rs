//! Lines of a text that may be packed, endless, or no text.

use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use crate::data::source;
use crate::{Error, Result};

/// Bytes of a line: a million values of 16 characters.
const MAX_LINE: u64 = 1 << 24;

/// The lines of a file, unpacked on the way if it starts as gzip does.
pub struct Lines {
    path: PathBuf,
    source: BufReader<Box<dyn Read>>,
    buffer: Vec<u8>,
    /// The number of the line that was read last, from 1 on.
    pub number: usize,
    /// Bytes that may yet come.
    left: u64,
}

impl Lines {
    pub fn open(path: &Path) -> Result<Self> {
        let source = BufReader::with_capacity(1 << 16, source::open(path)?);
        Ok(Lines { path: path.into(), source, buffer: Vec::new(), number: 0, left: source::MAX_BYTES })
    }

    /// The next line without its end; `None` at the end of the file.
    ///
    /// Errors on bytes that are no UTF-8, on lines beyond 16 MiB, on files that unpack to more than 16 GiB, and where
    /// a packed file is damaged or cut short.
    pub fn next(&mut self) -> Result<Option<&str>> {
        self.buffer.clear();
        let limit = MAX_LINE.min(self.left) + 1;
        let read = (&mut self.source).take(limit).read_until(b'\n', &mut self.buffer);
        let read = read.map_err(|e| source::damaged(&self.path, e))? as u64;
        if read == 0 {
            return Ok(None);
        }
        self.number += 1;
        if read == limit {
            let what = if self.left < MAX_LINE {
                format!("holds more than the {} bytes that a file may take; split it", source::MAX_BYTES)
            } else {
                format!("line {} is longer than {MAX_LINE} bytes; is this a file of text?", self.number)
            };
            return Err(Error::format(&self.path, what));
        }
        self.left -= read;
        let number = self.number;
        let mut line = self.buffer.as_slice();
        while let [rest @ .., b'\n' | b'\r'] = line {
            line = rest;
        }
        if number == 1 {
            line = line.strip_prefix(b"\xef\xbb\xbf").unwrap_or(line); // what some editors put first
        }
        std::str::from_utf8(line).map(Some).map_err(|e| {
            let at = e.valid_up_to() + 1;
            let what =
                format!("line {number}: not UTF-8 from byte {at} of the line on; convert the file, with iconv say");
            Error::format(&self.path, what)
        })
    }
}
