//! Labelled subsets: what is chosen, in which order, and what is refused.

use veridical::data::subset::{self, Part};
use veridical::data::{Images, digits};

/// One grey pixel an image, that of its index.
fn images(labels: &[u32], classes: usize) -> Images {
    Images::from_bytes((0..labels.len() as u8).collect(), labels.to_vec(), [1, 1, 1], classes).unwrap()
}

fn whole(subset: &subset::Subset, n: usize) {
    let mut all = [&subset.chosen[..], &subset.rest].concat();
    assert!(subset.chosen.is_sorted() && subset.rest.is_sorted());
    all.sort_unstable();
    assert!(all.into_iter().eq(0..n as u32));
}

#[test]
fn the_last_images_are_taken_as_they_are() {
    let set = images(&[0, 1, 2, 2, 1, 2], 4);
    let last = subset::last(&set, 3).unwrap();
    assert_eq!((last.chosen.as_slice(), last.rest.as_slice()), (&[3, 4, 5][..], &[0, 1, 2][..]));
    assert_eq!(last.absent, [0, 3]);
    assert!(subset::last(&set, 6).unwrap().rest.is_empty());
    let few = set.select(&last.chosen).unwrap();
    assert_eq!((few.labels(), few.classes(), few.len()), (&[2, 1, 2][..], 4, 3));
    assert_eq!(few.gather(&[0]).unwrap(), set.gather(&[3]).unwrap());
    assert!(set.select(&[6]).is_err() && set.select(&[]).is_err());
}

#[test]
fn balanced_subsets_have_as_many_of_each_class() {
    let set = digits::load().unwrap().train;
    for (n, seed) in [(100, 1), (100, 2), (1000, 1), (10, 1)] {
        let chosen = subset::balanced(&set, n, seed).unwrap();
        whole(&chosen, set.len());
        assert_eq!(set.select(&chosen.chosen).unwrap().class_counts(), [n / 10; 10]);
        assert!(chosen.absent.is_empty());
        assert_eq!(chosen, subset::balanced(&set, n, seed).unwrap());
    }
    assert_ne!(subset::balanced(&set, 100, 1).unwrap(), subset::balanced(&set, 100, 2).unwrap());
    // The remainder goes to three classes, one each, and not always to the same.
    let spread = |seed| {
        let chosen = subset::balanced(&set, 23, seed).unwrap();
        set.select(&chosen.chosen).unwrap().class_counts()
    };
    for seed in 0..5 {
        let mut counts = spread(seed);
        counts.sort_unstable();
        assert_eq!(counts, [2, 2, 2, 2, 2, 2, 2, 3, 3, 3]);
    }
    assert!((1..20).any(|seed| spread(seed) != spread(0)));
    assert_eq!(subset::balanced(&set, 4, 0).unwrap().absent.len(), 6);
    // Every image of a class may be drawn.
    let small = images(&[0, 1, 0, 1, 0, 1], 2);
    let mut drawn = [0; 6];
    for seed in 0..300 {
        subset::balanced(&small, 2, seed).unwrap().chosen.iter().for_each(|&i| drawn[i as usize] += 1);
    }
    assert!(drawn.iter().all(|&count| (60..=140).contains(&count)), "{drawn:?}, 100 expected, deviation 8.2");
    let error = subset::balanced(&images(&[0, 0, 0, 1], 2), 4, 0).unwrap_err().to_string();
    assert!(error.contains("class 1 has 1"), "{error}");
}

#[test]
fn random_subsets_and_splits() {
    let set = images(&[0; 50], 1);
    let mut drawn = [0; 50];
    for seed in 0..400 {
        let chosen = subset::random(&set, 10, seed).unwrap();
        whole(&chosen, 50);
        assert_eq!(chosen.chosen.len(), 10);
        chosen.chosen.iter().for_each(|&i| drawn[i as usize] += 1);
    }
    assert!(drawn.iter().all(|&count| (45..=115).contains(&count)), "{drawn:?}, 80 expected, deviation 8");
    let indices = [9, 4, 7, 2, 11];
    let (taken, left) = subset::split(&indices, Part::Count(2), 3).unwrap();
    assert_eq!((taken.len(), left.len()), (2, 3));
    for part in [&taken, &left] {
        assert!(part.iter().map(|i| indices.iter().position(|j| i == j).unwrap()).is_sorted());
    }
    assert_eq!(subset::split(&indices, Part::Fraction(0.4), 3).unwrap(), (taken, left));
    assert_eq!(subset::split(&indices, Part::Fraction(0.01), 3).unwrap().0.len(), 1);
    for part in [0.0, 1.0, -0.5, 0.95, f64::NAN].map(Part::Fraction).into_iter().chain([0, 5, 6].map(Part::Count)) {
        assert!(subset::split(&indices, part, 0).is_err(), "{part:?}");
    }
    for n in [0, 51] {
        assert!(subset::last(&set, n).is_err() && subset::random(&set, n, 0).is_err());
        assert!(subset::balanced(&set, n, 0).unwrap_err().to_string().contains(&format!("{n} of 50")));
    }
}
