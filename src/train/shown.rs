//! Which images a picture of samples shows.

use super::config::RunConfig;
use crate::data::Images;

/// The training images that stand beside samples, of a model of `label_dim` classes.
pub(crate) fn shown(config: &RunConfig, data: &Images, label_dim: usize) -> Vec<u32> {
    let columns = config.sampling.columns;
    match label_dim {
        0 => (0..(columns * config.sampling.rows).min(data.len()) as u32).collect(),
        _ => shown_classes(config, data, label_dim)
            .chunks(columns)
            .flat_map(|row| data.of_class(row[0]).into_iter().take(columns))
            .collect(),
    }
}

/// The classes of a picture's samples: a row for each, as many as there is room for.
pub(super) fn shown_classes(config: &RunConfig, data: &Images, label_dim: usize) -> Vec<u32> {
    let rows = config.sampling.rows.min(label_dim).min(data.classes());
    (0..rows as u32).flat_map(|class| std::iter::repeat_n(class, config.sampling.columns)).collect()
}
