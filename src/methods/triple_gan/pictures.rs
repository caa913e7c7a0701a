//! Pictures of what a generator makes.

use crate::error::Result;
use crate::figures::grouped;
use crate::methods::pages::are_pictures;
use crate::report::{ImageGrid, png};
use crate::train::RunDir;

/// What a picture shows.
#[derive(Debug, Clone, Copy)]
pub(super) struct Shown {
    /// Images of each class.
    pub columns: usize,
    /// Rows.
    pub classes: usize,
    /// Height, width and channels.
    pub size: [usize; 3],
}

impl Shown {
    /// The classes of the images, a row for each; `None` where images cannot be drawn.
    pub fn wanted(&self) -> Option<Vec<u32>> {
        let row = |class: u32| std::iter::repeat_n(class, self.columns);
        are_pictures(self.size).then(|| (0..self.classes as u32).flat_map(row).collect())
    }

    /// Writes the picture after so many steps to `samples/`, and as the last one beside the report.
    pub fn write(&self, pixels: &[f32], place: &RunDir, step: u64) -> Result<()> {
        let picture = ImageGrid::new(self.size)
            .row_labels((0..self.classes).map(|class| class.to_string()))
            .panel(format!("generated, after {} steps of all players", grouped(step)), pixels, self.columns)
            .render()?;
        let bytes = png(&picture)?;
        place.write(format!("samples/{step:09}.png"), &bytes)?;
        place.write("samples.png", &bytes).map(drop)
    }
}
