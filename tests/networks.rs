//! The networks of published configurations, and what sets their options apart.

use std::sync::Arc;

use veridical::diffusion::{Model, ModelConfig, Precond};
use veridical::nn::song::{DecoderType, EncoderType};
use veridical::nn::{Conditions, Context, DhariwalConfig, Layout, MlpConfig, NetworkConfig, SongConfig};
use veridical::ops::random::{Address, Draws, SampleIds};
use veridical::random::{Purpose, RandomKey};
use veridical::{DType, Device, Tape, Tensor, Var, ops};

const CPU: Device = Device::Cpu;

fn layout(network: NetworkConfig) -> Arc<Layout> {
    ModelConfig::new(network).build().unwrap().1
}

/// Counted from the public EDM network classes, built with the settings of its train.py.
#[test]
fn published_networks_have_their_parameter_counts() {
    let song = |config: SongConfig, classes: usize| {
        let config = SongConfig { label_dim: classes, ..config };
        layout(NetworkConfig::from(config)).parameter_count()
    };
    assert_eq!(song(SongConfig::ddpmpp(32, 3), 0), 55_733_891); // CIFAR-10
    assert_eq!(song(SongConfig::ddpmpp(32, 3), 10), 55_735_299);
    assert_eq!(song(SongConfig::ncsnpp(32, 3), 0), 56_397_827);
    assert_eq!(song(SongConfig::ncsnpp(32, 3), 10), 56_400_643);
    assert_eq!(song(SongConfig::ddpmpp(64, 3), 0), 61_805_571); // FFHQ, AFHQv2
    assert_eq!(song(SongConfig::ncsnpp(64, 3), 0), 62_761_091);
    let adm = NetworkConfig::from(DhariwalConfig::adm(64, 3, 1000)); // ImageNet
    assert_eq!(layout(adm.clone()).parameter_count(), 295_899_267);
    // With a variance in three more channels of the last layer: 3 (192 * 9 + 1) more.
    let iddpm = ModelConfig { network: adm, precond: Precond::Iddpm(Default::default()) };
    assert_eq!(iddpm.build().unwrap().1.parameter_count(), 295_904_454);
}

fn multiply_adds(network: &NetworkConfig) -> u64 {
    let (denoiser, layout) = ModelConfig::new(network.clone()).build().unwrap();
    denoiser.multiply_adds(&layout).unwrap().unwrap()
}

/// Counted from the layer list of an implementation in PyTorch: 21.190 GMAC an image for CIFAR-10.
#[test]
fn published_networks_have_their_multiply_adds() {
    let song = |config| multiply_adds(&NetworkConfig::from(config));
    assert_eq!(song(SongConfig::ddpmpp(32, 3)), 21_190_213_632);
    assert_eq!(song(SongConfig::ddpmpp(64, 3)), 41_861_447_680);
    let small = SongConfig {
        model_channels: 32,
        channel_mult: vec![1, 1],
        num_blocks: 1,
        attn_resolutions: vec![4],
        ..SongConfig::new(8, 1)
    };
    assert_eq!(song(small), 8_716_288);
    // Noise, point, three layers of two products, point.
    let points = 32 * 128 + 2 * 128 + 3 * 2 * 128 * 128 + 128 * 2;
    assert_eq!(multiply_adds(&NetworkConfig::from(MlpConfig::new(2))), points);
}

/// A network's multiply-adds from the names of its weights, which say at which resolution each is used.
#[test]
fn multiply_adds_are_what_weights_and_resolutions_make() {
    let skips =
        SongConfig { encoder_type: EncoderType::Skip, decoder_type: DecoderType::Skip, ..SongConfig::ddpmpp(32, 3) };
    let classes = SongConfig { label_dim: 10, ..SongConfig::ddpmpp(16, 3) };
    for (network, top) in [
        (NetworkConfig::from(SongConfig::ncsnpp(32, 3)), 32),
        (NetworkConfig::from(skips), 32),
        (NetworkConfig::from(classes), 16),
        (NetworkConfig::from(DhariwalConfig::adm(64, 3, 1000)), 64),
    ] {
        let mut expected = 0;
        for entry in layout(network.clone()).entries() {
            let name = entry.name.strip_prefix("model.").unwrap();
            // Augmentation labels are left out when sampling; biases and normalisations are no products.
            if !name.ends_with(".weight") || entry.shape.rank() < 2 || name.starts_with("map_augment") {
                continue;
            }
            let side = name.split('.').find_map(|part| part.split_once('x')?.0.parse::<u64>().ok()).unwrap_or(top);
            let uses = match name {
                _ if name.contains("affine") || name.starts_with("map_") => 1,
                // At the larger resolution, with a border of one for the filter [1, 3, 3, 1].
                _ if name.contains("aux_residual") => (2 * side + 2).pow(2),
                _ => side.pow(2),
            };
            expected += uses * entry.shape.elements() as u64;
            if name.contains("qkv") {
                expected += 2 * side.pow(4) * entry.shape[1] as u64;
            }
        }
        assert_eq!(multiply_adds(&network), expected, "{network:?}");
    }
}

#[test]
fn multiply_adds_of_another_networks_layout_are_an_error() {
    let (denoiser, _) = ModelConfig::new(SongConfig::ddpmpp(32, 3)).build().unwrap();
    let error = denoiser.multiply_adds(&layout(NetworkConfig::from(MlpConfig::new(2)))).unwrap_err();
    assert!(error.to_string().contains("parameter"), "{error}");
}

#[test]
fn the_residual_pyramid_and_the_skip_connections_have_edms_names() {
    let names = |encoder_type, decoder_type| -> Vec<String> {
        let config = SongConfig { encoder_type, decoder_type, ..SongConfig::ddpmpp(16, 3) };
        layout(NetworkConfig::from(config)).entries().iter().map(|entry| entry.name.clone()).collect()
    };
    let residual = names(EncoderType::Residual, DecoderType::Standard);
    let skip = names(EncoderType::Skip, DecoderType::Skip);
    for name in ["enc.8x8_aux_residual.weight", "enc.4x4_aux_residual.resample_filter", "dec.16x16_aux_conv.bias"] {
        assert!(residual.contains(&format!("model.{name}")), "{name}");
    }
    for name in ["enc.8x8_aux_down.resample_filter", "enc.4x4_aux_skip.weight", "dec.4x4_aux_norm.weight"] {
        assert!(skip.contains(&format!("model.{name}")), "{name}");
    }
    assert!(skip.contains(&"model.dec.8x8_aux_up.resample_filter".into()));
    assert!(!skip.iter().any(|name| name.contains("4x4_aux_up") || name.contains("aux_residual")));
}

#[test]
fn a_size_beyond_its_limit_is_named_with_its_value() {
    let small = || SongConfig { model_channels: 8, attn_resolutions: vec![], ..SongConfig::new(8, 1) };
    let mlp = MlpConfig { label_dim: (1 << 20) + 1, ..MlpConfig::new(2) };
    for (network, expected) in [
        (NetworkConfig::from(SongConfig { num_blocks: 65, ..small() }), "num_blocks must be at most 64, got 65"),
        (
            NetworkConfig::from(SongConfig { label_dim: u32::MAX as usize, ..small() }),
            "label_dim must be at most 1048576, got 4294967295",
        ),
        (
            NetworkConfig::from(SongConfig { augment_dim: 1 << 21, ..small() }),
            "augment_dim must be at most 1048576, got 2097152",
        ),
        (NetworkConfig::from(mlp), "label_dim must be at most 1048576, got 1048577"),
    ] {
        let error = ModelConfig::new(network).build().unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
}

#[test]
fn heads_have_sixty_four_channels_and_fewer_have_none() {
    let attends = |model_channels: usize| {
        let config = DhariwalConfig {
            model_channels,
            channel_mult: vec![1],
            num_blocks: 1,
            attn_resolutions: vec![4],
            ..DhariwalConfig::new(4, 1)
        };
        let built = ModelConfig::new(config).build();
        built.map(|(_, layout)| layout.entries().iter().any(|entry| entry.name.ends_with("qkv.weight")))
    };
    assert!(!attends(60).unwrap() && attends(64).unwrap() && attends(128).unwrap());
    let error = attends(224).unwrap_err().to_string();
    assert!(error.contains("224") && error.contains("3 heads"), "{error}");
}

fn with_labels(label_dropout: f64) -> Model {
    let config = SongConfig {
        label_dim: 4,
        label_dropout,
        model_channels: 8,
        channel_mult: vec![1],
        num_blocks: 1,
        attn_resolutions: vec![],
        dropout: 0.0,
        ..SongConfig::new(4, 1)
    };
    Model::new(&ModelConfig::new(config), 1, &CPU).unwrap()
}

fn points_with_labels(label_dropout: f64) -> Model {
    let config = MlpConfig { label_dim: 4, label_dropout, ..MlpConfig::new(3) };
    Model::new(&ModelConfig::new(config), 1, &CPU).unwrap()
}

#[test]
fn labels_are_withheld_as_often_as_asked_and_by_sample() {
    let model = with_labels(0.3);
    let kept = |n: usize, first: u32, step: u32, seed: u64| -> Vec<bool> {
        let training = Address { samples: SampleIds::From(first), ..Address::new(seed, step) };
        let cx = Context::training(&model.weights, &Tape::new(), training);
        let ones = Var::constant(Tensor::full(1.0, [n, 4], DType::F32, &CPU).unwrap());
        let labels = cx.drop_labels(&ones, 0.3).unwrap().value().to_vec::<f32>().unwrap();
        assert!(labels.chunks(4).all(|row| row.iter().all(|&x| x == row[0])), "a label is withheld as a whole");
        labels.chunks(4).map(|row| row[0] == 1.0).collect()
    };
    let all = kept(20_000, 0, 5, 1);
    let share = all.iter().filter(|&&kept| kept).count() as f64 / all.len() as f64;
    assert!((share - 0.7).abs() < 0.015, "{share}");
    assert_eq!(kept(50, 100, 5, 1), all[100..150]);
    assert_ne!(kept(50, 100, 6, 1), all[100..150]);
    assert_ne!(kept(50, 100, 5, 2), all[100..150]);
}

/// In training a withheld label is no label; outside of training none is withheld.
#[test]
fn a_network_without_its_label_is_unconditional() {
    for (model, louder) in [(with_labels(0.5), 30.0), (points_with_labels(0.5), 2.0)] {
        its_label_is_withheld(&model, louder);
    }
}

/// For label dropout 1/2.
fn its_label_is_withheld(model: &Model, louder: f64) {
    let shape = [&[64][..], &model.denoiser().sample_shape()].concat();
    let row: usize = shape[1..].iter().product();
    let x = ops::normal(shape, DType::F32, &Draws::new(RandomKey::new(1, Purpose::Latents)), &CPU).unwrap();
    // The last layer starts near zero: large weights make the label show. So do biases that are not zero.
    let draws = Draws::new(RandomKey::new(2, Purpose::Custom));
    let flat = ops::scale(model.weights.flat(), louder).unwrap();
    let flat = ops::solver_update(&flat, None, Some((0.1.into(), &draws))).unwrap().into_value();
    let model = model.with_flat_weights(flat).unwrap();
    let labels = Var::constant(Tensor::from_slice(&[1f32, 0.0, 0.0, 0.0].repeat(64), [64, 4], &CPU).unwrap());
    let run = |cx: &Context, labels: Option<&Var>| -> Vec<Vec<f32>> {
        let conditions = Conditions { class_labels: labels, augment_labels: None };
        let noise = Var::constant(Tensor::zeros([64], DType::F32, &CPU).unwrap());
        let f = model.denoiser().raw(cx, &Var::constant(x.clone()), &noise, conditions).unwrap();
        f.value().to_vec::<f32>().unwrap().chunks(row).map(<[f32]>::to_vec).collect()
    };
    let inference = Context::inference(&model.weights);
    let (told, untold) = (run(&inference, Some(&labels)), run(&inference, None));
    assert_ne!(told, untold);
    let zeros = Var::constant(Tensor::zeros([64, 4], DType::F32, &CPU).unwrap());
    assert_eq!(run(&inference, Some(&zeros)), untold, "all zeros are no label");
    let training = Address::new(3, 0);
    let trained = run(&Context::training(&model.weights, &Tape::new(), training), Some(&labels));
    let mut withheld = 0;
    for (i, row) in trained.iter().enumerate() {
        assert!(*row == told[i] || *row == untold[i], "sample {i}");
        withheld += usize::from(*row != told[i]);
    }
    assert!((16..48).contains(&withheld), "{withheld} of 64 labels withheld");
}

/// Kaiming-uniform times sqrt(1/3) is uniform within 1 / sqrt(fan_in); what ends a branch is zero.
#[test]
fn adms_layers_start_as_edm_starts_them() {
    let config = DhariwalConfig {
        model_channels: 32,
        channel_mult: vec![2],
        num_blocks: 1,
        attn_resolutions: vec![4],
        label_dim: 50,
        augment_dim: 9,
        ..DhariwalConfig::new(4, 3)
    };
    let model = Model::new(&ModelConfig::new(config), 1, &CPU).unwrap();
    let values = |name: &str| -> Vec<f64> {
        let name = format!("model.{name}");
        let entry = model.weights.layout().entries().iter().find(|entry| entry.name == name).unwrap();
        model.weights.view(entry).unwrap().to_f64().unwrap()
    };
    let deviation = |values: &[f64]| (values.iter().map(|x| x * x).sum::<f64>() / values.len() as f64).sqrt();
    let largest = |values: &[f64]| values.iter().fold(0f64, |max, x| max.max(x.abs()));
    let layers = [("enc.4x4_block0.conv0", 9 * 64), ("dec.4x4_block0.affine", 128), ("dec.4x4_in0.qkv", 64)];
    for (layer, fan_in) in layers {
        let bound = 1.0 / (fan_in as f64).sqrt();
        let (weight, bias) = (values(&format!("{layer}.weight")), values(&format!("{layer}.bias")));
        assert!(largest(&weight) <= bound && largest(&bias) <= bound && largest(&bias) > 0.8 * bound, "{layer}");
        assert!((deviation(&weight) / (bound / 3f64.sqrt()) - 1.0).abs() < 0.03, "{layer}");
    }
    assert!((deviation(&values("map_label.weight")) - 1.0).abs() < 0.03);
    for zero in ["enc.4x4_block0.conv1.weight", "dec.4x4_in0.proj.weight", "out_conv.weight", "map_augment.weight"] {
        assert_eq!(largest(&values(zero)), 0.0, "{zero}");
    }
}

#[test]
fn labels_of_another_shape_are_named() {
    for model in [with_labels(0.0), points_with_labels(0.0)] {
        let x = Tensor::zeros([&[2][..], &model.denoiser().sample_shape()].concat(), DType::F32, &CPU).unwrap();
        let labels = Tensor::zeros([2, 5], DType::F32, &CPU).unwrap();
        let error = model.denoise(&x, 1.0, Some(&labels)).unwrap_err().to_string();
        assert!(error.contains("class_labels") && error.contains("[2, 4]") && error.contains("[2, 5]"), "{error}");
    }
}

#[test]
fn a_perceptrons_label_dropout_is_in_its_file_and_may_be_missing() {
    let config = points_with_labels(0.25).config().clone();
    let json = config.to_json().unwrap();
    assert_eq!(ModelConfig::from_json(&json).unwrap(), config);
    let before = json.replace("\"label_dropout\":0.25,", "");
    assert_ne!(before, json);
    let network = ModelConfig::from_json(&before).unwrap().network;
    let read = network.of::<MlpConfig>().unwrap().clone();
    assert_eq!(read.label_dropout, 0.0);
    let wrong = MlpConfig { label_dropout: 1.0, ..read };
    let error = ModelConfig::new(wrong).build().unwrap_err().to_string();
    assert!(error.contains("label_dropout"), "{error}");
}
