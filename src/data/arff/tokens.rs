//! The words of a line of ARFF.

use std::borrow::Cow;

/// What stands on a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Token<'a> {
    /// A name or a value; whether it was quoted, in which case `?` is a text.
    Word(Cow<'a, str>, bool),
    /// `,`
    Comma,
    /// `{`
    Open,
    /// `}`
    Close,
}

/// Goes through a line, word by word; what is wrong with it is said with the column, counted from 1.
///
/// As in Weka, blanks, commas and braces end a word, and `%` begins a comment. A quote opens a text only where a word
/// begins, and `%` a comment only there: names such as `TAG_m\'usica` and `100%` occur in published sets.
pub struct Tokens<'a> {
    line: &'a str,
    at: usize,
}

impl<'a> Tokens<'a> {
    pub fn new(line: &'a str) -> Self {
        Tokens { line, at: 0 }
    }

    /// The next word, or `None` at the end of the line or where a comment begins.
    pub fn next(&mut self) -> Result<Option<Token<'a>>, String> {
        let rest = &self.line[self.at..];
        let trimmed = rest.trim_start_matches(is_blank);
        self.at += rest.len() - trimmed.len();
        let (token, length) = match trimmed.chars().next() {
            None | Some('%') => return Ok(None),
            Some(',') => (Token::Comma, 1),
            Some('{') => (Token::Open, 1),
            Some('}') => (Token::Close, 1),
            Some(quote @ ('\'' | '"')) => {
                let (text, length) = quoted(trimmed, quote)
                    .ok_or_else(|| format!("the {quote} in column {} is not closed on its line", self.column()))?;
                (Token::Word(text.into(), true), length)
            }
            Some(_) => {
                let end = |c| is_blank(c) || matches!(c, ',' | '{' | '}');
                let word = &trimmed[..trimmed.find(end).unwrap_or(trimmed.len())];
                (Token::Word(word.into(), false), word.len())
            }
        };
        self.at += length;
        Ok(Some(token))
    }

    /// The column that comes next.
    pub fn column(&self) -> usize {
        self.line[..self.at].chars().count() + 1
    }
}

/// As in Weka, everything up to the space.
fn is_blank(c: char) -> bool {
    c <= ' '
}

/// The text between quotes, and how many bytes it takes with them. `\n`, `\r`, `\t` and `\uXXXX` are what they are
/// elsewhere; before every other character a backslash only takes its meaning from it.
fn quoted(from: &str, quote: char) -> Option<(String, usize)> {
    let mut text = String::new();
    let mut chars = from.char_indices().skip(1);
    while let Some((at, c)) = chars.next() {
        match c {
            c if c == quote => return Some((text, at + 1)),
            '\\' => {
                let (at, escaped) = chars.next()?;
                let unicode = || char::from_u32(u32::from_str_radix(from.get(at + 1..at + 5)?, 16).ok()?);
                match (escaped, (escaped == 'u').then(unicode).flatten()) {
                    ('n', _) => text.push('\n'),
                    ('r', _) => text.push('\r'),
                    ('t', _) => text.push('\t'),
                    (_, Some(c)) => {
                        text.push(c);
                        // Four digits of one byte each.
                        chars.by_ref().take(4).for_each(drop);
                    }
                    (other, None) => text.push(other),
                }
            }
            c => text.push(c),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Result<Vec<String>, String> {
        let (mut tokens, mut found) = (Tokens::new(line), Vec::new());
        while let Some(token) = tokens.next()? {
            found.push(match token {
                Token::Word(text, quoted) => format!("{}{text}", if quoted { "'" } else { "" }),
                Token::Comma => ",".into(),
                Token::Open => "{".into(),
                Token::Close => "}".into(),
            });
        }
        Ok(found)
    }

    #[test]
    fn words_are_told_apart() {
        for (line, expected) in [
            ("", &[][..]),
            ("  % nothing, {", &[]),
            ("1,-2.5e3 ,\tx", &["1", ",", "-2.5e3", ",", "x"]),
            ("{0 1,5 'a b'} % two", &["{", "0", "1", ",", "5", "'a b", "}"]),
            ("@attribute a{x,y}", &["@attribute", "a", "{", "x", ",", "y", "}"]),
            (r#"'it\'s' "a\\b\"" '\u00e9\t\%\q' '\u12'"#, &["'it's", "'a\\b\"", "'é\t%q", "'u12"]),
            (r"TAG_m\'usica 100%,'?'", &[r"TAG_m\'usica", "100%", ",", "'?"]),
            ("'é'é,", &["'é", "é", ","]),
        ] {
            assert_eq!(words(line).unwrap(), expected, "{line}");
        }
        for (line, column) in [("a, 'b", 4), ("\"", 1), ("é 'a\\'", 3), ("'a\\", 1)] {
            assert!(words(line).unwrap_err().contains(&format!("column {column} ")), "{line}");
        }
    }
}
