//! Settings as a file that a person can read.

use std::fmt::Write;

use toml::{Table, Value};

use super::About;
use crate::error::{Error, Result};

/// Longest line of a comment.
const WIDTH: usize = 120;

/// Settings as TOML has them. Errors on what TOML cannot hold.
pub(crate) fn table_of(settings: &impl serde::Serialize) -> Result<Table> {
    Table::try_from(settings).map_err(|e| Error::Config(format!("settings that cannot be written: {e}")))
}

/// The sections of `table`, each key under what it means.
pub(crate) fn written(table: &Table, sections: &[About]) -> String {
    let mut text = String::new();
    for About { section, meaning, keys } in sections {
        let empty = Table::new();
        let values = table.get(*section).and_then(Value::as_table).unwrap_or(&empty);
        comment(&mut text, meaning);
        // Writing to a string cannot fail.
        let _ = writeln!(text, "[{section}]");
        for key in *keys {
            if let Some(value) = values.get(key.name) {
                comment(&mut text, &key.comment());
                let _ = writeln!(text, "{} = {value}", key.name);
            }
        }
        for (key, value) in values {
            if !keys.iter().any(|known| known.name == key) {
                let _ = writeln!(text, "{key} = {value}");
            }
        }
        text.push('\n');
    }
    text.truncate(text.trim_end().len());
    text.push('\n');
    text
}

/// Adds a comment, in lines of at most [`WIDTH`] columns.
fn comment(text: &mut String, words: &str) {
    let mut columns = WIDTH;
    for word in words.split_whitespace() {
        let length = word.chars().count();
        match columns + 1 + length > WIDTH {
            true => {
                text.push_str(if text.is_empty() || text.ends_with('\n') { "# " } else { "\n# " });
                columns = 2 + length;
            }
            false => {
                text.push(' ');
                columns += 1 + length;
            }
        }
        text.push_str(word);
    }
    text.push('\n');
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::{Above, MAX_SEED, OrZero, Section, Sections};

    crate::choice! {
        /// How it goes.
        pub enum Way {
            /// As others do. There is more to say of it.
            Usual = "usual",
            /// EDM's.
            Edm = "edm",
        }
    }

    crate::settings! {
        /// What it is
        /// about.
        pub struct First {
            /// How it goes.
            way: Way = Way::Usual;
            /// How often.
            times: u32 = 3, in 1..=1 << 20;
            /// Of everything random.
            seed: u64 = 0, in 0..=MAX_SEED;
            /// How far.
            far: f64 = 0.5, in OrZero(Above(0.25));
        }
    }

    crate::sections! {
        /// All.
        #[derive(Default)]
        pub struct All {
            /// The first.
            first: First,
        }
    }

    #[test]
    fn a_file_says_what_each_key_means_and_may_be() {
        let text = written(&table_of(&All::default()).unwrap(), All::ABOUT);
        let expected = "# What it is about.\n[first]\n\
                        # How it goes: usual (as others do) or edm (EDM's).\nway = \"usual\"\n\
                        # How often (1 to 2^20).\ntimes = 3\n# Of everything random (0 to 2^63 - 1).\nseed = 0\n\
                        # How far (0, or above 0.25).\nfar = 0.5\n";
        assert_eq!(text, expected);
        assert_eq!(toml::from_str::<All>(&text).unwrap(), All::default());
        assert_eq!(First::KEYS.len(), 4);
    }

    #[test]
    fn what_a_key_may_not_hold_is_named_with_what_it_may() {
        let all = |change: fn(&mut First)| {
            let mut all = All::default();
            change(&mut all.first);
            all.in_range().map_err(|e| e.to_string())
        };
        assert_eq!(all(|_| ()), Ok(()));
        assert_eq!(all(|first| first.far = 0.0), Ok(()));
        let says = |change, expected: &str| {
            let error = all(change).unwrap_err();
            assert!(error.ends_with(expected), "{error}");
        };
        says(|first| first.times = 0, "first.times = 0, expected 1 to 2^20");
        says(|first| first.far = f64::NAN, "first.far = NaN, expected 0, or above 0.25");
        says(|first| first.far = 0.25, "first.far = 0.25, expected 0, or above 0.25");
        let error = "other".parse::<Way>().unwrap_err().to_string();
        assert!(error.ends_with("\"other\"; there are usual and edm"), "{error}");
    }

    #[test]
    fn long_comments_are_wrapped() {
        let mut text = String::from("[a]\n");
        comment(&mut text, &"word ".repeat(60));
        assert!(text.lines().count() == 4 && text.lines().all(|line| line.chars().count() <= WIDTH), "{text}");
    }
}
