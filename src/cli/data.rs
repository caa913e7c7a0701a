//! The flags that say how data are to be read, and their opening.

use std::path::Path;

use veridical::data::{self, AxisOrder, DataSet, Images, ReadOptions, Standardise, Units};
use veridical::diffusion::{Model, ModelConfig};
use veridical::tensor::TensorFile;
use veridical::train::config::Data;
use veridical::{Error, Result, nn};

use super::model;
use super::words::{stated, words};

/// How files are to be read where they leave a choice.
#[derive(clap::Args)]
pub struct Reading {
    #[arg(long, value_name = "AXES", value_parser = words::<AxisOrder>(), hide_possible_values = true, help = stated::<Data>("layout"))]
    layout: Option<AxisOrder>,
    #[arg(long, value_name = "HOW", value_parser = words::<Standardise>(), hide_possible_values = true, help = stated::<Data>("standardise"))]
    standardise: Option<Standardise>,
    #[arg(long, value_name = "NAME", help = stated::<Data>("class_column"))]
    class_column: Option<String>,
    #[arg(long, value_name = "SIZE", help = stated::<Data>("size"))]
    size: Option<String>,
    #[arg(long, value_name = "PIECE", help = stated::<Data>("crop"))]
    crop: Option<String>,
    #[arg(long, value_name = "GIB", help = stated::<Data>("in_memory"))]
    in_memory: Option<f64>,
    /// Keep the alpha of pictures, as one channel more
    #[arg(long)]
    alpha: bool,
}

impl Reading {
    /// Puts what flags say into the settings.
    pub fn set(&self, data: &mut Data) {
        data.layout = self.layout.unwrap_or(data.layout);
        data.standardise = self.standardise.unwrap_or(data.standardise);
        for (flag, key) in
            [(&self.class_column, &mut data.class_column), (&self.size, &mut data.size), (&self.crop, &mut data.crop)]
        {
            flag.iter().for_each(|text| key.clone_from(text));
        }
        data.alpha |= self.alpha;
        data.in_memory = self.in_memory.unwrap_or(data.in_memory);
    }

    /// Errors if flags say how data are to be read where `flag` gives tensors or features, which are what they are.
    pub fn refused_beside(&self, flag: &str) -> Result<()> {
        let given = [
            ("--layout", self.layout.is_some()),
            ("--standardise", self.standardise.is_some()),
            ("--class-column", self.class_column.is_some()),
            ("--size", self.size.is_some()),
            ("--crop", self.crop.is_some()),
            ("--alpha", self.alpha),
        ];
        match given.into_iter().find(|(_, given)| *given) {
            None => Ok(()),
            Some((name, _)) => {
                Err(Error::Config(format!("{name} says how data are read, and {flag} is taken as it is; leave it out")))
            }
        }
    }

    /// What flags and `--set` say, for data that are opened before there are settings.
    pub fn options(&self, set: &[String]) -> Result<ReadOptions> {
        let mut settings = Data::default();
        if let Some(word) = given(set, "data.layout") {
            settings.layout = word.parse()?;
        }
        if let Some(word) = given(set, "data.standardise") {
            settings.standardise = word.parse()?;
        }
        for (name, key) in [
            ("data.class_column", &mut settings.class_column),
            ("data.size", &mut settings.size),
            ("data.crop", &mut settings.crop),
        ] {
            given(set, name).into_iter().for_each(|text| *key = text);
        }
        if let Some(text) = given(set, "data.in_memory") {
            let wrong = |_| Error::Config(format!("data.in_memory = {text}: give a number of GiB"));
            settings.in_memory = text.parse().map_err(wrong)?;
        }
        settings.alpha = given(set, "data.alpha").is_some_and(|text| text == "true");
        self.set(&mut settings);
        settings.options()
    }
}

/// What the last of `--set` for this key gives it, as a text.
pub fn given(set: &[String], key: &str) -> Option<String> {
    let value = |set: &String| Some(set.split_once('=').filter(|(name, _)| name.trim() == key)?.1.trim().to_string());
    set.iter().rev().find_map(value).map(|value| value.trim_matches(['"', '\'']).to_string())
}

/// How data are read that a model is to take: in its units and columns, and beside its samples. Errors where they are
/// asked to be standardised otherwise.
pub fn for_model(options: ReadOptions, model: &Model) -> Result<ReadOptions> {
    let options = match model.denoiser().sample_shape()[..] {
        [h, w, c] => options.beside([h, w, c]),
        ref dims => options.beside([1, 1, dims.iter().product()]),
    };
    let options = options.beside_columns(model.columns());
    match model.units() {
        Some(units) => in_units_of_model(options, units),
        None => Ok(options),
    }
}

/// The same of a model's file that data are to go on training.
pub fn for_model_file(options: ReadOptions, path: &Path) -> Result<ReadOptions> {
    let file = TensorFile::open(path)?;
    let options = options.beside_columns(&nn::column_names(&file)?);
    // What is wrong with an architecture is said where the model is made.
    let shape = ModelConfig::of_file(&file).and_then(|config| Ok(config.build()?.0.sample_shape()));
    let options = match shape.as_deref() {
        Ok(&[h, w, c]) => options.beside([h, w, c]),
        Ok(dims) => options.beside([1, 1, dims.iter().product()]),
        Err(_) => options,
    };
    match Model::units_of_file(&file)? {
        Some(units) => in_units_of_model(options, &units),
        None => Ok(options),
    }
}

/// How data are read that a model of these units goes on learning from. Errors as `for_model`.
pub fn in_units_of_model(options: ReadOptions, units: &Units) -> Result<ReadOptions> {
    match options.standardise {
        Standardise::Auto => Ok(options.in_units(units)),
        // What the model was trained on was taken as it is, too.
        Standardise::None if units.is_plain() => Ok(options.in_units(units)),
        asked => Err(Error::Config(format!(
            "--standardise {asked} (data.standardise): the data are taken in the model's own units ({units}); leave it out"
        ))),
    }
}

/// Errors unless images are of the model's size.
pub fn check_size(model: &Model, images: &Images, path: &str) -> Result<()> {
    let (shape, size) = (model.denoiser().sample_shape(), images.size());
    if shape[..] != size && shape[..] != [images.values()] {
        return Err(Error::Config(format!(
            "--data {path}: the data are {size:?} (height, width, channels), the model takes {shape:?}"
        )));
    }
    Ok(())
}

/// Errors unless images are of the model's size, and in its units and columns.
pub fn check_fit(model: &Model, images: &Images, path: &str) -> Result<()> {
    check_size(model, images, path)?;
    model.check_columns(images.columns())?;
    model.check_units(images.units())
}

/// A data set, as the model takes it that is to go on learning from it, if any.
pub fn open(path: &str, options: ReadOptions, model: &str) -> Result<DataSet> {
    let options = if model.is_empty() { options } else { for_model_file(options, Path::new(model))? };
    data::open_with(path, &options)
}

/// The same for a run in `directory` that goes on, whose newest model knows its columns.
pub fn reopen(path: &str, options: ReadOptions, model: &str, directory: &Path) -> Result<DataSet> {
    let known = model::newest(directory).and_then(|file| nn::column_names(&TensorFile::open(file)?));
    match known {
        Ok(names) if model.is_empty() && !names.is_empty() => open(path, options.beside_columns(&names), model),
        _ => open(path, options, model),
    }
}
