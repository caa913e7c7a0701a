//! Event files, as TensorBoard reads them: in `tensorboard/` of a run's directory, a file for each session.
//!
//! A session begins with `SessionLog.START` at the step that it goes on from: TensorBoard then drops what earlier
//! sessions said of that step and later ones (`_CheckForRestartAndMaybePurge` in its `event_accumulator`). So nothing
//! is cut out of a file that TensorBoard may be reading, and the times of earlier events stay.

mod messages;
mod record;

use std::fs::{self, File};
use std::io::{Cursor, Write};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use image::ImageDecoder;
use image::codecs::png::PngDecoder;
use prost::Message;
use serde_json::Value;

use self::messages::{Event, Image, SessionLog, Status, Summary, summary, what};
use super::kind::Kind;
use crate::error::{Error, Result};
use crate::files;

/// Where event files are, in a run's directory.
pub(super) const FOLDER: &str = "tensorboard";
/// The beginning of their names, which TensorBoard finds them by.
const PREFIX: &str = "events.out.tfevents.";

/// An event file that is being written.
#[derive(Debug)]
pub(super) struct Events {
    file: File,
    path: PathBuf,
    first: u64,
}

impl Events {
    /// Begins the file of a session of the run in `place`, which has made `step` steps.
    pub fn begin(place: &Path, step: u64) -> Result<Self> {
        let folder = place.join(FOLDER);
        fs::create_dir_all(&folder).map_err(|e| Error::io(&folder, e))?;
        let earlier = newest(&folder)?;
        // Files are read in the order of their names, which begin with the time.
        let time = earlier.map_or(0, |earlier| earlier.saturating_add(1)).max(now() as u64);
        let path = folder.join(format!("{PREFIX}{time:010}.veridical"));
        let file = File::create_new(&path).map_err(|e| Error::io(&path, e))?;
        // Without earlier events there may be earlier lines, of sessions that were not to write any.
        let first = if earlier.is_some() { step } else { 0 };
        let mut events = Events { file, path, first };
        events.write(0, what::What::FileVersion("brain.Event:2".into()))?;
        events.write(first, what::What::SessionLog(SessionLog { status: Status::Start.into() }))?;
        Ok(events)
    }

    /// The first step of which events are to be told.
    pub fn first(&self) -> u64 {
        self.first
    }

    /// Tells the figures of a line of the log.
    pub fn tick(&mut self, tick: &Value) -> Result<()> {
        let (Some(kind), Some(step), Some(fields)) = (Kind::of(tick), tick["step"].as_u64(), tick.as_object()) else {
            return Ok(());
        };
        // Every line of training says how many samples were seen.
        let told = |name: &str| name != "step" && (kind == Kind::Training || name != "seen");
        let scalar = |(name, value): (&String, &Value)| {
            let value = value.as_f64().filter(|_| told(name))? as f32;
            Some(summary::Value::new(format!("{}/{name}", kind.group()), summary::Of::SimpleValue(value)))
        };
        let value: Vec<_> = fields.iter().filter_map(scalar).collect();
        if value.is_empty() { Ok(()) } else { self.write(step, what::What::Summary(Summary { value })) }
    }

    /// Shows a picture of samples. Somebody may have put something else there, which is passed over.
    pub fn picture(&mut self, step: u64, path: &Path) -> Result<()> {
        let bytes = files::read(path)?;
        let Ok(png) = PngDecoder::new(Cursor::new(&bytes)) else { return Ok(()) };
        let (width, height) = png.dimensions();
        let colorspace = png.color_type().channel_count().into();
        let image =
            Image { height: height as i32, width: width as i32, colorspace, encoded_image_string: bytes.clone() };
        let value = vec![summary::Value::new("samples".into(), summary::Of::Image(image))];
        self.write(step, what::What::Summary(Summary { value }))
    }

    fn write(&mut self, step: u64, what: what::What) -> Result<()> {
        let event = Event { wall_time: now(), step: step as i64, what: Some(what) };
        let record = record::framed(&event.encode_to_vec());
        self.file.write_all(&record).map_err(|e| Error::io(&self.path, e))
    }
}

/// Seconds since 1970.
fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |time| time.as_secs_f64())
}

/// The time in the name of the newest event file; `None` if there is none.
fn newest(folder: &Path) -> Result<Option<u64>> {
    let mut newest: Option<u64> = None;
    for entry in fs::read_dir(folder).map_err(|e| Error::io(folder, e))? {
        let name = entry.map_err(|e| Error::io(folder, e))?.file_name();
        let rest = name.to_str().and_then(|name| name.strip_prefix(PREFIX));
        newest = newest.max(rest.and_then(|rest| rest.split('.').next()?.parse().ok()));
    }
    Ok(newest)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// Records of Python's tensorboard 2.21, by `RecordWriter` of `event_pb2.Event`.
    #[test]
    fn records_are_tensorboards_own() {
        let summary = |tag: &str, of| Summary { value: vec![summary::Value::new(tag.into(), of)] };
        let image = Image { height: 2, width: 3, colorspace: 1, encoded_image_string: b"PNG".to_vec() };
        for (step, what, golden) in [
            (
                0,
                what::What::FileVersion("brain.Event:2".into()),
                "1800000000000000a37f4b220900001040fc54d9411a0d627261696e2e4576656e743a32338d2fe9",
            ),
            (
                7,
                what::What::SessionLog(SessionLog { status: Status::Start.into() }),
                "0f000000000000006d532b090900001040fc54d94110073a0208010f417177",
            ),
            (
                300,
                what::What::Summary(summary("train/loss", summary::Of::SimpleValue(0.1))),
                "2100000000000000017becf60900001040fc54d94110ac022a130a110a0a747261696e2f6c6f737315cdcccc3d5f7626ba",
            ),
            (
                300,
                what::What::Summary(summary("samples", summary::Of::Image(image))),
                "2600000000000000734fe3000900001040fc54d94110ac022a180a160a0773616d706c6573220b0802100318012203504e47ccb0cff1",
            ),
        ] {
            let event = Event { wall_time: 1_700_000_000.25, step, what: Some(what) };
            let record: String = record::framed(&event.encode_to_vec()).iter().map(|b| format!("{b:02x}")).collect();
            assert_eq!(record, golden);
        }
    }

    /// The events in a folder as text, file by file.
    fn told(place: &Path) -> Vec<Vec<String>> {
        let mut paths: Vec<_> = fs::read_dir(place.join(FOLDER)).unwrap().map(|e| e.unwrap().path()).collect();
        paths.sort();
        let event = |bytes: &[u8]| {
            let event = Event::decode(bytes).unwrap();
            match event.what.unwrap() {
                what::What::FileVersion(version) => version,
                what::What::SessionLog(_) => format!("start at {}", event.step),
                what::What::Summary(summary) => {
                    let value = |value: summary::Value| match value.of.unwrap() {
                        summary::Of::SimpleValue(number) => format!(" {}={number}", value.tag),
                        summary::Of::Image(i) => format!(" {} {}x{}x{}", value.tag, i.height, i.width, i.colorspace),
                    };
                    format!("{}:{}", event.step, summary.value.into_iter().map(value).collect::<String>())
                }
            }
        };
        let file = |path: PathBuf| {
            let bytes = fs::read(path).unwrap();
            let (mut at, mut events) = (0, Vec::new());
            while at < bytes.len() {
                let length = u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap()) as usize;
                events.push(event(&bytes[at + 12..at + 12 + length]));
                at += 16 + length;
            }
            events
        };
        paths.into_iter().map(file).collect()
    }

    #[test]
    fn a_session_begins_at_its_first_step() {
        let dir = tempfile::tempdir().unwrap();
        let picture = dir.path().join("picture.png");
        image::GrayImage::new(5, 4).save(&picture).unwrap();
        let mut events = Events::begin(dir.path(), 6).unwrap();
        assert_eq!(events.first(), 0, "nothing was told before");
        events.tick(&json!({"step": 2, "seen": 8, "loss": 0.5, "gradient_norm": null})).unwrap();
        events.tick(&json!({"step": 2, "seen": 8, "kid": 2})).unwrap();
        events.tick(&json!({"step": 2, "seen": 8, "branch": [{"key": "optimizer.lr"}]})).unwrap();
        events.tick(&json!({"no": "step"})).unwrap();
        events.picture(2, &picture).unwrap();
        fs::write(dir.path().join("other.png"), "no picture").unwrap();
        events.picture(2, &dir.path().join("other.png")).unwrap();
        // In the same second: another file, and a later name.
        let events = Events::begin(dir.path(), 6).unwrap();
        assert_eq!(events.first(), 6);
        let version = "brain.Event:2";
        assert_eq!(
            told(dir.path()),
            [
                vec![version, "start at 0", "2: train/loss=0.5 train/seen=8", "2: measured/kid=2", "2: samples 4x5x1"],
                vec![version, "start at 6"]
            ]
        );
    }
}
