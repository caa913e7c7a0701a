use std::path::{Path, PathBuf};

use super::MultiLabel;
use super::coding::{Plan, Rows};
use super::files::{self, Files};
use super::options::{Labels, MultiLabelOptions};
use crate::data::arff::Reader;
use crate::escape::escaped;
use crate::random::{Purpose, RandomKey, permutation};
use crate::{Error, Result};

/// A multi-label set: what is trained on, and what is kept to compare with.
#[derive(Debug, Clone, PartialEq)]
pub struct MultiLabelSet {
    /// The training rows.
    pub train: MultiLabel,
    /// Rows that nothing is trained on.
    pub test: MultiLabel,
    /// What was read and what was made of it, a line each, for a person. Names from files are
    /// [`escaped`](crate::escape::escaped).
    pub account: Vec<String>,
}

impl MultiLabelSet {
    /// Opens a set of ARFF files, packed with gzip or not, by its folder or by a file.
    ///
    /// | given | read as |
    /// |---|---|
    /// | a folder with `X-train.arff` and `X-test.arff` | these two |
    /// | a folder with one `.arff` file | this, split by a seeded shuffle: two thirds to train on, one to test |
    /// | `X-train.arff`, beside it `X-test.arff` | these two |
    /// | another `.arff` file | this, split |
    ///
    /// Labels are in the order of their columns, whatever that of the XML file. Nominal features whose values are all
    /// numbers are these numbers; two other values are 0 and 1; more become a feature for each value. The account says
    /// so, and what lay there and was not read.
    ///
    /// Errors, with file and line where there is one, on what is not ARFF ([`Reader`]) or not a list of labels, on
    /// labels of the list that are no column, columns that are not 0 or 1, missing values (see
    /// [`Missing`](super::Missing)), parts with different columns, and sets that are ambiguous.
    pub fn open(path: impl AsRef<Path>, options: &MultiLabelOptions) -> Result<Self> {
        let path = path.as_ref();
        let files = files::find(path)?;
        let mut reader = Reader::open(&files.train)?;
        let source = LabelSource::find(&files.train, &options.labels, reader.relation())?;
        let plan = source.plan(&files.train, &reader)?;
        let mut rows = plan.read(&files.train, &mut reader, options.missing)?;
        drop(reader);
        let mut test = match &files.test {
            None => None,
            Some(path) => {
                let mut reader = Reader::open(path)?;
                source.plan(path, &reader)?.same_as(path, &plan)?;
                Some(plan.read(path, &mut reader, options.missing)?)
            }
        };
        let (dense, sparse) = test.iter().fold((rows.dense, rows.sparse), |sum, t| (sum.0 + t.dense, sum.1 + t.sparse));
        let missing = rows.missing + test.as_ref().map_or(0, |test| test.missing);

        let mut account = vec![source.account.clone()];
        if test.is_none() {
            test = Some(split(&files.train, &mut rows, &plan, options.seed)?);
            account.push(format!(
                "split: one file, shuffled by seed {}: two thirds to train on, the rest to test with",
                options.seed
            ));
        }
        let Some(mut test) = test else { return Err(Error::format(path, "no rows to test with")) };
        let conversions = plan.conversions(sparse > 0);
        if !conversions.is_empty() {
            account.push(format!("converted: {}", conversions.join("; ")));
        }
        if missing > 0 {
            account.push(fill(&files.train, &mut rows, &mut test, &plan, missing)?);
        }
        account.extend(left_out(path, &files)?);
        let part = |rows: Rows| {
            MultiLabel::new(rows.features, rows.targets, plan.feature_names.clone(), plan.label_names.clone())
        };
        let set = MultiLabelSet { train: part(rows)?, test: part(test)?, account: Vec::new() };
        let form = match (dense, sparse) {
            (_, 0) => "dense",
            (0, _) => "sparse",
            _ => "dense and sparse",
        };
        let mut names = vec![files.train.clone()];
        names.extend(files.test);
        account.insert(0, set.first_line(path, form, &files::few(&names)));
        account.extend(set.warning());
        Ok(MultiLabelSet { account, ..set })
    }

    fn first_line(&self, path: &Path, form: &str, names: &str) -> String {
        let (train, test) = (&self.train, &self.test);
        let name = escaped(path.file_name().unwrap_or(path.as_os_str())).to_string();
        format!(
            "{name}: {} + {} rows of {} features and {} labels, {:.3} and {:.3} labels a row, from {form} ARFF ({names})",
            train.len(),
            test.len(),
            train.dims(),
            train.labels(),
            train.cardinality(),
            test.cardinality(),
        )
    }

    fn warning(&self) -> Option<String> {
        let counts = self.train.label_counts();
        let without: Vec<&String> = self
            .train
            .label_names()
            .iter()
            .zip(&counts)
            .filter(|(_, count)| **count == 0)
            .map(|(name, _)| name)
            .collect();
        let shown: Vec<String> = without.iter().take(3).map(|name| escaped(name.as_str()).to_string()).collect();
        let more = if without.len() > 3 { ", …" } else { "" };
        (!without.is_empty())
            .then(|| format!("warning: {} labels that no training row has ({}{more})", without.len(), shown.join(", ")))
    }
}

/// Where labels are told from features.
struct LabelSource {
    which: Which,
    account: String,
}

enum Which {
    Named(PathBuf, Vec<String>),
    First(usize),
    Last(usize),
}

impl LabelSource {
    fn find(arff: &Path, labels: &Labels, relation: &str) -> Result<Self> {
        let (path, why) = match labels {
            Labels::First(count) => {
                let account = format!("labels: the first {count} columns, as asked for");
                return Ok(LabelSource { which: Which::First(*count), account });
            }
            Labels::Last(count) => {
                let account = format!("labels: the last {count} columns, as asked for");
                return Ok(LabelSource { which: Which::Last(*count), account });
            }
            Labels::Xml(path) => (path.clone(), None),
            Labels::Beside => files::labels_beside(arff)?.ok_or_else(|| {
                let hint = meka(relation).map_or(String::new(), |hint| format!(" (its relation says {hint})"));
                let what = "no XML file beside it says which columns are labels; put one there, or in Rust \
                            name one (`Labels::Xml`) or say how many there are at the end (`Labels::Last`) or at the \
                            beginning (`Labels::First`)";
                Error::format(arff, format!("{what}{hint}"))
            })?,
        };
        let (names, nested) = listed(&path)?;
        let mut account = format!("labels: {} of {}", names.len(), escaped(path.file_name().unwrap_or_default()));
        if let Some(why) = why {
            account += &format!(", {why}");
        }
        if nested > 0 {
            account += &format!("; {nested} of them lie in others there, which is not kept");
        }
        Ok(LabelSource { which: Which::Named(path, names), account })
    }

    fn plan(&self, path: &Path, reader: &Reader) -> Result<Plan> {
        let columns = reader.attributes().len();
        let mut is_label = vec![false; columns];
        match &self.which {
            Which::First(count) | Which::Last(count) if *count == 0 || *count >= columns => {
                let what =
                    format!("{count} labels in {columns} columns; at least one must be a label and one a feature");
                return Err(Error::format(path, what));
            }
            Which::First(count) => is_label[..*count].fill(true),
            Which::Last(count) => is_label[columns - *count..].fill(true),
            Which::Named(list, names) => {
                let mut lacking = Vec::new();
                for name in names {
                    match reader.column(name) {
                        Some(column) => is_label[column] = true,
                        None => lacking.push(escaped(name).to_string()),
                    }
                }
                if !lacking.is_empty() {
                    let (count, more) = (lacking.len(), if lacking.len() > 3 { ", …" } else { "" });
                    lacking.truncate(3);
                    let what = format!(
                        "{count} of the {} labels of {} are no attributes here ({}{more}): not its list, or other spellings",
                        names.len(),
                        escaped(list),
                        lacking.join(", ")
                    );
                    return Err(Error::format(path, what));
                }
            }
        }
        Plan::new(path, reader.attributes(), &is_label)
    }
}

#[cfg(feature = "formats")]
fn listed(path: &Path) -> Result<(Vec<String>, usize)> {
    super::xml::read(path).map(|list| (list.names, list.nested))
}

#[cfg(not(feature = "formats"))]
fn listed(path: &Path) -> Result<(Vec<String>, usize)> {
    let what = "a list of labels in XML, which this build does not read (its feature `formats` is off); say how many \
                labels there are at the end (`Labels::Last`) or at the beginning (`Labels::First`)";
    Err(Error::format(path, what))
}

/// What MEKA writes into the name of the relation: `-C 6` for labels in the first six columns, `-C -6` in the last.
fn meka(relation: &str) -> Option<String> {
    let count: i64 =
        relation.split_once("-C ")?.1.split(|c: char| c.is_whitespace() || c == '\'').next()?.parse().ok()?;
    match count {
        0 => None,
        count if count > 0 => Some(format!("-C {count}, as MEKA does: `Labels::First({count})`")),
        count => Some(format!("-C {count}, as MEKA does: `Labels::Last({})`", count.unsigned_abs())),
    }
}

/// Sites of the random numbers that split, beside those of the methods.
const SPLIT_SITE: u32 = 3;

/// Takes a third of the rows away, at random; both parts keep the order of the file.
fn split(path: &Path, rows: &mut Rows, plan: &Plan, seed: u64) -> Result<Rows> {
    let (dims, labels) = (plan.feature_names.len(), plan.label_names.len());
    let n = rows.features.len() / dims;
    let count = u32::try_from(n).ok().filter(|n| *n >= 2).ok_or_else(|| {
        Error::format(path, format!("{n} rows cannot be split; give files to train on and to test with"))
    })?;
    let order = permutation(&RandomKey::new(seed, Purpose::Split).at_site(SPLIT_SITE).stream()?, count);
    let mut taken = vec![false; n];
    order[..(n / 3).max(1)].iter().for_each(|&row| taken[row as usize] = true);
    let mut test = Rows::default();
    let mut kept = 0;
    for (row, taken) in taken.into_iter().enumerate() {
        let (features, targets) = (row * dims..(row + 1) * dims, row * labels..(row + 1) * labels);
        if taken {
            test.features.extend_from_slice(&rows.features[features]);
            test.targets.extend_from_slice(&rows.targets[targets]);
        } else {
            rows.features.copy_within(features, kept * dims);
            rows.targets.copy_within(targets, kept * labels);
            kept += 1;
        }
    }
    rows.features.truncate(kept * dims);
    rows.targets.truncate(kept * labels);
    Ok(test)
}

/// Puts means over the training rows where values are missing; a line of the account.
fn fill(path: &Path, train: &mut Rows, test: &mut Rows, plan: &Plan, missing: usize) -> Result<String> {
    let dims = plan.feature_names.len();
    let (mut sums, mut counts) = (vec![0.0; dims], vec![0usize; dims]);
    for row in train.features.chunks_exact(dims) {
        for (column, value) in row.iter().enumerate().filter(|(_, value)| !value.is_nan()) {
            sums[column] += f64::from(*value);
            counts[column] += 1;
        }
    }
    let mut filled = vec![false; dims];
    for row in train.features.chunks_exact_mut(dims).chain(test.features.chunks_exact_mut(dims)) {
        for (column, value) in row.iter_mut().enumerate().filter(|(_, value)| value.is_nan()) {
            if counts[column] == 0 {
                let name = escaped(&plan.feature_names[column]).to_string();
                let what = format!("no training row has a value of `{name}`, so there is no mean; remove the column");
                return Err(Error::format(path, what));
            }
            *value = (sums[column] / counts[column] as f64) as f32;
            filled[column] = true;
        }
    }
    let columns = filled.into_iter().filter(|filled| *filled).count();
    Ok(format!("missing: {missing} values, in their place the mean over the training rows ({columns} features)"))
}

/// What lies in a folder that was given and was not read.
fn left_out(given: &Path, files: &Files) -> Result<Option<String>> {
    if !given.is_dir() {
        return Ok(None);
    }
    let rest = files::list(given, |path| {
        files::stem(path).is_some() && *path != files.train && Some(path) != files.test.as_deref()
    })?;
    Ok((!rest.is_empty()).then(|| format!("left out: {}", files::few(&rest))))
}
