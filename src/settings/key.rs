//! Keys, and what they mean.

/// A section of a settings file.
#[derive(Debug, Clone, Copy)]
pub struct About {
    /// Its name.
    pub section: &'static str,
    /// What it is about.
    pub meaning: &'static str,
    /// Its keys, in the order of the file.
    pub keys: &'static [Key],
}

/// A key of a section.
#[derive(Debug, Clone, Copy)]
pub struct Key {
    /// Its name.
    pub name: &'static str,
    /// What it means: a sentence.
    pub meaning: &'static str,
    /// The words that it may hold; of a key that holds something else, none.
    pub choices: &'static [Choice],
    /// Says what its values may be.
    pub range: Option<fn() -> String>,
}

/// A word that a key may hold.
#[derive(Debug, Clone, Copy)]
pub struct Choice {
    /// The word.
    pub name: &'static str,
    /// What it means: a sentence.
    pub meaning: &'static str,
}

/// What a key can hold.
pub trait Setting {
    /// The words that it may be; of anything but an enumeration, none.
    const CHOICES: &'static [Choice] = &[];
}

macro_rules! plain {
    ($($ty:ty),+) => { $(impl Setting for $ty {})+ };
}

plain!(bool, u32, u64, usize, f64, String, Vec<f64>, Vec<usize>, Vec<String>);

impl Key {
    /// The comment over the key: what it means, the words that it may hold with their meanings, and its range.
    pub fn comment(&self) -> String {
        let mut text = self.meaning.trim().trim_end_matches('.').to_string();
        if !self.choices.is_empty() {
            let words: Vec<String> = self.choices.iter().map(Choice::comment).collect();
            text = format!("{text}: {}", listed(&words, "or"));
        }
        if let Some(range) = self.range {
            text = format!("{text} ({})", range());
        }
        // What rustdoc would take for a link.
        text.replace("\\[", "[").replace("\\]", "]") + "."
    }
}

impl Choice {
    /// The word, and in brackets the first sentence of its meaning.
    fn comment(&self) -> String {
        let meaning = self.meaning.trim().split(". ").next().unwrap_or_default().trim_end_matches('.');
        let mut letters = meaning.chars();
        let first = letters.next().map(|first| match letters.clone().next() {
            // An abbreviation keeps its capitals.
            Some(second) if second.is_uppercase() => first.to_string(),
            _ => first.to_lowercase().to_string(),
        });
        match meaning.is_empty() {
            true => self.name.into(),
            false => format!("{} ({}{})", self.name, first.unwrap_or_default(), letters.as_str()),
        }
    }

    /// Errors unless `word` is one of those that there are, naming them.
    pub fn known(word: &str, there: &[Choice]) -> std::result::Result<(), String> {
        if there.iter().any(|choice| choice.name == word) {
            return Ok(());
        }
        let names: Vec<String> = there.iter().map(|choice| choice.name.to_string()).collect();
        Err(format!("{word:?}; there are {}", listed(&names, "and")))
    }
}

/// `a, b and c`.
fn listed(words: &[String], last: &str) -> String {
    match words {
        [] => String::new(),
        [one] => one.clone(),
        [first @ .., end] => format!("{} {last} {end}", first.join(", ")),
    }
}
