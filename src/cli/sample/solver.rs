//! The flags that choose solver and grid.

use std::str::FromStr;

use veridical::diffusion::sigmas::vp_betas;
use veridical::diffusion::solvers::{
    BFunction, Churn, Correction, NAMES, Options, SampleScale, Schedule, Sde, canonical, named, unknown_option,
};
use veridical::diffusion::{Grid, Model, Sampler};
use veridical::{Error, Result};

use crate::cli::positive;

/// Noise levels above 0, unless --steps says how many.
const STEPS: usize = 18;

/// A solver's name, by whatever it is called.
fn known(text: &str) -> std::result::Result<String, String> {
    match canonical(text) {
        Some(name) => Ok(name.into()),
        None => Err(format!("`{text}` is no solver; there are {}", NAMES.join(", "))),
    }
}

#[derive(clap::Args)]
#[group(skip)] // whose name would be that of the arguments it stands among
#[command(next_help_heading = "Solver")]
pub struct Args {
    /// The solver: euler, heun, dpm2, dpm2-ancestral, euler-ancestral, dpmpp-2s, dpmpp-2m, dpmpp-3m, dpmpp-sde,
    /// dpmpp-2m-sde, dpmpp-3m-sde, unipc-2, unipc-3, ipndm, lms, deis, edm-general, euler-maruyama, reverse-diffusion,
    /// predictor-corrector or rk45; or the name that k-diffusion and diffusers give one, such as ddim, euler_a, dpm++2m
    #[arg(long, default_value = "heun", value_parser = known)]
    pub solver: String,
    /// Noise levels above 0 [default: 18]
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    steps: Option<u32>,
    /// The lowest noise level above 0 [default: 0.002, or the grid's own; at least the model's]
    #[arg(long, value_parser = positive)]
    sigma_min: Option<f64>,
    /// The noise level at the start [default: 80, or the grid's own; at most the model's]
    #[arg(long, value_parser = positive)]
    sigma_max: Option<f64>,
    /// The exponent of the grids karras and polyexponential [default: 7 and 1]
    #[arg(long, value_parser = positive)]
    rho: Option<f64>,
    /// How the levels are spread: karras, exponential, polyexponential, linear, vp, ve, iddpm, or the levels themselves
    /// such as 80,10,1,0.1,0
    #[arg(long, default_value = "karras")]
    grid: GridName,
    /// S_churn: noise before each step, over the whole run (euler, heun, dpm2, edm-general)
    #[arg(long)]
    churn: Option<f64>,
    /// S_min: the lowest level that is churned
    #[arg(long)]
    s_min: Option<f64>,
    /// S_max: the highest level that is churned
    #[arg(long)]
    s_max: Option<f64>,
    /// S_noise: standard deviation of injected noise, relative
    #[arg(long)]
    s_noise: Option<f64>,
    /// Share of the noise of ancestral and SDE solvers: 0 none, 1 all
    #[arg(long)]
    eta: Option<f64>,
    /// All injected noise from one Brownian path, so that runs of different step counts compare [default: for
    /// dpmpp-sde, dpmpp-2m-sde and dpmpp-3m-sde]
    #[arg(long, conflicts_with = "no_brownian")]
    brownian: bool,
    /// Independent noise in every step
    #[arg(long)]
    no_brownian: bool,
    /// Slopes used (lms, deis, ipndm)
    #[arg(long)]
    order: Option<usize>,
    /// Where the second call lies (dpmpp-sde)
    #[arg(long)]
    r: Option<f64>,
    /// The second-order term (dpmpp-2m-sde): midpoint or heun
    #[arg(long, value_parser = ["midpoint", "heun"])]
    correction: Option<String>,
    /// B(h) (unipc): bh1 or bh2
    #[arg(long, value_parser = ["bh1", "bh2"])]
    unipc_b: Option<String>,
    /// sigma(t) (edm-general): vp, ve or linear
    #[arg(long, value_parser = ["vp", "ve", "linear"])]
    schedule: Option<String>,
    /// s(t) (edm-general): vp or none
    #[arg(long, value_parser = ["vp", "none"])]
    scaling: Option<String>,
    /// The second call (edm-general): 1 Heun, 0.5 midpoint, 0.667 Ralston, 0 for Euler steps
    #[arg(long)]
    alpha: Option<f64>,
    /// The forward process (euler-maruyama, reverse-diffusion, predictor-corrector): vp or ve
    #[arg(long, value_parser = ["vp", "ve"])]
    sde: Option<String>,
    /// Signal-to-noise ratio (predictor-corrector)
    #[arg(long)]
    snr: Option<f64>,
    /// Langevin steps at each level (predictor-corrector)
    #[arg(long)]
    corrector_steps: Option<usize>,
    /// Absolute and relative tolerance of a step (rk45)
    #[arg(long, value_parser = positive)]
    tolerance: Option<f64>,
}

/// `--grid`, before `--rho` is known.
#[derive(Clone)]
enum GridName {
    Named(&'static str),
    Given(Vec<f64>),
}

impl FromStr for GridName {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        let names = ["karras", "exponential", "polyexponential", "linear", "vp", "ve", "iddpm"];
        if let Some(name) = names.into_iter().find(|name| *name == text) {
            return Ok(GridName::Named(name));
        }
        let levels: std::result::Result<Vec<f64>, _> = text.split(',').map(|level| level.trim().parse()).collect();
        match levels {
            Ok(levels)
                if levels.len() >= 2
                    && levels.windows(2).all(|pair| pair[0] > pair[1])
                    && levels.iter().all(|level| level.is_finite() && *level >= 0.0) =>
            {
                Ok(GridName::Given(levels))
            }
            Ok(_) => Err("noise levels must be at least two, finite, not below 0, and fall".into()),
            Err(_) => {
                Err(format!("`{text}` is no grid; there are {}, or levels with commas between them", names.join(", ")))
            }
        }
    }
}

impl Args {
    /// The sampler that the flags ask for, for this model. Errors on what contradicts itself.
    pub fn sampler(&self, model: &Model) -> Result<Sampler> {
        let grid = self.grid()?;
        let (low, high) = match self.grid {
            GridName::Named("ve") => (0.02, 100.0),
            _ => grid.default_range(),
        };
        let (least, most) = model.denoiser().sigma_range();
        let sigma_min = self.sigma_min.unwrap_or(low).max(least);
        let sigma_max = self.sigma_max.unwrap_or(high).min(most);
        let options = self.options((sigma_min, sigma_max));
        if let Some(option) = unknown_option(&self.solver, &options)? {
            return Err(Error::Config(format!("{} has no {}; leave it out", self.solver, self.flag(option))));
        }
        let solver = named(&self.solver, &options)?;
        let steps = self.steps.map_or(STEPS, |steps| steps as usize);
        let brownian = (self.brownian || self.no_brownian).then_some(self.brownian);
        let sampler = Sampler { solver, grid, steps, sigma_min, sigma_max, brownian, ..Sampler::default() };
        sampler.sigmas(model, None).map_err(|error| Error::Config(error.to_string()))?;
        Ok(sampler)
    }

    fn grid(&self) -> Result<Grid> {
        let name = match &self.grid {
            GridName::Given(levels) => {
                let range = [self.sigma_min, self.sigma_max, self.rho];
                if range.iter().any(Option::is_some) || self.steps.is_some() {
                    return Err(Error::Config(
                        "--grid lists the levels: leave out --steps, --sigma-min, --sigma-max and --rho".into(),
                    ));
                }
                return Ok(Grid::Given(levels.clone()));
            }
            GridName::Named(name) => *name,
        };
        match (name, self.rho) {
            ("karras", rho) => Ok(Grid::Karras { rho: rho.unwrap_or(7.0) }),
            ("polyexponential", rho) => Ok(Grid::Polyexponential { rho: rho.unwrap_or(1.0) }),
            (_, Some(_)) => Err(Error::Config(format!("the grid {name} has no --rho"))),
            ("linear", _) => Ok(Grid::Linear),
            ("vp", _) => Ok(Grid::Vp { eps_s: 1e-3 }),
            ("iddpm", _) => Ok(Grid::Iddpm),
            _ => Ok(Grid::Exponential),
        }
    }

    /// The flag, as it was given, behind an option of [`Options`].
    fn flag(&self, option: &str) -> String {
        match option {
            "churn" if self.churn.is_some() => "--churn".into(),
            "churn" if self.s_min.is_some() => "--s-min".into(),
            "churn" => "--s-max".into(),
            "b" => "--unipc-b".into(),
            "atol" | "rtol" => "--tolerance".into(),
            same => format!("--{}", same.replace('_', "-")),
        }
    }

    fn options(&self, (sigma_min, sigma_max): (f64, f64)) -> Options {
        let churns = ["euler", "heun", "dpm2", "edm-general"].contains(&self.solver.as_str());
        let churn_set = self.churn.is_some() || self.s_min.is_some() || self.s_max.is_some();
        let none = Churn::default();
        let churn = (churn_set || (churns && self.s_noise.is_some())).then(|| Churn {
            amount: self.churn.unwrap_or(none.amount),
            s_min: self.s_min.unwrap_or(none.s_min),
            s_max: self.s_max.unwrap_or(none.s_max),
            s_noise: self.s_noise.unwrap_or(none.s_noise),
        });
        let is = |flag: &Option<String>, name: &str| flag.as_ref().map(|flag| flag == name);
        // As EDM does: the schedule's betas follow from the range.
        let (beta_d, beta_min) = vp_betas(sigma_min, sigma_max, 1e-3);
        Options {
            churn,
            eta: self.eta,
            s_noise: self.s_noise.filter(|_| !churns),
            order: self.order,
            r: self.r,
            correction: is(&self.correction, "heun")
                .map(|heun| if heun { Correction::Heun } else { Correction::Midpoint }),
            b: is(&self.unipc_b, "bh1").map(|bh1| if bh1 { BFunction::Bh1 } else { BFunction::Bh2 }),
            schedule: self.schedule.as_deref().map(|name| match name {
                "vp" => Schedule::Vp { beta_d, beta_min },
                "ve" => Schedule::Ve,
                _ => Schedule::Linear,
            }),
            scaling: is(&self.scaling, "vp").map(|vp| if vp { SampleScale::Vp } else { SampleScale::None }),
            alpha: self.alpha,
            sde: is(&self.sde, "ve").map(|ve| if ve { Sde::Ve } else { Sde::VP }),
            snr: self.snr,
            corrector_steps: self.corrector_steps,
            atol: self.tolerance,
            rtol: self.tolerance,
            max_steps: None,
        }
    }
}
