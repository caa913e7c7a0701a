//! `veridical info`: what a model file holds.

use std::path::PathBuf;

use serde_json::{Value, json};
use veridical::data::Units;
use veridical::diffusion::{Model, ModelConfig};
use veridical::escape::{escaped, escaped_json};
use veridical::evaluate::{ClassifierDescription, classifier_of_file};
use veridical::figures::grouped;
use veridical::tensor::TensorFile;
use veridical::{Error, Result, nn};

use super::{Ended, model, say};

/// Show what a model file holds: architecture, preconditioning, labels, parameters and tensors.
#[derive(clap::Args)]
pub struct Args {
    /// A model file, or any other safetensors file, or the directory of a run
    #[arg(value_name = "MODEL", required_unless_present = "model")]
    file: Option<PathBuf>,
    /// The same, by the name that other commands have for it
    #[arg(long, value_name = "MODEL", conflicts_with = "file")]
    model: Option<PathBuf>,
    /// As one JSON object
    #[arg(long)]
    json: bool,
}

pub fn run(args: Args) -> Result<Ended> {
    let Some(given) = args.file.or(args.model) else { return Err(Error::Config("which model? give a file".into())) };
    let file = TensorFile::open(model::file(&given)?)?;
    let info = describe(&file);
    if args.json {
        say(&escaped_json(&info.to_string()))?;
    } else {
        for line in lines(&info) {
            say(&line)?;
        }
    }
    Ok(Ended::Done)
}

/// Everything about the file. What is wrong with its architecture is part of that, not a failure.
fn describe(file: &TensorFile) -> Value {
    let names = file.names();
    let shape = |name: &str| file.shape(name).unwrap_or_default();
    let tensors: Vec<Value> =
        names.iter().map(|name| json!({ "name": name, "dtype": file.dtype(name), "shape": shape(name) })).collect();
    let numbers: usize = names.iter().map(|name| shape(name).iter().product::<usize>()).sum();
    let mut info = json!({
        "file": file.path().display().to_string(),
        "bytes": file.byte_len(),
        "metadata": file.metadata().keys().collect::<Vec<_>>(),
        "numbers": numbers,
        "tensors": tensors,
    });
    let built = ModelConfig::of_file(file).and_then(|config| Ok((config.build()?, config)));
    match built {
        Ok(((denoiser, layout), config)) => {
            let architecture = config.to_json().ok().and_then(|text| serde_json::from_str(&text).ok());
            let (sigma_min, sigma_max) = denoiser.sigma_range();
            info["architecture"] = architecture.unwrap_or(Value::Null);
            info["precond"] = config.precond.name().into();
            info["sigma_data"] = config.precond.sigma_data().into();
            info["sigma_min"] = sigma_min.into();
            // JSON knows no infinity: null is no limit.
            info["sigma_max"] = sigma_max.into();
            info["sample_shape"] = denoiser.sample_shape().into();
            info["label_dim"] = denoiser.label_dim().into();
            match nn::class_names(file) {
                Ok(names) => info["class_names"] = names.into(),
                Err(error) => info["problem"] = error.to_string().into(),
            }
            match nn::column_names(file) {
                Ok(names) => info["columns"] = names.into(),
                Err(error) => info["problem"] = error.to_string().into(),
            }
            match Model::units_of_file(file) {
                Ok(units) => info["units"] = units.map_or(Value::Null, |units| json!(units)),
                Err(error) => info["problem"] = error.to_string().into(),
            }
            info["augment_dim"] = denoiser.augment_dim().into();
            info["parameters"] = layout.parameter_count().into();
            if let Err(error) = nn::check(file, &layout) {
                info["problem"] = error.to_string().into();
            }
        }
        Err(error) => match classifier_of_file(file) {
            Ok(Some(ClassifierDescription { size, classes, parameters, network })) => {
                info["classifier"] = network;
                info["sample_shape"] = size.to_vec().into();
                info["label_dim"] = classes.into();
                info["parameters"] = parameters.into();
                match nn::class_names(file) {
                    Ok(names) => info["class_names"] = names.into(),
                    Err(error) => info["problem"] = error.to_string().into(),
                }
            }
            Ok(None) => info["problem"] = error.to_string().into(),
            Err(error) => info["problem"] = error.to_string().into(),
        },
    }
    info
}

fn lines(info: &Value) -> Vec<String> {
    let text = |value: &Value| escaped(value.as_str().unwrap_or(&value.to_string())).to_string();
    let count = |key: &str| grouped(info[key].as_u64().unwrap_or(0));
    let tensors = info["tensors"].as_array().map_or(&[][..], Vec::as_slice);
    let mut lines = vec![format!("{}: {} bytes", text(&info["file"]), count("bytes"))];
    let named = |key: &str| -> Vec<String> {
        let names = info[key].as_array().map_or(&[][..], Vec::as_slice);
        names.iter().map(text).collect()
    };
    let (names, columns) = (named("class_names"), named("columns"));
    let names = if names.is_empty() { String::new() } else { format!(": {}", names.join(", ")) };
    if let Some(network) = info["classifier"].as_object() {
        lines.push("classifier".into());
        lines.extend(network.iter().map(|(key, value)| format!("  {:<20} {}", escaped(key).to_string(), text(value))));
        lines.push(format!("images           {}", info["sample_shape"]));
        lines.push(format!("classes          {}{names}", info["label_dim"]));
        lines.push(format!("parameters       {}", count("parameters")));
    }
    if let Some(architecture) = info["architecture"].as_object() {
        let limit = |key: &str, none: &str| info[key].as_f64().map_or(none.into(), |sigma| format!("{sigma}"));
        lines.push(format!("network          {}", text(&architecture["model_type"])));
        for (key, value) in architecture.iter().filter(|(key, _)| !["model_type", "precond"].contains(&key.as_str())) {
            lines.push(format!("  {:<20} {}", escaped(key).to_string(), text(value)));
        }
        let range = format!("noise levels from {} to {}", limit("sigma_min", "0"), limit("sigma_max", "any"));
        lines.push(format!("preconditioning  {}, {range}", text(&info["precond"])));
        lines.push(format!("samples          {}", info["sample_shape"]));
        lines.push(format!("classes          {}{names}", info["label_dim"]));
        if !columns.is_empty() {
            lines.push(format!("columns          {}", columns.join(", ")));
        }
        if let Ok(units) = serde_json::from_value::<Units>(info["units"].clone()) {
            lines.push(format!("numbers          {units}"));
        }
        lines.push(format!("augment labels   {}", info["augment_dim"]));
        lines.push(format!("parameters       {}", count("parameters")));
    }
    if !info["problem"].is_null() {
        lines.push(format!("problem          {}", text(&info["problem"])));
    }
    lines.push(format!("tensors          {}, {} numbers", tensors.len(), count("numbers")));
    for tensor in tensors {
        lines.push(format!("  {} {} {}", text(&tensor["name"]), text(&tensor["dtype"]), tensor["shape"]));
    }
    lines
}
