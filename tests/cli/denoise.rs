use std::path::PathBuf;

use veridical::diffusion::precond::VpPrecond;
use veridical::diffusion::{Model, ModelConfig, Precond};
use veridical::nn::{DhariwalConfig, NetworkConfig};
use veridical::tensor::{Shape, TensorFile, file};
use veridical::{DType, Device};

use super::{fails, locate, succeeds};

/// A folder with a model and an input for it.
struct Place {
    dir: tempfile::TempDir,
}

const CLASSES: usize = 3;

impl Place {
    fn new(precond: Precond) -> Self {
        let config = DhariwalConfig {
            model_channels: 8,
            channel_mult: vec![1, 2],
            num_blocks: 1,
            attn_resolutions: vec![2],
            label_dim: CLASSES,
            ..DhariwalConfig::new(4, 2)
        };
        let network = NetworkConfig::from(config);
        let place = Place { dir: tempfile::tempdir().unwrap() };
        let model = Model::new(&ModelConfig { network, precond }, 1, &Device::Cpu).unwrap();
        model.save(place.path("model.safetensors")).unwrap();
        place
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn input(&self, tensors: &[(&str, &[usize], Vec<f32>)]) {
        let tensors = tensors.iter().map(|(name, shape, values)| (*name, Shape::from(*shape), values.clone()));
        file::write(self.path("x.safetensors"), tensors, &Default::default()).unwrap();
    }

    fn args(&self) -> Vec<String> {
        let file = |name: &str| self.path(name).display().to_string();
        let flags = [("--model", "model"), ("--input", "x"), ("--output", "y")];
        let mut args = vec!["denoise".to_string()];
        args.extend(flags.iter().flat_map(|(flag, name)| [flag.to_string(), file(&format!("{name}.safetensors"))]));
        args.extend(["--device".into(), "cpu".into()]);
        args
    }

    fn output(&self) -> TensorFile {
        let args = self.args();
        assert!(succeeds(&args.iter().map(String::as_str).collect::<Vec<_>>()).is_empty());
        TensorFile::open(self.path("y.safetensors")).unwrap()
    }

    fn refused(&self) -> String {
        let args = self.args();
        let text = fails(1, &args.iter().map(String::as_str).collect::<Vec<_>>());
        assert!(!self.path("y.safetensors").exists(), "{text}");
        text
    }
}

fn ramp(len: usize) -> Vec<f32> {
    (0..len).map(|i| (i as f32 * 0.7).sin() * 3.0).collect()
}

/// ADM's last layer starts at zero, so that D(x) = c_skip x.
#[test]
fn a_silent_network_gives_what_the_preconditioning_says() {
    let sigmas = [0.5f32, 2.0, 10.0];
    let x = ramp(3 * 2 * 16);
    for (precond, c_skip) in [
        (Precond::edm(0.5), (|sigma: f64| 0.25 / (0.25 + sigma * sigma)) as fn(f64) -> f64),
        (Precond::Vp(VpPrecond::default()), |_| 1.0),
    ] {
        let place = Place::new(precond);
        place.input(&[
            ("x", &[3, 2, 4, 4], x.clone()),
            ("sigma", &[3], sigmas.to_vec()),
            ("class_labels", &[3, CLASSES], vec![0.0, 1.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0]),
        ]);
        let output = place.output();
        assert_eq!((output.names(), output.shape("denoised").unwrap()), (vec!["denoised".into()], &[3, 2, 4, 4][..]));
        assert_eq!(output.dtype("denoised").unwrap(), "F32");
        for (i, got) in output.floats("denoised").unwrap().unwrap().into_iter().enumerate() {
            let expected = c_skip(sigmas[i / 32].into()) * f64::from(x[i]);
            approx::assert_relative_eq!(f64::from(got), expected, max_relative = 1e-5);
        }
    }
}

#[test]
fn inputs_that_do_not_fit_are_named() {
    let place = Place::new(Precond::edm(0.5));
    let x = || ramp(2 * 32);
    let good = |name: &'static str| -> (&str, &[usize], Vec<f32>) {
        match name {
            "x" => ("x", &[2, 2, 4, 4], x()),
            _ => ("sigma", &[2], vec![1.0, 2.0]),
        }
    };
    let mut nan = x();
    nan[40] = f32::NAN;
    let cases: [(&[(&str, &[usize], Vec<f32>)], &str); 9] = [
        (&[good("sigma")], "no tensor x"),
        (&[good("x")], "no tensor sigma"),
        (&[("x", &[2, 4, 4, 2], x()), good("sigma")], "x is [2, 4, 4, 2], expected x [n, 2, 4, 4]"),
        (&[good("x"), ("sigma", &[3], vec![1.0; 3])], "expected [2]"),
        (&[good("x"), ("sigma", &[2], vec![1.0, 0.0])], "sigma[1] is 0"),
        (&[("x", &[2, 2, 4, 4], nan), good("sigma")], "x holds NaN"),
        (&[good("x"), ("sigma", &[2], vec![1.0, f32::INFINITY])], "sigma holds inf"),
        (
            &[good("x"), good("sigma"), ("class_labels", &[2, 4], vec![0.0; 8])],
            "class_labels is [2, 4], expected [2, 3]",
        ),
        (&[good("x"), good("sigma"), ("augment_labels", &[2, 9], vec![0.0; 18])], "takes none"),
    ];
    for (tensors, says) in cases {
        place.input(tensors);
        let text = place.refused();
        assert!(text.contains(says) && text.contains("x.safetensors"), "{says:?} is not in {text}");
    }
    std::fs::write(place.path("x.safetensors"), "no tensors").unwrap();
    assert!(place.refused().contains("not a sound safetensors file"));
    std::fs::remove_file(place.path("model.safetensors")).unwrap();
    assert!(place.refused().contains("model.safetensors"));
    assert!(fails(2, &["denoise", "--model", "m"]).contains("--data"));
}

/// The reference networks, as a user checks a converted model: the one beside these tests, and larger ones where their
/// files are at hand.
#[test]
fn reference_networks_are_reproduced() {
    let (golden, folder) = (locate::golden(), locate::fixtures());
    let mut compared = Vec::new();
    for (folder, name) in [(&golden, "net_skip"), (&folder, "net_ddpmpp"), (&folder, "net_adm"), (&folder, "net_vp")] {
        let Ok(fixture) = TensorFile::open(folder.join(format!("{name}.safetensors"))) else {
            println!("left out {name}: no such file in {}", folder.display());
            continue;
        };
        let place = Place { dir: tempfile::tempdir().unwrap() };
        let some = |prefix: &str| -> Vec<(String, Shape, Vec<f32>)> {
            let names = fixture.names().into_iter().filter(|name| name.starts_with(prefix));
            names
                .map(|n| (n.clone(), fixture.shape(&n).unwrap().into(), fixture.floats(&n).unwrap().unwrap()))
                .collect()
        };
        let model = some("model.");
        let model = model.iter().map(|(name, shape, values)| (name.as_str(), shape.clone(), values.clone()));
        file::write(place.path("model.safetensors"), model, &fixture.metadata()).unwrap();
        let wanted = ["in.x", "in.sigma", "in.class_labels", "in.augment_labels"];
        let input: Vec<_> = some("in.").into_iter().filter(|(name, ..)| wanted.contains(&name.as_str())).collect();
        let input: Vec<_> =
            input.iter().map(|(name, shape, values)| (&name[3..], &shape[..], values.clone())).collect();
        place.input(&input);
        let got = place.output().tensor("denoised", DType::F64, &Device::Cpu).unwrap().unwrap();
        let expected = fixture.tensor("out.denoised", DType::F64, &Device::Cpu).unwrap().unwrap();
        assert_eq!(got.shape(), expected.shape());
        let (got, expected) = (got.to_vec::<f64>().unwrap(), expected.to_vec::<f64>().unwrap());
        let scale = expected.iter().fold(0f64, |max, x| max.max(x.abs()));
        for (got, expected) in got.iter().zip(&expected) {
            assert!((got - expected).abs() <= 2e-5 * scale, "{name}: {got}, expected {expected}");
        }
        assert!(!got.is_empty() && scale > 0.0, "{name} holds nothing to compare");
        compared.push(name);
    }
    assert!(compared.contains(&"net_skip"), "compared only {compared:?}");
}
