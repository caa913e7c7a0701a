//! Random order.

use super::Stream;

/// A uniformly random permutation of `0..n` (Fisher & Yates; Durstenfeld's form), addressed as sample 0 of the stream.
///
/// Each exchange takes 64 bits, so the bias towards any index is below `n * 2^-64`.
pub fn permutation(stream: &Stream, n: u32) -> Vec<u32> {
    let mut order: Vec<u32> = (0..n).collect();
    for last in (1..n).rev() {
        let words = stream.block(0, last);
        let fraction = u64::from(words[1]) << 32 | u64::from(words[0]);
        let pick = (u128::from(fraction) * u128::from(last + 1)) >> 64; // in 0..=last
        order.swap(last as usize, pick as usize);
    }
    order
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::{Purpose, RandomKey};

    #[test]
    fn all_orders_are_equally_likely() {
        let mut counts = std::collections::HashMap::new();
        let draws = 24_000;
        for step in 0..draws {
            let stream = RandomKey::new(3, Purpose::Shuffle).at_step(step).stream().unwrap();
            *counts.entry(permutation(&stream, 4)).or_insert(0u32) += 1;
        }
        let expected = f64::from(draws) / 24.0;
        let chi2: f64 = counts.values().map(|&c| (f64::from(c) - expected).powi(2) / expected).sum();
        assert_eq!(counts.len(), 24);
        assert!(chi2 < 51.0, "chi-square {chi2} with 23 degrees of freedom; 51 has p = 7e-4");
    }

    #[test]
    fn it_is_a_permutation_at_any_length() {
        for n in [0, 1, 2, 1000] {
            let mut order = permutation(&RandomKey::new(0, Purpose::Shuffle).stream().unwrap(), n);
            order.sort_unstable();
            assert!(order.into_iter().eq(0..n));
        }
    }
}
