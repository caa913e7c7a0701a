//! The Fréchet distance where covariances lack rank, repeat their eigenvalues, or stand far from zero.
//!
//! The values were computed in f64 by NumPy 2.4 from the same rows (`numpy.linalg.svd` of the product of the centred
//! rows), and agree with SciPy 1.17 (`scipy.linalg.sqrtm` of the product of the covariances) to the digits that the
//! latter keeps: all where the covariances have full rank, half of them where they have not.

use veridical::Error;
use veridical::metrics::frechet_distance;

use super::{close, noise};

/// Rows `[n, d]` and `[m, d]`, as the reference values saw them.
fn samples(n: usize, m: usize, d: usize) -> (Vec<f64>, Vec<f64>) {
    (noise(n * d, 101), noise(m * d, 202).iter().map(|x| x * 1.5 + 0.25).collect())
}

/// `f(column, value)` of every value.
fn map(rows: &[f64], d: usize, f: impl Fn(usize, f64) -> f64) -> Vec<f64> {
    rows.iter().enumerate().map(|(i, &x)| f(i % d, x)).collect()
}

/// Both ways round, and at scales whose squares are far apart: a distance is a square.
fn check(a: &[f64], b: &[f64], d: usize, expected: f64) {
    for scale in [1.0, 1e-6, 1e6, 1e-100, 1e100] {
        let (a, b) = (map(a, d, |_, x| scale * x), map(b, d, |_, x| scale * x));
        let allowed = 1e-11 * expected * scale * scale;
        close(frechet_distance(&a, &b, d).unwrap(), expected * scale * scale, allowed);
        close(frechet_distance(&b, &a, d).unwrap(), expected * scale * scale, allowed);
    }
}

#[test]
fn few_rows_and_many() {
    let values = [
        (40, 30, 6, 1.080999160246468),
        (2, 2, 5, 8.166645815044687),
        (2, 9, 1, 0.19458070776800995),
        (8, 8, 33, 28.41313440206763),
        (12, 50, 24, 13.776490788754503),
    ];
    for (n, m, d, expected) in values {
        let (a, b) = samples(n, m, d);
        check(&a, &b, d, expected);
    }
}

#[test]
fn features_that_are_always_zero() {
    // As behind a ReLU.
    let dead = |d: usize, rows: &[f64]| map(rows, d, |j, x| if j % 3 == 0 || j % 5 == 1 { 0.0 } else { x.max(0.0) });
    // The second in several blocks of rows.
    for (n, m, d, expected) in [(60, 45, 40, 3.3360218121417624), (1300, 1100, 12, 0.7601222143073385)] {
        let (a, b) = samples(n, m, d);
        check(&dead(d, &a), &dead(d, &b), d, expected);
    }
}

#[test]
fn features_that_are_constant() {
    let (a, b) = samples(30, 20, 10);
    let a = map(&a, 10, |j, x| if j % 2 == 0 { 0.1 } else { x });
    let b = map(&b, 10, |j, x| {
        if j == 0 {
            0.3
        } else if j % 2 == 0 {
            0.1
        } else {
            x
        }
    });
    check(&a, &b, 10, 0.8943590936400145);
}

#[test]
fn one_direction_each() {
    let (a, b) = samples(15, 11, 7);
    let along = |rows: &[f64], weight: fn(usize) -> f64| -> Vec<f64> {
        rows.chunks(7).flat_map(|row| (0..7).map(move |j| row[0] * weight(j))).collect()
    };
    let (a, b) = (along(&a, |j| 1.0 + j as f64), along(&b, |j| 7.0 - j as f64));
    check(&a, &b, 7, 51.26007788691955);
}

#[test]
fn eigenvalues_that_are_all_alike() {
    // The unit vectors and their negatives, and 3 times these plus 0.5: covariances 2/17 I and 18/17 I.
    let d = 9;
    let a: Vec<f64> = (0..2 * d * d)
        .map(|i| (i / d, i % d))
        .map(|(row, j)| if row % d == j { if row < d { 1.0 } else { -1.0 } } else { 0.0 })
        .collect();
    let b: Vec<f64> = a.iter().map(|x| 3.0 * x + 0.5).collect();
    check(&a, &b, d, 9.0 * 0.25 + 9.0 * 2.0 / 17.0 * 4.0);
}

#[test]
fn a_mean_far_from_zero_costs_no_digits() {
    // NumPy saw what is left of the samples after rounding to f64 at a million, less the million, which is exact.
    let (a, b) = samples(200, 150, 3);
    let far = |rows: &[f64]| map(rows, 3, |_, x| 1e6 + 0.01 * x);
    close(frechet_distance(&far(&a), &far(&b), 3).unwrap(), 5.385221216452305e-05, 1e-15);
    // A shift of both samples that rounds nothing changes nothing.
    let whole = |rows: &[f64]| map(rows, 3, |_, x| (x * 1024.0).round());
    let near = frechet_distance(&whole(&a), &whole(&b), 3).unwrap();
    let shift = |rows: &[f64]| map(&whole(rows), 3, |_, x| x + (1u64 << 40) as f64);
    close(frechet_distance(&shift(&a), &shift(&b), 3).unwrap(), near, 1e-12 * near);
}

#[test]
fn a_sample_is_at_no_distance_from_itself() {
    for (n, d) in [(2, 1), (2, 40), (7, 30), (8, 64), (33, 12), (100, 100), (300, 64)] {
        let full = noise(n * d, 7);
        let low: Vec<f64> = full.chunks(d).flat_map(|row| (0..d).map(move |j| row[j % 3])).collect();
        let dead = map(&full, d, |j, x| if j % 4 == 0 { x.max(0.0) } else { 0.0 });
        let constant = vec![0.1; n * d];
        for rows in [full, low, dead, constant] {
            let variance: f64 = (0..d)
                .map(|j| {
                    let mean = rows.iter().skip(j).step_by(d).sum::<f64>() / n as f64;
                    rows.iter().skip(j).step_by(d).map(|x| (x - mean).powi(2)).sum::<f64>() / (n - 1) as f64
                })
                .sum();
            let distance = frechet_distance(&rows, &rows, d).unwrap();
            assert!((0.0..=1e-12 * variance + 1e-25).contains(&distance), "{n} x {d}: {distance} of {variance}");
        }
    }
}

#[test]
fn what_cannot_be_squared_is_an_error() {
    for big in [1e160, 1e200, f64::MAX] {
        let result = frechet_distance(&[big, 0.0, -big, 1.0], &[0.0, 1.0, 2.0, 3.0], 1);
        assert!(matches!(result, Err(Error::NonFinite { .. })), "{big}: {result:?}");
    }
}
