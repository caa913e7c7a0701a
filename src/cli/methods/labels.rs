//! The labelled data of a game: its flags, and their opening before the settings are known.

use veridical::Result;
use veridical::methods::game::{GameData, LabelledSection, Subset};

use super::Common;
use crate::cli::words::words;

/// Which of the training examples have a label.
#[derive(clap::Args)]
pub struct Labels {
    /// How many training examples have a label; 0: all
    #[arg(long, value_name = "N")]
    labelled: Option<usize>,
    /// Which: as many of each class, the last of the set, or any
    #[arg(long, value_name = "NAME", value_parser = words::<Subset>())]
    subset: Option<Subset>,
}

impl Labels {
    pub fn set(&self, data: &mut LabelledSection) {
        data.labelled = self.labelled.unwrap_or(data.labelled);
        data.subset = self.subset.unwrap_or(data.subset);
    }
}

/// The path that flags give, and what is there if nothing else says what to do: then the data choose the preset.
pub struct Opened {
    pub given: Option<String>,
    first: Option<(String, GameData)>,
}

impl Opened {
    pub fn new(common: &Common, data: Option<&str>) -> Result<Self> {
        let given = data.map(str::to_string).or_else(|| common.given("data.path"));
        let first = match common.is_fresh() {
            true => {
                let path = given.as_deref().unwrap_or("digits");
                Some((path.to_string(), GameData::open(path)?))
            }
            false => None,
        };
        Ok(Opened { given, first })
    }

    /// The path and the data that choose the preset.
    pub fn first(&self) -> Option<(&str, &GameData)> {
        self.first.as_ref().map(|(path, data)| (path.as_str(), data))
    }

    /// What is said of the preset that the data chose, if they did.
    pub fn preset_line(&self, fitting: &str) -> Option<String> {
        let what = "for data of this form; --preset names another, --print-config shows what it sets";
        self.first.is_some().then(|| format!("preset {fitting}, {what}"))
    }

    /// The data of the settings' path.
    pub fn of(self, path: &str) -> Result<GameData> {
        match self.first {
            Some((opened, data)) if opened == path => Ok(data),
            _ => GameData::open(path),
        }
    }
}
