//! `veridical denoise`: noisy data made clean by a model, or one evaluation of it on given tensors.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use veridical::data::npy::{self, Array, Values};
use veridical::data::{Images, ReadOptions, Transform, Units, open_with};
use veridical::diffusion::write_samples;
use veridical::figures::counted;
use veridical::methods::noisy::{NoisyData, Sigma};
use veridical::methods::posterior_draws;
use veridical::tensor::TensorFile;
use veridical::{Device, Error, Result};

use super::data::{Reading, check_fit, check_size, for_model};
use super::destination::{Destination, in_parts, mean};
use super::output::{self, Form};
use super::progress::note;
use super::{Ended, device, interrupt, model, stack};

/// Denoise data with a model: what is to be expected of each image given its noisy version, or draws of what it may
/// have been.
///
/// With --data and --sigma: noisy data of any form, in their own units. Without --draws the result is the posterior
/// mean, one evaluation of the model; with --draws K it is K draws from the posterior by the backward SDE, with their
/// mean and standard deviation. A model of counts (`--noise-model counts`) needs no --sigma, and gives counts, by the
/// exact unbiased inverse of its transform.
///
/// With --input, to check a model against its origin: a safetensors file with `x` [N,C,H,W], `sigma` [N] and, where the
/// model takes them, `class_labels` [N,K] and `augment_labels` [N,A] (both may be left out); the output holds
/// `denoised` [N,C,H,W] in f32.
#[derive(clap::Args)]
pub struct Args {
    /// The model file, or the directory of a run
    #[arg(long, value_name = "MODEL")]
    model: PathBuf,
    /// Noisy data: a folder or file (pictures, .npy, .npz, IDX, …)
    #[arg(long, value_name = "PATH", required_unless_present = "input", conflicts_with = "input")]
    data: Option<String>,
    #[command(flatten)]
    reading: Reading,
    /// Standard deviation of their noise, in the units of the data (of bytes for pixels in [-1, 1]): a number, auto (it
    /// is estimated), or a file with one for each image (.npy, or a line each) or each pixel (.npy). Of a model of
    /// logarithms it is that of the logarithm; one of counts knows it
    #[arg(long, value_name = "SIGMA", requires = "data", allow_negative_numbers = true)]
    sigma: Option<Sigma>,
    /// Clean data of the same kind, which help --sigma auto
    #[arg(long, value_name = "PATH", requires = "data")]
    clean: Option<String>,
    /// Draw so many times from the posterior instead
    #[arg(long, value_name = "K", requires = "data", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    draws: Option<u32>,
    /// Levels of the grid on which draws are made, from sigma 80 on
    #[arg(long, default_value_t = 40, requires = "draws", value_parser = clap::value_parser!(u32).range(2..=10_000))]
    steps: u32,
    /// Makes the draws
    #[arg(long, default_value_t = 0, requires = "draws")]
    seed: u64,
    /// Noisy samples, noise levels and labels as tensors (safetensors)
    #[arg(long, value_name = "FILE")]
    input: Option<PathBuf>,
    /// Where the result goes. Of --data: .npy, .tif, .npz (with --draws `mean`, `sd` and `draws`), or a folder of a
    /// file each; of --input: safetensors
    #[arg(long, visible_alias = "out", value_name = "PATH")]
    output: PathBuf,
    /// Images denoised at once; no image depends on it
    #[arg(long, value_name = "IMAGES", default_value_t = 256, requires = "data", value_parser = clap::value_parser!(u32).range(1..=65_536))]
    batch: u32,
    /// Where to compute: cpu, cuda, cuda:N, emulator, or best (CUDA if there is a GPU, else CPU)
    #[arg(long, default_value = "best", value_parser = device::name)]
    device: String,
}

pub fn run(args: Args) -> Result<Ended> {
    match (&args.input, &args.data) {
        (Some(input), _) => tensors(&args, input),
        (None, Some(data)) => people(&args, data),
        _ => Err(Error::Config("nothing to denoise: give --data with --sigma, or --input".into())),
    }
}

fn tensors(args: &Args, input: &Path) -> Result<Ended> {
    args.reading.refused_beside("--input")?;
    output::check([("--output", Form::Tensors, Some(&args.output))])?;
    output::apart(&[("--output", &args.output)], [("--model", &*args.model), ("--input", input)])?;
    let model = model::load(&args.model, &Device::named(&args.device)?)?;
    let denoised = model.denoise_file(&TensorFile::open(input)?)?;
    let _writing = interrupt::writing();
    write_samples(&args.output, "denoised", &denoised)?;
    note(&format!("{} denoised on {}", counted(denoised.shape()[0], "sample", "samples"), model.weights.device()));
    Ok(interrupt::ended())
}

fn people(args: &Args, path: &str) -> Result<Ended> {
    let destination = Destination::new("--output", &args.output, args.draws)?;
    let clean = args.clean.as_deref().map(|clean| ("--clean", clean));
    destination.apart([("--data", path)].into_iter().chain(clean), args.sigma.as_ref())?;
    output::apart(&[("--output", &args.output)], [("--model", &*args.model)])?;
    let model = model::load(&args.model, &Device::named(&args.device)?)?;
    let transformed = model.units().filter(|units| units.transform().is_some());
    let mut options = for_model(args.reading.options(&[])?, &model)?;
    // What the model sees is made of the numbers of the files.
    match transformed.and_then(Units::transform).map(Transform::detector) {
        Some(None) => options = options.exact(),
        Some(Some(_)) => options.units = None,
        None => {}
    }
    let clean = args.clean.as_ref().map(|path| open_with(path, &options)).transpose()?;
    let noisy = open_with(path, &ReadOptions { noisy: true, ..options })?;
    match transformed {
        None => check_fit(&model, &noisy.train, path)?,
        Some(_) => check_size(&model, &noisy.train, path)?,
    }
    destination.check(&noisy.train)?;
    match (model.denoiser().label_dim(), noisy.train.classes()) {
        (0, _) => {}
        (_, 1) if model.denoiser().label_dropout() == Some(0.0) => {
            return Err(Error::Config(
                "the data have no classes, and the model never saw a sample without one (model.label_dropout = 0)"
                    .into(),
            ));
        }
        (_, 1) => note("the data have no classes, so each image is denoised as of none"),
        _ => model.check_classes(&noisy.class_names)?,
    }
    let data = match (transformed, &args.sigma) {
        (Some(units), sigma) => NoisyData::in_units(clean, noisy, sigma.as_ref(), units)?,
        (None, Some(sigma)) => NoisyData::given(clean, noisy, sigma)?,
        (None, None) => {
            return Err(Error::Config(
                "--data without --sigma: give the standard deviation of the noise, --sigma auto to have it estimated, or a file with one for each image"
                    .into(),
            ));
        }
    };
    data.accounts.iter().for_each(|account| note(account));
    let noisy = data.noisy()?;
    let (n, at_once) = (noisy.len(), args.batch as usize);
    let Some(draws) = args.draws else {
        let denoised = mean(&model, noisy, &data.levels, at_once)?;
        let _writing = interrupt::writing();
        destination.write(&denoised)?;
        note(&format!("{} denoised on {}", counted(n, "image", "images"), model.weights.device()));
        return Ok(interrupt::ended());
    };
    let mut all = Vec::with_capacity(draws as usize * n * noisy.values());
    for draw in 0..draws {
        in_parts("drawing", (n, at_once), &mut |indices| {
            let (steps, seed) = (args.steps as usize, args.seed);
            all.extend(posterior_draws(&model, noisy, indices, &data.levels, steps, (seed, draw))?);
            Ok(())
        })?;
    }
    let _writing = interrupt::writing();
    args.write_draws(&destination, noisy, &all, draws as usize)?;
    let (draws, images) = (counted(draws as usize, "draw", "draws"), counted(n, "image", "images"));
    note(&format!("{draws} for each of {images} on {}", model.weights.device()));
    Ok(interrupt::ended())
}

impl Args {
    /// `draws` follow each other in `all`, each with all images.
    fn write_draws(&self, to: &Destination, noisy: &Images, all: &[f32], draws: usize) -> Result<()> {
        let (n, channels) = (noisy.len() * noisy.values(), noisy.size()[2]);
        let user: Vec<f64> =
            all.chunks_exact(n).flat_map(|draw| noisy.units().all_to_user_f64(draw, channels)).collect();
        let of = |i: usize| (0..draws).map(move |draw| draw * n + i);
        let means: Vec<f64> = (0..n).map(|i| of(i).map(|at| user[at]).sum::<f64>() / draws as f64).collect();
        let spread = |i: usize| of(i).map(|at| (user[at] - means[i]).powi(2)).sum::<f64>();
        let deviations: Vec<f64> = (0..n).map(|i| (spread(i) / (draws.max(2) - 1) as f64).sqrt()).collect();
        if to.is_folder() {
            for (draw, pixels) in all.chunks_exact(n).enumerate() {
                let images = noisy.with_pixels(pixels.to_vec(), noisy.labels().to_vec())?;
                stack::write(&self.output.join(format!("draw{draw:03}")), &images, (0..).map(|i| format!("{i:06}")))?;
            }
            return Ok(());
        }
        let shape = stack::array(noisy)?.shape;
        let of_all = [&[draws][..], &shape].concat();
        let wide = noisy.units().need_f64();
        let array = |shape: &[usize], values: Vec<f64>| Array {
            shape: shape.to_vec(),
            values: match wide {
                true => Values::F64(values),
                false => Values::F32(values.into_iter().map(|x| x as f32).collect()),
            },
        };
        let arrays = BTreeMap::from([
            ("mean".to_string(), array(&shape, means)),
            ("sd".to_string(), array(&shape, deviations)),
            ("draws".to_string(), array(&of_all, user)),
        ]);
        npy::write_npz(&self.output, &arrays)
    }
}
