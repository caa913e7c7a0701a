//! What `veridical sample` leaves: samples, trajectories, pictures.

use veridical::data::{Images, npy};
use veridical::diffusion::{Drawn, Model, write_samples};
use veridical::files::write_atomic;
use veridical::report::{ImageGrid, png};
use veridical::tensor::{Shape, file};
use veridical::{Error, Result, Tensor, ops};

use super::super::{output, stack};
use super::Args;

impl Args {
    /// Writes what was asked for; `labels` `[n, classes]` are those that the samples were drawn with,
    /// and `seeds` what they were drawn from.
    pub(super) fn write(&self, model: &Model, drawn: &[Drawn], labels: Option<&Tensor>, seeds: &[u32]) -> Result<()> {
        if let Some(path) = &self.output {
            let samples = joined(drawn.iter().map(|part| &part.samples))?;
            match &*output::ending(path) {
                "npz" => npy::write_images(path, &images(model, &samples, labels)?)?,
                "tif" | "tiff" => stack::write_tiff(path, &images(model, &samples, labels)?)?,
                _ => write_samples(path, "samples", &model.in_user_units(&samples)?)?,
            }
        }
        if let Some(folder) = &self.output_dir {
            let images = images(model, &joined(drawn.iter().map(|part| &part.samples))?, labels)?;
            stack::write(folder, &images, seeds.iter().map(|seed| format!("{seed:06}")))?;
        }
        if let Some(path) = &self.trajectory {
            let steps = drawn[0].trajectory.len();
            let (mut values, mut extents) = (Vec::new(), vec![steps]);
            for i in 0..steps {
                let state = channels_first(&joined(drawn.iter().map(|part| &part.trajectory[i].1))?)?;
                values.extend(state.to_vec::<f32>()?);
                extents.splice(1.., state.shape().iter().copied());
            }
            let sigmas: Vec<f32> = drawn[0].trajectory.iter().map(|(sigma, _)| *sigma as f32).collect();
            let tensors = [("x", Shape::from(extents), values), ("sigmas", Shape::from([steps]), sigmas)];
            file::write(path, tensors, &Default::default())?;
        }
        if let Some(path) = &self.png {
            let [h, w, c] = picture_size(model)?;
            let pixels: Vec<Vec<f32>> = drawn.iter().map(|part| part.samples.to_vec()).collect::<Result<_>>()?;
            let pixels = pixels.concat();
            let grid = ImageGrid::new([h, w, c]).panel("", &pixels, columns(pixels.len() / (h * w * c)));
            write_atomic(path, &png(&grid.render()?)?)?;
        }
        Ok(())
    }
}

/// Columns of a picture of so many samples: about as many as rows.
pub(super) fn columns(count: usize) -> usize {
    (count as f64).sqrt().ceil() as usize
}

/// The size of the model's images, which `--png` can show.
pub(super) fn picture_size(model: &Model) -> Result<[usize; 3]> {
    let shape = model.denoiser().sample_shape();
    match shape[..] {
        [h, w, c @ (1 | 3)] => Ok([h, w, c]),
        [_, _, c] => Err(Error::Config(format!(
            "--png: the model's images have {c} channels, a picture 1 or 3; take --output instead"
        ))),
        _ => Err(Error::Config(format!("--png: the model draws points of {shape:?}, not pictures"))),
    }
}

/// Parts along the first axis.
fn joined<'a>(parts: impl Iterator<Item = &'a Tensor>) -> Result<Tensor> {
    let parts: Vec<_> = parts.map(|part| part.into()).collect();
    Ok(ops::concat(&parts.iter().collect::<Vec<_>>(), 0)?.into_value())
}

/// NHWC images in the order of files; points as they are.
fn channels_first(x: &Tensor) -> Result<Tensor> {
    if x.shape().rank() == 4 { Ok(ops::permute(x, &[0, 3, 1, 2])?.into_value()) } else { Ok(x.clone()) }
}

/// Samples as a data set. Labels that mix classes, or are of none, have no place in one.
fn images(model: &Model, samples: &Tensor, labels: Option<&Tensor>) -> Result<Images> {
    let size = match samples.shape()[..] {
        [_, h, w, c] => [h, w, c],
        _ => [1, 1, samples.shape()[1..].iter().product()],
    };
    let pixels = samples.to_vec()?;
    match labels.map(classes).transpose()?.flatten() {
        Some((labels, classes)) => Images::new(pixels, labels, size, classes),
        None => Images::new(pixels, vec![0; samples.shape()[0]], size, 1),
    }?
    .with_units(model.units().cloned().unwrap_or_default())
}

/// The class of each row `[n, classes]` and their number, if every row is of one.
fn classes(labels: &Tensor) -> Result<Option<(Vec<u32>, usize)>> {
    let width = labels.shape()[1];
    let class = |row: &[f32]| {
        let mut on = row.iter().enumerate().filter(|(_, x)| **x != 0.0);
        match (on.next(), on.next()) {
            (Some((class, 1.0)), None) => Some(class as u32),
            _ => None,
        }
    };
    let found: Option<Vec<u32>> = labels.to_vec::<f32>()?.chunks(width).map(class).collect();
    Ok(found.map(|labels| (labels, width)))
}
