//! Files that lie, are damaged, or are no files.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use veridical::data::npy::{self, Array, Values};
use veridical::data::{self, cifar, idx};
use veridical::tensor::TensorFile;

use super::{Place, cifar_bytes, gz, idx_bytes, noise, npy_bytes, png, says};

/// A zip archive, packed.
fn zip(members: &[(&str, &[u8])]) -> Vec<u8> {
    let mut archive = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    for (name, bytes) in members {
        archive.start_file(*name, zip::write::SimpleFileOptions::default()).unwrap();
        archive.write_all(bytes).unwrap();
    }
    archive.finish().unwrap().into_inner()
}

fn pixels() -> Vec<u8> {
    npy_bytes("|u1", "False", "(4, 8)", &noise(32))
}

#[test]
fn members_nobody_asked_for_stay_packed() {
    let place = Place::new();
    let lie = npy_bytes("<f8", "False", "(999999999,)", &[]);
    let path = place.put("a.npz", &zip(&[("notes.txt", b"hello"), ("images.npy", &pixels()), ("z.npy", &lie)]));
    assert_eq!(data::open(&path).unwrap().train.len(), 4);
    says(npy::read_npz(&path).unwrap_err(), "notes.txt");
    let path = place.put("b.npz", &zip(&[("notes.txt", b"hello"), ("z.npy", &lie)]));
    says(data::open(&path).unwrap_err(), "found notes.txt, z");
}

#[test]
fn members_of_one_name_are_errors() {
    let place = Place::new();
    let two = zip(&[("images", &pixels()), ("images.npy", &pixels())]);
    says(data::open(place.put("a.npz", &two)).unwrap_err(), "two members are called images.npy but for the ending");
    // No writer of ours makes two of exactly one name, so the second is renamed in place.
    let mut two = zip(&[("images.npy", &pixels()), ("imagez.npy", &pixels())]);
    while let Some(at) = two.windows(6).position(|name| name == b"imagez") {
        two[at + 5] = b's';
    }
    says(data::open(place.put("a.npz", &two)).unwrap_err(), "two members have the same name");
    says(npy::read_npz(place.path().join("a.npz")).unwrap_err(), "two members have the same name");
}

#[test]
fn members_share_what_an_archive_may_take() {
    let place = Place::new();
    // 16 GiB are what all members may take; the second alone would be allowed to claim them.
    let claim = npy_bytes("|u1", "False", "(17179869184,)", &[0; 100]);
    let path = place.put("a.npz", &zip(&[("b.npy", &claim)]));
    says(npy::read_npz(&path).unwrap_err(), "cut short");
    let path = place.put("a.npz", &zip(&[("a.npy", &pixels()), ("b.npy", &claim)]));
    says(npy::read_npz(&path).unwrap_err(), "17179869152 are left");
    // Small integers become large ones: the claim counts as what is held.
    let wide = npy_bytes("|i1", "False", "(4294967296,)", &[0; 100]);
    let path = place.put("a.npz", &zip(&[("b.npy", &wide)]));
    says(npy::read_npz(&path).unwrap_err(), "34359738368 bytes");
}

#[test]
fn archives_that_expand_are_stopped() {
    let place = Place::new();
    let mut bomb = pixels();
    bomb.resize(64 << 20, 0);
    let packed = zip(&[("images.npy", &bomb)]);
    assert!(packed.len() < 1 << 17);
    says(data::open(place.put("a.npz", &packed)).unwrap_err(), "more follows");
    says(data::open(place.put("a.npy.gz", &gz(&bomb))).unwrap_err(), "more follows");
}

/// The picture with another width and height in its header, whose checksum is right.
fn of_size(mut png: Vec<u8>, width: u32, height: u32) -> Vec<u8> {
    png[16..20].copy_from_slice(&width.to_be_bytes());
    png[20..24].copy_from_slice(&height.to_be_bytes());
    let mut crc = flate2::Crc::new();
    crc.update(&png[12..29]);
    png[29..33].copy_from_slice(&crc.sum().to_be_bytes());
    png
}

#[test]
fn pictures_that_claim_to_be_huge_are_errors() {
    let place = Place::new();
    let small = png(8, 8, &noise(192));
    assert_eq!(of_size(small.clone(), 8, 8), small);
    for side in [0, 9, 8192, 8193, 1 << 20, i32::MAX as u32, u32::MAX] {
        let path = place.put("set/a.png", &of_size(small.clone(), side, side));
        says(data::open(path.parent().unwrap()).unwrap_err(), "a.png");
    }
}

/// Whether `call` returns; what it has to say if so.
fn in_time<T: Send + 'static>(call: impl FnOnce() -> T + Send + 'static) -> Option<T> {
    let (send, receive) = std::sync::mpsc::channel();
    std::thread::spawn(move || send.send(call()));
    receive.recv_timeout(std::time::Duration::from_secs(20)).ok()
}

/// A pipe has no end and a device may have none: neither is read.
#[cfg(unix)]
#[test]
fn pipes_and_devices_are_not_read() {
    let place = Place::new();
    let pipe = |path: &Path| assert!(std::process::Command::new("mkfifo").arg(path).status().unwrap().success());
    let device = |path: &Path| std::os::unix::fs::symlink("/dev/null", path).unwrap();
    for make in [&pipe as &dyn Fn(&Path), &device] {
        for name in ["a.npy", "a.npz", "a-idx3-ubyte", "a.bin", "set/a.png"] {
            let path = place.put(name, b"");
            fs::remove_file(&path).unwrap();
            make(&path);
            let open = if name.ends_with("png") { path.parent().unwrap().to_path_buf() } else { path.clone() };
            let error = in_time(move || data::open(open).unwrap_err());
            says(error.unwrap_or_else(|| panic!("{name} hangs")), "not a regular file");
            let readers: [fn(PathBuf) -> Option<veridical::Error>; 6] = [
                |path| idx::read(path).err(),
                |path| cifar::read(path).err(),
                |path| npy::read(path).err(),
                |path| npy::read_npz(path).err(),
                |path| TensorFile::open(path).err(),
                |path| data::picture(path, true, &Default::default()).err(),
            ];
            for reader in readers {
                let path = path.clone();
                says(in_time(move || reader(path)).flatten().unwrap(), "not a regular file");
            }
            fs::remove_file(&path).unwrap();
        }
        // Labels beside images are not passed over for being a pipe.
        let images = place.put("b-images-idx3-ubyte", &idx_bytes(&[1, 2, 2], &[1; 4]));
        let labels = place.path().join("b-labels-idx1-ubyte");
        make(&labels);
        says(in_time(move || data::open(images).unwrap_err()).unwrap(), "b-labels-idx1-ubyte: not a regular file");
        fs::remove_file(&labels).unwrap();
        // Nor is one of several files of records.
        let records = place.put("ten/data_batch_1.bin", &cifar_bytes(1, 1, 10));
        let second = records.with_file_name("data_batch_2.bin");
        make(&second);
        let folder = place.path().join("ten");
        says(in_time(move || data::open(folder).unwrap_err()).unwrap(), "data_batch_2.bin: not a regular file");
        fs::remove_file(&second).unwrap();
    }
    says(TensorFile::open(place.path()).unwrap_err(), "a directory, not a regular file");
    says(npy::read(place.path()).unwrap_err(), "a directory, not a regular file");
}

/// Every form, cut at every sixteenth, with single bytes flipped, and as noise: an error or a set, never a panic, and a
/// cut one never a set.
#[test]
fn damaged_files_are_errors() {
    let place = Place::new();
    let idx = idx_bytes(&[3, 8, 8], &noise(192));
    let npy = npy_bytes("<f8", "False", "(4, 8)", &noise(256).iter().map(|b| b & 0x3f).collect::<Vec<_>>());
    let npz = {
        let array = Array { shape: vec![4, 8], values: Values::U8(noise(32)) };
        npy::write_npz(place.path().join("x.npz"), &BTreeMap::from([("x".into(), array)])).unwrap();
        fs::read(place.path().join("x.npz")).unwrap()
    };
    let corpus = [
        ("a-idx3-ubyte", idx.clone()),
        ("a-idx3-ubyte.gz", gz(&idx)),
        ("a.npy", npy.clone()),
        ("a.npy.gz", gz(&npy)),
        ("a.npz", npz),
        ("a/c/a.png", png(8, 8, &noise(192))),
        ("b.bin", cifar_bytes(1, 1, 10)),
    ];
    for (name, whole) in corpus {
        let open = |bytes: &[u8]| {
            let path = place.put(name, bytes);
            data::open(if name.ends_with("png") { place.path().join("a") } else { path })
        };
        let sound = open(&whole).unwrap_or_else(|e| panic!("{name}: {e}")).train;
        for cut in 0..16 {
            let bytes = &whole[..whole.len() * cut / 16];
            assert!(open(bytes).is_err(), "{name} cut to {} of {} bytes", bytes.len(), whole.len());
        }
        let packed = name.ends_with(".gz");
        for at in 0..whole.len().min(400) {
            let mut bytes = whole.clone();
            bytes[at] ^= 1 << (at % 8);
            // gzip's checksum covers what is unpacked, so all that may pass is a flip that changes nothing.
            let harmless = open(&bytes).is_ok_and(|set| set.train == sound);
            assert!(harmless || !packed || open(&bytes).is_err(), "{name} with byte {at} flipped");
        }
        let mut long = whole.clone();
        long.extend(noise(100));
        let tolerant = name.ends_with("png") || name.ends_with("npz"); // these forms find their end themselves
        assert!(tolerant || open(&long).is_err(), "{name} with 100 bytes more");
        let _ = open(&noise(5000));
    }
}
