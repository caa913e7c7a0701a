//! The settings as a file that a person can read.

use std::fmt::Write;

use toml::{Table, Value};

use super::{RunConfig, table_of};
use crate::error::Result;

/// A section: its name, what it is about, and its keys with what they mean, in the order of the file.
pub type About = (&'static str, &'static str, &'static [(&'static str, &'static str)]);

pub(super) const SECTIONS: [About; 8] = [
    (
        "data",
        "What is learned from.",
        &[
            ("path", "A folder or file (IDX, CIFAR, pictures, .npz), `digits`, or `synthetic:NAME`."),
            ("labels", "Whether the network is told the class."),
            ("shuffle", "window (EDM's: a sample comes back after half of the set at the earliest) or epochs."),
        ],
    ),
    (
        "model",
        "The architecture, with EDM's keyword names. What is left out follows from the data or is EDM's default.",
        &[
            ("precond", "Preconditioning: edm, vp, ve or iddpm."),
            ("model_type", "SongUNet, DhariwalUNet or MLP."),
            ("sigma_data", "edm: standard deviation of the data."),
            ("sigma_min", "Least noise level that the model is made for."),
            ("sigma_max", "Largest noise level that the model is made for."),
            ("beta_d", "vp: growth of the noise rate."),
            ("beta_min", "vp: noise rate at time 0."),
            ("epsilon_t", "vp: least time."),
            ("C_1", "iddpm: least ratio of neighbouring levels' signal."),
            ("C_2", "iddpm: offset of the cosine."),
            ("M", "vp and iddpm: time steps of the discrete process."),
            ("img_resolution", "Height and width; of the data unless given."),
            ("img_channels", "Of the data unless given."),
            ("label_dim", "Number of classes, 0 for none; of the data unless given."),
            ("augment_dim", "Numbers in an augmentation label; follows from [augment]."),
            ("dims", "Numbers per point; of the data unless given."),
            ("model_channels", "Channels that channel_mult multiplies."),
            ("channel_mult", "Channels at each resolution, in multiples of model_channels."),
            ("channel_mult_emb", "Size of the embedding, in multiples of model_channels."),
            ("num_blocks", "Residual blocks at each resolution."),
            ("attn_resolutions", "Resolutions with self-attention."),
            ("dropout", "Probability of dropout within blocks."),
            ("label_dropout", "Probability that a sample's class is kept from the network (for guidance)."),
            ("embedding_type", "Of the noise level: positional (DDPM++) or fourier (NCSN++)."),
            ("channel_mult_noise", "Size of the noise level's embedding: 1 for DDPM++, 2 for NCSN++."),
            ("encoder_type", "standard (DDPM++), skip or residual (NCSN++)."),
            ("decoder_type", "standard or skip."),
            ("resample_filter", "[1, 1] for DDPM++, [1, 3, 3, 1] for NCSN++."),
            ("hidden", "Width of the hidden layers."),
            ("layers", "Residual layers."),
            ("noise_channels", "Channels of the noise embedding, even."),
        ],
    ),
    (
        "loss",
        "What is minimised.",
        &[
            ("kind", "edm, vp, ve or iddpm."),
            ("p_mean", "edm: mean of ln sigma."),
            ("p_std", "edm: standard deviation of ln sigma."),
            ("beta_d", "vp: growth of the noise rate."),
            ("beta_min", "vp: noise rate at time 0."),
            ("epsilon_t", "vp: least time."),
            ("sigma_min", "ve: least noise level."),
            ("sigma_max", "ve: largest noise level."),
            ("c_1", "iddpm: least ratio of neighbouring levels' signal."),
            ("c_2", "iddpm: offset of the cosine."),
            ("m", "iddpm: number of levels."),
        ],
    ),
    (
        "augment",
        "What is done to images before the network sees them; it is told, so samples show nothing of it.",
        &[
            ("p", "Probability of each operation; 0: none, not even flips. EDM: 0.12 for 32x32, 0.15 for 64x64."),
            ("xflip", "Multiplies p for mirroring left to right (besides a fair coin)."),
            ("yflip", "Multiplies p for mirroring top to bottom (besides a fair coin)."),
            ("scale", "Multiplies p for scaling."),
            ("rotate_frac", "Multiplies p for rotation."),
            ("aniso", "Multiplies p for stretching."),
            ("translate_frac", "Multiplies p for shifts."),
        ],
    ),
    (
        "optimizer",
        "How weights are changed.",
        &[
            ("name", "adam, sgd or rmsprop."),
            ("lr", "Learning rate."),
            ("beta1", "Adam: decay of the first moment."),
            ("beta2", "Adam: decay of the second moment."),
            ("eps", "Added to roots of second moments."),
            ("weight_decay", "Decoupled for Adam, plain for SGD."),
            ("momentum", "Of sgd and rmsprop."),
            ("warm_up", "Images over which the rate rises from 0."),
            ("schedule", "What follows: constant, cosine or inverse-sqrt."),
            ("schedule_images", "Images of the cosine, or after which the fall begins; 0: those of the run."),
            ("max_norm", "Longer gradients are shortened to this; inf: none are."),
        ],
    ),
    (
        "average",
        "Running averages of the weights, in images.",
        &[
            ("half_life", "Images after which a weight counts half; 0: no average."),
            ("ramp", "Keeps the half-life below this part of the images seen; 0: no limit, as from trained weights."),
            (
                "power",
                "Widths of power-function averages that are kept besides, for `veridical ema`; EDM2: [0.05, 0.1].",
            ),
            ("snapshot_every", "Images between two snapshots of these; 0: none."),
        ],
    ),
    (
        "train",
        "The run itself.",
        &[
            ("seed", "Of everything random."),
            ("device", "cpu, cuda, cuda:N, emulator, or best (CUDA if there is a GPU, else CPU)."),
            ("batch", "Images a step."),
            ("micro_batch", "Images that are in memory at once; 0: the batch."),
            ("images", "Images of the whole run, each time one is seen."),
            ("init", "A model file to start from, of the same architecture; empty: random weights."),
            ("compute", "f32 or bf16; weights and sums are f32 either way."),
            (
                "checkpoint_activations",
                "Computes blocks of U-Nets again in the backward pass: less memory, more time, the same up to rounding.",
            ),
            ("log_every", "Steps between lines of log.jsonl."),
            ("sample_every", "Steps between pictures of samples; 0: only at the end."),
            ("checkpoint_every", "Steps between checkpoints; 0: only at the end."),
            ("keep_last", "Checkpoints that are kept."),
            ("keep_every", "Checkpoints of every so many steps are kept as well; 0: none."),
        ],
    ),
    (
        "sampling",
        "The samples that are drawn while it trains, by Heun's method.",
        &[
            ("steps", "Steps; the network runs twice in each."),
            ("sigma_min", "The noise level before the last step."),
            ("sigma_max", "The noise level at the start."),
            ("rho", "How closely the levels lie near the end."),
            ("columns", "Columns of the picture."),
            ("rows", "Rows of the picture; with classes a row for each, up to this many."),
            ("seed", "Of the noise that samples start from: the same through the run, so that pictures compare."),
            (
                "measured",
                "Samples that are compared with test images (else training images) at every picture; 0: none.",
            ),
        ],
    ),
];

pub(super) fn document(config: &RunConfig) -> Result<String> {
    Ok(written(&table_of(config)?, &SECTIONS))
}

/// The sections of `table`, each key with its meaning.
pub(super) fn written(table: &Table, sections: &[About]) -> String {
    let mut text = String::new();
    for (section, about, keys) in sections.iter().copied() {
        let empty = Table::new();
        let values = table.get(section).and_then(Value::as_table).unwrap_or(&empty);
        // Writing to a string cannot fail.
        let _ = writeln!(text, "# {about}\n[{section}]");
        for (key, about) in keys {
            if let Some(value) = values.get(*key) {
                let _ = writeln!(text, "# {about}\n{key} = {value}");
            }
        }
        for (key, value) in values {
            if !keys.iter().any(|(known, _)| known == key) {
                let _ = writeln!(text, "{key} = {value}");
            }
        }
        text.push('\n');
    }
    text.truncate(text.trim_end().len());
    text.push('\n');
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_is_explained_and_the_file_says_what_the_settings_say() {
        for name in super::super::preset_names() {
            let config = RunConfig::build(Some(name), None, &[]).unwrap();
            let text = config.document().unwrap();
            assert_eq!(toml::from_str::<RunConfig>(&text).unwrap(), config, "{name}");
            for (section, keys) in table_of(&config).unwrap() {
                let known = SECTIONS.iter().find(|(name, ..)| *name == section).unwrap().2;
                for key in keys.as_table().unwrap().keys() {
                    assert!(known.iter().any(|(name, _)| name == key), "no comment for {section}.{key}");
                }
                for (key, _) in known {
                    assert!(section == "model" || keys.get(*key).is_some(), "{section}.{key} is no key");
                }
            }
        }
    }
}
