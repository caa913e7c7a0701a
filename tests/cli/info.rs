use serde_json::Value;
use veridical::Device;
use veridical::diffusion::{Model, ModelConfig};
use veridical::nn::SongConfig;
use veridical::tensor::{TensorFile, file};

use super::{fails, succeeds};

#[test]
fn a_model_file_is_described() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("model.safetensors");
    let name = path.to_str().unwrap();
    let network = SongConfig {
        model_channels: 8,
        channel_mult: vec![1],
        num_blocks: 1,
        label_dim: 7,
        attn_resolutions: vec![],
        ..SongConfig::ncsnpp(4, 3)
    };
    let config = ModelConfig::edm(network, 0.25);
    Model::new(&config, 1, &Device::Cpu).unwrap().save(&path).unwrap();

    let info: Value = serde_json::from_str(&succeeds(&["info", name, "--json"])).unwrap();
    let architecture = serde_json::to_string(&info["architecture"]).unwrap();
    assert_eq!(ModelConfig::from_json(&architecture).unwrap(), config);
    assert_eq!((&info["precond"], &info["label_dim"], &info["augment_dim"]), (&"edm".into(), &7.into(), &9.into()));
    assert_eq!(info["sample_shape"], serde_json::json!([4, 4, 3]));
    assert!(info["sigma_max"].is_null() && info["problem"].is_null());
    // Every number but the Fourier frequencies is trained.
    let elements = |tensor: &Value| -> u64 {
        tensor["shape"].as_array().unwrap().iter().map(|extent| extent.as_u64().unwrap()).product()
    };
    let tensors = info["tensors"].as_array().unwrap();
    let trained = |tensor: &&Value| tensor["name"] != "model.map_noise.freqs";
    assert_eq!(info["parameters"].as_u64().unwrap(), tensors.iter().filter(trained).map(elements).sum::<u64>());
    assert_eq!(info["numbers"].as_u64().unwrap(), tensors.iter().map(elements).sum::<u64>());

    let text = succeeds(&["info", name]);
    for part in ["SongUNet", "noise levels from 0 to any", "model.enc.4x4_conv.weight F32 [8,3,3,3]", "residual"] {
        assert!(text.contains(part), "{part:?} is not in {text}");
    }
}

#[test]
fn names_in_a_file_do_not_act_on_the_terminal() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("evil.safetensors");
    let (file_name, evil) = (path.to_str().unwrap(), "\u{1b}[2J\u{9b}31mevil\u{7}\nproblem none\u{202e}");
    let metadata = [("veridical.model".to_string(), format!("{{\"{}\": 1}}", "\\u001b[2J"))].into();
    file::write(&path, [(evil, [1].into(), vec![1.0])], &metadata).unwrap();
    for printed in [
        succeeds(&["info", file_name]),
        succeeds(&["info", file_name, "--json"]),
        fails(1, &["sample", "--model", file_name, "--png", "x.png"]),
        fails(1, &["evaluate", "--real", "digits", "--generated", file_name]),
    ] {
        let acts = |c: char| (c.is_control() && c != '\n') || c == '\u{202e}';
        assert!(!printed.contains(acts) && !printed.contains("\nproblem none"), "{printed:?}");
    }
    let info: Value = serde_json::from_str(&succeeds(&["info", file_name, "--json"])).unwrap();
    assert_eq!(info["tensors"][0]["name"], evil);
}

#[test]
fn a_file_that_is_no_sound_model_is_described_too() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("some.safetensors");
    let name = path.to_str().unwrap();
    file::write(&path, [("a", [2, 1].into(), vec![1.0, 2.0])], &Default::default()).unwrap();
    let text = succeeds(&["info", name]);
    assert!(text.contains("veridical.model") && text.contains("  a F32 [2,1]"), "{text}");

    let mlp = ModelConfig::new(veridical::nn::MlpConfig::new(2));
    let metadata = [("veridical.model".to_string(), mlp.to_json().unwrap())].into();
    file::write(&path, [("model.input.bias", [3].into(), vec![0.0; 3])], &metadata).unwrap();
    assert!(TensorFile::open(&path).is_ok());
    let info: Value = serde_json::from_str(&succeeds(&["info", name, "--json"])).unwrap();
    let problem = info["problem"].as_str().unwrap();
    for part in ["missing model.output.weight [2, 128]", "model.input.bias is [3], expected [128]"] {
        assert!(problem.contains(part), "{part:?} is not in {problem}");
    }

    std::fs::write(&path, [0xff; 64]).unwrap();
    assert!(fails(1, &["info", name]).contains("some.safetensors"));
    assert!(fails(1, &["info", "/nonexistent"]).contains("/nonexistent"));
    assert!(fails(2, &["info"]).contains("MODEL"));
}
