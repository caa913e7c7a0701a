//! Folders of pictures: what becomes classes and parts, and that nothing is lost without a word.

use std::fs;
use std::path::Path;

use veridical::data::{self, DataSet};

use super::{Place, noise, png, says};

fn account(path: &Path) -> String {
    data::open(path).unwrap().account()
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
    says(data::open(place.path()).unwrap_err(), "is 2 x 3 pixels (width, height), but");
    place.put("train/dog/d.png", b"PNG, honestly");
    says(data::open(place.path()).unwrap_err(), "d.png");
    place.put("nothing/readme.md", b"");
    says(data::open(place.path().join("nothing")).unwrap_err(), "found readme.md");
    says(data::open(place.path().join("none")).unwrap_err(), "no such file");
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

/// Colour and grey are as they were drawn, and the classes are in the order of their names.
fn classes(set: &DataSet) -> (usize, Vec<&str>, Vec<u32>) {
    (set.train.len(), set.class_names.iter().map(String::as_str).collect(), set.train.labels().to_vec())
}

#[test]
fn pictures_below_a_class_belong_to_it() {
    let place = Place::new();
    for name in ["a/inner/0.png", "a/inner/more/1.png", "a/2.png", "b/3.png"] {
        place.put(name, &png(2, 2, &noise(4)));
    }
    let set = data::open(place.path()).unwrap();
    assert_eq!(classes(&set), (4, vec!["a", "b"], vec![0, 0, 0, 1]));
    // If all lie deeper, another level may be meant.
    place.put("c/inner/0.png", &png(2, 2, &noise(4)));
    fs::remove_file(place.path().join("a/2.png")).unwrap();
    fs::remove_dir_all(place.path().join("b")).unwrap();
    assert!(account(place.path()).contains("warning: all pictures lie in folders below"));
}

#[test]
fn pictures_beside_classes_are_not_passed_over() {
    let place = Place::new();
    for name in ["a/0.png", "b/1.png", "loose.png"] {
        place.put(name, &png(2, 2, &noise(4)));
    }
    says(data::open(place.path()).unwrap_err(), "1 picture lies beside the folders of a, b (loose.png)");
    fs::rename(place.path().join("loose.png"), place.path().join(".loose.png")).unwrap();
    assert_eq!(data::open(place.path()).unwrap().train.len(), 2);
}

#[test]
fn train_may_be_a_class() {
    let place = Place::new();
    let put = |name: &str| drop(place.put(name, &png(2, 2, &noise(4))));
    ["bus/0.png", "car/0.png", "train/0.png", "tree/0.png"].into_iter().for_each(put);
    let set = data::open(place.path()).unwrap();
    assert_eq!(classes(&set), (4, vec!["bus", "car", "train", "tree"], vec![0, 1, 2, 3]));
    assert!(set.account().contains("warning: train is taken for a class, as bus, car, tree lie beside it"));
    // With test beside it, or classes in it, nobody can tell.
    put("test/0.png");
    says(data::open(place.path()).unwrap_err(), "train may be a part to train on or a class");
    fs::remove_dir_all(place.path().join("test")).unwrap();
    put("train/express/0.png");
    says(data::open(place.path()).unwrap_err(), "train may be a part to train on or a class");
}

#[test]
fn parts_have_more_names_than_two() {
    let place = Place::new();
    let put = |name: &str| drop(place.put(name, &png(2, 2, &noise(4))));
    ["Training/a/0.png", "Training/b/0.png", "val/b/0.png", "val/b/1.png"].into_iter().for_each(put);
    let set = data::open(place.path()).unwrap();
    assert_eq!((classes(&set).1, set.test.as_ref().unwrap().labels()), (vec!["a", "b"], &[1, 1][..]));
    put("test/a/0.png");
    let set = data::open(place.path()).unwrap();
    assert_eq!(set.test.as_ref().unwrap().labels(), [0]);
    assert!(set.account().contains("left out: the 2 pictures of val"), "{}", set.account());
    put("loose.png");
    says(data::open(place.path()).unwrap_err(), "beside the folders of train");
    fs::remove_file(place.path().join("loose.png")).unwrap();
    fs::remove_dir_all(place.path().join("Training")).unwrap();
    says(data::open(place.path()).unwrap_err(), "no train folder");
}

#[test]
fn a_class_without_pictures_does_not_shift_labels() {
    let place = Place::new();
    for name in ["cat/0.png", "eel/1.png"] {
        place.put(name, &png(2, 2, &noise(4)));
    }
    fs::create_dir(place.path().join("dog")).unwrap();
    says(data::open(place.path()).unwrap_err(), "dog: is empty");
    place.put("dog/.DS_Store", b"");
    says(data::open(place.path()).unwrap_err(), "dog: is empty");
    place.put("dog/0.heic", b"");
    says(data::open(place.path()).unwrap_err(), "dog: holds pictures only of forms that are not read");
    fs::remove_file(place.path().join("dog/0.heic")).unwrap();
    place.put("dog/readme.md", b"");
    place.put("cat/0.heic", b"");
    let set = data::open(place.path()).unwrap();
    assert_eq!(classes(&set), (2, vec!["cat", "eel"], vec![0, 1]));
    let expected = "left out: 1 picture of a form that is not read (cat/0.heic); 1 folder without pictures (dog); \
                    1 file that is no picture (dog/readme.md)";
    assert!(set.account().contains(expected), "{}", set.account());
}

#[cfg(unix)]
#[test]
fn names_that_are_no_text_stay_apart() {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;
    let place = Place::new();
    for (name, value) in [(b"caf\xe8", 10), (b"caf\xe9", 20)] {
        let folder = place.path().join(OsStr::from_bytes(name));
        fs::create_dir(&folder).unwrap();
        fs::write(folder.join("0.png"), png(1, 1, &[value])).unwrap();
    }
    let set = data::open(place.path()).unwrap();
    assert_eq!(classes(&set), (2, vec!["caf\\xe8", "caf\\xe9"], vec![0, 1]));
    assert_eq!(set.train.pixels().unwrap()[..], [10f32 / 127.5 - 1.0, 20.0 / 127.5 - 1.0]);
}

#[test]
fn classes_of_one_name_but_for_its_case_are_said() {
    let place = Place::new();
    for name in ["Cat/0.png", "cat/1.png"] {
        place.put(name, &png(2, 2, &noise(4)));
    }
    // Where the system tells them apart.
    if fs::read_dir(place.path()).unwrap().count() == 2 {
        assert!(account(place.path()).contains("warning: the classes Cat, cat differ in the case of letters only"));
    }
}

#[cfg(unix)]
#[test]
fn links_are_what_they_lead_to() {
    use std::os::unix::fs::symlink;
    let place = Place::new();
    place.put("a/0.png", &png(2, 2, &noise(4)));
    place.put("elsewhere/real/1.png", &png(2, 2, &noise(4)));
    let set = place.path().join("set");
    fs::create_dir(&set).unwrap();
    symlink(place.path().join("a"), set.join("a")).unwrap();
    symlink(place.path().join("elsewhere/real"), set.join("b")).unwrap();
    assert_eq!(classes(&data::open(&set).unwrap()).1, ["a", "b"]);
    symlink(&set, place.path().join("a/round")).unwrap();
    says(data::open(&set).unwrap_err(), "a link to a folder that it lies in");
    fs::remove_file(place.path().join("a/round")).unwrap();
    symlink("nowhere", set.join("c")).unwrap();
    says(data::open(&set).unwrap_err(), "set/c");
}

#[test]
fn edm_folders_have_the_labels_of_their_list() {
    let place = Place::new();
    let list = |labels: &str| drop(place.put("dataset.json", format!("{{\"labels\": {labels}}}").as_bytes()));
    for (i, name) in ["00000/img0.png", "00000/img1.png", "00001/img2.png"].iter().enumerate() {
        place.put(name, &png(1, 1, &[i as u8]));
    }
    let open = || data::open(place.path());
    list(r#"[["00001/img2.png", 1], ["00000/img0.png", 3], ["00000/img1.png", 0]]"#);
    let set = open().unwrap();
    assert_eq!((set.train.labels(), set.train.classes(), set.class_names.len()), (&[3, 0, 1][..], 4, 0));
    assert_eq!(set.train.pixels().unwrap()[1], 1f32 / 127.5 - 1.0);
    // One-hot vectors, paths as Windows writes them, and pictures that are not there.
    list(
        r#"[["00001\\img2.png", [0, 1, 0]], ["00000/img0.png", [1, 0, 0]], ["00000/img1.png", [0.0, 1.0, 0.0]], ["gone.png", [1, 0, 0]]]"#,
    );
    let set = open().unwrap();
    assert_eq!((set.train.labels(), set.train.classes()), (&[0, 1, 1][..], 3));
    assert!(set.account().contains("left out: 1 of the labels in dataset.json"), "{}", set.account());
    list("null");
    assert_eq!(open().unwrap().train.classes(), 1);
    for (labels, expected) in [
        (r#"[["00000/img0.png", 3]]"#, "no label for 2 of the 3 pictures (00000/img1.png, 00001/img2.png)"),
        (r#"[["00000/img0.png", -1]]"#, "expected a class from 0"),
        (r#"[["00000/img0.png", 0.5]]"#, "expected a class from 0"),
        (r#"[["00000/img0.png", [0.5, 0.5]]]"#, "expected a class from 0"),
        (r#"[["00000/img0.png", 1], ["00000/img0.png", 2]]"#, "another label besides"),
        (r#"[{"name": 1}]"#, "expected [name, label]"),
        ("7", "expected a list"),
        ("[", "dataset.json"),
    ] {
        list(labels);
        says(open().unwrap_err(), expected);
    }
    // Another's dataset.json is no list of labels, and said to be left out.
    place.put("dataset.json", b"{\"kind\": \"folders\"}");
    let set = open().unwrap();
    assert_eq!(classes(&set).1, ["00000", "00001"]);
    assert!(set.account().contains("left out: 1 file that is no picture (dataset.json)"), "{}", set.account());
}
