//! Bias and variance of label estimators.

use veridical::ops::random::Address;
use veridical::players::{
    Annealing, Baseline, Exact, GumbelSoftmax, LabelEstimator, RaoBlackwell, Reinforce, Reward, RewardRegression,
    StraightThrough,
};
use veridical::{Device, Result, Tape, Tensor, Var, ops};

/// The classifier's logits and the discriminator's of the table: NumPy's `default_rng(1).standard_normal(20)`, ten
/// times
/// 1.5 and ten times 2.
const LOGITS: [f64; 10] =
    [0.518376, 1.232427, 0.495656, -1.954736, 1.358034, 0.669562, -0.80543, 0.871677, 0.546859, 0.441199];
const JUDGED: [f64; 10] =
    [0.056844, 1.093426, -1.472908, -0.32582, -0.964239, 1.197692, 0.079444, -0.584914, -1.563817, -0.514384];
/// Rows, of one sample each.
const N: usize = 100_000;

/// `p (f - <p, f>)` with `f = log(1 - sigmoid(d))`.
fn exact() -> Vec<f64> {
    let total: f64 = LOGITS.iter().map(|z| z.exp()).sum();
    let p: Vec<f64> = LOGITS.iter().map(|z| z.exp() / total).collect();
    let f: Vec<f64> = JUDGED.iter().map(|d| -(d.exp().ln_1p())).collect();
    let mean: f64 = p.iter().zip(&f).map(|(p, f)| p * f).sum();
    p.iter().zip(&f).map(|(p, f)| p * (f - mean)).collect()
}

/// The estimates of `rows` rows, `[rows, 10]`.
fn estimates(estimator: &dyn LabelEstimator, rows: usize, seed: u64) -> Result<Vec<f64>> {
    let repeated = |row: &[f64; 10]| Tensor::from_vec(row.repeat(rows), [rows, 10], &Device::Cpu);
    let logits = Tape::new().leaf(repeated(&LOGITS)?);
    let judged = Var::constant(repeated(&JUDGED)?);
    let values = (-judged.softplus()?)?;
    // Not linear in the label, as that of a discriminator that is given a relaxed label.
    let relaxed = |y: &Var| -(y * &judged)?.sum(&[1])?.softplus()?;
    let reward = Reward { values: &values, relaxed: &relaxed };
    let surrogate = estimator.surrogate(&logits, &reward, &Address::new(seed, 0))?;
    let gradient = surrogate.backward()?.of(&logits)?.to_vec::<f64>()?;
    Ok(gradient.into_iter().map(|g| g * rows as f64).collect())
}

/// Length of the bias, and the sum of the variances of the ten coordinates.
fn bias_and_variance(estimator: &dyn LabelEstimator) -> (f64, f64) {
    let all = estimates(estimator, N, 5).unwrap();
    let mean: Vec<f64> = (0..10).map(|j| all.iter().skip(j).step_by(10).sum::<f64>() / N as f64).collect();
    let bias = mean.iter().zip(exact()).map(|(m, e)| (m - e).powi(2)).sum::<f64>().sqrt();
    let variance = all.iter().enumerate().map(|(i, g)| (g - mean[i % 10]).powi(2)).sum::<f64>() / N as f64;
    (bias, variance)
}

#[test]
fn the_exact_sum_is_exact() {
    let expected = exact();
    let length = expected.iter().map(|g| g * g).sum::<f64>().sqrt();
    assert!((length - 0.1822).abs() < 1e-4, "{length}");
    for (found, expected) in estimates(&Exact, 3, 0).unwrap().iter().zip(expected.iter().cycle()) {
        assert!((found - expected).abs() < 1e-14);
    }
}

/// The table of the notes, simulated there by another program with other random numbers; bias within three standard
/// errors of both simulations, or the two digits that the table has.
#[test]
fn bias_and_variance_are_those_of_the_table() {
    let reinforce = |baseline| Reinforce { samples: 1, baseline };
    let table: [(&str, Box<dyn LabelEstimator>, f64, f64); 10] = [
        ("REINFORCE", Box::new(reinforce(Baseline::None)), 0.0, 0.561),
        ("REINFORCE, baseline", Box::new(reinforce(Baseline::Expected)), 0.0, 0.164),
        ("Gumbel-softmax 10", Box::new(GumbelSoftmax { tau: 10.0, samples: 1 }), 0.171, 1e-5),
        ("Gumbel-softmax 3", Box::new(GumbelSoftmax { tau: 3.0, samples: 1 }), 0.141, 4e-4),
        ("Gumbel-softmax 1", Box::new(GumbelSoftmax { tau: 1.0, samples: 1 }), 0.071, 0.015),
        ("Gumbel-softmax 0.5", Box::new(GumbelSoftmax { tau: 0.5, samples: 1 }), 0.030, 0.075),
        ("Gumbel-softmax 0.1", Box::new(GumbelSoftmax { tau: 0.1, samples: 1 }), 0.004, 0.72),
        ("straight-through 1", Box::new(StraightThrough { tau: 1.0, samples: 1 }), 0.064, 0.025),
        ("straight-through 0.5", Box::new(StraightThrough { tau: 0.5, samples: 1 }), 0.024, 0.10),
        ("straight-through 0.1", Box::new(StraightThrough { tau: 0.1, samples: 1 }), 0.005, 0.88),
    ];
    println!("{:22} {:>8} {:>10}", "estimator", "bias", "variance");
    for (name, estimator, bias, variance) in table {
        let (b, v) = bias_and_variance(estimator.as_ref());
        println!("{name:22} {b:8.4} {v:10.2e}");
        let slack = 3.0 * (2.0 * variance / N as f64).sqrt() + 1e-3;
        assert!((b - bias).abs() < slack, "{name}: bias {b}, in the table {bias}");
        assert!((v / variance - 1.0).abs() < 0.1 || (v - variance).abs() < 5e-4, "{name}: variance {v}, {variance}");
    }
}

/// Several samples a row: the variance falls as their number, and leaving one out keeps the mean.
#[test]
fn more_samples_are_less_noise() {
    let (bias, one) = bias_and_variance(&Reinforce { samples: 1, baseline: Baseline::Expected });
    let (other, four) = bias_and_variance(&Reinforce { samples: 4, baseline: Baseline::Expected });
    assert!((four * 4.0 / one - 1.0).abs() < 0.05 && bias < 5e-3 && other < 5e-3, "{one} {four}");
    let (bias, left_out) = bias_and_variance(&Reinforce { samples: 4, baseline: Baseline::LeaveOneOut });
    // The mean of three others is itself uncertain: (1 + 1/3) of the variance, to first order.
    assert!(bias < 5e-3 && left_out > four && left_out < 1.6 * four, "{left_out} {four}");
}

/// The same mean as straight-through, since both are conditional means of one estimator; less variance.
#[test]
fn averaging_relaxed_labels_keeps_the_mean_and_lowers_the_variance() {
    for tau in [0.5, 0.1] {
        let (bias, variance) = bias_and_variance(&StraightThrough { tau, samples: 1 });
        let (same, less) = bias_and_variance(&RaoBlackwell { tau, resamples: 10, samples: 1 });
        assert!((bias - same).abs() < 6.0 * (variance / N as f64).sqrt(), "{tau}: {bias} {same}");
        assert!(less < 0.9 * variance, "{tau}: {less} {variance}");
    }
}

/// It stands still where the sigmoid of each logit is the reward, and nowhere near the gradient of the game.
#[test]
fn the_regression_of_the_published_code_goes_elsewhere() {
    let sigmoid = |x: f64| 1.0 / (1.0 + (-x).exp());
    let total: f64 = LOGITS.iter().map(|z| z.exp()).sum();
    let mean = |of: Vec<f64>, j: usize| of.iter().skip(j).step_by(10).sum::<f64>() / N as f64;
    for j in 0..10 {
        let expected = LOGITS[j].exp() / total * (sigmoid(LOGITS[j]) - sigmoid(JUDGED[j]));
        let found = mean(estimates(&RewardRegression { samples: 1 }, N, 2).unwrap(), j);
        assert!((found - expected).abs() < 5e-3, "{j}: {found} {expected}");
    }
}

#[test]
fn what_cannot_be_estimated_says_so() {
    let says = |estimator: &dyn LabelEstimator, part: &str| {
        let error = estimates(estimator, 2, 0).unwrap_err().to_string();
        assert!(error.contains(part), "{error}");
    };
    says(&Reinforce { samples: 0, baseline: Baseline::None }, "give 1 or more");
    says(&Reinforce { samples: 1, baseline: Baseline::LeaveOneOut }, "give 2 or more");
    says(&GumbelSoftmax { tau: 0.0, samples: 1 }, "tau");
    says(&StraightThrough { tau: 1.0, samples: 0 }, "give 1 or more");
    says(&RewardRegression { samples: 0 }, "give 1 or more");
    assert!(
        ops::categorical(
            Var::constant(Tensor::full(f64::NEG_INFINITY, [1, 3], veridical::DType::F64, &Device::Cpu).unwrap()),
            &Address::new(0, 0).draws(veridical::random::Purpose::Categorical)
        )
        .is_err()
    );
}

#[test]
fn temperatures_fall_to_their_floor() {
    let code = Annealing { start: 10.0, factor: 0.88, every: 2, floor: 0.1 };
    let at = |step| code.at(step).unwrap();
    assert_eq!([at(0), at(1)], [10.0, 10.0]);
    assert!((at(2) - 8.8).abs() < 1e-12 && (at(5) - 7.744).abs() < 1e-12);
    assert_eq!(at(1_000_000), 0.1);
    assert!(Annealing { floor: 0.0, ..code }.at(1_000_000).is_err());
    assert!(Annealing { start: f64::NAN, floor: 0.0, ..code }.at(0).is_err());
}
