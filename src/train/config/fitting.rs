//! Settings that follow from what the data are and where they are trained on.

use toml::{Table, Value, toml};

use super::RunConfig;
use super::presets::{base, small};
use super::sections::ScheduleKind;
use crate::data::Images;
use crate::figures::grouped;

/// Levels go on until the smaller side has so many pixels.
const LOWEST: usize = 7;
/// Levels at most.
const MOST_LEVELS: usize = 6;
/// Images that are seen while the learning rate rises, and at most as a share of all.
const WARM_UP: u64 = 10_000;

impl RunConfig {
    /// Settings for these data, where nothing else is said: a network that suits the size of the images or the number
    /// of dimensions, `sigma_data` as measured, batches no larger than the set, and a length that a few processors (or
    /// with `gpu` a GPU) get through. With classes, one in ten is kept from the network, so that guidance works.
    ///
    /// On processors the networks are small ones; on a GPU those of EDM (Karras et al. 2022) of that resolution.
    #[must_use]
    pub fn fitting(data: &Images, gpu: bool) -> Self {
        let [height, width, _] = data.size();
        let points = height == 1 && width == 1;
        let mut config = match (points, gpu) {
            (true, _) => of_points(data.size()[2]),
            (false, true) => large(height, width),
            (false, false) => of_images(height, width),
        };
        config.data.path = String::new();
        config.model.insert("sigma_data".into(), sigma_data(data).into());
        if data.classes() > 1 {
            config.model.insert("label_dropout".into(), 0.1.into());
        }
        let largest = data.len().next_power_of_two().max(8);
        config.train.batch = config.train.batch.min(largest);
        config.train.micro_batch = config.train.micro_batch.min(config.train.batch);
        config
    }

    /// The settings that [`fitting`](Self::fitting) derives, in one line.
    pub fn in_brief(&self) -> String {
        let model = |key: &str| self.model.get(key).map_or_else(String::new, shown);
        let kind = model("model_type");
        let network = match self.model.contains_key("hidden") {
            true => format!("{kind} of {} layers of {}", model("layers"), model("hidden")),
            false => {
                let (channels, blocks) = (model("model_channels"), model("num_blocks"));
                let attention = match self.model.get("attn_resolutions").and_then(Value::as_array) {
                    Some(at) if at.is_empty() => "no attention".into(),
                    _ => format!("attention at {}", model("attn_resolutions")),
                };
                let noun = if blocks == "1" { "block" } else { "blocks" };
                format!("{kind}, {channels} channels x {}, {blocks} {noun} a level, {attention}", model("channel_mult"))
            }
        };
        format!(
            "{network}; sigma_data {}, batch {}, learning rate {:?}, {} images",
            model("sigma_data"),
            self.train.batch,
            self.optimizer.lr,
            grouped(self.train.images)
        )
    }
}

fn shown(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// The standard deviation of the data to three digits; 0.5, as of images in [-1, 1], where all values are equal.
fn sigma_data(data: &Images) -> f64 {
    let deviation = data.deviation();
    match deviation.is_normal() {
        true => format!("{deviation:.2e}").parse().unwrap_or(deviation),
        false => 0.5,
    }
}

/// How many resolutions a U-Net for such images has: the lowest is of seven pixels or more along the shorter side (of
/// four where that is all there is to halve).
fn levels(height: usize, width: usize) -> usize {
    let side = if height == 1 { width } else { height.min(width) };
    match side {
        0..=3 => 1,
        4..=13 => 2,
        _ => ((side / LOWEST).ilog2() as usize + 1).min(MOST_LEVELS),
    }
}

/// The resolution at the lowest of some levels, as networks count it.
fn lowest(height: usize, width: usize, levels: usize) -> i64 {
    let halvings = levels - 1;
    (height.max(width).next_multiple_of(1 << halvings) >> halvings) as i64
}

fn of_points(dims: usize) -> RunConfig {
    let mut config = small();
    let hidden = (32 * dims.next_power_of_two() as i64).clamp(128, 1024);
    config.model = toml! {
        precond = "edm"
        model_type = "MLP"
        layers = 3
        noise_channels = 32
    };
    config.model.insert("hidden".into(), hidden.into());
    config.train.batch = 512;
    config.train.images = 1_000_000;
    config.optimizer.lr = if hidden > 256 { 1e-3 } else { 3e-3 };
    config.optimizer.warm_up = 20_000;
    config.average.half_life = 50_000.0;
    config
}

/// As the presets for digits and for MNIST.
fn of_images(height: usize, width: usize) -> RunConfig {
    let (mut config, tiny, levels) = (small(), height.max(width) <= 16, levels(height, width));
    let mult = (0..levels).map(|level| if level == 0 || tiny { 1 } else { 2 });
    config.model.extend(network(levels, 32, mult, 1, lowest(height, width, levels), 0.05));
    config.optimizer.warm_up = WARM_UP;
    config.average.half_life = 50_000.0;
    (config.optimizer.lr, config.train.images) = (2e-3, 300_000);
    (config.train.sample_every, config.train.checkpoint_every) = (500, 500);
    if tiny {
        (config.optimizer.lr, config.train.images) = (3e-3, 76_800);
        (config.optimizer.warm_up, config.optimizer.schedule) = (6400, ScheduleKind::Cosine);
        config.average.half_life = 8000.0;
        (config.train.sample_every, config.train.checkpoint_every) = (300, 300);
    }
    config
}

/// As EDM's DDPM++ for CIFAR-10 and FFHQ.
fn large(height: usize, width: usize) -> RunConfig {
    let (mut config, side, levels) = (base(), height.max(width), levels(height, width));
    let mult = (0..levels).map(|level| if level == 0 && side > 32 { 1 } else { 2 });
    // Attention among some 16 x 16 pixels, or fewer where there are no more.
    let halvings = levels - 1;
    let top = side.next_multiple_of(1 << halvings);
    let at = (0..levels).map(|level| top >> level).find(|&at| at <= 22).unwrap_or(top >> halvings);
    let dropout = if side > 32 { 0.05 } else { 0.13 };
    config.model.extend(network(levels, 128, mult, 4, at as i64, dropout));
    config.optimizer.max_norm = 10.0;
    config.optimizer.lr = if side > 32 { 2e-4 } else { 1e-3 };
    config.train.batch = if side > 32 { 256 } else { 512 };
    config.train.micro_batch = (64 * 1024 / (height * width).max(1)).clamp(1, config.train.batch);
    config.train.images = 10_000_000;
    config.optimizer.warm_up = 500_000;
    config
}

fn network(
    levels: usize,
    channels: i64,
    mult: impl Iterator<Item = i64>,
    blocks: i64,
    attention: i64,
    dropout: f64,
) -> Table {
    let mult: Vec<Value> = mult.take(levels).map(Value::Integer).collect();
    let mut table = toml! { model_type = "SongUNet" };
    table.insert("model_channels".into(), channels.into());
    table.insert("channel_mult".into(), mult.into());
    table.insert("num_blocks".into(), blocks.into());
    // Among four pixels or fewer there is nothing to attend to.
    let attention = if attention >= 4 { vec![attention] } else { Vec::new() };
    table.insert("attn_resolutions".into(), attention.into());
    table.insert("dropout".into(), dropout.into());
    table
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tensor::Device;

    fn images(size: [usize; 3], classes: usize, count: usize) -> Images {
        let values = count * size.iter().product::<usize>();
        let labels = (0..count as u32).map(|i| i % classes as u32).collect();
        Images::new((0..values).map(|i| ((i * 37) % 101) as f32 / 50.0 - 1.0).collect(), labels, size, classes).unwrap()
    }

    #[test]
    fn any_size_makes_a_network() {
        let sizes = [1, 2, 3, 4, 5, 7, 8, 13, 14, 15, 16, 24, 25, 28, 31, 32, 33, 48, 64, 100, 128, 200, 256];
        for (i, &height) in sizes.iter().enumerate() {
            for &width in sizes[i..].iter().chain([512, 1024].iter()) {
                for (size, gpu) in [([height, width, 1], false), ([width, height, 3], true)] {
                    let config = RunConfig::fitting(&images(size, 1, 1), gpu);
                    config.check().unwrap();
                    let model = config.model_config(&images(size, 1, 1)).unwrap();
                    let built = model.build().unwrap_or_else(|e| panic!("{size:?}: {e}"));
                    drop(built);
                }
            }
        }
    }

    #[test]
    fn known_data_get_what_their_presets_have() {
        for (name, size) in [("digits", [8, 8, 1]), ("mnist", [28, 28, 1]), ("points", [1, 1, 2])] {
            let preset = RunConfig::build(Some(name), None, &[]).unwrap();
            let mut config = RunConfig::fitting(&images(size, if name == "points" { 1 } else { 10 }, 2000), false);
            assert!((0.4..0.7).contains(&config.model["sigma_data"].as_float().unwrap()));
            config.model.insert("sigma_data".into(), preset.model["sigma_data"].clone());
            (config.data.path, config.train.batch) = (preset.data.path.clone(), preset.train.batch);
            assert_eq!(config, preset, "{name}");
        }
        let large = RunConfig::fitting(&images([32, 32, 3], 10, 2000), true).model;
        let edm = RunConfig::build(Some("cifar10-ddpmpp"), None, &[]).unwrap().model;
        for key in ["model_channels", "channel_mult", "num_blocks", "attn_resolutions", "dropout"] {
            assert_eq!(large[key], edm[key], "{key}");
        }
        assert_eq!(large["label_dropout"].as_float(), Some(0.1));
    }

    #[test]
    fn odd_data_are_denoised_in_their_own_size() {
        for size in [[25, 33, 3], [5, 24, 1], [1, 50, 2], [1, 1, 10], [3, 3, 4]] {
            let data = images(size, 2, 5);
            let config = RunConfig::fitting(&data, false);
            assert_eq!(config.train.batch, 8);
            let model = crate::diffusion::Model::new(&config.model_config(&data).unwrap(), 0, &Device::Cpu).unwrap();
            let shape = [&[5][..], &model.denoiser().sample_shape()].concat();
            let x = crate::tensor::Tensor::from_slice(&data.pixels().unwrap(), shape, &Device::Cpu).unwrap();
            assert_eq!(model.denoise(&x, 0.5, None).unwrap().shape(), x.shape());
            let text = config.in_brief();
            assert!(text.contains("sigma_data 0.5"), "{text}");
        }
    }
}
