//! `veridical collapse`: what becomes of a model family that is trained on its own samples.

mod args;
mod results;

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

pub use args::Args;
use results::Results;
use veridical::data::Text;
use veridical::data::synthetic::Density;
use veridical::methods::self_consuming::families::{
    Bandwidth, Categorical, Diffusion, DiffusionTraining, Gaussian, GaussianMixture, KernelDensity, LanguageModel,
    LanguageTraining, LinearRegression, Mixture, Ngram,
};
use veridical::methods::self_consuming::{Family, Law, Plan, Settings, Widening, simulate, verdict};
use veridical::nn::TransformerConfig;
use veridical::{Device, Error, Result};

use super::output::{self, Form};
use super::progress::Progress;
use super::{Ended, interrupt, say};

pub fn run(args: Args) -> Result<Ended> {
    let device = Device::named(&args.device)?;
    args.check()?;
    output::check([("--json", Form::Json, args.json.as_ref())])?;
    let seed = args.seed;
    match args.family.as_str() {
        "categorical" => {
            let family = match args.zipf {
                Some(exponent) => Categorical::zipf(args.vocab, exponent)?,
                None => Categorical::random(args.vocab, seed)?,
            };
            go(&args, &family, Some(family.law()))
        }
        "bigram" => go(&args, &Ngram::random(args.vocab, 2, seed)?, None),
        "ngram" => go(&args, &Ngram::random(args.vocab, args.order, seed)?, None),
        "gaussian" => {
            let family = Gaussian::new(args.dims)?;
            go(&args, &family, Some(family.law()))
        }
        "gmm" => {
            let family = GaussianMixture::new(mixture(&args)?, args.em_steps, seed)?;
            go(&args, &family, Some(family.law()))
        }
        "kde" => {
            let bandwidth =
                match args.bandwidth.as_str() {
                    "scott" => Bandwidth::Scott,
                    number => Bandwidth::Fixed(number.parse().map_err(|_| {
                        Error::Config(format!("--bandwidth `{number}` is neither a number nor `scott`"))
                    })?),
                };
            let family = KernelDensity::new(mixture(&args)?, bandwidth, seed)?;
            go(&args, &family, Some(family.law()))
        }
        "regression" => go(&args, &LinearRegression::new(args.dims, args.noise)?, None),
        "transformer" => {
            let path = args
                .text
                .as_ref()
                .ok_or_else(|| Error::Config("the family transformer learns a text: give --text FILE".into()))?;
            let config = TransformerConfig {
                width: args.width,
                layers: args.layers,
                heads: args.heads,
                ..TransformerConfig::new(1, args.context)
            };
            let defaults = LanguageTraining::default();
            let training = LanguageTraining {
                steps: args.steps.unwrap_or(defaults.steps),
                batch: args.batch.unwrap_or(defaults.batch),
                learning_rate: args.lr.unwrap_or(defaults.learning_rate),
            };
            go(&args, &LanguageModel::new(Text::read(path)?, config, training, seed, &device)?, None)
        }
        name => {
            let defaults = DiffusionTraining::default();
            let training = DiffusionTraining {
                steps: args.steps.unwrap_or(defaults.steps),
                batch: args.batch.unwrap_or(defaults.batch),
                learning_rate: args.lr.unwrap_or(defaults.learning_rate),
            };
            let family = match name {
                "diffusion-points" => Diffusion::points(Density::named(&args.density)?, training, seed, &device)?,
                _ => Diffusion::digits(training, seed, &device)?,
            };
            go(&args, &family, None)
        }
    }
}

fn mixture(args: &Args) -> Result<Mixture> {
    Mixture::circle(args.components, args.dims, args.deviation)
}

/// Plans, simulates and shows.
fn go<F: Family>(args: &Args, family: &F, law: Option<Law>) -> Result<Ended> {
    let started = Instant::now();
    let plan = Plan::new(args.arm()?, args.rounds, &args.fresh, &args.samples, law.as_ref())?;
    let run = match &args.out {
        Some(path) => {
            let _writing = interrupt::writing();
            Some(output::claimed(path, args.overwrite)?)
        }
        None => None,
    };
    let repeats = args.repeats();
    let total = u64::from(repeats) * plan.rounds().len() as u64;
    let (done, progress) = (AtomicU64::new(0), Mutex::new(Progress::new("rounds", total)));
    let settings = Settings {
        repeats,
        seed: args.seed,
        memory: (args.memory * 1e9) as u128,
        progress: &|| {
            let done = done.fetch_add(1, Ordering::Relaxed) + 1;
            // Whoever finds the bar taken leaves it to the next round; the last one waits.
            let bar = if done == total { progress.lock().ok() } else { progress.try_lock().ok() };
            if let Some(mut bar) = bar {
                bar.tick(done, None);
            }
        },
    };
    let found = simulate(family, &plan, &settings)?;
    if let Ok(bar) = progress.into_inner() {
        bar.finish();
    }
    let exact = law.filter(|law| law.widening == Widening::None);
    let judged = match (exact, args.on_the_mixture()) {
        (Some(law), true) => verdict(&args.fresh, &args.samples, law.variance).ok().map(|verdict| verdict.to_string()),
        _ => None,
    };
    let variance = law.map(|law| law.variance);
    let results =
        Results { args, plan: &plan, found, variance, verdict: judged, seconds: started.elapsed().as_secs_f64() };
    let _writing = interrupt::writing();
    if let Some(path) = &args.json {
        results.write_json(path)?;
    }
    if let Some(run) = &run {
        run.clear_earlier()?;
        results.write_run(run)?;
    }
    say(&results.summary())?;
    if let Some(run) = &run {
        say(&format!("see {}", run.path().join("report.html").display()))?;
    }
    Ok(interrupt::ended())
}
