//! Plain text as characters: a training part and a held-out part.

use std::path::Path;

use crate::error::{Error, Result};
use crate::files;

/// Files beyond this are no text to learn by heart in memory.
const MAX_BYTES: u64 = 1 << 30;

/// A text as indices into its own alphabet.
#[derive(Debug, Clone, PartialEq)]
pub struct Text {
    /// The characters that occur, in the order of their code points.
    pub alphabet: Vec<char>,
    /// The first nine tenths.
    pub train: Vec<u32>,
    /// The last tenth, which nothing is trained on.
    pub held_out: Vec<u32>,
}

impl Text {
    /// Reads a UTF-8 file. Errors on input, on what is no regular file, on other encodings, on files above 1 GiB, and
    /// on less than 100 characters.
    pub fn read(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let text = files::read_text(path, MAX_BYTES, "text to learn from")?;
        Self::new(&text).map_err(|e| Error::format(path, e.to_string()))
    }

    /// The text of a string. Errors on less than 100 characters.
    pub fn new(text: &str) -> Result<Self> {
        let mut alphabet: Vec<char> = text.chars().collect();
        let count = alphabet.len();
        if count < 100 {
            return Err(Error::Config(format!("a text of {count} characters; at least 100 are needed")));
        }
        alphabet.sort_unstable();
        alphabet.dedup();
        let mut train: Vec<u32> =
            text.chars().filter_map(|c| alphabet.binary_search(&c).ok()).map(|index| index as u32).collect();
        let held_out = train.split_off(count - count / 10);
        Ok(Text { alphabet, train, held_out })
    }

    /// The characters of indices; those that are none become U+FFFD.
    pub fn decode(&self, tokens: &[u32]) -> String {
        tokens.iter().map(|&t| self.alphabet.get(t as usize).copied().unwrap_or(char::REPLACEMENT_CHARACTER)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_split_and_read_back() {
        let source = "naïve — ".repeat(25);
        let text = Text::new(&source).unwrap();
        assert_eq!(text.alphabet, [' ', 'a', 'e', 'n', 'v', 'ï', '—']);
        assert_eq!((text.train.len(), text.held_out.len()), (180, 20));
        assert_eq!(text.decode(&text.train) + &text.decode(&text.held_out), source);
        assert_eq!(text.decode(&[99]), "\u{fffd}");
        assert!(Text::new("short").is_err());
    }

    #[test]
    fn what_is_no_text_says_so() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("latin1.txt");
        assert!(matches!(Text::read(&path), Err(Error::Io { .. })));
        std::fs::write(&path, [&b"a".repeat(120)[..], b"\xe9"].concat()).unwrap();
        assert!(Text::read(&path).unwrap_err().to_string().contains("byte 120"));
    }
}
