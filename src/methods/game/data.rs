//! Data as games take them: with some labels.

use std::path::Path;

use crate::data::{self, DataSet, Images, MultiLabelOptions, MultiLabelSet, subset};
use crate::error::{Error, Result};
use crate::methods::game::{LabelledSection, Subset};

/// What a game of images is played with.
#[derive(Debug)]
pub struct Labelled {
    /// Images with their labels.
    pub labelled: Images,
    /// All training images that are not set apart, whose labels nothing is told of.
    pub unlabelled: Images,
    /// What is measured on.
    pub held_out: Images,
    /// What was decided, a line each.
    pub notes: Vec<String>,
}

impl Labelled {
    /// Sets apart what is measured on, and chooses the labelled ones. Errors on data without classes or test images,
    /// and if there are not enough of a kind.
    pub fn of(section: &LabelledSection, data: &DataSet, seed: u64) -> Result<Self> {
        let path = &section.path;
        if data.train.classes() < 2 {
            let what = "its images have no classes to learn; give labels (docs/data.md says how)";
            return Err(Error::Config(format!("{path}: {what}")));
        }
        for (without, which) in data.reading.without_labels.into_iter().zip(["training", "test"]) {
            if without && (which == "training" || section.validation == 0) {
                let what = format!("its {which} images have no labels, and are not to be taken for one class");
                return Err(Error::Config(format!("{path}: {what}; give labels (docs/data.md says how)")));
            }
        }
        let chosen = section.subset(&data.train, seed)?;
        let labelled = data.train.select(&chosen.chosen)?;
        let mut notes = Vec::new();
        let name = |class: u32| data.class_names.get(class as usize).cloned().unwrap_or_else(|| class.to_string());
        if !chosen.absent.is_empty() {
            let mut absent = chosen.absent.iter().take(20).map(|&class| name(class)).collect::<Vec<_>>().join(", ");
            if let more @ 1.. = chosen.absent.len().saturating_sub(20) {
                absent = format!("{absent} and {more} more");
            }
            notes.push(format!(
                "no labelled image is of class {absent}: nobody can learn it; give more labels{}",
                if section.subset == Subset::Balanced { "" } else { " or data.subset = \"balanced\"" }
            ));
        }
        let (unlabelled, held_out) = match section.validation {
            0 => {
                let test = data.test.clone().ok_or_else(|| {
                    Error::Config(format!(
                        "{path}: there are no test images to measure accuracy on; give some, or set training images apart \
                         with data.validation"
                    ))
                })?;
                (data.train.clone(), test)
            }
            count => {
                if count >= chosen.rest.len() {
                    let (labelled, rest) = (chosen.chosen.len(), chosen.rest.len());
                    let what = format!(
                        "data.validation = {count}, but beside the {labelled} labelled images there are {rest}, of which one \
                         must be left; lower it or data.labelled"
                    );
                    return Err(Error::Config(what));
                }
                let (apart, others) = subset::split(&chosen.rest, subset::Part::Count(count), seed)?;
                let mut kept = [others, chosen.chosen.clone()].concat();
                kept.sort_unstable();
                notes.push(format!("measured on {count} training images that are set apart, not on test images"));
                (data.train.select(&kept)?, data.train.select(&apart)?)
            }
        };
        notes.push(format!(
            "{} of {} training images have their labels ({})",
            labelled.len(),
            data.train.len(),
            section.subset
        ));
        Ok(Labelled { labelled, unlabelled, held_out, notes })
    }
}

/// A data set as `veridical kdgan` takes it.
#[derive(Debug)]
pub enum GameData {
    /// Images with a class each.
    Images(Box<DataSet>),
    /// Rows of a table with any number of labels each, standardised.
    Table(Box<MultiLabelSet>),
}

impl GameData {
    /// Opens an ARFF file or a folder with one as a table, everything else as [`data::open`] does. Errors where the
    /// readers do.
    pub fn open(path: &str) -> Result<Self> {
        if path.is_empty() {
            return Err(Error::Config("no data: say what to learn from with --data PATH".into()));
        }
        if !is_table(Path::new(path)) {
            return data::open(path).map(|set| GameData::Images(Box::new(set)));
        }
        let mut set = MultiLabelSet::open(path, &MultiLabelOptions::default())?;
        set.standardise()?;
        Ok(GameData::Table(Box::new(set)))
    }

    /// What was read, for a person.
    pub fn account(&self) -> String {
        match self {
            GameData::Images(data) => data.account(),
            GameData::Table(set) => set.account.join("\n"),
        }
    }

    /// Names of the classes or labels, where there are any.
    pub fn names(&self) -> &[String] {
        match self {
            GameData::Images(data) => &data.class_names,
            GameData::Table(set) => set.train.label_names(),
        }
    }
}

/// An ARFF file, or a folder with one.
fn is_table(path: &Path) -> bool {
    let is = |path: &Path| {
        let name = path.file_name().unwrap_or_default().to_string_lossy().to_lowercase();
        name.ends_with(".arff") || name.ends_with(".arff.gz")
    };
    match path.is_dir() {
        true => std::fs::read_dir(path).is_ok_and(|entries| entries.flatten().any(|entry| is(&entry.path()))),
        false => is(path),
    }
}

/// The darkest value of images: what comes into view at the edge of one that is turned.
pub(crate) fn darkest(images: &Images) -> Result<f32> {
    Ok(images.pixels()?.iter().copied().fold(f32::INFINITY, f32::min))
}
