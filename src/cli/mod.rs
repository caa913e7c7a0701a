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
mod doctor;
mod ema;
mod evaluate;
mod examples;
mod info;
mod interrupt;
mod likelihood;
mod methods;
mod model;
mod noise;
mod output;
mod progress;
mod ranks;
mod sample;
mod serve;
mod shell;
mod stack;
mod train;
mod version;
mod words;

use std::ffi::OsString;
use std::io::Write;
use std::sync::atomic::{AtomicBool, Ordering};

use clap::builder::PossibleValuesParser;
use clap::error::ErrorKind;
use clap::{ArgAction, CommandFactory, FromArgMatches, Parser, Subcommand};
use examples::EXAMPLES;
use veridical::escape::escaped_lines;
use veridical::methods::{kdgan, presets, triple_gan};
use veridical::{DType, Error, Result, threads};

/// Learn the true data distribution, even when the data you have is not it.
#[derive(Parser)]
#[command(
    name = "veridical",
    version,
    disable_version_flag = true,
    arg_required_else_help = true,
    max_term_width = 100
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
    /// No progress and no accounts on standard error: errors and results alone
    #[arg(short, long, global = true, display_order = 1000)]
    quiet: bool,
    /// Print the version; --version also commit, features and kernels of this build
    #[arg(short = 'V', long, action = ArgAction::Version)]
    version: Option<bool>,
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
    Serve(serve::Args),
    Doctor(doctor::Args),
    Completions(shell::CompletionsArgs),
    Man(shell::ManArgs),
}

// What the Python package takes of the command, besides all of it.
pub use collapse::simulated;
pub use data::{for_model_file, in_units_of_model};
pub use model::newest;
pub use output::outside;
pub use sample::sampler;
pub use train::{budget, directory, fitting, own_preset};

/// What these flags say, of some that a command has; for programs whose keywords they are.
fn flags<A: clap::Args>(flags: &[String]) -> Result<A> {
    let command = A::augment_args(clap::Command::new("flags").no_binary_name(true).disable_help_flag(true));
    let found = command.try_get_matches_from(flags).and_then(|found| A::from_arg_matches(&found));
    found.map_err(|error| {
        // What follows is how the command is used.
        let text = error.render().to_string();
        let text = text.split("\n\nUsage:").next().unwrap_or_default().split("\n\nFor more").next().unwrap_or_default();
        Error::Config(text.trim().trim_start_matches("error: ").into())
    })
}

/// How a command ended that did not fail.
pub enum Ended {
    Done,
    Interrupted,
    /// Processes that the command started failed with this exit code, and have said why.
    Failed(u8),
}

impl Ended {
    /// The exit code of what a SIGINT stopped, so that `veridical ... && next` does not go on.
    pub const INTERRUPTED: u8 = 130;
}

/// Does what the arguments say, of which the first is the name of the program, and returns the exit code. It is for a
/// process that does nothing else: signals are the command's from here on. `commit` is what the program was built from,
/// if it knows it.
pub fn command(args: impl IntoIterator<Item = OsString>, commit: Option<&'static str>) -> u8 {
    version::is_of(commit);
    let args: Vec<OsString> = args.into_iter().collect();
    let parsed = whole().try_get_matches_from(&args).and_then(|found| Cli::from_arg_matches(&found));
    let cli = match parsed {
        Ok(cli) => cli,
        Err(asked) if asked.kind() == ErrorKind::DisplayVersion && args.iter().any(|arg| arg == "--version") => {
            return if say(&version::long()).is_ok() { 0 } else { 1 };
        }
        Err(usage) => {
            // Help and version go to standard output and are no failure; clap knows which it is.
            let _ = usage.print();
            return if usage.use_stderr() { 2 } else { 0 };
        }
    };
    if cli.quiet {
        progress::be_quiet();
    }
    interrupt::catch();
    let ended = threads::start_here().and_then(|notes| run(cli.command, &notes));
    let rank = ranks::rank();
    ranks::leave(ended.as_ref().err());
    match ended {
        Ok(Ended::Done) => 0,
        Ok(Ended::Interrupted) => Ended::INTERRUPTED,
        Ok(Ended::Failed(code)) => code,
        Err(Error::Stopped) => {
            progress::warn("stopped before the first new step");
            Ended::INTERRUPTED
        }
        Err(error) => {
            // Whoever reads the output of all ranks sees whose line it is.
            let whose = rank.map_or_else(String::new, |rank| format!("rank {rank}: "));
            // In one piece, whoever else writes there.
            let line = format!("error: {whose}{}\n", escaped_lines(&error.to_string()));
            let _ = std::io::stderr().write_all(line.as_bytes());
            exit_code(&error)
        }
    }
}

/// The command with all that is known of it.
fn whole() -> clap::Command {
    let presets: [(&str, &'static [&'static str]); 5] = [
        ("sfbd", &presets::NOISY),
        ("ambient", &presets::NOISY),
        ("csc", &presets::CSC),
        ("kdgan", &kdgan::presets::NAMES),
        ("triple-gan", &triple_gan::presets::NAMES),
    ];
    let command = presets.into_iter().fold(Cli::command(), |command, (name, presets)| {
        let named = |preset: clap::Arg| preset.value_parser(PossibleValuesParser::new(presets));
        command.mut_subcommand(name, |command| command.mut_arg("preset", named))
    });
    let by_data = "Settings to start from [default: those for images of that size, or for a table]";
    let command = [("csc", "Settings to start from [default: digits]"), ("kdgan", by_data), ("triple-gan", by_data)]
        .into_iter()
        .fold(command, |command, (name, help)| {
            command.mut_subcommand(name, |command| command.mut_arg("preset", |preset| preset.help(help)))
        });
    EXAMPLES.into_iter().fold(command, |command, (name, lines)| {
        command.mut_subcommand(name, |command| command.after_long_help(examples::shown(lines)))
    })
}

/// Does what a command says, after what there is to say of the threads.
fn run(command: Command, notes: &[String]) -> Result<Ended> {
    notes.iter().for_each(|note| progress::note(note));
    match command {
        Command::TripleGan(_) => ranks::refuse("triple-gan")?,
        Command::Collapse(_) => ranks::refuse("collapse")?,
        Command::Denoise(_) => ranks::refuse("denoise")?,
        Command::Likelihood(_) => ranks::refuse("likelihood")?,
        Command::Classifier(_) => ranks::refuse("classifier")?,
        Command::Demo(_) => ranks::refuse("demo")?,
        Command::Bench(_) => ranks::refuse("bench")?,
        Command::Ema(_) => ranks::refuse("ema")?,
        Command::Noise(_) => ranks::refuse("noise")?,
        Command::Serve(_) => ranks::refuse("serve")?,
        // The others only say something.
        _ => {}
    }
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
        Command::Serve(args) => serve::run(args),
        Command::Doctor(args) => doctor::run(args),
        Command::Completions(args) => shell::completions(args, whole()),
        Command::Man(args) => shell::man(args, whole()),
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

/// Whether another process writes the results.
static IS_MUTE: AtomicBool = AtomicBool::new(false);

/// From here on results are not written: another process does.
fn be_mute() {
    IS_MUTE.store(true, Ordering::Relaxed);
}

/// Writes a line of results, in which nothing that stood in a file acts on the terminal. A reader that went away
/// (`veridical demo | head -1`) is its own business.
fn say(line: &str) -> Result<()> {
    if IS_MUTE.load(Ordering::Relaxed) {
        return Ok(());
    }
    written(writeln!(std::io::stdout(), "{}", escaped_lines(line)))
}

/// What became of writing to standard output.
fn written(outcome: std::io::Result<()>) -> Result<()> {
    match outcome {
        Err(e) if e.kind() != std::io::ErrorKind::BrokenPipe => Err(Error::io("standard output", e)),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::whole;
    use crate::cli::examples::EXAMPLES;

    #[test]
    fn every_flag_says_what_it_is_for() {
        whole().debug_assert();
        for command in whole().get_subcommands() {
            let about = command.get_about().map(ToString::to_string).unwrap_or_default();
            assert!(!about.is_empty(), "{}: no help", command.get_name());
            for flag in command.get_arguments() {
                let help = flag.get_help().map(ToString::to_string).unwrap_or_default();
                assert!(!help.is_empty(), "{} {}: no help", command.get_name(), flag.get_id());
            }
        }
    }

    #[test]
    fn every_command_has_examples_that_it_takes() {
        let names: BTreeSet<String> = whole().get_subcommands().map(|command| command.get_name().to_string()).collect();
        assert_eq!(names, EXAMPLES.iter().map(|(name, _)| name.to_string()).collect());
        for (name, lines) in EXAMPLES {
            for line in lines {
                assert!(line.len() <= 96, "{line}: help would break the line");
                let found = whole().try_get_matches_from(line.split(' ')).unwrap_or_else(|e| panic!("{line}: {e}"));
                assert_eq!(found.subcommand_name(), Some(name), "{line}");
            }
        }
    }

    /// Commands that help speaks of are there.
    #[test]
    fn help_speaks_of_commands_that_there_are() {
        let names: BTreeSet<String> = whole().get_subcommands().map(|command| command.get_name().to_string()).collect();
        for mut command in whole().get_subcommands().cloned() {
            let help = command.render_long_help().to_string();
            let help = help.split_whitespace().collect::<Vec<_>>().join(" ");
            for spoken in help.split("`veridical ").skip(1) {
                let name = spoken.split(['`', ' ']).next().unwrap_or_default();
                assert!(names.contains(name), "{}: `veridical {name}`", command.get_name());
            }
        }
    }

    /// What several commands have is called the same in each.
    #[test]
    fn names_are_the_same_everywhere() {
        let has = |command: &str, flag: &str| {
            let command = whole().find_subcommand(command).cloned().unwrap();
            command.get_arguments().any(|arg| {
                let names = arg.get_long().into_iter().chain(arg.get_visible_aliases().unwrap_or_default());
                names.into_iter().any(|name| name == flag)
            })
        };
        let trains = ["train", "sfbd", "ambient", "csc", "kdgan", "triple-gan"];
        let learns = [&trains[..], &["classifier", "collapse"]].concat();
        let models = ["train", "sfbd", "csc", "ema", "denoise", "info", "sample", "likelihood"];
        let data = [&learns[..], &["denoise", "noise", "evaluate", "likelihood"]].concat();
        let writes = [&learns[..], &["demo", "denoise", "ema", "sample", "likelihood"]].concat();
        let batches = [&learns[..], &["demo", "denoise", "sample", "likelihood", "bench"]].concat();
        let computes = [&learns[..], &["demo", "denoise", "sample", "likelihood", "bench", "evaluate"]].concat();
        let random = [&learns[..], &["demo", "denoise", "likelihood", "evaluate"]].concat();
        for (flag, commands) in [
            ("model", &models[..]),
            ("data", &data),
            ("out", &writes),
            ("output", &writes),
            ("batch", &batches),
            ("lr", &[&learns[..], &["demo"]].concat()),
            ("device", &computes),
            ("seed", &random),
            ("preset", &[&trains[..], &["bench"]].concat()),
            ("images", &["train", "sfbd", "ambient", "csc"]),
            ("tensorboard", &trains),
            ("json", &["doctor", "bench", "noise", "evaluate", "likelihood", "collapse", "info"]),
        ] {
            for command in commands {
                assert!(has(command, flag), "{command} has no --{flag}");
            }
        }
    }

    #[test]
    fn presets_are_listed() {
        for command in ["train", "sfbd", "ambient", "csc", "kdgan", "triple-gan", "bench"] {
            let mut command = whole().find_subcommand(command).cloned().unwrap();
            let help = command.render_help().to_string();
            assert!(help.contains("[possible values: "), "{help}");
        }
    }
}
