//! Tensors as text, as NumPy prints arrays.

use std::fmt::{self, Display, Formatter};

use super::Tensor;

/// More elements than this are not all printed.
const ALL: usize = 1000;
/// Of a long axis, so many entries at either end.
const EDGE: usize = 3;
/// Digits after the point at most.
const DIGITS: usize = 8;

impl Display for Tensor {
    /// The elements in brackets, an axis a pair, in columns; of large tensors the ends of each axis.
    fn fmt(&self, f: &mut Formatter) -> fmt::Result {
        let Ok(values) = self.to_f64() else { return write!(f, "{self:?}") };
        let shape = &self.shape()[..];
        if let (0, [number]) = (shape.len(), values.as_slice()) {
            let text = texts(&[*number], self.dtype().is_float()).concat();
            return write!(f, "{text}{}", if text.ends_with('.') { "0" } else { "" });
        }
        let mut shown = Vec::new();
        picked(shape, values.len() > ALL, 0, &mut |i| shown.push(values[i]));
        let text = texts(&shown, self.dtype().is_float());
        f.write_str(&nested(shape, values.len() > ALL, &mut text.into_iter(), 1))
    }
}

/// The entries of an axis that are shown: all, or the ends, with `None` for what is left out.
fn entries(extent: usize, shortened: bool) -> Vec<Option<usize>> {
    match shortened && extent > 2 * EDGE {
        true => (0..EDGE).map(Some).chain([None]).chain((extent - EDGE..extent).map(Some)).collect(),
        false => (0..extent).map(Some).collect(),
    }
}

/// Calls `found` with the index of each element that is shown.
fn picked(shape: &[usize], shortened: bool, first: usize, found: &mut impl FnMut(usize)) {
    let Some((&extent, rest)) = shape.split_first() else { return found(first) };
    let stride: usize = rest.iter().product();
    for i in entries(extent, shortened).into_iter().flatten() {
        picked(rest, shortened, first + i * stride, found);
    }
}

fn nested(shape: &[usize], shortened: bool, text: &mut impl Iterator<Item = String>, depth: usize) -> String {
    let Some((&extent, rest)) = shape.split_first() else { return text.next().unwrap_or_default() };
    let parts: Vec<String> = entries(extent, shortened)
        .into_iter()
        .map(|entry| entry.map_or("...".into(), |_| nested(rest, shortened, text, depth + 1)))
        .collect();
    let separator = match rest.len() {
        0 => " ".to_string(),
        blank => "\n".repeat(blank) + &" ".repeat(depth),
    };
    format!("[{}]", parts.join(&separator))
}

/// Numbers of equal width: with the digits that they need, or with exponents where they differ by far.
fn texts(values: &[f64], floats: bool) -> Vec<String> {
    let finite = || values.iter().map(|x| x.abs()).filter(|x| x.is_finite() && *x > 0.0);
    let (low, high) = finite().fold((f64::INFINITY, 0f64), |(low, high), x| (low.min(x), high.max(x)));
    let exponents = high > 0.0 && (high >= 1e8 || low < 1e-4 || high / low > 1000.0);
    let needed = |x: &f64| trimmed(format!("{:.DIGITS$}", mantissa(*x))).len() - 2 - usize::from(*x < 0.0);
    let digits = values.iter().filter(|x| x.is_finite()).map(needed).max().unwrap_or(0);
    let plain = |x: f64| match (floats, exponents) {
        (false, _) => format!("{x}"),
        (true, true) => scientific(x, digits),
        (true, false) => trimmed(format!("{x:.DIGITS$}")),
    };
    let mut texts: Vec<String> = values
        .iter()
        .map(|&x| match x {
            x if x.is_nan() => "nan".into(),
            x if x.is_infinite() => if x > 0.0 { "inf" } else { "-inf" }.into(),
            x => plain(x),
        })
        .collect();
    // Points stand below each other.
    let decimals = |text: &str| text.find('.').filter(|_| !text.contains('e')).map(|at| text.len() - at - 1);
    let most = texts.iter().filter_map(|text| decimals(text)).max().unwrap_or(0);
    for text in &mut texts {
        if let Some(decimals) = decimals(text) {
            text.push_str(&" ".repeat(most - decimals));
        }
    }
    let width = texts.iter().map(String::len).max().unwrap_or(0);
    texts.into_iter().map(|text| format!("{text:>width$}")).collect()
}

/// Without the zeros at the end, but for the point.
fn trimmed(text: String) -> String {
    if text.contains('.') { text.trim_end_matches('0').to_string() } else { text }
}

/// Of `1.5e-05`, the 1.5.
fn mantissa(x: f64) -> f64 {
    let text = format!("{x:.DIGITS$e}");
    text.split_once('e').and_then(|(mantissa, _)| mantissa.parse().ok()).unwrap_or(x)
}

/// `1.5e-05`, with so many digits after the point.
fn scientific(x: f64, digits: usize) -> String {
    let text = format!("{x:.digits$e}");
    let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let (sign, exponent) = exponent.strip_prefix('-').map_or(('+', exponent), |exponent| ('-', exponent));
    let point = if digits == 0 { "." } else { "" };
    format!("{mantissa}{point}e{sign}{exponent:0>2}")
}

#[cfg(test)]
mod tests {
    use crate::tensor::{Device, Tensor};

    fn shown(values: &[f64], shape: &[usize]) -> String {
        Tensor::from_slice(values, shape.to_vec(), &Device::Cpu).unwrap().to_string()
    }

    /// What numpy 2 prints for the same arrays.
    #[test]
    fn it_looks_like_numpys() {
        assert_eq!(shown(&[1.0, -2.5, 0.125], &[3]), "[ 1.    -2.5    0.125]");
        assert_eq!(shown(&[1.0, 2.0, 3.0, 4.0], &[2, 2]), "[[1. 2.]\n [3. 4.]]");
        assert_eq!(shown(&[0.5; 8], &[2, 2, 2]), "[[[0.5 0.5]\n  [0.5 0.5]]\n\n [[0.5 0.5]\n  [0.5 0.5]]]");
        assert_eq!(shown(&[f64::NAN, 1.0, f64::NEG_INFINITY], &[3]), "[ nan   1. -inf]");
        assert_eq!(shown(&[1e-5, 1.0], &[2]), "[1.e-05 1.e+00]");
        assert_eq!(shown(&[1.5e-5, -1.0], &[2]), "[ 1.5e-05 -1.0e+00]");
        assert_eq!(shown(&[3.0], &[]), "3.0");
        assert_eq!(shown(&[], &[0]), "[]");
        let long: Vec<f64> = (0..2000).map(f64::from).collect();
        assert_eq!(shown(&long[..1000], &[1000]).lines().count(), 1);
        assert_eq!(shown(&vec![1.0; 2000], &[2000]), "[1. 1. 1. ... 1. 1. 1.]");
        let words = Tensor::from_slice(&[7u32, 10], [2], &Device::Cpu).unwrap();
        assert_eq!(words.to_string(), "[ 7 10]");
    }
}
