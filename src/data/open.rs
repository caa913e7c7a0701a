//! From a path to a data set, whatever form it has.

use std::path::{Path, PathBuf};

use super::entries::{Kind, entries, is_meant};
use super::options::Choice;
use super::reading::Examples;
use super::{Images, ReadOptions, Reading, arrays, cifar, digits, idx_files, synthetic};
#[cfg(feature = "formats")]
use super::{Numbers, fits, folder, table, tiff};
use crate::escape::escaped;
use crate::{Error, Result, files};

/// Bytes of a list of class names.
const MAX_NAMES: u64 = 1 << 16;
/// What a name begins with that can be no path: that of a set in the binary, also beside a file or folder of its name.
const BUILT_IN: &str = "builtin:";

/// A data set: what is trained on, and what is kept to compare with.
#[derive(Debug, Clone)]
pub struct DataSet {
    /// What it was opened as.
    pub name: String,
    /// The training images.
    pub train: Images,
    /// Images that nothing is trained on, if the set brings some.
    pub test: Option<Images>,
    /// Names of the classes, in the order of their labels, where the set has any.
    pub class_names: Vec<String>,
    /// What the files held and what became of it; empty for a set that was not read.
    pub reading: Reading,
}

impl DataSet {
    /// Images of your own, to train on; `name` is for people to read.
    pub fn new(name: impl Into<String>, train: Images) -> Self {
        DataSet { name: name.into(), train, test: None, class_names: Vec::new(), reading: Reading::default() }
    }

    /// What a reader made, with what it has to say of it.
    pub(super) fn read(
        name: impl Into<String>,
        train: Images,
        test: Option<Images>,
        class_names: Vec<String>,
        reading: Reading,
    ) -> Self {
        let reading = reading.completed(&train, &class_names);
        DataSet { name: name.into(), train, test, class_names, reading }
    }

    /// The set with a warning of each option that it was opened with and has no use for: all but those `used`.
    fn using(mut self, used: &[Choice], options: &ReadOptions) -> Self {
        self.reading.warnings.extend(options.without_use(used));
        self
    }

    /// Whether the set is in the binary instead of in files.
    pub fn is_built_in(&self) -> bool {
        built_in_name(self.name.strip_prefix(BUILT_IN).unwrap_or(&self.name))
    }

    /// What was read, for a person: a line with number and size of the images, the form of the files, their values and
    /// what they mean, the classes in order; then, where there is something to say, a line each on what was converted,
    /// what was left out and what looks wrong.
    ///
    /// Names from files are [`escaped`].
    pub fn account(&self) -> String {
        self.reading.lines(&self.name, &self.train, self.test.as_ref(), &self.class_names)
    }
}

/// Opens a data set by its path or name:
///
/// | given | read as |
/// |---|---|
/// | `digits` | the handwritten digits in the binary |
/// | `synthetic:two-moons`, … | points of a known density ([`synthetic`]) |
/// | a folder with `train-images-idx3-ubyte.gz` and its like | MNIST, Fashion-MNIST, …, with the test set if it is there |
/// | a folder with `data_batch_1.bin`, … or `train.bin` | CIFAR-10 or CIFAR-100 |
/// | a folder of folders of pictures | a class for each folder, with all pictures below it |
/// | a folder with `train` and nothing but `test` or `val` beside it | the same in parts |
/// | a folder of pictures | images without classes |
/// | a folder of pictures with the `dataset.json` of EDM | images with the labels that it lists |
/// | a folder of `.npy` files | an image, a signal or a point each, without classes |
/// | a `.npz` file | `images` (or `x`) and, if there, `labels` (or `y`); `x_test` and `y_test` |
/// | a `.npy` file | images, signals or points without classes |
/// | a `.tif` file | its pages, of whole or floating-point numbers |
/// | a `.fits` file | its images, of one unit or of several that are alike |
/// | a `.csv` or `.tsv` file | points: a row each, a column for each number and perhaps one for the class |
/// | a `.bin` file, an IDX file | CIFAR records, MNIST images (with the labels beside them) |
///
/// Pictures are PNG, JPEG, WebP, GIF (the first of several), BMP, TIFF and PNM, told by their contents. Grey ones stay
/// grey unless one has colours. Values of 8 and 16 bits are spread over [-1, 1]; alpha is dropped. Truth values in
/// arrays are black and white, floating-point images are in [-1, 1] (taken as they are) or from 0 to 255. Labels are
/// whole numbers or one-hot. [`DataSet::account`] says what was read and what became of it.
///
/// A file or folder that is called as a set in the binary is read as `./digits`; the set beside it is `builtin:digits`.
///
/// Pictures of folders, `.npy` files and stacks stay in their files where they take more than
/// [they may](ReadOptions::in_memory), and are read when they are wanted. Everything else is held in memory: one file
/// may take 16 GiB unpacked, and so may all arrays read of a `.npz` together. Pictures have sides of 8,192 pixels at
/// most, labels of arrays lie below 2^20. Only regular files are read, no pipes and devices.
///
/// Errors with what was looked for and what was found, and where images or labels would be lost; see the readers for
/// what they check.
pub fn open(spec: impl AsRef<Path>) -> Result<DataSet> {
    open_with(spec, &ReadOptions::default())
}

/// As [`open`], for images that have noise already: floating-point values below 0 may lie anywhere.
pub fn open_noisy(spec: impl AsRef<Path>) -> Result<DataSet> {
    open_with(spec, &ReadOptions::noisy())
}

/// As [`open`], read as the options say.
pub fn open_with(spec: impl AsRef<Path>, options: &ReadOptions) -> Result<DataSet> {
    let path = spec.as_ref();
    let text = path.to_string_lossy();
    let exists = path.try_exists().map_err(|e| Error::io(path, e))?;
    if let Some(set) = built_in(text.strip_prefix(BUILT_IN).unwrap_or(&text), &text)? {
        if exists && !text.starts_with(BUILT_IN) {
            let shown = escaped(path);
            return Err(Error::Config(format!(
                "{shown} is a data set in the binary and also a file or folder here; say ./{shown} for that, {BUILT_IN}{shown} for the other"
            )));
        }
        return sized(set, options);
    }
    if !exists {
        let what = "no such file or folder; data are a path, `digits` or `synthetic:NAME`";
        return Err(Error::Config(format!("{}: {what}", escaped(path))));
    }
    if path.is_dir() { directory(path, &text, options) } else { file(path, &text, options) }
}

/// Whether sets in the binary have such names.
fn built_in_name(name: &str) -> bool {
    name == "digits" || name.starts_with("synthetic:")
}

/// The set of this name that needs no files; `text` is what it was asked for as.
fn built_in(name: &str, text: &str) -> Result<Option<DataSet>> {
    let said = |form: &str| Reading { form: form.into(), ..Reading::default() };
    if name == "digits" {
        let digits::Digits { train, held_out } = digits::load()?;
        let class_names = (0..10).map(|digit| digit.to_string()).collect();
        let reading = said("the digits in the binary");
        return Ok(Some(DataSet::read(text, train, Some(held_out), class_names, reading)));
    }
    let Some(name) = name.strip_prefix("synthetic:") else { return Ok(None) };
    let density = synthetic::Density::named(name)?;
    const POINTS: usize = 20_000;
    const KEPT: u32 = 5_000;
    let part = |first: u32, count: usize| -> Result<Images> {
        let points = density.sample(0, first, count)?;
        let dims = density.dims();
        Images::new(points.iter().map(|&x| x as f32).collect(), vec![0; count], [1, 1, dims], 1)
    };
    let (test, train) = (part(0, KEPT as usize)?, part(KEPT, POINTS)?);
    Ok(Some(DataSet::read(text, train, Some(test), Vec::new(), said("a known density"))))
}

fn directory(dir: &Path, name: &str, options: &ReadOptions) -> Result<DataSet> {
    // Its curves and its grids of samples are pictures, too, which nobody means.
    if dir.join(files::RUN_MARKER).is_file() {
        let shown = escaped(dir);
        return Err(Error::Config(format!(
            "{shown}: this is the directory of a run, not data; its samples come by `veridical sample --model {shown} \
             --output samples.npz`: give that file, or a folder of pictures below the run by its own path"
        )));
    }
    if let Some(train) = idx_files::pair(dir, &["train"]) {
        let test = idx_files::pair(dir, &["t10k", "test"]);
        let used: Vec<PathBuf> = [Some(&train), test.as_ref()]
            .into_iter()
            .flatten()
            .flat_map(|(i, l)| [Some(i), l.as_ref()])
            .flatten()
            .cloned()
            .collect();
        let mut set = sized(idx_files::sets(name, train, test)?, options)?;
        set.reading.left_out.extend(unused(dir, &used)?);
        return Ok(set);
    }
    if let Some(set) = cifar_sets(dir, name)? {
        return sized(set, options);
    }
    #[cfg(feature = "formats")]
    if let Some(set) = folder::open(dir, name, options)? {
        let words = (set.train.units().numbers() == Numbers::Uint16).then_some(Choice::Standardise);
        let alpha = set.train.size()[2].is_multiple_of(2).then_some(Choice::Alpha);
        let used: Vec<Choice> = words.into_iter().chain(alpha).collect();
        return Ok(set.using(&used, options));
    }
    if let Some(set) = arrays::folder::open(dir, name, options)? {
        return Ok(set.using(&[Choice::Layout, Choice::Standardise], options));
    }
    let found: Vec<String> = entries(dir)?
        .iter()
        .take(5)
        .map(|(path, _)| escaped(path.file_name().unwrap_or_default()).to_string())
        .collect();
    let what = "no data set in this folder: expected IDX files (train-images-idx3-ubyte.gz, …), CIFAR's .bin files, pictures in \
                a folder for each class, or .npy files";
    let what = if cfg!(feature = "formats") {
        what.to_string()
    } else {
        format!("{what} (which this build does not read: its feature `formats` is off)")
    };
    Err(Error::format(
        dir,
        format!("{what}; found {}", if found.is_empty() { "nothing".into() } else { found.join(", ") }),
    ))
}

/// Words on the entries of a folder that were not read.
fn unused(dir: &Path, used: &[PathBuf]) -> Result<Option<String>> {
    let all = entries(dir)?;
    let rest = all.iter().map(|(path, _)| path.as_path()).filter(|path| !used.iter().any(|used| used == path));
    Ok(Examples::of(dir, rest).say("thing beside", "things beside"))
}

fn file(path: &Path, given: &str, options: &ReadOptions) -> Result<DataSet> {
    if path.metadata().is_ok_and(|there| there.is_file() && there.len() == 0) {
        return Err(Error::format(path, "an empty file"));
    }
    let name = path.file_name().unwrap_or_default().to_string_lossy().to_lowercase();
    let ends = |ending: &str| name.ends_with(ending) || name.ends_with(&format!("{ending}.gz"));
    if ends(".npz") || ends(".npy") {
        return Ok(arrays::open(path, given, options)?.using(&[Choice::Layout, Choice::Standardise], options));
    }
    #[cfg(feature = "formats")]
    if name.ends_with(".tif") || name.ends_with(".tiff") {
        return Ok(tiff::open(path, given, options)?.using(&[Choice::Layout, Choice::Standardise], options));
    }
    #[cfg(feature = "formats")]
    if ends(".fits") || ends(".fit") || ends(".fts") {
        return Ok(fits::open(path, given, options)?.using(&[Choice::Layout, Choice::Standardise], options));
    }
    #[cfg(feature = "formats")]
    if ends(".csv") || ends(".tsv") {
        return Ok(table::open(path, given, options)?.using(&[Choice::ClassColumn, Choice::Standardise], options));
    }
    if ends(".bin") {
        let cifar::Records { pixels, labels, classes } = cifar::read(path)?;
        let images = Images::from_bytes(pixels, labels, [32, 32, 3], classes)?;
        let reading = Reading::of_bytes(format!("CIFAR-{classes} records"), &images);
        return sized(DataSet::read(given, images, None, Vec::new(), reading), options);
    }
    if name.contains("idx") || ends("-ubyte") {
        return sized(idx_files::sets(given, (path.to_path_buf(), idx_files::labels_beside(path)), None)?, options);
    }
    Err(Error::format(
        path,
        "the name says no form that is read: .npz, .npy, .csv, .tsv, .fits, .bin (CIFAR), -ubyte (IDX), each also .gz, and .tif; other pictures are read by the folder",
    ))
}

/// The set in the size that is asked for; nothing else can be asked of it.
fn sized(set: DataSet, options: &ReadOptions) -> Result<DataSet> {
    let set = set.using(&[], options);
    #[cfg(feature = "formats")]
    if let Some(said) = options.sizing.said() {
        let resized = |images: Images| options.sizing.images(images).map_err(Error::Config);
        let mut set = DataSet { train: resized(set.train)?, test: set.test.map(resized).transpose()?, ..set };
        set.reading.converted.push(said);
        return Ok(set);
    }
    Ok(set)
}

fn cifar_sets(dir: &Path, name: &str) -> Result<Option<DataSet>> {
    let present = |names: &[String]| -> Vec<PathBuf> {
        names.iter().map(|name| dir.join(name)).filter(|path| is_meant(path)).collect()
    };
    let batches: Vec<String> = (1..=5).map(|i| format!("data_batch_{i}.bin")).collect();
    let (train, test, meta) = match (present(&batches), present(&["train.bin".into()])) {
        (ten, _) if !ten.is_empty() => (ten, present(&["test_batch.bin".into()]), "batches.meta.txt"),
        (_, hundred) if !hundred.is_empty() => (hundred, present(&["test.bin".into()]), "fine_label_names.txt"),
        _ => {
            // One lone file of records.
            let bins = entries(dir)?
                .into_iter()
                .filter(|(path, kind)| *kind != Kind::Folder && path.extension().is_some_and(|e| e == "bin"));
            let bins: Vec<PathBuf> = bins.map(|(path, _)| path).collect();
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
    let mut reading =
        Reading::of_bytes(format!("CIFAR-{} records in {} files", images.classes(), train.len()), &images);
    let list = dir.join(meta);
    let mut names = Vec::new();
    if list.is_file() {
        let text = files::read_text(&list, MAX_NAMES, "list of names")?;
        names = text.lines().map(str::trim).filter(|line| !line.is_empty()).map(String::from).collect::<Vec<_>>();
        if names.len() != images.classes() {
            reading.left_out.push(format!(
                "the {} names in {meta}, for there are {} classes",
                names.len(),
                images.classes()
            ));
            names.clear();
        }
    }
    let used: Vec<PathBuf> = train.iter().chain(&test).cloned().chain([list]).collect();
    reading.left_out.extend(unused(dir, &used)?);
    Ok(Some(DataSet::read(name, images, read(&test)?, names, reading)))
}
