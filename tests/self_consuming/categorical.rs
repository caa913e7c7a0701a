//! The recursion of Bakshi & Chakraborty 2026 and the other arms, on categorical distributions.

use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use veridical::Error;
use veridical::methods::self_consuming::families::Categorical;
use veridical::methods::self_consuming::{Arm, Law, Plan, Schedule, Settings, Weight, simulate, theory};
use veridical::stop::Stop;

use super::{agrees, plan, run};

/// Schedules, then the recursion's risk in rounds 0, 10 and 200 for V = 0.9604, computed independently of this crate.
const EIGHT: [(&str, &str, [f64; 3]); 8] = [
    ("0", "100", [0.00960, 0.10052, 0.8330]),
    ("0.1", "100", [0.00960, 0.04421, 0.0485]),
    ("0.1", "1000", [0.00096, 0.00454, 0.00503]),
    ("0.1", "100:power=1", [0.00960, 0.00765, 0.00026]),
    ("1:power=-0.5", "100", [0.00960, 0.01727, 0.0653]),
    ("1:power=-0.5", "100:power=1", [0.00960, 0.00172, 0.00036]),
    ("1:power=-1,offset=1", "100:power=1", [0.00960, 0.00522, 0.00480]),
    ("1:power=-2,offset=1", "100:power=2", [0.00960, 0.00644, 0.0062]),
];

#[test]
fn the_recursion_has_the_known_values() {
    for (alpha, samples, expected) in EIGHT {
        let risk = Law::new(0.9604).risk(&plan(Arm::Mixture, 200, alpha, samples, None)).unwrap();
        for (t, expected) in [0, 10, 200].into_iter().zip(expected) {
            // Half of the last digit that is known.
            let digits = if expected < 0.01 { 5e-6 } else { 5e-5 };
            assert!(
                (risk[t] - expected).abs() <= digits * 1.001 || (risk[t] / expected - 1.0).abs() < 0.007,
                "{alpha} {samples}: round {t} is {}",
                risk[t]
            );
        }
    }
}

#[test]
fn simulation_follows_the_recursion_on_eight_schedules() {
    let family = Categorical::random(50, 7).unwrap();
    for (alpha, samples, _) in EIGHT {
        let plan = plan(Arm::Mixture, 200, alpha, samples, None);
        agrees(&format!("alpha {alpha}, n {samples}"), &run(&family, &plan, 100, 1)[0], 4.0);
    }
}

/// Any share and size in every round, any truth, any arm: within 5 standard errors in each of some 400 rounds, where 4
/// would be passed by chance.
#[test]
fn simulation_follows_the_recursion_on_random_schedules() {
    let config = Config { cases: 24, failure_persistence: None, ..Config::default() };
    let mut runner = TestRunner::new_with_rng(config, TestRng::from_seed(RngAlgorithm::ChaCha, &[5; 32]));
    let rounds = 1..30usize;
    let inputs = rounds.prop_flat_map(|rounds| {
        let alphas = proptest::collection::vec(0.0..=1.0f64, rounds);
        let sizes = proptest::collection::vec(1..2000u32, rounds + 1);
        (alphas, sizes, 2..80usize, any::<u32>(), any_arm())
    });
    let result = runner.run(&inputs, |(alphas, sizes, vocab, seed, arm)| {
        let rounds = alphas.len();
        let family = Categorical::random(vocab, seed.into()).unwrap();
        let samples = Schedule::List(sizes.iter().map(|&n| f64::from(n)).collect());
        let plan = Plan::new(arm, rounds, &Schedule::List(alphas), &samples, None).unwrap();
        agrees(&format!("{arm:?} {vocab} tokens"), &run(&family, &plan, 300, seed.into())[0], 5.0);
        Ok(())
    });
    result.unwrap();
}

fn any_arm() -> impl Strategy<Value = Arm> {
    let keeps = (0.0..=1.0f64, 0.0..=1.0f64);
    prop_oneof![
        4 => Just(Arm::Mixture),
        1 => Just(Arm::Stratified),
        1 => Just(Arm::Accumulate),
        1 => (1..500u64).prop_map(|real| Arm::Anchor { real }),
        1 => Just(Arm::Weighted(Weight::Optimal)),
        1 => (0.0..=1.0f64).prop_map(|weight| Arm::Weighted(Weight::Fixed(weight))),
        1 => keeps.prop_map(|(keep_real, keep_synthetic)| Arm::Filter { keep_real, keep_synthetic }),
    ]
}

#[test]
fn own_samples_alone_end_in_one_token() {
    let family = Categorical::random(20, 3).unwrap();
    let found = run(&family, &plan(Arm::Mixture, 600, "0", "30", None), 50, 4);
    let v = family.law().variance;
    approx::assert_relative_eq!(
        found[0].theory.as_ref().unwrap()[600],
        theory::collapse_risk(v, 30.0, 600),
        max_relative = 1e-9
    );
    let [_, lost, largest] = &found[..] else { panic!() };
    // After 600 rounds of 30 samples nearly every repeat has a single token left: the chance of two is 20 (1 -
    // 1/30)^600.
    assert_eq!(largest.percentiles[600], [1.0; 3]);
    assert!(
        lost.mean[600] > 0.5 && lost.mean.windows(2).all(|pair| pair[1] >= pair[0] - 1e-12),
        "a lost token is lost"
    );
}

#[test]
fn a_fixed_share_stalls_and_growing_sizes_recover() {
    let family = Categorical::random(50, 7).unwrap();
    let v = family.law().variance;
    let last = |alpha: &str, samples: &str| {
        let found = run(&family, &plan(Arm::Mixture, 300, alpha, samples, None), 60, 9);
        (found[0].mean[300], found[0].stderr[300])
    };
    let (risk, error) = last("0.1", "100");
    assert!((risk - theory::stationary_risk(v, 0.1, 100.0)).abs() < 4.0 * error);
    // More own samples than 1 / (1 - 0.9^2) times the first ones improve on the first fit, fewer do not.
    let first = v / 100.0;
    assert!(theory::improves(100.0, 0.1, 800.0) && last("0.1", "100,800").0 < first);
    assert!(!theory::improves(100.0, 0.1, 300.0) && last("0.1", "100,300").0 > first);
    // n_t alpha_t without bound recovers, also where alpha vanishes; n_t alpha_t -> 100 stalls at v / 201.
    assert!(last("1:power=-0.5", "100:power=1").0 < 0.1 * first);
    let (stalled, error) = last("1:power=-1,offset=1", "100:power=1");
    assert!((stalled - v / 201.0).abs() < 4.0 * error + 0.01 * v / 201.0, "{stalled}");
}

#[test]
fn accumulating_stays_below_its_bound() {
    let family = Categorical::random(50, 7).unwrap();
    let v = family.law().variance;
    let found = &run(&family, &plan(Arm::Accumulate, 200, "0", "100", None), 400, 2)[0];
    agrees("accumulate", found, 4.0);
    for t in [0, 10, 200] {
        let expected = theory::accumulated_risk(v, 100.0, t);
        approx::assert_relative_eq!(found.theory.as_ref().unwrap()[t], expected, max_relative = 1e-9);
    }
    assert!(found.mean[200] < theory::accumulated_bound(v, 100.0) + 4.0 * found.stderr[200]);
}

#[test]
fn an_anchor_s_own_error_is_the_floor() {
    let family = Categorical::random(50, 7).unwrap();
    let v = family.law().variance;
    let found = &run(&family, &plan(Arm::Anchor { real: 200 }, 60, "0", "800", None), 400, 2)[0];
    agrees("anchor", found, 4.0);
    let theory_60 = found.theory.as_ref().unwrap()[60];
    let (floor, distance) = (theory::anchor_floor(v, 200.0), theory::anchor_distance(v, 200.0, 800.0));
    approx::assert_relative_eq!(theory_60, floor + distance, max_relative = 1e-6);
    assert!(found.mean[60] > floor);
    // The distance to the anchor itself, known for V / 200 = 0.00484.
    let known = Law::new(0.968).risk(&plan(Arm::Anchor { real: 200 }, 60, "0", "800", None)).unwrap()[60];
    approx::assert_abs_diff_eq!(known - 0.968 / 200.0, 0.00214, epsilon = 5e-6);
}

#[test]
fn the_golden_weight_is_the_best() {
    let family = Categorical::random(50, 7).unwrap();
    let v = family.law().variance;
    let stationary = |weight: Weight| {
        let found = run(&family, &plan(Arm::Weighted(weight), 40, "0.5", "400", None), 400, 6);
        agrees(&format!("{weight:?}"), &found[0], 4.5);
        (found[0].mean[40], found[0].stderr[40])
    };
    let golden = (5f64.sqrt() - 1.0) / 2.0;
    let (best, error) = stationary(Weight::Optimal);
    // 0.618 V / n for n real and n synthetic samples, up to a term of 1/n^2.
    assert!((best - golden * v / 200.0).abs() < 4.0 * error + 0.01 * v / 200.0, "{best}");
    for other in [0.3, 0.95] {
        let (risk, other_error) = stationary(Weight::Fixed(other));
        assert!(risk > best + 4.0 * (error + other_error), "{other}: {risk}");
    }
}

#[test]
fn adaptive_schedules_reach_their_target() {
    let family = Categorical::random(50, 7).unwrap();
    let law = family.law();
    let sizes = plan(Arm::Mixture, 20, "0.2", "adaptive:target=0.004", Some(&law));
    let found = &run(&family, &sizes, 200, 3)[0];
    assert!(found.theory.as_ref().unwrap().iter().all(|&risk| risk <= 0.004));
    assert!((found.mean[20] - 0.004).abs() < 4.0 * found.stderr[20] + 1e-5);
    // One sample fewer would not do.
    let n = sizes.rounds()[20].n;
    let fewer =
        Schedule::List(sizes.rounds().iter().enumerate().map(|(t, r)| (r.n - u64::from(t == 20)) as f64).collect());
    let short = Plan::new(Arm::Mixture, 20, &"0.2".parse().unwrap(), &fewer, None).unwrap();
    assert!(short.rounds()[20].n == n - 1 && law.risk(&short).unwrap()[20] > 0.004);

    let shares = plan(Arm::Mixture, 20, "adaptive:target=0.02", "100", Some(&law));
    let risk = law.risk(&shares).unwrap();
    assert!(risk[1..].iter().all(|&risk| risk <= 0.02 + 1e-12) && (risk[20] - 0.02).abs() < 1e-9);
    assert!(shares.rounds()[1..].iter().all(|round| round.alpha < 1.0));
    // A target that no share reaches takes all there is.
    let most = plan(Arm::Mixture, 3, "adaptive:target=0.001", "100", Some(&law));
    assert!(most.rounds().iter().all(|round| round.alpha == 1.0));
}

#[test]
fn repeats_are_the_same_alone_and_among_others() {
    let family = Categorical::random(50, 7).unwrap();
    let plan = plan(Arm::Mixture, 30, "0.3:power=-0.5", "200:power=0.3", None);
    let many = run(&family, &plan, 8, 5);
    let threads = |count: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(count).build().unwrap();
        pool.install(|| run(&family, &plan, 8, 5))
    };
    assert_eq!(many, threads(1));
    assert_eq!(many, threads(4));
    let one = run(&family, &plan, 1, 5);
    assert!(one[0].stderr.iter().all(|&error| error == 0.0) && one[0].mean != run(&family, &plan, 1, 6)[0].mean);
}

#[test]
fn what_cannot_be_done_is_an_error() {
    let make = |alpha: &str, samples: &str, arm: Arm| {
        Plan::new(arm, 5, &alpha.parse().unwrap(), &samples.parse().unwrap(), None).unwrap_err().to_string()
    };
    for (alpha, samples, arm, says) in [
        ("1.5", "10", Arm::Mixture, "[0, 1]"),
        ("0.1", "0", Arm::Mixture, "round 0 has 0 samples"),
        ("0.1", "10,5,0", Arm::Mixture, "round 2 has 0 samples"),
        ("0.1", "10:power=-3", Arm::Mixture, "raise --samples"),
        ("0.1", "1e9:power=20", Arm::Mixture, "2^53"),
        ("0.1", "adaptive:target=0.1", Arm::Mixture, "law"),
        ("adaptive:target=0.1", "adaptive:target=0.1", Arm::Mixture, "both"),
        ("0.1", "10", Arm::Anchor { real: 0 }, "anchor"),
        ("0.1", "10", Arm::Weighted(Weight::Fixed(1.5)), "weight"),
        ("0.1", "10", Arm::Filter { keep_real: 1.0, keep_synthetic: -0.5 }, "synthetic"),
    ] {
        let error = make(alpha, samples, arm);
        assert!(error.contains(says), "{alpha} {samples} {arm:?}: {error}");
    }
    for weights in [&[][..], &[0.0], &[-1.0, 2.0], &[f64::NAN]] {
        assert!(Categorical::new(weights).is_err());
    }
    assert!(Categorical::random(1, 0).is_err());
    let family = Categorical::random(5, 0).unwrap();
    let none = Settings { repeats: 0, ..Settings::default() };
    assert!(simulate(&family, &plan(Arm::Mixture, 2, "0", "5", None), &none).is_err());
    // A stop that the calling thread heeds reaches the repeats on other threads, in the middle of them.
    let stop = Stop::new();
    let _heeding = stop.enter();
    let requesting = Settings { repeats: 50, progress: &|| stop.request(), ..Settings::default() };
    let stopped = simulate(&family, &plan(Arm::Mixture, 1000, "0", "5", None), &requesting);
    assert!(matches!(stopped, Err(Error::Stopped)), "{stopped:?}");
}
