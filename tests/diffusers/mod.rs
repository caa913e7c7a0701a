//! `scripts/diffusers_unet2d.py`: what diffusers' own `UNet2DModel` computed is what the converted file computes, both
//! ways lose nothing, and what has no counterpart is refused. No PyTorch is needed: the weights are those of a formula,
//! and the results are in `tests/golden/diffusers_unet2d.safetensors` (`tests/golden/diffusers_unet2d.py`).

use std::collections::BTreeMap;
use std::fs;
use std::process::Command;

use serde_json::{Value, json};
use tempfile::TempDir;
use veridical::diffusion::precond::{IddpmPrecond, VpPrecond};
use veridical::diffusion::{Model, ModelConfig, Precond, one_hot};
use veridical::nn::{Conditions, DhariwalConfig, SongConfig};
use veridical::tensor::{TensorFile, file};
use veridical::{DType, Device, Tensor, ops};

use super::{has_python, locate};

const WEIGHTS: &str = "theirs/unet/diffusion_pytorch_model.safetensors";

struct Place(TempDir);

impl Place {
    fn path(&self, name: &str) -> String {
        self.0.path().join(name).to_str().unwrap().into()
    }

    fn json(&self, name: &str, content: &Value) {
        let path = self.path(name);
        fs::create_dir_all(std::path::Path::new(&path).parent().unwrap()).unwrap();
        fs::write(path, content.to_string()).unwrap();
    }

    /// What the script says, and whether it worked.
    fn convert(&self, args: [&str; 3]) -> (bool, String) {
        let script = locate::root().join("scripts/diffusers_unet2d.py");
        let [command, from, to] = args;
        let mut python = Command::new("python3");
        python.arg(script).args([command, &self.path(from), &self.path(to)]).env("PYTHONDONTWRITEBYTECODE", "1");
        let done = python.output().unwrap();
        (done.status.success(), String::from_utf8([done.stdout, done.stderr].concat()).unwrap())
    }

    fn converts(&self, args: [&str; 3]) -> String {
        let (worked, said) = self.convert(args);
        assert!(worked, "{said}");
        said
    }

    fn refuses(&self, args: [&str; 3], reason: &str) {
        let (worked, said) = self.convert(args);
        assert!(!worked && said.contains(reason) && !said.contains("Traceback"), "expected {reason:?}, got {said}");
        assert!(!fs::exists(self.path(args[2])).unwrap(), "{said}");
    }
}

/// `uniform` of `tests/golden/diffusers_unet2d.py`.
fn uniform(tensor: u32, element: u32) -> f64 {
    let mut word = element.wrapping_add(tensor.wrapping_mul(1_000_003)).wrapping_add(1);
    for _ in 0..2 {
        word = (word ^ (word >> 16)).wrapping_mul(0x045d_9f3b);
    }
    f64::from((word ^ (word >> 16)) >> 8) / f64::from(1 << 24) - 0.5
}

/// The model of the reference file as diffusers saves it: configuration, scheduler and weights.
fn diffusers_model(place: &Place, golden: &TensorFile) -> (Value, Value) {
    let metadata = golden.metadata();
    let parsed = |key: &str| serde_json::from_str::<Value>(&metadata[key]).unwrap();
    let (config, scheduler) = (parsed("config"), parsed("scheduler"));
    place.json("theirs/unet/config.json", &config);
    place.json("theirs/scheduler/scheduler_config.json", &scheduler);
    let shapes: Vec<(String, Vec<usize>)> = serde_json::from_value(parsed("tensors")).unwrap();
    let tensors = shapes.iter().zip(0..).map(|((name, shape), tensor)| {
        let fan_in = shape[1..].iter().product::<usize>() as f64;
        let one = f64::from(name.contains("norm") && name.ends_with("weight"));
        let value = |u: f64| if shape.len() > 1 { u * (12.0 / fan_in).sqrt() } else { 0.2 * u + one };
        let count = shape.iter().product::<usize>() as u32;
        let values = (0..count).map(|element| value(uniform(tensor, element)) as f32).collect();
        (name.as_str(), shape.clone().into(), values)
    });
    file::write(place.path(WEIGHTS), tensors, &BTreeMap::new()).unwrap();
    (config, scheduler)
}

fn all_values(path: &str) -> BTreeMap<String, (Vec<usize>, Vec<f32>)> {
    let file = TensorFile::open(path).unwrap();
    let one = |name: &String| (file.shape(name).unwrap().to_vec(), file.floats(name).unwrap().unwrap());
    file.names().iter().map(|name| (name.clone(), one(name))).collect()
}

#[test]
fn a_unet2dmodel_gives_the_numbers_of_diffusers() {
    if !has_python() {
        return;
    }
    let place = Place(tempfile::tempdir().unwrap());
    let golden = TensorFile::open(locate::golden().join("diffusers_unet2d.safetensors")).unwrap();
    diffusers_model(&place, &golden);
    let said = place.converts(["from-diffusers", "theirs", "ours.safetensors"]);
    assert!(said.contains("added: 1 channels of zeros") && said.contains("iddpm DhariwalUNet"), "{said}");

    let model = Model::load(place.path("ours.safetensors"), &Device::Cpu).unwrap();
    let values = |name: &str| golden.tensor(name, DType::F64, &Device::Cpu).unwrap().unwrap().to_vec::<f64>().unwrap();
    let sigmas: Vec<f64> = values("alphas_cumprod").iter().map(|share| (1.0 / share - 1.0).sqrt()).collect();
    for (sigma, timestep) in sigmas.iter().zip(values("timestep")) {
        let precond = model.config().precond.build().unwrap();
        assert_eq!(precond.scaling(*sigma).c_noise, timestep, "the time step of level {sigma}");
    }
    // D = x - sigma F(x / sqrt(sigma^2 + 1)), so that F is what D takes away.
    let scale = |i: usize| sigmas[i / 64].hypot(1.0);
    let x: Vec<f32> = values("x").iter().enumerate().map(|(i, x)| (x * scale(i)) as f32).collect();
    let x = Tensor::from_slice(&x, [3, 8, 8, 1], &Device::Cpu).unwrap();
    let classes: Vec<u32> = values("class_labels").iter().map(|&class| class as u32).collect();
    let labels = one_hot(&model, &classes).unwrap().into();
    let conditions = Conditions { class_labels: Some(&labels), augment_labels: None };
    let denoised = model.denoise_each(&x, &sigmas, conditions).unwrap();
    let taken = ops::sub(&x, &denoised).unwrap().value().to_vec::<f32>().unwrap();
    for (i, (taken, expected)) in taken.iter().zip(values("output")).enumerate() {
        let found = f64::from(*taken) / sigmas[i / 64];
        // At the least level a difference of two numbers near x is divided by 0.01.
        let tolerance = 5e-5 * (1.0 + 1.0 / sigmas[i / 64]);
        assert!((found - expected).abs() < tolerance, "output {i} is {found}, diffusers has {expected}");
    }

    let said = place.converts(["to-diffusers", "ours.safetensors", "back"]);
    assert!(said.contains("left out: the last 1 channels"), "{said}");
    let back = all_values(&place.path("back/unet/diffusion_pytorch_model.safetensors"));
    assert!(back == all_values(&place.path(WEIGHTS)), "there and back is not the same");
    place.converts(["from-diffusers", "back", "again.safetensors"]);
    assert!(all_values(&place.path("again.safetensors")) == all_values(&place.path("ours.safetensors")));
}

/// The upper halves of the numbers of a safetensors file, which are bf16.
fn halved(path: &str) {
    let bytes = fs::read(path).unwrap();
    let end = 8 + u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    let mut header: Value = serde_json::from_slice(&bytes[8..end]).unwrap();
    for (name, entry) in header.as_object_mut().unwrap() {
        if name != "__metadata__" {
            entry["dtype"] = json!("BF16");
            for offset in entry["data_offsets"].as_array_mut().unwrap() {
                *offset = json!(offset.as_u64().unwrap() / 2);
            }
        }
    }
    let header = header.to_string().into_bytes();
    let data: Vec<u8> = bytes[end..].chunks(4).flat_map(|number| [number[2], number[3]]).collect();
    fs::write(path, [&(header.len() as u64).to_le_bytes()[..], &header, &data].concat()).unwrap();
}

#[test]
fn numbers_of_16_bits_are_taken_and_that_is_said() {
    if !has_python() {
        return;
    }
    let place = Place(tempfile::tempdir().unwrap());
    let golden = TensorFile::open(locate::golden().join("diffusers_unet2d.safetensors")).unwrap();
    diffusers_model(&place, &golden);
    let exact = all_values(&place.path(WEIGHTS));
    halved(&place.path(WEIGHTS));
    let said = place.converts(["from-diffusers", "theirs", "ours.safetensors"]);
    assert!(said.contains("converted: numbers of BF16 to 32 bits"), "{said}");
    let ours = all_values(&place.path("ours.safetensors"));
    for (name, theirs) in
        [("model.enc.8x8_conv.weight", "conv_in.weight"), ("model.out_norm.bias", "conv_norm_out.bias")]
    {
        let cut = |x: &f32| f32::from_bits(x.to_bits() & 0xffff_0000);
        assert_eq!(ours[name].1, exact[theirs].1.iter().map(cut).collect::<Vec<_>>(), "{name}");
    }
}

#[test]
fn models_of_ours_come_back_as_they_were() {
    if !has_python() {
        return;
    }
    let network = DhariwalConfig {
        img_height: Some(4),
        img_width: Some(6),
        label_dim: 3,
        model_channels: 128,
        channel_mult: vec![1, 2],
        channel_mult_emb: 2,
        num_blocks: 1,
        attn_resolutions: vec![3],
        ..DhariwalConfig::new(6, 2)
    };
    let squared_cosine = Precond::Iddpm(IddpmPrecond::default());
    for (precond, scheduler) in [(Precond::edm(0.7), "EDMEulerScheduler"), (squared_cosine, "DDPMScheduler")] {
        let place = Place(tempfile::tempdir().unwrap());
        let config = ModelConfig { network: network.clone().into(), precond };
        let names = ["a", "b", "c"].map(String::from);
        let model = Model::new(&config, 4, &Device::Cpu).unwrap().with_class_names(&names).unwrap();
        model.save(place.path("ours.safetensors")).unwrap();
        let said = place.converts(["to-diffusers", "ours.safetensors", "theirs"]);
        assert!(said.contains("veridical.classes: kept in"), "{said}");
        let written: Value =
            serde_json::from_str(&fs::read_to_string(place.path("theirs/scheduler/scheduler_config.json")).unwrap())
                .unwrap();
        assert_eq!(written["_class_name"], scheduler);
        place.converts(["from-diffusers", "theirs", "back.safetensors"]);
        let back = Model::load(place.path("back.safetensors"), &Device::Cpu).unwrap();
        assert_eq!(back.class_names(), names);
        let (before, after) =
            (all_values(&place.path("ours.safetensors")), all_values(&place.path("back.safetensors")));
        let differ =
            before.iter().filter(|(name, value)| after.get(*name) != Some(value)).map(|(name, _)| name.as_str());
        let differ: Vec<&str> = differ.collect();
        // A fresh network's last layer is zeros, as is what iddpm's unused half of it becomes.
        assert!(differ.is_empty(), "{differ:?}");
        assert_eq!(back.config().network, model.config().network);
    }
}

#[test]
fn what_has_no_counterpart_is_refused_with_the_reason() {
    if !has_python() {
        return;
    }
    let place = Place(tempfile::tempdir().unwrap());
    let golden = TensorFile::open(locate::golden().join("diffusers_unet2d.safetensors")).unwrap();
    let (config, scheduler) = diffusers_model(&place, &golden);
    let from = ["from-diffusers", "theirs", "out.safetensors"];
    for (key, value, reason) in [
        ("resnet_time_scale_shift", json!("default"), "resnet_time_scale_shift is 'default', expected 'scale_shift'"),
        ("attention_head_dim", json!(8), "attention_head_dim is 8, expected 64"),
        ("downsample_type", json!("conv"), "downsample_type is 'conv', expected 'resnet'"),
        ("down_block_types", json!(["DownBlock2D", "AttnDownBlock2D"]), "down_block_types[0] is 'DownBlock2D'"),
        ("up_block_types", json!(["ResnetUpsampleBlock2D", "UpBlock2D"]), "attention at different levels"),
        ("block_out_channels", json!([64, 128]), "below 128 channels"),
        ("block_out_channels", json!([128, 192]), "expected multiples of the first"),
        ("attn_norm_num_groups", json!(null), "attn_norm_num_groups is None"),
        ("out_channels", json!(3), "are not of one network"),
        ("layers_per_block", json!(2), "is missing"),
        ("sample_size", json!(null), "sample_size is not said"),
        ("sample_size", json!(7), "cannot be halved 1 times"),
        ("block_out_channels", json!(128), "a configuration is not sound"),
        ("warp", json!(9), "does not know: warp"),
        ("_class_name", json!("UNet2DConditionModel"), "only a UNet2DModel"),
    ] {
        let mut config = config.clone();
        config[key] = value;
        place.json("theirs/unet/config.json", &config);
        place.refuses(from, reason);
    }
    place.json("theirs/unet/config.json", &config);
    for (key, value, reason) in [
        ("prediction_type", json!("v_prediction"), "predicts 'v_prediction'"),
        ("beta_schedule", json!("scaled_linear"), "'scaled_linear' has no counterpart"),
        ("trained_betas", json!([0.1]), "without a plain beta_schedule"),
    ] {
        let mut scheduler = scheduler.clone();
        scheduler[key] = value;
        place.json("theirs/scheduler/scheduler_config.json", &scheduler);
        place.refuses(from, reason);
    }
    fs::remove_dir_all(place.path("theirs/scheduler")).unwrap();
    place.refuses(from, "save the scheduler");
    place.json("theirs/scheduler/scheduler_config.json", &scheduler);
    fs::write(place.path(WEIGHTS), b"no tensors").unwrap();
    place.refuses(from, "no sound safetensors file");
    fs::remove_file(place.path(WEIGHTS)).unwrap();
    place.refuses(from, "safe_serialization=True");
    place.refuses(["from-diffusers", "nowhere", "out.safetensors"], "name a folder");

    let to = ["to-diffusers", "ours.safetensors", "out"];
    place.refuses(to, "ours.safetensors");
    let save = |config: ModelConfig| {
        Model::new(&config, 0, &Device::Cpu).unwrap().save(place.path("ours.safetensors")).unwrap();
    };
    save(ModelConfig::new(SongConfig {
        model_channels: 8,
        channel_mult: vec![1],
        num_blocks: 1,
        attn_resolutions: vec![],
        ..SongConfig::new(4, 1)
    }));
    place.refuses(to, "a SongUNet, which UNet2DModel cannot express");
    let small = DhariwalConfig {
        model_channels: 128,
        channel_mult: vec![2],
        num_blocks: 1,
        attn_resolutions: vec![],
        ..DhariwalConfig::new(4, 1)
    };
    save(ModelConfig::new(small.clone()));
    place.refuses(to, "channel_mult is [2]");
    save(ModelConfig::new(DhariwalConfig { model_channels: 64, channel_mult: vec![1], ..small.clone() }));
    place.refuses(to, "below 128 channels");

    // No scheduler has VP's times, which is said; the network is written all the same.
    let vp = Precond::Vp(VpPrecond::default());
    let network = DhariwalConfig { channel_mult: vec![1], augment_dim: 9, ..small };
    save(ModelConfig { network: network.into(), precond: vp });
    let said = place.converts(to);
    assert!(said.contains("no scheduler: none of diffusers has the preconditioning vp"), "{said}");
    assert!(said.contains("left out: the embedding of augmentation labels"), "{said}");
    assert!(!fs::exists(place.path("out/scheduler")).unwrap());
    assert!(!place.convert(to).0, "a folder that is not empty is overwritten");
}
