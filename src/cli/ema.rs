//! `veridical ema`: averages of a run's weights that were not kept while it ran.

use std::path::PathBuf;

use veridical::train::snapshots;
use veridical::{Error, Result};

use super::output::{self, Form};
use super::{Ended, interrupt, model, say};

/// Reconstruct averaged weights of any width from the snapshots of a run.
///
/// The run must have been trained with average.power (two widths, such as [0.05, 0.1]) and average.snapshot_every. A
/// width is the standard deviation of the average's profile, relative to the length of the run (Karras et al. 2023).
#[derive(clap::Args)]
pub struct Args {
    /// Directory of the run, or a model file in it
    #[arg(long, visible_alias = "model")]
    run: PathBuf,
    /// Widths, between 0 and 0.3, separated by commas
    #[arg(long, value_delimiter = ',', required = true)]
    std: Vec<f64>,
    /// The time, in images seen, at which the averages end; without it the last snapshot's
    #[arg(long)]
    images: Option<u64>,
    /// Where to write the model; with several widths, each is added to the name
    #[arg(long, visible_alias = "out", value_name = "FILE")]
    output: PathBuf,
}

pub fn run(args: Args) -> Result<Ended> {
    if let Some(bad) = args.std.iter().find(|std| !(**std > 0.0 && **std < 0.3)) {
        return Err(Error::Config(format!("--std {bad}: widths lie between 0 and 0.3")));
    }
    let name = args.output.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let path = |std: &f64| match args.std.len() {
        1 => args.output.clone(),
        _ => args.output.with_file_name(format!("{name}-{std}.safetensors")),
    };
    let paths: Vec<PathBuf> = args.std.iter().map(path).collect();
    output::check(paths.iter().map(|path| ("--output", Form::Tensors, Some(path))))?;
    let run = model::run(&args.run);
    let outputs: Vec<_> = paths.iter().map(|path| ("--output", path.as_path())).collect();
    let kept = snapshots::list(run)?;
    let inputs = kept.iter().map(|(_, path)| path.as_path()).chain([&*args.run, run]);
    output::apart(&outputs, inputs.map(|path| ("--run", path)))?;
    for (std, path) in args.std.iter().zip(&paths) {
        if interrupt::requested() {
            break;
        }
        let model = snapshots::reconstruct(run, *std, args.images)?;
        let _writing = interrupt::writing();
        model.save(path)?;
        say(&format!("{std} {}", path.display()))?;
    }
    Ok(interrupt::ended())
}
