//! What becomes of a loop on the mixture in the long run: whether the truth is recovered, how fast, and which sizes
//! would.
//!
//! For small shares and large sizes the recursion is the equation `R' = -2 alpha R + (v - R) / n` in the round t; what
//! follows is its behaviour for powers and exponentials of t. Sums decide: real data arrive for ever if `sum alpha =
//! inf`, the noise of own samples keeps coming if `sum 1/n = inf`.

use std::fmt;

use super::schedule::{Quantity, Schedule};
use super::theory::stationary_risk;
use crate::error::{Error, Result};

/// What becomes of the risk.
#[derive(Debug, Clone, PartialEq)]
pub enum Fate {
    /// It goes to zero.
    Recovers {
        /// How fast.
        rate: Rate,
    },
    /// It settles above zero, near this value.
    Stalls {
        /// The limit of the risk.
        risk: f64,
    },
    /// It becomes that of a model that gives everything to one outcome, `v`.
    Collapses,
    /// It stays above zero, at a level that depends on the early rounds.
    Remembers,
}

/// A rate at which a risk goes to zero with the round t.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Rate {
    /// As `t^-power`.
    Power(f64),
    /// As `t^-power log t`.
    PowerLog(f64),
    /// As `factor^t`.
    Geometric(f64),
    /// As `exp(-scale t^power)`: faster than any power.
    Stretched {
        /// The factor in the exponent.
        scale: f64,
        /// The power of t.
        power: f64,
    },
}

/// The answer for a pair of schedules.
#[derive(Debug, Clone, PartialEq)]
pub struct Verdict {
    /// What becomes of the risk.
    pub fate: Fate,
    /// Why, in a sentence.
    pub why: String,
    /// Which sizes would recover the truth with these shares.
    pub sizes: String,
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Rate::Power(power) => write!(f, "t^-{power:.3}"),
            Rate::PowerLog(power) => write!(f, "t^-{power:.3} log t"),
            Rate::Geometric(factor) => write!(f, "{factor:.4}^t"),
            Rate::Stretched { scale, power } => write!(f, "exp(-{scale:.3} t^{power:.3})"),
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fate = match &self.fate {
            Fate::Recovers { rate } => format!("The truth is recovered: the risk falls as {rate}."),
            Fate::Stalls { risk } => format!("The truth is not recovered: the risk settles at about {risk:.4e}."),
            Fate::Collapses => "The truth is not recovered: the model collapses.".into(),
            Fate::Remembers => "The truth is not recovered: the risk stays at what the early rounds leave.".into(),
        };
        write!(f, "{fate} {} {}", self.why, self.sizes)
    }
}

/// How a schedule behaves for large t.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Growth {
    /// `c t^p`.
    Power(f64, f64),
    /// `r^t`.
    Geometric(f64),
}

impl Growth {
    fn of(schedule: &Schedule, quantity: Quantity) -> Result<Self> {
        Ok(match *schedule {
            Schedule::Constant(value) => Growth::Power(value, 0.0),
            Schedule::Power { first, power, .. } => Growth::Power(first, power),
            Schedule::Geometric { first, ratio: 1.0 } => Growth::Power(first, 0.0),
            Schedule::Geometric { ratio, .. } => Growth::Geometric(ratio),
            Schedule::List(_) => Growth::Power(schedule.at(quantity, usize::MAX >> 12).unwrap_or(0.0), 0.0),
            Schedule::Adaptive { .. } => {
                return Err(Error::Config("an adaptive schedule follows the risk; ask about its numbers".into()));
            }
        })
    }
}

/// What becomes of a loop on the mixture ([`Arm::Mixture`](super::Arm::Mixture)) whose family obeys [`Law`](super::Law)
/// without widening, with the variance `v` of the truth. Errors where a share is no share, and on adaptive schedules.
pub fn verdict(alpha: &Schedule, samples: &Schedule, v: f64) -> Result<Verdict> {
    alpha.check_real_share()?;
    let size = Growth::of(samples, Quantity::Samples)?;
    let share = match Growth::of(alpha, Quantity::RealShare)? {
        // Growing shares reach 1 and stay there.
        Growth::Power(a, power) if a > 0.0 && power > 0.0 => Growth::Power(1.0, 0.0),
        Growth::Geometric(ratio) if ratio > 1.0 => Growth::Power(1.0, 0.0),
        other => other,
    };
    Ok(match share {
        Growth::Power(a, power) if a > 0.0 && power == 0.0 => steady(a, size, v),
        Growth::Power(a, power) if a > 0.0 && power >= -1.0 => fading(a, -power, size, v),
        Growth::Power(0.0, _) => vanishing(size, "No real data arrive after the first fit."),
        _ => vanishing(size, "The shares of real data have a finite sum, so the first fits are never forgotten."),
    })
}

/// A share that stays above zero.
fn steady(a: f64, size: Growth, v: f64) -> Verdict {
    let forget = (1.0 - a) * (1.0 - a);
    let sizes = "With these shares any sizes that grow without bound recover the truth: n_t growing as t^s gives the risk t^-s.".to_string();
    let recovers =
        |rate: Rate, why: &str| Verdict { fate: Fate::Recovers { rate }, why: why.into(), sizes: sizes.clone() };
    match size {
        Growth::Power(_, q) if q > 0.0 => recovers(
            Rate::Power(q),
            "Old errors are forgotten at a steady rate, and each round's noise is smaller than the last.",
        ),
        Growth::Geometric(ratio) if ratio > 1.0 => {
            let factor = (1.0 / ratio).max(forget);
            recovers(
                Rate::Geometric(factor),
                "Both old errors and noise shrink by a factor a round; the slower one decides.",
            )
        }
        Growth::Power(n, 0.0) => Verdict {
            fate: Fate::Stalls { risk: stationary_risk(v, a, n) },
            why: "Old errors are forgotten at a steady rate, but each round brings as much noise as the last.".into(),
            sizes,
        },
        _ => Verdict { fate: Fate::Collapses, why: "The sizes shrink, and noise takes over.".into(), sizes },
    }
}

/// A share `a t^-p`, `0 < p <= 1`: it vanishes, but its sum does not converge.
fn fading(a: f64, p: f64, size: Growth, v: f64) -> Verdict {
    let sizes = if p < 1.0 {
        format!(
            "With these shares sizes that grow faster than t^{p:.3} recover the truth: n_t as t^({p:.3} + s) gives the risk t^-s."
        )
    } else {
        format!(
            "With these shares sizes that grow faster than t recover the truth: n_t as t^(1 + s) gives the risk t^-s, up to s = {:.3}, \
             the rate at which old errors are forgotten.",
            2.0 * a
        )
    };
    let of = |fate: Fate, why: &str| Verdict { fate, why: why.into(), sizes: sizes.clone() };
    let enough = "The real samples of a round, n_t alpha_t, grow without bound.";
    match size {
        Growth::Geometric(ratio) if ratio > 1.0 => {
            if p < 1.0 {
                let rate = Rate::Stretched { scale: 2.0 * a / (1.0 - p), power: 1.0 - p };
                of(Fate::Recovers { rate }, "The noise dies out, and old errors fade as exp(-2 sum alpha).")
            } else {
                of(
                    Fate::Recovers { rate: Rate::Power(2.0 * a) },
                    "The noise dies out, and old errors are forgotten as t^-2a.",
                )
            }
        }
        Growth::Power(_, q) if q > p => {
            let noise = q - p;
            let rate = match () {
                () if p < 1.0 || noise < 2.0 * a => Rate::Power(noise),
                () if noise == 2.0 * a => Rate::PowerLog(noise),
                () => Rate::Power(2.0 * a),
            };
            of(Fate::Recovers { rate }, enough)
        }
        Growth::Power(c, q) if q == p => {
            let real = a * c;
            of(
                Fate::Stalls { risk: v / (2.0 * real + 1.0) },
                &format!(
                    "The real samples of a round, n_t alpha_t, stay near {real:.4}, and the risk near v / (2 n alpha + 1)."
                ),
            )
        }
        _ => of(Fate::Collapses, "The real samples of a round, n_t alpha_t, dwindle to nothing, and noise takes over."),
    }
}

/// Shares with a finite sum, or none at all.
fn vanishing(size: Growth, why: &str) -> Verdict {
    let quiet = match size {
        Growth::Power(_, q) => q > 1.0,
        Growth::Geometric(ratio) => ratio > 1.0,
    };
    let fate = if quiet { Fate::Remembers } else { Fate::Collapses };
    Verdict { fate, why: why.into(), sizes: "With these shares no sizes recover the truth.".into() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::methods::self_consuming::{Arm, Law, Round};

    const V: f64 = 0.96;

    fn judge(alpha: &str, samples: &str) -> Fate {
        verdict(&alpha.parse().unwrap(), &samples.parse().unwrap(), V).unwrap().fate
    }

    /// The exact risk after `rounds` rounds, also of sizes that no simulation could have.
    fn risk(alpha: &str, samples: &str, rounds: usize) -> f64 {
        let (alpha, samples): (Schedule, Schedule) = (alpha.parse().unwrap(), samples.parse().unwrap());
        let size = |t: usize| samples.at(Quantity::Samples, t).unwrap().round() as u64;
        let law = Law::new(V);
        let mut state = law.first(Arm::Mixture, size(0));
        for t in 1..=rounds {
            let round = Round { alpha: alpha.real_share(t).unwrap(), n: size(t) };
            state = law.step(Arm::Mixture, state, round).unwrap();
        }
        state.risk
    }

    /// The slope of log R over log t between t and 4 t.
    fn slope(alpha: &str, samples: &str, t: usize) -> f64 {
        -(risk(alpha, samples, 4 * t) / risk(alpha, samples, t)).ln() / 4f64.ln()
    }

    #[test]
    fn rates_are_the_recursion_s() {
        for (alpha, samples) in [
            ("0.1", "100:power=1"),
            ("0.3", "10:power=0.5"),
            ("1:power=-0.5", "100:power=1"),
            ("0.5:power=-0.5", "100:power=2"),
            ("0.25:power=-1", "100:power=3"), // forgetting decides: t^-0.5
            ("2:power=-1,offset=1", "100:power=2"),
            ("1:power=-1,offset=1", "100:power=2"),
        ] {
            if alpha.starts_with('2') {
                assert!(verdict(&alpha.parse().unwrap(), &samples.parse().unwrap(), V).is_err());
                continue;
            }
            let Fate::Recovers { rate: Rate::Power(power) } = judge(alpha, samples) else {
                panic!("{alpha} {samples}: {:?}", judge(alpha, samples))
            };
            let found = slope(alpha, samples, 200_000);
            assert!((found - power).abs() < 0.02, "{alpha} {samples}: slope {found}, expected {power}");
        }
        assert_eq!(judge("0.5:power=-1", "100:power=2"), Fate::Recovers { rate: Rate::PowerLog(1.0) });
        assert_eq!(judge("0.1", "100:ratio=1.5"), Fate::Recovers { rate: Rate::Geometric(0.9f64.powi(2)) });
        assert_eq!(
            judge("0.05:power=-0.5", "100:ratio=1.5"),
            Fate::Recovers { rate: Rate::Stretched { scale: 0.2, power: 0.5 } }
        );
        let of = |t| risk("0.05:power=-0.5", "100:ratio=1.5", t);
        let decay = (of(1600) / of(400)).ln();
        approx::assert_relative_eq!(decay, -0.2 * (40.0 - 20.0), max_relative = 0.02);
        let ratio = risk("0.1", "100:ratio=1.1", 101) / risk("0.1", "100:ratio=1.1", 100);
        approx::assert_relative_eq!(ratio, 1.0 / 1.1, max_relative = 1e-3);
    }

    #[test]
    fn stalls_and_collapses_are_the_recursion_s() {
        for (alpha, samples) in
            [("0.1", "100"), ("1:power=-0.5", "100:power=0.5"), ("1:power=-1,offset=1", "100:power=1")]
        {
            let Fate::Stalls { risk: limit } = judge(alpha, samples) else { panic!("{alpha} {samples}") };
            let found = risk(alpha, samples, 1_000_000);
            assert!((found / limit - 1.0).abs() < 0.01, "{alpha} {samples}: {found} and {limit}");
        }
        for (alpha, samples) in
            [("0", "100"), ("0", "100:power=0.5"), ("1:power=-0.8", "20:power=0.3"), ("0.5:power=-2", "5")]
        {
            assert_eq!(judge(alpha, samples), Fate::Collapses);
            let found = risk(alpha, samples, 1_000_000);
            assert!(found > 0.95 * V, "{alpha} {samples}: {found}");
        }
        for (alpha, samples) in
            [("0", "100:power=2"), ("1:power=-2,offset=1", "100:power=2"), ("0.5:ratio=0.5", "10:ratio=2")]
        {
            assert_eq!(judge(alpha, samples), Fate::Remembers);
            let (early, late) = (risk(alpha, samples, 500), risk(alpha, samples, 1000));
            assert!((late / early - 1.0).abs() < 0.01 && late > 1e-3, "{alpha} {samples}: {early} {late}");
        }
        assert_eq!(judge("0.2:power=1", "100"), judge("1", "100"));
    }

    #[test]
    fn a_verdict_is_a_sentence() {
        let text = |alpha: &str, samples: &str| {
            verdict(&alpha.parse().unwrap(), &samples.parse().unwrap(), V).unwrap().to_string()
        };
        assert!(text("0.1", "100").contains("not recovered") && text("0.1", "100").contains("any sizes that grow"));
        assert!(text("1:power=-0.5", "100:power=1").contains("t^-0.500"));
        assert!(text("0.1:power=-2", "100:power=9").contains("no sizes recover"));
    }
}
