//! `[model]`: the architecture. Its keys are the network's affair; here is what those of the built-in ones mean.

use toml::Table;

use crate::error::Result;
use crate::settings::{Key, Section};

/// A key that no range is known of.
const fn key(name: &'static str, meaning: &'static str) -> Key {
    Key { name, meaning, choices: &[], range: None }
}

impl Section for Table {
    const MEANING: &'static str =
        "The architecture, with EDM's keyword names. What is left out follows from the data or is EDM's default.";
    const KEYS: &'static [Key] = &[
        key("precond", "Preconditioning: edm, vp, ve or iddpm."),
        key("model_type", "The network: SongUNet, DhariwalUNet, MLP, or one that is registered."),
        key("sigma_data", "edm: standard deviation of the data."),
        key("sigma_min", "Least noise level that the model is made for."),
        key("sigma_max", "Largest noise level that the model is made for."),
        key("beta_d", "vp: growth of the noise rate."),
        key("beta_min", "vp: noise rate at time 0."),
        key("epsilon_t", "vp: least time."),
        key("C_1", "iddpm: least ratio of neighbouring levels' signal."),
        key("C_2", "iddpm: offset of the cosine."),
        key("betas", "iddpm: first and last beta of a linear schedule, in place of the cosine."),
        key("M", "vp and iddpm: time steps of the discrete process."),
        key("img_resolution", "Height and width, or the larger of them; of the data unless given."),
        key("img_height", "Height, where it differs from the width; of the data unless given."),
        key("img_width", "Width, where it differs from the height; of the data unless given."),
        key("img_channels", "Of the data unless given."),
        key("label_dim", "Number of classes, 0 for none; of the data unless given."),
        key("augment_dim", "Numbers in an augmentation label; follows from [augment]."),
        key("dims", "Numbers per point; of the data unless given."),
        key("model_channels", "Channels that channel_mult multiplies."),
        key("channel_mult", "Channels at each resolution, in multiples of model_channels."),
        key("channel_mult_emb", "Size of the embedding, in multiples of model_channels."),
        key("num_blocks", "Residual blocks at each resolution."),
        key("attn_resolutions", "Resolutions with self-attention."),
        key("dropout", "Probability of dropout within blocks."),
        key("label_dropout", "Probability that a sample's class is kept from the network (for guidance)."),
        key("embedding_type", "Of the noise level: positional (DDPM++) or fourier (NCSN++)."),
        key("channel_mult_noise", "Size of the noise level's embedding: 1 for DDPM++, 2 for NCSN++."),
        key("encoder_type", "standard (DDPM++), skip or residual (NCSN++)."),
        key("decoder_type", "standard or skip."),
        key("resample_filter", "[1, 1] for DDPM++, [1, 3, 3, 1] for NCSN++."),
        key("hidden", "Width of the hidden layers."),
        key("layers", "Residual layers."),
        key("noise_channels", "Channels of the noise embedding, even."),
    ];

    fn in_range(&self, _: &str) -> Result<()> {
        Ok(()) // the network says it when it is built
    }
}
