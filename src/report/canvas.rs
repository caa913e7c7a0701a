//! Anti-aliased lines and text on an RGB image: what the charts and grids are drawn with.
//!
//! Glyphs keep their sub-pixel positions and side bearings, which plotting crates round away at these sizes.

use image::{ImageFormat, Rgb, RgbImage};

use super::typeface::Typeface;
use crate::{Error, Result, memory};

/// Sides beyond this are a mistake, not a picture.
const MAX_SIDE: u32 = 1 << 14;

pub(super) const INK: Rgb<u8> = Rgb([0x1f, 0x24, 0x2b]);
pub(super) const QUIET: Rgb<u8> = Rgb([0x5c, 0x65, 0x70]);
pub(super) const RULE: Rgb<u8> = Rgb([0xe3, 0xe6, 0xea]);
pub(super) const PAPER: Rgb<u8> = Rgb([0xff, 0xff, 0xff]);

/// Where a text stands relative to the given point.
#[derive(Clone, Copy)]
pub(super) enum Anchor {
    Left,
    Middle,
    Right,
}

/// A picture in units of which `density` pixels make one, so that text stays sharp on dense screens.
pub(super) struct Canvas {
    pub(super) image: RgbImage,
    density: f32,
    typeface: &'static Typeface,
}

impl Canvas {
    pub(super) fn new(width: f32, height: f32, density: f32) -> Result<Self> {
        let (w, h) = Self::sides(width, height, density)?;
        memory::check(
            3 * u128::from(w) * u128::from(h),
            &format!("a picture of {w} x {h} pixels"),
            "show fewer images",
        )?;
        Ok(Canvas { image: RgbImage::from_pixel(w, h, PAPER), density, typeface: Typeface::embedded()? })
    }

    /// Width and height in pixels. Errors on sides that are no picture's.
    pub(super) fn sides(width: f32, height: f32, density: f32) -> Result<(u32, u32)> {
        let side = |units: f32| {
            let pixels = (units * density).ceil();
            if pixels >= 1.0 && pixels <= MAX_SIDE as f32 { Some(pixels as u32) } else { None }
        };
        match (side(width), side(height)) {
            (Some(w), Some(h)) => Ok((w, h)),
            _ => {
                let (w, h) = (width * density, height * density);
                let what = format!("{w} x {h} pixels; sides are 1 to {MAX_SIDE}, so show fewer images");
                Err(Error::argument("picture", what))
            }
        }
    }

    /// Fills a rectangle whose edges are rounded to whole pixels.
    pub(super) fn rect(&mut self, x: f32, y: f32, width: f32, height: f32, colour: Rgb<u8>) {
        let edge = |v: f32, limit: u32| (v * self.density).round().clamp(0.0, limit as f32) as u32;
        let (w, h) = self.image.dimensions();
        let (left, right) = (edge(x, w), edge(x + width, w));
        let (top, bottom) = (edge(y, h), edge(y + height, h));
        for py in top..bottom {
            for px in left..right {
                self.image.put_pixel(px, py, colour);
            }
        }
    }

    /// Draws a connected line inside `clip` (`[left, top, right, bottom]`). Coverage is gathered over the whole line
    /// before it is blended, so that joints are no darker than the rest.
    pub(super) fn polyline(&mut self, points: &[[f32; 2]], width: f32, colour: Rgb<u8>, clip: [f32; 4]) {
        let d = self.density;
        let (w, h) = self.image.dimensions();
        let bounds = |v: f32, limit: u32| (v * d).clamp(0.0, limit as f32);
        let [left, top, right, bottom] =
            [bounds(clip[0], w), bounds(clip[1], h), bounds(clip[2], w), bounds(clip[3], h)];
        let mut coverage = vec![0.0f32; (w * h) as usize];
        let reach = width * d / 2.0;
        for ends in points.windows(2) {
            let [a, b] = [[ends[0][0] * d, ends[0][1] * d], [ends[1][0] * d, ends[1][1] * d]];
            // A pixel more than what is covered.
            let near = reach + 1.0;
            let pixels = |from: f32, to: f32, low: f32, high: f32| {
                (from - near).clamp(low, high).floor() as u32..(to + near).clamp(low, high).ceil() as u32
            };
            for py in pixels(a[1].min(b[1]), a[1].max(b[1]), top, bottom) {
                let (from, to) = columns(a, b, py as f32 + 0.5, near);
                for px in pixels(from, to, left, right) {
                    let distance = distance([px as f32 + 0.5, py as f32 + 0.5], a, b);
                    let cover = (reach + 0.5 - distance).clamp(0.0, 1.0);
                    let cell = &mut coverage[(py * w + px) as usize];
                    *cell = cell.max(cover);
                }
            }
        }
        for (pixel, cover) in self.image.pixels_mut().zip(coverage).filter(|(_, cover)| *cover > 0.0) {
            blend(pixel, colour, cover);
        }
    }

    /// Draws a round dot that hides `cover` of what is below it.
    pub(super) fn dot(&mut self, at: [f32; 2], radius: f32, colour: Rgb<u8>, cover: f32) {
        let [x, y] = at.map(|v| v * self.density);
        let reach = radius * self.density;
        let (w, h) = self.image.dimensions();
        let pixels = |middle: f32, limit: u32| {
            let bound = |v: f32| v.clamp(0.0, limit as f32) as u32;
            bound((middle - reach - 1.0).floor())..bound((middle + reach + 1.0).ceil())
        };
        for py in pixels(y, h) {
            for px in pixels(x, w) {
                let distance = (px as f32 + 0.5 - x).hypot(py as f32 + 0.5 - y);
                let share = (reach + 0.5 - distance).clamp(0.0, 1.0) * cover;
                blend(self.image.get_pixel_mut(px, py), colour, share);
            }
        }
    }

    /// Writes one line of text with its baseline at `y`.
    pub(super) fn text(&mut self, text: &str, x: f32, y: f32, size: f32, colour: Rgb<u8>, anchor: Anchor) {
        let start = match anchor {
            Anchor::Left => x,
            Anchor::Middle => x - self.text_width(text, size) / 2.0,
            Anchor::Right => x - self.text_width(text, size),
        };
        let (face, size) = (self.typeface, size * self.density);
        let (mut pen, baseline) = (start * self.density, (y * self.density).round());
        for c in text.chars() {
            let glyph = face.glyph(c);
            face.draw(glyph, size, [pen, baseline], |[px, py], cover| {
                if px >= 0.0 && py >= 0.0 && (px as u32) < self.image.width() && (py as u32) < self.image.height() {
                    // The font is a light one; a little weight keeps small text readable.
                    blend(self.image.get_pixel_mut(px as u32, py as u32), colour, cover.min(1.0).powf(0.7));
                }
            });
            pen += face.advance(glyph, size);
        }
    }

    /// The width of a line of text whose em square has sides of `size`, as CSS counts it.
    pub(super) fn text_width(&self, text: &str, size: f32) -> f32 {
        text.chars().map(|c| self.typeface.advance(self.typeface.glyph(c), size)).sum()
    }

    /// `text`, or as much of its beginning as fits `width`, then an ellipsis.
    pub(super) fn fit(&self, text: &str, size: f32, width: f32) -> String {
        if self.text_width(text, size) <= width {
            return text.to_string();
        }
        let mut kept: Vec<char> = text.chars().take(400).collect();
        while kept.pop().is_some() {
            let short: String = kept.iter().collect::<String>().trim_end().to_string() + "\u{2026}";
            if self.text_width(&short, size) <= width {
                return short;
            }
        }
        String::new()
    }
}

/// Between which columns the part of the line from `a` to `b` lies that is within `reach` of the row at `y`.
fn columns(a: [f32; 2], b: [f32; 2], y: f32, reach: f32) -> (f32, f32) {
    let share = |y: f32| ((y - a[1]) / (b[1] - a[1])).clamp(0.0, 1.0);
    // A level line is as near along its whole length.
    let (from, to) = if a[1] == b[1] { (0.0, 1.0) } else { (share(y - reach), share(y + reach)) };
    let [p, q] = [from, to].map(|t| a[0] + t * (b[0] - a[0]));
    (p.min(q), p.max(q))
}

fn distance(p: [f32; 2], a: [f32; 2], b: [f32; 2]) -> f32 {
    let (ab, ap) = ([b[0] - a[0], b[1] - a[1]], [p[0] - a[0], p[1] - a[1]]);
    let length2 = ab[0] * ab[0] + ab[1] * ab[1];
    let t = if length2 > 0.0 { ((ap[0] * ab[0] + ap[1] * ab[1]) / length2).clamp(0.0, 1.0) } else { 0.0 };
    (ap[0] - t * ab[0]).hypot(ap[1] - t * ab[1])
}

fn blend(pixel: &mut Rgb<u8>, colour: Rgb<u8>, cover: f32) {
    for (below, above) in pixel.0.iter_mut().zip(colour.0) {
        *below = (f32::from(*below) + (f32::from(above) - f32::from(*below)) * cover).round() as u8;
    }
}

/// The bytes of a PNG file.
pub fn png(image: &RgbImage) -> Result<Vec<u8>> {
    let mut bytes = std::io::Cursor::new(Vec::new());
    image.write_to(&mut bytes, ImageFormat::Png).map_err(|e| Error::argument("png", e.to_string()))?;
    Ok(bytes.into_inner())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Only pixels near a line are looked at; what they show is what looking at every pixel would.
    #[test]
    fn lines_cover_every_pixel_that_they_come_near() {
        const SIDE: u32 = 60;
        let clip = [0.0, 0.0, SIDE as f32, SIDE as f32];
        let mut state = 1u64;
        let mut number = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            ((state >> 40) as f32 / (1 << 24) as f32 - 0.1) * 1.2 * SIDE as f32
        };
        for round in 0..60 {
            let (mut a, mut b, width) = ([number(), number()], [number(), number()], 0.5 + (round % 5) as f32);
            match round % 6 {
                0 => b[1] = a[1],
                1 => b[0] = a[0],
                2 => b[1] = a[1] + 1e-4,
                3 => a = b,
                _ => {}
            }
            let mut canvas = Canvas::new(SIDE as f32, SIDE as f32, 1.0).unwrap();
            canvas.polyline(&[a, b], width, INK, clip);
            let mut plain = RgbImage::from_pixel(SIDE, SIDE, PAPER);
            for (x, y, pixel) in plain.enumerate_pixels_mut() {
                let distance = distance([x as f32 + 0.5, y as f32 + 0.5], a, b);
                blend(pixel, INK, (width / 2.0 + 0.5 - distance).clamp(0.0, 1.0));
            }
            assert!(canvas.image == plain, "from {a:?} to {b:?}, {width} wide");
        }
    }
}
