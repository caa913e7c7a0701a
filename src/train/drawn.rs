//! Pictures of samples beside the training set: grids of images, curves of signals, scatter plots of points.

use image::RgbImage;

use super::config::RunConfig;
use super::measure;
use super::shown::{shown, shown_classes};
use crate::data::{self, DataSet, Kind};
use crate::diffusion::{Model, random_classes};
use crate::error::Result;
use crate::figures::grouped;
use crate::memory;
use crate::report::{self, Curves, ImageGrid};

/// Points of either kind in a scatter plot.
const POINTS: usize = 1000;
/// Signals in a row, and rows of them, at most: smaller curves cannot be read.
const SIGNALS: [usize; 2] = [4, 6];

const REAL: &str = "of the training set";

fn caption(seen: u64, kind: Kind) -> String {
    format!("generated, after {} {}", grouped(seen), kind.noun())
}

/// What a picture of images or signals shows.
struct Shown {
    /// The classes of the samples, where the model has any.
    labels: Vec<u32>,
    /// Samples.
    count: usize,
    /// In a row.
    columns: usize,
    /// The training images beside them.
    picks: Vec<u32>,
    /// The rows' names.
    names: Vec<String>,
}

impl Shown {
    fn of(config: &RunConfig, data: &DataSet, model: &Model) -> Self {
        let mut config = config.clone();
        let [columns, rows] = [&mut config.sampling.columns, &mut config.sampling.rows];
        if Kind::of(data.train.size()) == Kind::Signals {
            (*columns, *rows) = ((*columns).min(SIGNALS[0]), (*rows).min(SIGNALS[1]));
        }
        let (columns, rows) = (*columns, *rows);
        let classes = model.denoiser().label_dim();
        let labels = if classes > 0 { shown_classes(&config, &data.train, classes) } else { Vec::new() };
        let count = if classes > 0 { labels.len() } else { columns * rows };
        let name = |class: u32| data.class_names.get(class as usize).cloned().unwrap_or_else(|| class.to_string());
        let names = labels.chunks(columns).map(|row| name(row[0])).collect();
        Shown { count, columns, picks: shown(&config, &data.train, classes), names, labels }
    }

    /// A class with few images would shift the rows below it.
    fn beside_real(&self) -> bool {
        self.picks.len() == self.count
    }
}

/// Images that cannot be shown have other channels than grey or colour.
fn are_shown(size: [usize; 3]) -> bool {
    Kind::of(size) != Kind::Pictures || matches!(size[2], 1 | 3)
}

/// Errors where [`samples`] would, whatever the samples are.
pub(super) fn check(config: &RunConfig, data: &DataSet, model: &Model) -> Result<()> {
    let (size, kind) = (data.train.size(), Kind::of(data.train.size()));
    if !are_shown(size) {
        return Ok(());
    }
    let shown = Shown::of(config, data, model);
    // What is wrong with an image that stays in its file shows before the first step, not when it is drawn.
    data.train.gather(&shown.picks)?;
    let count = if kind == Kind::Points { POINTS } else { shown.count };
    let bytes = 3 * 4 * count as u128 * data.train.values() as u128;
    memory::check(bytes, &format!("a picture of {count} samples"), "lower sampling.columns or sampling.rows")?;
    if kind != Kind::Pictures {
        return Ok(());
    }
    let mut grid = ImageGrid::new(size).row_labels(shown.names.clone()).room(
        caption(config.train.images, kind),
        shown.count,
        shown.columns,
    );
    if shown.beside_real() {
        grid = grid.room(REAL, shown.count, shown.columns);
    }
    grid.check()
}

/// A picture of samples, beside real ones; `None` if the data cannot be shown.
pub(super) fn samples(config: &RunConfig, data: &DataSet, model: &Model, seen: u64) -> Result<Option<RgbImage>> {
    let (size, kind) = (data.train.size(), Kind::of(data.train.size()));
    if !are_shown(size) {
        return Ok(None);
    }
    if kind == Kind::Points {
        return points(config, data, model, seen).map(Some);
    }
    let shown = Shown::of(config, data, model);
    let drawn = measure::draw(&config.sampling.sampler(), model, config.sampling.seed, shown.count, &shown.labels)?;
    let real = if shown.beside_real() { Some(data.train.gather(&shown.picks)?.0) } else { None };
    if kind == Kind::Signals {
        let signals = |values: &[f32]| -> Vec<Vec<f64>> {
            let user = data.train.units().all_to_user_f64(values, size[2]);
            user.chunks(data.train.values()).map(<[f64]>::to_vec).collect()
        };
        let mut curves =
            Curves::new(size[2], shown.columns).row_labels(shown.names).panel(caption(seen, kind), signals(&drawn));
        if let Some(real) = real {
            curves = curves.panel(REAL, signals(&real));
        }
        return curves.render().map(Some);
    }
    let mut grid =
        ImageGrid::new(size).row_labels(shown.names.clone()).panel(caption(seen, kind), &drawn, shown.columns);
    if let Some(real) = &real {
        grid = grid.panel(REAL, real, shown.columns);
    }
    grid.render().map(Some)
}

/// Points of the model and of the training set.
fn points(config: &RunConfig, data: &DataSet, model: &Model, seen: u64) -> Result<RgbImage> {
    let (seed, classes) = (config.sampling.seed, model.denoiser().label_dim());
    let ids: Vec<u32> = (0..POINTS as u32).collect();
    let labels = if classes > 0 { random_classes(seed, &ids, classes)? } else { Vec::new() };
    let drawn = measure::draw(&config.sampling.sampler(), model, seed, POINTS, &labels)?;
    let real = measure::some(&data.train, POINTS)?;
    let dims = data.train.values();
    let user = |values: Vec<f32>| data.train.units().all_to_user_f64(&values, dims);
    let sets = vec![(caption(seen, Kind::Points), user(drawn)), (REAL.into(), user(real))];
    let density = known_density(data);
    let density = density.as_ref().map(|density| move |at: [f64; 2]| density.density(&at));
    report::points(sets, dims, |column| label(data, column), density.as_ref().map(|density| density as _))
}

/// The density in the plane that the data are drawn from, where it is known.
fn known_density(data: &DataSet) -> Option<data::synthetic::Density> {
    let known = data::synthetic::Density::of_data(&data.name)?;
    (known.dims() == 2 && data.train.units().is_plain()).then_some(known)
}

/// What a coordinate is called.
fn label(data: &DataSet, column: usize) -> String {
    let name = data.reading.columns.get(column).cloned().unwrap_or_else(|| (column + 1).to_string());
    format!("column {name}")
}
