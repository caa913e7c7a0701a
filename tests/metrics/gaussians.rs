//! The Fréchet distance from means and covariances.
//!
//! Of two by two matrices `tr (Sa Sb)^(1/2) = (tr Sa Sb + 2 (det Sa det Sb)^(1/2))^(1/2)`, by which the expected values
//! are computed; of diagonal ones it is the sum of the roots.

use veridical::Error;
use veridical::metrics::{Gaussian, frechet_distance};

use super::{close, noise};

/// By the formula for two dimensions.
fn in_the_plane(mean_a: [f64; 2], a: [f64; 4], mean_b: [f64; 2], b: [f64; 4]) -> f64 {
    let det = |m: [f64; 4]| m[0] * m[3] - m[1] * m[2];
    let product = a[0] * b[0] + a[1] * b[2] + a[2] * b[1] + a[3] * b[3];
    let root = (product + 2.0 * (det(a) * det(b)).sqrt()).sqrt();
    let means: f64 = mean_a.iter().zip(mean_b).map(|(a, b)| (a - b).powi(2)).sum();
    means + a[0] + a[3] + b[0] + b[3] - 2.0 * root
}

#[test]
fn two_dimensions_in_closed_form() {
    let (mean_a, mean_b) = ([1.0, -2.0], [0.5, 3.0]);
    for (a, b) in [
        ([4.0, 1.0, 1.0, 3.0], [2.0, -0.5, -0.5, 1.0]),
        ([1.0, 0.0, 0.0, 1.0], [1.0, 0.0, 0.0, 1.0]),
        ([1.0, 1.0, 1.0, 1.0], [2.0, 0.0, 0.0, 0.0]),
    ] {
        for scale in [1.0, 1e-60, 1e60] {
            let of = |mean: [f64; 2], covariance: [f64; 4]| {
                let covariance = covariance.map(|x| x * scale * scale);
                Gaussian::new(mean.map(|x| x * scale).to_vec(), &covariance).unwrap()
            };
            let (first, second) = (of(mean_a, a), of(mean_b, b));
            let expected = in_the_plane(mean_a, a, mean_b, b) * scale * scale;
            close(first.frechet_distance(&second).unwrap(), expected, 1e-13 * expected);
            close(second.frechet_distance(&first).unwrap(), expected, 1e-13 * expected);
        }
    }
}

#[test]
fn statistics_of_rows_are_as_good_as_the_rows() {
    for (n, m, d) in [(90, 70, 12), (300, 400, 33)] {
        let (a, b) = (noise(n * d, 101), noise(m * d, 202).iter().map(|x| x * 1.5 + 0.25).collect::<Vec<_>>());
        let expected = frechet_distance(&a, &b, d).unwrap();
        // Means and covariances in plain loops.
        let statistics = |rows: &[f64]| {
            let n = rows.len() / d;
            let mean: Vec<f64> = (0..d).map(|j| rows.iter().skip(j).step_by(d).sum::<f64>() / n as f64).collect();
            let entry = |i: usize, j: usize| {
                rows.chunks(d).map(|row| (row[i] - mean[i]) * (row[j] - mean[j])).sum::<f64>() / (n - 1) as f64
            };
            let covariance: Vec<f64> = (0..d * d).map(|k| entry(k / d, k % d)).collect();
            Gaussian::new(mean, &covariance).unwrap()
        };
        let (of_a, of_b) = (statistics(&a), statistics(&b));
        assert_eq!((of_a.rank(), of_a.lacks_rank(), of_a.rows(), of_a.dims()), (d, false, None, d));
        close(of_a.frechet_distance(&of_b).unwrap(), expected, 1e-11 * expected);
        let rows = Gaussian::of(&b, d).unwrap();
        assert_eq!((rows.rows(), rows.rank()), (Some(m), d));
        close(of_a.frechet_distance(&rows).unwrap(), expected, 1e-11 * expected);
        close(rows.frechet_distance(&of_a).unwrap(), expected, 1e-11 * expected);
    }
}

#[test]
fn what_lacks_rank_is_known() {
    // Rows (x, x): the covariance is [[v, v], [v, v]].
    let flat = Gaussian::new(vec![0.0, 0.0], &[2.0, 2.0, 2.0, 2.0]).unwrap();
    assert_eq!((flat.rank(), flat.lacks_rank()), (1, true));
    let few = Gaussian::of(&noise(5 * 8, 1), 8).unwrap();
    assert_eq!((few.rank(), few.lacks_rank()), (4, true));
    let enough = Gaussian::of(&noise(9 * 8, 1), 8).unwrap();
    assert_eq!((enough.rank(), enough.lacks_rank()), (8, false));
    let nothing = Gaussian::new(vec![1.0, 1.0], &[0.0; 4]).unwrap();
    assert_eq!(nothing.rank(), 0);
    close(nothing.frechet_distance(&flat).unwrap(), 2.0 + 4.0, 1e-14);
}

#[test]
fn what_is_no_covariance_is_an_error() {
    let said = |mean: Vec<f64>, covariance: &[f64]| Gaussian::new(mean, covariance).unwrap_err();
    let error = said(vec![0.0; 2], &[1.0; 6]);
    assert!(matches!(error, Error::Shape { .. }), "{error}");
    assert!(matches!(said(vec![], &[]), Error::Shape { .. }));
    assert!(said(vec![0.0, f64::NAN], &[1.0, 0.0, 0.0, 1.0]).to_string().contains("number 1 of the mean"));
    let error = said(vec![0.0; 2], &[1.0, 0.0, f64::INFINITY, 1.0]).to_string();
    assert!(error.contains("row 1, column 0"), "{error}");
    let error = said(vec![0.0; 2], &[1.0, 0.5, 0.4, 1.0]).to_string();
    assert!(error.contains("not symmetric") && error.contains("[1, 0] is 0.4"), "{error}");
    // Eigenvalues 3 and -1; and a variance below zero.
    for covariance in [[1.0, 2.0, 2.0, 1.0], [1.0, 0.0, 0.0, -1.0], [-1.0, 0.0, 0.0, -1.0]] {
        let error = said(vec![0.0; 2], &covariance).to_string();
        assert!(error.contains("not positive semidefinite") && error.contains("eigenvalue is -1,"), "{error}");
    }
    // What 32-bit numbers make of a covariance is one.
    let third = f64::from(1.0f32 / 3.0);
    assert!(Gaussian::new(vec![0.0; 2], &[third, 1.0 / 3.0 + 1e-8, third, 1.0 / 3.0]).is_ok());
    let three = Gaussian::new(vec![0.0; 3], &[1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0]).unwrap();
    let two = Gaussian::new(vec![0.0; 2], &[1.0, 0.0, 0.0, 1.0]).unwrap();
    assert!(three.frechet_distance(&two).unwrap_err().to_string().contains("3 numbers a row"));
}
