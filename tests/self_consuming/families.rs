//! The laws of the other families.

use veridical::methods::self_consuming::families::{
    Bandwidth, Gaussian, GaussianMixture, KernelDensity, LinearRegression, Mixture, Ngram,
};
use veridical::methods::self_consuming::{Arm, Draw, Family, Part, Settings, Weight, simulate};

use super::{agrees, plan, run};

/// Every arm, with numbers that make all of its terms matter.
const ARMS: [Arm; 7] = [
    Arm::Mixture,
    Arm::Stratified,
    Arm::Accumulate,
    Arm::Anchor { real: 25 },
    Arm::Weighted(Weight::Optimal),
    Arm::Weighted(Weight::Fixed(0.3)),
    Arm::Filter { keep_real: 0.9, keep_synthetic: 0.4 },
];

#[test]
fn a_gaussian_on_its_own_samples_loses_its_variance() {
    let family = Gaussian::new(1).unwrap();
    let found = run(&family, &plan(Arm::Mixture, 50, "0", "50", None), 2000, 1);
    agrees("replace", &found[0], 4.5);
    agrees("replace", &found[1], 4.5);
    let variance = &found[1];
    let expected = |t: i32| (1.0 - 1.0 / 50.0f64).powi(t + 1);
    for t in [0, 10, 49] {
        approx::assert_relative_eq!(variance.theory.as_ref().unwrap()[t], expected(t as i32), max_relative = 1e-12);
    }
    // The mean after 50 fits is 0.364, but the typical chain has collapsed further: the median is near 0.13 (an
    // independent simulation).
    assert!((variance.mean[49] - 0.364).abs() < 4.0 * variance.stderr[49]);
    assert!((0.10..0.17).contains(&variance.percentiles[49][1]), "{:?}", variance.percentiles[49]);
}

/// Two points leave a covariance of rank 1, whose root has a closed form. With half the difference u of the points, the
/// covariance is u u^T, and its root u u^T / |u|.
#[test]
fn a_gaussian_of_fewer_points_than_dimensions() {
    for dims in [2, 7, 40] {
        let family = Gaussian::new(dims).unwrap();
        let (a, b): (Vec<f64>, Vec<f64>) =
            (0..dims).map(|j| (f64::from(j as u32 % 3), if j % 4 == 0 { 2.5 } else { 0.0 })).unzip();
        let data = [a.clone(), b.clone()].concat();
        let draw = Draw::truth(1);
        let model = family.fit(&[Part { data: &data, weight: 1.0 }], None, &draw).unwrap();
        let mean2: f64 = a.iter().zip(&b).map(|(a, b)| (0.5 * (a + b)).powi(2)).sum();
        let u2: f64 = a.iter().zip(&b).map(|(a, b)| (0.5 * (a - b)).powi(2)).sum();
        let expected = [mean2, u2 / dims as f64, mean2 + u2 + dims as f64 - 2.0 * u2.sqrt()];
        for (got, expected) in family.measure(&model).unwrap().into_iter().zip(expected) {
            approx::assert_relative_eq!(got, expected, max_relative = 1e-12);
        }
        // Every sample lies on the line through the points.
        let drawn = family.synthetic(&model, 20, &draw).unwrap();
        for row in drawn.chunks(dims) {
            let off: Vec<f64> = (0..dims).map(|j| row[j] - 0.5 * (a[j] + b[j])).collect();
            let along: f64 = (0..dims).map(|j| off[j] * 0.5 * (a[j] - b[j])).sum::<f64>();
            let length2: f64 = off.iter().map(|x| x * x).sum();
            assert!(along * along >= (1.0 - 1e-9) * length2 * u2, "{dims}: {off:?}");
        }
    }
}

#[test]
fn gaussians_obey_the_law_in_every_arm() {
    for dims in [1, 3] {
        let family = Gaussian::new(dims).unwrap();
        for arm in ARMS {
            let found = run(&family, &plan(arm, 12, "0.3:power=-0.3", "20:power=0.4", None), 1500, 3);
            for measure in &found[..2] {
                agrees(&format!("{arm:?} in {dims} dimensions"), measure, 4.5);
            }
            assert!(found[2].mean.iter().all(|&distance| distance > 0.0), "{arm:?}");
        }
    }
}

#[test]
fn mixtures_fitted_by_em_obey_the_law_in_every_arm() {
    let family = GaussianMixture::new(Mixture::circle(3, 2, 0.3).unwrap(), 4, 0).unwrap();
    for arm in ARMS {
        let found = run(&family, &plan(arm, 8, "0.25", "40", None), 600, 5);
        match arm {
            Arm::Filter { .. } => assert!(found[0].theory.is_none()),
            _ => (0..2).for_each(|i| agrees(&format!("{arm:?}"), &found[i], 4.5)),
        }
    }
}

#[test]
fn em_learns_the_mixture_that_it_is_shown() {
    let truth = Mixture::circle(4, 2, 0.1).unwrap();
    let family = GaussianMixture::new(truth.clone(), 50, 0).unwrap();
    let found = run(&family, &plan(Arm::Mixture, 0, "0", "4000", None), 5, 1);
    // The entropy of four separate Gaussians of deviation 0.1: ln 4 + 2 (ln 0.1 + (1 + ln 2 pi) / 2), and the sampling
    // of 1,000 points.
    let entropy = 4f64.ln() + 2.0 * 0.1f64.ln() + 1.0 + std::f64::consts::TAU.ln();
    assert!((found[2].percentiles[0][0] - entropy).abs() < 0.12, "{:?} {entropy}", found[2].percentiles[0]);
    approx::assert_relative_eq!(truth.variance(), 1.0 + 2.0 * 0.01, max_relative = 1e-12);
}

#[test]
fn kernel_densities_widen_by_their_law() {
    let truth = Mixture::circle(3, 2, 0.3).unwrap();
    for bandwidth in [Bandwidth::Fixed(0.2), Bandwidth::Scott, Bandwidth::Fixed(0.0)] {
        let family = KernelDensity::new(truth.clone(), bandwidth, 0).unwrap();
        for arm in ARMS {
            let found = run(&family, &plan(arm, 5, "0.25", "30", None), 300, 5);
            let what = format!("{bandwidth:?} {arm:?}");
            match (arm, bandwidth) {
                (Arm::Filter { .. }, Bandwidth::Scott) => assert!(found[0].theory.is_none()),
                _ => (0..2).for_each(|i| agrees(&what, &found[i], 4.5)),
            }
        }
        let blurred = run(&family, &plan(Arm::Mixture, 20, "0", "200", None), 50, 5);
        let grows = blurred[1].mean[20] > 1.5 * blurred[1].mean[0];
        assert_eq!(grows, bandwidth != Bandwidth::Fixed(0.0), "{bandwidth:?}: {:?}", blurred[1].mean);
    }
}

#[test]
fn tables_obey_the_law_per_context() {
    for (vocab, order) in [(6, 2), (3, 3), (10, 1)] {
        let family = Ngram::random(vocab, order, 3).unwrap();
        // 20 samples leave some contexts unseen in many rounds.
        for (alpha, samples) in [("0", "20"), ("0.3", "20:power=0.5"), ("1:power=-0.5", "200")] {
            let found = run(&family, &plan(Arm::Mixture, 20, alpha, samples, None), 1500, 8);
            agrees(&format!("{vocab} tokens, order {order}, alpha {alpha}, n {samples}"), &found[0], 4.5);
        }
    }
    assert!(Ngram::random(1000, 4, 0).unwrap_err().to_string().contains("--order"));
    assert!(Ngram::random(1, 2, 0).is_err() && Ngram::random(usize::MAX, 9, 0).is_err());
}

#[test]
fn regression_grows_by_one_fit_a_round_unless_it_accumulates() {
    let family = LinearRegression::new(5, 0.5).unwrap();
    let replace = run(&family, &plan(Arm::Mixture, 15, "0", "40", None), 1500, 2);
    agrees("replace", &replace[0], 4.5);
    // 0.25 * 5 / (40 - 5 - 1) a round.
    approx::assert_relative_eq!(replace[0].theory.as_ref().unwrap()[15], 16.0 * 1.25 / 34.0, max_relative = 1e-12);
    let accumulate = &run(&family, &plan(Arm::Accumulate, 60, "0", "40", None), 1500, 2)[0];
    let bound = family.first_risk(40.0) * std::f64::consts::PI.powi(2) / 6.0;
    assert!(accumulate.theory.is_none());
    for (t, (mean, error)) in accumulate.mean.iter().zip(&accumulate.stderr).enumerate() {
        assert!(mean - 4.0 * error < bound, "round {t}: {mean} ± {error} above {bound}");
    }
    assert!(accumulate.mean[60] > 1.2 * accumulate.mean[0], "the bound is not for nothing");
}

#[test]
fn too_few_samples_and_too_much_memory_are_errors() {
    let says = |error: veridical::Error, words: &[&str]| {
        let error = error.to_string();
        assert!(words.iter().all(|word| error.contains(word)), "{error}");
    };
    let settings = Settings::default();
    let regression = LinearRegression::new(5, 1.0).unwrap();
    let few = plan(Arm::Mixture, 3, "0", "10,10,6", None);
    says(simulate(&regression, &few, &settings).unwrap_err(), &["round 2 has 6 samples", "7 or more"]);
    let anchored = plan(Arm::Anchor { real: 3 }, 3, "0", "100", None);
    says(simulate(&regression, &anchored, &settings).unwrap_err(), &["3 samples"]);
    let em = GaussianMixture::new(Mixture::circle(8, 2, 0.1).unwrap(), 5, 0).unwrap();
    says(simulate(&em, &plan(Arm::Mixture, 2, "0", "5", None), &settings).unwrap_err(), &["9 or more"]);
    // 1e12 samples of two numbers: terabytes, said before anything is drawn.
    let gaussian = Gaussian::new(2).unwrap();
    for (arm, samples) in [(Arm::Mixture, "1e12"), (Arm::Accumulate, "1e9"), (Arm::Mixture, "10:ratio=3")] {
        let large = plan(arm, 25, "0", samples, None);
        says(simulate(&gaussian, &large, &settings).unwrap_err(), &["GB", "grow more slowly"]);
    }
    assert!(Gaussian::new(0).is_err() && LinearRegression::new(2, 0.0).is_err());
    assert!(Mixture::circle(0, 2, 0.1).is_err() && Mixture::circle(2, 2, f64::NAN).is_err());
    assert!(GaussianMixture::new(Mixture::circle(2, 2, 0.1).unwrap(), 0, 0).is_err());
    assert!(KernelDensity::new(Mixture::circle(2, 2, 0.1).unwrap(), Bandwidth::Fixed(-1.0), 0).is_err());
}
