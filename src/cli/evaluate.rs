//! `veridical evaluate`: how far generated samples are from real ones.

use std::path::{Path, PathBuf};

use serde_json::json;
use veridical::data::{self, Images, ReadOptions, npy};
use veridical::escape::escaped;
use veridical::evaluate::ImageClassifier;
use veridical::evaluate::{Comparison, FeatureSpace, Features, compare};
use veridical::figures::fixed;
use veridical::tensor::TensorFile;
use veridical::train::write_atomic;
use veridical::{DType, Device, Error, Result, ops};

use super::data::Reading;
use super::output::{self, Form};
use super::progress::note;
use super::{Ended, device, interrupt, model, say};

/// Measure how far generated samples are from real ones.
///
/// Fréchet distance, KID, MMD, sliced Wasserstein distance, precision, recall, density, coverage and inception score,
/// on pixels, on the features of a classifier that `veridical classifier` trained, or on features of your own. With
/// features of the Inception network the Fréchet distance is the standard FID; on any other features it is not, and
/// must not be compared with one.
#[derive(clap::Args)]
pub struct Args {
    /// Real images: a data set as for `veridical train`; its test images are compared with if it has some
    #[arg(long, visible_alias = "data", value_name = "DATA", required_unless_present = "real_features")]
    real: Option<String>,
    #[command(flatten)]
    reading: Reading,
    /// Generated images: the output of `veridical sample`, or a data set
    #[arg(long, value_name = "FILE", required_unless_present = "generated_features")]
    generated: Option<PathBuf>,
    /// `pixels`, or a classifier: a file, or the directory of a run of kdgan or triple-gan
    #[arg(long, default_value = "pixels", value_name = "pixels|MODEL")]
    features: String,
    /// Compare with the training images even if there are test images
    #[arg(long)]
    against_train: bool,
    /// Features of real images from elsewhere, `.npy` with a row for each image; in place of --real
    #[arg(long, value_name = "FILE", conflicts_with_all = ["real", "generated"], requires = "generated_features")]
    real_features: Option<PathBuf>,
    /// Features of generated images, in place of --generated
    #[arg(long, value_name = "FILE", requires = "real_features")]
    generated_features: Option<PathBuf>,
    /// Also compare the training images with the test images: what no model that only knows the former can be expected
    /// to beat
    #[arg(long, requires = "real")]
    floor: bool,
    /// Rows that take part in figures that compare every row with every other
    #[arg(long, default_value_t = 10_000, value_name = "N", value_parser = clap::value_parser!(u64).range(10..=1_000_000))]
    neighbours: u64,
    /// The seed of the directions of the sliced Wasserstein distance
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Write the figures to a JSON file, too
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Where the classifier computes: cpu, cuda, cuda:N, emulator, or best
    #[arg(long, default_value = "best", value_parser = device::name)]
    device: String,
}

pub fn run(args: Args) -> Result<Ended> {
    output::check([("--json", Form::Json, args.json.as_ref())])?;
    if args.real_features.is_some() {
        args.reading.refused_beside("--real-features")?;
    }
    let neighbours = args.neighbours as usize;
    let (generated, floor) = match (&args.real_features, &args.generated_features, &args.real, &args.generated) {
        (Some(real), Some(generated), ..) => (compare(&given(real)?, &given(generated)?, neighbours, args.seed)?, None),
        (_, _, Some(real), Some(generated)) => images(&args, real, generated, neighbours)?,
        _ => {
            return Err(Error::Config(
                "give --real and --generated, or --real-features and --generated-features".into(),
            ));
        }
    };
    let _writing = interrupt::writing();
    say(&table(&generated, floor.as_ref()))?;
    if let Some(path) = &args.json {
        let figures = json!({ "generated": generated, "floor": floor });
        let text = serde_json::to_string_pretty(&figures).map_err(|e| Error::argument("evaluate", e.to_string()))?;
        write_atomic(path, (text + "\n").as_bytes())?;
    }
    Ok(interrupt::ended())
}

/// Samples that nearest neighbours can be told of.
const LEAST: usize = 6;

/// The comparison of images, and that of training with test images if it is wanted.
fn images(args: &Args, real: &str, generated: &Path, neighbours: usize) -> Result<(Comparison, Option<Comparison>)> {
    let space = match args.features.as_str() {
        "pixels" => FeatureSpace::Pixels,
        file => FeatureSpace::Classifier(Box::new(ImageClassifier::load(
            model::classifier(file.as_ref())?,
            &Device::named(&args.device)?,
        )?)),
    };
    let data = data::open_with(real, &args.reading.options(&[])?)?;
    note(&data.account());
    let generated = generated_images(generated, &data.train, args.reading.options(&[])?.alpha)?;
    if generated.len() < LEAST || data.train.len() < LEAST {
        let (made, real) = (generated.len(), data.train.len());
        return Err(Error::Config(format!("{made} generated and {real} real samples: give {LEAST} of each or more")));
    }
    if generated.size() != data.train.size() {
        let (a, b) = (generated.size(), data.train.size());
        return Err(Error::Config(format!(
            "the generated images are {a:?} (height, width, channels), the real ones {b:?}"
        )));
    }
    let test = data.test.as_ref().map(|test| space.of(test)).transpose()?;
    if args.floor && test.is_none() {
        return Err(Error::Config(format!("--floor: {real} has no test images")));
    }
    let against = if args.against_train { None } else { test.as_ref() };
    note(match against {
        Some(_) => "compared with the test images",
        None => "compared with the training images",
    });
    // A classifier takes a while for a large training set, which not every comparison needs.
    let train = (args.floor || against.is_none()).then(|| space.of(&data.train)).transpose()?;
    let made = space.of(&generated)?;
    let compared = match against.or(train.as_ref()) {
        Some(against) => compare(against, &made, neighbours, args.seed)?,
        None => return Err(Error::Config(format!("{real} has no images"))),
    };
    let floor = match (args.floor, &test, &train) {
        // As many training images as there are generated ones: distances fall with the number of rows.
        (true, Some(test), Some(train)) => {
            Some(compare(test, &train.sample(generated.len(), args.seed)?, neighbours, args.seed)?)
        }
        _ => None,
    };
    Ok((compared, floor))
}

/// Features from a `.npy` file `[n, dims]`.
fn given(path: &Path) -> Result<Features> {
    let array = npy::read(path)?;
    let [_, dims] = array.shape[..] else {
        let what = format!("features [n, dims] are expected, found an array {:?}", array.shape);
        return Err(Error::format(path, what));
    };
    let features = Features { name: "the features given".into(), values: array.to_f64(), dims, probabilities: None };
    match features.not_finite() {
        None => Ok(features),
        Some((row, column, value)) => {
            let what =
                format!("row {row} (counted from 0) holds {value} in column {column}; every number must be finite");
            Err(Error::format(path, what))
        }
    }
}

/// `samples` `[n, channels, height, width]` or `[n, dims]` of a safetensors file, or the training part of a data set.
fn generated_images(path: &Path, real: &Images, alpha: bool) -> Result<Images> {
    let units = real.units();
    if output::ending(path) != "safetensors" {
        // Whatever a model that was trained badly has drawn.
        // Arrays have what they have.
        let alpha = alpha && path.is_dir();
        let options = ReadOptions { alpha, ..ReadOptions::noisy().in_units(units).beside(real.size()) };
        let set = data::open_with(path, &options)?;
        note(&set.account());
        return Ok(set.train);
    }
    let file = TensorFile::open(path)?;
    let Some(samples) = file.tensor("samples", DType::F32, &Device::Cpu)? else {
        let names: Vec<String> = file.names().iter().map(|name| escaped(name).to_string()).collect();
        return Err(Error::format(path, format!("no tensor \"samples\"; it holds {}", names.join(", "))));
    };
    let images = |mut pixels: Vec<f32>, n: usize, size: [usize; 3]| {
        let channels = size[2].max(1);
        if !units.is_unit_size() {
            let seen = |(i, x): (usize, &mut f32)| *x = units.to_model((*x).into(), i % channels) as f32;
            pixels.iter_mut().enumerate().for_each(seen);
        }
        Images::new(pixels, vec![0; n], size, 1)
    };
    match samples.shape()[..] {
        [n, c, h, w] => images(ops::permute(samples, &[0, 2, 3, 1])?.value().to_vec::<f32>()?, n, [h, w, c]),
        // Points, as data sets have them.
        [n, dims] => images(samples.to_vec::<f32>()?, n, [1, 1, dims]),
        _ => {
            let what = format!("samples are {}, expected [n, channels, height, width] or [n, dims]", samples.shape());
            Err(Error::format(path, what))
        }
    }
}

fn table(generated: &Comparison, floor: Option<&Comparison>) -> String {
    type Figure = (&'static str, fn(&Comparison) -> Option<f64>);
    let figures: [Figure; 10] = [
        ("Fréchet distance", |c| Some(c.frechet_distance)),
        ("KID", |c| Some(c.kid)),
        ("  its standard error", |c| c.kid_error),
        ("MMD, Gaussian kernel", |c| Some(c.mmd_gaussian)),
        ("sliced Wasserstein", |c| Some(c.sliced_wasserstein)),
        ("precision", |c| Some(c.precision)),
        ("recall", |c| Some(c.recall)),
        ("density", |c| Some(c.density)),
        ("coverage", |c| Some(c.coverage)),
        ("inception score", |c| c.inception_score),
    ];
    let mut lines = vec![format!(
        "on {} ({} numbers each), {} generated and {} real images",
        generated.features, generated.dims, generated.generated, generated.real
    )];
    let heading = floor.map_or(String::new(), |_| format!("{:>12}", "real"));
    lines.push(format!("{:<24}{:>12}{heading}", "", "generated"));
    for (name, figure) in figures {
        let Some(value) = figure(generated) else { continue };
        let other = floor.and_then(figure).map_or(String::new(), |value| format!("{:>12}", fixed(value, 5)));
        lines.push(format!("{name:<24}{:>12}{other}", fixed(value, 5)));
    }
    lines.join("\n")
}
