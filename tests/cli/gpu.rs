//! The commands on every device that runs the CUDA kernels: the emulator where it is built in, a GPU where there is
//! one.

use std::fs;
use std::path::Path;

use veridical::tensor::TensorFile;

use super::training::{Place, TINY};
use super::{has_cuda, succeeds};

fn devices() -> Vec<&'static str> {
    let found = [("emulator", cfg!(feature = "emulator")), ("cuda", has_cuda())];
    let devices: Vec<_> = found.into_iter().filter(|(_, there)| *there).map(|(name, _)| name).collect();
    println!("on {devices:?}");
    devices
}

/// The settings on a device, and fewer images where an emulator has to get through them.
fn settings(device: &str) -> String {
    let on_it = TINY.replace("\"cpu\"", &format!("\"{device}\""));
    match device {
        "emulator" => on_it.replace("images = 480", "images = 56").replace("measured = 20", "measured = 2\nrows = 2"),
        _ => on_it,
    }
}

fn read(path: impl AsRef<Path>) -> Vec<u8> {
    let path = path.as_ref();
    fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

#[cfg(unix)]
#[test]
fn killed_and_resumed_is_the_same_as_never_stopped() {
    for device in devices() {
        super::resume::killed_and_resumed(&settings(device));
    }
}

/// A run's losses are the CPU's but for rounding, in f32 closely and in bf16 loosely; so are samples however they are
/// cut into batches, and they follow the seed.
#[test]
fn training_and_sampling_are_those_of_the_cpu() {
    for device in devices() {
        let images = if device == "emulator" { "24" } else { "400" };
        for (compute, tolerance) in [("f32", 1e-4), ("bf16", 3e-2)] {
            let losses = |device: &str| -> Vec<f64> {
                let place = Place::new(&settings(device));
                let (out, set) = (place.out("run"), format!("train.compute=\"{compute}\""));
                succeeds(&place.first(&out, &["--images", images, "--set", &set, "--set", "train.log_every=1"]));
                super::training::log(&out).iter().filter_map(|line| line["loss"].as_f64()).collect()
            };
            let (got, expected) = (losses(device), losses("cpu"));
            assert_eq!((got.len(), expected.len() * 8), (expected.len(), images.parse().unwrap()));
            for (got, expected) in got.iter().zip(&expected) {
                let off = (got / expected - 1.0).abs();
                assert!(off < tolerance, "{device} {compute}: a loss of {got}, {expected} on the CPU");
            }
        }
    }
}

/// A network whose sums a GPU cuts into parts by the size of the batch: samples are then the same up to rounding.
#[test]
fn samples_hardly_depend_on_their_batch() {
    for device in devices() {
        let (channels, count) = if device == "emulator" { (8, 3) } else { (64, 70) };
        let place = Place::new(&settings("cpu").replace("model_channels = 8", &format!("model_channels = {channels}")));
        succeeds(&place.first(&place.out("run"), &["--images", "40"]));
        let model = place.out("run").join("model.safetensors");
        let draw = |seeds: String, batch: usize| -> Vec<f32> {
            let (to, batch) = (place.out("drawn.safetensors"), batch.to_string());
            let at = ["sample", "--model", model.to_str().unwrap(), "--steps", "2", "--device", device, "--seeds"];
            succeeds(&[&at[..], &[&seeds, "--batch", &batch, "--output", to.to_str().unwrap()]].concat());
            TensorFile::open(&to).unwrap().floats("samples").unwrap().unwrap()
        };
        let whole = draw(format!("0-{}", count - 1), count);
        let off = |other: &[f32]| whole.iter().zip(other).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        for batch in [1, count / 2] {
            let parts = draw(format!("0-{}", count - 1), batch);
            assert_eq!(parts.len(), whole.len());
            assert!(off(&parts) < 1e-4, "{device}: in batches of {batch} off by {}", off(&parts));
        }
        assert!(off(&draw(format!("1-{count}"), count)) > 0.01, "{device}: ignores the seeds");
    }
}

/// Every method, from the command to the model file; on a GPU twice, to the same bits.
#[test]
fn the_methods_run_to_the_same_bits() {
    let small = "[model]\nhidden = 16\nlayers = 1\nnoise_channels = 8\n[optimizer]\nwarm_up = 20\n[train]\nbatch = 10\nimages = 40\n\
                 sample_every = 0\n[sampling]\nsteps = 3\n[judge]\nimages = 0\n";
    let rounds = "[sfbd]\nrounds = 1\nround_images = 40\nsteps = 6\n[online]\nimages = 40\nramp_images = 20\nevery = 2\ncount = 10\n";
    for device in devices() {
        let base = Place::new(&settings(device));
        let at = ["--data", "synthetic:two-moons", "--preset", "points", "--device", device];
        let run = |name: &str, settings: &str, command: &[&str]| {
            let twice = if device == "emulator" { &["a"][..] } else { &["a", "b"] };
            let mut models = twice.iter().map(|which| {
                let file = base.out(&format!("{name}.toml"));
                fs::write(&file, settings).unwrap();
                let out = base.out(&format!("{name}-{which}"));
                let paths = ["--config", file.to_str().unwrap(), "--out", out.to_str().unwrap()];
                succeeds(&[command, &at, &paths].concat());
                read(out.join("model.safetensors"))
            });
            let first = models.next().unwrap();
            assert!(models.all(|model| model == first), "{device}: {name} comes to other bits the second time");
        };
        let plain = small.replace("[judge]\nimages = 0\n", "");
        run("train", &plain, &["train"]);
        let model = base.out("train-a").join("model.safetensors");
        let model = model.to_str().unwrap();
        run("sfbd", &format!("{small}{rounds}"), &["sfbd", "--sigma", "0.3", "--clean-share", "0.01"]);
        run("online", &format!("{small}{rounds}"), &["sfbd", "--online", "--sigma", "0.3", "--clean-share", "0.01"]);
        run(
            "ambient",
            small,
            &["ambient", "--sigma", "0.3", "--clean-share", "0.01", "--set", "ambient.consistency=1.0"],
        );
        let fine = small.replace(
            "[model]\nhidden = 16\nlayers = 1\nnoise_channels = 8\n",
            "[csc]\nsteps = 3\nmeasured_steps = [2]\n",
        );
        run("csc", &fine, &["csc", "--model", model]);
        run("cdm", &fine, &["csc", "--model", model, "--set", "csc.method=\"cdm\""]);
    }
}

/// Every player's losses in both games are the CPU's but for rounding, by any estimator and of any kind of network.
#[test]
fn the_games_are_those_of_the_cpu() {
    let kdgan = "kdgan --data digits --labelled 30 --set data.validation=12 --set steps.student=6 --set steps.pretraining=2 \
                 --set steps.batch=6 --set student.hidden=[12] --set teacher.channels=[4,4] --set teacher.hidden=12";
    let triple = "triple-gan --data digits --labelled 20 --set data.validation=12 --set triple_gan.iterations=4 \
                  --set triple_gan.pretraining=1 --set triple_gan.unlabelled=4 --set triple_gan.generated=4 \
                  --set triple_gan.labelled=5 --set triple_gan.joined=4 --set triple_gan.pseudo_from=0 --set networks.generator=[8] \
                  --set networks.channels=4 --set networks.discriminator_channels=4 \
                  --set networks.discriminator=[8,8] --set networks.latents=4 --set samples.measured=0 --set samples.columns=1";
    let layers = "classifier.layers=[\"4x3\", \"pool\", \"4x3\"]";
    let runs = [
        (kdgan, "kdgan.estimator=\"exact\""),
        (kdgan, "kdgan.estimator=\"rao-blackwell\""),
        (kdgan, "kdgan.variant=\"code-2018\""),
        (kdgan, "kdgan.method=\"codis\""),
        (triple, "triple_gan.loss=\"nonsaturating\""),
        (triple, "triple_gan.pairs=\"argmax\""),
        (triple, "networks.kind=\"perceptron\""),
        (triple, "triple_gan.consistency=10"),
        (triple, "triple_gan.baseline=\"feature-matching\""),
    ];
    let base = Place::new(&settings("cpu"));
    for (number, (command, set)) in runs.into_iter().enumerate() {
        let losses = |device: &str| -> Vec<(String, f64)> {
            let out = base.out(&format!("game-{number}-{device}"));
            let mut line: Vec<&str> = command.split_whitespace().collect();
            line.extend(["--device", device, "--seed", "5", "--set", set, "--set", "train.log_every=1"]);
            line.extend(["--out", out.to_str().unwrap()]);
            if command == triple {
                line.extend(["--set", layers]);
            }
            succeeds(&line);
            let of_line = |line: serde_json::Value| -> Vec<(String, f64)> {
                let all = line.as_object().unwrap().iter().filter(|(name, _)| name.ends_with("loss"));
                all.filter_map(|(name, value)| Some((name.clone(), value.as_f64()?))).collect()
            };
            super::training::log(&out).into_iter().flat_map(of_line).collect()
        };
        let expected = losses("cpu");
        assert!(expected.len() > 10, "{set}: {expected:?}");
        for device in devices() {
            let got = losses(device);
            assert_eq!(got.len(), expected.len(), "{device} {set}");
            for ((name, got), (_, expected)) in got.iter().zip(&expected) {
                let off = (got - expected).abs() / expected.abs().max(1.0);
                assert!(off < 2e-3, "{device} {set}: {name} is {got}, {expected} on the CPU");
            }
        }
    }
}
