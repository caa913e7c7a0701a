//! Files that hold their own checksum: a CRC-32 of all their bytes, written in eight hexadecimal digits, with zeros
//! where it stands.
//!
//! It stays text in a place where the file's format has text (a field of JSON, the metadata of safetensors, a comment
//! of TOML), so that every other program reads the file as before, and any one changed byte is noticed here.

use std::path::Path;

use serde_json::Value;

use crate::error::{Error, Result};
use crate::files::{read_text, write_atomic};

/// What stands in the place of the checksum until it is known.
pub const BLANK: &str = "00000000";
/// The field of a JSON file.
const FIELD: &str = "checksum";
/// What stands before the digits in a JSON file. Quotation marks inside of texts are escaped there, so it occurs once.
const FIELD_MARK: &str = "\"checksum\": \"";

/// What a file says of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Seal {
    /// It states no checksum.
    None,
    /// It is as it was written.
    Sound,
    /// It is not.
    Broken {
        /// What its bytes come to.
        found: u32,
    },
}

/// The CRC-32 of zip and PNG.
pub fn crc32(bytes: &[u8]) -> u32 {
    let mut crc = flate2::Crc::new();
    crc.update(bytes);
    crc.sum()
}

/// Where the eight digits stand: after the first `mark`.
fn place(bytes: &[u8], mark: &str) -> Option<std::ops::Range<usize>> {
    let first = bytes.windows(mark.len()).position(|window| window == mark.as_bytes())? + mark.len();
    (first + BLANK.len() <= bytes.len()).then_some(first..first + BLANK.len())
}

/// Puts the checksum of `bytes` in the place of the [`BLANK`] that follows `mark`. Bytes without such a place are left
/// as they are.
pub fn seal(bytes: &mut [u8], mark: &str) {
    if let Some(place) = place(bytes, mark).filter(|place| &bytes[place.clone()] == BLANK.as_bytes()) {
        let digits = format!("{:08x}", crc32(bytes));
        bytes[place].copy_from_slice(digits.as_bytes());
    }
}

/// Whether bytes are as [`seal`] left them; `mark` is looked for in the first `reach` of them.
pub fn check(bytes: &[u8], mark: &str, reach: usize) -> Seal {
    let Some(place) = place(&bytes[..reach.min(bytes.len())], mark) else { return Seal::None };
    let mut crc = flate2::Crc::new();
    crc.update(&bytes[..place.start]);
    crc.update(BLANK.as_bytes());
    crc.update(&bytes[place.end..]);
    match bytes[place] == *format!("{:08x}", crc.sum()).as_bytes() {
        true => Seal::Sound,
        false => Seal::Broken { found: crc.sum() },
    }
}

/// Errors on a file that is not as it was written.
pub fn refuse_broken(path: &Path, seal: Seal) -> Result<()> {
    match seal {
        Seal::Broken { found } => {
            let what =
                format!("its bytes come to the checksum {found:08x}, not to the one that it states: torn or changed");
            Err(Error::format(path, what))
        }
        Seal::None | Seal::Sound => Ok(()),
    }
}

/// Writes an object as JSON that a person can read, with its checksum. Errors on what is no object, and on output.
pub fn write_json(path: &Path, object: &impl serde::Serialize) -> Result<()> {
    let mut value = serde_json::to_value(object).map_err(|e| Error::argument("write_json", e.to_string()))?;
    let Some(fields) = value.as_object_mut() else {
        return Err(Error::argument("write_json", format!("expected an object with named fields, got {value}")));
    };
    fields.insert(FIELD.into(), BLANK.into());
    let text = serde_json::to_string_pretty(&value).map_err(|e| Error::argument("write_json", e.to_string()))?;
    let mut bytes = (text + "\n").into_bytes();
    seal(&mut bytes, FIELD_MARK);
    write_atomic(path, &bytes)
}

/// Reads JSON of at most `most` bytes; `what` says what it is to be. Returns the value without the checksum, and
/// whether it had one.
///
/// Errors on input, on text that is no JSON, and on a file that is not as it was written.
pub fn read_json(path: &Path, most: u64, what: &str) -> Result<(Value, bool)> {
    let text = read_text(path, most, what)?;
    let seal = check(text.as_bytes(), FIELD_MARK, text.len());
    refuse_broken(path, seal)?;
    let mut value: Value = serde_json::from_str(&text).map_err(|e| Error::format(path, format!("no {what}: {e}")))?;
    if let Some(fields) = value.as_object_mut().filter(|_| seal == Seal::Sound) {
        fields.remove(FIELD);
    }
    Ok((value, seal == Seal::Sound))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_changed_byte_and_any_cut_is_noticed() {
        // The check value of CRC-32 (Williams 1993).
        assert_eq!(crc32(b"123456789"), 0xcbf4_3926);
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state.json");
        let object = serde_json::json!({"step": 5, "text": "\"checksum\": \"00000000", "zeros": "00000000"});
        write_json(&path, &object).unwrap();
        let whole = std::fs::read(&path).unwrap();
        assert_eq!(read_json(&path, 1 << 20, "state").unwrap(), (object.clone(), true));
        for i in 0..whole.len() {
            for flip in [1, 0x80] {
                let mut bytes = whole.clone();
                bytes[i] ^= flip;
                std::fs::write(&path, &bytes).unwrap();
                // What is taken without a checksum has another name for it: the reader's structure refuses that.
                let taken = read_json(&path, 1 << 20, "state");
                assert!(!taken.is_ok_and(|(value, sealed)| sealed || value == object), "byte {i}");
            }
            std::fs::write(&path, &whole[..i]).unwrap();
            assert!(read_json(&path, 1 << 20, "state").is_err() || i == whole.len() - 1, "cut at {i}");
        }
        // Without its last byte, the end of the line, it is whole JSON; the checksum knows better.
        std::fs::write(&path, &whole[..whole.len() - 1]).unwrap();
        assert!(read_json(&path, 1 << 20, "state").unwrap_err().to_string().contains("torn or changed"));
    }

    #[test]
    fn what_states_no_checksum_is_said_to_have_none() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("old.json");
        std::fs::write(&path, "{\"step\": 5}").unwrap();
        assert_eq!(read_json(&path, 100, "state").unwrap(), (serde_json::json!({"step": 5}), false));
        assert_eq!(check(b"checksum 0000", "checksum ", 100), Seal::None);
        let mut bytes = *b"checksum 00000000.";
        seal(&mut bytes, "checksum ");
        assert_eq!(check(&bytes, "checksum ", 100), Seal::Sound);
        assert_eq!(check(&bytes, "checksum ", 10), Seal::None, "out of reach");
        bytes[17] = b'!';
        assert!(matches!(check(&bytes, "checksum ", 100), Seal::Broken { .. }));
        assert!(write_json(&path, &[1]).is_err());
    }
}
