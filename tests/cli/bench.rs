use std::path::Path;

use super::{fails, has_cuda, succeeds};
use serde_json::Value;

fn json_lines(path: &Path) -> Vec<Value> {
    std::fs::read_to_string(path).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn prints_a_table_and_json_lines() {
    let dir = tempfile::tempdir().unwrap();
    let json = dir.path().join("bench.jsonl");
    let table = succeeds(&["bench", "--quick", "--op", "relu", "--dtype", "f32", "--json", json.to_str().unwrap()]);
    let lines: Vec<&str> = table.lines().collect();
    assert!(lines[0].starts_with("on cpu, "), "{table}");
    assert!(lines[1].starts_with("op ") && lines[1].ends_with("of the ceiling"), "{table}");
    assert!(lines.last().unwrap().starts_with("ceilings: "), "{table}");

    let rows = json_lines(&json);
    assert_eq!(rows.len(), lines.len() - 3, "a line for each row of the table");
    for direction in ["forward", "backward"] {
        let row = rows.iter().find(|row| row["direction"] == direction && row["op"] == "relu").unwrap();
        assert_eq!((&row["dtype"], &row["device"]), (&"f32".into(), &"cpu".into()));
        assert!(!row["case"].as_str().unwrap().is_empty());
        assert!(["compute", "memory"].contains(&row["bound"].as_str().unwrap()));
        for key in ["seconds", "samples", "gflops", "gbytes", "share", "ceiling_gflops", "ceiling_gbytes"] {
            assert!(row[key].as_f64().unwrap() > 0.0, "{key} of {row}");
        }
        // The share is what the other columns say it is.
        let rate = |rate: &str, ceiling: &str| row[rate].as_f64().unwrap() / row[ceiling].as_f64().unwrap();
        let share = rate("gflops", "ceiling_gflops").max(rate("gbytes", "ceiling_gbytes"));
        assert!((row["share"].as_f64().unwrap() / share - 1.0).abs() < 1e-9, "{row}");
    }
}

#[test]
fn flags_narrow_the_choice() {
    let table =
        succeeds(&["bench", "--quick", "--op", "relu", "--op", "silu", "--dtype", "bf16", "--direction", "forward"]);
    let rows: Vec<&str> = table.lines().skip(2).filter(|line| !line.starts_with("ceilings")).collect();
    assert!(rows.iter().any(|row| row.starts_with("relu ")) && rows.iter().any(|row| row.starts_with("silu ")));
    assert!(rows.iter().all(|row| row.contains("bf16") && row.contains("forward")), "{table}");
}

#[test]
fn what_cannot_be_timed_is_an_error() {
    let none = fails(2, &["bench", "--op", "perpetuum"]);
    assert!(none.contains("perpetuum") && none.contains("silu"), "says what there is: {none}");
    assert!(fails(2, &["bench", "--dtype", "f16"]).contains("f32, bf16"));
    assert!(fails(2, &["bench", "--device", "tpu"]).contains("cuda"));
    assert!(fails(2, &["bench", "--direction", "sideways"]).contains("forward"));
    assert!(fails(2, &["bench", "--fast"]).contains("--fast"));
    if !has_cuda() {
        assert!(fails(1, &["bench", "--device", "cuda"]).starts_with("error: no cuda"));
    }
    if cfg!(not(feature = "emulator")) {
        assert!(fails(1, &["bench", "--device", "emulator"]).contains("--features emulator"));
    }
}

fn assert_close(found: f64, expected: f64, what: &str) {
    assert!((found / expected - 1.0).abs() < 1e-9, "{what}: {found}, expected {expected}");
}

#[test]
fn times_a_network_in_all_that_is_done_with_it() {
    let dir = tempfile::tempdir().unwrap();
    let json = dir.path().join("network.jsonl");
    let args = ["bench", "--quick", "--network", "digits", "--batch", "2", "--batch", "3", "--json"];
    let table = succeeds(&[&args[..], &[json.to_str().unwrap()]].concat());
    let lines: Vec<&str> = table.lines().collect();
    assert!(lines[0].starts_with("digits: ") && lines[0].contains(" parameters, 0.0174 GFLOP"), "{table}");
    assert!(lines[1].starts_with("on cpu, "), "{table}");
    assert!(lines[2].starts_with("task ") && lines[2].ends_with("memory"), "{table}");
    assert!(lines[15].starts_with("ceilings: ") && lines[15].contains("bf16 GFLOP/s"), "{table}");

    let rows = json_lines(&json);
    let cases: Vec<String> =
        rows.iter().map(|row| format!("{} {} {}", row["task"], row["batch"], row["dtype"]).replace('"', "")).collect();
    let expected = ["forward", "train", "sample"]
        .map(|task| ["2 f32", "2 bf16", "3 f32", "3 bf16"].map(|rest| format!("{task} {rest}")))
        .concat();
    assert_eq!(cases, expected);
    for (row, line) in rows.iter().zip(&lines[3..]) {
        let number = |key: &str| row[key].as_f64().unwrap_or_else(|| panic!("no {key} in {row}"));
        let task = row["task"].as_str().unwrap();
        assert!(line.starts_with(task) && line.ends_with(" MiB") && line.contains('%'), "{line}");
        assert_eq!((&row["network"], &row["device"], &row["skipped"]), (&"digits".into(), &"cpu".into(), &Value::Null));
        // Counted from the layer list of an implementation in PyTorch: 8,716,288 multiply-adds.
        assert_close(number("gflop_forward_per_image"), 2e-9 * 8_716_288.0, "forward");
        let calls = match task {
            "forward" => 1.0,
            "train" => 3.0,
            _ => 35.0, // Heun's method takes two calls a step, but one in the last of 18
        };
        assert_eq!(row["nfe"].as_f64(), (task == "sample").then_some(35.0), "{row}");
        assert_close(number("gflop_per_image"), calls * number("gflop_forward_per_image"), "task");
        let (batch, ms) = (number("batch"), number("ms"));
        assert_close(number("images_per_s"), 1e3 * batch / ms, "images");
        assert_close(number("tflops"), number("gflop_per_image") * batch / ms, "rate");
        assert_close(number("share"), number("tflops") / number("ceiling_tflops"), "share");
        assert!(number("timed") >= 1.0 && number("ms_min") <= ms && ms <= number("ms_max"), "{row}");
        // Weights at least; training has weights, gradient, two moments and a running average at the same time.
        let weights = number("params") * 4.0 / f64::from(1 << 20);
        assert!(number("peak_mib") >= if task == "train" { 5.0 * weights } else { weights }, "{row}");
    }
}

#[test]
fn a_network_of_points_in_one_dtype_and_task() {
    let dir = tempfile::tempdir().unwrap();
    let json = dir.path().join("points.jsonl");
    let args = ["bench", "--quick", "--network", "points", "--task", "train", "--dtype", "f32", "--json"];
    succeeds(&[&args[..], &[json.to_str().unwrap()]].concat());
    let rows = json_lines(&json);
    assert_eq!(rows.len(), 1);
    assert_eq!((&rows[0]["task"], &rows[0]["batch"], &rows[0]["dtype"]), (&"train".into(), &1.into(), &"f32".into()));
    // Noise, point, three layers of which one product has a bias, point.
    let params = (32 + 1) * 128 + (2 + 1) * 128 + 3 * (2 * 128 + 1) * 128 + (128 + 1) * 2;
    assert_eq!(rows[0]["params"], params);
}

#[test]
fn what_is_no_case_of_a_network_is_an_error() {
    let clash = fails(2, &["bench", "--network", "digits", "--op", "silu"]);
    assert!(clash.contains("--op") && clash.contains("--network"), "{clash}");
    assert!(fails(2, &["bench", "--network", "digits", "--direction", "forward"]).contains("--direction"));
    for flag in [["--task", "train"], ["--batch", "4"]] {
        let alone = fails(2, &["bench", flag[0], flag[1]]);
        assert!(alone.contains("--network"), "{alone}");
    }
    let unknown = fails(2, &["bench", "--network", "resnet"]);
    assert!(unknown.contains("resnet") && unknown.contains("cifar10-ddpmpp"), "says what there is: {unknown}");
    let dtype = fails(2, &["bench", "--network", "digits", "--dtype", "f64"]);
    assert!(dtype.contains("f64") && dtype.contains("bf16"), "{dtype}");
    assert!(fails(2, &["bench", "--network", "digits", "--task", "dream"]).contains("sample"));
    for batch in ["0", "1048577", "-1", "many"] {
        let batch = fails(2, &["bench", "--network", "digits", &format!("--batch={batch}")]);
        assert!(batch.contains("--batch"), "{batch}");
    }
}

#[test]
fn predicts_what_a_network_costs_on_a_gpu_that_is_not_there() {
    let dir = tempfile::tempdir().unwrap();
    let json = dir.path().join("model.jsonl");
    let args = ["bench", "--network", "digits", "--model", "h200", "--batch", "4", "--dtype", "bf16", "--json"];
    let table = succeeds(&[&args[..], &[json.to_str().unwrap()]].concat());
    let lines: Vec<&str> = table.lines().collect();
    assert!(lines[0].starts_with("digits: "), "{table}");
    assert!(lines[1].starts_with("predicted for one NVIDIA H200") && lines[1].contains("nothing here is measured"));

    let rows = json_lines(&json);
    let tasks: Vec<&str> = rows.iter().map(|row| row["task"].as_str().unwrap()).collect();
    assert_eq!(tasks, ["forward", "train", "sample"]);
    for row in &rows {
        let number = |key: &str| row[key].as_f64().unwrap_or_else(|| panic!("no {key} in {row}"));
        let task = row["task"].as_str().unwrap();
        assert!(lines.iter().any(|line| line.starts_with(&format!("{task}, batch 4, bf16: "))), "{table}");
        assert_eq!((&row["predicted_for"], &row["skipped"]), (&"h200".into(), &Value::Null));
        // What is not measured is not called so.
        assert!(row["ms"].is_null() && row["device"].is_null() && row["images_per_s"].is_null(), "{row}");
        let kinds = row["kinds"].as_array().unwrap();
        let sum = |key: &str| kinds.iter().map(|kind| kind[key].as_f64().unwrap()).sum::<f64>();
        assert_close(sum("predicted_ms"), number("predicted_device_ms"), "device");
        assert_close(sum("share"), 1.0, "shares");
        assert_close(sum("gflop"), number("gflop"), "operations");
        let longer = number("predicted_device_ms").max(number("predicted_host_ms"));
        assert_close(number("predicted_ms"), longer + number("predicted_wait_ms"), "all");
        assert_close(number("predicted_images_per_s"), 4e3 / number("predicted_ms"), "images");
        assert!(number("launches") > 50.0 && number("peak_mib") > 0.0, "{row}");
        // A training step's memory is kept for the next one.
        let kept = task == "train";
        assert!(if kept { number("allocations") < 10.0 } else { number("allocations") > 50.0 }, "{row}");
    }
    // Counted from the layer list of an implementation in PyTorch: 8,716,288 multiply-adds.
    assert_close(rows[0]["gflop"].as_f64().unwrap(), 4.0 * 2e-9 * 8_716_288.0, "forward");
    assert_close(rows[2]["gflop"].as_f64().unwrap(), 35.0 * 4.0 * 2e-9 * 8_716_288.0, "sampling");
    assert_eq!(rows[2]["nfe"], 35);
}

#[test]
fn a_prediction_is_made_with_the_kernels_that_are_asked_for() {
    let args = ["bench", "--network", "cifar10-ddpmpp", "--model", "h200", "--task", "train", "--dtype", "bf16"];
    let variables = ["VERIDICAL_HOPPER_WEIGHTS", "VERIDICAL_HOPPER_CLUSTERS"];
    let kinds = ["conv2d_bwd_weight_hopper", "conv2d_fwd_hopper_cluster"];
    let words = [(None, false), (Some("off"), false), (Some("yes"), false), (Some("on"), true)];
    for (which, word, asked) in words.into_iter().flat_map(|(word, asked)| [(0, word, asked), (1, word, asked)]) {
        let mut command = super::command(&[&args[..], &["--batch", "64"]].concat());
        for variable in variables {
            command.env_remove(variable);
        }
        let output = command.envs(word.map(|word| (variables[which], word))).output().unwrap();
        let [table, news] = [output.stdout, output.stderr].map(|text| String::from_utf8(text).unwrap());
        assert!(output.status.success(), "{news}");
        assert_eq!(table.contains(kinds[which]), asked, "{word:?}: {table}");
        assert!(!table.contains(kinds[1 - which]), "{word:?}: {table}");
        assert_eq!(news.contains("expected on or off; using off"), word == Some("yes"), "{news}");
    }
}

#[test]
fn a_batch_that_a_gpu_has_no_room_for_is_not_predicted() {
    let dir = tempfile::tempdir().unwrap();
    let json = dir.path().join("model.jsonl");
    let args = ["bench", "--network", "mnist", "--model", "h100", "--task", "train", "--dtype", "f32"];
    let batches = ["--batch", "1", "--batch", "1048576", "--json", json.to_str().unwrap()];
    let output = super::command(&[&args[..], &batches].concat()).output().unwrap();
    let news = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success() && news.contains("; skipped"), "{news}");
    let rows = json_lines(&json);
    assert_eq!((&rows[0]["skipped"], &rows[1]["skipped"]), (&Value::Null, &"out of memory".into()));
    assert!(rows[1]["predicted_ms"].is_null(), "{}", rows[1]);
}

#[test]
fn a_model_is_of_a_network_and_of_a_gpu_that_it_knows() {
    let alone = fails(2, &["bench", "--model", "h200"]);
    assert!(alone.contains("--network"), "says what to add: {alone}");
    let unknown = fails(2, &["bench", "--network", "digits", "--model", "h300"]);
    assert!(unknown.contains("h300") && unknown.contains("h100") && unknown.contains("h200"), "{unknown}");
    for flags in [&["--device", "cuda"][..], &["--device", "cpu"], &["--quick"]] {
        let clash = fails(2, &[&["bench", "--network", "digits", "--model", "h200"], flags].concat());
        assert!(clash.contains("--model") && clash.contains(flags[0]), "{clash}");
    }
    // Two flags that cannot be together must not make a third one fall silent.
    for flags in [["--op", "silu"], ["--direction", "forward"]] {
        let operations = fails(2, &["bench", "--model", "h200", flags[0], flags[1]]);
        assert!(operations.contains("--model") && operations.contains(flags[0]), "{operations}");
    }
    let dtype = fails(2, &["bench", "--network", "digits", "--model", "h200", "--dtype", "f64"]);
    assert!(dtype.contains("f64") && dtype.contains("bf16"), "{dtype}");
    let device = fails(2, &["bench", "--device", "h200"]);
    assert!(device.contains("cuda"), "{device}");
}

/// The limit on the address space makes the system refuse memory, as a GPU does, instead of swapping.
#[cfg(target_os = "linux")]
#[test]
fn a_batch_that_does_not_fit_is_skipped_and_the_run_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let json = dir.path().join("skipped.jsonl");
    let output = std::process::Command::new("sh")
        .args(["-c", "ulimit -v 700000; exec \"$@\"", "sh", env!("CARGO_BIN_EXE_veridical")])
        .args(["bench", "--quick", "--network", "digits", "--task", "forward", "--dtype", "f32"])
        .args(["--batch", "1", "--batch", "65536", "--batch", "2", "--json", json.to_str().unwrap()])
        .env("RAYON_NUM_THREADS", "1")
        .output()
        .unwrap();
    let (table, news) = (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap());
    assert!(output.status.success(), "{table}{news}");
    assert!(news.contains("use a smaller batch or model; skipped"), "{news}");
    assert_eq!(table.lines().filter(|line| line.ends_with("out of memory")).count(), 1, "{table}");
    let rows = json_lines(&json);
    assert_eq!(rows.iter().map(|row| row["batch"].as_u64().unwrap()).collect::<Vec<_>>(), [1, 65536, 2]);
    assert_eq!(rows[1]["skipped"], "out of memory");
    assert!(rows[1]["ms"].is_null() && rows[1]["tflops"].is_null() && rows[1]["params"].is_u64(), "{}", rows[1]);
    for row in [&rows[0], &rows[2]] {
        assert!(row["ms"].as_f64().unwrap() > 0.0 && row["skipped"].is_null(), "{row}");
    }
}

#[test]
fn a_json_file_that_cannot_be_written_stops_the_run() {
    let dir = tempfile::tempdir().unwrap();
    let json = dir.path().join("none/bench.jsonl");
    let args = ["bench", "--quick", "--op", "relu", "--dtype", "f32", "--json", json.to_str().unwrap()];
    let output = super::command(&args).output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    assert!(stderr.contains("bench.jsonl"), "{stderr}");
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
}

#[cfg(feature = "emulator")]
#[test]
fn runs_on_the_emulator_without_a_ceiling() {
    let table = succeeds(&["bench", "--quick", "--device", "emulator", "--op", "relu", "--dtype", "f32"]);
    assert!(table.starts_with("on emulator"), "{table}");
    assert!(table.lines().skip(2).all(|line| line.ends_with('\u{2013}')), "{table}");
}

#[cfg(feature = "emulator")]
#[test]
fn a_network_runs_on_the_emulator_without_a_ceiling() {
    let dir = tempfile::tempdir().unwrap();
    let json = dir.path().join("emulator.jsonl");
    let args = ["bench", "--quick", "--device", "emulator", "--network", "points", "--task", "forward", "--json"];
    let table = succeeds(&[&args[..], &[json.to_str().unwrap()]].concat());
    assert!(table.lines().skip(3).all(|line| line.contains(" \u{2013} ") && line.ends_with(" MiB")), "{table}");
    let rows = json_lines(&json);
    assert_eq!(rows.len(), 2);
    for row in rows {
        assert!(
            row["share"].is_null() && row["ceiling_tflops"].is_null() && row["ms"].as_f64().unwrap() > 0.0,
            "{row}"
        );
        assert!(row["device"].as_str().unwrap().starts_with("emulator"), "{row}");
    }
}
