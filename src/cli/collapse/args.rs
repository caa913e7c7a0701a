//! The flags of `veridical collapse`.

use std::path::PathBuf;

use serde::{Serialize, Serializer};
use veridical::escape::escaped;
use veridical::methods::self_consuming::{Arm, Schedule, Weight};
use veridical::{Error, Result};

use crate::cli::device;

/// See what becomes of a model family that is trained on its own samples.
///
/// Each round draws samples from a mixture of the truth and the last round's model, fits a new model and measures it;
/// many repeats, beside the exact theory where there is one (Bakshi & Chakraborty 2026). Schedules: `A` (constant),
/// `A:power=P` (sizes A (t+1)^P, shares A t^P), `A:power=P,offset=B` (A (t+B)^P), `A:ratio=Q` (geometric), `A,B,C` (a
/// list), `adaptive:target=R,max=M`.
#[derive(clap::Args, Serialize)]
pub struct Args {
    /// The model family
    #[arg(long, default_value = "categorical", value_parser = [
        "categorical", "bigram", "ngram", "gaussian", "gmm", "kde", "regression", "transformer", "diffusion-points", "diffusion-digits",
    ])]
    pub family: String,
    /// What each round's model is fitted on: replace (own samples only), mixture, stratified, accumulate, anchor,
    /// weighted, filter
    #[arg(long, default_value = "mixture", value_parser = [
        "replace", "mixture", "stratified", "accumulate", "anchor", "weighted", "filter",
    ])]
    pub arm: String,
    /// Rounds after the first fit
    #[arg(long, default_value_t = 20)]
    pub rounds: usize,
    /// Samples of a round, a schedule from round 0 on
    #[arg(long, default_value = "100", value_name = "SCHEDULE", allow_hyphen_values = true)]
    #[serde(serialize_with = "as_text")]
    pub samples: Schedule,
    /// The share of fresh real data, a schedule from round 1 on
    #[arg(long, default_value = "0", value_name = "SCHEDULE", allow_hyphen_values = true)]
    #[serde(serialize_with = "as_text")]
    pub fresh: Schedule,
    /// Independent repeats [default: 100; 1 for networks]
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=10_000_000))]
    repeats: Option<u32>,
    /// Makes everything random, the truth too
    #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(u64).range(..=i64::MAX as u64))]
    pub seed: u64,
    /// Real samples that the arm `anchor` keeps
    #[arg(long, default_value_t = 100, value_name = "N")]
    pub anchor: u64,
    /// Weight of the real samples together in the arm `weighted`, or `optimal` (0.618 for equal counts)
    #[arg(long, default_value = "optimal", value_name = "optimal|W")]
    pub weight: String,
    /// Probability that the arm `filter` keeps a real sample
    #[arg(long, default_value_t = 1.0, value_name = "P")]
    pub keep_real: f64,
    /// Probability that the arm `filter` keeps a synthetic sample
    #[arg(long, default_value_t = 0.5, value_name = "P")]
    pub keep_synthetic: f64,
    /// Tokens (categorical, bigram, ngram)
    #[arg(long, default_value_t = 50)]
    pub vocab: usize,
    /// A truth with weights 1 / rank^EXPONENT instead of a random one (categorical)
    #[arg(long, value_name = "EXPONENT")]
    pub zipf: Option<f64>,
    /// Tokens that an n-gram is made of (ngram)
    #[arg(long, default_value_t = 3)]
    pub order: u32,
    /// Dimensions (gaussian, gmm, kde, regression)
    #[arg(long, default_value_t = 2)]
    pub dims: usize,
    /// Components of the true mixture, on a circle of radius 1 (gmm, kde)
    #[arg(long, default_value_t = 8)]
    pub components: usize,
    /// Their standard deviation (gmm, kde)
    #[arg(long, default_value_t = 0.1)]
    pub deviation: f64,
    /// Steps of EM a round (gmm)
    #[arg(long, default_value_t = 20)]
    pub em_steps: usize,
    /// Bandwidth of the kernel, a number or `scott` (kde)
    #[arg(long, default_value = "scott", value_name = "scott|H")]
    pub bandwidth: String,
    /// Standard deviation of the labels' noise (regression)
    #[arg(long, default_value_t = 0.5)]
    pub noise: f64,
    /// The text to learn, UTF-8; its last tenth is held out (transformer)
    #[arg(long, visible_alias = "data", value_name = "FILE")]
    #[serde(serialize_with = "as_name")]
    pub text: Option<PathBuf>,
    /// Characters of a sample (transformer)
    #[arg(long, default_value_t = 64)]
    pub context: usize,
    /// Channels of a character (transformer)
    #[arg(long, default_value_t = 64)]
    pub width: usize,
    /// Blocks (transformer)
    #[arg(long, default_value_t = 2)]
    pub layers: usize,
    /// Heads of attention (transformer)
    #[arg(long, default_value_t = 4)]
    pub heads: usize,
    /// gaussian, mixture, two-moons, swiss-roll or checkerboard (diffusion-points)
    #[arg(long, default_value = "mixture")]
    pub density: String,
    /// Training steps of each fit [default: 400 (transformer), 600 (diffusion)]
    #[arg(long)]
    pub steps: Option<u64>,
    /// Samples of a training step [default: 32 (transformer), 64 (diffusion)]
    #[arg(long)]
    pub batch: Option<usize>,
    /// Learning rate [default: 0.003]
    #[arg(long)]
    pub lr: Option<f64>,
    /// Gigabytes that the samples may take
    #[arg(long, default_value_t = 8.0, value_name = "GB")]
    pub memory: f64,
    /// Where networks compute: cpu, cuda, cuda:N, emulator, or best
    #[arg(long, default_value = "best", value_parser = device::name)]
    pub device: String,
    /// Write the result as JSON
    #[arg(long, value_name = "FILE")]
    #[serde(skip)]
    pub json: Option<PathBuf>,
    /// Directory for report, chart and figures; an earlier run's is replaced
    #[arg(long, visible_alias = "output", value_name = "DIR")]
    #[serde(skip)]
    pub out: Option<PathBuf>,
    /// Write into --out even if it holds other files
    #[arg(long)]
    #[serde(skip)]
    pub overwrite: bool,
}

/// A path, which need not be UTF-8.
fn as_name<S: Serializer>(path: &Option<PathBuf>, serializer: S) -> std::result::Result<S::Ok, S::Error> {
    match path {
        Some(path) => serializer.collect_str(&escaped(path)),
        None => serializer.serialize_none(),
    }
}

fn as_text<S: Serializer>(schedule: &Schedule, serializer: S) -> std::result::Result<S::Ok, S::Error> {
    serializer.collect_str(schedule)
}

impl Args {
    /// What clap cannot know.
    pub fn check(&self) -> Result<()> {
        if self.arm == "replace" && self.fresh != Schedule::Constant(0.0) {
            let what = "--arm replace trains on own samples only; leave --fresh out, or choose --arm mixture";
            return Err(Error::Config(what.into()));
        }
        if self.zipf.is_some_and(|exponent| !exponent.is_finite()) {
            return Err(Error::Config("--zipf must be a finite number".into()));
        }
        if !(self.memory > 0.0 && self.memory.is_finite()) {
            return Err(Error::Config(format!("--memory {}: give a positive number of gigabytes", self.memory)));
        }
        if self.lr.is_some_and(|lr| !(lr > 0.0 && lr.is_finite())) {
            return Err(Error::Config("--lr must be a positive number".into()));
        }
        Ok(())
    }

    /// Networks take minutes a fit, everything else far less.
    pub fn repeats(&self) -> u32 {
        let network = self.family == "transformer" || self.family.starts_with("diffusion");
        self.repeats.unwrap_or(if network { 1 } else { 100 })
    }

    pub fn arm(&self) -> Result<Arm> {
        Ok(match self.arm.as_str() {
            "stratified" => Arm::Stratified,
            "accumulate" => Arm::Accumulate,
            "anchor" => Arm::Anchor { real: self.anchor },
            "weighted" => {
                Arm::Weighted(match self.weight.as_str() {
                    "optimal" => Weight::Optimal,
                    number => Weight::Fixed(number.parse().map_err(|_| {
                        Error::Config(format!("--weight `{number}` is neither a number nor `optimal`"))
                    })?),
                })
            }
            "filter" => Arm::Filter { keep_real: self.keep_real, keep_synthetic: self.keep_synthetic },
            _ => Arm::Mixture,
        })
    }

    /// Whether the long run is that of the plain mixture.
    pub fn on_the_mixture(&self) -> bool {
        matches!(self.arm.as_str(), "mixture" | "replace")
    }
}
