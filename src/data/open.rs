//! From a path to a data set, whatever form it has.

use std::path::{Path, PathBuf};

use super::{Images, cifar, digits, folder, idx, npy, synthetic};
use crate::{Error, Result, files};

/// Bytes of a list of class names.
const MAX_NAMES: u64 = 1 << 16;

/// A data set: what is trained on, and what is kept to compare with.
#[derive(Debug, Clone)]
pub struct DataSet {
    /// What it was opened as.
    pub name: String,
    /// The training images.
    pub train: Images,
    /// Images that nothing is trained on, if the set brings some.
    pub test: Option<Images>,
    /// Names of the classes where the set has any.
    pub class_names: Vec<String>,
}

/// Opens a data set by its path or name:
///
/// | given | read as |
/// |---|---|
/// | `digits` | the handwritten digits in the binary |
/// | `synthetic:two-moons`, … | points of a known density ([`synthetic`]) |
/// | a folder with `train-images-idx3-ubyte.gz` and its like | MNIST, Fashion-MNIST, …, with the test set if it is there |
/// | a folder with `data_batch_1.bin`, … or `train.bin` | CIFAR-10 or CIFAR-100 |
/// | a folder of folders of PNG or JPEG files | a class for each folder, or `train` and `test` of such |
/// | a folder of PNG or JPEG files | images without classes |
/// | a `.npz` file | `images` (or `x`) and, if there, `labels` (or `y`) |
/// | a `.npy` file | images or points without classes |
/// | a `.bin` file, an IDX file | CIFAR records, MNIST images (with the labels beside them) |
///
/// Everything is held in memory. One file may take 16 GiB unpacked, and so may all arrays read of a `.npz` together and all pictures
/// of a folder together (a byte for each value); pictures have sides of 8,192 pixels at most, labels of arrays lie below 2^20. Only
/// regular files are read, no pipes and devices.
///
/// Errors with what was looked for and what was found; see the readers for what they check.
pub fn open(spec: impl AsRef<Path>) -> Result<DataSet> {
    let path = spec.as_ref();
    let text = path.to_string_lossy();
    if text == "digits" {
        let digits::Digits { train, held_out } = digits::load()?;
        let class_names = (0..10).map(|digit| digit.to_string()).collect();
        return Ok(DataSet { name: text.into(), train, test: Some(held_out), class_names });
    }
    if let Some(name) = text.strip_prefix("synthetic:") {
        let density = synthetic::Density::named(name)?;
        const POINTS: usize = 20_000;
        const KEPT: u32 = 5_000;
        let part = |first: u32, count: usize| -> Result<Images> {
            let points = density.sample(0, first, count)?;
            let dims = density.dims();
            Images::new(points.iter().map(|&x| x as f32).collect(), vec![0; count], [1, 1, dims], 1)
        };
        let (test, train) = (part(0, KEPT as usize)?, part(KEPT, POINTS)?);
        return Ok(DataSet { name: text.into(), train, test: Some(test), class_names: Vec::new() });
    }
    if !path.try_exists().map_err(|e| Error::io(path, e))? {
        let what = "no such file or folder; data are a path, `digits` or `synthetic:NAME`";
        return Err(Error::Config(format!("{}: {what}", path.display())));
    }
    let (train, test, class_names) = if path.is_dir() { directory(path)? } else { (file(path)?, None, Vec::new()) };
    Ok(DataSet { name: text.into(), train, test, class_names })
}

type Parts = (Images, Option<Images>, Vec<String>);

fn directory(dir: &Path) -> Result<Parts> {
    if let Some(train) = idx_pair(dir, &["train"]) {
        let test = idx_pair(dir, &["t10k", "test"]);
        return idx_sets(train, test);
    }
    if let Some(parts) = cifar_sets(dir)? {
        return Ok(parts);
    }
    let (train, test) = (dir.join("train"), dir.join("test"));
    if train.is_dir() {
        let names = folder::classes(&train)?;
        let colour = folder::is_colour(&train)?;
        let set = folder::read(&train, &names, colour)?;
        let test = test.is_dir().then(|| test_pictures(&test, &names, colour)).transpose()?;
        if let Some(test) = &test
            && test.size() != set.size()
        {
            let what =
                format!("test pictures are {:?} (height, width, channels), the others {:?}", test.size(), set.size());
            return Err(Error::format(dir, what));
        }
        return Ok((set, test, names));
    }
    let names = folder::classes(dir)?;
    if !names.is_empty() || folder::entries(dir)?.iter().any(|path| folder::is_picture(path)) {
        return Ok((folder::read(dir, &names, folder::is_colour(dir)?)?, None, names));
    }
    let found: Vec<String> = folder::entries(dir)?
        .iter()
        .take(5)
        .map(|path| path.file_name().unwrap_or_default().to_string_lossy().into_owned())
        .collect();
    let what = "no data set in this folder: expected IDX files (train-images-idx3-ubyte.gz, …), CIFAR's .bin files, or pictures in \
                a folder for each class";
    Err(Error::format(
        dir,
        format!("{what}; found {}", if found.is_empty() { "nothing".into() } else { found.join(", ") }),
    ))
}

/// The pictures of a `test` folder, whose classes must be among those of `train`.
fn test_pictures(test: &Path, names: &[String], colour: bool) -> Result<Images> {
    let strange: Vec<String> = folder::classes(test)?.into_iter().filter(|name| !names.contains(name)).collect();
    if strange.is_empty() {
        return folder::read(test, names, colour);
    }
    let known = if names.is_empty() { "pictures without classes".into() } else { names.join(", ") };
    let what = format!(
        "holds the classes {}, but those beside it to train on are {known}; move the pictures or take them away",
        strange.join(", ")
    );
    Err(Error::format(test, what))
}

fn file(path: &Path) -> Result<Images> {
    let name = path.file_name().unwrap_or_default().to_string_lossy().to_lowercase();
    let ends = |ending: &str| name.ends_with(ending) || name.ends_with(&format!("{ending}.gz"));
    if ends(".npz") || ends(".npy") {
        return npy::images(path);
    }
    if ends(".bin") {
        let cifar::Records { pixels, labels, classes } = cifar::read(path)?;
        return Images::from_bytes(pixels, labels, [32, 32, 3], classes);
    }
    if name.contains("idx") || ends("-ubyte") {
        return Ok(idx_sets((path.to_path_buf(), labels_beside(path)), None)?.0);
    }
    Err(Error::format(
        path,
        "the name says no form that is read: .npz, .npy, .bin (CIFAR), -ubyte (IDX), each also .gz",
    ))
}

/// Whether there is something to read under this name. A pipe is, so that reading it says what is wrong; a folder is not, for archives
/// are often unpacked into folders of their own names.
fn is_meant(path: &Path) -> bool {
    path.exists() && !path.is_dir()
}

/// The labels' file of images that are given by their own, packed or not whatever those are.
fn labels_beside(images: &Path) -> Option<PathBuf> {
    const WORDS: [(&str, &str); 5] =
        [("images", "labels"), ("Images", "Labels"), ("IMAGES", "LABELS"), ("idx3", "idx1"), ("IDX3", "IDX1")];
    let name = images.file_name()?.to_string_lossy();
    let labels = WORDS.iter().fold(name.to_string(), |name, (images, labels)| name.replace(images, labels));
    if labels == name {
        return None;
    }
    let plain = labels.strip_suffix(".gz").unwrap_or(&labels);
    let other = format!("{plain}.gz");
    [&labels, plain, &other].map(|name| images.with_file_name(name)).into_iter().find(|path| is_meant(path))
}

/// Images and labels of a part, by the names that such files have.
fn idx_pair(dir: &Path, parts: &[&str]) -> Option<(PathBuf, Option<PathBuf>)> {
    let find = |part: &str, what: &str, axes: usize| {
        let names = ["-", "."].map(|dot| format!("{part}-{what}{dot}idx{axes}-ubyte"));
        names.iter().flat_map(|name| [dir.join(name), dir.join(format!("{name}.gz"))]).find(|path| is_meant(path))
    };
    parts.iter().find_map(|part| Some((find(part, "images", 3)?, find(part, "labels", 1))))
}

fn idx_sets(train: (PathBuf, Option<PathBuf>), test: Option<(PathBuf, Option<PathBuf>)>) -> Result<Parts> {
    let read = |(images, labels): &(PathBuf, Option<PathBuf>)| {
        let (pixels, size) = idx::images(images)?;
        let count = pixels.len() / size.iter().product::<usize>();
        let classes = match labels {
            None => vec![0; count],
            Some(path) => {
                let labels = idx::labels(path)?;
                if labels.len() != count {
                    let what = format!("{} labels for the {count} images of {}", labels.len(), images.display());
                    return Err(Error::format(path, what));
                }
                labels
            }
        };
        Ok((pixels, classes, size))
    };
    let (pixels, labels, size) = read(&train)?;
    let test = test.as_ref().map(|test| Ok((&test.0, read(test)?))).transpose()?;
    if let Some((path, (_, _, other))) = &test
        && *other != size
    {
        return Err(Error::format(path, format!("images of {other:?}, but those to train on are {size:?}")));
    }
    let highest = |labels: &[u32]| labels.iter().copied().max().unwrap_or(0) as usize;
    let classes = 1 + highest(&labels).max(test.as_ref().map_or(0, |(_, (_, labels, _))| highest(labels)));
    let train = Images::from_bytes(pixels, labels, size, classes)?;
    let test = test.map(|(_, (pixels, labels, size))| Images::from_bytes(pixels, labels, size, classes)).transpose()?;
    Ok((train, test, Vec::new()))
}

fn cifar_sets(dir: &Path) -> Result<Option<Parts>> {
    let present = |names: &[String]| -> Vec<PathBuf> {
        names.iter().map(|name| dir.join(name)).filter(|path| is_meant(path)).collect()
    };
    let batches: Vec<String> = (1..=5).map(|i| format!("data_batch_{i}.bin")).collect();
    let (train, test, meta) = match (present(&batches), present(&["train.bin".into()])) {
        (ten, _) if !ten.is_empty() => (ten, present(&["test_batch.bin".into()]), "batches.meta.txt"),
        (_, hundred) if !hundred.is_empty() => (hundred, present(&["test.bin".into()]), "fine_label_names.txt"),
        _ => {
            // One lone file of records.
            let bins: Vec<PathBuf> =
                folder::entries(dir)?.into_iter().filter(|p| p.extension().is_some_and(|e| e == "bin")).collect();
            if bins.is_empty() {
                return Ok(None);
            }
            (bins, Vec::new(), "batches.meta.txt")
        }
    };
    let read = |files: &[PathBuf]| -> Result<Option<Images>> {
        let mut all = cifar::Records::default();
        for file in files {
            let part = cifar::read(file)?;
            if all.classes != 0 && all.classes != part.classes {
                return Err(Error::format(file, "CIFAR-10 and CIFAR-100 in one folder"));
            }
            all.classes = part.classes;
            all.pixels.extend(part.pixels);
            all.labels.extend(part.labels);
        }
        if files.is_empty() {
            return Ok(None);
        }
        Images::from_bytes(all.pixels, all.labels, [32, 32, 3], all.classes).map(Some)
    };
    let Some(images) = read(&train)? else { return Ok(None) };
    let names = files::read_text(dir.join(meta), MAX_NAMES, "list of names").unwrap_or_default();
    let names: Vec<String> = names.lines().map(str::trim).filter(|l| !l.is_empty()).map(String::from).collect();
    let names = if names.len() == images.classes() { names } else { Vec::new() };
    Ok(Some((images, read(&test)?, names)))
}
