use super::{fails, has_cuda, succeeds};
use serde_json::Value;

#[test]
fn prints_a_table_and_json_lines() {
    let dir = tempfile::tempdir().unwrap();
    let json = dir.path().join("bench.jsonl");
    let table = succeeds(&["bench", "--quick", "--op", "relu", "--dtype", "f32", "--json", json.to_str().unwrap()]);
    let lines: Vec<&str> = table.lines().collect();
    assert!(lines[0].starts_with("on cpu, "), "{table}");
    assert!(lines[1].starts_with("op ") && lines[1].ends_with("of the ceiling"), "{table}");
    assert!(lines.last().unwrap().starts_with("ceilings: "), "{table}");

    let text = std::fs::read_to_string(&json).unwrap();
    let rows: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
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
