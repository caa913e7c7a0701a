//! Solvers by name.

use std::sync::Arc;

use super::*;
use crate::error::Error;

/// The names that [`named`] knows.
pub const NAMES: [&str; 21] = [
    "euler",
    "heun",
    "dpm2",
    "dpm2-ancestral",
    "euler-ancestral",
    "dpmpp-2s",
    "dpmpp-2m",
    "dpmpp-3m",
    "dpmpp-sde",
    "dpmpp-2m-sde",
    "dpmpp-3m-sde",
    "unipc-2",
    "unipc-3",
    "ipndm",
    "lms",
    "deis",
    "edm-general",
    "euler-maruyama",
    "reverse-diffusion",
    "predictor-corrector",
    "rk45",
];

/// What solvers can be told. `None` leaves a solver's own default; setting what a solver does not have is an error of
/// [`named`].
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Options {
    /// Noise before each step: `euler`, `heun`, `dpm2`, `edm-general`.
    pub churn: Option<Churn>,
    /// Share of the noise: ancestral and SDE solvers.
    pub eta: Option<f64>,
    /// Standard deviation of the noise, relative: as `eta`.
    pub s_noise: Option<f64>,
    /// Slopes used: `lms`, `deis`, `ipndm`.
    pub order: Option<usize>,
    /// The place of the second call: `dpmpp-sde`.
    pub r: Option<f64>,
    /// The second-order term of `dpmpp-2m-sde`.
    pub correction: Option<Correction>,
    /// B(h) of UniPC.
    pub b: Option<BFunction>,
    /// sigma(t) of `edm-general`.
    pub schedule: Option<Schedule>,
    /// s(t) of `edm-general`.
    pub scaling: Option<SampleScale>,
    /// The second call of `edm-general`; 0 for Euler steps.
    pub alpha: Option<f64>,
    /// The forward process of `euler-maruyama`, `reverse-diffusion`, `predictor-corrector`.
    pub sde: Option<Sde>,
    /// Signal-to-noise ratio of `predictor-corrector`.
    pub snr: Option<f64>,
    /// Langevin steps of `predictor-corrector`.
    pub corrector_steps: Option<usize>,
    /// Absolute tolerance of `rk45`.
    pub atol: Option<f64>,
    /// Relative tolerance of `rk45`.
    pub rtol: Option<f64>,
    /// Limit of `rk45`.
    pub max_steps: Option<usize>,
}

/// The name among [`NAMES`] of a solver that k-diffusion, diffusers or the usual interfaces call `name`: `ddim`,
/// `euler_a`, `dpm++2m`, `DPM++ 2M SDE`, `sample_dpm_2`, `unipc`. `None` where there is no such solver here.
pub fn canonical(name: &str) -> Option<&'static str> {
    let plain = name.to_lowercase().replace("dpm++", "dpmpp-").replace(['_', ' '], "-").replace("--", "-");
    let plain = plain.strip_prefix("sample-").unwrap_or(&plain);
    let plain = match plain {
        "ddim" => "euler",
        "euler-a" => "euler-ancestral",
        "dpm-2" => "dpm2",
        "dpm-2-a" | "dpm2-a" | "dpm-2-ancestral" => "dpm2-ancestral",
        "unipc" => "unipc-2",
        other => other,
    };
    NAMES.into_iter().find(|known| *known == plain)
}

/// The solver that the command line calls `name`, one of [`NAMES`] or [another name](canonical) of one.
///
/// Errors on other names, on options that it does not have, and on numbers that make no sense.
pub fn named(name: &str, options: &Options) -> Result<Arc<dyn Solver>> {
    let mut left = *options;
    let solver = build(canonical(name).unwrap_or(name), &mut left)?;
    match first_set(&left) {
        None => Ok(solver),
        Some(option) => Err(Error::Config(format!("{name} has no option {option}; leave it out"))),
    }
}

/// The first of the options set, by its field's name, that the solver called `name` does not have. Errors as [`named`]
/// for every other reason.
pub fn unknown_option(name: &str, options: &Options) -> Result<Option<&'static str>> {
    let mut left = *options;
    build(canonical(name).unwrap_or(name), &mut left)?;
    Ok(first_set(&left))
}

/// Makes the solver of the options that it has, and takes those out.
fn build(name: &str, left: &mut Options) -> Result<Arc<dyn Solver>> {
    check(left)?;
    let o = left;
    let churn = |o: &mut Options| o.churn.take().unwrap_or_default();
    let noise = |o: &mut Options, eta: f64| (o.eta.take().unwrap_or(eta), o.s_noise.take().unwrap_or(1.0));
    let sde = |o: &mut Options| o.sde.take().unwrap_or_default();
    Ok(match name {
        "euler" => Arc::new(Euler { churn: churn(o) }),
        "heun" => Arc::new(Heun { churn: churn(o) }),
        "dpm2" => Arc::new(Dpm2 { churn: churn(o) }),
        "dpm2-ancestral" => {
            let (eta, s_noise) = noise(o, 1.0);
            Arc::new(Dpm2Ancestral { eta, s_noise })
        }
        "euler-ancestral" => {
            let (eta, s_noise) = noise(o, 1.0);
            Arc::new(EulerAncestral { eta, s_noise })
        }
        "dpmpp-2s" => {
            let (eta, s_noise) = noise(o, 0.0);
            Arc::new(DpmPp2S { eta, s_noise })
        }
        "dpmpp-2m" => Arc::new(DpmPp2M),
        "dpmpp-3m" => Arc::new(DpmPp3M),
        "dpmpp-sde" => {
            let (eta, s_noise) = noise(o, 1.0);
            Arc::new(DpmPpSde { eta, s_noise, r: o.r.take().unwrap_or(0.5) })
        }
        "dpmpp-2m-sde" => {
            let (eta, s_noise) = noise(o, 1.0);
            Arc::new(DpmPp2MSde { eta, s_noise, correction: o.correction.take().unwrap_or_default() })
        }
        "dpmpp-3m-sde" => {
            let (eta, s_noise) = noise(o, 1.0);
            Arc::new(DpmPp3MSde { eta, s_noise })
        }
        "unipc-2" => Arc::new(UniPc { order: 2, b: o.b.take().unwrap_or_default() }),
        "unipc-3" => Arc::new(UniPc { order: 3, b: o.b.take().unwrap_or_default() }),
        "ipndm" => Arc::new(Ipndm { order: o.order.take().unwrap_or(4) }),
        "lms" => Arc::new(Lms { order: o.order.take().unwrap_or(4) }),
        "deis" => Arc::new(Deis { order: o.order.take().unwrap_or(3) }),
        "edm-general" => Arc::new(EdmGeneral {
            schedule: o.schedule.take().unwrap_or_default(),
            scaling: o.scaling.take().unwrap_or_default(),
            alpha: Some(o.alpha.take().unwrap_or(1.0)).filter(|alpha| *alpha != 0.0),
            churn: churn(o),
        }),
        "euler-maruyama" => Arc::new(EulerMaruyama { sde: sde(o) }),
        "reverse-diffusion" => Arc::new(ReverseDiffusion { sde: sde(o) }),
        "predictor-corrector" => Arc::new(PredictorCorrector {
            sde: sde(o),
            snr: o.snr.take().unwrap_or(0.16),
            corrector_steps: o.corrector_steps.take().unwrap_or(1),
        }),
        "rk45" => {
            let Rk45 { atol, rtol, max_steps } = Rk45::default();
            Arc::new(Rk45 {
                atol: o.atol.take().unwrap_or(atol),
                rtol: o.rtol.take().unwrap_or(rtol),
                max_steps: o.max_steps.take().unwrap_or(max_steps),
            })
        }
        _ => {
            let known = NAMES.join(", ");
            return Err(Error::Config(format!("`{name}` is no solver; there are {known}")));
        }
    })
}

/// The first option that is set.
fn first_set(o: &Options) -> Option<&'static str> {
    let set = [
        ("churn", o.churn.is_some()),
        ("eta", o.eta.is_some()),
        ("s_noise", o.s_noise.is_some()),
        ("order", o.order.is_some()),
        ("r", o.r.is_some()),
        ("correction", o.correction.is_some()),
        ("b", o.b.is_some()),
        ("schedule", o.schedule.is_some()),
        ("scaling", o.scaling.is_some()),
        ("alpha", o.alpha.is_some()),
        ("sde", o.sde.is_some()),
        ("snr", o.snr.is_some()),
        ("corrector_steps", o.corrector_steps.is_some()),
        ("atol", o.atol.is_some()),
        ("rtol", o.rtol.is_some()),
        ("max_steps", o.max_steps.is_some()),
    ];
    set.into_iter().find(|(_, set)| *set).map(|(name, _)| name)
}

fn check(o: &Options) -> Result<()> {
    if let Some(churn) = &o.churn {
        churn.check()?;
    }
    let numbers = [("eta", o.eta), ("s_noise", o.s_noise), ("snr", o.snr), ("atol", o.atol), ("rtol", o.rtol)];
    for (name, value) in numbers {
        if let Some(value) = value.filter(|value| !(value.is_finite() && *value >= 0.0)) {
            return Err(Error::Config(format!("{name} must be a number not below 0, got {value}")));
        }
    }
    match (o.corrector_steps, o.max_steps) {
        (Some(steps), _) if steps > 1000 => Err(Error::Config(format!("corrector_steps is at most 1000, got {steps}"))),
        (_, Some(0)) => Err(Error::Config("max_steps must be at least 1".into())),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn solvers_are_known_by_what_others_call_them() {
        for (other, name) in [
            ("ddim", "euler"),
            ("euler_a", "euler-ancestral"),
            ("sample_euler_ancestral", "euler-ancestral"),
            ("dpm++2m", "dpmpp-2m"),
            ("DPM++ 2M SDE", "dpmpp-2m-sde"),
            ("dpmpp_3m_sde", "dpmpp-3m-sde"),
            ("sample_dpm_2", "dpm2"),
            ("unipc", "unipc-2"),
        ] {
            assert_eq!(canonical(other), Some(name), "{other}");
            assert!(named(other, &Options::default()).is_ok());
        }
        NAMES.into_iter().for_each(|name| assert_eq!(canonical(name), Some(name)));
        assert!(canonical("magic").is_none() && named("magic", &Options::default()).is_err());
    }
}
