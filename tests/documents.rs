//! What the documents tell a reader to type is typed here: every block of commands in README.md, CONTRIBUTING.md and
//! docs, as it stands, in a folder with data of the form and name that it speaks of. Lengths of trainings are cut
//! (`documents/veridical`), nothing else.

mod locate;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

use tempfile::TempDir;
use veridical::data::npy::{self, Array};
use veridical::{Device, Tensor};

/// A folder in which a reader might sit.
struct Place {
    folder: TempDir,
}

impl Place {
    fn new() -> Self {
        let place = Place { folder: TempDir::new().unwrap() };
        copy(&locate::root().join("docs"), &place.path("docs"));
        let stand_ins = locate::root().join("tests/documents");
        place.link(&stand_ins.join("veridical"), "target/release/veridical");
        place.link(&stand_ins.join("coarse_solver"), "target/release/examples/coarse_solver");
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

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, name: &str, bytes: &[u8]) {
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
    fn pictures(&self, name: &str, count: usize) {
        fs::create_dir(self.path(name)).unwrap();
        for i in 0..count {
            let pixels = bytes(i as u64, 64);
            image::GrayImage::from_raw(8, 8, pixels).unwrap().save(self.path(&format!("{name}/{i}.png"))).unwrap();
        }
    }

    /// An archive of images behind noise of this standard deviation.
    fn noisy(&self, name: &str, count: usize, sigma: f32) {
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
    fn idx(&self, name: &str, train: usize, test: usize) {
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
    fn type_in(&self, document: &str) {
        let text = fs::read_to_string(locate::root().join(document)).unwrap();
        let blocks = blocks(&text);
        assert!(!blocks.is_empty(), "{document} has no commands");
        let built = examples().join("coarse_solver").exists();
        assert!(
            built,
            "the examples are not built, as all of `cargo test` does: run `cargo build --examples` first, with the same flags"
        );
        for (line, block) in blocks {
            if block.contains("python3 ") && !has_python() {
                eprintln!("{document}:{line}: not run, for there is no python3 here");
                continue;
            }
            let path = env::join_paths(
                [locate::root().join("tests/documents")]
                    .into_iter()
                    .chain(env::split_paths(&env::var_os("PATH").unwrap())),
            );
            let done = Command::new("bash")
                .args(["-euo", "pipefail", "-c", &one_seed(&block)])
                .current_dir(self.folder.path())
                .env("PATH", path.unwrap())
                .env("VERIDICAL_PROGRAM", locate::program())
                .env_remove("VERIDICAL_POISON")
                .env("REPOSITORY", locate::root())
                .env("EXAMPLES", examples())
                .output()
                .unwrap();
            let said = format!("{}{}", String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
            assert!(done.status.success(), "{document}:{line}: {}\n{block}\n{said}", done.status);
        }
    }
}

/// Bytes without pattern.
fn bytes(seed: u64, count: usize) -> Vec<u8> {
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

fn has_python() -> bool {
    Command::new("python3").arg("--version").output().is_ok_and(|asked| asked.status.success())
}

/// The blocks of shell commands in a Markdown text, with the lines at which they begin.
fn blocks(markdown: &str) -> Vec<(usize, String)> {
    let (mut blocks, mut open) = (Vec::new(), None::<(usize, String)>);
    for (i, line) in markdown.lines().enumerate() {
        match &mut open {
            Some(_) if line.trim_start().starts_with("```") => blocks.extend(open.take()),
            Some((_, block)) => writeln!(block, "{line}").unwrap(),
            None if line.trim() == "```sh" => open = Some((i + 2, String::new())),
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

#[test]
fn the_readme() {
    Place::new().type_in("README.md");
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
    let array = |name: &str, shape: &[usize], of: &dyn Fn(usize) -> f32| {
        let values: Vec<f32> = (0..shape.iter().product()).map(of).collect();
        let tensor = Tensor::from_slice(&values, shape, &Device::Cpu).unwrap();
        npy::write(place.path(name), &Array::of(&tensor).unwrap()).unwrap();
    };
    let pattern = bytes(7, 20 * 144);
    let clean = |i: usize| if (i / 12 + i / 144) % 12 < 5 { 1500.0 } else { 900.0 };
    array("stack.npy", &[20, 12, 12], &clean);
    array("noisy_stack.npy", &[20, 12, 12], &|i| clean(i) + 140.0 * (f32::from(pattern[i]) / 255.0 - 0.5));
    array("levels.npy", &[20], &|i| 30.0 + i as f32);
    // The sum of twelve numbers, less six, is nearly normal; a gain of 2 makes a variance of twice what is over 100.
    let draws = bytes(8, 20 * 144 * 12);
    let normal = |i: usize| draws[12 * i..][..12].iter().map(|&n| f32::from(n) / 255.0).sum::<f32>() - 6.0;
    let mean = |i: usize| 160.0 + 0.4 * (clean(i) - 900.0) + (i / 144) as f32;
    array("long_exposures.npy", &[20, 12, 12], &mean);
    array("counts.npy", &[20, 12, 12], &|i| mean(i) + (2.0 * (mean(i) - 100.0) + 9.0).sqrt() * normal(i));
    array("clean_radar.npy", &[20, 12, 12], &clean);
    array("radar.npy", &[20, 12, 12], &|i| clean(i) * (0.4 * normal(i) - 0.08).exp());
    array("signals.npy", &[20, 32], &|i| ((i % 32) as f32 / 5.0 + (i / 32) as f32).sin());
    let rows: String = (0..30).map(|i| format!("{},{}.5,{}\n", i % 7, 100 * (i % 5), ["a", "b"][i % 2])).collect();
    place.write("table.csv", format!("width,weight,class\n{rows}").as_bytes());
    place.type_in("docs/guides/your-data.md");
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
