//! Your own tensors, a whole run: settings, checkpoints, log and report in a directory, and the model to sample from.
//!
//! `cargo run --release --example train_your_tensors [DIRECTORY]`

use std::path::PathBuf;

use veridical::data::{DataSet, Images};
use veridical::diffusion::Sampler;
use veridical::metrics::sliced_wasserstein;
use veridical::train::{self, Existing, Observer, RunConfig, RunDir, RunOptions, Started, Tick};
use veridical::{Error, Result};

const POINTS: usize = 4000;

fn main() -> Result<()> {
    // Points on a helix in space. Pictures are [n, height, width, channels]; points are pictures of one pixel.
    let helix: Vec<f32> = (0..POINTS)
        .flat_map(|i| {
            let t = i as f32 / POINTS as f32;
            let angle = 4.0 * std::f32::consts::PI * t;
            [0.7 * angle.cos(), 0.7 * angle.sin(), 1.6 * t - 0.8]
        })
        .collect();
    let images = Images::new(helix.clone(), vec![0; POINTS], [1, 1, 3], 1)?;
    let data = DataSet {
        name: "a helix".into(),
        train: images,
        test: None,
        class_names: Vec::new(),
        reading: Default::default(),
    };

    // A preset, and what is different here; `veridical train --print-config` lists every key.
    let settings = ["train.device=\"cpu\"", "train.batch=256", "train.images=200_000", "train.checkpoint_every=200"];
    let config = RunConfig::build(Some("points"), None, &settings.map(String::from))?;

    // A run that was interrupted goes on where it was; one that is finished has nothing left to do.
    let directory = std::env::args().nth(1).map_or_else(|| PathBuf::from("runs/helix"), PathBuf::from);
    let resume = directory.join("config.toml").is_file();
    let existing = if resume { Existing::Resume } else { Existing::ReplaceRun };
    let place = RunDir::create(&directory, existing)?;
    let outcome =
        train::run(&config, &data, &place, RunOptions { resume, budget: None, ..RunOptions::default() }, &mut Print)?;

    let samples = Sampler::default().sample(&outcome.model, 1, 0, 1000)?.to_vec::<f32>()?;
    let distance = sliced_wasserstein(&samples, &helix, 3, 128, 2.0, 0)?;
    println!("sliced Wasserstein distance of 1000 samples to the helix {distance:.4}");
    println!("see {}", directory.join("report.html").display());
    match distance < 0.1 {
        true => Ok(()),
        false => Err(Error::Config("the model has not learned the helix".into())),
    }
}

/// Looks on while it trains.
struct Print;

impl Observer for Print {
    fn started(&mut self, run: &Started) {
        println!("{} parameters, steps {} to {}", run.parameters, run.first, run.steps);
    }
    fn ticked(&mut self, tick: &Tick, rate: f64, _: u64) {
        if tick.step.is_multiple_of(100) {
            println!("step {:>4}  loss {:.3}  {rate:.0} points a second", tick.step, tick.loss);
        }
    }
    fn note(&mut self, text: &str) {
        println!("{text}");
    }
    fn stop(&mut self) -> bool {
        false
    }
}
