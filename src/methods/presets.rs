//! Settings of the methods that are known to make sense.

use super::ambient::AmbientSettings;
use super::contrastive_chain::CscSettings;
use super::noisy::{NoisySection, Sigma};
use super::sfbd::SfbdSettings;
use crate::error::{Error, Result};
use crate::train::config::ScheduleKind;
use crate::train::{RunConfig, With};

/// The names that the methods for noisy images know.
pub const NOISY: [&str; 5] = ["digits", "points", "mnist", "fashion", "cifar10-ddpmpp"];
/// The names that fine-tuning for coarse solvers knows.
pub const CSC: [&str; 4] = ["digits", "points", "fashion", "cifar10"];

/// A training run without classes, as the papers on noisy images have it, of `images` images.
fn unconditional(name: &str, images: u64) -> Result<RunConfig> {
    let mut run = RunConfig::build(Some(name), None, &[])?;
    run.data.labels = false;
    run.model.remove("label_dropout");
    run.train.images = images;
    Ok(run)
}

/// Pre-training and a round of the presets of noisy images, in images; and how the data are spoilt.
fn noisy(name: &str) -> Result<(RunConfig, u64, NoisySection)> {
    let spoilt = |sigma: f64, clean_share: f64| NoisySection {
        sigma: Sigma::Number(sigma),
        clean_share,
        ..NoisySection::default()
    };
    let (mut run, images, round, noisy) = match name {
        "digits" => (unconditional(name, 30_720)?, 30_720, 15_360, spoilt(0.59, 0.04)),
        "points" => (unconditional(name, 200_000)?, 200_000, 100_000, spoilt(0.2, 0.02)),
        "mnist" | "fashion" => (unconditional(name, 100_000)?, 100_000, 50_000, spoilt(0.59, 0.04)),
        // The level of the 18-step grid that the papers round to 0.59; lengths are ours, theirs are not public.
        "cifar10-ddpmpp" => (unconditional(name, 50_000_000)?, 50_000_000, 20_000_000, spoilt(0.5853, 0.04)),
        _ => {
            let what = format!("`{name}` is no preset for noisy images; there are {}", NOISY.join(", "));
            return Err(Error::Config(what));
        }
    };
    run.train.images = images;
    // A cosine would have to know the length of all rounds together; rounds start afresh.
    run.optimizer.schedule = ScheduleKind::Constant;
    if name == "digits" {
        run.optimizer.lr = 1e-3;
    }
    Ok((run, round, noisy))
}

/// As the presets of noisy images, for settings that [follow from the data](RunConfig::fitting): without classes, a
/// third as long, in rounds of half of that.
fn fitted(mut run: RunConfig) -> (RunConfig, u64, NoisySection) {
    run.data.labels = false;
    run.model.remove("label_dropout");
    run.train.images = (run.train.images / 3).max(1);
    run.optimizer.schedule = ScheduleKind::Constant;
    run.optimizer.lr = run.optimizer.lr.min(2e-3);
    let round = (run.train.images / 2).max(1);
    (run, round, NoisySection { clean_share: 0.04, ..NoisySection::default() })
}

/// SFBD. Errors on names that there are not.
pub fn sfbd(name: &str) -> Result<With<SfbdSettings>> {
    noisy(name).map(|parts| sfbd_of(name, parts))
}

/// SFBD on data that `run` was [fitted](RunConfig::fitting) to.
pub fn sfbd_fitting(run: RunConfig) -> With<SfbdSettings> {
    sfbd_of("", fitted(run))
}

fn sfbd_of(name: &str, (run, round, noisy): (RunConfig, u64, NoisySection)) -> With<SfbdSettings> {
    let mut method = SfbdSettings { noisy, ..SfbdSettings::default() };
    method.sfbd.round_images = round;
    method.online.images = u64::from(method.sfbd.rounds) * round;
    method.online.ramp_images = round / 2;
    small_judge(name, &mut method.judge.images);
    With { run, method }
}

/// Ambient-Tweedie, with as many images as SFBD sees in all. Errors on names that there are not.
pub fn ambient(name: &str) -> Result<With<AmbientSettings>> {
    noisy(name).map(|parts| ambient_of(name, parts))
}

/// Ambient-Tweedie on data that `run` was [fitted](RunConfig::fitting) to.
pub fn ambient_fitting(run: RunConfig) -> With<AmbientSettings> {
    ambient_of("", fitted(run))
}

fn ambient_of(name: &str, (mut run, round, noisy): (RunConfig, u64, NoisySection)) -> With<AmbientSettings> {
    run.train.images += u64::from(SfbdSettings::default().sfbd.rounds) * round;
    if name.starts_with("cifar10") {
        run.augment.p = 0.12;
        for off in [
            &mut run.augment.scale,
            &mut run.augment.rotate_frac,
            &mut run.augment.aniso,
            &mut run.augment.translate_frac,
        ] {
            *off = 0.0;
        }
    }
    let mut method = AmbientSettings { noisy, ..AmbientSettings::default() };
    small_judge(name, &mut method.judge.images);
    With { run, method }
}

/// Fine-tuning for coarse solvers. Errors on names that there are not.
pub fn csc(name: &str) -> Result<With<CscSettings>> {
    let (base, images, lr) = match name {
        "digits" => ("digits", 12_800, 2e-4),
        "points" => ("points", 200_000, 3e-4),
        "fashion" => ("fashion", 50_000, 2e-4),
        "cifar10" => ("cifar10-ddpmpp", 2_000_000, 1e-4),
        _ => {
            let what = format!("`{name}` is no preset for fine-tuning; there are {}", CSC.join(", "));
            return Err(Error::Config(what));
        }
    };
    let mut run = RunConfig::build(Some(base), None, &[])?;
    run.model.clear(); // the model's own
    run.train.images = images;
    run.optimizer.lr = lr;
    run.optimizer.warm_up = images / 20;
    run.optimizer.schedule = ScheduleKind::Constant;
    run.average.half_life = images as f64 / 10.0;
    run = run.for_trained_weights();
    run.average.power.clear();
    (run.average.snapshot_every, run.average.keep_snapshots) = (0, 0);
    run.augment.p = 0.0;
    let mut method = CscSettings::default();
    if name == "points" {
        // 1 / dims: the width that the bound suggests, which only so few dimensions leave a gradient for.
        (method.csc.temperature, method.csc.steps) = (0.5, 7);
    }
    small_judge(name, &mut method.judge.images);
    Ok(With { run, method })
}

fn small_judge(name: &str, images: &mut usize) {
    if name == "digits" {
        *images = 500;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_preset_makes_sense_and_every_key_is_explained() {
        for name in NOISY {
            for document in [sfbd(name).map(check), ambient(name).map(check)] {
                document.unwrap();
            }
            assert!(RunConfig::build(Some(name), None, &[]).is_ok());
        }
        CSC.into_iter().for_each(|name| check(csc(name).unwrap()));
        assert!(sfbd("imagenet64-adm").is_err() && csc("mnist").is_err() && ambient("").is_err());
    }

    fn check<S: crate::train::MethodSettings + PartialEq + std::fmt::Debug>(with: With<S>) {
        with.check().unwrap();
        // The document says what the settings say.
        let document = with.document().unwrap();
        assert_eq!(with.clone().build(Some(&document), &[]).unwrap(), with);
        with.continues(&document).unwrap();
        let other = with.clone().build(None, &["train.seed=77".into()]).unwrap();
        assert!(other.continues(&document).unwrap_err().to_string().contains("train.seed"));
        assert!(with.clone().build(None, &["judge.colour=1".into()]).unwrap_err().to_string().contains("judge.colour"));
        assert!(with.build(None, &["nonsense.x=1".into()]).unwrap_err().to_string().contains("[nonsense]"));
    }
}
