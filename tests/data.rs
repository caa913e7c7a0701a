//! Readers of data sets: what they understand, and what they say of everything else.

#[path = "data/hostile.rs"]
mod hostile;

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use tempfile::TempDir;
use veridical::data::npy::{self, Array, Values};
use veridical::data::{self, Images, cifar, idx};
use veridical::{Device, Error, Tensor};

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
    assert_eq!(set.train.pixels()[..], expected);
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
fn folders_of_pictures() {
    let place = Place::new();
    let (grey, colour) = (noise(6), noise(18));
    for part in ["train", "test"] {
        place.put(&format!("{part}/cat/a.png"), &png(3, 2, &grey));
        place.put(&format!("{part}/cat/.hidden.png"), b"not read");
        place.put(&format!("{part}/dog/b.PNG"), &png(3, 2, &noise(6)));
        place.put(&format!("{part}/dog/notes.txt"), b"not read either");
    }
    let set = data::open(place.path()).unwrap();
    assert_eq!(
        (set.train.size(), set.train.labels(), &set.class_names[..]),
        ([2, 3, 1], &[0, 1][..], &["cat".to_string(), "dog".into()][..])
    );
    assert_eq!(set.test.unwrap().len(), 2);
    assert_eq!(set.train.gather(&[0]).unwrap().0[5], f32::from(grey[5]) / 127.5 - 1.0);

    // One picture in colour makes the set one of colour.
    place.put("train/dog/c.png", &png(3, 2, &colour));
    let set = data::open(place.path().join("train")).unwrap();
    assert_eq!((set.train.size(), set.train.len(), set.test.is_none()), ([2, 3, 3], 3, true));
    assert_eq!(set.train.gather(&[2]).unwrap().0[17], f32::from(colour[17]) / 127.5 - 1.0);

    let flat = data::open(place.path().join("train/dog")).unwrap();
    assert_eq!((flat.train.len(), flat.train.classes()), (2, 1));

    place.put("train/dog/d.png", &png(2, 3, &grey));
    says(data::open(place.path()).unwrap_err(), "is 2 x 3 pixels, but");
    place.put("train/dog/d.png", b"PNG, honestly");
    says(data::open(place.path()).unwrap_err(), "d.png");
    place.put("nothing/readme.md", b"");
    says(data::open(place.path().join("nothing")).unwrap_err(), "found readme.md");
    says(data::open(place.path().join("none")).unwrap_err(), "no such file");
}

#[test]
fn jpeg_pictures_are_told_by_their_contents() {
    // Slopes, which JPEG keeps to within its rounding.
    let (width, height) = (16, 8);
    let slopes = image::RgbImage::from_fn(width, height, |x, y| image::Rgb([8 * x as u8, 16 * y as u8, 128]));
    let grey = image::DynamicImage::from(slopes.clone()).into_luma8();
    for (picture, channels) in [(image::DynamicImage::from(slopes), 3), (grey.into(), 1)] {
        let mut jpeg = Vec::new();
        let encoder = image::codecs::jpeg::JpegEncoder::new_with_quality(&mut jpeg, 100);
        picture.write_with_encoder(encoder).unwrap();
        assert_eq!(jpeg[..2], [0xff, 0xd8]);
        let place = Place::new();
        for name in ["a.jpg", "b.JPEG", "c.png"] {
            place.put(&format!("only/{name}"), &jpeg);
        }
        place.put("only/d.jpg", &png(width, height, picture.as_bytes()));
        let set = data::open(place.path()).unwrap().train;
        assert_eq!((set.len(), set.size()), (4, [height as usize, width as usize, channels]));
        let expected: Vec<f32> = picture.as_bytes().iter().map(|&b| f32::from(b)).collect();
        for (i, got) in set.pixels().iter().enumerate() {
            let (got, expected) = ((got + 1.0) * 127.5, expected[i % expected.len()]);
            assert!((got - expected).abs() < 4.0, "value {i} is {got}, drawn as {expected}");
        }
    }
}

#[test]
fn test_folders_that_training_lacks_are_named() {
    let place = Place::new();
    for name in ["train/cat/a.png", "train/dog/a.png", "test/cat/a.png", "test/eel/a.png", "test/fox/a.png"] {
        place.put(name, &png(2, 2, &noise(4)));
    }
    let error = data::open(place.path()).unwrap_err().to_string();
    for part in ["eel, fox", "cat, dog", "test"] {
        assert!(error.contains(part), "{part:?} is not in {error}");
    }
    // A class without test pictures is none the worse for it, and a folder without pictures is no class.
    fs::remove_dir_all(place.path().join("test/eel")).unwrap();
    fs::remove_dir_all(place.path().join("test/fox")).unwrap();
    place.put("test/notes/readme.md", b"");
    let set = data::open(place.path()).unwrap();
    assert_eq!((set.train.classes(), set.test.unwrap().labels()), (2, &[0][..]));
    place.put("flat/train/a.png", &png(2, 2, &noise(4)));
    place.put("flat/test/cat/a.png", &png(2, 2, &noise(4)));
    says(data::open(place.path().join("flat")).unwrap_err(), "cat");
}

#[test]
fn npy_files_as_numpy_writes_them() {
    let place = Place::new();
    let read = |bytes: &[u8]| npy::read(place.put("x.npy", bytes));
    let floats: Vec<u8> = [1f32, -2.5, 3., 4., 5., 6.].iter().flat_map(|x| x.to_le_bytes()).collect();
    let array = read(&npy_bytes("<f4", "False", "(2, 3)", &floats)).unwrap();
    assert_eq!(array, Array { shape: vec![2, 3], values: Values::F32(vec![1., -2.5, 3., 4., 5., 6.]) });
    let columns = read(&npy_bytes("<f4", "True", "(2, 3)", &floats)).unwrap();
    assert_eq!(columns.values, Values::F32(vec![1., 3., 5., -2.5, 4., 6.]));
    let swapped: Vec<u8> = [7i32, -8].iter().flat_map(|x| x.to_be_bytes()).collect();
    assert_eq!(read(&npy_bytes(">i4", "False", "(2,)", &swapped)).unwrap().values, Values::I64(vec![7, -8]));
    assert_eq!(
        read(&npy_bytes("|b1", "False", "()", &[1])).unwrap(),
        Array { shape: vec![], values: Values::U8(vec![1]) }
    );
    assert_eq!(read(&npy_bytes("<f2", "False", "(1,)", &[0, 0x3e])).unwrap().to_f64(), [1.5]);
    assert_eq!(read(&npy_bytes("<f8", "False", "(0, 4)", &[])).unwrap().shape, [0, 4]);

    for (bytes, expected) in [
        (npy_bytes("<f4", "False", "(2, 4)", &floats), "cut short"),
        (npy_bytes("<f4", "False", "(1, 3)", &floats), "more follows"),
        (npy_bytes("<f4", "False", "(99999999999, 99999999999)", &floats), "damaged"),
        (npy_bytes("<f4", "False", "(-1, 3)", &floats), "extent"),
        (npy_bytes("|O", "False", "(1,)", &[]), "type \"|O\""),
        (npy_bytes("<c8", "False", "(1,)", &[]), "type \"<c8\""),
        (npy_bytes("<f4", "Maybe", "(1,)", &[]), "fortran_order"),
        (b"\x93NUMPY\x09\x00\x00\x00".to_vec(), "version 9"),
        (b"\x93NUMPY\x02\x00\xff\xff\xff\x7f".to_vec(), "damaged"),
        (b"PK\x03\x04 is a zip file".to_vec(), "not as .npy files do"),
    ] {
        says(read(&bytes).unwrap_err(), expected);
    }
}

#[test]
fn arrays_come_back_from_their_own_files() {
    let place = Place::new();
    let all = [
        Array { shape: vec![2, 1, 3], values: Values::U8(vec![0, 1, 2, 3, 4, 255]) },
        Array { shape: vec![3], values: Values::I64(vec![i64::MIN, 0, i64::MAX]) },
        Array { shape: vec![], values: Values::F32(vec![-0.5]) },
        Array { shape: vec![0, 7], values: Values::F64(vec![]) },
    ];
    for array in &all {
        let path = place.path().join("x.npy");
        npy::write(&path, array).unwrap();
        assert_eq!(npy::read(&path).unwrap(), *array);
        assert_eq!(fs::read(&path).unwrap().len() % 64, array.to_bytes().unwrap().len() % 64);
        let header = fs::read(&path).unwrap();
        assert_eq!((10 + u16::from_le_bytes([header[8], header[9]])) % 64, 0, "NumPy maps arrays on 64 bytes");
    }
    assert!(Array { shape: vec![2], values: Values::U8(vec![1]) }.to_bytes().is_err());
    let named: BTreeMap<String, Array> = ["a", "b", "c", "d"].map(String::from).into_iter().zip(all).collect();
    let path = place.path().join("x.npz");
    npy::write_npz(&path, &named).unwrap();
    assert_eq!(npy::read_npz(&path).unwrap(), named);
    let first = fs::read(&path).unwrap();
    npy::write_npz(&path, &named).unwrap();
    assert_eq!(fs::read(&path).unwrap(), first, "equal arrays, equal files");

    let tensor = Tensor::from_slice(&[1.5f64, 2.5], [1, 2], &Device::Cpu).unwrap();
    let back = Array::of(&tensor).unwrap().tensor(&Device::Cpu).unwrap();
    assert_eq!((back.shape()[..].to_vec(), back.to_f64().unwrap()), (vec![1, 2], vec![1.5, 2.5]));
}

#[test]
fn sets_from_arrays() {
    let place = Place::new();
    let images = Array { shape: vec![2, 2, 2], values: Values::U8(vec![0, 255, 0, 255, 51, 51, 51, 51]) };
    let labels = Array { shape: vec![2], values: Values::I64(vec![4, 1]) };
    let path = place.path().join("set.npz");
    npy::write_npz(&path, &BTreeMap::from([("images".into(), images.clone()), ("labels".into(), labels)])).unwrap();
    let set = data::open(&path).unwrap().train;
    assert_eq!((set.size(), set.labels(), set.classes()), ([2, 2, 1], &[4, 1][..], 5));
    assert_eq!(set.pixels()[..5], [-1., 1., -1., 1., -0.6]);

    let points = Array { shape: vec![3, 2], values: Values::F64(vec![0.5, 7.0, -3.0, 1.0, 2.0, 0.0]) };
    let path = place.path().join("points.npy");
    npy::write(&path, &points).unwrap();
    let set = data::open(&path).unwrap().train;
    assert_eq!((set.size(), &set.pixels()[..2]), ([1, 1, 2], &[0.5, 7.0][..]));

    npy::write_npz(&path, &BTreeMap::from([("weights".into(), points)])).unwrap();
    says(data::open(&path).unwrap_err(), "found weights");

    let labels = Array { shape: vec![2], values: Values::I64(vec![1, 4_294_967_294]) };
    npy::write_npz(&path, &BTreeMap::from([("x".into(), images), ("y".into(), labels)])).unwrap();
    says(data::open(&path).unwrap_err(), "label 4294967294 of row 1; labels are classes from 0 to 1048575");
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
