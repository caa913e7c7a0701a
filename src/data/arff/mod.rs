//! ARFF files, the form of Weka and of what is built on it: tables with a header, their rows dense or sparse.
//!
//! ```text
//! % a comment
//! @relation music
//! @attribute tempo numeric
//! @attribute 'the mode' {minor, major}
//! @data
//! 120.5, major
//! {0 97}            % sparse: what is not named is 0, or the first of the values that are declared
//! ```
//!
//! Weka's own description is <https://waikato.github.io/weka-wiki/formats_and_processing/arff_stable/>. Packed with
//! gzip or not. Dates, texts and nested relations are errors, as are the weights that Weka may put behind a row. The
//! crate for the format, `arff` 0.3, is of 2018 and has no sparse rows, and other readers are parts of whole
//! frameworks; hence one of our own.

mod lines;
mod tokens;

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use self::lines::Lines;
use self::tokens::{Token, Tokens};
use crate::escape::escaped;
use crate::{Error, Result};

/// Columns of a table.
const MAX_COLUMNS: usize = 1 << 20;
/// Bytes of a header, which is held in memory.
const MAX_HEADER: usize = 1 << 28;

/// A column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attribute {
    /// Its name, without quotes.
    pub name: String,
    /// What it holds.
    pub kind: Kind,
}

/// What a column holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// Numbers: `numeric`, `real` or `integer`.
    Numeric,
    /// One of these.
    Nominal(Vec<String>),
}

/// How a row is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// All values, one after the other.
    Dense,
    /// The values that are not 0, with their columns.
    Sparse,
}

/// A file whose header has been read and whose rows come one by one.
pub struct Reader {
    lines: Lines,
    path: PathBuf,
    relation: String,
    attributes: Vec<Attribute>,
    columns: HashMap<String, usize>,
    /// For each nominal column where its values stand; empty for the others.
    values: Vec<HashMap<String, u32>>,
    /// Whether a sparse row has named the column.
    named: Vec<bool>,
}

impl Reader {
    /// Opens a file, packed or not, and reads its header.
    ///
    /// Errors, with the line, if the header is not ARFF, a name comes twice, a column holds what is no number and no
    /// declared value, or there are no columns, more than 2^20 of them, or no `@data`.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let mut lines = Lines::open(path)?;
        let (mut relation, mut attributes, mut columns) = (String::new(), Vec::new(), HashMap::new());
        let mut bytes = 0;
        loop {
            let Some(line) = lines.next()? else {
                let what = "ends before `@data`: not ARFF, or cut short; it begins with @relation and @attribute lines";
                return Err(Error::format(path, what));
            };
            bytes += line.len();
            let said = header_line(line);
            let bad = |what: String| Error::format(path, format!("line {}: {what}", lines.number));
            match said.map_err(bad)? {
                Line::Nothing => {}
                Line::Relation(name) => relation = name,
                Line::Data if attributes.is_empty() => return Err(bad("no @attribute before @data".into())),
                Line::Data => break,
                Line::Attribute(attribute) => {
                    let known = columns.insert(attribute.name.clone(), attributes.len());
                    if known.is_some() {
                        return Err(bad(format!("a second attribute `{}`; rename it", escaped(&attribute.name))));
                    }
                    attributes.push(attribute);
                }
            }
            if attributes.len() > MAX_COLUMNS || bytes > MAX_HEADER {
                return Err(bad(format!("a header of more than {MAX_COLUMNS} columns or {MAX_HEADER} bytes")));
            }
        }
        let index = |attribute: &Attribute| match &attribute.kind {
            Kind::Numeric => HashMap::new(),
            Kind::Nominal(values) => values.iter().cloned().zip(0..).collect(),
        };
        let values = attributes.iter().map(index).collect();
        let named = vec![false; attributes.len()];
        Ok(Reader { lines, path: path.into(), relation, attributes, columns, values, named })
    }

    /// The name of the table.
    pub fn relation(&self) -> &str {
        &self.relation
    }

    /// The columns, in their order.
    pub fn attributes(&self) -> &[Attribute] {
        &self.attributes
    }

    /// Where the column of this name stands.
    pub fn column(&self, name: &str) -> Option<usize> {
        self.columns.get(name).copied()
    }

    /// The line that was read last, counted from 1.
    pub fn line(&self) -> usize {
        self.lines.number
    }

    /// Reads the next row into `row`, a value for each column: numbers as they are, nominal values as their place in
    /// the declaration, NaN where the file has `?`. `None` at the end of the file.
    ///
    /// Errors, with the line, on rows with too few or too many values, on what is no number or not finite in f32, on
    /// values that are not declared, and in sparse rows on columns that there are not or that come twice.
    pub fn next(&mut self, row: &mut Vec<f32>) -> Result<Option<Form>> {
        loop {
            let Some(line) = self.lines.next()? else { return Ok(None) };
            let mut tokens = Tokens::new(line);
            row.clear();
            let table = Table { attributes: &self.attributes, values: &self.values };
            let said = match tokens.next() {
                Ok(None) => continue,
                Ok(Some(Token::Open)) => {
                    row.resize(self.attributes.len(), 0.0);
                    self.named.fill(false);
                    table.sparse(&mut tokens, row, &mut self.named).map(|()| Form::Sparse)
                }
                Ok(Some(first)) => table.dense(first, &mut tokens, row).map(|()| Form::Dense),
                Err(what) => Err(what),
            };
            let number = self.lines.number;
            return said.map(Some).map_err(|what| Error::format(&self.path, format!("line {number}: {what}")));
        }
    }
}

/// What a line of the header says.
enum Line {
    Nothing,
    Relation(String),
    Attribute(Attribute),
    Data,
}

fn header_line(line: &str) -> Result<Line, String> {
    let mut tokens = Tokens::new(line);
    let keyword = match tokens.next()? {
        None => return Ok(Line::Nothing),
        Some(Token::Word(word, false)) => word.to_ascii_lowercase(),
        Some(_) => String::new(),
    };
    let line = match keyword.as_str() {
        // Sloppy writers leave names with blanks without quotes, and nothing depends on this one.
        "@relation" => {
            let rest = line.trim_start().get("@relation".len()..).unwrap_or_default();
            return Ok(Line::Relation(match tokens.next() {
                Ok(Some(Token::Word(name, true))) => name.into(),
                _ => rest.trim().into(),
            }));
        }
        "@attribute" => {
            let Some(Token::Word(name, _)) = tokens.next()? else { return Err("@attribute without a name".into()) };
            let kind = kind(&mut tokens).map_err(|what| format!("attribute `{}`: {what}", escaped(name.as_ref())))?;
            Line::Attribute(Attribute { name: name.into(), kind })
        }
        "@data" => Line::Data,
        _ => {
            let start: String = line.trim().chars().take(40).collect();
            return Err(format!("`{}` where @relation, @attribute or @data is expected: not ARFF", escaped(&start)));
        }
    };
    nothing_more(&mut tokens)?;
    Ok(line)
}

fn nothing_more(tokens: &mut Tokens) -> Result<(), String> {
    let column = tokens.column();
    match tokens.next()? {
        None => Ok(()),
        Some(_) => Err(format!("more follows in column {column}, where the line should end; quote names with blanks")),
    }
}

fn kind(tokens: &mut Tokens) -> Result<Kind, String> {
    let word = match tokens.next()? {
        Some(Token::Open) => return nominal(tokens).map(Kind::Nominal),
        Some(Token::Word(word, _)) => word,
        _ => return Err("its type is missing: numeric, or the values in braces".into()),
    };
    match word.to_ascii_lowercase().as_str() {
        "numeric" | "real" | "integer" => Ok(Kind::Numeric),
        other @ ("string" | "date" | "relational") => {
            Err(format!("its type {other} is not read; make numbers or declared values of it, or remove the column"))
        }
        _ => {
            let word = escaped(word.as_ref());
            Err(format!("`{word}` is no type: expected numeric, real, integer or {{values}}; quote names with blanks"))
        }
    }
}

fn nominal(tokens: &mut Tokens) -> Result<Vec<String>, String> {
    let (mut values, mut known) = (Vec::new(), HashMap::new());
    let mut comma = true;
    loop {
        match tokens.next()? {
            Some(Token::Word(value, _)) => {
                let value = String::from(value);
                if known.insert(value.clone(), ()).is_some() {
                    return Err(format!("the value `{}` is declared twice", escaped(&value)));
                }
                values.push(value);
                comma = false;
            }
            Some(Token::Comma) if !comma => comma = true,
            Some(Token::Close) if !comma => return Ok(values),
            None => return Err("the braces around its values are not closed on the line".into()),
            Some(_) => return Err(format!("an empty value before column {}", tokens.column())),
        }
    }
}

/// What the values of a row are read by.
struct Table<'a> {
    attributes: &'a [Attribute],
    values: &'a [HashMap<String, u32>],
}

impl Table<'_> {
    fn dense(&self, first: Token, tokens: &mut Tokens, row: &mut Vec<f32>) -> Result<(), String> {
        let columns = self.attributes.len();
        let (mut token, mut found) = (Some(first), 0);
        while let Some(value) = token {
            let Token::Word(text, quoted) = value else {
                return Err(match value {
                    Token::Open => "a brace inside a row without braces; weights of rows are not read".into(),
                    _ => format!("no value before column {}; what is missing is written `?`", tokens.column()),
                });
            };
            if found < columns {
                row.push(self.value(found, &text, quoted)?);
            }
            found += 1;
            token = tokens.next()?;
            if token == Some(Token::Comma) {
                let column = tokens.column();
                token = tokens.next()?;
                if token.is_none() {
                    return Err(format!("no value after column {column}; what is missing is written `?`"));
                }
            }
        }
        if found == columns {
            return Ok(());
        }
        let why = if found < columns { "is the file cut short?" } else { "quote values with blanks" };
        Err(format!("{found} values, expected {columns}, one for each attribute; {why}"))
    }

    fn sparse(&self, tokens: &mut Tokens, row: &mut [f32], named: &mut [bool]) -> Result<(), String> {
        let columns = self.attributes.len();
        let mut comma = true;
        let unclosed = || "the brace is not closed on its line; is the file cut short?".to_string();
        loop {
            match tokens.next()? {
                Some(Token::Word(index, _)) if comma => {
                    let column: usize = index.parse().map_err(|_| {
                        format!("`{}` is no number of a column, counted from 0", escaped(index.as_ref()))
                    })?;
                    let Some(twice) = named.get_mut(column) else {
                        return Err(format!("column {column}, but there are {columns}, counted from 0"));
                    };
                    if std::mem::replace(twice, true) {
                        return Err(format!("column {column} comes twice"));
                    }
                    match tokens.next()? {
                        Some(Token::Word(text, quoted)) => row[column] = self.value(column, &text, quoted)?,
                        None => return Err(unclosed()),
                        Some(_) => return Err(format!("column {column} has no value; a pair is `{column} VALUE`")),
                    }
                    comma = false;
                }
                Some(Token::Comma) if !comma => comma = true,
                Some(Token::Close) => break,
                None => return Err(unclosed()),
                Some(_) => {
                    let column = tokens.column();
                    return Err(format!("before column {column}: expected `INDEX VALUE` pairs between commas"));
                }
            }
        }
        match tokens.next()? {
            None => Ok(()),
            Some(_) => Err("more follows behind the braces; weights of rows are not read".into()),
        }
    }

    fn value(&self, column: usize, text: &str, quoted: bool) -> Result<f32, String> {
        if text == "?" && !quoted {
            return Ok(f32::NAN);
        }
        let attribute = &self.attributes[column];
        let what = || format!("`{}` of column {column}, `{}`,", escaped(text), escaped(&attribute.name));
        match &attribute.kind {
            Kind::Nominal(values) => match self.values[column].get(text) {
                Some(&place) => Ok(place as f32),
                None => {
                    let few = values.iter().take(5).map(|value| escaped(value).to_string()).collect::<Vec<_>>();
                    let more = if values.len() > 5 { ", …" } else { "" };
                    Err(format!("{} is not among the declared values {{{}{more}}}", what(), few.join(", ")))
                }
            },
            Kind::Numeric => {
                let number: f64 = text.parse().map_err(|_| format!("{} is no number", what()))?;
                let narrow = number as f32;
                if narrow.is_finite() {
                    return Ok(narrow);
                }
                Err(format!("{} is not finite in f32; what is missing is written `?`", what()))
            }
        }
    }
}
