//! `veridical noise`: how much noise there is.

use std::path::PathBuf;

use serde_json::json;
use veridical::data::{Detector, Images, Numbers, ReadOptions, open_with};
use veridical::files::write_atomic;
use veridical::methods::noisy::{CountNoise, KnownDetector, count_noise, estimate};
use veridical::{Error, Result};

use super::data::Reading;
use super::output::{self, Form};
use super::progress::note;
use super::{Ended, interrupt, say};

/// Estimate the level of the noise of images.
///
/// Beside clean images (--clean): by how much more the noisy ones vary from pixel to pixel. Without: by the smallest
/// variance that patches of the images have in any direction, which is the noise's where pictures are simpler than
/// their patches could be, and too large where they have detail everywhere. The error bar says how much parts of the
/// data differ, not how far either assumption is from the truth. For white noise of one level.
///
/// Of counts (whole numbers that are no bytes, or with --offset) also the gain of the detector, by how the variance
/// grows with the mean, and the noise of its read-out. Without --offset the images do not tell offset from read-out
/// noise: what the line of the variance lacks at 0 is taken for the former, what it has for the latter, and as much of
/// both as it takes where numbers lie below. `--noise-model counts` learns from such images.
#[derive(clap::Args)]
pub struct Args {
    /// Noisy images: a folder or file (pictures, .npy, .npz, IDX, …)
    #[arg(long, value_name = "PATH")]
    data: String,
    /// Clean images of the same kind
    #[arg(long, value_name = "PATH")]
    clean: Option<String>,
    #[command(flatten)]
    reading: Reading,
    /// The number that stands for no photons, of counts
    #[arg(long, allow_negative_numbers = true)]
    offset: Option<f64>,
    /// Write the estimate as JSON, too: `sigma`, `stderr`, `images`, `beside_clean`, and of counts `gain`,
    /// `gain_stderr`, `offset`, `read_noise`
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

pub fn run(args: Args) -> Result<Ended> {
    output::check([("--json", Form::Json, args.json.as_ref())])?;
    let options = args.reading.options(&[])?;
    let clean = args.clean.as_ref().map(|path| open_with(path, &options)).transpose()?;
    let mut noisy = ReadOptions { noisy: true, ..options };
    if let Some(clean) = &clean {
        note(&clean.account());
        noisy = noisy.in_units(clean.train.units()).beside_columns(clean.train.columns());
    }
    let noisy = open_with(&args.data, &noisy)?;
    note(&noisy.account());
    if let Some(clean) = clean.as_ref().filter(|clean| clean.train.size() != noisy.train.size()) {
        let (a, b) = (clean.train.size(), noisy.train.size());
        return Err(Error::Config(format!(
            "the clean images are {a:?} (height, width, channels), the noisy ones {b:?}"
        )));
    }
    if noisy.train.units().numbers() == Numbers::Uint8 {
        note("levels are of pixels in [-1, 1], for these are bytes");
    }
    if noisy.train.units().are_of_channels() {
        note("levels are in standard deviations of each column, for columns have scales of their own");
    }
    let found = estimate(&noisy.train, clean.as_ref().map(|clean| &clean.train))?;
    let unit = noisy.train.units().of_noise();
    let whole = are_counts(&noisy.train)?;
    let counts = match args.offset.is_some() || whole {
        false => None,
        true => match count_noise(&noisy.train, &KnownDetector { offset: args.offset, ..Default::default() }) {
            Err(error) if args.offset.is_none() => {
                note(&format!("no gain: {error}"));
                None
            }
            counts => Some(counts?),
        },
    };
    let _writing = interrupt::writing();
    say(&found.said(unit))?;
    if let Some(CountNoise { detector: Detector { gain, offset, read_noise }, gain_stderr }) = counts {
        say(&format!(
            "as counts: gain {gain:.4} ± {gain_stderr:.4}, offset {offset:.2}, read-out noise {read_noise:.3}"
        ))?;
        if args.offset.is_none() {
            note(
                "offset and read-out noise are not told apart by images alone, and have no error bar; give --offset if it is \
                 known (that of frames without light)",
            );
        }
    }
    if let Some(path) = &args.json {
        let mut report = json!({
            "sigma": found.sigma * unit,
            "stderr": found.stderr * unit,
            "images": noisy.train.len(),
            "beside_clean": found.beside_clean,
        });
        if let Some(CountNoise { detector, gain_stderr }) = counts {
            report["gain"] = detector.gain.into();
            report["gain_stderr"] = gain_stderr.into();
            report["offset"] = detector.offset.into();
            report["read_noise"] = detector.read_noise.into();
        }
        write_atomic(path, format!("{report:#}\n").as_bytes())?;
    }
    Ok(interrupt::ended())
}

/// Whether the numbers of files are whole, and no bytes: of a type that says so, or as they are.
fn are_counts(images: &Images) -> Result<bool> {
    const LOOKED_AT: u32 = 64;
    let units = images.units();
    match units.numbers() {
        Numbers::Uint16 | Numbers::Int16 => return Ok(true),
        Numbers::Uint8 => return Ok(false),
        Numbers::Float => {}
    }
    let some: Vec<u32> = (0..(images.len() as u32).min(LOOKED_AT)).collect();
    let user = units.all_to_user_f64(&images.gather(&some)?.0, images.size()[2]);
    let (least, most) = user.iter().fold((f64::MAX, f64::MIN), |(a, b), &x| (a.min(x), b.max(x)));
    // What the rounding to 32 bits leaves of whole numbers.
    let near = |x: &f64| (x - x.round()).abs() <= 1e-3 + 1e-6 * x.abs();
    Ok(most - least > 16.0 && user.iter().all(near))
}
