//! What the documents tell a reader to type is typed here: every block of commands in README.md, CONTRIBUTING.md and
//! docs, as it stands, in a folder with data of the form and name that it speaks of. Lengths of trainings are cut
//! (`documents/veridical`), nothing else.

mod locate;
mod mentions;
mod reader;

use std::collections::BTreeMap;
use std::fs;
use std::process::Command;

use reader::{Place, bars, blocks, bytes, has_python, waves};
use veridical::data::npy::{self, Array};
use veridical::diffusion::{Model, ModelConfig};
use veridical::nn::DhariwalConfig;
use veridical::{Device, Tensor};

#[test]
fn the_readme() {
    let place = Place::new();
    place.pictures("pictures", 12);
    place.type_in("README.md");
}

#[test]
fn building() {
    Place::new().type_in("docs/building.md");
}

#[test]
fn contributing() {
    Place::new().type_in("CONTRIBUTING.md");
}

#[test]
fn performance() {
    Place::new().type_in("docs/performance.md");
}

#[test]
fn learning_from_noisy_images() {
    let place = Place::new();
    place.pictures("CLEAN", 20);
    place.pictures("SET", 200);
    place.pictures("BAD", 24);
    place.noisy("NOISY.npz", 40, 0.59);
    place.idx("DIR", 200, 50);
    place.type_in("docs/methods/sfbd.md");
}

#[test]
fn your_own_data() {
    let place = Place::new();
    place.pictures("pictures", 12);
    fs::create_dir(place.path("mixed")).unwrap();
    for i in 0..6 {
        let (w, h) = (30 + i, 24 - i);
        let pixels = bytes(i.into(), (w * h) as usize);
        image::GrayImage::from_raw(w, h, pixels).unwrap().save(place.path(&format!("mixed/{i}.png"))).unwrap();
    }
    let pattern = bytes(7, 20 * 144);
    place.array("stack.npy", &[20, 12, 12], |i| bars(i, 900.0, 1500.0));
    place.array("noisy_stack.npy", &[20, 12, 12], |i| {
        bars(i, 900.0, 1500.0) + 140.0 * (f32::from(pattern[i]) / 255.0 - 0.5)
    });
    place.array("levels.npy", &[20], |i| 30.0 + i as f32);
    // The sum of twelve numbers, less six, is nearly normal; a gain of 2 makes a variance of twice what is over 100.
    let draws = bytes(8, 20 * 144 * 12);
    let normal = |i: usize| draws[12 * i..][..12].iter().map(|&n| f32::from(n) / 255.0).sum::<f32>() - 6.0;
    let mean = |i: usize| bars(i, 160.0, 400.0) + (i / 144) as f32;
    place.array("long_exposures.npy", &[20, 12, 12], mean);
    place.array("counts.npy", &[20, 12, 12], |i| mean(i) + (2.0 * (mean(i) - 100.0) + 9.0).sqrt() * normal(i));
    place.array("clean_radar.npy", &[20, 12, 12], |i| bars(i, 900.0, 1500.0));
    place.array("radar.npy", &[20, 12, 12], |i| bars(i, 900.0, 1500.0) * (0.4 * normal(i) - 0.08).exp());
    place.array("signals.npy", &[20, 32], waves);
    place.table("table.csv", "width,weight,class", |i| format!("{},{}.5,{}", i % 7, 100 * (i % 5), ["a", "b"][i % 2]));
    place.type_in("docs/guides/your-data.md");
}

#[test]
fn the_command_line() {
    Place::new().type_in("docs/command-line.md");
}

#[test]
fn how_good_samples_are() {
    let place = Place::new();
    for class in ["a", "b"] {
        place.pictures(&format!("pictures/{class}"), 12);
    }
    let features = |count: usize, seed: u64| -> Array {
        let values: Vec<f32> = bytes(seed, count * 3).into_iter().map(f32::from).collect();
        Array::of(&Tensor::from_slice(&values, [count, 3], &Device::Cpu).unwrap()).unwrap()
    };
    npy::write(place.path("drawn-features.npy"), &features(40, 1)).unwrap();
    npy::write(place.path("real-features.npy"), &features(60, 2)).unwrap();
    let array =
        |values: &[f64], shape: &[usize]| Array::of(&Tensor::from_slice(values, shape, &Device::Cpu).unwrap()).unwrap();
    let statistics =
        [("mu", array(&[1.0; 3], &[3])), ("sigma", array(&[2.0, 0.0, 0.0, 0.0, 2.0, 0.0, 0.0, 0.0, 2.0], &[3, 3]))];
    npy::write_npz(place.path("reference.npz"), &statistics.map(|(name, array)| (name.into(), array)).into()).unwrap();
    let drawn: Vec<f32> = bytes(3, 20 * 64).into_iter().map(f32::from).collect();
    let drawn = Array::of(&Tensor::from_slice(&drawn, [20, 8, 8, 1], &Device::Cpu).unwrap()).unwrap();
    npy::write_npz(place.path("drawn.npz"), &BTreeMap::from([("images".into(), drawn)])).unwrap();
    place.type_in("docs/guides/evaluation.md");
}

#[test]
fn stacks_of_counts() {
    let place = Place::new();
    let noise = bytes(11, 20 * 144);
    // Light that grows along each row, and noise that grows with it: a gain of 2 and an offset of 100. Bytes without
    // pattern have a standard deviation of 74.
    let clean = |i: usize| 200.0 + 40.0 * ((i % 12) as f32 + (i / 144) as f32 / 4.0);
    let noisy = |i: usize| clean(i) + (9.0 + 2.0 * (clean(i) - 100.0)).sqrt() * (f32::from(noise[i]) - 127.5) / 74.0;
    place.stack("clean_stack.tif", 20, clean);
    place.stack("noisy_stack.tif", 20, noisy);
    place.array("noisy_stack.npy", &[20, 12, 12], noisy);
    place.array("levels.npy", &[12, 12], |i| 38.0 + (i % 12) as f32 / 3.0);
    place.type_in("docs/guides/microscope.md");
}

#[test]
fn tables_points_and_signals() {
    let place = Place::new();
    let noise = bytes(13, 60);
    let row = |i: usize| format!("{},{}.5,{}", i % 7, 100 * (i % 5), ["a", "b"][i % 2]);
    place.table("table.csv", "width,weight,class", row);
    place.table("flowers.csv", "width,weight,species", row);
    place.table("numbers.csv", "width,weight,class", |i| format!("{},{}.5,{}", i % 7, 100 * (i % 5), i % 3));
    place.table("clean.csv", "width,weight", |i| format!("{},{}.5", i % 7, 100 * (i % 5)));
    place.table("noisy.csv", "width,weight", |i| {
        let noise = |k: usize| f32::from(noise[2 * i + k]) / 127.5 - 1.0;
        format!("{},{}", (i % 7) as f32 + noise(0), 100.5 * (i % 5) as f32 + 60.0 * noise(1))
    });
    place.array("points.npy", &[30, 3], |i| ((i * i) as f32).sin());
    let noise = bytes(14, 640);
    place.array("signals.npy", &[20, 32], |i| waves(i) + 0.2 * (f32::from(noise[i]) - 127.5) / 74.0);
    place.type_in("docs/guides/tables.md");
}

#[test]
fn noisy_data() {
    let place = Place::new();
    let noise = bytes(17, 40 * 144);
    place.array("clean.npy", &[80, 12, 12], |i| bars(i, -0.6, 0.8));
    place.array("held-out.npy", &[20, 12, 12], |i| bars(i + 720, -0.6, 0.8));
    place.array("noisy.npy", &[40, 12, 12], |i| bars(i, -0.6, 0.8) + 0.2 * (f32::from(noise[i]) - 127.5) / 74.0);
    place.type_in("docs/guides/noisy-data.md");
}

#[test]
fn runs_from_python() {
    let place = Place::new();
    place.array("signals.npy", &[40, 32], waves);
    let images: Vec<f32> = bytes(19, 40 * 64).into_iter().map(|byte| f32::from(byte) / 127.5 - 1.0).collect();
    let images = Array::of(&Tensor::from_slice(&images, [40, 8, 8, 1], &Device::Cpu).unwrap()).unwrap();
    npy::write_npz(place.path("mine.npz"), &BTreeMap::from([("images".into(), images)])).unwrap();
    place.type_in("docs/guides/python.md");
    place.run_python("docs/guides/python.md", &["matplotlib", "numpy", "pandas", "safetensors", "tomllib"]);
}

#[test]
fn watching_runs() {
    let place = Place::new();
    place.type_in("docs/guides/logs.md");
    place.run_python("docs/guides/logs.md", &["pandas"]);
    assert!(place.path("runs/digits/tensorboard").is_dir());
}

#[test]
fn several_processes() {
    let place = Place::new();
    place.type_in("docs/guides/several-processes.md");
    assert!(place.path("samples.npz").is_file());
}

#[test]
fn models_to_and_from_diffusers() {
    let place = Place::new();
    let options = DhariwalConfig {
        model_channels: 128,
        channel_mult: vec![1],
        num_blocks: 1,
        attn_resolutions: vec![],
        ..DhariwalConfig::new(4, 1)
    };
    let model = Model::new(&ModelConfig::new(options), 0, &Device::Cpu).unwrap();
    model.save(place.path("ours.safetensors")).unwrap();
    if has_python() {
        let script = place.path("scripts/diffusers_unet2d.py");
        let mut python = Command::new("python3");
        python.arg(script).args(["to-diffusers", "ours.safetensors", "FOLDER"]).current_dir(place.folder.path());
        assert!(python.status().unwrap().success());
    }
    place.type_in("docs/guides/diffusers.md");
}

#[test]
fn games() {
    let place = Place::new();
    place.idx("mnist", 300, 50);
    let columns: String = (0..4).map(|i| format!("@attribute f{i} numeric\n")).collect();
    let labels: String = (0..5).map(|i| format!("@attribute l{i} {{0,1}}\n")).collect();
    let row = |i: u32| format!("{},{},{},{},{},{},0,1,0\n", i % 7, i % 5, i % 3, i % 11, i % 2, (i + 1) % 2);
    let rows: String = (0..30).map(row).collect();
    place.write("scene/scene.arff", format!("@relation scene\n{columns}{labels}@data\n{rows}").as_bytes());
    let names: String = (0..5).map(|i| format!("<label name=\"l{i}\"/>")).collect();
    place.write("scene/scene.xml", format!("<labels>{names}</labels>").as_bytes());
    place.type_in("docs/methods/kdgan.md");
    fs::remove_dir_all(place.path("runs")).unwrap();
    place.type_in("docs/methods/triple-gan.md");
}

#[test]
fn self_consuming_loops() {
    for document in ["docs/methods/self-consuming.md", "docs/results/self_consuming/README.md"] {
        let place = Place::new();
        place.write("input.txt", "We are accounted poor citizens, the patricians good.\n".repeat(200).as_bytes());
        place.type_in(document);
    }
}

#[test]
fn results_on_the_digits_and_the_mixture() {
    let place = Place::new();
    place.type_in("docs/results/sfbd_digits/README.md");
    fs::remove_dir_all(place.path("WORK")).unwrap();
    place.type_in("docs/results/csc_mixture/README.md");
}

#[test]
fn results_on_fashion_mnist() {
    let place = Place::new();
    place.idx("DIR", 1000, 50);
    place.type_in("docs/results/fashion_mnist/README.md");
    place.type_in("docs/results/sfbd_fashion/README.md");
    if has_python() {
        fs::rename(place.path("WORK/all-clean-1-0-0/model.safetensors"), place.path("MODEL")).unwrap();
        fs::rename(place.path("WORK/judge.safetensors"), place.path("JUDGE")).unwrap();
        fs::remove_dir_all(place.path("WORK")).unwrap();
        place.type_in("docs/results/csc_fashion/README.md");
    }
}

/// A document that nobody types in would be one whose commands may be wrong.
#[test]
fn no_document_is_left_out() {
    let this = include_str!("documents.rs");
    let typed = |name: &str| this.contains(&format!("\"{name}\""));
    let mut folders = vec![locate::root().join("docs")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
            let path = entry.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|ending| ending == "md")
                && !blocks(&fs::read_to_string(&path).unwrap()).is_empty()
            {
                let name = path.strip_prefix(locate::root()).unwrap().display().to_string();
                assert!(typed(&name), "the commands of {name} are not typed in by any test");
            }
        }
    }
}
