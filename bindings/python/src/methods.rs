//! The methods: what their commands do, as functions.

use std::convert::Infallible;
use std::path::{Path, PathBuf};

use pyo3::prelude::*;
use pyo3::types::PyDict;
use veridical::data::{DataSet, ReadOptions};
use veridical::methods::game::GameData;
use veridical::methods::noisy::{NoiseModel, NoisyData, NoisySection, Sigma};
use veridical::methods::{
    AmbientSettings, AmbientTraining, CscSettings, FineTuning, KdganRun, KdganSettings, Sfbd, SfbdSettings,
    TripleGanRun, TripleGanSettings, fine_tune, kdgan as kdgan_game, presets, triple_gan as triple_gan_game,
};
use veridical::train::{Observer, Own, RunConfig, With};
use veridical::{Error, Result, cli};

use crate::data::{ARRAYS, Data, NOISY};
use crate::errors::OrRaise;
use crate::outcome::Outcome;
use crate::progress::Callback;
use crate::settings::Asked;
use crate::training::{beside_model, named, place};
use crate::work::released;

/// Clean and noisy images, and what is known of the noise.
struct Noisy {
    clean: Option<Data>,
    noisy: Option<Data>,
    sigma: Option<Sigma>,
}

impl Noisy {
    fn of(clean: Option<&Bound<PyAny>>, noisy: Option<&Bound<PyAny>>, sigma: Option<&Bound<PyAny>>) -> PyResult<Self> {
        let sigma = sigma.map(|sigma| {
            Ok::<_, PyErr>(sigma.str()?.to_string().parse().unwrap_or_else(|never: Infallible| match never {}))
        });
        let sigma = sigma.transpose()?;
        let clean = clean.map(|data| Data::of(data, ARRAYS)).transpose()?;
        Ok(Noisy { clean, noisy: noisy.map(|data| Data::of(data, NOISY)).transpose()?, sigma })
    }

    /// The law of the noise, as single settings say it.
    fn law(asked: &Asked) -> Result<NoiseModel> {
        asked.word("noisy.noise_model").map_or(Ok(NoiseModel::Gaussian), str::parse)
    }

    /// The clean images, or the noisy ones where there are no clean ones, if nothing but they say what the settings are
    /// to be.
    fn opened(&self, asked: &Asked) -> Result<Option<DataSet>> {
        let law = Self::law(asked)?;
        let stated = self.sigma.is_some() || law == NoiseModel::Counts || asked.word("noisy.sigma").is_some();
        if self.noisy.is_some() && asked.is_fresh() && !stated {
            return Err(Error::Config(
                "noisy without sigma: give the standard deviation of the noise, \"auto\" to have it estimated, or a file with one \
                 for each image; for photon counts settings={\"noisy.noise_model\": \"counts\"}"
                    .into(),
            ));
        }
        if !asked.is_fresh() {
            return Ok(None);
        }
        let options = law.reading(asked.reading()?)?;
        match (&self.clean, &self.noisy) {
            (Some(clean), _) => clean.open(&options).map(Some),
            (None, Some(noisy)) => noisy.open(&ReadOptions { noisy: true, ..options }).map(Some),
            (None, None) => Ok(None),
        }
    }

    /// Settings of training that follow from data, which are then transformed, and standardised, where their noise asks
    /// for it.
    fn fitting(asked: &Asked, set: &DataSet) -> Result<RunConfig> {
        let mut run = cli::fitting(set, asked.device())?;
        if matches!(Self::law(asked)?, NoiseModel::Counts | NoiseModel::Multiplicative) {
            run.model.insert("sigma_data".into(), 0.5.into());
        }
        Ok(run)
    }

    /// Settings for these data, by a preset or by what follows from them.
    fn fitted<S>(
        asked: &Asked,
        opened: Option<&DataSet>,
        preset: impl Fn(&str) -> Result<S>,
        fitting: impl Fn(RunConfig) -> S,
    ) -> Result<S> {
        match opened.map(|set| (set, cli::own_preset(set))) {
            None => preset("digits"),
            Some((_, Some(name))) => preset(name),
            Some((set, None)) => Ok(fitting(Self::fitting(asked, set)?)),
        }
    }

    /// Puts what is given into the settings.
    fn set(&self, run: &mut RunConfig, section: &mut NoisySection) {
        if let Some(data) = &self.clean {
            run.data.path = data.name().into();
        }
        if let Some(data) = &self.noisy {
            section.path = data.name().into();
        }
        section.sigma = self.sigma.clone().unwrap_or(section.sigma.clone());
    }

    fn open(&self, section: &NoisySection, run: &RunConfig, opened: Option<DataSet>) -> Result<NoisyData> {
        section.open_by(run, opened, &|path, options| {
            let own = [&self.clean, &self.noisy].into_iter().flatten().find(|data| data.name() == path);
            own.map_or_else(|| veridical::data::open_with(path, options), |data| data.open(options))
        })
    }
}

/// The law of clean images from a few of them and many noisy ones (SFBD): denoise, fine-tune on the result, repeat.
///
/// `data` are clean images and `noisy` others behind noise of standard deviation `sigma`: a number in the units of the
/// data (of [-1, 1] for bytes), `"auto"`, or a file; each is what `veridical.train` takes. Without `noisy`, noise is put
/// on all images of `data` but a share. `model` is one to start from in place of pre-training. Settings are those of
/// `veridical sfbd`: `{"sfbd.rounds": 4, "online.enabled": True}`; everything else is as in `train`. `Outcome.figures`
/// is a list with what each stage measured.
#[pyfunction]
#[pyo3(signature = (data, out, *, noisy=None, sigma=None, model=None, settings=None, preset=None, config=None, resume=false, overwrite=false, minutes=None, progress=None))]
pub fn sfbd(
    py: Python,
    data: Option<&Bound<PyAny>>,
    out: PathBuf,
    noisy: Option<&Bound<PyAny>>,
    sigma: Option<&Bound<PyAny>>,
    model: Option<PathBuf>,
    settings: Option<&Bound<PyDict>>,
    preset: Option<String>,
    config: Option<PathBuf>,
    resume: bool,
    overwrite: bool,
    minutes: Option<f64>,
    progress: Option<Py<PyAny>>,
) -> PyResult<Outcome> {
    let sets = Noisy::of(data, noisy, sigma)?;
    let asked = Asked::new(preset, config.as_deref(), settings, (resume, &out))?.or_raise(py)?;
    let mut observer = Callback::new(progress);
    let ran = released(py, || {
        let model = model.as_deref().map(newest).transpose()?;
        let opened = sets.opened(&asked)?;
        let fitting = Noisy::fitted(&asked, opened.as_ref(), presets::sfbd, presets::sfbd_fitting)?;
        let settings = asked.build(fitting, presets::sfbd, |with: &mut With<SfbdSettings>| {
            sets.set(&mut with.run, &mut with.method.noisy);
            let start = &mut with.method.sfbd.model;
            *start = model.clone().unwrap_or(start.clone());
        })?;
        let data = sets.open(&settings.method.noisy, &settings.run, opened)?;
        let sfbd = Sfbd::new(&settings, &data)?;
        told(&mut observer, &settings.method.noisy, &data);
        let paths = [&*settings.run.data.path, &*settings.method.noisy.path];
        let (place, options) = place(&out, paths, (resume, overwrite, minutes))?;
        sfbd.run(&place, options, &mut observer)
    });
    let ran = observer.or_raised(ran)?;
    Outcome::new(py, (ran.end, ran.rounds.len() as u64, out), ran.model, &ran.rounds)
}

/// One training on images with and without noise (Ambient-Tweedie), or on one kind alone, to compare with.
///
/// Images are given as to `sfbd`, settings are those of `veridical ambient`: `{"ambient.loss": "sure"}`.
#[pyfunction]
#[pyo3(signature = (data, out, *, noisy=None, sigma=None, settings=None, preset=None, config=None, resume=false, overwrite=false, minutes=None, progress=None))]
pub fn ambient(
    py: Python,
    data: Option<&Bound<PyAny>>,
    out: PathBuf,
    noisy: Option<&Bound<PyAny>>,
    sigma: Option<&Bound<PyAny>>,
    settings: Option<&Bound<PyDict>>,
    preset: Option<String>,
    config: Option<PathBuf>,
    resume: bool,
    overwrite: bool,
    minutes: Option<f64>,
    progress: Option<Py<PyAny>>,
) -> PyResult<Outcome> {
    let sets = Noisy::of(data, noisy, sigma)?;
    let asked = Asked::new(preset, config.as_deref(), settings, (resume, &out))?.or_raise(py)?;
    let mut observer = Callback::new(progress);
    let ran = released(py, || {
        let opened = sets.opened(&asked)?;
        let fitting = Noisy::fitted(&asked, opened.as_ref(), presets::ambient, presets::ambient_fitting)?;
        let settings = asked.build(fitting, presets::ambient, |with: &mut With<AmbientSettings>| {
            sets.set(&mut with.run, &mut with.method.noisy);
        })?;
        let data = sets.open(&settings.method.noisy, &settings.run, opened)?;
        let training = AmbientTraining::new(&settings, &data)?;
        told(&mut observer, &settings.method.noisy, &data);
        let paths = [&*settings.run.data.path, &*settings.method.noisy.path];
        let (place, options) = place(&out, paths, (resume, overwrite, minutes))?;
        let (ended, measured) = training.run(&place, options, &mut observer)?;
        Ok((ended, measured, model_in(&out, &settings.run.train.device)?))
    });
    let (ended, measured, model) = observer.or_raised(ran)?;
    Outcome::new(py, (ended.end, ended.steps, out), model, &measured)
}

/// Fine-tunes a trained model for the coarse solver that it is sampled with: contrastive sampling chains, CDM, or
/// plainly.
///
/// `data` are the images that `model` was trained on. Settings are those of `veridical csc`:
/// `{"csc.method": "cdm", "csc.steps": 8}`; everything else is as in `train`. `Outcome.figures` is a list with what was
/// measured before and after.
#[pyfunction]
#[pyo3(signature = (model, data, out, *, settings=None, preset=None, config=None, resume=false, overwrite=false, minutes=None, progress=None))]
pub fn csc(
    py: Python,
    model: PathBuf,
    data: &Bound<PyAny>,
    out: PathBuf,
    settings: Option<&Bound<PyDict>>,
    preset: Option<String>,
    config: Option<PathBuf>,
    resume: bool,
    overwrite: bool,
    minutes: Option<f64>,
    progress: Option<Py<PyAny>>,
) -> PyResult<Outcome> {
    let data = Data::of(data, ARRAYS)?;
    let asked = Asked::new(preset, config.as_deref(), settings, (resume, &out))?.or_raise(py)?;
    let mut observer = Callback::new(progress);
    let ran = released(py, || {
        let model = newest(&model)?;
        let settings = asked.build(presets::csc("digits")?, presets::csc, |with: &mut With<CscSettings>| {
            with.run.data.path = data.name().into();
            with.method.csc.model = model.clone();
        })?;
        let set = data.open(&beside_model(settings.run.data.options()?, Some(Path::new(&model)))?)?;
        observer.note(&set.account());
        let fine_tuning = FineTuning::new(&settings, &set)?;
        fine_tune::warning(fine_tuning.model(), &set.train).iter().for_each(|warning| observer.note(warning));
        let (place, options) = place(&out, [data.name()], (resume, overwrite, minutes))?;
        let (ended, measured) = fine_tuning.run(&place, options, &mut observer)?;
        Ok((ended, measured, model_in(&out, &settings.run.train.device)?))
    });
    let (ended, measured, model) = observer.or_raised(ran)?;
    Outcome::new(py, (ended.end, ended.steps, out), model, &measured)
}

/// A small student from few labels, by a game with a teacher and a discriminator (KDGAN), or by one of six other ways.
///
/// `data` are images with labels, `(images, labels)` or a path, or an ARFF file with many labels. Settings are those of
/// `veridical kdgan`: `{"kdgan.method": "distn", "data.labelled": 100}`; everything else is as in `train`. The classifiers
/// are in `out/models`, and `Outcome.figures` is what `metrics.json` holds.
#[pyfunction]
#[pyo3(signature = (data, out, *, settings=None, preset=None, config=None, resume=false, overwrite=false, minutes=None, progress=None))]
pub fn kdgan(
    py: Python,
    data: &Bound<PyAny>,
    out: PathBuf,
    settings: Option<&Bound<PyDict>>,
    preset: Option<String>,
    config: Option<PathBuf>,
    resume: bool,
    overwrite: bool,
    minutes: Option<f64>,
    progress: Option<Py<PyAny>>,
) -> PyResult<Outcome> {
    let data = Data::of(data, ARRAYS)?;
    let asked = Asked::new(preset, config.as_deref(), settings, (resume, &out))?.or_raise(py)?;
    let mut observer = Callback::new(progress);
    let ran = released(py, || {
        let set = labelled(&data)?;
        let fitting = kdgan_game::presets::named(kdgan_game::presets::fitting(&set))?;
        let settings = asked.build(fitting, kdgan_game::presets::named, |own: &mut Own<KdganSettings>| {
            own.0.data.path = data.name().into();
        })?;
        observer.note(&set.account());
        let mut game = KdganRun::new(&settings, &set)?;
        game.notes.iter().for_each(|line| observer.note(line));
        let (place, options) = place(&out, [data.name()], (resume, overwrite, minutes))?;
        game.run(&place, options, &mut observer)
    });
    let (end, found) = observer.or_raised(ran)?;
    Outcome::new(py, (end, found.student_steps, out), None, &found)
}

/// A classifier, and a generator of images of a class, from few labels and many images (Triple-GAN).
///
/// `data` are images with labels, `(images, labels)` or a path. Settings are those of `veridical triple-gan`:
/// `{"triple_gan.baseline": "supervised", "data.labelled": 100}`; everything else is as in `kdgan`.
#[pyfunction]
#[pyo3(signature = (data, out, *, settings=None, preset=None, config=None, resume=false, overwrite=false, minutes=None, progress=None))]
pub fn triple_gan(
    py: Python,
    data: &Bound<PyAny>,
    out: PathBuf,
    settings: Option<&Bound<PyDict>>,
    preset: Option<String>,
    config: Option<PathBuf>,
    resume: bool,
    overwrite: bool,
    minutes: Option<f64>,
    progress: Option<Py<PyAny>>,
) -> PyResult<Outcome> {
    let data = Data::of(data, ARRAYS)?;
    let asked = Asked::new(preset, config.as_deref(), settings, (resume, &out))?.or_raise(py)?;
    let mut observer = Callback::new(progress);
    let ran = released(py, || {
        let set = match labelled(&data)? {
            GameData::Images(set) => set,
            GameData::Table(_) => {
                let what = format!("{}: a table; triple_gan takes images with a class each", data.name());
                return Err(Error::Config(what));
            }
        };
        let fitting = triple_gan_game::presets::named(triple_gan_game::presets::fitting(set.train.size()))?;
        let settings = asked.build(fitting, triple_gan_game::presets::named, |own: &mut Own<TripleGanSettings>| {
            own.0.data.path = data.name().into();
        })?;
        observer.note(&set.account());
        let mut game = TripleGanRun::new(&settings, &set)?;
        game.notes.iter().for_each(|line| observer.note(line));
        let (place, options) = place(&out, [data.name()], (resume, overwrite, minutes))?;
        game.run(&place, options, &mut observer)
    });
    let (end, found) = observer.or_raised(ran)?;
    Outcome::new(py, (end, found.iterations, out), None, &found)
}

/// The data of a game.
fn labelled(data: &Data) -> Result<GameData> {
    match data {
        Data::Path(path) => GameData::open(path),
        Data::Arrays { .. } => Ok(GameData::Images(Box::new(data.open(&ReadOptions::default())?))),
    }
}

/// Says what was read, and what is suspicious about the level of its noise. Noise that was put on up to merging levels
/// is as it is said.
fn told(observer: &mut Callback, section: &NoisySection, data: &NoisyData) {
    let warning = data.warning().filter(|_| section.noise_model != NoiseModel::Merging);
    data.accounts.iter().chain(&warning).for_each(|line| observer.note(line));
}

/// A model file, or the newest one of a run's directory, as settings name it.
fn newest(given: &Path) -> Result<String> {
    named(&cli::newest(given)?)
}

/// What a run left, where it left a model.
fn model_in(out: &Path, device: &str) -> Result<Option<veridical::diffusion::Model>> {
    let file = out.join(veridical::train::MODEL);
    match file.is_file() {
        true => veridical::diffusion::Model::load(file, &veridical::Device::named(device)?).map(Some),
        false => Ok(None),
    }
}
