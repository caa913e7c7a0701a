//! The typeface of charts and grids: what the embedded font says of a glyph, in pixels.

use std::sync::LazyLock;

use ab_glyph_rasterizer::{Point, Rasterizer, point};
use skrifa::charmap::Charmap;
use skrifa::instance::{LocationRef, Size};
use skrifa::metrics::GlyphMetrics;
use skrifa::outline::{DrawSettings, OutlineGlyphCollection, OutlinePen};
use skrifa::{FontRef, GlyphId, MetadataProvider};

use crate::{Error, Result};

/// A font without hints, so that glyphs keep their shapes and positions between pixels. The embedded one has no table
/// of kerning.
pub(super) struct Typeface {
    outlines: OutlineGlyphCollection<'static>,
    characters: Charmap<'static>,
    metrics: GlyphMetrics<'static>,
    units_per_em: f32,
}

impl Typeface {
    /// The one that is in the binary.
    pub(super) fn embedded() -> Result<&'static Typeface> {
        static EMBEDDED: LazyLock<Option<Typeface>> =
            LazyLock::new(|| FontRef::new(epaint_default_fonts::UBUNTU_LIGHT).ok().map(Typeface::new));
        EMBEDDED.as_ref().ok_or_else(|| Error::argument("picture", "the embedded font cannot be read"))
    }

    fn new(font: FontRef<'static>) -> Typeface {
        let (size, upright) = (Size::unscaled(), LocationRef::default());
        Typeface {
            outlines: font.outline_glyphs(),
            characters: font.charmap(),
            metrics: font.glyph_metrics(size, upright),
            units_per_em: font.metrics(size, upright).units_per_em.into(),
        }
    }

    /// The glyph of a character; the box for what is missing if the font has none.
    pub(super) fn glyph(&self, character: char) -> GlyphId {
        self.characters.map(character).unwrap_or(GlyphId::NOTDEF)
    }

    /// How far the pen moves on, at `size` pixels an em.
    pub(super) fn advance(&self, glyph: GlyphId, size: f32) -> f32 {
        self.metrics.advance_width(glyph).unwrap_or(0.0) * size / self.units_per_em
    }

    /// Calls `paint` with each pixel that the glyph may cover, and by how much it does, with the pen at `x` on the
    /// baseline.
    pub(super) fn draw(
        &self,
        glyph: GlyphId,
        size: f32,
        [x, baseline]: [f32; 2],
        mut paint: impl FnMut([f32; 2], f32),
    ) {
        let scale = size / self.units_per_em;
        let mut outline = Outline::new(|x, y| point(x * scale, -y * scale));
        let settings = DrawSettings::unhinted(Size::unscaled(), LocationRef::default());
        // A glyph that cannot be drawn leaves its place empty.
        if self.outlines.get(glyph).is_none_or(|glyph| glyph.draw(settings, &mut outline).is_err()) {
            return;
        }
        let Some([low, high]) = outline.bounds() else { return };
        // A pixel more on each side: what rounding takes over the edge of a row would begin the next one.
        let corner = [(low.x + x).floor() - 1.0, (low.y + baseline).floor() - 1.0];
        let (width, height) = ((high.x + x).ceil() + 1.0 - corner[0], (high.y + baseline).ceil() + 1.0 - corner[1]);
        let mut pixels = Rasterizer::new(width as usize, height as usize);
        let offset = point(x - corner[0], baseline - corner[1]);
        for curve in outline.curves {
            match curve {
                Curve::Line(a, b) => pixels.draw_line(a + offset, b + offset),
                Curve::Quadratic(a, b, c) => pixels.draw_quad(a + offset, b + offset, c + offset),
                Curve::Cubic(a, b, c, d) => pixels.draw_cubic(a + offset, b + offset, c + offset, d + offset),
            }
        }
        pixels.for_each_pixel_2d(|dx, dy, cover| paint([corner[0] + dx as f32, corner[1] + dy as f32], cover));
    }
}

enum Curve {
    Line(Point, Point),
    Quadratic(Point, Point, Point),
    Cubic(Point, Point, Point, Point),
}

/// The curves of a glyph in pixels from the pen, downwards, as the font's own path draws them.
struct Outline<F> {
    in_pixels: F,
    start: Point,
    at: Point,
    curves: Vec<Curve>,
}

impl<F: Fn(f32, f32) -> Point> Outline<F> {
    fn new(in_pixels: F) -> Self {
        Outline { in_pixels, start: Point::default(), at: Point::default(), curves: Vec::new() }
    }

    /// The corners of a box around all curves: around their control points, between which a curve stays. `None` for a
    /// blank.
    fn bounds(&self) -> Option<[Point; 2]> {
        let points = self.curves.iter().flat_map(|curve| match *curve {
            Curve::Line(a, b) => vec![a, b],
            Curve::Quadratic(a, b, c) => vec![a, b, c],
            Curve::Cubic(a, b, c, d) => vec![a, b, c, d],
        });
        points.fold(None, |bounds, p| {
            let [low, high] = bounds.unwrap_or([p, p]);
            Some([point(low.x.min(p.x), low.y.min(p.y)), point(high.x.max(p.x), high.y.max(p.y))])
        })
    }
}

impl<F: Fn(f32, f32) -> Point> OutlinePen for Outline<F> {
    fn move_to(&mut self, x: f32, y: f32) {
        self.at = (self.in_pixels)(x, y);
        self.start = self.at;
    }

    fn line_to(&mut self, x: f32, y: f32) {
        let to = (self.in_pixels)(x, y);
        self.curves.push(Curve::Line(self.at, to));
        self.at = to;
    }

    fn quad_to(&mut self, cx: f32, cy: f32, x: f32, y: f32) {
        let to = (self.in_pixels)(x, y);
        self.curves.push(Curve::Quadratic(self.at, (self.in_pixels)(cx, cy), to));
        self.at = to;
    }

    fn curve_to(&mut self, ax: f32, ay: f32, bx: f32, by: f32, x: f32, y: f32) {
        let to = (self.in_pixels)(x, y);
        self.curves.push(Curve::Cubic(self.at, (self.in_pixels)(ax, ay), (self.in_pixels)(bx, by), to));
        self.at = to;
    }

    fn close(&mut self) {
        if self.at != self.start {
            self.curves.push(Curve::Line(self.at, self.start));
        }
        self.at = self.start;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// By fontTools: `unitsPerEm` is 1000, `hmtx` has 641 for A, 564 for 1 and 996 for the ellipsis.
    #[test]
    fn advances_are_the_fonts() {
        let face = Typeface::embedded().unwrap();
        let advance = |character, size| face.advance(face.glyph(character), size);
        for (character, units) in [('A', 641.0), ('1', 564.0), ('\u{2026}', 996.0)] {
            assert!((advance(character, 1000.0) - units).abs() < 1e-3, "{character}");
            assert!((advance(character, 12.5) - 12.5 * units / 1000.0).abs() < 1e-4, "{character}");
        }
    }

    /// By fontTools, the outline of a capital I is the box from (90, 0) to (158, 693), in thousandths of an em.
    #[test]
    fn a_glyph_covers_its_outline() {
        let face = Typeface::embedded().unwrap();
        let cover = |size: f32, pen: [f32; 2]| {
            let mut pixels = Vec::new();
            face.draw(face.glyph('I'), size, pen, |at, cover| pixels.push((at, cover)));
            pixels
        };
        // Edges at 9 and 15.8 from the pen, and 69.3 above the baseline.
        for (at, covered) in cover(100.0, [20.0, 100.0]) {
            let inside = |from: f32, to: f32, at: f32| (to.min(at + 1.0) - from.max(at)).max(0.0);
            let expected = inside(29.0, 35.8, at[0]) * inside(30.7, 100.0, at[1]);
            assert!((covered - expected).abs() < 1e-4, "{at:?}: {covered} instead of {expected}");
        }
        // Whatever falls between pixels is kept.
        for pen in [[0.0, 9.0], [3.25, 8.5], [-4.6, 2.2]] {
            let area: f32 = cover(11.0, pen).iter().map(|(_, cover)| cover).sum();
            assert!((area - 0.068 * 0.693 * 121.0).abs() < 1e-3, "{pen:?}: {area}");
        }
        assert!(cover(11.0, [0.0, 9.0]).len() < 60);
    }

    #[test]
    fn a_blank_and_an_unknown_character_are_no_failure() {
        let face = Typeface::embedded().unwrap();
        face.draw(face.glyph(' '), 12.0, [0.0; 2], |at, _| panic!("a space covers {at:?}"));
        assert_eq!(face.glyph('\u{10ffff}'), GlyphId::NOTDEF);
    }
}
