//! How the share of real data and the size of the data change from round to round.

use std::fmt;
use std::str::FromStr;

use crate::error::{Error, Result};

/// A quantity over the rounds of a loop.
///
/// Written on the command line as `A`, `A:power=P`, `A:power=P,offset=B`, `A:ratio=Q`, `A,B,C` or
/// `adaptive:target=R[,max=M]`; see each variant. [`FromStr`] reads these forms and errors on others and on numbers
/// that are not finite.
#[derive(Debug, Clone, PartialEq)]
pub enum Schedule {
    /// `A`: the same in every round.
    Constant(f64),
    /// `A:power=P,offset=B`: `A (t + B)^P` in round t. Without `offset` it is 1 for sizes, so that `100:power=1` is
    /// 100, 200, 300, ... from the first fit on, and 0 for shares, so that `0.1:power=-0.5` is 0.1 in round 1.
    Power {
        /// `A`.
        first: f64,
        /// `P`.
        power: f64,
        /// `B`, if given.
        offset: Option<f64>,
    },
    /// `A:ratio=Q`: `A Q^t` in round t for sizes, `A Q^(t-1)` for shares: `A` is the first value of both.
    Geometric {
        /// `A`.
        first: f64,
        /// `Q`.
        ratio: f64,
    },
    /// `A,B,C`: these, one a round; the last one stays.
    List(Vec<f64>),
    /// `adaptive:target=R,max=M`: the smallest value that brings the risk which the family's law predicts down to R, or
    /// `max` if none does (1,000,000 samples, or a share of 1, if it is not given). Only for families with a law.
    Adaptive {
        /// The risk to reach and to stay at.
        target: f64,
        /// The largest value.
        most: Option<f64>,
    },
}

/// What a schedule is of, which decides how its rounds are counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Quantity {
    /// Samples of a round, n_t for t = 0, 1, ..; round 0 is the first fit.
    Samples,
    /// The share of real data, alpha_t for t = 1, 2, ..; the first fit is all real.
    RealShare,
}

impl Schedule {
    /// The value in round `t`, before rounding and clipping; `None` for adaptive schedules.
    pub fn at(&self, quantity: Quantity, t: usize) -> Option<f64> {
        let samples = quantity == Quantity::Samples;
        let t = t as f64;
        Some(match self {
            Schedule::Constant(value) => *value,
            Schedule::Power { first, power, offset } => {
                first * (t + offset.unwrap_or(if samples { 1.0 } else { 0.0 })).powf(*power)
            }
            Schedule::Geometric { first, ratio } => first * ratio.powf(if samples { t } else { t - 1.0 }),
            Schedule::List(values) => {
                let index = if samples { t } else { t - 1.0 };
                *values.get(index as usize).or(values.last())?
            }
            Schedule::Adaptive { .. } => return None,
        })
    }

    /// The share of real data in round `t >= 1`, clipped to `[0, 1]`; `None` for adaptive schedules.
    pub fn real_share(&self, t: usize) -> Option<f64> {
        self.at(Quantity::RealShare, t).map(|share| if share > 0.0 { share.min(1.0) } else { 0.0 })
    }

    /// Errors unless the schedule makes sense as a share of real data: given values in `[0, 1]`.
    pub fn check_real_share(&self) -> Result<()> {
        let bad = |value: f64| {
            Err(Error::Config(format!(
                "the share of real data is {value}; a share lies in [0, 1] (0: only own samples, 1: only real ones)"
            )))
        };
        let values: &[f64] = match self {
            Schedule::List(values) => values,
            Schedule::Constant(first) | Schedule::Power { first, .. } | Schedule::Geometric { first, .. } => &[*first],
            Schedule::Adaptive { most, .. } => most.as_slice(),
        };
        values.iter().find(|share| !(0.0..=1.0).contains(*share)).map_or(Ok(()), |&share| bad(share))
    }
}

impl FromStr for Schedule {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let bad = |why: &str| {
            Error::Config(format!(
                "`{text}` is no schedule: {why}; write a number, `A:power=P`, `A:power=P,offset=B`, `A:ratio=Q`, a list `A,B,C`, \
                 or `adaptive:target=R,max=M`"
            ))
        };
        let number = |part: &str| match part.trim().parse::<f64>() {
            Ok(value) if value.is_finite() => Ok(value),
            _ => Err(bad(&format!("`{}` is no finite number", part.trim()))),
        };
        let Some((head, tail)) = text.split_once(':') else {
            let values = text.split(',').map(number).collect::<Result<Vec<f64>>>()?;
            return Ok(if let [only] = values[..] { Schedule::Constant(only) } else { Schedule::List(values) });
        };
        let mut options = Vec::new();
        for part in tail.split([',', ':']) {
            let (key, value) = part.split_once('=').ok_or_else(|| bad(&format!("`{part}` has no `=`")))?;
            let key = key.trim();
            if options.iter().any(|(other, _)| *other == key) {
                return Err(bad(&format!("`{key}` is given twice")));
            }
            options.push((key, number(value)?));
        }
        let mut take = |name: &str| {
            let at = options.iter().position(|(key, _)| *key == name)?;
            Some(options.swap_remove(at).1)
        };
        let schedule = if head.trim() == "adaptive" {
            let target = take("target").ok_or_else(|| bad("it has no target"))?;
            if target <= 0.0 {
                return Err(bad(&format!("the target {target} is not positive")));
            }
            Schedule::Adaptive { target, most: take("max") }
        } else {
            let first = number(head)?;
            match (take("power"), take("ratio")) {
                (Some(power), None) => Schedule::Power { first, power, offset: take("offset") },
                (None, Some(ratio)) if ratio > 0.0 => Schedule::Geometric { first, ratio },
                (None, Some(ratio)) => return Err(bad(&format!("the ratio {ratio} is not positive"))),
                (Some(_), Some(_)) => return Err(bad("it has both a power and a ratio")),
                (None, None) => return Err(bad("it has neither a power nor a ratio")),
            }
        };
        if let Schedule::Power { offset: Some(offset), .. } = schedule
            && offset < 0.0
        {
            return Err(bad(&format!("the offset {offset} is negative")));
        }
        match options.first() {
            Some((key, _)) => Err(bad(&format!("`{key}` means nothing here"))),
            None => Ok(schedule),
        }
    }
}

impl fmt::Display for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Schedule::Constant(value) => write!(f, "{value}"),
            Schedule::Power { first, power, offset: None } => write!(f, "{first}:power={power}"),
            Schedule::Power { first, power, offset: Some(offset) } => {
                write!(f, "{first}:power={power},offset={offset}")
            }
            Schedule::Geometric { first, ratio } => write!(f, "{first}:ratio={ratio}"),
            Schedule::List(values) => {
                let values: Vec<String> = values.iter().map(f64::to_string).collect();
                f.write_str(&values.join(","))
            }
            Schedule::Adaptive { target, most: None } => write!(f, "adaptive:target={target}"),
            Schedule::Adaptive { target, most: Some(most) } => write!(f, "adaptive:target={target},max={most}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Schedule {
        text.parse().unwrap()
    }

    #[test]
    fn schedules_mean_what_they_say() {
        let samples = |text: &str, t| read(text).at(Quantity::Samples, t).unwrap();
        let share = |text: &str, t| read(text).real_share(t).unwrap();
        assert_eq!([0, 1, 9].map(|t| samples("100", t)), [100.0; 3]);
        assert_eq!([0, 1, 9].map(|t| samples("100:power=1", t)), [100.0, 200.0, 1000.0]);
        assert_eq!([0, 1, 9].map(|t| samples("100:power=2", t)), [100.0, 400.0, 10_000.0]);
        assert_eq!([0, 1, 3].map(|t| samples("100:ratio=2", t)), [100.0, 200.0, 800.0]);
        assert_eq!([0, 1, 7].map(|t| samples("5, 6 ,7", t)), [5.0, 6.0, 7.0]);
        for (t, expected) in [(1, 0.1), (4, 0.05), (100, 0.01)] {
            approx::assert_relative_eq!(share("0.1:power=-0.5", t), expected, max_relative = 1e-15);
        }
        assert_eq!([1, 2, 3].map(|t| share("1:power=-1,offset=1", t)), [1.0 / 2.0, 1.0 / 3.0, 1.0 / 4.0]);
        assert_eq!([1, 2, 4].map(|t| share("0.5:ratio=0.5", t)), [0.5, 0.25, 0.0625]);
        assert_eq!([1, 2, 9].map(|t| share("0.5:power=1", t)), [0.5, 1.0, 1.0], "a share is clipped at 1");
        assert_eq!([1, 2, 9].map(|t| share("0.3,0.2", t)), [0.3, 0.2, 0.2]);
        assert_eq!(read("adaptive:target=0.01,max=500").at(Quantity::Samples, 1), None);
    }

    #[test]
    fn what_is_written_is_read_again() {
        let forms = [
            "0.1",
            "100:power=1",
            "1:power=-0.5,offset=1",
            "10:ratio=1.5",
            "1,2,3",
            "adaptive:target=0.001",
            "adaptive:target=1,max=9",
        ];
        for text in forms {
            assert_eq!(read(text).to_string(), text);
        }
        assert_eq!(read("1:power=2:offset=1"), read("1:power=2,offset=1"));
    }

    #[test]
    fn nonsense_says_what_is_wrong() {
        for (text, why) in [
            ("", "no finite number"),
            ("many", "`many`"),
            ("inf", "finite"),
            ("1,,2", "no finite number"),
            ("100:power", "no `=`"),
            ("100:power=x", "`x`"),
            ("100:slope=1", "neither"),
            ("100:power=1,slope=2", "`slope` means nothing"),
            ("100:power=1,ratio=2", "both"),
            ("100:power=1,power=2", "twice"),
            ("100:ratio=0", "not positive"),
            ("1:power=1,offset=-2", "negative"),
            ("adaptive:max=3", "no target"),
            ("adaptive:target=0", "not positive"),
        ] {
            let error = text.parse::<Schedule>().unwrap_err().to_string();
            assert!(error.contains(why), "{text}: {error}");
        }
        for share in ["1.5", "-0.1", "0.5,2", "3:power=-1", "adaptive:target=1,max=2"] {
            assert!(read(share).check_real_share().unwrap_err().to_string().contains("[0, 1]"), "{share}");
        }
        assert!(read("1:power=-0.5").check_real_share().is_ok());
    }
}
