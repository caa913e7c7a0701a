//! Rows of a table with any number of labels each: the teacher sees all columns, the student some of them.

use super::examples::{Batch, Examples};
use super::held_out::{HeldOut, Truth};
use super::sections::{LabelledSection, Subset, TableSection};
use crate::data::{Batches, MultiLabel, MultiLabelSet, subset};
use crate::error::{Error, Result};
use crate::random::{Purpose, RandomKey, permutation};
use crate::tensor::{Device, Tensor};

/// Labelled rows; what is true of a row is the uniform distribution over the labels that it has, so that a player's
/// label is one of them at a time.
#[derive(Debug)]
pub struct LabelledRows {
    rows: MultiLabel,
    fingerprint: String,
    columns: Vec<usize>,
    held_out: HeldOut,
    batch: usize,
    seed: u64,
    device: Device,
    order: Vec<Option<Batches>>,
    /// What was decided, a line each.
    pub notes: Vec<String>,
}

/// Sites of the random numbers beside those of other splits.
const COLUMNS: u32 = 8;
const ROWS: u32 = 9;

impl LabelledRows {
    /// Takes the labelled rows of `set`, whose features are standardised already. Errors if there are not enough of a
    /// kind, and if nothing is left for the student.
    pub fn new(
        (section, table): (&LabelledSection, &TableSection),
        set: &MultiLabelSet,
        (batch, seed): (usize, u64),
        device: &Device,
    ) -> Result<Self> {
        if set.train.labels() < 2 {
            return Err(Error::Config("a table of one label has nothing to rank: give two or more".into()));
        }
        let mut notes = Vec::new();
        let columns = columns(table, set.train.dims())?;
        notes.push(format!(
            "the student sees {} of {} columns (table.privileged, drawn by seed {}), teacher and discriminator all",
            columns.len(),
            set.train.dims(),
            table.seed
        ));
        let (chosen, rest) = chosen(section, &set.train, seed)?;
        if section.labelled > 0 && section.subset == Subset::Balanced {
            notes.push("labels overlap, so that no subset is balanced: rows are drawn at random".into());
        }
        let seldom = set.train.select(&chosen)?.label_counts().iter().filter(|&&count| count == 0).count();
        if seldom > 0 {
            notes.push(format!(
                "{seldom} of {} labels are in no labelled row: nobody can learn them",
                set.train.labels()
            ));
        }
        if set.train.labels() < 5 {
            let labels = set.train.labels();
            notes.push(format!("{labels} labels: figures at 3 and 5 look at {labels} where that is fewer"));
        }
        let with_labels: Vec<u32> =
            chosen.iter().copied().filter(|&row| labels_of(&set.train, row as usize).any(|has| has)).collect();
        if with_labels.is_empty() {
            return Err(Error::Config(format!("none of the {} labelled rows has a label", chosen.len())));
        }
        if with_labels.len() < chosen.len() {
            let none = chosen.len() - with_labels.len();
            notes.push(format!("{none} of {} rows have no label at all and teach nothing: left out", chosen.len()));
        }
        let test = match section.validation {
            0 => set.test.clone(),
            count => {
                if count >= rest.len() {
                    let what =
                        format!("data.validation = {count}, but beside the labelled rows there are {}", rest.len());
                    let advice = "of which one must be left; lower it or data.labelled";
                    return Err(Error::Config(format!("{what}, {advice}")));
                }
                notes.push(format!("measured on {count} training rows that are set apart, not on test rows"));
                set.train.select(&subset::split(&rest, subset::Part::Count(count), seed)?.0)?
            }
        };
        notes.push(format!("{} of {} training rows have their labels", with_labels.len(), set.train.len()));
        let none = (0..test.len()).filter(|&row| !labels_of(&test, row).any(|has| has)).count();
        if none == test.len() {
            return Err(Error::Config(format!(
                "none of the {none} rows to measure on has a label: nothing can be ranked"
            )));
        }
        if none > 0 {
            notes.push(format!(
                "{none} of {} rows to measure on have no label: left out of a ranking's figures",
                test.len()
            ));
        }
        let rows = set.train.select(&with_labels)?;
        let fingerprint =
            format!("{}, {} columns for the student; {}", rows.fingerprint(), columns.len(), test.fingerprint());
        let all: Vec<usize> = (0..rows.dims()).collect();
        let held_out = HeldOut {
            student: view(test.features(), test.dims(), &columns, &Device::Cpu)?,
            teacher: view(test.features(), test.dims(), &all, &Device::Cpu)?,
            truth: Truth::Labels(test.targets().to_vec()),
        };
        let device = device.clone();
        Ok(LabelledRows { rows, fingerprint, columns, held_out, batch, seed, device, order: Vec::new(), notes })
    }

    /// Columns that the student sees, and all.
    pub fn dims(&self) -> (usize, usize) {
        (self.columns.len(), self.rows.dims())
    }
}

/// The columns that the student sees, rising.
fn columns(table: &TableSection, dims: usize) -> Result<Vec<usize>> {
    let kept = dims - (dims as f64 * table.privileged).round() as usize;
    if kept == 0 {
        let what = format!("table.privileged = {} leaves the student none of {dims} columns", table.privileged);
        return Err(Error::Config(what));
    }
    let key = RandomKey::new(table.seed, Purpose::Split).at_site(COLUMNS);
    let mut columns: Vec<usize> =
        permutation(&key.stream()?, dims as u32).into_iter().take(kept).map(|column| column as usize).collect();
    columns.sort_unstable();
    Ok(columns)
}

/// The labelled rows and the others. Classes overlap, so a balanced subset is a random one.
fn chosen(section: &LabelledSection, rows: &MultiLabel, seed: u64) -> Result<(Vec<u32>, Vec<u32>)> {
    let (all, n) = (rows.len(), if section.labelled == 0 { rows.len() } else { section.labelled });
    if n > all {
        return Err(Error::Config(format!("data.labelled = {n}, but there are {all} training rows; 0 takes all")));
    }
    let mut order: Vec<u32> = match section.subset {
        Subset::Last => (0..all as u32).rev().collect(),
        _ => permutation(&RandomKey::new(seed, Purpose::Split).at_site(ROWS).stream()?, all as u32),
    };
    let mut rest = order.split_off(n);
    order.sort_unstable();
    rest.sort_unstable();
    Ok((order, rest))
}

fn labels_of(rows: &MultiLabel, row: usize) -> impl Iterator<Item = bool> + '_ {
    let labels = rows.labels();
    rows.targets()[row * labels..(row + 1) * labels].iter().map(|&target| target == 1)
}

/// Some columns of rows `[n, dims]`.
fn view(features: &[f32], dims: usize, columns: &[usize], device: &Device) -> Result<Tensor> {
    let values: Vec<f32> =
        features.chunks_exact(dims).flat_map(|row| columns.iter().map(|&column| row[column])).collect();
    Tensor::from_slice(&values, [features.len() / dims, columns.len()], device)
}

impl Examples for LabelledRows {
    fn labels(&self) -> usize {
        self.rows.labels()
    }

    fn count(&self) -> usize {
        self.rows.len()
    }

    fn batch(&mut self, player: u32, step: u64, _: bool) -> Result<Batch> {
        let seed = RandomKey::stage_seed(self.seed, 1 + player)?;
        let order = super::examples::order(&mut self.order, player, self.rows.len(), self.batch, seed)?;
        let indices = order.at(step)?;
        let (features, targets) = self.rows.gather(&indices)?;
        let labels = self.rows.labels();
        let truth: Vec<f32> = targets
            .chunks_exact(labels)
            .flat_map(|row| {
                let has = row.iter().map(|&target| f32::from(target)).sum::<f32>();
                row.iter().map(move |&target| f32::from(target) / has)
            })
            .collect();
        let (dims, device) = (self.rows.dims(), &self.device);
        Ok(Batch {
            student: view(&features, dims, &self.columns, device)?,
            teacher: Tensor::from_slice(&features, [indices.len(), dims], device)?,
            truth: Tensor::from_slice(&truth, [indices.len(), labels], device)?,
        })
    }

    fn held_out(&self) -> &HeldOut {
        &self.held_out
    }

    fn fingerprint(&self) -> String {
        self.fingerprint.clone()
    }
}
