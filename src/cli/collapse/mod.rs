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
use super::{Ended, flags, interrupt, say};

pub fn run(args: Args) -> Result<Ended> {
    output::check([("--json", Form::Json, args.json.as_ref())])?;
    let mut run = None;
    let results = results(&args, &mut |rounds| {
        if let Some(path) = &args.out {
            let _writing = interrupt::writing();
            run = Some(output::claimed(path, args.overwrite)?);
        }
        Ok(Some(Progress::new("rounds", rounds)))
    })?;
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

/// What `--json` holds, for these flags. Errors on those that name files.
pub fn simulated(given: &[String]) -> Result<serde_json::Value> {
    let args: Args = flags(given)?;
    if args.json.is_some() || args.out.is_some() || args.overwrite {
        let what = "--json, --out and --overwrite are of files, and here the result is returned; leave them out";
        return Err(Error::Config(what.into()));
    }
    Ok(results(&args, &mut |_| Ok(None))?.json())
}

/// What is done once it is known that so many rounds can be simulated; it may return a bar that shows them.
type Begin<'a> = &'a mut dyn FnMut(u64) -> Result<Option<Progress>>;

fn results<'a>(args: &'a Args, begin: Begin) -> Result<Results<'a>> {
    let device = Device::named(&args.device)?;
    args.check()?;
    let seed = args.seed;
    match args.family.as_str() {
        "categorical" => {
            let family = match args.zipf {
                Some(exponent) => Categorical::zipf(args.vocab, exponent)?,
                None => Categorical::random(args.vocab, seed)?,
            };
            simulated_by(begin, args, &family, Some(family.law()))
        }
        "bigram" => simulated_by(begin, args, &Ngram::random(args.vocab, 2, seed)?, None),
        "ngram" => simulated_by(begin, args, &Ngram::random(args.vocab, args.order, seed)?, None),
        "gaussian" => {
            let family = Gaussian::new(args.dims)?;
            simulated_by(begin, args, &family, Some(family.law()))
        }
        "gmm" => {
            let family = GaussianMixture::new(mixture(args)?, args.em_steps, seed)?;
            simulated_by(begin, args, &family, Some(family.law()))
        }
        "kde" => {
            let bandwidth =
                match args.bandwidth.as_str() {
                    "scott" => Bandwidth::Scott,
                    number => Bandwidth::Fixed(number.parse().map_err(|_| {
                        Error::Config(format!("--bandwidth `{number}` is neither a number nor `scott`"))
                    })?),
                };
            let family = KernelDensity::new(mixture(args)?, bandwidth, seed)?;
            simulated_by(begin, args, &family, Some(family.law()))
        }
        "regression" => simulated_by(begin, args, &LinearRegression::new(args.dims, args.noise)?, None),
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
            simulated_by(begin, args, &LanguageModel::new(Text::read(path)?, config, training, seed, &device)?, None)
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
            simulated_by(begin, args, &family, None)
        }
    }
}

fn mixture(args: &Args) -> Result<Mixture> {
    Mixture::circle(args.components, args.dims, args.deviation)
}

/// Plans and simulates.
fn simulated_by<'a, F: Family>(begin: Begin, args: &'a Args, family: &F, law: Option<Law>) -> Result<Results<'a>> {
    let started = Instant::now();
    let plan = Plan::new(args.arm()?, args.rounds, &args.fresh, &args.samples, law.as_ref())?;
    let repeats = args.repeats();
    let total = u64::from(repeats) * plan.rounds().len() as u64;
    let (done, progress) = (AtomicU64::new(0), Mutex::new(begin(total)?));
    let settings = Settings {
        repeats,
        seed: args.seed,
        memory: (args.memory * 1e9) as u128,
        progress: &|| {
            let done = done.fetch_add(1, Ordering::Relaxed) + 1;
            // Whoever finds the bar taken leaves it to the next round; the last one waits.
            let mut bar = if done == total { progress.lock().ok() } else { progress.try_lock().ok() };
            if let Some(bar) = bar.as_deref_mut().and_then(Option::as_mut) {
                bar.tick(done, None);
            }
        },
    };
    let found = simulate(family, &plan, &settings)?;
    if let Ok(Some(bar)) = progress.into_inner() {
        bar.finish();
    }
    let exact = law.filter(|law| law.widening == Widening::None);
    let verdict = match (exact, args.on_the_mixture()) {
        (Some(law), true) => verdict(&args.fresh, &args.samples, law.variance).ok().map(|verdict| verdict.to_string()),
        _ => None,
    };
    let variance = law.map(|law| law.variance);
    Ok(Results { args, plan, found, variance, verdict, seconds: started.elapsed().as_secs_f64() })
}
