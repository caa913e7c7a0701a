//! `veridical completions` and `veridical man`: what shells and readers of manuals know of the command.

use std::io::Write;
use std::path::PathBuf;

use clap::Command;
use clap_complete::Shell;
use clap_mangen::Man;
use clap_mangen::roff::{Roff, roman};
use veridical::files::write_atomic;
use veridical::{Error, Result};

use super::examples::EXAMPLES;
use super::{Ended, interrupt, say, written};

/// Write the completions of a shell to standard output.
///
/// They know every command, flag and word. For bash: `veridical completions bash >
/// ~/.local/share/bash-completion/completions/veridical`; for zsh: `veridical completions zsh > _veridical` in a folder
/// of $fpath; for fish: `veridical completions fish > ~/.config/fish/completions/veridical.fish`.
#[derive(clap::Args)]
pub struct CompletionsArgs {
    /// Which shell
    shell: Shell,
}

/// Write a manual page of every command into a folder.
///
/// The folder is made if it is not there; pages of an earlier version are replaced. `man -l DIR/veridical-train.1`
/// shows one; in a folder `man1` of MANPATH, such as ~/.local/share/man/man1, `man veridical-train` finds it.
#[derive(clap::Args)]
pub struct ManArgs {
    /// The folder
    dir: PathBuf,
}

pub fn completions(args: CompletionsArgs, mut command: Command) -> Result<Ended> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut command, "veridical", &mut script);
    written(std::io::stdout().write_all(&script))?;
    Ok(Ended::Done)
}

pub fn man(args: ManArgs, command: Command) -> Result<Ended> {
    let dir = args.dir;
    if dir.exists() && !dir.is_dir() {
        return Err(Error::format(&dir, "a file; give the name of a folder"));
    }
    let mut command = command.disable_help_subcommand(true);
    command.build();
    let _writing = interrupt::writing();
    std::fs::create_dir_all(&dir).map_err(|e| Error::io(&dir, e))?;
    let pages: Vec<Command> = std::iter::once(command.clone()).chain(command.get_subcommands().cloned()).collect();
    for page in &pages {
        let examples = EXAMPLES.iter().find(|(name, _)| *name == page.get_name()).map_or(&[][..], |(_, lines)| *lines);
        let man = Man::new(page.clone().after_long_help(None)).manual("veridical");
        let path = dir.join(man.get_filename());
        let mut text = Vec::new();
        man.render(&mut text).and_then(|()| shown(examples).to_writer(&mut text)).map_err(|e| Error::io(&path, e))?;
        write_atomic(&path, &text)?;
    }
    say(&format!("{} pages in {}", pages.len(), dir.display()))?;
    Ok(interrupt::ended())
}

/// The examples of a command as a section of its page, a line each.
fn shown(lines: &[&str]) -> Roff {
    let mut section = Roff::new();
    if lines.is_empty() {
        return section;
    }
    section.control("SH", ["EXAMPLES"]);
    section.control("nf", []);
    for line in lines {
        section.text([roman(*line)]);
    }
    section.control("fi", []);
    section
}
