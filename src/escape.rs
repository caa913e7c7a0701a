//! Names that come from a file or a folder, made safe to print.

use std::ffi::OsStr;
use std::fmt::{self, Display, Write};

/// A name from outside, as it may be printed on one line of a terminal, a log or a page: control characters, line
/// separators and the marks that turn the direction of writing become escapes such as `\u{1b}` and `\n`, bytes that are
/// no UTF-8 become `\xff`.
///
/// Whoever makes a file chooses the names in it; printed as they are, they could move the cursor, hide what was written
/// before, or forge a line. Takes text and paths. All other characters stay as they are.
pub fn escaped<Name: AsRef<OsStr> + ?Sized>(name: &Name) -> impl Display + '_ {
    Escaped(name.as_ref())
}

struct Escaped<'a>(&'a OsStr);

impl Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for chunk in self.0.as_encoded_bytes().utf8_chunks() {
            for c in chunk.valid().chars() {
                if acts(c) { write!(f, "{}", c.escape_debug())? } else { f.write_char(c)? }
            }
            for byte in chunk.invalid() {
                write!(f, "\\x{byte:02x}")?;
            }
        }
        Ok(())
    }
}

/// As [`escaped`], for text of several lines, whose ends stay.
pub fn escaped_lines(text: &str) -> String {
    text.split('\n').map(|line| escaped(line).to_string()).collect::<Vec<_>>().join("\n")
}

/// The same JSON, in which whatever [`escaped`] writes out stands as `\u001b` does: it may be printed, and reads as
/// before.
pub fn escaped_json(json: &str) -> String {
    let mut printed = String::with_capacity(json.len());
    for c in json.chars() {
        match acts(c) && c != '\n' {
            // All of them are below U+10000: one unit of UTF-16.
            true => printed.push_str(&format!("\\u{:04x}", u32::from(c))),
            false => printed.push(c),
        }
    }
    printed
}

/// Whether a character does something to what stands around it, instead of being seen.
pub(crate) fn acts(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{2028}' | '\u{2029}' | '\u{200e}' | '\u{200f}' | '\u{61c}')
        || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_acts_on_a_terminal_is_written_out() {
        let cases = [
            ("bus", "bus"),
            ("Füße \\ 猫 👍🏽", "Füße \\ 猫 👍🏽"),
            ("\x1b[2J\x1b[31mevil\x07", "\\u{1b}[2J\\u{1b}[31mevil\\u{7}"),
            ("two\nlines\r\t\0", "two\\nlines\\r\\t\\0"),
            ("\u{9b}31m\u{7f}", "\\u{9b}31m\\u{7f}"),
            ("gpj.\u{202e}exe\u{2066}\u{2028}", "gpj.\\u{202e}exe\\u{2066}\\u{2028}"),
        ];
        for (name, expected) in cases {
            assert_eq!(escaped(name).to_string(), expected);
        }
    }

    #[test]
    fn lines_keep_their_ends_and_json_its_meaning() {
        assert_eq!(escaped_lines("a\x1b\nb\r\n"), "a\\u{1b}\nb\\r\n");
        let value = serde_json::json!({"a\u{1b}[2J": "\u{9b}\u{202e}x\u{7f}", "b": "two\nlines"});
        let printed = escaped_json(&serde_json::to_string_pretty(&value).unwrap());
        assert!(!printed.chars().any(|c| acts(c) && c != '\n'), "{printed}");
        assert_eq!(serde_json::from_str::<serde_json::Value>(&printed).unwrap(), value);
    }

    #[cfg(unix)]
    #[test]
    fn bytes_that_are_no_text_stay_apart() {
        use std::os::unix::ffi::OsStrExt;
        let shown = |bytes: &[u8]| escaped(OsStr::from_bytes(bytes)).to_string();
        assert_eq!(shown(b"caf\xe9"), "caf\\xe9");
        assert_eq!(shown(b"caf\xe8/\xff\x1b.png"), "caf\\xe8/\\xff\\u{1b}.png");
        assert_eq!(escaped(std::path::Path::new("a/b.png")).to_string(), "a/b.png");
    }
}
