use serde_json::Value;

use super::{fails, succeeds};

fn json(path: &std::path::Path) -> Value {
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

fn numbers(value: &Value) -> Vec<f64> {
    value.as_array().unwrap().iter().map(|x| x.as_f64().unwrap()).collect()
}

#[test]
fn the_recursion_comes_out_as_json() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("out.json");
    let words = "collapse --family categorical --vocab 50 --rounds 200 --samples 100:power=1 --fresh 0.1:power=-0.5 --repeats 100 --seed 1 --json";
    let args: Vec<&str> = words.split(' ').chain([out.to_str().unwrap()]).collect();
    let shown = succeeds(&args);
    assert!(shown.contains("The truth is recovered") && shown.contains("theory"), "{shown}");
    let found = json(&out);
    let (alpha, n, v) = (numbers(&found["alpha"]), numbers(&found["n"]), found["v"].as_f64().unwrap());
    let (mean, error, theory) =
        (numbers(&found["risk_mean"]), numbers(&found["risk_stderr"]), numbers(&found["risk_theory"]));
    for array in [&alpha, &n, &mean, &error, &theory] {
        assert_eq!(array.len(), 201);
    }
    assert_eq!((n[0], n[1], n[200], alpha[0], alpha[1]), (100.0, 200.0, 20_100.0, 1.0, 0.1));
    approx::assert_relative_eq!(alpha[100], 0.01, max_relative = 1e-12);
    approx::assert_relative_eq!(theory[0], v / 100.0, max_relative = 1e-12);
    for t in 0..=200 {
        let recursion = match t {
            0 => v / n[0],
            _ => (1.0 - alpha[t]).powi(2) * (1.0 - 1.0 / n[t]) * theory[t - 1] + v / n[t],
        };
        approx::assert_relative_eq!(theory[t], recursion, max_relative = 1e-9);
        assert!(
            (mean[t] - theory[t]).abs() < 4.0 * error[t],
            "round {t}: {} ± {}, theory {}",
            mean[t],
            error[t],
            theory[t]
        );
    }
    // The same again, and another seed.
    let again = dir.path().join("again.json");
    succeeds(&[&args[..args.len() - 1], &[again.to_str().unwrap()]].concat());
    assert_eq!(json(&again)["risk_mean"], found["risk_mean"]);
    let other = [&args[..args.len() - 3], &["2", "--json", again.to_str().unwrap()]].concat();
    succeeds(&other);
    assert_ne!(json(&again)["risk_mean"], found["risk_mean"]);
}

#[test]
fn every_family_and_arm_runs_from_the_shell() {
    let run = |more: &str| {
        let args: Vec<&str> =
            ["collapse", "--rounds", "3", "--repeats", "4"].into_iter().chain(more.split(' ')).collect();
        let shown = succeeds(&args);
        assert!(shown.contains("4 repeats of 3 rounds"), "{shown}");
    };
    for family in [
        "bigram --vocab 5",
        "ngram --order 3 --vocab 4",
        "gaussian --dims 3",
        "gmm",
        "kde",
        "kde --bandwidth 0.1",
        "regression",
    ] {
        run(&format!("--family {family} --samples 40 --fresh 0.2"));
    }
    for arm in [
        "stratified",
        "accumulate",
        "anchor --anchor 30",
        "weighted",
        "weighted --weight 0.3",
        "filter --keep-synthetic 0.1",
    ] {
        run(&format!("--arm {arm} --fresh 0.5 --samples 20:ratio=1.2"));
    }
    run("--arm replace --samples 30,20,10 --zipf 1");
    run("--samples adaptive:target=0.01 --fresh 0.5");
    run("--family diffusion-points --steps 3 --batch 16 --samples 50 --fresh 0.5 --density gaussian --device cpu");
}

#[test]
fn a_transformer_reads_a_text_and_its_own_samples() {
    let dir = tempfile::tempdir().unwrap();
    let (text, out) = (dir.path().join("text.txt"), dir.path().join("out.json"));
    std::fs::write(&text, "the cat sat on the mat. ".repeat(60)).unwrap();
    let (text, out_name) = (text.to_str().unwrap(), out.to_str().unwrap());
    let sizes = ["--context", "12", "--width", "16", "--layers", "1", "--heads", "2", "--steps", "40", "--batch", "8"];
    let common = [
        "collapse",
        "--family",
        "transformer",
        "--rounds",
        "1",
        "--samples",
        "30",
        "--device",
        "cpu",
        "--json",
        out_name,
    ];
    succeeds(&[&common[..], &sizes, &["--text", text, "--arm", "accumulate", "--fresh", "0.3"]].concat());
    let found = json(&out);
    let likelihood = numbers(&found["risk_mean"]);
    // Better than even odds over the 11 characters of the text.
    assert!(likelihood.len() == 2 && likelihood[0] < 11f64.ln(), "{likelihood:?}");
    assert!(found["risk_theory"].is_null() && found["v"].is_null());
    assert!(fails(2, &common).contains("--text"));
    let mut missing = [&common[..], &["--text", "nowhere.txt"]].concat();
    assert!(fails(1, &missing).contains("nowhere.txt"));
    missing.extend(["--context", "0"]);
    fails(1, &missing);
    let wide = [&common[..], &["--text", text, "--context", "4000"]].concat();
    assert!(fails(2, &wide).contains("--context"));
    let heads = [&common[..], &["--text", text, "--heads", "7"]].concat();
    assert!(fails(2, &heads).contains("heads"));
}

#[test]
fn a_run_directory_has_page_chart_and_figures() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("run");
    let name = out.to_str().unwrap();
    let args = ["collapse", "--rounds", "10", "--repeats", "20", "--fresh", "0.1", "--out", name];
    assert!(succeeds(&args).contains("report.html"));
    let page = std::fs::read_to_string(out.join("report.html")).unwrap();
    assert!(page.contains("Categorical on its own samples") && page.contains("<img") && page.contains("settles at"));
    let chart = image::open(out.join("risk.png")).unwrap().to_rgb8();
    // Curves of the simulation (blue) and of theory (orange), and the band behind them (0.16 of the blue on white).
    let has = |colour: [u8; 3]| chart.pixels().filter(|pixel| pixel.0 == colour).count();
    assert!(has([0x00, 0x72, 0xb2]) > 100 && has([0xd5, 0x5e, 0x00]) > 100);
    assert!(has([0xd6, 0xe8, 0xf3]) > 10_000, "{} pixels of the band", has([0xd6, 0xe8, 0xf3]));
    let figures = json(&out.join("metrics.json"));
    assert_eq!(numbers(&figures["risk_theory"]).len(), 11);
    assert!(std::fs::read_to_string(out.join("config.toml")).unwrap().contains("fresh = \"0.1\""));
    std::fs::write(dir.path().join("thesis.tex"), "years").unwrap();
    let foreign = ["collapse", "--rounds", "1", "--out", dir.path().to_str().unwrap()];
    let error = fails(2, &foreign);
    assert!(error.contains("not empty") && error.contains("by --overwrite"), "{error}");
}

#[test]
fn what_cannot_be_simulated_says_why() {
    let refuses =
        |code: i32, more: &str| fails(code, &["collapse"].into_iter().chain(more.split(' ')).collect::<Vec<_>>());
    for (more, says) in [
        ("--fresh 1.5", "[0, 1]"),
        ("--fresh -0.1", "[0, 1]"),
        ("--samples 0", "0 samples"),
        ("--samples 100:power=-3", "samples"),
        ("--samples 100:power", "no schedule"),
        ("--fresh half", "`half`"),
        ("--samples 100:ratio=10 --rounds 40", "2^53"),
        ("--family gaussian --samples 1000:ratio=10 --rounds 9", "GB"),
        ("--family gaussian --arm accumulate --samples 1e9 --rounds 50", "GB"),
        ("--family regression --dims 10 --samples 11", "12 or more"),
        ("--family gmm --samples 5", "9 or more"),
        ("--family bigram --samples adaptive:target=0.1", "law"),
        ("--family ngram --vocab 1000 --order 5", "--order"),
        ("--family kde --bandwidth wide", "--bandwidth"),
        ("--family gan", "categorical"),
        ("--arm replace --fresh 0.5", "--arm mixture"),
        ("--arm weighted --weight heavy", "--weight"),
        ("--arm weighted --weight 2", "[0, 1]"),
        ("--arm filter --keep-real 1.5", "[0, 1]"),
        ("--vocab 1", "at least 2"),
        ("--memory 0", "--memory"),
        ("--repeats 0", "repeats"),
        ("--density spiral --family diffusion-points", "spiral"),
    ] {
        let error = refuses(2, more);
        assert!(error.contains(says), "{more}: {error}");
    }
    let error = refuses(1, "--rounds 1 --json nowhere/at/all.json");
    assert!(error.contains("nowhere/at/all.json"), "{error}");
    let dir = tempfile::tempdir().unwrap();
    assert!(fails(1, &["collapse", "--json", dir.path().to_str().unwrap()]).contains("directory"));
}
