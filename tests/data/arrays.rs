//! Arrays in NumPy's files: what numbers mean as pixels and as labels.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use veridical::data::npy::{self, Array, Values};
use veridical::data::{self, DataSet, Numbers, ReadOptions, Standardise};
use veridical::{Device, Tensor};

use super::{Place, noise, npy_bytes, says};

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
    assert_eq!(set.pixels().unwrap()[..5], [-1., 1., -1., 1., -0.6]);

    let points = Array { shape: vec![3, 2], values: Values::F64(vec![0.5, 3.0, -3.0, 1.0, 2.0, 0.0]) };
    let path = place.path().join("points.npy");
    npy::write(&path, &points).unwrap();
    let set = data::open(&path).unwrap().train;
    assert_eq!((set.size(), &set.pixels().unwrap()[..2]), ([1, 1, 2], &[0.5, 3.0][..]));

    // Bytes beside numbers in [-1, 1] would be compared as if they were of one scale.
    let floats = Array { shape: vec![2, 2, 2], values: Values::F32(vec![0.5, -0.5, 1.0, -1.0, 0.0, 0.25, 0.5, 1.0]) };
    let both = [("images".to_string(), floats), ("x_test".to_string(), images.clone())];
    npy::write_npz(&path, &BTreeMap::from(both)).unwrap();
    says(data::open(&path).unwrap_err(), "test images have another scale than the others");

    npy::write_npz(&path, &BTreeMap::from([("weights".into(), points)])).unwrap();
    says(data::open(&path).unwrap_err(), "found weights");

    let labels = Array { shape: vec![2], values: Values::I64(vec![1, 4_294_967_294]) };
    npy::write_npz(&path, &BTreeMap::from([("x".into(), images), ("y".into(), labels)])).unwrap();
    says(data::open(&path).unwrap_err(), "label 4294967294 of row 1; labels are classes from 0 to 1048575");
}

/// A `.npy` file of this type, with one picture `[1, 2, 2]` of these bytes.
fn picture(place: &Place, descr: &str, bytes: &[u8]) -> PathBuf {
    place.put("x.npy", &npy_bytes(descr, "False", "(1, 2, 2)", bytes))
}

fn floats(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|x| x.to_le_bytes()).collect()
}

/// A `.npz` file of `images` `[n, 2, 2]` and whatever else.
fn set(place: &Place, images: usize, more: &[(&str, Array)]) -> veridical::Result<DataSet> {
    let pixels = Array { shape: vec![images, 2, 2], values: Values::U8(noise(4 * images)) };
    let mut arrays: BTreeMap<String, Array> =
        more.iter().map(|(name, array)| (name.to_string(), array.clone())).collect();
    arrays.entry("images".into()).or_insert(pixels);
    let path = place.path().join("set.npz");
    npy::write_npz(&path, &arrays).unwrap();
    data::open(&path)
}

fn whole(shape: &[usize], values: &[i64]) -> Array {
    Array { shape: shape.to_vec(), values: Values::I64(values.to_vec()) }
}

#[test]
fn every_type_of_number_has_a_scale_that_is_said() {
    let place = Place::new();
    let words = |values: [u16; 4]| values.iter().flat_map(|x| x.to_le_bytes()).collect::<Vec<u8>>();
    let signed = |values: [i16; 4]| values.iter().flat_map(|x| x.to_le_bytes()).collect::<Vec<u8>>();
    let doubles = |values: &[f64]| values.iter().flat_map(|x| x.to_le_bytes()).collect::<Vec<u8>>();
    let long = |values: [i64; 4]| values.iter().flat_map(|x| x.to_le_bytes()).collect::<Vec<u8>>();
    let byte = |b: u8| (f64::from(b) / 127.5 - 1.0) as f32;
    let bytes = [byte(0), byte(51), byte(200), byte(255)];
    for (descr, stored, expected, said) in [
        ("|b1", vec![0, 1, 1, 0], [-1.0, 1.0, 1.0, -1.0], "of bool, values 0 to 1 (0 to 1 is read as [-1, 1])"),
        ("|u1", vec![0, 51, 200, 255], bytes, "of uint8, values 0 to 255 (0 to 255 is read as [-1, 1])"),
        ("<i8", long([0, 51, 200, 255]), bytes, "of int64, values 0 to 255 (0 to 255 is read"),
        (
            "<u2",
            words([0, 65535, 13107, 0]),
            [-1.0, 1.0, -0.6, -1.0],
            "of uint16, values 0 to 65535 (0 to 65535 is read",
        ),
        ("<i2", signed([-32768, 32767, -19661, 0]), [-1.0, 1.0, -0.6, 0.5 / 32767.5], "(-32768 to 32767 is read"),
        ("<f4", floats(&[0.0, 51.0, 200.0, 255.0]), bytes, "of float32, values 0 to 255 (0 to 255 is read"),
        ("<f4", floats(&[-1.0, 0.25, 1.0, 0.5]), [-1.0, 0.25, 1.0, 0.5], "values -1 to 1 (taken as they are)"),
        ("<f4", floats(&[0.0, 0.25, 1.0, 0.5]), [0.0, 0.25, 1.0, 0.5], "values 0 to 1 (taken as they are)"),
        ("<f4", floats(&[-1.5, 2.25, 1.0, 0.5]), [-1.5, 2.25, 1.0, 0.5], "(taken as they are)"),
    ] {
        let set = data::open(picture(&place, descr, &stored)).unwrap_or_else(|e| panic!("{descr}: {e}"));
        for (got, expected) in set.train.pixels().unwrap().iter().zip(expected) {
            assert!((got - expected).abs() < 1e-6, "{descr} {said}: {got} for {expected}");
        }
        assert!(set.account().contains(said), "{said:?} is not in {}", set.account());
    }
    for (descr, stored, expected) in [
        ("<u2", words([7; 4]), "all numbers are 7, which has no scale"),
        ("<f4", floats(&[-3.5; 4]), "data.standardise = \"none\" to take them as they are"),
        ("<f4", floats(&[0.0, 1.0, f32::NAN, 1.0]), "pixel 2 of image 0 is not finite: NaN"),
    ] {
        says(data::open(picture(&place, descr, &stored)).unwrap_err(), expected);
    }
    // Everything else is standardised, to a standard deviation of 0.5, and can be had back.
    for (descr, stored, values, numbers) in [
        ("<u2", words([0, 255, 7, 0]), [0.0, 255.0, 7.0, 0.0], Numbers::Uint16),
        ("<i2", signed([-5, 255, 7, 0]), [-5.0, 255.0, 7.0, 0.0], Numbers::Int16),
        ("<i8", long([0, 256, 7, 0]), [0.0, 256.0, 7.0, 0.0], Numbers::Float),
        ("|i1", vec![0, 255, 7, 0], [0.0, -1.0, 7.0, 0.0], Numbers::Float),
        ("<f4", floats(&[-3.0, 255.0, 0.0, 1.0]), [-3.0, 255.0, 0.0, 1.0], Numbers::Float),
        ("<f4", floats(&[0.0, 16.0, 8.0, 1.0]), [0.0, 16.0, 8.0, 1.0], Numbers::Float),
        ("<f4", floats(&[1e-7, 3e-7, 2e-7, 0.0]), [1e-7, 3e-7, 2e-7, 0.0], Numbers::Float),
        ("<f8", doubles(&[0.0, 1e300, 2e300, 0.0]), [0.0, 1e300, 2e300, 0.0], Numbers::Float),
        ("<f8", doubles(&[0.0, 1e-300, 2e-300, 0.0]), [0.0, 1e-300, 2e-300, 0.0], Numbers::Float),
    ] {
        let set = data::open(picture(&place, descr, &stored)).unwrap_or_else(|e| panic!("{descr}: {e}"));
        let (images, units) = (&set.train, set.train.units());
        assert!((images.deviation() - 0.5).abs() < 1e-3, "{descr}: {}", images.deviation());
        assert_eq!((units.numbers(), units.ends()), (numbers, None));
        let spread = values.iter().fold(0f64, |most, x: &f64| most.max(x.abs()));
        for (got, expected) in units.all_to_user_f64(&images.pixels().unwrap(), 1).iter().zip(values) {
            assert!((got - expected).abs() < 1e-6 * spread, "{descr}: {got} for {expected}");
        }
        assert!(set.account().contains("standardised: (x - "), "{}", set.account());
        // Others of the same kind mean the same by the same numbers.
        let alike = data::open_with(place.path().join("x.npy"), &ReadOptions::default().in_units(units)).unwrap();
        assert_eq!(alike.train, set.train);
        let plain = ReadOptions { standardise: Standardise::None, ..ReadOptions::default() };
        match data::open_with(place.path().join("x.npy"), &plain) {
            Ok(plain) => assert_eq!(plain.train.pixels().unwrap()[..], values.map(|x| x as f32)),
            Err(error) => assert!(spread > 1e38 && error.to_string().contains("pixel 1 of image 0"), "{error}"),
        }
    }
    // What has noise already may be anywhere.
    let noisy = picture(&place, "<f4", &floats(&[-300.0, 255.0, 0.0, 1.0]));
    assert_eq!(data::open_noisy(&noisy).unwrap().train.pixels().unwrap()[..2], [-300.0, 255.0]);
}

#[test]
fn shapes_that_may_mean_two_things() {
    let place = Place::new();
    let open = |descr: &str, shape: &str, bytes: &[u8]| {
        data::open(place.put("x.npy", &npy_bytes(descr, "False", shape, bytes)))
    };
    // Rows of bytes, of a square's length.
    let flat = open("|u1", "(2, 784)", &noise(2 * 784)).unwrap();
    assert_eq!((flat.train.len(), flat.train.size()), (2, [28, 28, 1]));
    assert!(flat.account().contains("converted: rows of 784 numbers taken as images of 28 x 28"), "{}", flat.account());
    says(open("|u1", "(1, 3072)", &noise(3072)).unwrap_err(), "may be 32 x 32 pixels of three colours");
    // Of floating-point numbers they are points, which may be meant as images.
    let points = open("<f4", "(1, 64)", &floats(&(0..64).map(|i| i as f32 / 64.0).collect::<Vec<_>>())).unwrap();
    assert_eq!(points.train.size(), [1, 1, 64]);
    assert!(points.account().contains("store images as [n, 8, 8]"), "{}", points.account());
    // Channels first, as PyTorch has them.
    let pixels = noise(3 * 5 * 6);
    let first = open("|u1", "(1, 3, 5, 6)", &pixels).unwrap();
    assert_eq!(first.train.size(), [5, 6, 3]);
    let expected = [pixels[1], pixels[31], pixels[61]].map(|b| f32::from(b) / 127.5 - 1.0);
    assert_eq!(first.train.pixels().unwrap()[3..6], expected);
    assert!(first.account().contains("channels last: the images are [3, 5, 6] there"), "{}", first.account());
    says(open("|u1", "(90,)", &pixels).unwrap_err(), "expected [n, h, w, c], [n, c, h, w], [n, h, w]");
}

#[test]
fn labels_in_every_form() {
    let place = Place::new();
    let one_hot =
        Array { shape: vec![3, 4], values: Values::F32(vec![0., 0., 1., 0., 1., 0., 0., 0., 0., 1., 0., 0.]) };
    for (labels, expected, classes) in [
        (whole(&[3], &[2, 0, 1]), [2, 0, 1], 3),
        (whole(&[3, 1], &[2, 0, 1]), [2, 0, 1], 3),
        (Array { shape: vec![3], values: Values::F64(vec![2.0, 0.0, 1.0]) }, [2, 0, 1], 3),
        (Array { shape: vec![3], values: Values::U8(vec![2, 0, 1]) }, [2, 0, 1], 3),
        (one_hot, [2, 0, 1], 4),
    ] {
        let set = set(&place, 3, &[("labels", labels.clone())]).unwrap();
        assert_eq!((set.train.labels(), set.train.classes()), (&expected[..], classes), "{labels:?}");
    }
    for (labels, expected) in [
        (whole(&[2], &[0, 1]), "labels: 2 labels [2] for 3 images"),
        (whole(&[3], &[0, -1, 1]), "labels: label -1 of row 1"),
        (whole(&[3, 2], &[1, 0, 1, 1, 0, 1]), "labels: labels [3, 2]: row 1 is not one-hot"),
        (whole(&[3, 1, 1], &[0, 1, 1]), "labels: labels [3, 1, 1], expected [n]"),
        (Array { shape: vec![3], values: Values::F32(vec![0.0, 0.5, 1.0]) }, "labels: label 0.5 of row 1"),
        (Array { shape: vec![3], values: Values::F32(vec![0.0, 1.0, f32::NAN]) }, "labels: label NaN of row 2"),
    ] {
        says(set(&place, 3, &[("labels", labels)]).unwrap_err(), expected);
    }
}

#[test]
fn no_array_is_passed_over_without_a_word() {
    let place = Place::new();
    let test = Array { shape: vec![1, 2, 2], values: Values::U8(noise(4)) };
    let all =
        set(&place, 3, &[("x_test", test.clone()), ("y_test", whole(&[1], &[3])), ("labels", whole(&[3], &[0, 1, 2]))]);
    let all = all.unwrap();
    assert_eq!((all.train.classes(), all.test.as_ref().unwrap().labels()), (4, &[3][..]));
    assert!(!all.account().contains("left out"), "{}", all.account());
    let more = set(&place, 3, &[("x", test.clone()), ("weights", whole(&[1], &[3]))]).unwrap();
    assert!(more.account().contains("left out: the members weights, x"), "{}", more.account());
    // Our own files state how many classes there are, whichever of them have images.
    let stated = set(&place, 3, &[("labels", whole(&[3], &[1, 1, 2])), ("classes", whole(&[], &[5]))]).unwrap();
    assert_eq!((stated.train.classes(), stated.train.labels()), (5, &[1, 1, 2][..]));
    let path = place.path().join("again.npz");
    npy::write_images(&path, &stated.train).unwrap();
    assert_eq!(data::open(&path).unwrap().train.classes(), 5);
    says(
        set(&place, 3, &[("x_test", Array { shape: vec![1, 3, 2], values: Values::U8(noise(6)) })]).unwrap_err(),
        "test images are",
    );
}

/// As NumPy wrote it under Python 2.
#[test]
fn long_integers_of_python_2() {
    let place = Place::new();
    let array = npy::read(place.put("x.npy", &npy_bytes("<f4", "False", "(2L, 1L)", &floats(&[1.0, 2.0])))).unwrap();
    assert_eq!(array, Array { shape: vec![2, 1], values: Values::F32(vec![1.0, 2.0]) });
    says(
        npy::read(place.put("x.npy", &npy_bytes("<f4", "False", "(2LL,)", &floats(&[1.0, 2.0])))).unwrap_err(),
        "extent",
    );
}

#[test]
fn numbers_far_from_unit_size_that_are_taken_as_they_are_are_warned_of() {
    let place = Place::new();
    let path = place.path().join("x.npy");
    let values = (0..600).map(|i| 1200.0 + 300.0 * ((i * 37 % 101) as f32 / 50.0 - 1.0)).collect();
    npy::write(&path, &Array { shape: vec![6, 10, 10], values: Values::F32(values) }).unwrap();
    let warned = |standardise| {
        let options = data::ReadOptions { standardise, ..data::ReadOptions::default() };
        data::open_with(&path, &options).unwrap().account().contains("far from unit size")
    };
    assert!(warned(data::Standardise::None) && !warned(data::Standardise::Auto));
}

#[test]
fn a_channel_that_does_not_vary_and_data_of_another_kind_are_warned_of() {
    let place = Place::new();
    let write = |name: &str, of: &dyn Fn(usize) -> f32| {
        let values = Values::F32((0..6 * 50).map(of).collect());
        let path = place.path().join(name);
        npy::write(&path, &Array { shape: vec![6, 5, 5, 2], values }).unwrap();
        path
    };
    let varied = |i: usize| 1200.0 + 300.0 * ((i * 37 % 101) as f32 / 50.0 - 1.0);
    let still = data::open(write("still.npy", &|i| if i % 2 == 1 { 7.0 } else { varied(i) })).unwrap();
    assert!(still.account().contains("all numbers of channel 2 are the same"), "{}", still.account());
    let all = data::open(write("all.npy", &varied)).unwrap();
    assert!(!all.account().contains("are the same"), "{}", all.account());
    // In the units of others, from which they lie some spreads away, or not.
    let beside = |name: &str, of: &dyn Fn(usize) -> f32| {
        let options = ReadOptions::noisy().in_units(all.train.units());
        data::open_with(write(name, of), &options).unwrap().account()
    };
    assert!(beside("far.npy", &|i| varied(i) / 1000.0 - 1200.0).contains("seem to be something else"));
    assert!(!beside("near.npy", &|i| varied(i) + 100.0).contains("seem to be something else"));
}
