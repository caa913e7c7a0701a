//! The command line: flags in, library calls, results on standard output, everything else on standard error.
//!
//! Exit codes: 0 done, 1 failed at run time, 2 asked for something impossible, 130 stopped by Ctrl-C, SIGTERM or SIGHUP
//! (its files are complete all the same).

mod bench;
mod classifier;
mod collapse;
mod data;
mod demo;
mod denoise;
mod destination;
mod device;
mod ema;
mod evaluate;
mod info;
mod interrupt;
mod likelihood;
mod methods;
mod model;
mod noise;
mod output;
mod progress;
mod sample;
mod stack;
mod train;
mod words;

use std::io::Write;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use veridical::escape::escaped_lines;
use veridical::{DType, Error, Result, threads};

/// Learn the true data distribution, even when the data you have is not it.
#[derive(Parser)]
#[command(name = "veridical", version, arg_required_else_help = true, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Demo(demo::Args),
    Train(train::Args),
    Sfbd(methods::sfbd::Args),
    Ambient(methods::ambient::Args),
    Csc(methods::csc::Args),
    Kdgan(methods::kdgan::Args),
    TripleGan(methods::triple_gan::Args),
    Ema(ema::Args),
    Bench(bench::Args),
    Denoise(Box<denoise::Args>),
    Noise(noise::Args),
    Evaluate(evaluate::Args),
    Classifier(classifier::Args),
    Collapse(Box<collapse::Args>),
    Info(info::Args),
    Sample(Box<sample::Args>),
    Likelihood(likelihood::Args),
}

/// How a command ended that did not fail.
pub enum Ended {
    Done,
    Interrupted,
}

impl Ended {
    /// The exit code of what a SIGINT stopped, so that `veridical ... && next` does not go on.
    pub const INTERRUPTED: u8 = 130;
}

pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(usage) => {
            // Help and version go to standard output and are no failure; clap knows which it is.
            let _ = usage.print();
            return ExitCode::from(if usage.use_stderr() { 2 } else { 0 });
        }
    };
    interrupt::catch();
    match threads::start().and_then(|notes| run(cli.command, &notes)) {
        Ok(Ended::Done) => ExitCode::SUCCESS,
        Ok(Ended::Interrupted) => ExitCode::from(Ended::INTERRUPTED),
        Err(Error::Stopped) => {
            progress::note("stopped before the first new step");
            ExitCode::from(Ended::INTERRUPTED)
        }
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "error: {}", escaped_lines(&error.to_string()));
            ExitCode::from(exit_code(&error))
        }
    }
}

/// Does what a command says, after what there is to say of the threads.
fn run(command: Command, notes: &[String]) -> Result<Ended> {
    notes.iter().for_each(|note| progress::note(note));
    match command {
        Command::Demo(args) => demo::run(args),
        Command::Train(args) => train::run(args),
        Command::Sfbd(args) => methods::sfbd::run(args),
        Command::Ambient(args) => methods::ambient::run(args),
        Command::Csc(args) => methods::csc::run(args),
        Command::Kdgan(args) => methods::kdgan::run(args),
        Command::TripleGan(args) => methods::triple_gan::run(args),
        Command::Ema(args) => ema::run(args),
        Command::Bench(args) => bench::run(args),
        Command::Denoise(args) => denoise::run(*args),
        Command::Noise(args) => noise::run(args),
        Command::Evaluate(args) => evaluate::run(args),
        Command::Classifier(args) => classifier::run(args),
        Command::Collapse(args) => collapse::run(*args),
        Command::Info(args) => info::run(args),
        Command::Sample(args) => sample::run(*args),
        Command::Likelihood(args) => likelihood::run(args),
    }
}

/// What better arguments would have avoided is 2, everything else 1.
fn exit_code(error: &Error) -> u8 {
    match error {
        Error::Config(_) => 2,
        _ => 1,
    }
}

/// A number of a flag that must be finite and above 0.
fn positive(text: &str) -> std::result::Result<f64, String> {
    match text.parse::<f64>() {
        Ok(number) if number.is_finite() && number > 0.0 => Ok(number),
        _ => Err("it must be a finite number above 0".into()),
    }
}

/// The dtype of `--compute`, which clap has checked.
fn compute(name: &str) -> DType {
    if name == "bf16" { DType::BF16 } else { DType::F32 }
}

/// Writes a line of results, in which nothing that stood in a file acts on the terminal. A reader that went away
/// (`veridical demo | head -1`) is its own business.
fn say(line: &str) -> Result<()> {
    match writeln!(std::io::stdout(), "{}", escaped_lines(line)) {
        Err(e) if e.kind() != std::io::ErrorKind::BrokenPipe => Err(Error::io("standard output", e)),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::Cli;

    #[test]
    fn every_flag_says_what_it_is_for() {
        Cli::command().debug_assert();
        for command in Cli::command().get_subcommands() {
            for flag in command.get_arguments() {
                let help = flag.get_help().map(ToString::to_string).unwrap_or_default();
                assert!(!help.is_empty(), "{} {}: no help", command.get_name(), flag.get_id());
            }
        }
    }
}
