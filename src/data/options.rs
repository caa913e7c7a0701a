//! How a data set is to be read, where its files leave a choice.

use super::Units;

crate::choice! {
    /// What becomes of numbers that are no bytes.
    pub enum Standardise {
        /// Those about unit size as they are; others with one scale for all channels, columns of tables each with its
        /// own.
        Auto = "auto",
        /// They are taken as they are.
        None = "none",
        /// With one offset and scale for all.
        All = "all",
        /// With an offset and a scale for each channel or column.
        Channel = "channel",
    }
}

crate::choice! {
    /// What the axes of arrays are: n samples of h rows, w columns (or length l), c channels; d numbers of a point.
    pub enum AxisOrder {
        /// It is guessed from the extents, and said.
        Auto = "auto",
        /// Points.
        Points = "nd",
        /// Signals.
        Signals = "nl",
        /// Signals of channels.
        SignalsLast = "nlc",
        /// The same, channels first.
        SignalsFirst = "ncl",
        /// Images of one channel.
        Grey = "nhw",
        /// Images of channels.
        Last = "nhwc",
        /// The same, channels first.
        First = "nchw",
    }
}

/// How a data set is to be read; the default guesses, and says what it took.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ReadOptions {
    /// What becomes of numbers that are no bytes.
    pub standardise: Standardise,
    /// What the axes of arrays are.
    pub layout: AxisOrder,
    /// The column of a table that holds the class, by its name or counted from 1; `none`: no column does.
    pub class_column: Option<String>,
    /// How pictures come to one size.
    #[cfg(feature = "formats")]
    pub sizing: super::resize::Sizing,
    /// Bytes that a set may take in memory, and the cache of one that takes more and stays in its files, which is no
    /// smaller than 64 MiB; `None`: 2 GiB.
    pub in_memory: Option<u64>,
    /// Whether the alpha of pictures is kept, as one channel more.
    pub alpha: bool,
    /// The size of the samples that these belong beside, which decides between readings of an array's axes.
    pub like: Option<[usize; 3]>,
    /// The names of the columns that those of a table belong beside: a model's, or other data's. Where its header has
    /// the same names in another order, its columns are put into this one.
    pub like_columns: Vec<String>,
    /// What the columns are called, for messages; the reader of tables fills it in.
    pub columns: Vec<String>,
    /// Numbers, but for bytes and words of 16 bits, are taken as they are, whatever else is said: they are to be
    /// [transformed](crate::data::Transform) before they are standardised, and rounding them as standardised ones would
    /// lose what tells small ones apart.
    pub exact: bool,
    /// The images have noise: values below 0 may lie anywhere.
    pub noisy: bool,
    /// The units of data that were read before, which these belong to. Where those were standardised, so are these, by
    /// the same numbers; where not, these may be of another type: bytes beside numbers in [-1, 1].
    pub units: Option<Units>,
}

/// What a set may take in memory if nothing is said.
const IN_MEMORY: u64 = 2 << 30;
/// What is held at least of a set that stays in its files.
const LEAST_CACHE: u64 = 64 << 20;
/// The options that not every form of data has a use for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Choice {
    Layout,
    ClassColumn,
    Standardise,
    Alpha,
}

impl ReadOptions {
    /// Bytes that a set may take in memory.
    pub fn may_take(&self) -> u64 {
        self.in_memory.unwrap_or(IN_MEMORY)
    }

    /// Bytes that are held of a set that takes more.
    pub fn cache(&self) -> u64 {
        self.may_take().max(LEAST_CACHE)
    }

    /// For images that have noise already.
    pub fn noisy() -> Self {
        ReadOptions { noisy: true, ..Self::default() }
    }

    /// The same for numbers of which logarithms are to be taken.
    #[must_use]
    pub fn exact(self) -> Self {
        ReadOptions { exact: true, units: None, ..self }
    }

    /// The same for data beside samples of this size.
    #[must_use]
    pub fn beside(self, size: [usize; 3]) -> Self {
        ReadOptions { like: Some(size), ..self }
    }

    /// The same for a table beside numbers of columns of these names, if they have any.
    #[must_use]
    pub fn beside_columns(self, names: &[String]) -> Self {
        ReadOptions { like_columns: names.to_vec(), ..self }
    }

    /// The same for data that are to be in these units.
    #[must_use]
    pub fn in_units(self, units: &Units) -> Self {
        ReadOptions { units: Some(units.clone()), ..self }
    }

    /// Words on what was asked for and has no use where only `used` have one, if there is such a thing.
    pub(super) fn without_use(&self, used: &[Choice]) -> Vec<String> {
        let asked = [
            (Choice::Layout, self.layout != AxisOrder::Auto, "--layout (data.layout) is for arrays"),
            (
                Choice::ClassColumn,
                self.class_column.as_ref().is_some_and(|name| !name.is_empty() && name != "none"),
                "--class-column (data.class_column) is for tables",
            ),
            (
                Choice::Standardise,
                self.standardise != Standardise::Auto,
                "--standardise (data.standardise) is for numbers that are no bytes",
            ),
            (Choice::Alpha, self.alpha, "--alpha (data.alpha) is for pictures that have some"),
        ];
        let idle = asked.into_iter().filter(|(choice, asked, _)| *asked && !used.contains(choice));
        idle.map(|(_, _, what)| format!("{what}, and changes nothing here")).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_no_use_is_named() {
        assert!(ReadOptions::default().without_use(&[]).is_empty());
        let all = ReadOptions {
            layout: AxisOrder::Grey,
            class_column: Some("a".into()),
            standardise: Standardise::All,
            alpha: true,
            ..ReadOptions::default()
        };
        let said = all.without_use(&[Choice::Layout, Choice::Alpha]);
        assert_eq!(said.len(), 2);
        assert!(said[0].starts_with("--class-column") && said[1].starts_with("--standardise"), "{said:?}");
        assert!(all.without_use(&[Choice::Layout, Choice::ClassColumn, Choice::Standardise, Choice::Alpha]).is_empty());
        let none = ReadOptions { class_column: Some("none".into()), ..ReadOptions::default() };
        assert!(none.without_use(&[]).is_empty());
    }
}
