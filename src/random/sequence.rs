//! Numbers one after the other, for algorithms that take as many as they turn out to need.

use super::{Stream, philox};

/// The words of one sample of a stream, in the order of their elements. Two sequences of the same stream and sample are
/// the same.
///
/// ```
/// use veridical::random::{Purpose, RandomKey, Sequence};
/// let stream = RandomKey::new(7, Purpose::Custom).stream()?;
/// let mut sequence = Sequence::new(&stream, 3);
/// assert_eq!([sequence.word(), sequence.word()], [stream.word(3, 0), stream.word(3, 1)]);
/// assert!(sequence.uniform() < 1.0 && sequence.below(10) < 10);
/// # Ok::<(), veridical::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Sequence {
    stream: Stream,
    sample: u32,
    /// The block that `words` is not yet from.
    block: u32,
    words: [u32; 4],
    used: usize,
    /// The second of two normal numbers, if only the first has been taken.
    normal: Option<f64>,
}

impl Sequence {
    /// The sequence of a sample, from its first element on.
    pub fn new(stream: &Stream, sample: u32) -> Self {
        Sequence { stream: *stream, sample, block: 0, words: [0; 4], used: 4, normal: None }
    }

    /// 32 random bits. A sequence repeats after 2^34 of them.
    #[inline]
    pub fn word(&mut self) -> u32 {
        if self.used == 4 {
            let counter = [self.block, self.sample, self.stream.tail[0], self.stream.tail[1]];
            self.words = philox::philox4x32_10(counter, self.stream.key);
            self.block = self.block.wrapping_add(1);
            self.used = 0;
        }
        self.used += 1;
        self.words[self.used - 1]
    }

    /// 64 random bits.
    #[inline]
    pub fn word64(&mut self) -> u64 {
        let low = self.word();
        u64::from(self.word()) << 32 | u64::from(low)
    }

    /// Uniform on (0, 1), in steps of 2^-53; neither 0 nor 1.
    #[inline]
    pub fn uniform(&mut self) -> f64 {
        ((self.word64() >> 12) as f64 + 0.5) * (1.0 / (1u64 << 52) as f64)
    }

    /// Uniform on `0..n`, with a bias below `n 2^-64`; 0 for `n = 0`.
    #[inline]
    pub fn below(&mut self, n: u64) -> u64 {
        ((u128::from(self.word64()) * u128::from(n)) >> 64) as u64
    }

    /// Standard normal in f64 (Box & Muller 1958), from functions that are the same on every machine.
    pub fn normal(&mut self) -> f64 {
        if let Some(second) = self.normal.take() {
            return second;
        }
        let radius = libm::sqrt(-2.0 * libm::log(self.uniform()));
        let (sin, cos) = libm::sincos(std::f64::consts::TAU * self.uniform());
        self.normal = Some(radius * sin);
        radius * cos
    }

    /// Standard exponential, never 0.
    pub fn exponential(&mut self) -> f64 {
        -libm::log(self.uniform())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::{Purpose, RandomKey};

    fn sequence(sample: u32) -> Sequence {
        Sequence::new(&RandomKey::new(11, Purpose::Custom).stream().unwrap(), sample)
    }

    #[test]
    fn the_words_are_the_stream_s() {
        let stream = RandomKey::new(11, Purpose::Custom).stream().unwrap();
        let mut s = sequence(5);
        assert!((0..23).all(|e| s.word() == stream.word(5, e)));
        assert_ne!(sequence(5).word64(), sequence(6).word64());
    }

    /// The first four moments of 200,000 numbers, within five standard errors.
    #[test]
    fn variates_have_their_moments() {
        const N: usize = 200_000;
        let within = |name: &str, values: &[f64], moments: [f64; 4]| {
            for (k, expected) in moments.iter().enumerate() {
                let power = |x: &f64| x.powi(k as i32 + 1);
                let mean = values.iter().map(power).sum::<f64>() / N as f64;
                let variance = values.iter().map(|x| (power(x) - mean).powi(2)).sum::<f64>() / N as f64;
                let error = (variance / N as f64).sqrt();
                assert!((mean - expected).abs() < 5.0 * error, "{name}: moment {} is {mean}", k + 1);
            }
        };
        let (mut a, mut b, mut c, mut d) = (sequence(0), sequence(1), sequence(2), sequence(3));
        within("normal", &(0..N).map(|_| a.normal()).collect::<Vec<_>>(), [0.0, 1.0, 0.0, 3.0]);
        within("uniform", &(0..N).map(|_| b.uniform()).collect::<Vec<_>>(), [0.5, 1.0 / 3.0, 0.25, 0.2]);
        within("exponential", &(0..N).map(|_| c.exponential()).collect::<Vec<_>>(), [1.0, 2.0, 6.0, 24.0]);
        // The moments of the digits 0 to 9.
        let digits: Vec<f64> = (0..N).map(|_| d.below(10) as f64).collect();
        within("below", &digits, [4.5, 28.5, 202.5, 1533.3]);
        assert!(digits.iter().all(|&x| x < 10.0) && d.below(0) == 0);
    }
}
