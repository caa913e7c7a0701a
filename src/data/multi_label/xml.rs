//! Mulan's list of labels: `<labels><label name="..."/>...</labels>`, in which labels may lie in others.
//!
//! Read event by event by `quick-xml`: no tree, so what is held is the list. Entities that a file declares itself are
//! not expanded.

use std::collections::HashSet;
use std::path::Path;

use quick_xml::events::{BytesStart, Event};
use quick_xml::{Reader, XmlVersion};

use crate::data::source;
use crate::escape::escaped;
use crate::{Error, Result};

/// A label takes some 40 bytes.
const MAX_BYTES: u64 = 1 << 24;

/// What a list holds.
#[derive(Debug, PartialEq, Eq)]
pub struct List {
    /// The names, in the order of the file.
    pub names: Vec<String>,
    /// How many of the labels lie in others.
    pub nested: usize,
}

/// Reads a file, packed or not.
///
/// Errors, with the line, on what is not XML or not such a list, on labels without a name and on names that come twice.
pub fn read(path: &Path) -> Result<List> {
    let bytes = source::all(path, &mut source::open(path)?, MAX_BYTES)?;
    let text = std::str::from_utf8(&bytes)
        .map_err(|e| Error::format(path, format!("not UTF-8 from byte {} on; convert it", e.valid_up_to())))?;
    let mut reader = Reader::from_str(text.strip_prefix('\u{feff}').unwrap_or(text));
    let (mut list, mut known) = (List { names: Vec::new(), nested: 0 }, HashSet::new());
    // Which of the elements that are open are labels, and how many.
    let (mut open, mut around) = (Vec::new(), 0usize);
    loop {
        let event = reader.read_event();
        let position = if event.is_err() { reader.error_position() } else { reader.buffer_position() };
        let bad = |what: String| Error::format(path, format!("line {}: {what}", line_of(text, position)));
        let event = event.map_err(|e| bad(format!("not XML: {e}")))?;
        match &event {
            Event::Start(tag) | Event::Empty(tag) => {
                let label = tag.local_name().as_ref() == "label";
                if open.is_empty() && tag.local_name().as_ref() != "labels" {
                    let found = escaped(tag.local_name().as_ref()).to_string();
                    return Err(bad(format!("<{found}> where <labels> is expected: not a list of labels of Mulan's")));
                }
                if label {
                    let name = name(tag).map_err(&bad)?;
                    if !known.insert(name.clone()) {
                        return Err(bad(format!("a second label `{}`", escaped(&name))));
                    }
                    list.names.push(name);
                    list.nested += usize::from(around > 0);
                }
                if matches!(event, Event::Start(_)) {
                    open.push(label);
                    around += usize::from(label);
                }
            }
            Event::End(_) => around -= usize::from(open.pop() == Some(true)),
            Event::Eof if !open.is_empty() => {
                return Err(bad("ends inside its elements: the file is cut short".into()));
            }
            Event::Eof if list.names.is_empty() => {
                return Err(bad("no labels: expected <labels><label name=\"...\"/></labels>".into()));
            }
            Event::Eof => return Ok(list),
            _ => {}
        }
    }
}

fn name(tag: &BytesStart) -> Result<String, String> {
    let attribute = tag.try_get_attribute("name").map_err(|e| format!("not XML: {e}"))?;
    let attribute = attribute.ok_or("a <label> without a name")?;
    let name = attribute.normalized_value(XmlVersion::Implicit1_0).map_err(|e| format!("not XML: {e}"))?;
    Ok(name.into_owned())
}

fn line_of(text: &str, position: u64) -> usize {
    let end = usize::try_from(position).unwrap_or(usize::MAX).min(text.len());
    1 + text.as_bytes()[..end].iter().filter(|&&byte| byte == b'\n').count()
}
