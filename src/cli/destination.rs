//! Where denoised images go, in the form that the name asks for, and their making.

use std::path::{Path, PathBuf};

use veridical::data::Images;
use veridical::data::npy;
use veridical::diffusion::Model;
use veridical::methods::noisy::{NoiseLevels, NoisyData, Sigma};
use veridical::methods::posterior_mean;
use veridical::train::End;
use veridical::{Device, Error, Result, memory};

use super::output::{self, Form};
use super::progress::{Progress, note};
use super::{interrupt, model, stack};

/// Images that are denoised between two looks at whether to stop, if nothing is said.
pub const AT_ONCE: usize = 256;

/// A file or folder that is to get images.
pub struct Destination {
    /// The flag that names it.
    flag: &'static str,
    path: PathBuf,
    kind: Kind,
    /// Draws of each image instead of their mean.
    draws: Option<u32>,
}

/// What is written.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Array,
    Archive,
    Tiff,
    Folder,
}

impl Destination {
    /// What `path`, given by `flag`, asks for by its ending. Errors on other endings, on folders that hold something,
    /// and on forms that draws do not fit.
    pub fn new(flag: &'static str, path: &Path, draws: Option<u32>) -> Result<Self> {
        let wrong = |what: String| Error::Config(format!("{flag} {}: {what}", path.display()));
        let kind = match &*output::ending(path) {
            "npy" => Kind::Array,
            "npz" => Kind::Archive,
            "tif" | "tiff" => Kind::Tiff,
            "" => Kind::Folder,
            ending => return Err(wrong(format!("what is written is .npy, .npz, .tif, or a folder; no .{ending}"))),
        };
        if kind != Kind::Folder {
            output::check([(flag, Form::Numbers, Some(&path.to_path_buf()))])?;
        }
        if kind == Kind::Folder && path.is_dir() && path.read_dir().is_ok_and(|mut all| all.next().is_some()) {
            return Err(wrong("the folder holds something already: give another, or empty it".into()));
        }
        if draws.is_some() && matches!(kind, Kind::Array | Kind::Tiff) {
            let what = "draws have a mean, a standard deviation and themselves: end the name in .npz, or give a folder";
            return Err(wrong(what.into()));
        }
        Ok(Destination { flag, path: path.into(), kind, draws })
    }

    pub fn is_folder(&self) -> bool {
        self.kind == Kind::Folder
    }

    /// Errors now rather than when all is denoised: where the result does not fit in memory, or no such file can hold
    /// it.
    pub fn check(&self, images: &Images) -> Result<()> {
        let values = images.len() as u128 * images.values() as u128;
        let (bytes, advice) = match self.draws {
            // Each draw in 32 bits and in 64, and as a file.
            Some(draws) => (20 * values * u128::from(draws), "take fewer --draws, or denoise fewer at a time"),
            None => (12 * values, "denoise fewer at a time"),
        };
        memory::check(bytes, &format!("the result for {} images", images.len()), advice)?;
        match self.kind {
            Kind::Tiff => stack::check_tiff(&self.path, images.size()[2]),
            _ => Ok(()),
        }
    }

    pub fn write(&self, images: &Images) -> Result<()> {
        match self.kind {
            Kind::Array => npy::write(&self.path, &stack::array(images)?),
            Kind::Archive => npy::write_images(&self.path, images),
            Kind::Tiff => stack::write_tiff(&self.path, images),
            Kind::Folder => stack::write(&self.path, images, (0..).map(|i| format!("{i:06}"))),
        }
    }

    /// Writes the noisy images of a run that has ended as its model denoises them; not where it was stopped, which is
    /// said.
    pub fn after(&self, end: End, run: &Path, data: &NoisyData, device: &str) -> Result<()> {
        if end == End::Stopped {
            note(&format!("not denoised, for the run was stopped: give {} again with --resume", self.flag));
            return Ok(());
        }
        let model = model::load(run, &Device::named(device)?)?;
        let denoised = mean(&model, data.noisy()?, &data.levels, AT_ONCE)?;
        let _writing = interrupt::writing();
        self.write(&denoised)?;
        note(&format!("{} denoised images in {}", denoised.len(), self.path.display()));
        Ok(())
    }

    /// Errors where it is one of the files that are read, which it would replace.
    pub fn apart<'a>(&self, inputs: impl IntoIterator<Item = (&'a str, &'a str)>, sigma: Option<&Sigma>) -> Result<()> {
        let levels = match sigma {
            Some(Sigma::File(path)) => Some(("--sigma", Path::new(path))),
            _ => None,
        };
        let inputs = inputs.into_iter().map(|(flag, path)| (flag, Path::new(path))).chain(levels);
        output::apart(&[(self.flag, &self.path)], inputs)
    }

    /// Errors where [`check`](Self::check) does for the noisy images of a run, and where there are none.
    pub fn check_noisy(&self, data: &NoisyData) -> Result<()> {
        let flag = self.flag;
        match data.noisy() {
            Ok(noisy) => self.check(noisy),
            Err(_) => {
                Err(Error::Config(format!("{flag}: there are no noisy images to denoise; give them with --noisy")))
            }
        }
    }
}

/// Calls `of` with the places of `n` images, so many at a time, and shows how far it is.
pub fn in_parts(
    what: &'static str,
    (n, at_once): (usize, usize),
    of: &mut dyn FnMut(&[u32]) -> Result<()>,
) -> Result<()> {
    let mut progress = Progress::new(what, n as u64);
    for first in (0..n).step_by(at_once) {
        let indices: Vec<u32> = (first..n.min(first + at_once)).map(|i| i as u32).collect();
        of(&indices)?;
        progress.tick((first + indices.len()) as u64, None);
    }
    progress.finish();
    Ok(())
}

/// The posterior mean of each image, one evaluation of the model, in the units of the data.
pub fn mean(model: &Model, noisy: &Images, levels: &NoiseLevels, at_once: usize) -> Result<Images> {
    let mut pixels = Vec::with_capacity(noisy.len() * noisy.values());
    in_parts("denoising", (noisy.len(), at_once), &mut |indices| {
        pixels.extend(posterior_mean(model, noisy, indices, levels)?);
        Ok(())
    })?;
    noisy.with_pixels(pixels, noisy.labels().to_vec())
}
