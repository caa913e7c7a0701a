//! `veridical denoise`: one evaluation of a model, on given inputs.

use std::path::PathBuf;

use veridical::diffusion::{Model, write_samples};
use veridical::tensor::TensorFile;
use veridical::{Device, Result};

use super::output::{self, Form};
use super::progress::note;
use super::{Ended, device, interrupt};

/// Denoise given samples once: D(x; sigma), to check a model against its origin.
///
/// The input is a safetensors file with `x` [N,C,H,W], `sigma` [N] and, where the model takes them, `class_labels`
/// [N,K] and `augment_labels` [N,A] (both may be left out); the output holds `denoised` [N,C,H,W] in f32.
#[derive(clap::Args)]
pub struct Args {
    /// The model file
    #[arg(long, value_name = "FILE")]
    model: PathBuf,
    /// Noisy samples, noise levels and labels
    #[arg(long, value_name = "FILE")]
    input: PathBuf,
    /// Where the denoised samples go
    #[arg(long, value_name = "FILE")]
    output: PathBuf,
    /// Where to compute: cpu, cuda, cuda:N, emulator, or best (CUDA if there is a GPU, else CPU)
    #[arg(long, default_value = "best", value_parser = device::name)]
    device: String,
}

pub fn run(args: Args) -> Result<Ended> {
    output::check([("--output", Form::Tensors, Some(&args.output))])?;
    let model = Model::load(&args.model, &Device::named(&args.device)?)?;
    let denoised = model.denoise_file(&TensorFile::open(&args.input)?)?;
    let _writing = interrupt::writing();
    write_samples(&args.output, "denoised", &denoised)?;
    note(&format!("{} samples denoised on {}", denoised.shape()[0], model.weights.device()));
    Ok(interrupt::ended())
}
