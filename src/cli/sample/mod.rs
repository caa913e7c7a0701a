//! `veridical sample`: new samples from a model file.

mod draw;
mod results;
mod seeds;
mod solver;

use std::path::{Path, PathBuf};

use seeds::Seeds;
use veridical::data::{self, ReadOptions};
use veridical::diffusion::{Guidance, Model, Request, Sampler, Start, one_hot, random_classes};
use veridical::escape::escaped;
use veridical::files::check_folder;
use veridical::report::ImageGrid;
use veridical::tensor::TensorFile;
use veridical::{DType, Device, Error, Result, Tensor, memory};

use super::output::{self, Form};
use super::progress::{note, warn};
use super::{Ended, compute, device, flags, interrupt, model, positive, ranks, say, stack};

/// Draw samples from a model.
///
/// Sample i of --seeds depends on seed i alone, whatever it is drawn with. Safetensors hold images as [n, channels,
/// height, width] in [-1, 1], or in the units of data that were standardised; a .npz holds them in the units of the
/// data. The defaults are EDM's: Heun's method, 18 steps from sigma 80 to 0.002 with rho 7, no churn. On the CPU the
/// solver works in f64, as EDM's does; on a GPU in f32, for GPU tensors have no f64 here.
#[derive(clap::Args)]
pub struct Args {
    /// The model file, or the directory of a run
    #[arg(long, value_name = "MODEL")]
    model: PathBuf,
    /// Start from `latents` of unit variance in this safetensors file
    #[arg(long, value_name = "FILE", conflicts_with_all = ["start_image", "start_sigma"])]
    latents: Option<PathBuf>,
    /// Which samples to draw: numbers and ranges, as in 0-63 or 1,5,9-12 [default: 0-63, or as many as there are
    /// images]
    #[arg(long, conflicts_with = "latents")]
    seeds: Option<Seeds>,
    /// Where `samples` go (safetensors), or `images` [n, height, width, channels] and their `labels` (.npz), which
    /// every command reads as a data set: bytes where the data were bytes, else numbers in the units of the data; or
    /// the pages of a TIFF file (.tif)
    #[arg(long, visible_alias = "out", value_name = "FILE")]
    output: Option<PathBuf>,
    /// Where each sample goes, called by its seed: 000000.png of 8 or 16 bits where the data were such, else .npy
    #[arg(long, value_name = "DIR")]
    output_dir: Option<PathBuf>,
    /// Where a picture of all samples goes
    #[arg(long, value_name = "FILE")]
    png: Option<PathBuf>,
    /// Where the states of all steps go: `x` [steps + 1, n, ...] and `sigmas` (safetensors)
    #[arg(long, value_name = "FILE")]
    trajectory: Option<PathBuf>,
    #[command(flatten)]
    ranks: ranks::Args,
    /// One class for all samples, by its name or counted from 0 [default: a random one for each]
    #[arg(long, value_name = "CLASS", conflicts_with = "class_labels")]
    class: Option<String>,
    /// `class_labels` [n, classes] from this file, or without one from that of --latents
    #[arg(long, value_name = "FILE", num_args = 0..=1)]
    class_labels: Option<Option<PathBuf>>,
    /// Weight of guidance: 1 is none. Away from no class, or from --guidance-model
    #[arg(long, value_name = "W", conflicts_with = "no_class")]
    guidance: Option<f64>,
    /// No class, from a model that has some
    #[arg(long, conflicts_with_all = ["class", "class_labels"])]
    no_class: bool,
    /// The model to guide with (autoguidance): a file, or the directory of a run
    #[arg(long, value_name = "MODEL", requires = "guidance")]
    guidance_model: Option<PathBuf>,
    /// Guide between these noise levels only
    #[arg(long, value_name = "LOW,HIGH", requires = "guidance", value_parser = interval)]
    guidance_interval: Option<(f64, f64)>,
    /// Start from images (`x` of a safetensors file, or a picture) behind noise of level --start-sigma
    #[arg(long, value_name = "FILE", requires = "start_sigma")]
    start_image: Option<PathBuf>,
    /// The noise level of --start-image: of pixels in [-1, 1], or in the units of data that were standardised
    #[arg(long, value_name = "SIGMA", requires = "start_image", value_parser = positive)]
    start_sigma: Option<f64>,
    /// The images have noise of that level already: add none
    #[arg(long, requires = "start_image")]
    start_noisy: bool,
    /// Samples drawn at once; no sample depends on it
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=65_536))]
    batch: u32,
    /// What the network computes in: f32 or bf16
    #[arg(long, default_value = "f32", value_parser = ["f32", "bf16"])]
    compute: String,
    /// Where to compute: cpu, cuda, cuda:N, emulator, or best (CUDA if there is a GPU, else CPU)
    #[arg(long, default_value = "best", value_parser = device::name)]
    device: String,
    // Last, as its heading would stand over what follows.
    #[command(flatten)]
    solver: solver::Args,
}

/// The sampler that these flags of solver and grid ask for, such as `--solver` and `euler`, for this model. Errors on
/// what contradicts itself.
pub fn sampler(model: &Model, given: &[String]) -> Result<Sampler> {
    flags::<solver::Args>(given)?.sampler(model)
}

fn interval(text: &str) -> std::result::Result<(f64, f64), String> {
    let parts: Vec<f64> = text.split(',').filter_map(|part| part.trim().parse().ok()).collect();
    match parts[..] {
        [low, high] if low >= 0.0 && low < high => Ok((low, high)),
        _ => Err(format!("`{text}` is no interval; two noise levels, as in 0.3,5")),
    }
}

pub fn run(args: Args) -> Result<Ended> {
    if let Some(ended) = args.ranks.started()? {
        return Ok(ended);
    }
    let ranks = ranks::join("sample", false)?;
    if args.output.is_none() && args.output_dir.is_none() && args.png.is_none() && args.trajectory.is_none() {
        return Err(Error::Config(
            "nowhere to put the samples: give --output, --output-dir, --png or --trajectory".into(),
        ));
    }
    output::check([
        ("--output", Form::Samples, args.output.as_ref()),
        ("--png", Form::Picture, args.png.as_ref()),
        ("--trajectory", Form::Tensors, args.trajectory.as_ref()),
    ])?;
    let files = [("--output", &args.output), ("--png", &args.png), ("--trajectory", &args.trajectory)];
    let files: Vec<(&str, &Path)> = files.iter().filter_map(|(flag, path)| Some((*flag, path.as_deref()?))).collect();
    let guide = args.guidance_model.as_deref().map(|path| ("--guidance-model", path));
    output::apart(&files, [("--model", &*args.model)].into_iter().chain(guide))?;
    let device = Device::named(&args.device)?;
    let model = model::load(&args.model, &device)?;
    let reference = args.guidance_model.as_ref().map(|path| model::load(path, &device)).transpose()?;
    let guidance = args.guidance.map(|weight| Guidance { weight, interval: args.guidance_interval });
    let at_once = Some(args.batch as usize);
    let sampler = Sampler { guidance, compute: compute(&args.compute), at_once, ..args.solver.sampler(&model)? };
    if let Some(guidance) = &sampler.guidance {
        guidance.check()?;
        if reference.is_none() && model.denoiser().label_dim() == 0 {
            return Err(Error::Config("the model has no classes: --guidance needs a --guidance-model".into()));
        }
    }
    let without_class = args.no_class || sampler.guidance.is_some() && reference.is_none();
    if without_class && model.denoiser().label_dropout() == Some(0.0) {
        return Err(Error::Config(
            "the model was trained with model.label_dropout = 0: it never saw a sample without its class, so --no-class and --guidance \
             (but for --guidance-model) mean nothing; train with 0.1"
                .into(),
        ));
    }
    let (start, samples) = args.start(&model)?;
    args.check(&model, &sampler, &samples)?;
    // By one of the ranks: another's trial would go with the folder that this one made for its own.
    if let Some(folder) = args.output_dir.as_ref().filter(|_| ranks.is_first()) {
        let _writing = interrupt::writing();
        check_folder(folder)?;
    }
    let labels = args.labels(&model, &samples)?;
    let request = Request {
        model: &model,
        reference: reference.as_ref(),
        labels,
        start,
        seed: 0,
        samples,
        trajectory: args.trajectory.is_some(),
    };

    let (drawn, _keeping, ended) = draw::draw(&sampler, &request, args.batch as usize, &ranks)?;
    if !ranks.is_first() {
        return Ok(ended); // the first one writes
    }
    let _writing = interrupt::writing();
    let count: usize = drawn.iter().map(|part| part.samples.shape()[0]).sum();
    let labels = request.labels.as_ref().map(|labels| labels.narrow(0, count));
    args.write(&model, &drawn, labels.transpose()?.as_ref(), &request.samples)?;
    let nfe = drawn.iter().map(|part| part.nfe).max().unwrap_or(0);
    say(&format!("{count} samples, {nfe} denoiser calls each ({})", args.solver.solver))?;
    if let Some(missing) = request.samples.get(count) {
        let total = request.samples.len();
        warn(&format!("stopped: seed {missing} and those after it were not drawn, {} of {total}", total - count));
    }
    Ok(if matches!(ended, Ended::Done) { interrupt::ended() } else { ended })
}

impl Args {
    /// What to start from, and which samples.
    fn start(&self, model: &Model) -> Result<(Start, Vec<u32>)> {
        let (shape, device) = (model.denoiser().sample_shape(), model.weights.device());
        if let Some(path) = &self.latents {
            let latents = samples(model, path, "latents")?;
            let n = latents.shape()[0] as u32;
            return Ok((Start::Latents(latents), (0..n).collect()));
        }
        let (Some(path), Some(sigma)) = (&self.start_image, self.start_sigma) else {
            return Ok((Start::Noise, self.seeds.clone().map_or_else(|| (0..64).collect(), |seeds| seeds.0)));
        };
        let tensors = output::ending(path) == "safetensors" || !data::is_picture(path)?;
        let images = if tensors { model.in_own_units(&samples(model, path, "x")?)? } else { picture(path, model)? };
        let sigma = sigma / model.units().map_or(1.0, |units| units.of_noise());
        let n = images.shape()[0];
        let seeds: Vec<u32> = self.seeds.clone().map_or_else(|| (0..n as u32).collect(), |seeds| seeds.0);
        let images = match (n, seeds.len()) {
            (a, b) if a == b => images,
            (1, count) => {
                let one = images.to_vec::<f32>()?;
                let all: Vec<f32> = one.iter().copied().cycle().take(one.len() * count).collect();
                Tensor::from_slice(&all, [&[count][..], &shape].concat(), &device)?
            }
            (a, b) => {
                return Err(Error::Config(format!(
                    "{a} images to start from and {b} seeds: give one image, or as many as seeds"
                )));
            }
        };
        let start = if self.start_noisy { Start::Noisy { images, sigma } } else { Start::Image { images, sigma } };
        Ok((start, seeds))
    }

    /// Errors now rather than when all samples are drawn: where they do not fit in memory, or no picture can show them.
    fn check(&self, model: &Model, sampler: &Sampler, seeds: &[u32]) -> Result<()> {
        let count = seeds.len();
        if let Some(path) = self.output.as_ref().filter(|path| matches!(&*output::ending(path), "tif" | "tiff")) {
            stack::check_tiff(path, model.denoiser().sample_shape().last().copied().unwrap_or(1))?;
        }
        if let Some(folder) = self.output_dir.as_ref().filter(|folder| folder.exists() && !folder.is_dir()) {
            return Err(Error::Config(format!("--output-dir {}: a file; give a folder", folder.display())));
        }
        if let Some(folder) = &self.output_dir {
            for seed in seeds {
                let there = ["png", "npy"].map(|ending| folder.join(format!("{seed:06}.{ending}")));
                if let Some(file) = there.iter().find(|file| file.exists()) {
                    let what = "is there already and would be replaced: give another folder, or other --seeds";
                    return Err(Error::Config(format!("--output-dir: {} {what}", file.display())));
                }
            }
        }
        let values = model.denoiser().sample_shape().iter().product::<usize>() as u128;
        let states = if self.trajectory.is_some() { sampler.sigmas(model, None)?.len() as u128 } else { 0 };
        // Of each sample its tensor, its part of all of them, and what a file is made of; of the states the same.
        let bytes = 12 * (count as u128) * values * (1 + states);
        let advice = match states {
            0 => "draw fewer at a time (--seeds)",
            _ => "draw fewer (--seeds), in fewer steps (--steps), or leave out --trajectory",
        };
        let what = format!("keeping {count} samples of {values} numbers in {} states", 1 + states);
        memory::check(bytes, &what, advice)?;
        if self.png.is_some() {
            let size = results::picture_size(model)?;
            let fits = ImageGrid::new(size).room("", count, results::columns(count)).check();
            fits.map_err(|e| Error::Config(format!("--png: {e}; draw fewer (--seeds), or take --output instead")))?;
        }
        Ok(())
    }

    fn labels(&self, model: &Model, samples: &[u32]) -> Result<Option<Tensor>> {
        let (n, dim, device) = (samples.len(), model.denoiser().label_dim(), model.weights.device());
        if let Some(class) = &self.class {
            return one_hot(model, &vec![self::class(class, model)?; n]).map(Some);
        }
        let path = match &self.class_labels {
            Some(Some(path)) => Some(path),
            _ => self.latents.as_ref(),
        };
        let read =
            |path: &PathBuf| model.denoiser().labels_from(&TensorFile::open(path)?, "class_labels", [n, dim], &device);
        let found = path.map(read).transpose()?.flatten();
        match (&self.class_labels, found) {
            (_, Some(labels)) if !self.no_class => Ok(Some(labels)),
            (Some(_), None) => Err(Error::Config("--class-labels: there is no tensor class_labels".into())),
            // As EDM does: latents without labels are for no class, seeds bring a random one.
            _ if dim == 0 || self.no_class || self.latents.is_some() => Ok(None),
            _ => one_hot(model, &random_classes(0, samples, dim)?).map(Some),
        }
    }
}

/// The samples called `name` in a safetensors file, at least one.
fn samples(model: &Model, path: &Path, name: &str) -> Result<Tensor> {
    let found = model.denoiser().samples_from(&TensorFile::open(path)?, name, DType::F32, &model.weights.device())?;
    if found.is_empty() { Err(Error::format(path, format!("{name} holds no samples"))) } else { Ok(found) }
}

/// The class that is meant: one of the model's names, for names may be numbers that count otherwise, or else its
/// number.
fn class(text: &str, model: &Model) -> Result<u32> {
    let (names, dim) = (model.class_names(), model.denoiser().label_dim());
    if let Some(class) = names.iter().position(|name| name == text) {
        return Ok(class as u32);
    }
    if let Some(class) = text.parse::<u32>().ok().filter(|&class| (class as usize) < dim) {
        return Ok(class);
    }
    let known = match (dim, names) {
        (0, _) => "no classes".into(),
        (_, []) => format!("{dim} classes, counted from 0"),
        (_, names) => {
            let shown: Vec<String> = names.iter().take(20).map(|name| escaped(name).to_string()).collect();
            let more = if names.len() > 20 { ", …" } else { "" };
            format!("{dim} classes, counted from 0: {}{more}", shown.join(", "))
        }
    };
    Err(Error::Config(format!("--class {text}: the model has {known}")))
}

/// A picture as one image `[1, h, w, c]` in [-1, 1].
fn picture(path: &Path, model: &Model) -> Result<Tensor> {
    let (shape, device) = (model.denoiser().sample_shape(), &model.weights.device());
    let [h, w, c] = shape[..] else {
        return Err(Error::Config(format!("--start-image: the model draws points of {shape:?}, not pictures")));
    };
    if !matches!(c, 1 | 3) {
        let what = format!("--start-image: the model's images have {c} channels; give safetensors");
        return Err(Error::Config(what));
    }
    let options = ReadOptions { units: model.units().cloned(), ..Default::default() };
    let set = data::picture(path, c == 3, &options)?;
    note(&set.account());
    model.check_units(set.train.units())?;
    let image = set.train;
    let [height, width, _] = image.size();
    if (height, width) != (h, w) {
        return Err(Error::format(path, format!("{width} by {height} pixels, the model draws {w} by {h}")));
    }
    Tensor::from_slice(&image.pixels()?, [1, h, w, c], device)
}
