//! Reference values: every case of every fixture file that the crate understands, in every precision, on every device.
//!
//! A fixture file is a `.safetensors` whose metadata key `veridical.cases` lists cases: an operation with its settings,
//! and the names of tensors that hold its inputs, outputs, cotangents and gradients, computed in f64 by public
//! implementations (PyTorch, NumPy). `VERIDICAL_FIXTURES` names a folder of such files; else the folder
//! `shared/fixtures` beside the repository is taken if there is one, else the small files of `tests/golden`, whose
//! networks are always checked. `VERIDICAL_OPS` restricts the run to some operations.
//!
//! An operation is understood if it has an adapter: a few lines in one of the tables `layers`, `products`, `losses`,
//! `games` and `contrastive`. The tests print how many cases of each operation ran and how many they did not
//! understand, and fail if none ran.

mod call;
mod contrastive;
mod fixture;
mod games;
#[path = "../hardware/mod.rs"]
mod hardware;
mod layers;
#[path = "../locate/mod.rs"]
mod locate;
mod losses;
mod networks;
mod products;

use std::collections::BTreeMap;

use call::Adapter;
use fixture::{Case, File, Kind, files};
use locate::{fixtures, golden};
use veridical::{DType, Device};

/// By the name of the operation.
fn adapters() -> BTreeMap<&'static str, Adapter> {
    [layers::adapters(), products::adapters(), losses::adapters(), games::adapters(), contrastive::adapters()]
        .into_iter()
        .flatten()
        .collect()
}

/// What became of an operation's cases.
#[derive(Debug, Default)]
struct Count {
    ran: usize,
    /// No tolerance in this precision, or too large for this device.
    left_out: usize,
    not_understood: usize,
}

/// Runs all cases for which `admits` holds, prints the counts, and fails with every case that is off.
fn run(device: &Device, dtype: DType, admits: impl Fn(&Case, &File) -> bool) {
    let adapters = adapters();
    let chosen = std::env::var("VERIDICAL_OPS").ok();
    let mut counts: BTreeMap<String, Count> = BTreeMap::new();
    let mut failures = Vec::new();
    for file in files(&fixtures()) {
        match &file.kind {
            Kind::Cases(cases) => {
                let tensors = file.tensors().unwrap_or_else(|e| panic!("{}: {e}", file.path.display()));
                for case in cases {
                    if chosen.as_ref().is_some_and(|names| !names.split(',').any(|name| name == case.op)) {
                        continue;
                    }
                    let count = counts.entry(case.op.clone()).or_default();
                    let Some(adapter) = adapters.get(case.op.as_str()) else {
                        count.not_understood += 1;
                        continue;
                    };
                    let tolerance = case.tol.get(&dtype.to_string()).copied().flatten();
                    let Some(tolerance) = tolerance.filter(|_| admits(case, &file)) else {
                        count.left_out += 1;
                        continue;
                    };
                    count.ran += 1;
                    if let Err(error) = call::check(case, &tensors, adapter, device, dtype, tolerance) {
                        failures.push(format!("{}: {error}", case.id));
                    }
                }
            }
            // Whole networks have tests of their own, below.
            Kind::Model | Kind::Other => {}
        }
    }
    for (op, count) in &counts {
        println!("{op}: {count:?}");
    }
    let ran: usize = counts.values().map(|count| count.ran).sum();
    println!("{ran} cases in {dtype} on {device}, from {}", fixtures().display());
    assert!(failures.is_empty(), "{} of {ran} cases are off:\n{}", failures.len(), failures.join("\n"));
    assert!(ran > 0, "not one case ran, from {}", fixtures().display());
}

#[test]
fn cpu_f64() {
    run(&Device::Cpu, DType::F64, |_, _| true);
}

#[test]
fn cpu_f32() {
    run(&Device::Cpu, DType::F32, |_, _| true);
}

#[test]
fn cpu_bf16() {
    run(&Device::Cpu, DType::BF16, |_, _| true);
}

/// Cases that the emulator gets through quickly.
#[cfg(feature = "emulator")]
fn is_small(case: &Case, file: &File) -> bool {
    let Ok(tensors) = file.tensors() else { return false };
    let elements = |name: &String| {
        let tensor = tensors.tensor(&format!("{}/in/{name}", case.id));
        tensor.map_or(0, |tensor| tensor.shape().iter().product::<usize>())
    };
    case.inputs.iter().map(elements).sum::<usize>() <= 2500
}

#[cfg(feature = "emulator")]
#[test]
fn emulator_f32() {
    run(&Device::emulator().unwrap(), DType::F32, is_small);
}

#[cfg(feature = "emulator")]
#[test]
fn emulator_bf16() {
    run(&Device::emulator().unwrap(), DType::BF16, is_small);
}

/// Checks every network; one that this version does not build is a failure.
fn run_networks(device: &Device) {
    let mut all = files(&fixtures());
    if fixtures() != golden() {
        all.extend(files(&golden()));
    }
    let models: Vec<File> = all.into_iter().filter(|file| matches!(file.kind, Kind::Model)).collect();
    for file in &models {
        if let Err(why) = networks::understood(&file.path) {
            panic!("{} is not understood any more: {why}", file.path.display());
        }
        networks::check(&file.path, device);
    }
    println!("{} networks on {device}, from {}", models.len(), fixtures().display());
    assert!(!models.is_empty(), "not one network, from {}", fixtures().display());
}

#[test]
fn networks_cpu() {
    run_networks(&Device::Cpu);
}

#[cfg(feature = "emulator")]
#[test]
fn networks_emulator() {
    run_networks(&Device::emulator().unwrap());
}

#[test]
fn cuda() {
    if let Some(device) = hardware::cuda() {
        run(&device, DType::F32, |_, _| true);
        run(&device, DType::BF16, |_, _| true);
        run_networks(&device);
    }
}
