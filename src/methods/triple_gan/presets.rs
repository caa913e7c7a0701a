//! Settings that are known to make sense.

use super::Pairs;
use super::settings::{NetworkKind, PairSection, TripleGanSettings};
use crate::error::{Error, Result};
use crate::players::GanLoss;
use crate::train::Own;

/// The names that there are.
pub const NAMES: [&str; 5] = ["digits", "mnist", "cifar10", "mnist-v2", "cifar10-v2"];

/// The preset for images of this size.
pub fn fitting([height, width, channels]: [usize; 3]) -> &'static str {
    match height.min(width) {
        0..=15 => "digits",
        _ if channels == 3 => "cifar10",
        _ => "mnist",
    }
}

/// A preset by name. Errors on names that there are not.
pub fn named(name: &str) -> Result<Own<TripleGanSettings>> {
    let mut settings = TripleGanSettings::default();
    let layers = |names: &[&str]| names.iter().map(ToString::to_string).collect();
    if name != "digits" {
        settings.data.path = String::new();
        settings.triple_gan.iterations = 20_000;
        settings.triple_gan.pretraining = 2000;
        settings.samples.measured = 100;
        let game = &mut settings.triple_gan;
        game.adversarial = 1.0;
        (game.labelled, game.unlabelled, game.generated, game.joined) = (100, 100, 100, 100);
    }
    match name {
        // Weights, batches and networks that did best on 400 training images set apart, with 50 and 100 labels and two
        // seeds. A generator of linear layers draws nearly one picture of each class.
        "digits" => {
            settings.networks.kind = NetworkKind::Residual;
            (settings.networks.channels, settings.networks.discriminator_channels) = (32, 32);
            let game = &mut settings.triple_gan;
            (game.loss, game.pairs) = (GanLoss::Hinge, Pairs::Integrate);
            (game.lr, game.beta1) = (5e-4, 0.0);
        }
        // The paper's networks; its batches but for 400 joined images and 200 made ones, and its schedule cut short.
        "mnist" | "mnist-v2" => {
            settings.networks.generator = vec![500, 500];
            settings.networks.discriminator = vec![1000, 500, 250, 250, 250];
            settings.classifier.layers = layers(&["32x5v", "pool", "64x3", "64x3v", "pool", "128x3", "128x3"]);
        }
        "cifar10" | "cifar10-v2" => {
            settings.data.labelled = 4000;
            settings.networks.kind = NetworkKind::Convolutional;
            settings.classifier.layers = layers(&[
                "128x3", "128x3", "128x3", "pool", "256x3", "256x3", "256x3", "pool", "512x3v", "256x1", "128x1",
            ]);
            (settings.classifier.noise, settings.classifier.slope) = (0.15, 0.1);
            let game = &mut settings.triple_gan;
            (game.adversarial, game.entropy, game.balance, game.pretraining_balance) = (0.01, 0.0, 0.0, 0.0);
            (game.consistency, game.consistency_ramp) = (100.0, 8000);
            (game.lr, game.classifier_lr) = (3e-4, 3e-3);
            (game.true_pairs, game.joined, game.generated) = (40, 160, 200);
            (game.pseudo_from, game.classifier_beta1) = (0.2, 0.9);
        }
        _ => {
            let what = format!("`{name}` is no preset of triple-gan; there are {}", NAMES.join(", "));
            return Err(Error::Config(what));
        }
    }
    if name.ends_with("-v2") {
        let colour = name == "cifar10-v2";
        let channels = if colour { 256 } else { 64 };
        settings.networks = PairSection {
            kind: NetworkKind::Residual,
            latents: if colour { 256 } else { 100 },
            channels,
            discriminator_channels: channels,
            blocks: if colour { 3 } else { 2 },
            ..settings.networks
        };
        let game = &mut settings.triple_gan;
        (game.loss, game.pairs, game.discriminator_steps) = (GanLoss::Hinge, Pairs::Integrate, 5);
        // Its loss of the classifier lacks the factor 1/2 of (8).
        (game.adversarial, game.pseudo, game.pseudo_from) = (0.06, 3.0, 0.25);
        game.classifier_beta1 = 0.9;
        (game.entropy, game.balance, game.pretraining_balance) = (0.0, 0.0, 0.0);
        (game.consistency, game.consistency_ramp, game.mean_teacher) = (50.0, 4000, true);
        (game.lr, game.beta1, game.true_pairs, game.joined) = (1e-4, 0.0, 10, 90);
    }
    Ok(Own(settings))
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
            let other = preset.clone().build(None, &["triple_gan.entropy=0.25".into()]).unwrap();
            assert!(other.continues(&document).unwrap_err().to_string().contains("triple_gan.entropy"));
            let error = preset.build(None, &["triple_gan.loss=wasserstein".into()]).unwrap_err().to_string();
            assert!(error.contains("of two players"), "{error}");
        }
        assert!(named("imagenet").is_err());
        assert_eq!([[8, 8, 1], [28, 28, 1], [32, 32, 3]].map(fitting), NAMES[..3]);
    }
}
