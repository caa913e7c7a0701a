//! `veridical classifier`: a network that makes features for `veridical evaluate`.

use std::path::PathBuf;

use veridical::data::{self, Images};
use veridical::evaluate::{ClassifierTraining, ImageClassifier};
use veridical::figures::counted;
use veridical::metrics::classification;
use veridical::{Device, Error, Result, memory};

use super::data::Reading;
use super::output::{self, Form};
use super::progress::note;
use super::{Ended, device, interrupt, positive, say};

/// Train a small classifier of images, whose features `veridical evaluate` can measure distances on.
///
/// Prints its accuracy on the test images, which take no part in the training.
#[derive(clap::Args)]
pub struct Args {
    /// Labelled images: a data set as for `veridical train`
    #[arg(long, value_name = "DATA")]
    data: String,
    #[command(flatten)]
    reading: Reading,
    /// Where the classifier goes
    #[arg(long, visible_alias = "out", value_name = "FILE")]
    output: PathBuf,
    /// Passes over the training images; without it 3, more for sets of fewer than 50,000
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..=1000))]
    epochs: Option<u64>,
    /// Channels of the convolutions; between two the resolution is halved
    #[arg(long, value_delimiter = ',', default_values_t = [32, 64])]
    channels: Vec<usize>,
    /// Images a step
    #[arg(long, value_name = "IMAGES", default_value_t = ClassifierTraining::default().batch as u32, value_parser = clap::value_parser!(u32).range(1..=65_536))]
    batch: u32,
    /// AdamW's learning rate; it falls along half a cosine
    #[arg(long, value_name = "RATE", default_value_t = ClassifierTraining::default().learning_rate, value_parser = positive)]
    lr: f64,
    /// The seed of first weights, order and dropout
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Where to compute: cpu, cuda, cuda:N, emulator, or best (CUDA if there is a GPU, else CPU)
    #[arg(long, default_value = "best", value_parser = device::name)]
    device: String,
}

/// Images that a classifier sees, each as often as it takes, unless told otherwise.
const LEARNT_FROM: u64 = 150_000;

pub fn run(args: Args) -> Result<Ended> {
    output::check([("--output", Form::Tensors, Some(&args.output))])?;
    let device = Device::named(&args.device)?;
    let data = data::open_with(&args.data, &args.reading.options(&[])?)?;
    note(&data.account());
    if data.train.classes() < 2 {
        return Err(Error::Config(format!("{}: a classifier needs images of two classes at least", args.data)));
    }
    let training = ClassifierTraining {
        epochs: args.epochs.unwrap_or_else(|| LEARNT_FROM.div_ceil(data.train.len() as u64).clamp(3, 30)),
        channels: args.channels,
        batch: args.batch as usize,
        learning_rate: args.lr,
        seed: args.seed,
        ..ClassifierTraining::default()
    };
    if let Some(test) = &data.test {
        if test.classes() != data.train.classes() || test.size() != data.train.size() {
            let of = |images: &Images| {
                format!("{}, images of {:?}", counted(images.classes(), "class", "classes"), images.size())
            };
            return Err(Error::Config(format!(
                "{}: the training images have {}, the test images {}: make them alike",
                args.data,
                of(&data.train),
                of(test)
            )));
        }
        let values = test.values() + training.channels.last().copied().unwrap_or(0) + test.classes();
        let what = format!("judging {} test images", test.len());
        memory::check(8 * test.len() as u128 * values as u128, &what, "lower --channels or give fewer test images")?;
    }
    let classes = counted(data.train.classes(), "class", "classes");
    note(&format!("training on {} of {classes}", counted(data.train.len(), "image", "images")));
    let classifier = ImageClassifier::train(&data.train, &training, &device)?;
    let _writing = interrupt::writing();
    classifier.save(&args.output)?;
    match &data.test {
        Some(test) => {
            let scores = classification(&classifier.logits(&test.pixels()?)?, test.classes(), test.labels(), 15)?;
            say(&format!("accuracy {:.4} on {} test images", scores.accuracy, test.len()))?;
        }
        None => say("no test images: the accuracy is unknown")?,
    }
    Ok(interrupt::ended())
}
