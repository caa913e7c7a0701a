//! Sets of points of any number of coordinates, beside each other.

use image::RgbImage;

use super::{Chart, Scatter};
use crate::Result;

/// Pairs of coordinates that are plotted.
const PAIRS: usize = 3;

/// Draws sets of points of `dims` coordinates each, one after the other in memory, with a caption for each set: scatter
/// plots of the first neighbouring pairs of coordinates, or, of a line, the shares of points below each place. `label`
/// names a coordinate, and `density` is what points in the plane should follow.
///
/// Errors where [`Scatter::render`] and [`Chart::render`] do.
pub fn points(
    sets: Vec<(String, Vec<f64>)>,
    dims: usize,
    label: impl Fn(usize) -> String,
    density: Option<&(dyn Fn([f64; 2]) -> f64 + Sync)>,
) -> Result<RgbImage> {
    if dims <= 1 {
        let chart = Chart::new("Distribution", label(0), "share of points below");
        return sets.into_iter().fold(chart, |chart, (caption, values)| chart.series(caption, shares(values))).render();
    }
    let mut scatter = Scatter::new(sets.iter().map(|(caption, _)| caption.as_str()));
    for first in 0..(dims - 1).min(PAIRS) {
        let pairs = |(_, set): &(String, Vec<f64>)| set.chunks_exact(dims).map(|p| [p[first], p[first + 1]]).collect();
        scatter = scatter.row([label(first), label(first + 1)], sets.iter().map(pairs).collect());
    }
    if let Some(density) = density.filter(|_| dims == 2) {
        scatter = scatter.density(density);
    }
    scatter.render()
}

/// The empirical distribution function.
fn shares(mut values: Vec<f64>) -> Vec<(f64, f64)> {
    values.sort_unstable_by(f64::total_cmp);
    let count = values.len() as f64;
    values.into_iter().enumerate().map(|(i, x)| (x, (i + 1) as f64 / count)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_has_a_distribution_and_more_coordinates_a_row_for_each_pair() {
        assert_eq!(shares(vec![2.0, -1.0]), [(-1.0, 0.5), (2.0, 1.0)]);
        let sets = |dims: usize| ["a", "b"].map(|name| (name.into(), (0..4 * dims).map(|i| i as f64).collect())).into();
        let height = |dims: usize| points(sets(dims), dims, |i| format!("column {}", i + 1), None).unwrap().height();
        assert!(height(2) < height(3) && height(3) < height(4) && height(4) == height(9));
        assert!(height(1) > 0);
    }
}
