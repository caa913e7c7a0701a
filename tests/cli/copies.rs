//! The log of a run as tables and as event files.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use veridical::data::{Images, npy};

use super::training::{Place, TINY, log, resume};
use super::{command, succeeds};

/// The records of all event files of a run, file by file; each has a sound frame.
fn records(run: &Path) -> Vec<Vec<Vec<u8>>> {
    let mut paths: Vec<PathBuf> =
        fs::read_dir(run.join("tensorboard")).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    assert!(paths.iter().all(|path| path.file_name().unwrap().to_str().unwrap().contains("tfevents")), "{paths:?}");
    paths.iter().map(|path| framed(&fs::read(path).unwrap())).collect()
}

fn framed(mut bytes: &[u8]) -> Vec<Vec<u8>> {
    let mut records = Vec::new();
    while !bytes.is_empty() {
        let length = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
        let (record, rest) = bytes.split_at(length + 16);
        assert_eq!(record[8..12], checksum(&record[..8]));
        assert_eq!(record[12 + length..], checksum(&record[12..12 + length]));
        records.push(record[12..12 + length].to_vec());
        bytes = rest;
    }
    records
}

/// CRC-32C bit by bit, masked as TensorFlow masks it.
fn checksum(bytes: &[u8]) -> [u8; 4] {
    let mut crc = !0u32;
    for byte in bytes {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = crc >> 1 ^ if crc & 1 == 1 { 0x82f6_3b78 } else { 0 };
        }
    }
    let crc = !crc;
    crc.rotate_right(15).wrapping_add(0xa282_ead8).to_le_bytes()
}

/// How many of the records speak of a text.
fn speaking(records: &[Vec<u8>], text: &str) -> usize {
    records.iter().filter(|record| record.windows(text.len()).any(|part| part == text.as_bytes())).count()
}

fn rows(run: &Path, name: &str) -> Vec<Vec<String>> {
    let text = fs::read_to_string(run.join(name)).unwrap();
    text.lines().map(|line| line.split(',').map(String::from).collect()).collect()
}

/// The figures of a log in a table, row by row.
fn assert_tables_hold_the_log(run: &Path) {
    for (name, loss) in [("log.csv", true), ("measured.csv", false)] {
        let table = rows(run, name);
        let lines: Vec<_> =
            log(run).into_iter().filter(|t| t.get("loss").is_some() == loss && t.get("branch").is_none()).collect();
        assert_eq!(table.len(), lines.len() + 1, "{name}");
        for (row, line) in table[1..].iter().zip(&lines) {
            assert_eq!(row.iter().filter(|cell| !cell.is_empty()).count(), line.as_object().unwrap().len(), "{line}");
            for (column, cell) in table[0].iter().zip(row).filter(|(_, cell)| !cell.is_empty()) {
                assert_eq!(&line[column].to_string(), cell, "{name}: {column}");
            }
        }
    }
}

#[test]
fn a_run_that_goes_on_has_every_figure_once() {
    let place = Place::new(TINY);
    let out = place.out("run");
    let shown = ["--set", "train.sample_every=20", "--tensorboard"];
    succeeds(&place.first(&out, &[&shown[..], &["--steps", "40"]].concat()));
    let head = "step,seen,loss,gradient_norm,learning_rate,images_per_second,seconds";
    assert_eq!(rows(&out, "log.csv")[0].join(","), head);
    assert_eq!(rows(&out, "measured.csv")[0].join(","), "step,seen,kid,kid_error,sliced_wasserstein");
    assert_tables_hold_the_log(&out);
    let files = records(&out);
    let [first] = &files[..] else { panic!("{} event files", files.len()) };
    assert_eq!(speaking(&first[..1], "brain.Event:2"), 1);
    assert_eq!([speaking(first, "train/loss"), speaking(first, "measured/kid"), speaking(first, "samples")], [8, 2, 2]);

    // Without the flag: event files are there, so the run goes on with them.
    succeeds(&resume(&out, &["--steps", "60"]));
    assert_tables_hold_the_log(&out);
    let files = records(&out);
    let [_, second] = &files[..] else { panic!("{} event files", files.len()) };
    // Those of the step that it goes on from once more, in place of what a process may not have come to.
    assert_eq!(
        [speaking(second, "train/loss"), speaking(second, "measured/kid"), speaking(second, "samples")],
        [5, 2, 2]
    );
    by_tensorboard(&out);

    // Over the run with another, without event files.
    succeeds(&place.first(&out, &["--steps", "5", "--overwrite"]));
    assert!(!out.join("tensorboard").exists());
    assert_eq!(rows(&out, "log.csv").len(), 2);
    // A run that had none gets those of its past.
    succeeds(&resume(&out, &["--steps", "10", "--tensorboard"]));
    assert_eq!(speaking(&records(&out)[0], "train/loss"), 2);
}

/// What TensorBoard's own reader makes of it, where there is one: no step twice, and pictures.
fn by_tensorboard(run: &Path) {
    let program = "
import sys
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
events = EventAccumulator(sys.argv[1])
events.Reload()
steps = lambda tag: [event.step for event in events.Scalars(tag)]
assert steps('train/loss') == list(range(5, 65, 5)), steps('train/loss')
assert steps('measured/kid') == [20, 40, 60], steps('measured/kid')
pictures = events.Images('samples')
assert pictures and all(p.width > 0 and p.encoded_image_string[:4] == b'\\x89PNG' for p in pictures)
assert [p.step for p in pictures] == [20, 40, 60]
";
    let asked = Command::new("python3").args(["-c", "import tensorboard"]).output();
    if !asked.is_ok_and(|asked| asked.status.success()) {
        eprintln!("event files are not read by TensorBoard, for there is no python3 here with tensorboard");
        return;
    }
    let read = Command::new("python3").args(["-c", program]).arg(run.join("tensorboard")).output().unwrap();
    assert!(read.status.success(), "{}", String::from_utf8_lossy(&read.stderr));
}

/// As long as a run goes on its report is read again and again; the last one stays.
#[cfg(unix)]
#[test]
fn the_report_of_a_run_that_goes_on_is_read_again() {
    let place = Place::new(TINY);
    let out = place.out("run");
    let more = ["--images", "100000000", "--set", "train.sample_every=2"];
    let mut child = command(&place.first(&out, &more)).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let report = || fs::read_to_string(out.join("report.html")).unwrap_or_default();
    while report().is_empty() {
        assert_eq!(child.try_wait().unwrap(), None, "the run ended");
        std::thread::sleep(Duration::from_millis(5));
    }
    assert!(report().contains("The run is going on.") && report().contains("location.reload()"));
    assert!(Command::new("kill").args(["-TERM", &child.id().to_string()]).status().unwrap().success());
    assert_eq!(child.wait().unwrap().code(), Some(130));
    assert!(report().contains("The run was stopped") && !report().contains("reload"));
}

/// Twenty pictures of 8 by 8 in two classes.
fn pictures(path: &Path) {
    let pixels = (0..20 * 64).map(|i: u32| if (i / 64).is_multiple_of(2) ^ (i % 8 < 4) { 40 } else { 200 }).collect();
    let images = Images::from_bytes(pixels, (0..20).map(|i| i % 2).collect(), [8, 8, 1], 2).unwrap();
    npy::write_images(path, &images).unwrap();
}

#[test]
fn figures_of_players_have_columns() {
    let place = Place::new("");
    let (out, data) = (place.out("run"), place.out("pictures.npz"));
    pictures(&data);
    let settings = format!(
        "[data]\npath = '{}'\nlabelled = 8\nvalidation = 6\n[steps]\nstudent = 4\npretraining = 2\nbatch = 4\n\
         [student]\nhidden = [8]\n[teacher]\nchannels = [4]\nhidden = 8\n\
         [train]\ndevice = 'cpu'\nlog_every = 1\nshow_every = 4\n",
        data.display()
    );
    fs::write(&place.config, settings).unwrap();
    let config = place.config.to_str().unwrap();
    succeeds(&["kdgan", "--config", config, "--out", out.to_str().unwrap(), "--tensorboard"]);
    assert_tables_hold_the_log(&out);
    let columns = &rows(&out, "log.csv")[0];
    assert_eq!(columns[..3], ["step", "seen", "loss"]);
    for player in ["student_loss", "teacher_loss", "discriminator_loss"] {
        assert!(columns[7..].iter().any(|column| column == player), "{columns:?}");
        assert!(speaking(&records(&out)[0], &format!("train/{player}")) > 0);
    }
    assert_eq!(rows(&out, "measured.csv")[0], ["step", "seen", "student", "teacher"]);
}

#[test]
fn every_stage_has_its_own() {
    let place = Place::new("");
    let (out, data) = (place.out("run"), place.out("pictures.npz"));
    pictures(&data);
    let settings = TINY.replace("path = \"digits\"", &format!("path = '{}'", data.display()))
        + "[noisy]\nsigma = 0.5\nclean_share = 0.3\n[judge]\nimages = 0\n\
           [sfbd]\nrounds = 1\nround_images = 80\nsteps = 4\n";
    fs::write(&place.config, settings).unwrap();
    let config = place.config.to_str().unwrap();
    succeeds(&["sfbd", "--config", config, "--out", out.to_str().unwrap(), "--images", "80", "--tensorboard"]);
    let stages: Vec<PathBuf> = fs::read_dir(out.join("rounds")).unwrap().map(|stage| stage.unwrap().path()).collect();
    assert_eq!(stages.len(), 2, "{stages:?}");
    for stage in stages {
        assert_tables_hold_the_log(&stage);
        let lines = log(&stage).iter().filter(|line| line["loss"].is_number()).count();
        assert_eq!((speaking(&records(&stage)[0], "train/loss"), records(&stage).len()), (lines, 1));
    }
}
