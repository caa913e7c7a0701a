//! Folders of pictures: one folder a class, in the order of their names, with whatever lies below it.

mod edm;
mod pictures;
mod stack;
mod walk;

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use pictures::Target;
use walk::{Found, walk};

use super::entries::{Kind, entries};
use super::picture::{self, Header};
use super::reading::Examples;
use super::{DataSet, Images, ReadOptions, Reading};
use crate::escape::escaped;
use crate::{Error, Result};

/// One picture as a set of its own, its form told by its contents: in colour `[height, width, 3]`, else in grey
/// `[height, width, 1]`.
///
/// Errors on files that are no pictures of a form that is read (see [`open`](super::open)), are damaged or cut short,
/// and on sides of more than 8,192 pixels.
pub fn picture(path: impl AsRef<Path>, colour: bool, options: &ReadOptions) -> Result<DataSet> {
    let path = path.as_ref();
    let header = picture::header(path)?;
    let target = Target { colour, wide: header.wide, alpha: false };
    let (image, reading) = stack::images(path, &[path.to_path_buf()], &[header], (vec![0], 1), target, options)?;
    Ok(DataSet::read(path.to_string_lossy(), image, None, Vec::new(), reading))
}

/// The pictures of a folder as a data set; `None` if there are none. See [`open`](super::open) for what is read as
/// what.
///
/// Errors where pictures or classes would be lost: pictures beside the folders of classes, class folders without any, a
/// `train` that may be a class or a part, labels that do not fit; where a picture does not decode; and where sizes
/// differ.
pub(super) fn open(dir: &Path, name: &str, options: &ReadOptions) -> Result<Option<DataSet>> {
    let top = Top::of(dir)?;
    if top.pictures() == 0 {
        return Ok(None);
    }
    let (train, test, passed_over, warnings) = match top.parts()? {
        Parts::One(warnings) => (top, None, Vec::new(), warnings),
        Parts::Several { train, test, passed_over } => {
            top.no_loose_pictures("train")?;
            let train = Top::of(&train)?;
            (train, test.map(|test| Top::of(&test)).transpose()?, passed_over, Vec::new())
        }
    };
    let mut labelled = train.labelled(None)?;
    let names = labelled.names.clone();
    let mut held_out = test.as_ref().map(|test| test.labelled(Some(&train))).transpose()?;
    if let Some(held_out) = &mut held_out {
        let classes = labelled.classes.max(held_out.classes);
        (labelled.classes, held_out.classes) = (classes, classes);
    }
    // What the pictures of one part have decides of both.
    let headers = stack::headers(&labelled.files, options)?;
    let test_headers = held_out.as_ref().map(|part| stack::headers(&part.files, options)).transpose()?;
    let target = Target::default().with(&headers, options).with(test_headers.as_deref().unwrap_or_default(), options);
    let mut left_out = labelled.left_out.clone();
    let (set, mut reading) = labelled.images(dir, &headers, target, options)?;
    let mut kept = None;
    if let (Some(part), Some(headers)) = (held_out, &test_headers) {
        left_out.extend(part.left_out.iter().cloned());
        let (images, of_test) = part.images(dir, headers, target, &options.clone().in_units(set.units()))?;
        if images.size() != set.size() {
            let what =
                format!("test pictures are {:?} (height, width, channels), the others {:?}", images.size(), set.size());
            return Err(Error::format(dir, what));
        }
        let test_only =
            |clauses: Vec<String>| clauses.into_iter().map(|clause| format!("of the test images, {clause}"));
        reading.converted.extend(test_only(of_test.converted));
        reading.left_out.extend(test_only(of_test.left_out));
        kept = Some(images);
    }
    reading.left_out.extend(left_out.into_iter().chain(passed_over));
    reading.warnings.extend(warnings);
    Ok(Some(DataSet::read(name, set, kept, names, reading)))
}

/// What a folder's name says of its place in a data set, whatever the case of its letters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    Train,
    Test,
    Validation,
}

impl Part {
    fn of(folder: &Path) -> Option<Self> {
        match folder.file_name()?.to_str()?.to_lowercase().as_str() {
            "train" | "training" => Some(Part::Train),
            "test" | "testing" => Some(Part::Test),
            "val" | "valid" | "validation" | "dev" => Some(Part::Validation),
            _ => None,
        }
    }
}

/// How a folder is to be understood.
enum Parts {
    /// As one set, with what is to be said of that.
    One(Vec<String>),
    /// As a part to train on, one to compare with, and words on others.
    Several { train: PathBuf, test: Option<PathBuf>, passed_over: Vec<String> },
}

/// A folder of pictures, or of folders of them.
struct Top {
    dir: PathBuf,
    /// Files of the folder itself.
    own: Found,
    /// The folders in it, with all that lies below them.
    folders: Vec<(PathBuf, Found)>,
    labels: Option<edm::Labels>,
}

impl Top {
    fn of(dir: &Path) -> Result<Self> {
        let (mut own, mut folders) = (Found::default(), Vec::new());
        for (path, kind) in entries(dir)? {
            match kind {
                Kind::Folder => folders.push((walk(&path)?, path)),
                kind => own.add(path, kind)?,
            }
        }
        let labels = edm::read(dir)?;
        if labels.is_some() {
            own.others.retain(|file| !file.ends_with(edm::NAME));
        }
        let folders = folders.into_iter().map(|(found, path)| (path, found)).collect();
        Ok(Top { dir: dir.to_path_buf(), own, folders, labels })
    }

    /// The folders that hold pictures.
    fn holding(&self) -> impl Iterator<Item = &(PathBuf, Found)> {
        self.folders.iter().filter(|(_, found)| !found.pictures.is_empty())
    }

    fn pictures(&self) -> usize {
        self.own.pictures.len() + self.holding().map(|(_, found)| found.pictures.len()).sum::<usize>()
    }

    fn refused(&self, what: String) -> Error {
        Error::format(&self.dir, what)
    }

    fn parts(&self) -> Result<Parts> {
        if self.labels.is_some() {
            return Ok(Parts::One(Vec::new()));
        }
        let of = |part: Option<Part>| -> Vec<&(PathBuf, Found)> {
            self.holding().filter(|(folder, _)| Part::of(folder) == part).collect()
        };
        let (train, test, validation, others) =
            (of(Some(Part::Train)), of(Some(Part::Test)), of(Some(Part::Validation)), of(None));
        let all = |folders: &[&(PathBuf, Found)]| names(folders.iter().map(|(folder, _)| folder.as_path()));
        let nested = |folders: &[&(PathBuf, Found)]| folders.iter().any(|(_, found)| found.deeper > 0);
        match (&train[..], &others[..]) {
            ([], []) if nested(&test) || nested(&validation) => {
                let found = all(&[test, validation].concat());
                Err(self.refused(format!("{found} but no train folder with pictures; give the path of the one to read")))
            }
            ([], _) => Ok(Parts::One(self.doubts())),
            ([(train, _)], []) => {
                let kept = test.iter().chain(&validation).collect::<Vec<_>>();
                let passed_over = kept.iter().skip(1).map(|(folder, found)| {
                    let name = names([folder.as_path()]);
                    format!("the {} pictures of {name}, for those of one folder are enough to compare with", found.pictures.len())
                });
                Ok(Parts::Several {
                    train: train.clone(),
                    test: kept.first().map(|(folder, _)| folder.clone()),
                    passed_over: passed_over.collect(),
                })
            }
            ([one], _) if test.is_empty() && validation.is_empty() && !nested(&train) && !nested(&others) => {
                let (part, beside) = (all(&[one]), all(&others));
                Ok(Parts::One(vec![format!("{part} is taken for a class, as {beside} lie beside it")]))
            }
            _ => Err(self.refused(format!(
                "{} may be a part to train on or a class, for {} lie beside it; give the path of the part to read, or move the others away",
                all(&train),
                all(&[others, test, validation].concat())
            ))),
        }
    }

    /// What is strange about the folders as classes.
    fn doubts(&self) -> Vec<String> {
        let folders: Vec<&(PathBuf, Found)> = self.holding().collect();
        let mut doubts = Vec::new();
        if folders.iter().all(|(_, found)| found.deeper == found.pictures.len()) && self.own.pictures.is_empty() {
            doubts.push(
                "all pictures lie in folders below those of the classes; if those below are the classes, give the path of the folder that holds them"
                    .into(),
            );
        }
        let lower = |folder: &PathBuf| folder.file_name().map(|name| name.to_string_lossy().to_lowercase());
        let mut by_letters: Vec<_> = folders.iter().map(|(folder, _)| (lower(folder), folder)).collect();
        by_letters.sort();
        for pair in by_letters.windows(2).filter(|pair| pair[0].0 == pair[1].0) {
            let both = names([pair[0].1.as_path(), pair[1].1.as_path()]);
            doubts.push(format!("the classes {both} differ in the case of letters only"));
        }
        doubts
    }

    /// Errors if there are pictures beside the folders.
    fn no_loose_pictures(&self, folders: &str) -> Result<()> {
        let loose = &self.own.pictures;
        if loose.is_empty() {
            return Ok(());
        }
        let examples = Examples::of(&self.dir, loose.iter().map(PathBuf::as_path));
        let lie = if loose.len() == 1 { "1 picture lies" } else { &format!("{} pictures lie", loose.len()) };
        Err(self.refused(format!(
            "{lie} beside the folders of {folders} ({examples}), so of no class; move what is data into a folder, and other pictures away"
        )))
    }

    /// The pictures with their labels. Those of a part to compare with have the classes of `like`.
    fn labelled(&self, like: Option<&Top>) -> Result<Labelled> {
        let mut left_out = Vec::new();
        if let Some(labels) = &self.labels {
            let mut files = self.own.pictures.clone();
            files.extend(self.folders.iter().flat_map(|(_, found)| found.pictures.iter().cloned()));
            files.sort();
            let (labels, classes) = match labels {
                edm::Labels::Absent => (vec![0; files.len()], 1),
                edm::Labels::Known(known, classes) => {
                    let (labels, without) = edm::of(&self.dir, &files, known)?;
                    if without > 0 {
                        left_out
                            .push(format!("{without} of the labels in {}, whose pictures are not there", edm::NAME));
                    }
                    (labels, *classes)
                }
            };
            left_out.extend(self.not_read(&[]));
            return Ok(Labelled { files, labels, classes, names: Vec::new(), left_out });
        }
        let folders: Vec<&Path> = self.holding().map(|(folder, _)| folder.as_path()).collect();
        if folders.is_empty() {
            let files = self.own.pictures.clone();
            let labels = vec![0; files.len()];
            left_out.extend(self.not_read(&[]));
            return self.like(like, &[]).map(|_| Labelled { files, labels, classes: 1, names: Vec::new(), left_out });
        }
        self.no_loose_pictures(&names(folders.iter().copied()))?;
        let classes = self.like(like, &folders)?;
        let (mut files, mut labels) = (Vec::new(), Vec::new());
        for (label, class) in classes.iter().enumerate() {
            let found = self.holding().find(|(folder, _)| folder.file_name() == Some(class));
            let pictures = found.map_or(&[][..], |(_, found)| &found.pictures);
            files.extend(pictures.iter().cloned());
            labels.extend(pictures.iter().map(|_| label as u32));
        }
        let empty = self.folders.iter().filter(|(_, found)| found.pictures.is_empty());
        let mut without = Vec::new();
        for (folder, found) in empty {
            // The labels of the classes after it would be others than where its pictures are there.
            if like.is_none() && (found.others.is_empty() || !found.unread.is_empty()) {
                let why =
                    if found.unread.is_empty() { "is empty" } else { "holds pictures only of forms that are not read" };
                let what = format!(
                    "{why}: it seems to be a class, which would be lost; put pictures there, or take the folder away"
                );
                return Err(Error::format(folder, what));
            }
            without.push(folder.as_path());
        }
        left_out.extend(self.not_read(&without));
        let names: Vec<String> = classes.iter().map(|class| text(class)).collect();
        let mut sorted = names.clone();
        sorted.sort();
        if let Some(pair) = sorted.windows(2).find(|pair| pair[0] == pair[1]) {
            return Err(self.refused(format!("two class folders are both called {}", escaped(&pair[0]))));
        }
        Ok(Labelled { files, labels, classes: classes.len(), names, left_out })
    }

    /// The names of the classes: those of the part to train on, which must have all those of this one.
    fn like<'a>(&'a self, like: Option<&'a Top>, folders: &[&'a Path]) -> Result<Vec<&'a OsStr>> {
        let own: Vec<&OsStr> = folders.iter().filter_map(|folder| folder.file_name()).collect();
        let Some(like) = like else { return Ok(own) };
        let known: Vec<&OsStr> = match like.labels {
            Some(_) => Vec::new(),
            None => like.holding().filter_map(|(folder, _)| folder.file_name()).collect(),
        };
        let strange: Vec<String> = own.iter().filter(|name| !known.contains(name)).map(|name| text(name)).collect();
        let beside = match known.is_empty() {
            true => "pictures without classes".into(),
            false => known.iter().map(|name| escaped(name).to_string()).collect::<Vec<_>>().join(", "),
        };
        let held = match (strange.is_empty(), own.is_empty() && !known.is_empty() && !self.own.pictures.is_empty()) {
            (true, false) => return Ok(known),
            (true, true) => "pictures in no folder of a class".into(),
            (false, _) => {
                let strange: Vec<String> = strange.iter().map(|name| escaped(name).to_string()).collect();
                format!("the classes {}", strange.join(", "))
            }
        };
        Err(self.refused(format!(
            "holds {held}, but those beside it to train on are {beside}; move the pictures or take them away"
        )))
    }

    /// Words on what is not read; `without` are folders that hold no pictures.
    fn not_read(&self, without: &[&Path]) -> Vec<String> {
        let founds = || std::iter::once(&self.own).chain(self.folders.iter().map(|(_, found)| found));
        let unread = Examples::of(&self.dir, founds().flat_map(|found| &found.unread).map(PathBuf::as_path));
        let others = Examples::of(&self.dir, founds().flat_map(|found| &found.others).map(PathBuf::as_path));
        let without = Examples::of(&self.dir, without.iter().copied());
        [
            unread.say("picture of a form that is not read", "pictures of forms that are not read"),
            without.say("folder without pictures", "folders without pictures"),
            others.say("file that is no picture", "files that are no pictures"),
        ]
        .into_iter()
        .flatten()
        .collect()
    }
}

/// Files in order, each with its label.
struct Labelled {
    files: Vec<PathBuf>,
    labels: Vec<u32>,
    classes: usize,
    names: Vec<String>,
    left_out: Vec<String>,
}

impl Labelled {
    fn images(
        self,
        root: &Path,
        headers: &[Header],
        target: Target,
        options: &ReadOptions,
    ) -> Result<(Images, Reading)> {
        stack::images(root, &self.files, headers, (self.labels, self.classes), target, options)
    }
}

/// A name as text: as it is, where it is UTF-8, else with its bytes written out, so that two names stay two.
fn text(name: &OsStr) -> String {
    name.to_str().map_or_else(|| escaped(name).to_string(), String::from)
}

/// The names of folders, for messages.
fn names<'a>(folders: impl IntoIterator<Item = &'a Path>) -> String {
    let names = folders.into_iter().map(|folder| escaped(folder.file_name().unwrap_or_default()).to_string());
    names.collect::<Vec<_>>().join(", ")
}
