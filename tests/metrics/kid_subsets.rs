//! KID over blocks, of sets of any sizes.

use veridical::metrics::{kid, kid_blocks};

use super::{close, mmd2_in_plain_loops, noise};

#[test]
fn kid_is_unbiased_and_blocks_agree() {
    // One distribution: over independent blocks the mean is zero within four standard errors.
    let d = 8;
    let same = kid_blocks(&noise(4000 * d, 3), &noise(4000 * d, 4), d, 50).unwrap();
    assert_eq!(same.blocks, 80);
    assert!(same.mean.abs() < 4.0 * same.error.unwrap(), "{same:?}");
    let shifted: Vec<f64> = noise(4000 * d, 4).iter().map(|v| v + 0.3).collect();
    let apart = kid_blocks(&noise(4000 * d, 3), &shifted, d, 50).unwrap();
    assert!(apart.mean > 10.0 * apart.error.unwrap(), "{apart:?}");
    // A single block is the plain figure.
    let (a, b) = (noise(70 * d, 5), noise(60 * d, 6));
    let one = kid_blocks(&a, &b, d, 60).unwrap();
    assert_eq!((one.blocks, one.error), (1, None));
    close(one.mean, kid(&a, &b, d).unwrap(), 1e-15);
}

#[test]
fn kid_takes_every_row_of_sets_of_different_sizes() {
    let d = 4;
    let (a, b) = (noise(500 * d, 5), noise(60 * d, 6));
    let cubic = |a: &[f64], b: &[f64]| {
        let inner = |x: &[f64], y: &[f64]| x.iter().zip(y).map(|(x, y)| x * y).sum::<f64>();
        mmd2_in_plain_loops(a, b, d, |x, y| (inner(x, y) / d as f64 + 1.0).powi(3))
    };
    // Fewer rows than a block has: one of them all.
    for size in [60, 1000] {
        let all = kid_blocks(&a, &b, d, size).unwrap();
        assert_eq!(all.blocks, 1);
        close(all.mean, cubic(&a, &b), 1e-12);
    }
    // Three blocks of 20 rows against 166, 167 and 167.
    let three = kid_blocks(&a, &b, d, 20).unwrap();
    let each = [(0..166, 0..20), (166..333, 20..40), (333..500, 40..60)]
        .map(|(a_rows, b_rows)| cubic(&a[a_rows.start * d..a_rows.end * d], &b[b_rows.start * d..b_rows.end * d]));
    close(three.mean, each.iter().sum::<f64>() / 3.0, 1e-12);
    // A long set is compared with itself in runs of 10,000 rows, here of 6,667 and 6,668: unbiased, and close to all
    // pairs.
    let (long, short) = (noise(13_335, 7), noise(50, 8));
    let runs = kid_blocks(&long, &short, 1, 1000).unwrap().mean;
    let (first, second) = long.split_at(6667);
    let pairs = |x: &[f64]| x.len() as f64 * (x.len() - 1) as f64;
    let within = |x: &[f64]| {
        // sum over i != j of (x_i x_j + 1)^3, from power sums.
        let sums = [1, 2, 3].map(|p| x.iter().map(|x| x.powi(p)).sum::<f64>());
        let own: f64 = x.iter().map(|x| (x * x + 1.0).powi(3)).sum();
        let n = x.len() as f64;
        sums[2] * sums[2] + 3.0 * sums[1] * sums[1] + 3.0 * sums[0] * sums[0] + n * n - own
    };
    let across: f64 = long.iter().map(|x| short.iter().map(|y| (x * y + 1.0).powi(3)).sum::<f64>()).sum();
    let expected = (within(first) + within(second)) / (pairs(first) + pairs(second)) + within(&short) / pairs(&short)
        - 2.0 * across / (13_335.0 * 50.0);
    close(runs, expected, 1e-9);
}
