//! From the columns of a table to features and targets.

use std::path::Path;

use super::options::Missing;
use crate::data::arff::{Attribute, Form, Kind, Reader};
use crate::data::source::MAX_BYTES;
use crate::escape::escaped;
use crate::{Error, Result};

/// Features of a row, once nominal columns have become several.
const MAX_FEATURES: usize = 1 << 20;
/// Bytes of the names that columns made of one repeat.
const MAX_NAMES: usize = 1 << 26;

/// What becomes of a column.
#[derive(Debug, Clone, PartialEq)]
enum Coding {
    /// A feature as it is.
    Number,
    /// A feature that is looked up.
    Table(Vec<f32>),
    /// As many features, of which one is 1.
    OneHot(usize),
    /// A target that is 0 or 1 in the file.
    Target,
    /// A target that is looked up.
    TargetTable(Vec<u8>),
}

/// What becomes of the columns of a file, and the names that result.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    attributes: Vec<Attribute>,
    codings: Vec<Coding>,
    pub feature_names: Vec<String>,
    pub label_names: Vec<String>,
}

/// Rows of a file; NaN is what is missing.
#[derive(Debug, Default)]
pub struct Rows {
    pub features: Vec<f32>,
    pub targets: Vec<u8>,
    pub dense: usize,
    pub sparse: usize,
    pub missing: usize,
}

impl Plan {
    /// `is_label` says of each column whether it is one.
    pub fn new(path: &Path, attributes: &[Attribute], is_label: &[bool]) -> Result<Self> {
        let mut plan = Plan {
            attributes: attributes.to_vec(),
            codings: Vec::with_capacity(attributes.len()),
            feature_names: Vec::new(),
            label_names: Vec::new(),
        };
        let mut bytes = 0;
        for (attribute, &label) in attributes.iter().zip(is_label) {
            let coding = if label {
                plan.label_names.push(attribute.name.clone());
                target(attribute).map_err(|what| Error::format(path, what))?
            } else {
                feature(attribute)
            };
            match (&coding, &attribute.kind) {
                (Coding::OneHot(count), Kind::Nominal(values)) => {
                    // A long name is written once and would be kept for each value.
                    bytes += count * attribute.name.len();
                    if bytes > MAX_NAMES {
                        let name: String = attribute.name.chars().take(40).collect();
                        let what = format!("`{}…` has a name too long to be repeated for each value", escaped(&name));
                        return Err(Error::format(path, what));
                    }
                    plan.feature_names.extend(values.iter().map(|value| format!("{}={value}", attribute.name)));
                }
                (Coding::Number | Coding::Table(_), _) => plan.feature_names.push(attribute.name.clone()),
                _ => {}
            }
            plan.codings.push(coding);
            if plan.feature_names.len() > MAX_FEATURES {
                return Err(Error::format(path, format!("more than {MAX_FEATURES} features; leave out columns")));
            }
        }
        if plan.feature_names.is_empty() {
            return Err(Error::format(path, "all columns are labels; none is left as a feature"));
        }
        Ok(plan)
    }

    /// What is to be said of the columns that are not numbers.
    pub fn conversions(&self, sparse: bool) -> Vec<String> {
        let count = |is: &dyn Fn(&Attribute, &Coding) -> bool| {
            self.attributes.iter().zip(&self.codings).filter(|(attribute, coding)| is(attribute, coding)).count()
        };
        let numbers = |attribute: &Attribute| matches!(&attribute.kind, Kind::Nominal(v) if as_numbers(v).is_some());
        let say = |count: usize, what: &str| (count > 0).then(|| format!("{count} nominal columns {what}"));
        let table = |coding: &Coding| matches!(coding, Coding::Table(_));
        let unnamed = |attribute: &Attribute, coding: &Coding| match (&attribute.kind, coding) {
            (Kind::Nominal(values), Coding::Table(table)) => as_numbers(values).is_some() && table[0] != 0.0,
            (Kind::Nominal(_), Coding::OneHot(_)) => true,
            _ => false,
        };
        [
            say(count(&|a, c| table(c) && numbers(a)), "taken as the numbers that their values are"),
            say(count(&|a, c| table(c) && !numbers(a)), "of two values taken as 0 and 1 in the order of declaration"),
            say(count(&|_, c| matches!(c, Coding::OneHot(_))), "made a feature for each value, 0 or 1"),
            say(
                if sparse { count(&unnamed) } else { 0 },
                "have their first value in sparse rows that do not name them, as Weka reads it",
            ),
        ]
        .into_iter()
        .flatten()
        .collect()
    }

    /// Reads all rows.
    ///
    /// Errors, with the line, on targets that are not 0 or 1, on missing targets, on missing features unless they are
    /// to be replaced, on no rows, and on more than 16 GiB of features.
    pub fn read(&self, path: &Path, reader: &mut Reader, missing: Missing) -> Result<Rows> {
        let (mut rows, mut row) = (Rows::default(), Vec::new());
        while let Some(form) = reader.next(&mut row)? {
            let bad = |what: String| Error::format(path, format!("line {}: {what}", reader.line()));
            let bytes = (rows.features.len() + self.feature_names.len()) as u64 * size_of::<f32>() as u64;
            let room = rows.features.try_reserve(self.feature_names.len()).is_ok()
                && rows.targets.try_reserve(self.label_names.len()).is_ok();
            if bytes > MAX_BYTES || !room {
                return Err(bad(format!(
                    "the rows so far take {bytes} bytes, for which there is no room; split the file"
                )));
            }
            match form {
                Form::Dense => rows.dense += 1,
                Form::Sparse => rows.sparse += 1,
            }
            let columns = self.attributes.iter().zip(&self.codings).zip(&row);
            for (column, ((attribute, coding), &value)) in columns.enumerate() {
                let name = || format!("column {column}, `{}`,", escaped(&attribute.name));
                if value.is_nan() {
                    if matches!(coding, Coding::Target | Coding::TargetTable(_)) {
                        return Err(bad(format!("{} is a label and missing; give it, or leave the row out", name())));
                    }
                    if missing == Missing::Refuse {
                        let way = "or fill it in (in Rust, `Missing::Mean` puts the mean over the training rows there)";
                        return Err(bad(format!("{} is missing; leave the row out, {way}", name())));
                    }
                    rows.missing += 1;
                }
                match coding {
                    Coding::Number => rows.features.push(value),
                    // NaN as a place is 0, so it is asked for first.
                    Coding::Table(table) if !value.is_nan() => rows.features.push(table[value as usize]),
                    Coding::Table(_) => rows.features.push(f32::NAN),
                    Coding::OneHot(count) if value.is_nan() => rows.features.extend((0..*count).map(|_| f32::NAN)),
                    Coding::OneHot(count) => {
                        rows.features.extend((0..*count).map(|place| f32::from(u8::from(place == value as usize))));
                    }
                    Coding::Target if value == 0.0 || value == 1.0 => rows.targets.push(value as u8),
                    Coding::Target => return Err(bad(format!("{} is a label and {value}, not 0 or 1", name()))),
                    Coding::TargetTable(table) if form == Form::Sparse && table[0] != 0 => {
                        let what = "is a label whose first declared value is 1; programs disagree on what a sparse row";
                        return Err(bad(format!("{} {what} that does not name it means; declare {{0,1}}", name())));
                    }
                    Coding::TargetTable(table) => rows.targets.push(table[value as usize]),
                }
            }
        }
        if rows.dense + rows.sparse == 0 {
            return Err(Error::format(path, "no rows follow after @data; is the file cut short?"));
        }
        Ok(rows)
    }

    /// Errors with the first difference from the columns of the training rows.
    pub fn same_as(&self, path: &Path, train: &Plan) -> Result<()> {
        let (here, there) = (&self.attributes, &train.attributes);
        if here.len() != there.len() {
            let what = format!("{} columns, but the training rows have {}", here.len(), there.len());
            return Err(Error::format(path, what));
        }
        match here.iter().zip(there).position(|(here, there)| here != there) {
            None => Ok(()),
            Some(column) => {
                let [here, there] = [here, there].map(|attributes| escaped(&attributes[column].name).to_string());
                let what = if here == there { "holds other values" } else { "has another name" };
                Err(Error::format(
                    path,
                    format!(
                        "column {column}, `{here}`, {what} than in the training rows, `{there}`: not parts of one set"
                    ),
                ))
            }
        }
    }
}

/// The numbers that all of the values are.
fn as_numbers(values: &[String]) -> Option<Vec<f32>> {
    values.iter().map(|value| value.parse().ok().filter(|number: &f32| number.is_finite())).collect()
}

fn feature(attribute: &Attribute) -> Coding {
    match &attribute.kind {
        Kind::Numeric => Coding::Number,
        Kind::Nominal(values) => match (as_numbers(values), values.len()) {
            (Some(numbers), _) => Coding::Table(numbers),
            (None, 2) => Coding::Table(vec![0.0, 1.0]),
            (None, count) => Coding::OneHot(count),
        },
    }
}

fn target(attribute: &Attribute) -> Result<Coding, String> {
    let Kind::Nominal(values) = &attribute.kind else { return Ok(Coding::Target) };
    let digit = |value: &String| match as_numbers(std::slice::from_ref(value)).as_deref() {
        Some([number]) if *number == 0.0 => Some(0),
        Some([number]) if *number == 1.0 => Some(1),
        _ => None,
    };
    let table: Option<Vec<u8>> = values.iter().map(digit).collect();
    table.map(Coding::TargetTable).ok_or_else(|| {
        let shown: Vec<String> = values.iter().take(5).map(|value| escaped(value).to_string()).collect();
        format!("the label `{}` declares {{{}}}, expected {{0,1}}", escaped(&attribute.name), shown.join(", "))
    })
}
