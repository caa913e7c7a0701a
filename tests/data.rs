//! Readers of data sets: what they understand, and what they say of everything else.

#[path = "data/affine.rs"]
mod affine;
#[path = "data/arrays.rs"]
mod arrays;
#[path = "data/folders.rs"]
mod folders;
#[path = "data/hostile.rs"]
mod hostile;
#[path = "data/large.rs"]
mod large;
mod locate;
#[path = "data/multi_label.rs"]
mod multi_label;
#[path = "data/pictures.rs"]
mod pictures;
#[path = "data/subset.rs"]
mod subset;

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use tempfile::TempDir;
use veridical::Error;
use veridical::data::{self, Images, cifar, idx};

fn gz(bytes: &[u8]) -> Vec<u8> {
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    packed.write_all(bytes).unwrap();
    packed.finish().unwrap()
}

/// Bytes without pattern.
fn noise(count: usize) -> Vec<u8> {
    (0..count as u64).map(|i| (i.wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29) >> 40) as u8).collect()
}

fn idx_bytes(shape: &[u32], values: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0, 0, 8, shape.len() as u8];
    bytes.extend(shape.iter().flat_map(|e| e.to_be_bytes()));
    bytes.extend(values);
    bytes
}

fn cifar_bytes(records: usize, labels: usize, classes: u8) -> Vec<u8> {
    (0..records)
        .flat_map(|i| {
            let mut record = vec![i as u8 % classes; labels];
            record.extend(noise(3072 * (i + 1)).split_off(3072 * i));
            record
        })
        .collect()
}

fn npy_bytes(descr: &str, fortran: &str, shape: &str, body: &[u8]) -> Vec<u8> {
    // As NumPy 1.x and 2.x write it: padded with spaces to a multiple of 64 bytes, ended by a newline.
    let mut text = format!("{{'descr': '{descr}', 'fortran_order': {fortran}, 'shape': {shape}, }}");
    while (10 + text.len() + 1) % 64 != 0 {
        text.push(' ');
    }
    text.push('\n');
    let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
    bytes.extend((text.len() as u16).to_le_bytes());
    bytes.extend(text.bytes());
    bytes.extend(body);
    bytes
}

fn png(width: u32, height: u32, pixels: &[u8]) -> Vec<u8> {
    let mut bytes = std::io::Cursor::new(Vec::new());
    let colour = pixels.len() == (3 * width * height) as usize;
    let picture: image::DynamicImage = match colour {
        true => image::RgbImage::from_raw(width, height, pixels.to_vec()).unwrap().into(),
        false => image::GrayImage::from_raw(width, height, pixels.to_vec()).unwrap().into(),
    };
    picture.write_to(&mut bytes, image::ImageFormat::Png).unwrap();
    bytes.into_inner()
}

struct Place(TempDir);

impl Place {
    fn new() -> Self {
        Place(tempfile::tempdir().unwrap())
    }
    fn put(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.0.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, bytes).unwrap();
        path
    }
    fn path(&self) -> &Path {
        self.0.path()
    }
}

fn says(error: Error, expected: &str) {
    let text = error.to_string();
    assert!(text.contains(expected), "{text:?} does not say {expected:?}");
}

#[test]
fn idx_files_under_the_official_names() {
    let place = Place::new();
    let (pixels, test) = (noise(5 * 12), noise(2 * 12));
    place.put("train-images-idx3-ubyte.gz", &gz(&idx_bytes(&[5, 4, 3], &pixels)));
    place.put("train-labels-idx1-ubyte.gz", &gz(&idx_bytes(&[5], &[0, 2, 1, 0, 1])));
    place.put("t10k-images-idx3-ubyte", &idx_bytes(&[2, 4, 3], &test));
    place.put("t10k-labels-idx1-ubyte", &idx_bytes(&[2], &[3, 0]));
    let set = data::open(place.path()).unwrap();
    assert_eq!((set.train.len(), set.train.size(), set.train.classes()), (5, [4, 3, 1], 4));
    assert_eq!(set.train.labels(), [0, 2, 1, 0, 1]);
    let expected: Vec<f32> = pixels.iter().map(|&b| f32::from(b) / 127.5 - 1.0).collect();
    assert_eq!(set.train.pixels().unwrap()[..], expected);
    assert_eq!(set.train.gather(&[4, 1]).unwrap(), ([&expected[48..60], &expected[12..24]].concat(), vec![1, 2]));
    let kept = set.test.unwrap();
    assert_eq!((kept.len(), kept.classes(), kept.labels()), (2, 4, &[3, 0][..]));

    // One file, with the labels beside it, or without.
    let alone = data::open(place.path().join("t10k-images-idx3-ubyte")).unwrap();
    assert_eq!(alone.train.labels(), [3, 0]);
    fs::remove_file(place.path().join("t10k-labels-idx1-ubyte")).unwrap();
    let alone = data::open(place.path().join("t10k-images-idx3-ubyte")).unwrap();
    assert_eq!((alone.train.classes(), alone.test.is_none()), (1, true));

    // Letters of both sizes, and only one of the two packed.
    for (images, labels) in [
        ("Set/Mine-Images-idx3-ubyte", "Set/Mine-Labels-idx1-ubyte"),
        ("UPPER-IMAGES-IDX3-UBYTE", "UPPER-LABELS-IDX1-UBYTE"),
        ("one.images-idx3-ubyte.gz", "one.labels-idx1-ubyte"),
        ("two.images-idx3-ubyte", "two.labels-idx1-ubyte.gz"),
    ] {
        let form = |name: &str, bytes: Vec<u8>| if name.ends_with(".gz") { gz(&bytes) } else { bytes };
        let path = place.put(images, &form(images, idx_bytes(&[2, 4, 3], &test)));
        place.put(labels, &form(labels, idx_bytes(&[2], &[3, 0])));
        assert_eq!(data::open(path).unwrap().train.labels(), [3, 0], "{images}");
    }

    // An archive unpacked into a folder of its own name does not hide the files beside it.
    for name in ["train-images-idx3-ubyte", "train-labels-idx1-ubyte"] {
        place.put(&format!("{name}/{name}"), b"");
    }
    assert_eq!(data::open(place.path()).unwrap().train.labels(), [0, 2, 1, 0, 1]);

    place.put("train-labels-idx1-ubyte.gz", &gz(&idx_bytes(&[4], &[0, 2, 1, 0])));
    says(data::open(place.path()).unwrap_err(), "4 labels for the 5 images");
}

#[test]
fn idx_headers_that_lie() {
    let place = Place::new();
    let read = |bytes: &[u8]| idx::read(place.put("x", bytes)).unwrap_err();
    says(read(&idx_bytes(&[u32::MAX, u32::MAX, u32::MAX], &[1, 2])), "damaged");
    says(read(&idx_bytes(&[u32::MAX], &[1, 2])), "cut short");
    says(read(&gz(&idx_bytes(&[1 << 30], &[1, 2]))), "cut short");
    says(read(&idx_bytes(&[1], &[1, 2])), "more follows");
    says(read(&[0, 0, 13, 1, 0, 0, 0, 0]), "0x0d");
    says(read(&[0, 0, 8, 9]), "9 extents");
    says(read(b"hello"), "not IDX");
    says(read(b""), "ends after 0");
    let mut torn = gz(&idx_bytes(&[1000], &noise(1000)));
    torn[400] ^= 16;
    says(read(&torn), "gzip");
}

#[test]
fn cifar_10_and_100() {
    let place = Place::new();
    for i in 1..=5 {
        place.put(&format!("ten/data_batch_{i}.bin"), &cifar_bytes(4, 1, 10));
    }
    place.put("ten/test_batch.bin", &cifar_bytes(3, 1, 10));
    place.put("ten/batches.meta.txt", b"a\nb\nc\nd\ne\nf\ng\nh\ni\nj\n\n");
    let set = data::open(place.path().join("ten")).unwrap();
    assert_eq!((set.train.len(), set.train.size(), set.train.classes()), (20, [32, 32, 3], 10));
    assert_eq!((set.test.unwrap().len(), set.class_names.len()), (3, 10));
    // Planes become pixels: the second pixel of the second image.
    let planes = &noise(2 * 3072)[3072..];
    let pixel = [planes[1], planes[1025], planes[2049]].map(|b| f32::from(b) / 127.5 - 1.0);
    assert_eq!(set.train.gather(&[1]).unwrap().0[3..6], pixel);

    place.put("hundred/train.bin", &cifar_bytes(6, 2, 100));
    let set = data::open(place.path().join("hundred")).unwrap();
    assert_eq!((set.train.classes(), set.train.labels(), set.test.is_none()), (100, &[0, 1, 2, 3, 4, 5][..], true));

    let read = |bytes: &[u8]| cifar::read(place.put("x.bin", bytes)).unwrap_err();
    says(read(&cifar_bytes(2, 1, 10)[..6000]), "6000 bytes are not a whole number");
    says(read(&[]), "0 bytes");
    says(read(&vec![11; 2 * 3073]), "label 11");
}

#[test]
fn names_that_are_not_paths() {
    let digits = data::open("digits").unwrap();
    assert_eq!((digits.train.len(), digits.test.unwrap().len()), (1500, 297));
    let moons = data::open("synthetic:two-moons").unwrap();
    assert_eq!((moons.train.size(), moons.train.classes()), ([1, 1, 2], 1));
    assert!((0.2..0.8).contains(&moons.train.deviation()));
    says(data::open("synthetic:three-moons").unwrap_err(), "two-moons");
}

/// A file or folder called as a set in the binary: nobody has to find out which of the two was read.
#[test]
fn a_name_that_is_also_a_path_is_asked_back() {
    let place = Place::new();
    place.put("digits/a.png", &png(2, 2, &noise(4)));
    // The working directory is every test's, so the question is put where the folder lies.
    let asked = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "in_the_folder", "--nocapture"])
        .env("VERIDICAL_TEST_FOLDER", "digits")
        .current_dir(place.path())
        .output()
        .unwrap();
    assert!(asked.status.success(), "{}", String::from_utf8_lossy(&asked.stdout));
}

/// The other half of the test above; nothing where it is not called by that.
#[test]
fn in_the_folder() {
    if std::env::var("VERIDICAL_TEST_FOLDER").is_err() {
        return;
    }
    let error = data::open("digits").unwrap_err().to_string();
    assert!(error.contains("./digits") && error.contains("builtin:digits"), "{error}");
    assert_eq!(data::open("./digits").unwrap().train.len(), 1);
    assert_eq!(data::open("builtin:digits").unwrap().train.len(), 1500);
}

/// EMNIST's letters are labelled 1 to 26; a class 0 without images would be drawn all the same.
#[test]
fn labels_that_count_from_one() {
    let place = Place::new();
    let put = |name: &str, labels: &[u8]| {
        let count = labels.len() as u32;
        place.put(&format!("{name}-images-idx3-ubyte"), &idx_bytes(&[count, 2, 2], &noise(4 * labels.len())));
        place.put(&format!("{name}-labels-idx1-ubyte"), &idx_bytes(&[count], labels));
    };
    put("train", &[1, 2, 3].repeat(20));
    put("t10k", &[3, 1]);
    let set = data::open(place.path()).unwrap();
    assert_eq!((set.train.classes(), &set.class_names[..]), (3, &["1".to_string(), "2".into(), "3".into()][..]));
    assert_eq!((&set.train.labels()[..3], set.test.as_ref().unwrap().labels()), (&[0, 1, 2][..], &[2, 0][..]));
    assert!(set.account().contains("labels 1 to 3 count from 0"), "{}", set.account());
    // Too few to tell: the labels stay, and it is said that nothing is of class 0.
    put("train", &[1, 2, 3]);
    let set = data::open(place.path()).unwrap();
    assert_eq!((set.train.classes(), set.train.labels()), (4, &[1, 2, 3][..]));
    assert!(set.account().contains("no image is of class 0"), "{}", set.account());
    // A class in the middle is missed, too.
    put("train", &[0, 2, 0]);
    fs::remove_file(place.path().join("t10k-images-idx3-ubyte")).unwrap();
    assert!(data::open(place.path()).unwrap().account().contains("no image is of class 1"));
}

/// What `account` says of every kind of set, in one line, and more where there is more to say.
#[test]
fn what_was_read_is_said() {
    let line = |set: data::DataSet| set.account().lines().next().unwrap().to_string();
    let digits = line(data::open("digits").unwrap());
    assert!(digits.starts_with("digits: 1500x8x8x1 from the digits in the binary"), "{digits}");
    assert!(
        digits.contains("; 10 classes: 0, 1, 2, 3, 4, 5, 6, 7, 8, 9 (") && digits.ends_with(" each); 297 test images"),
        "{digits}"
    );
    let place = Place::new();
    place.put("train-images-idx3-ubyte", &idx_bytes(&[2, 2, 2], &[7, 9, 9, 9, 9, 9, 9, 200]));
    place.put("train-labels-idx1-ubyte", &idx_bytes(&[2], &[0, 1]));
    place.put("notes\u{1b}[2J.txt", b"");
    let set = data::open(place.path()).unwrap();
    let account = set.account();
    let expected = ": 2x2x2x1 from IDX bytes, values 7 to 200 (0 to 255 is read as [-1, 1]), standard deviation 0.496";
    assert!(account.contains(expected) && account.contains("; 2 classes: 0, 1 (1 each)"), "{account}");
    assert!(account.contains("left out: 1 thing beside (notes\\u{1b}[2J.txt)"), "{account}");
    // Pictures from 0 to 16, as scikit-learn has its digits, would be nearly black.
    place.put("train-images-idx3-ubyte", &idx_bytes(&[2, 2, 2], &[0, 16, 8, 4, 0, 16, 8, 4]));
    assert!(data::open(place.path()).unwrap().account().contains("warning: values reach only from 0 to 16"));
}

#[test]
fn a_fingerprint_sees_every_change() {
    let set = |pixels: &[u8], labels: &[u32], size| {
        Images::from_bytes(pixels.to_vec(), labels.to_vec(), size, 3).unwrap().fingerprint()
    };
    let all = [
        set(&[1, 2, 3, 4], &[0, 1], [2, 1, 1]),
        set(&[1, 2, 3, 4], &[0, 1], [1, 2, 1]),
        set(&[1, 2, 3, 5], &[0, 1], [2, 1, 1]),
        set(&[1, 2, 3, 4], &[0, 2], [2, 1, 1]),
        Images::new(vec![1., 2., 3., 4.], vec![0, 1], [2, 1, 1], 3).unwrap().fingerprint(),
    ];
    for (i, a) in all.iter().enumerate() {
        assert!(all[..i].iter().all(|b| a != b), "{all:?}");
    }
    assert_eq!(all[0], set(&[1, 2, 3, 4], &[0, 1], [2, 1, 1]));
}
