//! Pictures of what a generator makes.

use crate::error::Result;
use crate::figures::grouped;
use crate::methods::pages::are_pictures;
use crate::report::{ImageGrid, png};
use crate::train::RunDir;

/// What the pictures of a run show.
#[derive(Debug, Clone, Default)]
pub(super) struct Pictures {
    /// The seed of the latents: the same through a run, so that pictures compare.
    pub seed: u64,
    /// Images of each class.
    pub columns: usize,
    /// Names of the classes, where there are any.
    pub names: Vec<String>,
}

impl Pictures {
    /// The classes of the images, a row for each; `None` where they cannot be drawn, or not so many.
    pub fn wanted(&self, classes: usize, size: [usize; 3]) -> Option<Vec<u32>> {
        let row = |class: u32| std::iter::repeat_n(class, self.columns);
        let fits = || ImageGrid::new(size).room("", classes * self.columns, self.columns).check().is_ok();
        (self.columns > 0 && are_pictures(size) && fits()).then(|| (0..classes as u32).flat_map(row).collect())
    }

    /// Writes the picture after so many steps to `samples/`, and as the last one beside the report.
    pub fn write(&self, pixels: &[f32], size: [usize; 3], place: &RunDir, step: u64) -> Result<()> {
        let rows = pixels.len() / size.iter().product::<usize>() / self.columns;
        let name = |row: usize| self.names.get(row).cloned().unwrap_or_else(|| row.to_string());
        let picture = ImageGrid::new(size)
            .row_labels((0..rows).map(name))
            .panel(format!("generated, after {} steps of all players", grouped(step)), pixels, self.columns)
            .render()?;
        let bytes = png(&picture)?;
        place.write(format!("samples/{step:09}.png"), &bytes)?;
        place.write("samples.png", &bytes).map(drop)
    }
}
