//! What a reader found and what it made of it, in words: nothing of a user's data is lost or changed in silence.

use std::fmt::{self, Display};
use std::path::Path;

use super::{Images, ReadOptions, Units};
use crate::escape::escaped;
use crate::figures::{counted, significant};

/// Classes of more are shown by their first and last.
const CLASSES_SHOWN: usize = 20;
/// A set whose values take up less than one part in so many of what they could is probably of another scale.
const NARROW: f64 = 8.0;

/// Standard deviations that are about unit size.
const UNIT: std::ops::RangeInclusive<f64> = 0.02..=20.0;

/// What the files of a data set held and what became of it; see [`DataSet::account`](super::DataSet::account).
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Reading {
    /// What was read, with the type or depth of its numbers, such as `PNG pictures of 8 bits`.
    pub form: String,
    /// The least and the greatest value in the files of the training images.
    pub range: Option<[f64; 2]>,
    /// What became of the values.
    pub units: Units,
    /// What the columns of a table are called: a number from 1, and the name in brackets if there is one.
    pub columns: Vec<String>,
    /// Whether the numbers are [to be transformed](super::ReadOptions::exact), so that their size does not matter.
    pub exact: bool,
    /// Whether the training images, and the test images, came without labels and all count as of the first class.
    pub without_labels: [bool; 2],
    /// Standard deviation of the training images' values as they are given out.
    pub deviation: f64,
    /// What was changed, a clause each: channels dropped, labels shifted.
    pub converted: Vec<String>,
    /// What lay there and was not read, a clause each.
    pub left_out: Vec<String>,
    /// How a set is read that stays in its files; empty where it is in memory.
    pub stored: String,
    /// What looks like a mistake, a sentence each.
    pub warnings: Vec<String>,
}

impl Reading {
    /// What is to be told of images that came as bytes.
    pub(super) fn of_bytes(form: String, images: &Images) -> Self {
        Reading { form, range: images.byte_range(), units: Units::bytes(), ..Reading::default() }
    }

    /// Notes that a set stays in its files, and that something is only known of some of its images.
    pub(super) fn on_demand(&mut self, some: usize, all: usize, what: &str, options: &ReadOptions) {
        let gigabytes = significant(options.cache() as f64 / (1u64 << 30) as f64, 3);
        let known = match some == all {
            true => String::new(),
            false => {
                format!("; {what} those of {some} images, evenly spaced, the others are looked at as they are read")
            }
        };
        self.stored = format!(
            "as they are needed, with a cache of {gigabytes} GiB, for the set takes more than --in-memory allows{known}"
        );
    }

    /// Adds what the images show: spread, a scale that can hardly be meant, classes without images.
    pub(super) fn completed(mut self, train: &Images, class_names: &[String]) -> Self {
        self.deviation = train.deviation();
        if let (Some([least, most]), Some([low, high])) = (self.range, self.units.ends())
            && most - least < (high - low) / NARROW
        {
            self.warnings.push(format!(
                "values reach only from {least} to {most} where {low} to {high} have room, so the images are nearly of one grey; \
                 if that is not meant, scale them before"
            ));
        }
        let [least, most] = train.range().map(f64::from);
        let (size, far) = (self.deviation, (least + most).abs() / 2.0);
        if self.units.is_plain()
            && !self.exact
            && size > 0.0
            && (!UNIT.contains(&size) || far > UNIT.end().max(20.0 * size))
        {
            self.warnings.push(format!(
                "values from {} to {} are taken as they are, far from unit size, of which networks learn badly; leave out --standardise none, \
                 or say --standardise all (or channel)",
                short(least),
                short(most)
            ));
        }
        let counts = train.class_counts();
        let empty = |class: &usize| counts[*class] == 0;
        let without = counts.len() - counts.iter().filter(|&&count| count > 0).count();
        if without > 0 {
            let shown: Vec<String> = (0..counts.len()).filter(empty).take(5).map(|c| named(c, class_names)).collect();
            let more = if without > 5 { format!(" and {} more", without - 5) } else { String::new() };
            let counting = if counts[0] == 0 { " (labels count from 0)" } else { "" };
            self.warnings.push(format!("no image is of class {}{more}{counting}", shown.join(", ")));
        }
        self
    }

    /// One line, with the name, number and size of the images, and a line each for what was converted, left out or
    /// looks wrong.
    pub(super) fn lines(&self, name: &str, train: &Images, test: Option<&Images>, class_names: &[String]) -> String {
        let [h, w, c] = train.size();
        let mut text = format!("{}: {}x{h}x{w}x{c}", escaped(name), train.len());
        if !self.form.is_empty() {
            text += &format!(" from {}", self.form);
        }
        if let Some([least, most]) = self.range {
            text += &format!(", values {} to {}", short(least), short(most));
            text += &format!(" ({})", self.units);
        }
        if self.deviation > 0.0 {
            text += &format!(", standard deviation {:.3}", self.deviation);
        }
        text += &format!("; {}", classes(train, class_names));
        if let Some(test) = test {
            text += &format!("; {}", counted(test.len(), "test image", "test images"));
        }
        if !self.stored.is_empty() {
            text += &format!("\nread: {}", self.stored);
        }
        for (what, clauses) in [("converted", &self.converted), ("left out", &self.left_out)] {
            if !clauses.is_empty() {
                text += &format!("\n{what}: {}", clauses.join("; "));
            }
        }
        self.warnings.iter().for_each(|warning| text += &format!("\nwarning: {warning}"));
        text
    }
}

/// A number with four digits behind the point at most.
fn short(x: f64) -> String {
    match x.fract() == 0.0 || (0.01..1e6).contains(&x.abs()) {
        true if x.fract() == 0.0 => x.to_string(),
        true => format!("{x:.4}"),
        false => significant(x, 5),
    }
}

fn named(class: usize, names: &[String]) -> String {
    names.get(class).map_or_else(|| class.to_string(), |name| escaped(name).to_string())
}

/// The classes in the order of their labels, and how many images they have.
fn classes(images: &Images, names: &[String]) -> String {
    let counts = images.class_counts();
    if counts.len() == 1 && names.is_empty() {
        return "no classes".into();
    }
    let (least, most) = (counts.iter().min().unwrap_or(&0), counts.iter().max().unwrap_or(&0));
    let each = if least == most { format!("{least} each") } else { format!("{least} to {most} each") };
    let list = |range: std::ops::Range<usize>| range.map(|class| named(class, names)).collect::<Vec<_>>().join(", ");
    let shown = match counts.len() {
        many if many > CLASSES_SHOWN => format!("{}, … {}", list(0..10), list(many - 1..many)),
        few => list(0..few),
    };
    let noun = if counts.len() == 1 { "class" } else { "classes" };
    format!("{} {noun}: {shown} ({each})", counts.len())
}

/// Things of one kind: how many, and the names of the first.
#[derive(Debug, Clone, Default)]
pub(super) struct Examples {
    count: usize,
    first: Vec<String>,
}

impl Examples {
    pub fn of<'a>(root: &Path, paths: impl IntoIterator<Item = &'a Path>) -> Self {
        let mut examples = Examples::default();
        paths.into_iter().for_each(|path| examples.add(root, path));
        examples
    }

    /// Adds a path, named from `root` on.
    pub fn add(&mut self, root: &Path, path: &Path) {
        self.count += 1;
        if self.first.len() < 3 {
            let within = path.strip_prefix(root).ok().filter(|within| !within.as_os_str().is_empty());
            self.first.push(escaped(within.unwrap_or(path)).to_string());
        }
    }

    #[cfg(feature = "formats")]
    pub fn count(&self) -> usize {
        self.count
    }

    /// `3 pictures made grey (a, b, c)`, of the words for one and for many, if there are any.
    pub fn say(&self, one: &str, many: &str) -> Option<String> {
        let what = if self.count == 1 { one } else { many };
        (self.count > 0).then(|| format!("{} {what} ({self})", self.count))
    }
}

impl Display for Examples {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.first.join(", "), if self.count > self.first.len() { ", …" } else { "" })
    }
}
