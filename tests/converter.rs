//! `scripts/edm_pickle_to_safetensors.py`, with stand-ins for PyTorch and for EDM's classes: what it makes of a pickle
//! must load. Likewise `scripts/edm_statistics.py`, with one for NumPy.

mod diffusers;
mod locate;

use std::path::Path;
use std::process::{Command, Output};

use veridical::Device;
#[cfg(feature = "formats")]
use veridical::data::npy;
use veridical::diffusion::precond::IddpmPrecond;
use veridical::diffusion::{Model, ModelConfig, Precond};
use veridical::nn::{DhariwalConfig, NetworkConfig, SongConfig};

/// As much of PyTorch as the script uses.
const TORCH: &str = r#"
import array, math
float32 = "float32"
class no_grad:
    def __enter__(self): pass
    def __exit__(self, *error): pass
class Tensor:
    def __init__(self, shape, values): self.shape, self.values = shape, values
    def detach(self): return self
    def to(self, device, dtype): return self
    def contiguous(self): return self
    def numpy(self): return self
    def astype(self, dtype): return self
    def tobytes(self): return array.array("f", self.values).tobytes()
    def all(self): return all(self.values)
def isfinite(tensor): return Tensor(tensor.shape, [math.isfinite(value) for value in tensor.values])
"#;

/// Classes with the names and attributes of EDM's; the weights come from a model file. Options that were not given have
/// defaults.
const NETWORKS: &str = r#"
import array, json, struct
from torch import Tensor
class Network:
    def __init__(self, img_resolution, in_channels, out_channels, label_dim=0, augment_dim=0, dropout=0.1, label_dropout=0, **options): pass
class SongUNet(Network): pass
class DhariwalUNet(Network): pass
class Precond:
    def __init__(self, img_resolution, img_channels, label_dim=0, use_fp16=False, model_type="SongUNet", **options): pass
    def state_dict(self):
        data = open(self.weights, "rb").read()
        start = 8 + struct.unpack("<Q", data[:8])[0]
        tensors = json.loads(data[8:start])
        del tensors["__metadata__"]
        for name, entry in tensors.items():
            first, end = entry["data_offsets"]
            values = array.array("f", data[start + first:start + end])
            own = "u" if name == "model.u" else name  # EDM's wrapper holds iDDPM's table
            tensors[name] = (own, Tensor(entry["shape"], list(values)))
        return dict(tensors.values())
class EDMPrecond(Precond): pass
class iDDPMPrecond(Precond): pass
"#;

/// As much of NumPy as `scripts/edm_statistics.py` uses.
#[cfg(feature = "formats")]
const NUMPY: &str = r#"
import math, struct, zipfile
float64 = "float64"
class Array:
    def __init__(self, shape, values): self.shape, self.values, self.ndim = shape, values, len(shape)
    def __len__(self): return self.shape[0]
    def all(self): return all(self.values)
def asarray(values, dtype):
    if isinstance(values[0], list): return Array((len(values), len(values[0])), [float(x) for row in values for x in row])
    return Array((len(values),), [float(x) for x in values])
def isfinite(array): return Array(array.shape, [math.isfinite(x) for x in array.values])
def savez(file, **arrays):
    with zipfile.ZipFile(file, "w") as archive:
        for name, array in arrays.items():
            extents = ", ".join(map(str, array.shape)) + ","
            header = "{'descr': '<f8', 'fortran_order': False, 'shape': (" + extents + "), }"
            header += " " * ((-len(header) - 11) % 64) + "\n"
            start = b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header.encode()
            archive.writestr(name + ".npy", start + struct.pack("<%dd" % len(array.values), *array.values))
"#;

struct Place {
    dir: tempfile::TempDir,
}

impl Place {
    fn new() -> Self {
        let place = Place { dir: tempfile::tempdir().unwrap() };
        place.write("torch.py", TORCH);
        place.write("networks.py", NETWORKS);
        place
    }

    fn path(&self, name: &str) -> String {
        self.dir.path().join(name).to_str().unwrap().into()
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.path(name), text).unwrap();
    }

    fn python(&self, args: &[&str]) -> Output {
        let mut python = Command::new("python3");
        python.args(args).env("PYTHONPATH", self.dir.path()).current_dir(self.dir.path());
        python.output().unwrap()
    }

    /// Pickles what `build`, lines of Python, puts into `net`.
    fn pickle(&self, build: &str) {
        let script =
            format!("import math, pickle, networks\n{build}\npickle.dump({{'ema': net}}, open('net.pkl', 'wb'))\n");
        self.write("build.py", &script);
        let made = self.python(&["build.py"]);
        assert!(made.status.success(), "{made:?}");
    }

    fn convert(&self, more: &[&str]) -> Output {
        let script = locate::root().join("scripts/edm_pickle_to_safetensors.py");
        self.python(&[&[script.to_str().unwrap(), "net.pkl", "out.safetensors"], more].concat())
    }

    fn refused(&self, more: &[&str]) -> String {
        let output = self.convert(more);
        let text = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{text}");
        assert!(text.starts_with("error: ") && !text.contains("Traceback"), "{text}");
        assert!(!Path::new(&self.path("out.safetensors")).exists(), "{text}");
        text
    }
}

fn has_python() -> bool {
    let found = Command::new("python3").arg("--version").output().is_ok_and(|output| output.status.success());
    if !found {
        println!("skipped: there is no python3");
    }
    found
}

/// A wrapper around a network, both with the arguments they were made with.
fn wrapper(class: &str, network: &str, resolution: usize, options: &str) -> String {
    format!(
        "net = networks.{class}.__new__(networks.{class})\n\
         net.img_resolution, net.img_channels, net.weights = {resolution}, 3, 'in.safetensors'\n\
         net.sigma_min, net.sigma_max, net.sigma_data = 0, math.inf, 0.5\n\
         net.C_1, net.C_2, net.M = 0.001, 0.008, 1000\n\
         options = dict({options})\n\
         net._init_args = ({resolution},)\n\
         net._init_kwargs = dict(img_channels=3, use_fp16=True, model_type='{network}', **options)\n\
         net.model = networks.{network}.__new__(networks.{network})\n\
         net.model._init_args = ()\n\
         net.model._init_kwargs = dict(img_resolution={resolution}, in_channels=3, out_channels=3, **options)\n"
    )
}

#[test]
fn pickles_become_model_files() {
    if !has_python() {
        return;
    }
    let place = Place::new();
    let song = SongConfig {
        model_channels: 8,
        channel_mult: vec![1, 2],
        num_blocks: 1,
        attn_resolutions: vec![4],
        dropout: 0.05,
        ..SongConfig::ncsnpp(8, 3)
    };
    let adm = DhariwalConfig {
        model_channels: 8,
        channel_mult: vec![1],
        num_blocks: 1,
        attn_resolutions: vec![],
        label_dim: 4,
        ..DhariwalConfig::new(4, 3)
    };
    let cases = [
        (
            ModelConfig::new(song),
            // EDM passes over attention at resolutions that the network does not have.
            wrapper(
                "EDMPrecond",
                "SongUNet",
                8,
                "augment_dim=9, model_channels=8, channel_mult=[1, 2], num_blocks=1, attn_resolutions=[16, 4], dropout=0.05, \
                 embedding_type='fourier', channel_mult_noise=2, encoder_type='residual', resample_filter=[1, 3, 3, 1]",
            ),
        ),
        (
            ModelConfig { network: NetworkConfig::from(adm), precond: Precond::Iddpm(IddpmPrecond::default()) },
            wrapper(
                "iDDPMPrecond",
                "DhariwalUNet",
                4,
                "label_dim=4, model_channels=8, channel_mult=(1,), num_blocks=1, attn_resolutions=[32, 16, 8]",
            ),
        ),
    ];
    for (config, build) in cases {
        let model = Model::new(&config, 1, &Device::Cpu).unwrap();
        model.save(place.path("in.safetensors")).unwrap();
        place.pickle(&build);
        let output = place.convert(&[]);
        assert!(output.status.success(), "{output:?}");
        let read = Model::load(place.path("out.safetensors"), &Device::Cpu).unwrap();
        assert_eq!(read.config(), &config);
        let values = |model: &Model| model.weights.flat().to_vec::<f32>().unwrap();
        assert_eq!(values(&read), values(&model));
    }
}

#[test]
fn what_cannot_be_converted_is_said() {
    if !has_python() {
        return;
    }
    let place = Place::new();
    let build = |options: &str| wrapper("EDMPrecond", "SongUNet", 8, options);
    place.pickle(&build("warp_factor=9"));
    assert!(place.refused(&[]).contains("warp_factor"));
    assert!(place.refused(&["--key", "net"]).contains("['ema']"));
    assert!(place.refused(&["--edm", "/nonexistent"]).contains("torch_utils"));
    std::fs::rename(place.path("networks.py"), place.path("elsewhere.py")).unwrap();
    assert!(place.refused(&[]).contains("needs the module networks"));
    std::fs::write(place.path("net.pkl"), [0x80, 0x04, 0x95, 0xff]).unwrap();
    assert!(place.refused(&[]).contains("cannot be unpickled"));
    std::fs::remove_file(place.path("net.pkl")).unwrap();
    assert!(place.refused(&[]).contains("net.pkl"));
    let help = place.convert(&["--help"]);
    assert!(help.status.success() && String::from_utf8(help.stdout).unwrap().contains("--edm"));
}

#[cfg(feature = "formats")]
#[test]
fn statistics_become_an_archive_that_distances_are_measured_from() {
    if !has_python() {
        return;
    }
    let place = Place::new();
    place.write("numpy.py", NUMPY);
    let script = locate::root().join("scripts/edm_statistics.py");
    let convert = |build: &str, more: &[&str]| {
        place.write("build.py", &format!("import os, pickle\npickle.dump({build}, open('stats.pkl', 'wb'))\n"));
        assert!(place.python(&["build.py"]).status.success());
        place.python(&[&[script.to_str().unwrap(), "stats.pkl"], more].concat())
    };
    let all = "{'fid': {'mu': [1, 2], 'sigma': [[4, 1], [1, 9]]}, 'other': {'mu': [5], 'sigma': [[2]]}, 'is': 3.0}";
    let done = convert(all, &["out.npz"]);
    assert!(done.status.success(), "{done:?}");
    let [mu, sigma] = npy::read_npz_members(place.path("out.npz"), ["mu", "sigma"]).unwrap();
    assert_eq!((mu.to_f64(), sigma.to_f64(), sigma.shape), (vec![1.0, 2.0], vec![4.0, 1.0, 1.0, 9.0], vec![2, 2]));
    assert!(convert(all, &["--metric", "other", "out.npz"]).status.success());
    assert_eq!(npy::read_npz_members(place.path("out.npz"), ["mu"]).unwrap()[0].to_f64(), [5.0]);

    // What would run a program is refused, and nothing runs.
    let evil = "type('E', (), {'__reduce__': lambda self: (os.mkdir, ('made',))})()";
    for (build, more, says) in [
        (all, &["--metric", "dinov2", "no.npz"][..], "it has fid, other, is"),
        (all, &["--metric", "is", "no.npz"], "has no mu and sigma, but it is a float"),
        (all, &["out.npy"], "end the name so"),
        ("[1, 2]", &["no.npz"], "holds a list"),
        ("{'fid': {'mu': [1, 2], 'sigma': [[4]]}}", &["no.npz"], "mu is [2] and sigma [1, 1]"),
        ("{'fid': {'mu': [float('nan')], 'sigma': [[4]]}}", &["no.npz"], "not finite"),
        ("{'fid': {'mu': ['x'], 'sigma': [[4]]}}", &["no.npz"], "no array of numbers"),
        (evil, &["no.npz"], "mkdir, which statistics have no need of"),
    ] {
        let output = convert(build, more);
        let text = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{text}");
        assert!(text.starts_with("error: ") && text.contains(says), "{text}");
    }
    assert!(!Path::new(&place.path("no.npz")).exists() && !Path::new(&place.path("made")).exists());
}
