//! `veridical denoise`: noisy data made clean by a model, or one evaluation of it on given tensors.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use veridical::data::npy::{self, Array, Values};
use veridical::data::{Images, ReadOptions, open_with};
use veridical::diffusion::write_samples;
use veridical::methods::noisy::{NoisyData, Sigma};
use veridical::methods::{posterior_draws, posterior_mean};
use veridical::tensor::TensorFile;
use veridical::{Device, Error, Result, memory};

use super::data::{Reading, check_fit, for_model};
use super::output::{self, Form};
use super::progress::{Progress, note};
use super::{Ended, device, interrupt, model, stack};

/// Denoise data with a model: what is to be expected of each image given its noisy version, or draws of what it may
/// have been.
///
/// With --data and --sigma: noisy data of any form, in their own units. Without --draws the result is the posterior
/// mean, one evaluation of the model; with --draws K it is K draws from the posterior by the backward SDE, with their
/// mean and standard deviation.
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
    #[arg(long, value_name = "PATH", required_unless_present = "input", conflicts_with = "input", requires = "sigma")]
    data: Option<String>,
    #[command(flatten)]
    reading: Reading,
    /// Standard deviation of their noise, in the units of the data (of bytes for pixels in [-1, 1]): a number, auto (it
    /// is estimated), or a file with one for each image (.npy, or a line each) or each pixel (.npy)
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

/// What the result is written as.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Output {
    Array,
    Archive,
    Tiff,
    Folder,
}

pub fn run(args: Args) -> Result<Ended> {
    match (&args.input, &args.data, &args.sigma) {
        (Some(input), ..) => tensors(&args, input),
        (None, Some(data), Some(sigma)) => people(&args, data, sigma),
        _ => Err(Error::Config("nothing to denoise: give --data with --sigma, or --input".into())),
    }
}

fn tensors(args: &Args, input: &Path) -> Result<Ended> {
    args.reading.refused_beside("--input")?;
    output::check([("--output", Form::Tensors, Some(&args.output))])?;
    let model = model::load(&args.model, &Device::named(&args.device)?)?;
    let denoised = model.denoise_file(&TensorFile::open(input)?)?;
    let _writing = interrupt::writing();
    write_samples(&args.output, "denoised", &denoised)?;
    note(&format!("{} samples denoised on {}", denoised.shape()[0], model.weights.device()));
    Ok(interrupt::ended())
}

fn people(args: &Args, path: &str, sigma: &Sigma) -> Result<Ended> {
    let form = args.form()?;
    let model = model::load(&args.model, &Device::named(&args.device)?)?;
    let options = for_model(args.reading.options(&[])?, &model)?;
    let clean = args.clean.as_ref().map(|path| open_with(path, &options)).transpose()?;
    let noisy = open_with(path, &ReadOptions { noisy: true, ..options })?;
    check_fit(&model, &noisy.train, path)?;
    args.check(form, &noisy.train)?;
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
    let data = NoisyData::given(clean, noisy, sigma)?;
    data.accounts.iter().for_each(|account| note(account));
    let noisy = data.noisy()?;
    let (n, at_once) = (noisy.len(), args.batch as usize);
    let parts = |what: &'static str, of: &mut dyn FnMut(&[u32]) -> Result<()>| -> Result<()> {
        let mut progress = Progress::new(what, n as u64);
        for first in (0..n).step_by(at_once) {
            let indices: Vec<u32> = (first..n.min(first + at_once)).map(|i| i as u32).collect();
            of(&indices)?;
            progress.tick((first + indices.len()) as u64, None);
        }
        progress.finish();
        Ok(())
    };
    let labels = || noisy.labels().to_vec();
    let Some(draws) = args.draws else {
        let mut pixels = Vec::with_capacity(n * noisy.values());
        parts("denoising", &mut |indices| {
            pixels.extend(posterior_mean(&model, noisy, indices, &data.levels)?);
            Ok(())
        })?;
        let _writing = interrupt::writing();
        args.write(form, &noisy.with_pixels(pixels, labels())?)?;
        note(&format!("{n} images denoised on {}", model.weights.device()));
        return Ok(interrupt::ended());
    };
    let mut all = Vec::with_capacity(draws as usize * n * noisy.values());
    for draw in 0..draws {
        parts("drawing", &mut |indices| {
            let (steps, seed) = (args.steps as usize, args.seed);
            all.extend(posterior_draws(&model, noisy, indices, &data.levels, steps, (seed, draw))?);
            Ok(())
        })?;
    }
    let _writing = interrupt::writing();
    args.write_draws(form, noisy, &all, draws as usize)?;
    note(&format!("{draws} draws for each of {n} images on {}", model.weights.device()));
    Ok(interrupt::ended())
}

impl Args {
    fn form(&self) -> Result<Output> {
        let form = match &*output::ending(&self.output) {
            "npy" => Output::Array,
            "npz" => Output::Archive,
            "tif" | "tiff" => Output::Tiff,
            "" => Output::Folder,
            ending => {
                return Err(Error::Config(format!(
                    "--output {}: what is written is .npy, .npz, .tif, or a folder; no .{ending}",
                    self.output.display()
                )));
            }
        };
        if form != Output::Folder {
            output::check([("--output", Form::Numbers, Some(&self.output))])?;
        }
        if form == Output::Folder
            && self.output.is_dir()
            && self.output.read_dir().is_ok_and(|mut all| all.next().is_some())
        {
            let what = "the folder holds something already: give another, or empty it";
            return Err(Error::Config(format!("--output {}: {what}", self.output.display())));
        }
        if self.draws.is_some() && matches!(form, Output::Array | Output::Tiff) {
            let what = "draws have a mean, a standard deviation and themselves: end the name in .npz, or give a folder";
            return Err(Error::Config(format!("--output {}: {what}", self.output.display())));
        }
        Ok(form)
    }

    /// Errors now rather than when all is denoised: where the result does not fit in memory, or no such file can hold
    /// it.
    fn check(&self, form: Output, images: &Images) -> Result<()> {
        let values = images.len() as u128 * images.values() as u128;
        let (bytes, advice) = match self.draws {
            // Each draw in 32 bits and in 64, and as a file.
            Some(draws) => (20 * values * u128::from(draws), "take fewer --draws, or denoise fewer at a time"),
            None => (12 * values, "denoise fewer at a time"),
        };
        memory::check(bytes, &format!("the result for {} images", images.len()), advice)?;
        match form {
            Output::Tiff => stack::check_tiff(&self.output, images.size()[2]),
            _ => Ok(()),
        }
    }

    fn write(&self, form: Output, images: &Images) -> Result<()> {
        match form {
            Output::Array => npy::write(&self.output, &stack::array(images)),
            Output::Archive => npy::write_images(&self.output, images),
            Output::Tiff => stack::write_tiff(&self.output, images),
            Output::Folder => stack::write(&self.output, images, (0..).map(|i| format!("{i:06}"))),
        }
    }

    /// `draws` follow each other in `all`, each with all images.
    fn write_draws(&self, form: Output, noisy: &Images, all: &[f32], draws: usize) -> Result<()> {
        let (n, channels) = (noisy.len() * noisy.values(), noisy.size()[2]);
        let user: Vec<f64> =
            all.chunks_exact(n).flat_map(|draw| noisy.units().all_to_user_f64(draw, channels)).collect();
        let of = |i: usize| (0..draws).map(move |draw| draw * n + i);
        let means: Vec<f64> = (0..n).map(|i| of(i).map(|at| user[at]).sum::<f64>() / draws as f64).collect();
        let spread = |i: usize| of(i).map(|at| (user[at] - means[i]).powi(2)).sum::<f64>();
        let deviations: Vec<f64> = (0..n).map(|i| (spread(i) / (draws.max(2) - 1) as f64).sqrt()).collect();
        if form == Output::Folder {
            for (draw, pixels) in all.chunks_exact(n).enumerate() {
                let images = noisy.with_pixels(pixels.to_vec(), noisy.labels().to_vec())?;
                stack::write(&self.output.join(format!("draw{draw:03}")), &images, (0..).map(|i| format!("{i:06}")))?;
            }
            return Ok(());
        }
        let shape = stack::array(noisy).shape;
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
