//! Settings that are known to make sense.

use toml::{Table, toml};

use super::RunConfig;
use super::sections::{
    Augment, Average, Compute, Data, LossSection, OptimizerSection, Sampling, ScheduleKind, TrainSection,
};
use crate::error::{Error, Result};

/// The names of the presets.
pub fn names() -> &'static [&'static str] {
    &[
        "digits",
        "points",
        "mnist",
        "fashion",
        "cifar10-ddpmpp",
        "cifar10-ncsnpp",
        "ffhq64",
        "ffhq64-ddpmpp",
        "ffhq64-ncsnpp",
        "afhqv2-64-ddpmpp",
        "imagenet64-adm",
    ]
}

/// `[height, width, channels]` and the number of classes of the data that a preset is made for.
pub fn shape(name: &str) -> Option<([usize; 3], usize)> {
    Some(match name {
        "digits" => ([8, 8, 1], 10),
        "points" => ([1, 1, 2], 1),
        "mnist" | "fashion" => ([28, 28, 1], 10),
        "cifar10-ddpmpp" | "cifar10-ncsnpp" => ([32, 32, 3], 10),
        "ffhq64" | "ffhq64-ddpmpp" | "ffhq64-ncsnpp" | "afhqv2-64-ddpmpp" => ([64, 64, 3], 1),
        "imagenet64-adm" => ([64, 64, 3], 1000),
        _ => return None,
    })
}

/// EDM's settings for CIFAR-10 in everything that does not depend on the data; the digits in the binary as data.
pub(super) fn base() -> RunConfig {
    RunConfig {
        data: Data::default(),
        model: toml! {
            precond = "edm"
            model_type = "SongUNet"
            sigma_data = 0.5
        },
        loss: LossSection::default(),
        augment: Augment::default(),
        optimizer: OptimizerSection::default(),
        average: Average::default(),
        train: TrainSection::default(),
        sampling: Sampling::default(),
    }
}

fn model(config: &mut RunConfig, options: Table) {
    config.model.extend(options);
}

/// Small grey pictures on a few processors: a rate that a small network stands, short averages.
pub(super) fn small() -> RunConfig {
    let mut config = base();
    config.optimizer.max_norm = 10.0;
    config.average.ramp = 0.1;
    config.train.batch = 64;
    config.loss.p_mean = -0.8;
    config.sampling.columns = 8;
    config.sampling.measured = 200;
    config
}

/// 28 by 28 pixels, in about an hour on two processors (80 to 114 images/s were measured).
fn mnist_like(sigma_data: f64) -> RunConfig {
    let mut config = small();
    model(
        &mut config,
        toml! {
            model_channels = 32
            channel_mult = [1, 2, 2]
            num_blocks = 1
            attn_resolutions = [7]
            dropout = 0.05
            label_dropout = 0.1
        },
    );
    config.model.insert("sigma_data".into(), sigma_data.into());
    config.data.path = String::new();
    config.optimizer.lr = 2e-3;
    config.optimizer.warm_up = 10_000;
    config.average.half_life = 50_000.0;
    config.train.images = 300_000;
    config.train.sample_every = 500;
    config.train.checkpoint_every = 500;
    config
}

/// The U-Nets of EDM's CIFAR-10 models.
fn cifar(ncsnpp: bool) -> RunConfig {
    let mut config = base();
    model(
        &mut config,
        toml! {
            model_channels = 128
            channel_mult = [2, 2, 2]
            num_blocks = 4
            attn_resolutions = [16]
            dropout = 0.13
        },
    );
    if ncsnpp {
        ncsn(&mut config);
    }
    config.data.path = String::new();
    config.augment.p = 0.12;
    config.train.micro_batch = 64;
    config.average.power = vec![0.05, 0.1];
    config.average.snapshot_every = 8_000_000;
    config
}

fn ncsn(config: &mut RunConfig) {
    model(
        config,
        toml! {
            embedding_type = "fourier"
            channel_mult_noise = 2
            encoder_type = "residual"
            decoder_type = "standard"
            resample_filter = [1, 3, 3, 1]
        },
    );
}

/// The U-Nets of EDM's 64x64 models.
fn sixty_four(ncsnpp: bool, dropout: f64) -> RunConfig {
    let mut config = cifar(ncsnpp);
    model(&mut config, toml! { channel_mult = [1, 2, 2, 2] });
    config.model.insert("dropout".into(), dropout.into());
    config.optimizer.lr = 2e-4;
    config.augment.p = 0.15;
    config.train.batch = 256;
    config.train.micro_batch = 32;
    config.sampling.steps = 40;
    config
}

/// A preset by its name. Errors on others, with the list.
pub(super) fn named(name: &str) -> Result<RunConfig> {
    Ok(match name {
        "digits" => {
            let mut config = small();
            model(
                &mut config,
                toml! {
                    sigma_data = 0.75
                    model_channels = 32
                    channel_mult = [1, 1]
                    num_blocks = 1
                    attn_resolutions = [4]
                    dropout = 0.05
                    label_dropout = 0.1
                },
            );
            config.optimizer.lr = 3e-3;
            config.optimizer.warm_up = 6400;
            config.optimizer.schedule = ScheduleKind::Cosine;
            config.average.half_life = 8000.0;
            config.train.images = 76_800;
            config.train.sample_every = 300;
            config.train.checkpoint_every = 300;
            config
        }
        "points" => {
            let mut config = small();
            config.model = toml! {
                precond = "edm"
                model_type = "MLP"
                sigma_data = 0.5
                hidden = 128
                layers = 3
                noise_channels = 32
            };
            config.data.path = "synthetic:two-moons".into();
            config.train.batch = 500;
            config.train.images = 1_000_000;
            config.optimizer.lr = 3e-3;
            config.optimizer.warm_up = 20_000;
            config.average.half_life = 50_000.0;
            config
        }
        "mnist" => mnist_like(0.6),
        "fashion" => mnist_like(0.7),
        "cifar10-ddpmpp" => cifar(false),
        "cifar10-ncsnpp" => cifar(true),
        "ffhq64" | "ffhq64-ddpmpp" => sixty_four(false, 0.05),
        "ffhq64-ncsnpp" => sixty_four(true, 0.05),
        "afhqv2-64-ddpmpp" => sixty_four(false, 0.25),
        "imagenet64-adm" => {
            let mut config = base();
            config.model = toml! {
                precond = "edm"
                model_type = "DhariwalUNet"
                sigma_data = 0.5
                model_channels = 192
                channel_mult = [1, 2, 3, 4]
                num_blocks = 3
                attn_resolutions = [32, 16, 8]
                dropout = 0.10
            };
            config.data.path = String::new();
            config.optimizer.lr = 1e-4;
            config.average = Average {
                half_life: 50_000_000.0,
                ramp: 0.05,
                power: vec![0.05, 0.1],
                snapshot_every: 8_000_000,
                keep_snapshots: 0,
            };
            config.train.batch = 4096;
            config.train.micro_batch = 32;
            config.train.images = 2_500_000_000;
            config.train.compute = Compute::Bf16;
            config.sampling.steps = 40;
            config
        }
        _ => {
            let known = names().join(", ");
            return Err(Error::Config(format!("`{name}` is no preset; there are {known}")));
        }
    })
}
