//! KID over random subsets: its mean, and what its standard error is worth.

use veridical::metrics::{kid, kid_subsets, kid_with_error};

use super::{close, mmd2_in_plain_loops, noise};

/// KID of two sets by the definition.
fn cubic(a: &[f64], b: &[f64], d: usize) -> f64 {
    let inner = |x: &[f64], y: &[f64]| x.iter().zip(y).map(|(x, y)| x * y).sum::<f64>();
    mmd2_in_plain_loops(a, b, d, |x, y| (inner(x, y) / d as f64 + 1.0).powi(3))
}

/// The KID of two laws on the line, from their first three moments: `E (x y + 1)^3` over independent `x` and `y` is
/// `1 + 3 m1 m1' + 3 m2 m2' + m3 m3'`.
fn of_moments(a: [f64; 3], b: [f64; 3]) -> f64 {
    [3.0, 3.0, 1.0].iter().zip(a.iter().zip(&b)).map(|(weight, (a, b))| weight * (a - b).powi(2)).sum()
}

#[test]
fn a_subset_of_all_rows_is_the_plain_figure() {
    // Across tiles of the inner products, and rows that come in another order.
    for (n, d) in [(2, 1), (60, 8), (300, 5), (515, 3)] {
        let (a, b) = (noise(n * d, 5), noise(n * d, 6));
        let one = kid_subsets(&a, &b, d, (1, n), 3).unwrap();
        assert_eq!((one.subsets, one.size, one.std, one.error), (1, n, None, None));
        close(one.mean, cubic(&a, &b, d), 1e-12);
        close(one.mean, kid(&a, &b, d).unwrap(), 1e-12);
        // Every subset is the same; nothing tells how sure the figure is.
        let three = kid_subsets(&a, &b, d, (3, n), 3).unwrap();
        assert!(three.std.unwrap() < 1e-12 && three.error.is_none(), "{three:?}");
    }
}

/// Over all subsets of a size the mean is the figure of all rows, whatever the size: here 40,000 of the
/// `C(9, 4) C(6, 4) = 1890`.
#[test]
fn the_mean_over_subsets_tends_to_the_figure_of_all_rows() {
    let d = 2;
    let (a, b) = (noise(9 * d, 1), noise(6 * d, 2));
    let found = kid_subsets(&a, &b, d, (40_000, 4), 7).unwrap();
    let error = found.std.unwrap() / 200.0;
    close(found.mean, cubic(&a, &b, d), 4.0 * error);
    // Another seed, other subsets; the same seed, the same.
    assert_eq!(found, kid_subsets(&a, &b, d, (40_000, 4), 7).unwrap());
    assert_ne!(found.mean, kid_subsets(&a, &b, d, (40_000, 4), 8).unwrap().mean);
}

/// Uniform numbers on (-1, 1) and the same plus 0.3, whose moments are known, of many new data sets: the mean of the
/// figure is that of the moments, and its deviation over data sets is its standard error, which dividing the deviation
/// over subsets by the root of their number is not.
#[test]
fn unbiased_with_a_standard_error_that_holds_for_new_data() {
    const SETS: u64 = 300;
    let uniform = [0.0, 1.0 / 3.0, 0.0];
    let shift = 0.3f64;
    let shifted = [shift, 1.0 / 3.0 + shift * shift, shift + shift.powi(3)];
    let expected = of_moments(uniform, shifted);
    // The deviation falls once more where the sizes are alike, and is overrated where one set is far larger.
    for (n, m, size, most) in [(120, 120, 60, 1.25), (120, 120, 20, 1.25), (120, 480, 60, 2.0)] {
        let found: Vec<_> = (0..SETS)
            .map(|set| {
                let b: Vec<f64> = noise(m, 1000 + 2 * set).iter().map(|x| x + shift).collect();
                kid_subsets(&noise(n, 7001 + 2 * set), &b, 1, (100, size), set).unwrap()
            })
            .collect();
        let mean = found.iter().map(|f| f.mean).sum::<f64>() / SETS as f64;
        let deviation = (found.iter().map(|f| (f.mean - mean).powi(2)).sum::<f64>() / (SETS - 1) as f64).sqrt();
        close(mean, expected, 4.0 * deviation / (SETS as f64).sqrt());
        let squares = found.iter().map(|f| f.error.unwrap().powi(2)).sum::<f64>() / SETS as f64;
        let ratio = squares.sqrt() / deviation;
        assert!((0.85..most).contains(&ratio), "{n} and {m} in subsets of {size}: {ratio} of {deviation}");
        let naive = found.iter().map(|f| f.std.unwrap() / 10.0).sum::<f64>() / SETS as f64;
        assert!(naive < 0.5 * deviation, "{naive} of {deviation}");
    }
}

/// Of all rows, also where one set is far larger; across tiles.
#[test]
fn all_rows_with_the_error_of_new_data() {
    const SETS: u64 = 400;
    for (n, m) in [(120, 120), (40, 400), (300, 60)] {
        let found: Vec<(f64, f64)> = (0..SETS)
            .map(|set| {
                let b: Vec<f64> = noise(m, 1000 + 2 * set).iter().map(|x| x + 0.3).collect();
                kid_with_error(&noise(n, 7001 + 2 * set), &b, 1).unwrap()
            })
            .collect();
        let mean = found.iter().map(|f| f.0).sum::<f64>() / SETS as f64;
        let deviation = (found.iter().map(|f| (f.0 - mean).powi(2)).sum::<f64>() / (SETS - 1) as f64).sqrt();
        let ratio = (found.iter().map(|f| f.1.powi(2)).sum::<f64>() / SETS as f64).sqrt() / deviation;
        assert!((0.85..1.2).contains(&ratio), "{n} and {m}: {ratio} of {deviation}");
    }
    let d = 7;
    let (a, b) = (noise(600 * d, 5), noise(270 * d, 6));
    close(kid_with_error(&a, &b, d).unwrap().0, cubic(&a, &b, d), 1e-12);
    let (none, error) = kid_with_error(&[1.0; 4], &[1.0; 6], 2).unwrap();
    assert_eq!((none, error), (0.0, 0.0));
}

#[test]
fn of_one_law_it_is_zero_within_its_error() {
    let d = 8;
    let same = kid_subsets(&noise(4000 * d, 3), &noise(4000 * d, 4), d, (50, 400), 0).unwrap();
    assert!(same.mean.abs() < 4.0 * same.error.unwrap(), "{same:?}");
    let shifted: Vec<f64> = noise(4000 * d, 4).iter().map(|v| v + 0.3).collect();
    let apart = kid_subsets(&noise(4000 * d, 3), &shifted, d, (50, 400), 0).unwrap();
    assert!(apart.mean > 10.0 * apart.error.unwrap(), "{apart:?}");
}
