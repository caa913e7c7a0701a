use std::path::PathBuf;

/// Which columns are labels.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Labels {
    /// Those of the XML file beside the rows, whose name theirs begins with: `Corel5k.xml` for
    /// `Corel5k-train-sparse.arff`. (The feature `formats` reads it.)
    #[default]
    Beside,
    /// Those of this XML file. (The feature `formats` reads it.)
    Xml(PathBuf),
    /// So many at the beginning, as MEKA has them.
    First(usize),
    /// So many at the end.
    Last(usize),
}

/// What becomes of features that are missing (`?`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Missing {
    /// They are an error that names the line and the column.
    #[default]
    Refuse,
    /// The mean of the feature over the training rows that have it takes their place; the account says how many.
    Mean,
}

/// How a multi-label set is read; the default is what Mulan's sets need.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct MultiLabelOptions {
    /// Which columns are labels.
    pub labels: Labels,
    /// What becomes of missing features; missing labels are always an error.
    pub missing: Missing,
    /// The seed of the split, where a set is one file.
    pub seed: u64,
}
