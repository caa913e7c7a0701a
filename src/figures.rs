//! Numbers as people read them.

/// A number with so many digits after the point. What rounds to zero has no sign: an unbiased estimate of a distance is
/// often a little below zero, and "-0.00000" reads like a fault.
pub fn fixed(number: f64, digits: usize) -> String {
    let text = format!("{number:.digits$}");
    match text.strip_prefix('-') {
        Some(rest) if rest.bytes().all(|byte| matches!(byte, b'0' | b'.')) => rest.to_string(),
        _ => text,
    }
}

/// A number with so many digits that count, and no zeros at its end; with an exponent where it is very small or large.
pub fn significant(number: f64, digits: usize) -> String {
    if number == 0.0 || !number.is_finite() {
        return number.to_string();
    }
    let rounded: f64 = format!("{number:.*e}", digits.max(1) - 1).parse().unwrap_or(number);
    match (1e-4..1e15).contains(&rounded.abs()) {
        true => rounded.to_string(),
        false => format!("{rounded:e}"),
    }
}

/// A number as people read it: 55733891 as 55,733,891.
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// So many things of a kind, by the words for one and for many: 1 class, 2 classes.
pub fn counted(number: usize, one: &str, many: &str) -> String {
    format!("{number} {}", if number == 1 { one } else { many })
}

/// So many bytes as people read them, to three digits: 1234567 as 1.23 MB.
pub fn size(bytes: u64) -> String {
    const UNITS: [&str; 6] = ["B", "kB", "MB", "GB", "TB", "PB"];
    // What would be rounded to the next unit is of that.
    let rounded: f64 = format!("{:.2e}", bytes as f64).parse().unwrap_or(bytes as f64);
    let unit = UNITS.iter().enumerate().rev().find(|(i, _)| rounded >= 1000f64.powi(*i as i32)).map_or(0, |(i, _)| i);
    format!("{} {}", significant(rounded / 1000f64.powi(unit as i32), 3), UNITS[unit])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_thing_is_one() {
        let of = |number| counted(number, "class", "classes");
        assert_eq!((of(0), of(1), of(2)), ("0 classes".into(), "1 class".into(), "2 classes".into()));
    }

    #[test]
    fn what_rounds_to_zero_has_no_sign() {
        let texts = [(-0.0, "0.000"), (-0.0004, "0.000"), (0.0004, "0.000"), (-0.0006, "-0.001"), (-1.0, "-1.000")];
        for (number, text) in texts {
            assert_eq!(fixed(number, 3), text);
        }
        assert_eq!(
            (fixed(-0.4, 0), fixed(f64::NEG_INFINITY, 2), fixed(f64::NAN, 2)),
            ("0".into(), "-inf".into(), "NaN".into())
        );
    }

    #[test]
    fn digits_that_count_are_kept() {
        let texts =
            [(0.0, "0"), (1.0123e-6, "1.012e-6"), (40.00000000000001, "40"), (1234.56, "1235"), (-0.05, "-0.05")];
        for (number, text) in texts {
            assert_eq!(significant(number, 4), text);
        }
    }

    #[test]
    fn sizes_have_units() {
        let texts = [0, 999, 1000, 1_234_567, 999_999, 56_000_000_000].map(size);
        assert_eq!(texts, ["0 B", "999 B", "1 kB", "1.23 MB", "1 MB", "56 GB"]);
    }

    #[test]
    fn numbers_are_grouped() {
        assert_eq!([0, 12, 123, 1234, 1_234_567].map(grouped), ["0", "12", "123", "1,234", "1,234,567"]);
    }
}
