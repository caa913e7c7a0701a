//! `veridical evaluate`: how far generated samples are from real ones.

mod given;
mod table;

use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use veridical::data::{self, AxisOrder, Images, ReadOptions};
use veridical::diffusion::ModelConfig;
use veridical::distributed::Ranks;
use veridical::escape::escaped;
use veridical::evaluate::{
    Comparing, Comparison, FeatureSpace, ImageClassifier, Measured, compare, compare_statistics,
};
use veridical::tensor::TensorFile;
use veridical::train::{together, write_atomic};
use veridical::{DType, Device, Error, Result, ops};

use super::data::Reading;
use super::output::{self, Form};
use super::progress::note;
use super::{Ended, device, interrupt, model, ranks, say};
use given::Given;

/// Measure how far generated samples are from real ones.
///
/// Fréchet distance, KID, MMD, sliced Wasserstein distance, precision, recall, density, coverage and inception score,
/// on the data's own numbers, on the features of a classifier that `veridical classifier` trained, or on features of
/// your own (scripts/inception_features.py). With features of the Inception network the Fréchet distance is the
/// standard FID; on any other features it is not, and must not be compared with one. Beside precision, recall, density
/// and coverage stands what real data measure against other real data.
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
    /// `pixels`: the data's own numbers, or a classifier: a file, or the directory of a run of kdgan or triple-gan
    #[arg(long, default_value = "pixels", value_name = "pixels|MODEL")]
    features: String,
    /// Compare with the training images even if there are test images
    #[arg(long)]
    against_train: bool,
    /// In place of --real features of real images, `.npy` with a row for each image, or their statistics, `.npz` with
    /// `mu` and `sigma` as EDM and pytorch-fid write them, for the Fréchet distance alone
    #[arg(long, value_name = "FILE", conflicts_with_all = ["real", "generated"], requires = "generated_features")]
    real_features: Option<PathBuf>,
    /// In place of --generated features of generated images, or their statistics
    #[arg(long, value_name = "FILE", requires = "real_features")]
    generated_features: Option<PathBuf>,
    /// Also compare the training images with the test images: what no model that only knows the former can be expected
    /// to beat
    #[arg(long, requires = "real")]
    floor: bool,
    /// Rows that take part in figures that compare every row with every other
    #[arg(long, default_value_t = 10_000, value_name = "N", value_parser = clap::value_parser!(u64).range(10..=1_000_000))]
    neighbours: u64,
    /// Random subsets that KID is the mean of
    #[arg(long, default_value_t = 100, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    kid_subsets: u32,
    /// Rows of either sample in a subset: 1,000, or half of the smaller sample where that is less
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(2..=1_000_000))]
    kid_subset_size: Option<u32>,
    /// The Fréchet distance from statistics of no more rows than numbers, too (of rows it is given, and flagged)
    #[arg(long)]
    rank_deficient: bool,
    /// The seed that rows, subsets and directions are chosen by
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Write the figures to a JSON file, too
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Where the classifier computes: cpu, cuda, cuda:N, emulator, or best
    #[arg(long, default_value = "best", value_parser = device::name)]
    device: String,
    #[command(flatten)]
    ranks: ranks::Args,
}

pub fn run(args: Args) -> Result<Ended> {
    if let Some(ended) = args.ranks.started()? {
        return Ok(ended);
    }
    let ranks = ranks::join("evaluate", false)?;
    // What says how often they exchange something.
    let kind = format!("{} {} {}", args.real_features.is_some(), args.against_train, args.floor);
    ranks.check_same(&[("kind of comparison (--real-features, --against-train, --floor)", kind)])?;
    output::check([("--json", Form::Json, args.json.as_ref())])?;
    if args.real_features.is_some() {
        args.reading.refused_beside("--real-features")?;
    }
    let comparing = args.comparing();
    let told = match (&args.real_features, &args.generated_features, &args.real, &args.generated) {
        (Some(real), Some(generated), ..) => ranks.on_first(|| features(real, generated, &comparing))?,
        (_, _, Some(real), Some(generated)) => {
            let found = images(&args, real, generated, &comparing, &ranks)?;
            found.map(|(generated, floor)| figures(&generated, floor.as_ref(), &comparing))
        }
        _ => {
            return Err(Error::Config(
                "give --real and --generated, or --real-features and --generated-features".into(),
            ));
        }
    };
    let _writing = interrupt::writing();
    ranks.on_first(|| {
        let Some((figures, text)) = &told else { return Ok(()) };
        say(text)?;
        let Some(path) = &args.json else { return Ok(()) };
        let text = serde_json::to_string_pretty(figures).map_err(|e| Error::argument("evaluate", e.to_string()))?;
        write_atomic(path, (text + "\n").as_bytes())
    })?;
    Ok(interrupt::ended())
}

impl Args {
    fn comparing(&self) -> Comparing {
        Comparing {
            neighbours: self.neighbours as usize,
            seed: self.seed,
            kid_subsets: self.kid_subsets as usize,
            kid_subset_size: self.kid_subset_size.map(|size| size as usize),
            rank_deficient: self.rank_deficient,
            ceiling: !self.floor,
        }
    }
}

/// The JSON and the table of a comparison; says what is to be known of its figures.
fn figures(generated: &Comparison, floor: Option<&Comparison>, comparing: &Comparing) -> (Value, String) {
    let notes = table::notes(generated, floor, comparing);
    notes.iter().for_each(|line| note(line));
    (json!({ "generated": generated, "floor": floor, "notes": notes }), table::table(generated, floor))
}

/// The comparison of features from elsewhere, or of what is known of them.
fn features(real: &Path, generated: &Path, comparing: &Comparing) -> Result<(Value, String)> {
    let (real, generated) = (given::read(real)?, given::read(generated)?);
    if let (Given::Features(real), Given::Features(generated)) = (&real, &generated) {
        return Ok(figures(&compare(real, generated, &flagged(comparing))?, None, comparing));
    }
    let (real, generated) = (real.gaussian()?, generated.gaussian()?);
    let found = compare_statistics(&real, &generated, comparing.rank_deficient)?;
    if let (None, Some(why)) = (found.frechet_distance, &found.rank_deficient) {
        return Err(Error::Config(format!("{why}, or get the figure all the same by --rank-deficient")));
    }
    let mut notes = vec![format!("left out, as they need rows of both samples: {}", found.left_out.join(", "))];
    notes.extend(found.rank_deficient.iter().map(|why| format!("Fréchet distance: {why}")));
    notes.iter().for_each(|line| note(line));
    Ok((json!({ "generated": found, "floor": null, "notes": notes }), table::of_statistics(&found)))
}

/// Samples that nearest neighbours can be told of.
const LEAST: usize = 6;

/// The comparison of images, and that of training with test images if it is wanted; on the first rank.
fn images(
    args: &Args,
    real: &str,
    generated: &Path,
    comparing: &Comparing,
    ranks: &Ranks,
) -> Result<Option<(Comparison, Option<Comparison>)>> {
    let space = match args.features.as_str() {
        "pixels" => FeatureSpace::Pixels,
        file => FeatureSpace::Classifier(Box::new(ImageClassifier::load(
            model::classifier(file.as_ref())?,
            &Device::named(&args.device)?,
        )?)),
    };
    let data = data::open_with(real, &args.reading.options(&[])?)?;
    note(&data.account());
    let generated = generated_images(generated, &data.train, args.reading.options(&[])?)?;
    if generated.len() < LEAST || data.train.len() < LEAST {
        let (made, real) = (generated.len(), data.train.len());
        return Err(Error::Config(format!("{made} generated and {real} real samples: give {LEAST} of each or more")));
    }
    if generated.size() != data.train.size() {
        let (a, b) = (generated.size(), data.train.size());
        return Err(Error::Config(format!("what is generated is {a:?} (height, width, channels), what is real {b:?}")));
    }
    if !ranks.is_alone() {
        let test = data.test.as_ref().map(Images::fingerprint).unwrap_or_default();
        ranks.check_same(&[
            ("real data", data.train.fingerprint() + &test),
            ("generated data", generated.fingerprint()),
            ("classifier", space.fingerprint()?),
            ("arithmetic", together::kind(&space.device())),
        ])?;
    }
    let test = data.test.as_ref().map(|test| space.of_on(test, ranks)).transpose()?;
    if args.floor && test.is_none() {
        return Err(Error::Config(format!(
            "--floor: {real} has no test images; without it real ones are split in two"
        )));
    }
    let against = if args.against_train { None } else { test.as_ref() };
    let kind = Measured::of(data.train.size()).rows();
    note(&format!("compared with the {} {kind}", if against.is_some() { "test" } else { "training" }));
    // A classifier takes a while for a large training set, which not every comparison needs.
    let train = (args.floor || against.is_none()).then(|| space.of_on(&data.train, ranks)).transpose()?;
    let made = space.of_on(&generated, ranks)?;
    // What compares rows is one process's work.
    ranks.on_first(|| {
        let compared = match against.or(train.as_ref()) {
            Some(against) => compare(against, &made, &flagged(comparing))?,
            None => return Err(Error::Config(format!("{real} has no images"))),
        };
        let floor = match (args.floor, &test, &train) {
            // As many training images as there are generated ones: distances fall with the number of rows.
            (true, Some(test), Some(train)) => {
                Some(compare(test, &train.sample(generated.len(), args.seed)?, &flagged(comparing))?)
            }
            _ => None,
        };
        Ok((compared, floor))
    })
}

/// `samples` `[n, channels, height, width]` or `[n, dims]` of a safetensors file, or the training part of a data set,
/// read as the real ones were.
fn generated_images(path: &Path, real: &Images, reading: ReadOptions) -> Result<Images> {
    let units = real.units();
    if output::ending(path) != "safetensors" {
        // Whatever a model that was trained badly has drawn, and in the axes that samples are written in. Arrays have
        // what they have.
        let reading = ReadOptions { alpha: reading.alpha && path.is_dir(), ..reading };
        let reading = reading.in_units(units).beside(real.size()).beside_columns(real.columns());
        let options = ReadOptions { noisy: true, layout: AxisOrder::Auto, ..reading };
        let set = data::open_with(path, &options)?;
        note(&set.account());
        let own = set.train.units();
        if own != units && !own.is_unit_size() {
            return Err(Error::Config(format!(
                "{}: its numbers are {own}, those of the real data {units}: distances between them mean nothing; \
                 write both with numbers of one type and in the same units",
                escaped(path)
            )));
        }
        return Ok(set.train);
    }
    let file = TensorFile::open(path)?;
    let Some(samples) = file.tensor("samples", DType::F32, &Device::Cpu)? else {
        if ModelConfig::of_file(&file).is_ok() {
            let what = format!(
                "a model; draw samples first, by `veridical sample --model {} --output samples.npz`, and give those",
                escaped(path)
            );
            return Err(Error::format(path, what));
        }
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

/// The same with the Fréchet distance of rows that are too few for it: it is given, and what it lacks is said.
fn flagged(comparing: &Comparing) -> Comparing {
    Comparing { rank_deficient: true, ..comparing.clone() }
}
