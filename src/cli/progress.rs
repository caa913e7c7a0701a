//! News on standard error.

use std::io::Write;

/// A line of news on standard error.
pub fn note(text: &str) {
    let _ = writeln!(std::io::stderr(), "{text}");
}
