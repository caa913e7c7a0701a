//! Contact sheets: images in rows and columns, enlarged, with captions.

use image::{Rgb, RgbImage};

use super::canvas::{Anchor, Canvas, INK, QUIET};
use crate::pixels::to_rgb;
use crate::{Error, Result};

/// Images of one size in one or more panels side by side, each `columns` wide; a row's label stands for all panels.
///
/// ```
/// use veridical::report::ImageGrid;
/// let images = vec![0.0; 20 * 8 * 8];
/// let picture = ImageGrid::new([8, 8, 1])
///     .title("Digits")
///     .row_labels((0..10).map(|digit| digit.to_string()))
///     .panel("generated", &images, 2)
///     .render()?;
/// # Ok::<(), veridical::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct ImageGrid<'a> {
    size: [usize; 3],
    title: String,
    footer: String,
    row_labels: Vec<String>,
    panels: Vec<Panel<'a>>,
    smooth: bool,
}

#[derive(Debug, Clone)]
struct Panel<'a> {
    caption: String,
    images: &'a [f32],
    /// How many images are still to come, in a panel that is there to be measured.
    room: usize,
    columns: usize,
}

/// Where everything stands, in units.
struct Sheet {
    /// Pixels that a side of an image's pixel becomes.
    zoom: usize,
    /// Width and height of an image.
    cell: [f32; 2],
    rows: usize,
    left: f32,
    top: f32,
    /// Width without the margins.
    inner: f32,
    /// Height with them.
    height: f32,
    footer: Vec<String>,
}

/// Two pixels make one unit of length: sharp text on dense screens.
const DENSITY: f32 = 2.0;
const MARGIN: f32 = 20.0;
/// Around every image, in a colour that no grey image has: its edges stay visible whatever it shows.
const GAP: f32 = 3.0;
const FRAME: Rgb<u8> = Rgb([0x6f, 0x80, 0x9c]);
const PANEL_GAP: f32 = 28.0;
/// An image is enlarged by a whole factor until its longer side is about this many pixels.
const SHOWN: usize = 64;

impl<'a> ImageGrid<'a> {
    /// A sheet of images of `[height, width, channels]`; 1 channel is grey, 3 are red, green and blue.
    pub fn new(size: [usize; 3]) -> Self {
        let (title, footer) = (String::new(), String::new());
        ImageGrid { size, title, footer, row_labels: Vec::new(), panels: Vec::new(), smooth: false }
    }

    /// A heading over everything.
    #[must_use]
    pub fn title(mut self, title: impl Into<String>) -> Self {
        self.title = title.into();
        self
    }

    /// A small line under everything: source and licence, or how the images came to be.
    #[must_use]
    pub fn footer(mut self, footer: impl Into<String>) -> Self {
        self.footer = footer.into();
        self
    }

    /// Labels left of the rows.
    #[must_use]
    pub fn row_labels(mut self, labels: impl IntoIterator<Item = String>) -> Self {
        self.row_labels = labels.into_iter().collect();
        self
    }

    /// Enlarges by bicubic interpolation instead of by squares: few pixels are then easier to read, but no longer to
    /// count.
    #[must_use]
    pub fn smooth(mut self) -> Self {
        self.smooth = true;
        self
    }

    /// Adds a panel of images `[n, height, width, channels]` in `[-1, 1]`, row by row; the last row may be short.
    #[must_use]
    pub fn panel(mut self, caption: impl Into<String>, images: &'a [f32], columns: usize) -> Self {
        self.panels.push(Panel { caption: caption.into(), images, room: 0, columns });
        self
    }

    /// Adds a panel for `count` images that are not there yet: for [`check`](Self::check).
    #[must_use]
    pub fn room(mut self, caption: impl Into<String>, count: usize, columns: usize) -> Self {
        self.panels.push(Panel { caption: caption.into(), images: &[], room: count, columns });
        self
    }

    /// Errors where [`render`](Self::render) would; draws nothing.
    pub fn check(&self) -> Result<()> {
        let sheet = self.sheet()?;
        Canvas::sides(sheet.inner + 2.0 * MARGIN, sheet.height, DENSITY).map(drop)
    }

    /// Draws the sheet. Values beyond `[-1, 1]` are clipped; a pixel that is not a number is drawn in magenta, which no
    /// digit has.
    ///
    /// Errors on sizes that are not pictures, panels that do not hold whole images, and sheets beyond 16,384 pixels.
    pub fn render(&self) -> Result<RgbImage> {
        let Sheet { zoom, cell: [cell_w, cell_h], rows, left, top, inner, height: sheet_height, footer } =
            self.sheet()?;
        let [height, width, channels] = self.size;
        let values = height * width * channels;
        let mut canvas = Canvas::new(inner + 2.0 * MARGIN, sheet_height, DENSITY)?;

        let title = canvas.fit(&self.title, 17.0, inner);
        canvas.text(&title, MARGIN, MARGIN + 14.0, 17.0, INK, Anchor::Left);
        for (row, label) in self.row_labels.iter().take(rows).enumerate() {
            let middle = top + GAP + row as f32 * (cell_h + GAP) + cell_h / 2.0;
            canvas.text(label, left - 10.0, middle + 4.5, 13.0, QUIET, Anchor::Right);
        }
        let mut x = left;
        for panel in &self.panels {
            let wide = panel.wide(&canvas, cell_w);
            let caption = canvas.fit(&panel.caption, 13.0, wide);
            canvas.text(&caption, x, top - 9.0, 13.0, INK, Anchor::Left);
            let height = panel.rows(values) as f32 * (cell_h + GAP) + GAP;
            canvas.rect(x, top, panel.width(cell_w), height, FRAME);
            for (i, image) in panel.images.chunks_exact(values).enumerate() {
                let corner_x = x + GAP + (i % panel.columns) as f32 * (cell_w + GAP);
                let corner_y = top + GAP + (i / panel.columns) as f32 * (cell_h + GAP);
                let corner = [(corner_x * DENSITY).round() as u32, (corner_y * DENSITY).round() as u32];
                let shown = if self.smooth { enlarge(image, self.size, zoom) } else { repeat(image, self.size, zoom) };
                paste(&mut canvas.image, &shown, width * zoom, channels, corner);
            }
            x += wide + PANEL_GAP;
        }
        for (i, line) in footer.iter().enumerate() {
            let y = sheet_height - MARGIN - 15.0 * (footer.len() - 1 - i) as f32;
            canvas.text(line, MARGIN, y, 11.0, QUIET, Anchor::Left);
        }
        Ok(canvas.image)
    }

    /// Errors on sizes that are not pictures and on panels that do not hold whole images.
    fn sheet(&self) -> Result<Sheet> {
        let [height, width, channels] = self.size;
        let bad = |what: String| Err(Error::argument("ImageGrid::render", what));
        if !(1..=4096).contains(&height) || !(1..=4096).contains(&width) || !matches!(channels, 1 | 3) {
            return bad(format!("images of {:?}; sides are 1 to 4096 and channels 1 or 3", self.size));
        }
        let values = height * width * channels;
        if self.panels.is_empty() {
            return bad("no panel to draw".into());
        }
        for panel in &self.panels {
            if panel.columns == 0 || panel.count(values) == 0 || !panel.images.len().is_multiple_of(values) {
                let (len, columns) = (panel.images.len(), panel.columns);
                return bad(format!("panel `{}`: {len} values in {columns} columns of {values}", panel.caption));
            }
        }

        let zoom = (SHOWN / height.max(width)).max(1);
        let cell = [width, height].map(|side| (side * zoom) as f32 / DENSITY);
        let rows = self.panels.iter().map(|panel| panel.rows(values)).max().unwrap_or(1);

        // A canvas only to measure text with; the real one needs its size first.
        let ruler = Canvas::new(1.0, 1.0, DENSITY)?;
        let labels = self.row_labels.iter().map(|l| ruler.text_width(l, 13.0)).fold(0.0, f32::max);
        let left = MARGIN + if labels > 0.0 { labels + 10.0 } else { 0.0 };
        let mut top = MARGIN;
        if !self.title.is_empty() {
            top += 30.0;
        }
        if self.panels.iter().any(|p| !p.caption.is_empty()) {
            top += 20.0;
        }
        let wide = self.panels.iter().map(|panel| panel.wide(&ruler, cell[0]));
        let panels: f32 = wide.sum::<f32>() + PANEL_GAP * (self.panels.len() - 1) as f32;
        let inner = (left - MARGIN + panels).max(ruler.text_width(&self.title, 17.0).min(900.0)).max(240.0);
        let footer = wrap(&ruler, &self.footer, 11.0, inner);
        let bottom = MARGIN + if footer.is_empty() { 0.0 } else { 6.0 + 15.0 * footer.len() as f32 };
        let height = top + rows as f32 * (cell[1] + GAP) + GAP + bottom;
        Ok(Sheet { zoom, cell, rows, left, top, inner, height, footer })
    }
}

impl Panel<'_> {
    /// Images, of so many values each.
    fn count(&self, values: usize) -> usize {
        self.images.len() / values + self.room
    }

    fn rows(&self, values: usize) -> usize {
        self.count(values).div_ceil(self.columns)
    }

    /// Width of the images with their frames.
    fn width(&self, cell: f32) -> f32 {
        self.columns as f32 * (cell + GAP) + GAP
    }

    /// Width with the caption.
    fn wide(&self, ruler: &Canvas, cell: f32) -> f32 {
        self.width(cell).max(ruler.text_width(&self.caption, 13.0).min(320.0))
    }
}

/// Breaks a text at spaces into lines of at most `width`.
fn wrap(ruler: &Canvas, text: &str, size: f32, width: f32) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if ruler.text_width(&format!("{line} {word}"), size) <= width => *line += &format!(" {word}"),
            _ => lines.push(word.to_string()),
        }
    }
    lines
}

/// Each pixel as a square of `zoom` by `zoom`.
fn repeat(image: &[f32], [height, width, channels]: [usize; 3], zoom: usize) -> Vec<f32> {
    let rows = (0..height * zoom).map(|y| y / zoom);
    let places = rows.flat_map(|row| (0..width * zoom).map(move |x| (row * width + x / zoom) * channels));
    places.flat_map(|at| &image[at..at + channels]).copied().collect()
}

/// Bicubic interpolation (Keys 1981, a = -1/2) through the pixels' centres; beyond the edge the outermost pixels
/// repeat.
fn enlarge(image: &[f32], [height, width, channels]: [usize; 3], zoom: usize) -> Vec<f32> {
    let columns = taps(width, zoom);
    let mut shown = Vec::with_capacity(image.len() * zoom * zoom);
    for vertical in taps(height, zoom) {
        for horizontal in &columns {
            for channel in 0..channels {
                let row = |y: usize| -> f32 {
                    horizontal.iter().map(|&(x, weight)| weight * image[(y * width + x) * channels + channel]).sum()
                };
                shown.push(vertical.iter().map(|&(y, weight)| weight * row(y)).sum());
            }
        }
    }
    shown
}

/// For each of `side * zoom` places along an axis, the four pixels around it and their weights.
fn taps(side: usize, zoom: usize) -> Vec<[(usize, f32); 4]> {
    let taps_at = |i: usize| {
        let place = (i as f32 + 0.5) / zoom as f32 - 0.5;
        let (first, t) = (place.floor() as isize - 1, place - place.floor());
        let weights = [
            ((2.0 - t) * t - 1.0) * t / 2.0,
            ((3.0 * t - 5.0) * t * t + 2.0) / 2.0,
            ((4.0 - 3.0 * t) * t + 1.0) * t / 2.0,
            (t - 1.0) * t * t / 2.0,
        ];
        std::array::from_fn(|k| ((first + k as isize).clamp(0, side as isize - 1) as usize, weights[k]))
    };
    (0..side * zoom).map(taps_at).collect()
}

fn paste(sheet: &mut RgbImage, image: &[f32], width: usize, channels: usize, corner: [u32; 2]) {
    for (i, pixel) in image.chunks_exact(channels).enumerate() {
        let (x, y) = (corner[0] + (i % width) as u32, corner[1] + (i / width) as u32);
        if x < sheet.width() && y < sheet.height() {
            sheet.put_pixel(x, y, Rgb(to_rgb(pixel)));
        }
    }
}
