//! Bytes from files that may be packed, cut short, or lie about their size.

use std::io::{BufReader, Read, Seek, SeekFrom};
use std::path::Path;

use flate2::bufread::MultiGzDecoder;

use crate::{Error, Result, files};

/// Sets larger than this do not belong in memory; a header that claims more is a lie.
pub const MAX_BYTES: u64 = 1 << 34;

/// Opens a file and unpacks it on the way if it starts as gzip does.
pub fn open(path: &Path) -> Result<Box<dyn Read>> {
    let failed = |e| Error::io(path, e);
    let mut file = files::open(path)?;
    let mut magic = [0; 2];
    let packed = read_up_to(&mut file, &mut magic).map_err(failed)? == 2 && magic == [0x1f, 0x8b];
    file.seek(SeekFrom::Start(0)).map_err(failed)?;
    let file = BufReader::with_capacity(1 << 16, file);
    Ok(if packed { Box::new(MultiGzDecoder::new(file)) } else { Box::new(file) })
}

/// Exactly `count` bytes, which must be the last ones. What is allocated grows with what is there, not with what was
/// claimed.
pub fn exactly(path: &Path, source: &mut dyn Read, count: u64, what: &str) -> Result<Vec<u8>> {
    if count > MAX_BYTES {
        return Err(Error::format(path, format!("{what} would take {count} bytes; the file is damaged")));
    }
    let mut bytes = Vec::new();
    source.take(count + 1).read_to_end(&mut bytes).map_err(|e| damaged(path, e))?;
    let found = bytes.len() as u64;
    match found.cmp(&count) {
        std::cmp::Ordering::Equal => Ok(bytes),
        std::cmp::Ordering::Less => {
            Err(Error::format(path, format!("{what} takes {count} bytes, found {found}: the file is cut short")))
        }
        std::cmp::Ordering::Greater => {
            Err(Error::format(path, format!("more follows after the {count} bytes of {what}")))
        }
    }
}

/// All bytes, which must be no more than `limit`.
pub fn all(path: &Path, source: &mut dyn Read, limit: u64) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    source.take(limit.saturating_add(1)).read_to_end(&mut bytes).map_err(|e| damaged(path, e))?;
    if bytes.len() as u64 > limit {
        return Err(Error::format(path, format!("holds more than the {limit} bytes that a file may take; split it")));
    }
    Ok(bytes)
}

/// So many zeros, or an error where the memory has no room for them.
#[cfg(feature = "formats")]
pub fn room<T: bytemuck::Zeroable + Clone>(path: &Path, count: u64) -> Result<Vec<T>> {
    let bytes = count.saturating_mul(size_of::<T>() as u64);
    let none = || Error::format(path, format!("takes {bytes} bytes, which the memory has no room for"));
    let count = usize::try_from(count).map_err(|_| none())?;
    // What cannot be had ends the process when it is asked for without trying; zeros are then not written before they
    // are needed.
    Vec::<T>::new().try_reserve_exact(count).map_err(|_| none())?;
    Ok(vec![T::zeroed(); count])
}

/// Fills `buffer` or says that the file ends inside `what`.
pub fn fill(path: &Path, source: &mut dyn Read, buffer: &mut [u8], what: &str) -> Result<()> {
    let found = read_up_to(source, buffer).map_err(|e| damaged(path, e))?;
    if found == buffer.len() {
        return Ok(());
    }
    Err(Error::format(path, format!("ends after {found} of the {} bytes of {what}", buffer.len())))
}

fn read_up_to(source: &mut dyn Read, buffer: &mut [u8]) -> std::io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match source.read(&mut buffer[filled..]) {
            Ok(0) => break,
            Ok(n) => filled += n,
            Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok(filled)
}

/// What the unpacker says of damaged data is the file's fault, everything else the system's.
pub fn damaged(path: &Path, e: std::io::Error) -> Error {
    use std::io::ErrorKind::{InvalidData, InvalidInput, UnexpectedEof};
    match e.kind() {
        InvalidData | InvalidInput | UnexpectedEof => Error::format(path, format!("not sound gzip: {e}")),
        _ => Error::io(path, e),
    }
}
