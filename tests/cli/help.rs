//! What every command says of itself.

use super::{fails, succeeds};

/// The commands, as the help of the whole lists them.
fn commands() -> Vec<String> {
    let help = succeeds(&["--help"]);
    let list = help.split_once("Commands:\n").unwrap().1.split_once("\n\n").unwrap().0;
    let named = list.lines().filter(|line| line.starts_with("  ") && !line.starts_with("   "));
    let mut names: Vec<String> = named.map(|line| line.split_whitespace().next().unwrap().into()).collect();
    names.retain(|name| name != "help");
    names
}

/// The options of a help text: each with what stands beside and below it.
fn options(help: &str) -> Vec<(String, String)> {
    let mut options: Vec<(String, String)> = Vec::new();
    for line in help.lines() {
        let text = line.trim_start();
        let indent = line.len() - text.len();
        if text.starts_with('-') && (2..=6).contains(&indent) {
            let (name, help) = text.split_once("  ").unwrap_or((text, ""));
            options.push((name.into(), help.trim().into()));
        } else if let Some((_, help)) = options.last_mut().filter(|_| indent >= 8 && !text.is_empty()) {
            help.push_str(text);
        }
    }
    options
}

#[test]
fn every_command_explains_itself() {
    let commands = commands();
    assert!(commands.len() >= 20, "{commands:?}");
    for command in &commands {
        for flag in ["-h", "--help"] {
            let help = succeeds(&[command, flag]);
            assert!(help.contains(&format!("Usage: veridical {command}")), "{help}");
            let options = options(&help);
            assert!(options.iter().any(|(name, _)| name.contains("--quiet")), "{command}: {options:?}");
            for (name, help) in options {
                assert!(!help.is_empty(), "{command} {flag}: {name} has no help");
            }
        }
        let long = succeeds(&["help", command]);
        let examples = long.split_once("Examples:\n").unwrap_or_else(|| panic!("{command}: no examples")).1;
        for line in examples.lines().filter(|line| !line.is_empty()) {
            assert!(line.starts_with(&format!("  veridical {command}")), "{command}: {line:?}");
        }
    }
}

#[test]
fn presets_that_there_are_not_are_answered_with_those_that_there_are() {
    for (command, known) in
        [("sfbd", "points"), ("ambient", "fashion"), ("csc", "cifar10"), ("kdgan", "table"), ("triple-gan", "mnist-v2")]
    {
        let error = fails(2, &[command, "--preset", "imagenet"]);
        assert!(error.contains("[possible values: ") && error.contains(known), "{error}");
    }
}

#[test]
fn the_solvers_heading_stands_over_its_own_flags() {
    let help = succeeds(&["sample", "--help"]);
    let (before, below) = help.split_once("\nSolver:\n").expect("a heading");
    for flag in ["--class ", "--guidance ", "--start-image ", "--batch ", "--device ", "--ranks "] {
        assert!(before.contains(flag) && !below.contains(&format!("\n      {flag}")), "{flag} stands below Solver:");
    }
    assert!(below.contains("--rho ") && below.contains("--tolerance "));
}
