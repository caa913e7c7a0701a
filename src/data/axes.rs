//! What the axes of an array are.

use super::options::AxisOrder;

/// Where the channels of an array are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Axes {
    pub count: usize,
    /// `[height, width, channels]`; signals are `[1, length, channels]`, points `[1, 1, dims]`.
    pub size: [usize; 3],
    pub channels_first: bool,
}

/// As many channels as colours and alpha have.
const COLOURS: usize = 4;
/// Rows of fewer numbers are points, whatever they look like.
const LEAST_SIGNAL: usize = 16;
/// Neighbours along a signal resemble each other at least so much, those in a table hardly ever.
const RESEMBLANCE: f64 = 0.5;

impl Axes {
    /// What an array of this shape is, with what there is to say of it. `bytes`: its numbers are small integers, as of
    /// pixels. `resemblance` gives the mean correlation of neighbouring columns of a table. Errors, in words, where the
    /// shape has not the axes that are asked for, or allows two readings.
    pub fn of(
        shape: &[usize],
        order: AxisOrder,
        like: Option<[usize; 3]>,
        bytes: bool,
        resemblance: impl Fn() -> f64,
    ) -> Result<(Self, Option<String>), String> {
        if let (AxisOrder::Auto, Some(found)) = (order, like.and_then(|like| Self::beside(shape, like))) {
            return Ok((found, None));
        }
        let axes = |count, size, channels_first| Axes { count, size, channels_first };
        let plain = |axes: Axes| Ok((axes, None));
        match (order, shape) {
            (AxisOrder::Points, &[n, d]) => plain(axes(n, [1, 1, d], false)),
            (AxisOrder::Signals, &[n, l]) => plain(axes(n, [1, l, 1], false)),
            (AxisOrder::SignalsLast, &[n, l, c]) => plain(axes(n, [1, l, c], false)),
            (AxisOrder::SignalsFirst, &[n, c, l]) => plain(axes(n, [1, l, c], true)),
            (AxisOrder::Grey, &[n, h, w]) => plain(axes(n, [h, w, 1], false)),
            (AxisOrder::Last, &[n, h, w, c]) => plain(axes(n, [h, w, c], false)),
            (AxisOrder::First, &[n, c, h, w]) => plain(axes(n, [h, w, c], true)),
            (AxisOrder::Auto, &[n, d]) => table([n, d], bytes, resemblance),
            (AxisOrder::Auto, &[n, a, b]) => Ok(match (a, b) {
                (l, c) if Self::are_signals(l, c) => (axes(n, [1, l, c], false), Some(signals(l, c, "nhw as images"))),
                (c, l) if Self::are_signals(l, c) => (axes(n, [1, l, c], true), Some(signals(l, c, "nhw as images"))),
                (h, w) => (axes(n, [h, w, 1], false), None),
            }),
            (AxisOrder::Auto, &[n, a, b, c]) => {
                let (last, first) = (axes(n, [a, b, c], false), axes(n, [b, c, a], true));
                // As PyTorch has them: four rows of many channels are no image.
                let few_first = a <= COLOURS && b > COLOURS && c > COLOURS;
                match (c <= COLOURS, few_first, a == b, b == c) {
                    (true, ..) if (3..=COLOURS).contains(&a) && (3..=COLOURS).contains(&c) && b >= a => Err(two(shape)),
                    (_, true, ..) => plain(first),
                    (true, false, ..) => plain(last),
                    (false, false, true, false) => plain(last),
                    (false, false, false, true) => plain(first),
                    _ => Err(two(shape)),
                }
            }
            (AxisOrder::Auto, _) => Err(format!(
                "shape {shape:?}, expected [n, h, w, c], [n, c, h, w], [n, h, w], signals [n, l, c] or points [n, dims]"
            )),
            (order, _) => {
                Err(format!("shape {shape:?}, and data.layout = \"{order}\" is for {} axes", order.name().len()))
            }
        }
    }

    /// The reading by which samples have this size.
    fn beside(shape: &[usize], like: [usize; 3]) -> Option<Self> {
        let &[count, ref of @ ..] = shape else { return None };
        let readings: Vec<([usize; 3], bool)> = match *of {
            [d] => vec![([1, 1, d], false), ([1, d, 1], false), ([d.isqrt(), d.isqrt(), 1], false)],
            [a, b] => vec![([a, b, 1], false), ([1, a, b], false), ([1, b, a], true)],
            [a, b, c] => vec![([a, b, c], false), ([b, c, a], true)],
            _ => Vec::new(),
        };
        let whole = |size: &[usize; 3]| size.iter().product::<usize>() == of.iter().product::<usize>();
        let found = readings.into_iter().find(|(size, _)| *size == like && whole(size));
        found.map(|(size, channels_first)| Axes { count, size, channels_first })
    }

    /// Whether an array `[n, l, c]` is taken as signals.
    pub fn are_signals(l: usize, c: usize) -> bool {
        c <= COLOURS && l >= LEAST_SIGNAL
    }

    /// Whether samples are points.
    pub fn are_points(&self) -> bool {
        self.size[..2] == [1, 1]
    }

    /// The channel of the number at a place in the array.
    pub fn channel(&self, place: usize) -> usize {
        let [h, w, c] = self.size;
        if self.channels_first { (place / (h * w)) % c } else { place % c }
    }
}

fn signals(length: usize, channels: usize, other: &str) -> String {
    let channels = if channels == 1 { String::new() } else { format!(" in {channels} channels") };
    format!("taken as signals of {length} numbers{channels} (--layout {other})")
}

fn two(shape: &[usize]) -> String {
    let [_, a, b, c] = shape else { return format!("shape {shape:?}") };
    format!(
        "shape {shape:?} may be images of {a} x {b} with {c} channels (--layout nhwc) or of {b} x {c} with {a} (--layout nchw): say which"
    )
}

/// Two axes: points, images in rows, or signals.
fn table([n, d]: [usize; 2], bytes: bool, resemblance: impl Fn() -> f64) -> Result<(Axes, Option<String>), String> {
    let points = Axes { count: n, size: [1, 1, d], channels_first: false };
    if d < LEAST_SIGNAL {
        return Ok((points, None));
    }
    if bytes {
        let side = d.isqrt();
        if side * side == d {
            let said = format!("rows of {d} numbers taken as images of {side} x {side}");
            return Ok((Axes { size: [side, side, 1], ..points }, Some(said)));
        }
        let third = (d / 3).isqrt();
        if 3 * third * third == d {
            return Err(format!(
                "shape [{n}, {d}] may be {third} x {third} pixels of three colours, each pixel or each colour in one piece; \
                 store [n, {third}, {third}, 3], or say --layout nd if these are points, nl if they are signals"
            ));
        }
    }
    let alike = resemblance();
    match alike > RESEMBLANCE {
        true => {
            let said = format!(
                "{}, as neighbouring numbers resemble each other (correlation {alike:.2})",
                signals(d, 1, "nd as points")
            );
            Ok((Axes { size: [1, d, 1], ..points }, Some(said)))
        }
        false => {
            let side = d.isqrt();
            let square =
                if side * side == d { format!("; store images as [n, {side}, {side}]") } else { String::new() };
            Ok((points, Some(format!("rows of {d} numbers taken as points (--layout nl as signals{square})"))))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn size(shape: &[usize], bytes: bool, resemblance: f64) -> Result<([usize; 3], bool), String> {
        Axes::of(shape, AxisOrder::Auto, None, bytes, || resemblance).map(|(axes, _)| (axes.size, axes.channels_first))
    }

    #[test]
    fn shapes_are_read_as_people_mean_them() {
        for (shape, bytes, alike, expected) in [
            (&[9, 28, 28][..], true, 0.0, ([28, 28, 1], false)),
            (&[9, 24, 32, 3], true, 0.0, ([24, 32, 3], false)),
            (&[9, 3, 24, 32], true, 0.0, ([24, 32, 3], true)),
            (&[9, 64, 64, 4], false, 0.0, ([64, 64, 4], false)),
            (&[9, 2, 2, 3], true, 0.0, ([2, 2, 3], false)),
            (&[9, 64, 64, 12], false, 0.0, ([64, 64, 12], false)),
            (&[9, 12, 64, 64], false, 0.0, ([64, 64, 12], true)),
            (&[9, 128], false, 0.9, ([1, 128, 1], false)),
            (&[9, 128], false, 0.1, ([1, 1, 128], false)),
            (&[9, 64], true, 0.9, ([8, 8, 1], false)),
            (&[9, 10], false, 0.9, ([1, 1, 10], false)),
            (&[9, 128, 2], false, 0.0, ([1, 128, 2], false)),
            (&[9, 2, 128], false, 0.0, ([1, 128, 2], true)),
        ] {
            assert_eq!(size(shape, bytes, alike), Ok(expected), "{shape:?}");
        }
    }

    #[test]
    fn a_shape_of_two_readings_names_both() {
        for shape in [[9, 64, 64, 64], [9, 10, 48, 64], [9, 3, 32, 3], [9, 4, 4, 4]] {
            let error = size(&shape, false, 0.0).unwrap_err();
            assert!(error.contains("--layout nhwc") && error.contains("--layout nchw"), "{error}");
        }
        for (shape, like, expected) in [
            (&[9, 3, 5, 3][..], [3, 5, 3], false),
            (&[9, 4, 6, 8], [6, 8, 4], true),
            (&[9, 2, 128], [1, 128, 2], true),
            (&[9, 128], [1, 1, 128], false),
        ] {
            let (axes, _) = Axes::of(shape, AxisOrder::Auto, Some(like), false, || 0.9).unwrap();
            assert_eq!((axes.size, axes.channels_first), (like, expected), "{shape:?} beside {like:?}");
        }
        assert!(size(&[9], false, 0.0).unwrap_err().contains("expected [n, h, w, c]"));
        let error = Axes::of(&[9, 4], AxisOrder::Last, None, false, || 0.0).unwrap_err();
        assert!(error.contains("is for 4 axes"), "{error}");
    }
}
