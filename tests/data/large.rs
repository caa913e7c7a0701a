//! Sets that take more memory than they may stay in their files, and are the same set.

use std::io::Cursor;

use image::{ImageBuffer, Luma};
use veridical::data::npy::{self, Array, Values};
use veridical::data::{self, DataSet, Images, ReadOptions};

use super::{Place, noise, png};

/// In memory, and in its files.
fn both(place: &Place, name: &str, options: &ReadOptions) -> [DataSet; 2] {
    [None, Some(0)].map(|in_memory| {
        let options = ReadOptions { in_memory, ..options.clone() };
        data::open_with(place.path().join(name), &options).unwrap()
    })
}

fn same(held: &Images, stored: &Images) {
    assert!(stored.is_stored() && !held.is_stored());
    assert_eq!((held.size(), held.labels(), held.units()), (stored.size(), stored.labels(), stored.units()));
    assert_eq!(held.pixels().unwrap(), stored.pixels().unwrap());
    assert_eq!((held.range(), held.deviation()), (stored.range(), stored.deviation()));
    let last = held.len() as u32 - 1;
    for picks in [&[last, 0, last][..], &[1], &[]] {
        stored.ahead(picks).unwrap();
        assert_eq!(held.gather(picks).unwrap(), stored.gather(picks).unwrap());
    }
    let picks = [last, 1];
    assert_eq!(held.select(&picks).unwrap(), stored.select(&picks).unwrap());
    for beyond in [&[last + 1][..], &[0, u32::MAX]] {
        let error = held.gather(beyond).unwrap_err().to_string();
        assert_eq!(error, stored.gather(beyond).unwrap_err().to_string());
        assert!(stored.ahead(beyond).is_err() && stored.select(beyond).is_err());
    }
}

/// Numbers of a microscope: mean 1,200, standard deviation about 300.
fn counts(n: usize) -> Vec<f32> {
    noise(n).iter().map(|&byte| 700.0 + 4.0 * f32::from(byte)).collect()
}

#[test]
fn arrays_in_their_files_are_those_in_memory() {
    let place = Place::new();
    let array = |name: &str, shape: &[usize], values: Values| {
        npy::write(place.path().join(name), &Array { shape: shape.to_vec(), values }).unwrap();
    };
    array("floats.npy", &[6, 5, 7], Values::F32(counts(210)));
    array("wide.npy", &[6, 5, 7], Values::F64(counts(210).into_iter().map(f64::from).collect()));
    array("bytes.npy", &[6, 5, 7, 3], Values::U8(noise(630)));
    array("first.npy", &[6, 3, 5, 7], Values::U8(noise(630)));
    array("whole.npy", &[6, 5, 7], Values::I64(noise(210).into_iter().map(i64::from).collect()));
    array("points.npy", &[20, 3], Values::F32(counts(60)));
    for name in ["floats.npy", "wide.npy", "bytes.npy", "first.npy", "whole.npy", "points.npy"] {
        let [held, stored] = both(&place, name, &ReadOptions::default());
        same(&held.train, &stored.train);
        assert_ne!(held.train.fingerprint(), stored.train.fingerprint());
        let again = &both(&place, name, &ReadOptions::default())[1];
        assert_eq!(again.train.fingerprint(), stored.train.fingerprint());
        let told = stored.account();
        assert!(told.contains("\nread: as they are needed, with a cache of 0.0625 GiB"), "{told}");
        assert_eq!(told.lines().next(), held.account().lines().next());
    }
    let sizing = data::resize::Sizing { size: Some("4x4".parse().unwrap()), crop: "random".parse().unwrap() };
    let options = ReadOptions { sizing, ..ReadOptions::default() };
    let [held, stored] = both(&place, "bytes.npy", &options);
    same(&held.train, &stored.train);
    let [held, stored] = both(&place, "floats.npy", &options);
    same(&held.train, &stored.train);
}

#[test]
fn pictures_in_their_files_are_those_in_memory() {
    let place = Place::new();
    for i in 0..6u8 {
        let class = if i < 4 { "cat" } else { "dog" };
        let bytes: Vec<u8> = noise(60).iter().map(|byte| byte.wrapping_add(40 * i)).collect();
        place.put(&format!("bytes/{class}/{i}.png"), &png(5, 4, &bytes));
        let words = ImageBuffer::<Luma<u16>, Vec<u16>>::from_raw(
            5,
            4,
            bytes[..20].iter().map(|&b| 1000 + u16::from(b)).collect(),
        );
        let mut file = Cursor::new(Vec::new());
        words.unwrap().write_to(&mut file, image::ImageFormat::Png).unwrap();
        place.put(&format!("words/{i}.png"), file.get_ref());
    }
    let sizing = data::resize::Sizing { size: Some("3".parse().unwrap()), crop: "random".parse().unwrap() };
    for name in ["bytes", "words"] {
        for options in [ReadOptions::default(), ReadOptions { sizing, ..ReadOptions::default() }] {
            let [held, stored] = both(&place, name, &options);
            same(&held.train, &stored.train);
            assert_eq!(held.class_names, stored.class_names);
        }
    }
    // What has changed since is an error, and so is what is gone.
    let [_, stored] = both(&place, "words", &ReadOptions::default());
    place.put("words/3.png", &png(9, 9, &[0; 81]));
    std::fs::remove_file(place.path().join("words/4.png")).unwrap();
    let [changed, gone] = [3, 4].map(|i| stored.train.gather(&[i]).unwrap_err().to_string());
    assert!(changed.contains("3.png: changed while it was read") && gone.contains("4.png"), "{changed} {gone}");
}

#[test]
fn a_folder_of_arrays_is_an_array() {
    let place = Place::new();
    std::fs::create_dir(place.path().join("all")).unwrap();
    let values = counts(60);
    for (i, row) in values.chunks(12).enumerate() {
        let array = Array { shape: vec![3, 4], values: Values::F32(row.to_vec()) };
        npy::write(place.path().join(format!("all/{i}.npy")), &array).unwrap();
    }
    place.put("all/notes.txt", b"of Tuesday");
    npy::write(place.path().join("one.npy"), &Array { shape: vec![5, 3, 4], values: Values::F32(values) }).unwrap();
    let one = data::open(place.path().join("one.npy")).unwrap();
    let [held, stored] = both(&place, "all", &ReadOptions::default());
    same(&held.train, &stored.train);
    assert_eq!(held.train, one.train);
    assert!(held.account().contains("1 thing beside (notes.txt)"), "{}", held.account());
    let odd = Array { shape: vec![4, 3], values: Values::F32(counts(12)) };
    npy::write(place.path().join("all/3.npy"), &odd).unwrap();
    let error = data::open(place.path().join("all")).unwrap_err().to_string();
    assert!(error.contains("3.npy: an array [4, 3] of float32, but") && error.contains("must be alike"), "{error}");
}

#[test]
fn stacks_in_their_files_are_those_in_memory() {
    let place = Place::new();
    let mut file = Cursor::new(Vec::new());
    let mut encoder = tiff::encoder::TiffEncoder::new(&mut file).unwrap();
    for page in 0..5u16 {
        let words: Vec<u16> = noise(12).iter().map(|&byte| 300 + 7 * page + u16::from(byte)).collect();
        encoder.write_image::<tiff::encoder::colortype::Gray16>(4, 3, &words).unwrap();
    }
    place.put("stack.tif", file.get_ref());
    let [held, stored] = both(&place, "stack.tif", &ReadOptions::default());
    same(&held.train, &stored.train);
}

#[test]
fn what_is_wrong_with_an_image_is_said_when_it_is_read() {
    let place = Place::new();
    // One that is not among the 4,096 that are looked at first.
    let unseen = (1..5000).find(|i| !(0..4096).any(|k| k * 5000 / 4096 == *i)).unwrap();
    let mut values = counts(5000 * 4);
    values[4 * unseen + 2] = f32::NAN;
    npy::write(place.path().join("x.npy"), &Array { shape: vec![5000, 2, 2], values: Values::F32(values) }).unwrap();
    let options = ReadOptions { in_memory: Some(0), ..ReadOptions::default() };
    let set = data::open_with(place.path().join("x.npy"), &options).unwrap();
    assert!(set.account().contains("values are those of 4096 images"), "{}", set.account());
    let error = set.train.gather(&[0, unseen as u32]).unwrap_err().to_string();
    assert!(error.contains(&format!("pixel 2 of image {unseen} is not finite: NaN")), "{error}");
    assert!(set.train.pixels().is_err() && set.train.gather(&[unseen as u32 + 1]).is_ok());
    let mut bytes = std::fs::read(place.path().join("x.npy")).unwrap();
    bytes.truncate(bytes.len() - 3);
    place.put("short.npy", &bytes);
    let error = data::open_with(place.path().join("short.npy"), &options).unwrap_err().to_string();
    assert!(error.contains("the file is cut short"), "{error}");
    // Whole numbers that looked like bytes.
    let mut values = vec![7i64; 5000 * 4];
    values[4 * unseen] = 256;
    values[0] = 100;
    npy::write(place.path().join("i.npy"), &Array { shape: vec![5000, 2, 2], values: Values::I64(values) }).unwrap();
    let set = data::open_with(place.path().join("i.npy"), &options).unwrap();
    let error = set.train.gather(&[unseen as u32]).unwrap_err().to_string();
    assert!(
        error.contains(&format!("image {unseen} has values from 7 to 256")) && error.contains("--standardise"),
        "{error}"
    );
}
