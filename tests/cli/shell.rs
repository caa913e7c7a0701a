//! Completions, manual pages, and quiet.

use std::fs;
use std::process::{Command, Stdio};

use super::training::{Place, TINY};
use super::{command, fails, succeeds};

#[test]
fn completions_know_commands_flags_and_words() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = succeeds(&["completions", shell]);
        for part in ["triple-gan", "guidance-interval", "cifar10-ddpmpp", "print-config"] {
            assert!(script.contains(part), "{shell}: {part} is not there");
        }
    }
    assert!(fails(2, &["completions", "cmd"]).contains("possible values: bash"));
    // A shell that is there finds no fault with its script.
    for shell in ["bash", "zsh", "fish"] {
        let Ok(child) = Command::new(shell).arg("-n").stdin(Stdio::piped()).stderr(Stdio::piped()).spawn() else {
            println!("not tried: there is no {shell}");
            continue;
        };
        let script = succeeds(&["completions", shell]);
        std::io::Write::write_all(&mut child.stdin.as_ref().unwrap(), script.as_bytes()).unwrap();
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success() && output.stderr.is_empty(), "{shell}: {output:?}");
    }
}

#[test]
fn every_command_has_a_manual_page() {
    let dir = tempfile::tempdir().unwrap();
    let pages = dir.path().join("man/man1");
    let said = succeeds(&["man", pages.to_str().unwrap()]);
    let count = fs::read_dir(&pages).unwrap().count();
    assert!(said.starts_with(&format!("{count} pages in ")) && count > 15, "{said}");
    let read = |name: &str| fs::read_to_string(pages.join(name)).unwrap();
    let train = read("veridical-train.1");
    for part in [".TH veridical-train 1", "Train a diffusion model", "\\-\\-standardise", "\\-\\-quiet"] {
        assert!(train.contains(part), "{part:?} is not in {train}");
    }
    assert!(read("veridical.1").contains("veridical\\-doctor(1)"));
    // Once more, over what is there.
    succeeds(&["man", pages.to_str().unwrap()]);
    assert_eq!(fs::read_dir(&pages).unwrap().count(), count);
    let file = dir.path().join("file");
    fs::write(&file, "").unwrap();
    assert!(fails(1, &["man", file.to_str().unwrap()]).contains("give the name of a folder"));
}

#[test]
fn quiet_leaves_results_and_errors() {
    let place = Place::new(TINY);
    for (name, flag) in [("a", "-q"), ("b", "--quiet")] {
        let out = place.out(name);
        let args = [place.first(&out, &["--images", "40"]), vec![flag]].concat();
        let output = command(&args).output().unwrap();
        let (results, rest) = (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap());
        assert!(output.status.success() && rest.is_empty(), "{rest}");
        assert!(results.contains("finished after 5 steps") && results.contains("model.safetensors"), "{results}");
        let model = out.join("model.safetensors");
        let samples = place.out("samples.npz");
        let args = ["sample", "--model", model.to_str().unwrap(), "--steps", "2", "--seeds", "0-3", "--output"];
        let output = command(&[&["-q"], &args[..], &[samples.to_str().unwrap()]].concat()).output().unwrap();
        assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
        assert!(String::from_utf8(output.stdout).unwrap().starts_with("4 samples, 3 denoiser calls"));
    }
    let loud = command(&place.first(&place.out("c"), &["--images", "40"])).output().unwrap();
    assert!(String::from_utf8(loud.stderr).unwrap().contains("parameters on cpu"));
    let error = fails(2, &["-q", "train", "--data", "nowhere"]);
    assert!(error.starts_with("error: nowhere: no such file"), "{error}");
}
