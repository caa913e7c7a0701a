//! What documents and help texts speak of without typing it, in `code` within sentences: the commands, flags and
//! settings must be there.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::{locate, reader};

/// The options of every command, as its help lists them, and the help.
fn commands() -> BTreeMap<String, (BTreeSet<String>, String)> {
    let help = |arguments: &[&str]| {
        let done = Command::new(locate::program()).args(arguments).output().unwrap();
        assert!(done.status.success(), "{arguments:?}");
        String::from_utf8(done.stdout).unwrap()
    };
    let all = help(&["--help"]);
    let listed = all.lines().skip_while(|line| *line != "Commands:").skip(1).take_while(|line| !line.is_empty());
    // A command begins two columns in; further lines of its meaning are further in.
    let names = listed.filter_map(|line| line.strip_prefix("  ")).filter(|line| line.starts_with(char::is_alphabetic));
    let names: Vec<&str> =
        names.filter_map(|line| line.split_whitespace().next()).filter(|&name| name != "help").collect();
    assert!(names.contains(&"train") && names.contains(&"bench"), "{all}");
    let of = |name: &str| {
        let text = help(&[name, "--help"]);
        // Options stand up to six columns in, and their meanings further.
        let at = |line: &&str| line.find(|c: char| c != ' ').is_some_and(|at| at <= 6 && line[at..].starts_with('-'));
        let options = text.lines().filter(at).flat_map(flags).collect();
        (name.to_string(), (options, text))
    };
    names.into_iter().map(of).collect()
}

/// The flags in a text, without their values.
fn flags(text: &str) -> Vec<String> {
    let word = |word: &str| {
        let name = word.trim_start_matches(['(', '`', '"', '[']).strip_prefix("--")?;
        let end = name.find(|c: char| !c.is_ascii_lowercase() && !c.is_ascii_digit() && c != '-').unwrap_or(name.len());
        Some(format!("--{}", &name[..end])).filter(|flag| flag.len() > 2)
    };
    text.split_whitespace().filter_map(word).collect()
}

/// Every Markdown file that a reader may open.
fn documents() -> Vec<PathBuf> {
    let mut found = ["README.md", "CONTRIBUTING.md", "CHANGELOG.md"].map(|name| locate::root().join(name)).to_vec();
    let mut folders = vec![locate::root().join("docs")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
            match entry.path() {
                path if path.is_dir() => folders.push(path),
                path if path.extension().is_some_and(|ending| ending == "md") => found.push(path),
                _ => {}
            }
        }
    }
    found
}

/// What stands between backticks in the sentences of a text, and its blocks of commands that are not typed.
fn spans(text: &str) -> Vec<String> {
    let mut spans: Vec<String> =
        reader::fenced(text, "text").into_iter().flat_map(|(_, block)| lines(&block)).collect();
    let sentences = sentences(text);
    spans.extend(sentences.split('`').skip(1).step_by(2).map(String::from));
    spans
}

/// A text without its fenced blocks.
fn sentences(text: &str) -> String {
    let mut fenced = false;
    let outside = text.lines().filter(|line| {
        let fence = line.trim_start().starts_with("```");
        fenced ^= fence;
        !fenced && !fence
    });
    outside.collect::<Vec<_>>().join("\n")
}

fn lines(block: &str) -> Vec<String> {
    block.lines().map(String::from).collect()
}

fn name(path: &Path) -> String {
    path.strip_prefix(locate::root()).unwrap().display().to_string()
}

/// What follows a bracket, but for other names of an option.
fn without_aliases(part: &str) -> &str {
    match part.strip_prefix("alias") {
        Some(names) => names.split_once(']').map_or("", |(_, rest)| rest),
        None => part,
    }
}

#[test]
fn commands_and_flags_in_sentences_are_there() {
    let commands = commands();
    let mut wrong: Vec<String> = Vec::new();
    let check = |place: &str, span: &str, wrong: &mut Vec<String>| {
        let mut words = span.split_whitespace();
        let (Some("veridical"), Some(command)) = (words.next(), words.next()) else { return };
        let command = command.trim_end_matches([',', '.', ';']);
        // Crates in Cargo.toml and words in capitals, which stand for any command, are none; help is clap's own.
        if !command.starts_with(|c: char| c.is_ascii_lowercase()) || command == "help" {
            return;
        }
        match commands.get(command) {
            None => wrong.push(format!("{place}: `{span}`: there is no command {command}")),
            Some((options, _)) => wrong.extend(
                flags(span)
                    .into_iter()
                    .filter(|flag| !options.contains(flag))
                    .map(|flag| format!("{place}: `{span}`: {command} has no {flag}")),
            ),
        }
    };
    for path in documents() {
        let text = fs::read_to_string(&path).unwrap();
        spans(&text).iter().for_each(|span| check(&name(&path), span, &mut wrong));
    }
    for (command, (_, help)) in &commands {
        spans(help).iter().for_each(|span| check(&format!("{command} --help"), span, &mut wrong));
    }
    for path in documents() {
        for span in spans(&fs::read_to_string(&path).unwrap()) {
            let words: Vec<&str> = span.split_whitespace().collect();
            for preset in words.windows(2).filter(|pair| pair[0] == "--preset").map(|pair| pair[1]) {
                let known = commands
                    .values()
                    .any(|(_, help)| help.split(|c: char| !c.is_alphanumeric() && c != '-').any(|word| word == preset));
                if !known {
                    wrong.push(format!("{}: `{span}`: there is no preset {preset}", name(&path)));
                }
            }
        }
    }
    // What a help text says of flags it says of its own command's, but where it names another.
    for (command, (options, help)) in &commands {
        let sentences: String = help.split('`').step_by(2).collect::<Vec<_>>().join(" ");
        // Other names of options stand in brackets.
        let sentences = sentences.split('[').map(without_aliases).collect::<Vec<_>>().join(" ");
        let unknown = flags(&sentences).into_iter().filter(|flag| !options.contains(flag));
        wrong.extend(unknown.map(|flag| format!("{command} --help speaks of {flag}, which it has not")));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn settings_in_sentences_are_there() {
    let mut settings: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for command in ["train", "sfbd", "ambient", "csc", "kdgan", "triple-gan"] {
        let done = Command::new(locate::program()).args([command, "--print-config"]).output().unwrap();
        assert!(done.status.success(), "{command}: {}", String::from_utf8_lossy(&done.stderr));
        let mut section = String::new();
        for line in String::from_utf8(done.stdout).unwrap().lines() {
            if let Some(name) = line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
                section = name.to_string();
            } else if let Some((key, _)) = line.trim_start_matches(['#', ' ']).split_once(" = ") {
                settings.entry(section.clone()).or_default().insert(key.to_string());
            }
        }
    }
    assert!(settings["train"].contains("batch"), "{settings:?}");
    // The keys of a network are its own affair; and these are files.
    settings.remove("model");
    let endings = ["md", "html", "toml", "json", "jsonl", "png", "py", "rs", "npy", "npz", "safetensors"];
    let mut wrong = Vec::new();
    for path in documents() {
        for span in spans(&fs::read_to_string(&path).unwrap()) {
            let Some((section, rest)) = span.split_once('.') else { continue };
            let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(rest.len());
            let key = &rest[..end];
            if let Some(known) = settings.get(section)
                && !key.is_empty()
                && !endings.contains(&key)
                && !known.contains(key)
            {
                wrong.push(format!("{}: `{span}`: there is no setting {section}.{key}", name(&path)));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn links_lead_to_files_that_are_there() {
    let mut wrong = Vec::new();
    for path in documents() {
        let text = sentences(&fs::read_to_string(&path).unwrap());
        let text = text.split('`').step_by(2).collect::<String>();
        for link in text.split("](").skip(1).filter_map(|rest| rest.split_once(')')).map(|(link, _)| link) {
            let file = link.split('#').next().unwrap_or_default();
            if !link.contains("://") && !path.parent().unwrap().join(file).exists() {
                wrong.push(format!("{}: {link}", name(&path)));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
