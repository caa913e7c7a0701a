//! The pictures of samples that a run has drawn.

use std::fs;
use std::path::{Path, PathBuf};

/// Digits of the names of pictures that count samples; those that count steps have fewer.
const OF_SAMPLES: usize = 12;

/// The pictures in `samples/` of a run's directory, by the step after which each was drawn, rising. A name is a count
/// of steps, or of samples, of which every step has seen `batch`.
pub(super) fn pictures(place: &Path, batch: Option<u64>) -> Vec<(u64, PathBuf)> {
    let step = |path: &Path| {
        let name = path.file_name()?.to_str()?.strip_suffix(".png")?;
        let count: u64 = name.parse().ok()?;
        match name.len() < OF_SAMPLES {
            true => Some(count),
            false => batch.filter(|&batch| batch > 0 && count.is_multiple_of(batch)).map(|batch| count / batch),
        }
    };
    // There is no folder before the first picture.
    let entries = fs::read_dir(place.join("samples")).into_iter().flatten();
    let mut found: Vec<(u64, PathBuf)> =
        entries.filter_map(|entry| entry.ok().map(|entry| entry.path())).filter_map(|p| Some((step(&p)?, p))).collect();
    found.sort();
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_say_after_which_step() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(pictures(dir.path(), Some(4)), []);
        let folder = dir.path().join("samples");
        fs::create_dir(&folder).unwrap();
        for name in
            ["000000000040.png", "000000000008.png", "000000000007.png", "000000003.png", "denoised.png", "5.txt"]
        {
            fs::write(folder.join(name), "").unwrap();
        }
        let steps = |batch| pictures(dir.path(), batch).into_iter().map(|(step, _)| step).collect::<Vec<_>>();
        assert_eq!(steps(Some(4)), [2, 3, 10]);
        assert_eq!(steps(None), [3]);
        assert_eq!(steps(Some(0)), [3]);
    }
}
