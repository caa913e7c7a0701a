//! Random numbers: accuracy of the variates against f64, tails by counting words, distributions, addresses.

use std::f64::consts::{LN_2, PI};
use veridical::random::{
    self, Exponential, Gumbel, Normal, Purpose, RandomKey, Samples, Stream, Uniform, Words, fill, variates,
};

fn stream(seed: u64) -> Stream {
    RandomKey::new(seed, Purpose::Custom).stream().unwrap()
}

/// Words that show every kind of trouble: both ends, every power of two and its neighbours, and a stride through the
/// rest.
fn words() -> impl Iterator<Item = u32> {
    let near = |w: u32| (0..64).flat_map(move |d| [w.wrapping_add(d), w.wrapping_sub(d)]);
    (0..32).flat_map(move |b| near(1 << b).chain(near(!(1 << b)))).chain((0..u32::MAX).step_by(977)).chain(near(0))
}

fn u(w: u32) -> f64 {
    (f64::from(w) + 0.5) / 4_294_967_296.0
}

/// The exact exponential number of a word.
fn e(w: u32) -> f64 {
    if w < 1 << 31 { -(-u(w)).ln_1p() } else { -u(!w).ln() }
}

/// |got - want| in units of the last place of `want`'s f32 neighbourhood.
fn ulps(got: f32, want: f64) -> f64 {
    let w = want.abs() as f32;
    let ulp = f64::from(f32::from_bits(w.to_bits() + 1)) - f64::from(w);
    (f64::from(got) - want).abs() / ulp
}

#[test]
fn uniforms_lie_strictly_between_0_and_1() {
    assert_eq!(variates::uniform(0), 1.0 / 8_589_934_592.0);
    assert_eq!(variates::uniform(u32::MAX), 1.0 - f32::EPSILON / 2.0);
    let worst = words().map(|w| (f64::from(variates::uniform(w)) - u(w)).abs() / u(w)).fold(0.0, f64::max);
    // Half an ulp for each of two roundings where they can meet, u in [2^-8, 2^-7].
    assert!(worst <= 1.5 * f64::from(f32::EPSILON) / 2.0, "{worst:e}");
}

#[test]
fn exponentials_are_right_to_the_last_place_at_both_ends() {
    let (mut worst, mut at) = (0.0, 0);
    for w in words() {
        let error = ulps(variates::exponential(w), e(w));
        if error > worst {
            (worst, at) = (error, w);
        }
    }
    // 1 ulp of the logarithm, and what rounding s to f32 moves.
    println!("exponential: {worst} ulp at word {at:#x}");
    assert!(worst < 2.0, "{worst} ulp at word {at:#x}");
    assert_eq!(variates::exponential(0), f32::from_bits((1.0f32 / 8_589_934_592.0).to_bits()));
    assert!((f64::from(variates::exponential(u32::MAX)) - 33.0 * LN_2).abs() < 1e-6);
}

#[test]
fn log_is_within_1_ulp() {
    let mut worst = (0.0, 0.0);
    for bits in (f32::MIN_POSITIVE.to_bits()..f32::INFINITY.to_bits()).step_by(331) {
        let x = f32::from_bits(bits);
        let error = ulps(variates::log(x), f64::from(x).ln());
        if error > worst.0 {
            worst = (error, x);
        }
    }
    for bits in 0.4f32.to_bits()..2.5f32.to_bits() {
        let x = f32::from_bits(bits);
        let error = ulps(variates::log(x), f64::from(x).ln());
        if error > worst.0 && x != 1.0 {
            worst = (error, x);
        }
    }
    println!("log: {} ulp at {}", worst.0, worst.1);
    assert!(worst.0 < 1.0, "{} ulp at {}", worst.0, worst.1);
    assert_eq!(variates::log(1.0), 0.0);
}

#[test]
fn sine_and_cosine_are_within_1_5_ulp_of_the_angle() {
    let mut worst = 0.0f64;
    for w in words() {
        // The angle as the reduction rounds it: a quarter turn and an f32 rest.
        let quarter = w.wrapping_add(1 << 29) >> 30;
        let rest = (w.wrapping_sub(quarter << 30) as i32) as f32;
        let y = f64::from(rest.mul_add(2.0f32.powi(-31), 2.0f32.powi(-32)));
        let (s, c) = (PI * y).sin_cos();
        let (want_sin, want_cos) = [(s, c), (c, -s), (-s, -c), (-c, s)][(quarter % 4) as usize];
        let (sin, cos) = variates::sin_cos_turn(w);
        worst = worst.max(ulps(sin, want_sin)).max(ulps(cos, want_cos));
        // And the angle itself is off by at most one rounding.
        let exact = 2.0 * PI * u(w);
        assert!((f64::from(sin) - exact.sin()).abs() < 1.2e-7, "{w:#x}");
        assert!((f64::from(cos) - exact.cos()).abs() < 1.2e-7, "{w:#x}");
    }
    println!("sin, cos: {worst} ulp");
    assert!(worst < 1.5, "{worst} ulp");
}

#[test]
fn gumbels_and_normals_are_right_for_every_word() {
    for w in words() {
        let want = -e(w).ln();
        let got = f64::from(variates::gumbel(w));
        assert!((got - want).abs() < 1.5e-7 + 1e-7 * want.abs(), "word {w:#x}: {got}, not {want}");
        assert!((-3.2..=22.9).contains(&got));
        let angle = w.wrapping_mul(0x9e37_79b9);
        let (a, b) = variates::normal_pair(w, angle);
        let (r, t) = ((2.0 * e(w)).sqrt(), 2.0 * PI * u(angle));
        assert!((f64::from(a) - r * t.cos()).abs() < 3e-7 * r && (f64::from(b) - r * t.sin()).abs() < 3e-7 * r);
    }
}

/// How many words make `event` happen, for an event that happens exactly for the words below some bound.
fn count(event: impl Fn(u32) -> bool) -> u64 {
    let (mut low, mut high) = (0u64, 1 << 32);
    while low < high {
        let middle = (low + high) / 2;
        if event(middle as u32) { low = middle + 1 } else { high = middle }
    }
    low
}

#[test]
fn exponential_and_gumbel_are_monotone() {
    let mut last = (0.0, f32::INFINITY);
    for w in (0..u32::MAX).step_by(401) {
        let now = (variates::exponential(w), variates::gumbel(w));
        assert!(now.0 >= last.0 && now.1 <= last.1, "{w:#x}");
        last = now;
    }
}

#[test]
fn tails_have_their_probability() {
    // A word more or less is all that 32 bits allow; f32 thresholds add their rounding of the bound.
    let words = |p: f64| p * 4_294_967_296.0;
    for g in [-3.0f32, -2.5, -1.0, 0.0, 1.0, 5.0, 10.0, 15.0, 18.0, 20.7, 22.0] {
        let happens = count(|w| variates::gumbel(w) > g);
        let expected = words(-(-(-f64::from(g)).exp()).exp_m1());
        assert!(
            (happens as f64 - expected).abs() <= 0.51 + 3e-7 * expected,
            "g > {g}: {happens} words, not {expected}"
        );
    }
    for x in [1e-9f32, 1e-6, 0.5, 3.0, 10.0, 18.0, 21.0, 22.5] {
        let happens = count(|w| variates::exponential(w) <= x);
        let expected = words(-(-f64::from(x)).exp_m1());
        let upper = words((-f64::from(x)).exp());
        let slack = 0.51 + 3e-7 * expected.min(upper * f64::from(x).max(1.0));
        assert!((happens as f64 - expected).abs() <= slack, "E <= {x}: {happens} words, not {expected}");
    }
}

#[test]
fn normal_tails_have_their_probability() {
    // P(z > t), the inner sum over radius words by bisection, the outer one over a grid of angles.
    for (t, p) in [(3.0f32, 1.349_898_031_630_094_6e-3), (5.0, 2.866_515_718_791_939e-7), (6.1, 5.303_423e-10)] {
        let angles = 1 << 16;
        let mut happens = 0u64;
        for i in 0..angles {
            let angle = (i as u32) * (1 << 16) + 12_345;
            if !(1 << 30..3 << 30).contains(&angle) {
                // The cosine is positive, so z increases with the word.
                happens += (1u64 << 32) - count(|w| variates::normal_pair(w, angle).0 <= t);
            }
        }
        let got = happens as f64 / f64::from(angles) / 4_294_967_296.0;
        println!("P(z > {t}) = {got:e}, {p:e}");
        assert!((got / p - 1.0).abs() < 2e-2, "P(z > {t}) = {got:e}, not {p:e}");
    }
}

/// Kolmogorov & Smirnov's distance times sqrt(n); above 1.95 has p = 0.001.
fn ks(mut x: Vec<f32>, cdf: impl Fn(f64) -> f64) -> f64 {
    x.sort_by(f32::total_cmp);
    let n = x.len() as f64;
    let d = x.iter().enumerate().map(|(i, &x)| {
        let f = cdf(f64::from(x));
        (f - i as f64 / n).abs().max(((i + 1) as f64 / n - f).abs())
    });
    d.fold(0.0, f64::max) * n.sqrt()
}

/// The standard normal distribution function: Simpson's rule on the density, which is exact enough and independent.
fn normal_cdf_table() -> impl Fn(f64) -> f64 {
    let h = 1.0 / 512.0;
    let density = |x: f64| (-0.5 * x * x).exp() / (2.0 * PI).sqrt();
    let mut table = vec![0.0];
    for i in 0..(16.0 / h) as usize {
        let x = -8.0 + i as f64 * h;
        table.push(table[i] + h / 6.0 * (density(x) + 4.0 * density(x + h / 2.0) + density(x + h)));
    }
    move |x| {
        let t = ((x + 8.0) / h).clamp(0.0, (table.len() - 2) as f64);
        let i = t as usize;
        let (x0, d) = (-8.0 + i as f64 * h, x - (-8.0 + i as f64 * h));
        table[i] + d / 6.0 * (density(x0) + 4.0 * density(x0 + d / 2.0) + density(x0 + d))
    }
}

#[test]
fn distributions_are_right() {
    let n = 1 << 20;
    let mut x = vec![0.0f32; n];
    fill(Normal, &stream(1), Samples::From(0), 1 << 10, &mut x).unwrap();
    assert!(ks(x.clone(), normal_cdf_table()) < 1.95);
    fill(Uniform, &stream(2), Samples::From(0), 1 << 10, &mut x).unwrap();
    assert!(ks(x.clone(), |x| x) < 1.95);
    fill(Exponential, &stream(3), Samples::From(0), 1 << 10, &mut x).unwrap();
    assert!(ks(x.clone(), |x| -(-x).exp_m1()) < 1.95);
    fill(Gumbel, &stream(4), Samples::From(0), 1 << 10, &mut x).unwrap();
    assert!(ks(x.clone(), |x| (-(-x).exp()).exp()) < 1.95);
}

#[test]
fn normal_moments_and_correlations_are_right() {
    let n = 1 << 22;
    let mut x = vec![0.0f32; n];
    fill(Normal, &stream(5), Samples::From(0), 1 << 12, &mut x).unwrap();
    let mean = |f: &dyn Fn(usize) -> f64| (0..n - 4096).map(f).sum::<f64>() / (n - 4096) as f64;
    let z = |i: usize| f64::from(x[i]);
    // Five standard errors of each mean.
    let within = |got: f64, want: f64, variance: f64| (got - want).abs() < 5.0 * (variance / (n - 4096) as f64).sqrt();
    assert!(within(mean(&|i| z(i)), 0.0, 1.0));
    assert!(within(mean(&|i| z(i).powi(2)), 1.0, 2.0));
    assert!(within(mean(&|i| z(i).powi(3)), 0.0, 15.0));
    assert!(within(mean(&|i| z(i).powi(4)), 3.0, 96.0));
    for lag in [1, 2, 3, 4, 8, 4096] {
        assert!(within(mean(&|i| z(i) * z(i + lag)), 0.0, 1.0), "lag {lag}");
        assert!(within(mean(&|i| z(i).powi(2) * z(i + lag).powi(2)), 1.0, 8.0), "squares at lag {lag}");
    }
}

#[test]
fn words_are_uniform_by_chi_square() {
    let mut words = vec![0u32; 1 << 20];
    fill(Words, &stream(6), Samples::From(0), 1 << 8, &mut words).unwrap();
    for shift in [0, 8, 16, 24] {
        let mut counts = [0u32; 256];
        words.iter().for_each(|w| counts[(w >> shift & 255) as usize] += 1);
        let chi2: f64 = counts.iter().map(|&c| (f64::from(c) - 4096.0).powi(2) / 4096.0).sum();
        assert!((170.0..345.0).contains(&chi2), "byte at {shift}: {chi2} with 255 degrees of freedom");
    }
}

#[test]
fn filling_agrees_with_addresses_at_any_length() {
    let s = stream(8);
    for (rows, len) in [(1, 1), (7, 1), (300, 1), (5, 3), (90, 10), (9, 64), (3, 255), (2, 256), (3, 1021), (2, 70_001)]
    {
        let ids: Vec<u32> = (0..rows as u32).map(|i| i.wrapping_mul(2_654_435_761)).collect();
        let (mut words, mut normals) = (vec![0u32; rows * len], vec![0f32; rows * len]);
        fill(Words, &s, Samples::Ids(&ids), len, &mut words).unwrap();
        fill(Normal, &s, Samples::Ids(&ids), len, &mut normals).unwrap();
        for (row, &id) in ids.iter().enumerate() {
            for i in (0..len).step_by(1 + len / 100) {
                assert_eq!(words[row * len + i], s.word(id, i as u64), "{rows} x {len}: {row}, {i}");
                let pair = s.block(id, (i / 4) as u32);
                let at = i % 4 / 2 * 2;
                let (a, b) = variates::normal_pair(pair[at], pair[at + 1]);
                // The scalar code is compiled without vector instructions: equal bits say that the fast paths are
                // exact.
                assert_eq!(normals[row * len + i].to_bits(), [a, b][i % 2].to_bits(), "{rows} x {len}: {row}, {i}");
            }
        }
    }
}

#[test]
fn threads_and_batches_do_not_matter() {
    let s = stream(9);
    let one = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap();
    let (mut a, mut b) = (vec![0f32; 40 * 3001], vec![0f32; 40 * 3001]);
    fill(Gumbel, &s, Samples::From(100), 3001, &mut a).unwrap();
    one.install(|| fill(Gumbel, &s, Samples::From(100), 3001, &mut b).unwrap());
    assert_eq!(a, b);
    let mut part = vec![0f32; 3 * 3001];
    fill(Gumbel, &s, Samples::From(117), 3001, &mut part).unwrap();
    assert_eq!(part, a[17 * 3001..20 * 3001]);
}

#[test]
fn wrong_sizes_are_errors() {
    let mut out = [0u32; 10];
    assert!(fill(Words, &stream(0), Samples::From(0), 3, &mut out).is_err());
    assert!(fill(Words, &stream(0), Samples::From(0), 0, &mut out).is_err());
    assert!(fill(Words, &stream(0), Samples::Ids(&[1]), 5, &mut out).is_err());
    assert!(fill(Words, &stream(0), Samples::Ids(&[]), 5, &mut []).is_ok());
}

#[test]
fn thresholds_cover_all_probabilities() {
    assert_eq!(variates::threshold(0.0), Some(0));
    assert_eq!(variates::threshold(0.5), Some(1 << 31));
    assert_eq!(variates::threshold(1.0), None);
    assert_eq!(variates::threshold(f64::NAN), Some(0));
    assert_eq!(random::permutation(&stream(0), 0), Vec::<u32>::new());
}
