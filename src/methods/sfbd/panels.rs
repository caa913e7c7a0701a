//! Samples clean, noisy and denoised, side by side.

use image::RgbImage;

use crate::data::Kind;
use crate::error::Result;
use crate::methods::noisy::NoisyData;
use crate::report::{Curves, ImageGrid, points};

use super::round::shown;

/// Clean, noisy and denoised samples side by side, with a panel for every round: of images and signals a row each, of
/// points all together. `None` where there are none, or they are images of other channels than grey or colour.
pub fn panels(data: &NoisyData, denoised: Vec<(String, Vec<f32>)>) -> Result<Option<RgbImage>> {
    let Some(noisy) = data.noisy.as_ref().filter(|_| !denoised.is_empty()) else { return Ok(None) };
    let ids: Vec<u32> = (0..shown(noisy) as u32).collect();
    let mut sets = Vec::new();
    if let Some(clean) = &data.originals {
        sets.push(("clean".to_string(), clean.gather(&ids)?.0));
    }
    sets.push(("noisy".to_string(), noisy.gather(&ids)?.0));
    sets.extend(denoised);
    let ([_, _, channels], units) = (noisy.size(), noisy.units());
    let user = |pixels: &[f32]| units.all_to_user_f64(pixels, channels);
    match Kind::of(noisy.size()) {
        Kind::Pictures if !matches!(channels, 1 | 3) => Ok(None),
        Kind::Pictures => {
            let grid = ImageGrid::new(noisy.size());
            let grid = sets.iter().fold(grid, |grid, (name, pixels)| grid.panel(name.clone(), pixels, 1));
            grid.render().map(Some)
        }
        Kind::Signals => {
            let signals = |pixels: &[f32]| user(pixels).chunks(noisy.values()).map(<[f64]>::to_vec).collect();
            let curves = Curves::new(channels, 1);
            let curves = sets.iter().fold(curves, |curves, (name, pixels)| curves.panel(name.clone(), signals(pixels)));
            curves.render().map(Some)
        }
        Kind::Points => {
            let sets = sets.iter().map(|(name, pixels)| (name.clone(), user(pixels))).collect();
            points(sets, noisy.values(), |column| format!("column {}", column + 1), None).map(Some)
        }
    }
}
