//! Settings that are known to make sense.

use super::settings::{KdganSettings, StudentSection, TeacherSection};
use crate::error::{Error, Result};
use crate::methods::game::GameData;
use crate::train::Own;

/// The names that there are.
pub const NAMES: [&str; 4] = ["digits", "mnist", "cifar10", "table"];

/// The preset for these data: by the size of images.
pub fn fitting(data: &GameData) -> &'static str {
    let [height, width, channels] = match data {
        GameData::Table(_) => return "table",
        GameData::Images(data) => data.train.size(),
    };
    match height.min(width) {
        0..=15 => "digits",
        _ if channels == 3 => "cifar10",
        _ => "mnist",
    }
}

/// A preset by name. Errors on names that there are not.
pub fn named(name: &str) -> Result<Own<KdganSettings>> {
    let mut settings = KdganSettings::default();
    match name {
        "digits" => {
            (settings.augment.rotation, settings.augment.shift, settings.augment.zoom) = (10.0, 0.1, 0.1);
        }
        // The networks of the paper's appendix; its augmentation.
        "mnist" => {
            (settings.augment.rotation, settings.augment.shift, settings.augment.zoom) = (15.0, 0.1, 0.1);
            settings.student = StudentSection { hidden: vec![800, 800], dropout: 0.12, ..StudentSection::default() };
            settings.teacher = large(&[20, 20]);
            settings.data.path = String::new();
        }
        "cifar10" => {
            (settings.augment.shift, settings.augment.zoom) = (0.1, 0.1);
            settings.student = StudentSection { hidden: vec![800, 800], dropout: 0.12, ..StudentSection::default() };
            settings.teacher = large(&[64, 128]);
            settings.data.path = String::new();
        }
        // Widths of the tagging experiments in the paper's appendix.
        "table" => {
            settings.student.hidden = vec![800, 800];
            settings.teacher = TeacherSection { channels: Vec::new(), hidden: 1200, ..TeacherSection::default() };
            settings.data.labelled = 0;
            settings.data.path = String::new();
        }
        _ => {
            let what = format!("`{name}` is no preset of kdgan; there are {}", NAMES.join(", "));
            return Err(Error::Config(what));
        }
    }
    Ok(Own(settings))
}

fn large(channels: &[usize]) -> TeacherSection {
    TeacherSection { channels: channels.to_vec(), kernel: 5, padding: 0, hidden: 500, ..TeacherSection::default() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::train::Settings;

    #[test]
    fn every_preset_makes_sense_and_comes_back_from_its_document() {
        for name in NAMES {
            let preset = named(name).unwrap();
            preset.check().unwrap();
            let document = preset.document().unwrap();
            assert_eq!(preset.clone().build(Some(&document), &[]).unwrap(), preset);
            preset.continues(&document).unwrap();
            let other = preset.clone().build(None, &["kdgan.alpha=0.25".into()]).unwrap();
            assert!(other.continues(&document).unwrap_err().to_string().contains("kdgan.alpha"));
            assert!(preset.build(None, &["kdgan.colour=1".into()]).unwrap_err().to_string().contains("kdgan.colour"));
        }
        assert!(named("imagenet").is_err());
    }
}
