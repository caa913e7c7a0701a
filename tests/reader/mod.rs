//! A reader of the documents: the folder that they sit in, with data of every form that documents name, and what they
//! type.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

use tempfile::TempDir;
use tiff::encoder::TiffEncoder;
use tiff::encoder::colortype::Gray16;
use veridical::data::npy::{self, Array};
use veridical::{Device, Tensor};

use super::locate;

/// A folder in which a reader might sit.
pub struct Place {
    pub folder: TempDir,
}

impl Place {
    pub fn new() -> Self {
        let place = Place { folder: TempDir::new().unwrap() };
        copy(&locate::root().join("docs"), &place.path("docs"));
        let stand_ins = locate::root().join("tests/documents");
        place.link(&stand_ins.join("veridical"), "target/release/veridical");
        place.link(&stand_ins.join("coarse_solver"), "target/release/examples/coarse_solver");
        for script in ["diffusers_unet2d.py", "edm_pickle_to_safetensors.py"] {
            place.link(&locate::root().join("scripts").join(script), &format!("scripts/{script}"));
        }
        // Programs that are tested elsewhere, or build for an hour: that they are there and are sound scripts is what
        // is looked at.
        for (name, script) in [
            (".ci/run", ".ci/run"),
            ("scripts/pack-gpu-tests", "scripts/pack-gpu-tests"),
            ("run", "scripts/run-gpu-tests"),
        ] {
            place.write(
                name,
                format!("#!/bin/sh\nexec bash -n '{}'\n", locate::root().join(script).display()).as_bytes(),
            );
            executable(&place.path(name));
        }
        place
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn write(&self, name: &str, bytes: &[u8]) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }

    fn link(&self, to: &Path, name: &str) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::os::unix::fs::symlink(to, path).unwrap();
    }

    /// A folder of grey pictures.
    pub fn pictures(&self, name: &str, count: usize) {
        fs::create_dir_all(self.path(name)).unwrap();
        for i in 0..count {
            let pixels = bytes(i as u64, 64);
            image::GrayImage::from_raw(8, 8, pixels).unwrap().save(self.path(&format!("{name}/{i}.png"))).unwrap();
        }
    }

    /// An array of 32-bit numbers.
    pub fn array(&self, name: &str, shape: &[usize], of: impl Fn(usize) -> f32) {
        let values: Vec<f32> = (0..shape.iter().product()).map(of).collect();
        let tensor = Tensor::from_slice(&values, shape, &Device::Cpu).unwrap();
        npy::write(self.path(name), &Array::of(&tensor).unwrap()).unwrap();
    }

    /// A TIFF file of pages of 12x12 counts of 16 bits.
    pub fn stack(&self, name: &str, pages: usize, of: impl Fn(usize) -> f32) {
        let mut encoder = TiffEncoder::new(fs::File::create(self.path(name)).unwrap()).unwrap();
        for page in 0..pages {
            let counts: Vec<u16> = (page * 144..(page + 1) * 144).map(|i| of(i).round() as u16).collect();
            encoder.write_image::<Gray16>(12, 12, &counts).unwrap();
        }
    }

    /// A table of thirty rows.
    pub fn table(&self, name: &str, header: &str, row: impl Fn(usize) -> String) {
        let rows: Vec<String> = (0..30).map(row).collect();
        self.write(name, format!("{header}\n{}\n", rows.join("\n")).as_bytes());
    }

    /// An archive of images behind noise of this standard deviation.
    pub fn noisy(&self, name: &str, count: usize, sigma: f32) {
        let clean = bytes(2, count * 64);
        // Twelve uniform numbers less six are as good as normal here.
        let noise = bytes(3, count * 64 * 12);
        let values: Vec<f32> = clean
            .iter()
            .zip(noise.chunks(12))
            .map(|(&x, n)| {
                f32::from(x) / 127.5 - 1.0 + sigma * (n.iter().map(|&n| f32::from(n) / 255.0).sum::<f32>() - 6.0)
            })
            .collect();
        let tensor = Tensor::from_slice(&values, [count, 8, 8, 1], &Device::Cpu).unwrap();
        npy::write_npz(self.path(name), &BTreeMap::from([("images".into(), Array::of(&tensor).unwrap())])).unwrap();
    }

    /// A folder with the four files of Fashion-MNIST, with fewer images.
    pub fn idx(&self, name: &str, train: usize, test: usize) {
        for (part, count) in [("train", train), ("t10k", test)] {
            let header = |shape: &[usize]| {
                let mut header = vec![0, 0, 8, shape.len() as u8];
                header.extend(shape.iter().flat_map(|&extent| (extent as u32).to_be_bytes()));
                header
            };
            let images = [header(&[count, 28, 28]), bytes(1, count * 28 * 28)].concat();
            let labels = [header(&[count]), (0..count).map(|i| (i % 10) as u8).collect()].concat();
            self.write(&format!("{name}/{part}-images-idx3-ubyte"), &images);
            self.write(&format!("{name}/{part}-labels-idx1-ubyte"), &labels);
            for kind in ["images-idx3", "labels-idx1"] {
                let packed =
                    Command::new("gzip").arg(self.path(&format!("{name}/{part}-{kind}-ubyte"))).status().unwrap();
                assert!(packed.success());
            }
        }
    }

    /// Types every block of commands of a document.
    pub fn type_in(&self, document: &str) {
        let text = fs::read_to_string(locate::root().join(document)).unwrap();
        let blocks = blocks(&text);
        assert!(!blocks.is_empty(), "{document} has no commands");
        let built = examples().join("coarse_solver").exists();
        assert!(
            built,
            "the examples are not built, as all of `cargo test` does: run `cargo build --examples` first, with the same \
             flags"
        );
        for (line, block) in blocks {
            if block.contains("python3 ") && !has_python() {
                eprintln!("{document}:{line}: not run, for there is no python3 here");
                continue;
            }
            self.succeeds(&format!("{document}:{line}"), &["bash", "-euo", "pipefail", "-c", &one_seed(&block)]);
        }
    }

    /// Runs all lines of Python of a document as one program, where there are the modules that it needs.
    pub fn run_python(&self, document: &str, modules: &[&str]) {
        let imports = format!("import {}", modules.join(", "));
        if !Command::new("python3").args(["-c", &imports]).output().is_ok_and(|asked| asked.status.success()) {
            eprintln!("{document}: its Python is not run, for there is no python3 here with {}", modules.join(", "));
            return;
        }
        let text = fs::read_to_string(locate::root().join(document)).unwrap();
        let program: String = fenced(&text, "python").into_iter().map(|(_, block)| block).collect();
        self.succeeds(document, &["python3", "-c", &program]);
    }

    fn succeeds(&self, place: &str, command: &[&str]) {
        let path = env::join_paths(
            [locate::root().join("tests/documents")].into_iter().chain(env::split_paths(&env::var_os("PATH").unwrap())),
        );
        let done = Command::new(command[0])
            .args(&command[1..])
            .current_dir(self.folder.path())
            .env("PATH", path.unwrap())
            .env("VERIDICAL_PROGRAM", locate::program())
            .env_remove("VERIDICAL_POISON")
            .env("REPOSITORY", locate::root())
            .env("EXAMPLES", examples())
            .output()
            .unwrap();
        let said = format!("{}{}", String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
        assert!(done.status.success(), "{place}: {}\n{}\n{said}", done.status, command[command.len() - 1]);
    }
}

/// Bars of two brightnesses in images of 12x12, each image's in other rows.
pub fn bars(i: usize, dark: f32, bright: f32) -> f32 {
    if (i / 12 + i / 144) % 12 < 5 { bright } else { dark }
}

/// Signals of 32 numbers.
pub fn waves(i: usize) -> f32 {
    ((i % 32) as f32 / 5.0 + (i / 32) as f32).sin()
}

/// Bytes without pattern.
pub fn bytes(seed: u64, count: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    (0..count)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 32) as u8
        })
        .collect()
}

fn executable(path: &Path) {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target)
        } else {
            drop(fs::copy(entry.path(), target))
        }
    }
}

/// Where `cargo test` puts the examples that it builds: beside the folder of the test programs.
fn examples() -> PathBuf {
    let program = env::current_exe().unwrap();
    program.parent().and_then(Path::parent).unwrap().join("examples")
}

pub fn has_python() -> bool {
    Command::new("python3").arg("--version").output().is_ok_and(|asked| asked.status.success())
}

/// The blocks of shell commands in a Markdown text, with the lines at which they begin.
pub fn blocks(markdown: &str) -> Vec<(usize, String)> {
    fenced(markdown, "sh")
}

/// The blocks of a language.
pub fn fenced(markdown: &str, language: &str) -> Vec<(usize, String)> {
    let (mut blocks, mut open) = (Vec::new(), None::<(usize, String)>);
    for (i, line) in markdown.lines().enumerate() {
        match &mut open {
            Some(_) if line.trim_start().starts_with("```") => blocks.extend(open.take()),
            Some((_, block)) => writeln!(block, "{line}").unwrap(),
            None if line.trim().strip_prefix("```") == Some(language) => open = Some((i + 2, String::new())),
            None => {}
        }
    }
    assert!(open.is_none(), "a block of commands is not closed");
    blocks
}

/// A table takes several seeds and settings, which differ in nothing that this test looks at.
fn one_seed(block: &str) -> String {
    let several = [
        (" 0 1 2\n", " 0\n"),
        (" 0 1 2 |", " 0 |"),
        (" 0 1\n", " 0\n"),
        ("in 0 1;", "in 0;"),
        ("in 1 2 3;", "in 1;"),
        ("in 0.04 0.10;", "in 0.04;"),
        ("in 0.59 0.2;", "in 0.59;"),
    ];
    several.iter().fold(block.to_string(), |block, (all, one)| block.replace(all, one))
}
