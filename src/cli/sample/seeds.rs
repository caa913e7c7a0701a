//! `--seeds`.

use std::str::FromStr;

/// More than this many samples are a slip, or several runs.
const MOST: usize = 1_000_000;

/// Seeds in the order in which they are drawn: numbers and ranges, as in `1,5,9-12`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seeds(pub Vec<u32>);

impl FromStr for Seeds {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let number = |part: &str| {
            part.trim()
                .parse::<u32>()
                .map_err(|_| format!("`{part}` is no seed; seeds are numbers and ranges below 2^32, as in 1,5,9-12"))
        };
        let mut seeds = Vec::new();
        for part in text.split(',') {
            let (first, last) = match part.split_once('-') {
                Some((first, last)) => (number(first)?, number(last)?),
                None => (number(part)?, number(part)?),
            };
            if first > last {
                return Err(format!("the range {part} falls"));
            }
            if (last - first) as usize >= MOST - seeds.len().min(MOST) {
                return Err(format!("more than {MOST} seeds; draw them in several runs"));
            }
            seeds.extend(first..=last);
        }
        Ok(Seeds(seeds))
    }
}

#[cfg(test)]
mod tests {
    use super::Seeds;

    #[test]
    fn numbers_and_ranges() {
        let seeds = |text: &str| text.parse::<Seeds>().map(|seeds| seeds.0);
        assert_eq!(seeds("0-3").unwrap(), [0, 1, 2, 3]);
        assert_eq!(seeds("1,5,9-12, 7").unwrap(), [1, 5, 9, 10, 11, 12, 7]);
        assert_eq!(seeds("4294967295").unwrap(), [u32::MAX]);
        for bad in ["", "a", "1-", "-1", "3-1", "1,,2", "0-4294967295", "4294967296"] {
            assert!(seeds(bad).is_err(), "{bad}");
        }
    }
}
