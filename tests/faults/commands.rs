//! A short run of every command that leaves a run's directory.

use std::path::{Path, PathBuf};
use std::process::Command;

use veridical::data::{Images, npy};

use super::locate;

/// A network and runs so small that they end in half a second, with everything that a run writes.
const TINY: &str = "
[data]
path = 'DATA'
[model]
model_channels = 8
channel_mult = [1]
num_blocks = 1
attn_resolutions = []
[optimizer]
warm_up = 8
[average]
half_life = 20
power = [0.1]
snapshot_every = 8
[train]
device = 'cpu'
batch = 4
images = 16
log_every = 1
checkpoint_every = 1
sample_every = 2
keep_last = 2
[sampling]
steps = 1
columns = 2
rows = 2
measured = 10
";
const NOISY: &str = "
[noisy]
sigma = 0.5
clean_share = 0.3
[judge]
images = 0
";

/// Twenty pictures, which are read in no time.
const PICTURES: &str = "PLACE/images.npz";

pub struct Case {
    pub name: &'static str,
    command: &'static str,
    data: &'static str,
    /// All settings. `DATA` stands for the data, `PLACE` for the folder that the test works in.
    sections: &'static [&'static str],
    /// Given in place of a file of settings, by a command that takes none.
    flags: &'static [&'static str],
    /// Whether there is a `--resume`; else the command is given again.
    pub resumable: bool,
}

pub const TRAIN: Case =
    Case { name: "train", command: "train", data: PICTURES, sections: &[TINY], flags: &[], resumable: true };
pub const SFBD: Case = Case {
    name: "sfbd",
    command: "sfbd",
    data: PICTURES,
    sections: &[TINY, NOISY, "[sfbd]\nrounds = 1\nround_images = 12\nsteps = 4\ndenoiser = 'ode'\nfiles = true\n"],
    flags: &[],
    resumable: true,
};
pub const KEPT: Case = Case {
    name: "sfbd with a kept optimiser",
    command: "sfbd",
    data: PICTURES,
    sections: &[TINY, NOISY, "[sfbd]\nrounds = 1\nround_images = 8\nsteps = 4\ndenoiser = 'sde'\noptimizer = 'kept'\n"],
    flags: &[],
    resumable: true,
};
pub const ONLINE: Case = Case {
    name: "online sfbd",
    command: "sfbd",
    data: PICTURES,
    sections: &[
        TINY,
        NOISY,
        "[sfbd]\nsteps = 4\n[online]\nenabled = true\nimages = 16\nramp_images = 8\nevery = 2\ncount = 5\n",
    ],
    flags: &[],
    resumable: true,
};
pub const AMBIENT: Case = Case {
    name: "ambient",
    command: "ambient",
    data: PICTURES,
    sections: &[TINY, NOISY, "[ambient]\nconsistency = 0.0\n"],
    flags: &[],
    resumable: true,
};
pub const CSC: Case = Case {
    name: "csc",
    command: "csc",
    data: "digits", // enough of them for every distance
    sections: &[
        TINY,
        "[csc]\nmodel = 'PLACE/base/model.safetensors'\nsteps = 4\nchain = 2\nmeasured_steps = [2, 4]\n\
         [judge]\nimages = 20\n",
    ],
    flags: &[],
    resumable: true,
};
pub const KDGAN: Case = Case {
    name: "kdgan",
    command: "kdgan",
    data: PICTURES,
    sections: &[
        "[data]\npath = 'DATA'\nlabelled = 8\nvalidation = 6\n[steps]\nstudent = 4\npretraining = 2\nbatch = 4\n\
         [student]\nhidden = [8]\n[teacher]\nchannels = [4]\nhidden = 8\n\
         [train]\ndevice = 'cpu'\nlog_every = 1\nshow_every = 4\ncheckpoint_every = 3\n",
    ],
    flags: &[],
    resumable: true,
};
pub const TRIPLE_GAN: Case = Case {
    name: "triple-gan",
    command: "triple-gan",
    data: PICTURES,
    sections: &["[data]\npath = 'DATA'\nlabelled = 8\nvalidation = 6\n\
         [triple_gan]\niterations = 3\npretraining = 1\nlabelled = 4\nunlabelled = 4\ngenerated = 4\njoined = 4\n\
         [networks]\nkind = 'perceptron'\nlatents = 4\ngenerator = [8]\ndiscriminator = [8]\n[classifier]\nlayers = ['4x3', 'pool']\n\
         [samples]\nmeasured = 2\ncolumns = 2\nepochs = 1\n\
         [train]\ndevice = 'cpu'\nlog_every = 1\nshow_every = 4\ncheckpoint_every = 3\n"],
    flags: &[],
    resumable: true,
};
pub const DEMO: Case = Case {
    name: "demo",
    command: "demo",
    data: PICTURES,
    sections: &[
        "device = 'cpu'\nsteps = 8\nbatch = 4\nmodel_channels = 8\nchannel_mult = [1]\nattn_resolutions = []\n\
         sampler_steps = 2\nper_class = 2\nclassifier_epochs = 1\nrounds = 1\ngame_iterations = 2\n",
    ],
    flags: &[],
    resumable: false,
};
pub const COLLAPSE: Case = Case {
    name: "collapse",
    command: "collapse",
    data: PICTURES,
    sections: &[],
    flags: &["--family", "categorical", "--vocab", "20", "--rounds", "30", "--samples", "50", "--repeats", "4"],
    resumable: false,
};

impl Case {
    /// Makes the images, the settings and, where the command takes one, the model to start from. Returns the file of
    /// settings.
    pub fn prepare(&self, place: &Path) -> PathBuf {
        // Twenty grey pictures of 8 by 8 in two classes.
        let pixel = |i: u32| {
            if (i / 64).is_multiple_of(2) ^ (i % 8 < 4) { 40 + (i * 7 % 31) as u8 } else { 200 - (i * 5 % 23) as u8 }
        };
        let pixels = (0..20 * 64).map(pixel).collect();
        let images = Images::from_bytes(pixels, (0..20).map(|i| i % 2).collect(), [8, 8, 1], 2).unwrap();
        npy::write_images(place.join("images.npz"), &images).unwrap();
        let write = |name: &str, text: &str| {
            let text = text.replace("DATA", self.data).replace("PLACE", place.to_str().unwrap());
            std::fs::write(place.join(name), text).unwrap();
            place.join(name)
        };
        if self.command == "csc" {
            let args = TRAIN.first(&write("base.toml", TINY), &place.join("base"));
            assert!(Command::new(locate::program()).args(args).output().unwrap().status.success());
        }
        write("settings.toml", &self.sections.concat())
    }

    pub fn first(&self, settings: &Path, out: &Path) -> Vec<String> {
        let settings = ["--config", settings.to_str().unwrap()];
        let given = if self.flags.is_empty() { &settings[..] } else { self.flags };
        let words = [&[self.command], given, &["--out", out.to_str().unwrap()]].concat();
        words.into_iter().map(String::from).collect()
    }

    pub fn resume(&self, out: &Path) -> Vec<String> {
        [self.command, "--resume", "--out", out.to_str().unwrap()].map(String::from).into()
    }
}
