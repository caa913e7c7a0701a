//! The metrics against reference values (`metrics.safetensors` and `multilabel.safetensors` in `tests/golden`, made by
//! SciPy and scikit-learn in f64), closed forms, and bad input.

#[path = "metrics/frechet.rs"]
mod frechet;
#[path = "metrics/gaussians.rs"]
mod gaussians;
#[path = "metrics/kid_subsets.rs"]
mod kid_subsets;
mod locate;
#[path = "metrics/ranking.rs"]
mod multilabel;

use safetensors::{Dtype, SafeTensors};
use serde_json::Value;
use veridical::Error;
use veridical::metrics::*;

/// One case of the file: see `losses.md` beside the fixtures.
struct Case<'a> {
    file: &'a SafeTensors<'a>,
    id: String,
    params: Value,
    tolerance: f64,
    scale: Value,
}

impl Case<'_> {
    fn input(&self, name: &str) -> (Vec<f64>, Vec<usize>) {
        let tensor = self.file.tensor(&format!("{}/in/{name}", self.id)).unwrap();
        (floats(&tensor), tensor.shape().to_vec())
    }

    fn labels(&self, name: &str) -> Vec<u32> {
        let tensor = self.file.tensor(&format!("{}/in/{name}", self.id)).unwrap();
        assert_eq!(tensor.dtype(), Dtype::I64);
        tensor.data().chunks(8).map(|b| i64::from_le_bytes(b.try_into().unwrap()).try_into().unwrap()).collect()
    }

    fn param(&self, name: &str) -> f64 {
        self.params[name].as_f64().unwrap()
    }

    fn compare(&self, output: &str, got: f64) {
        let reference = floats(&self.file.tensor(&format!("{}/out/{output}", self.id)).unwrap())[0];
        let scale = self.scale[format!("out/{output}")].as_f64().unwrap_or(0.0);
        let allowed = self.tolerance * reference.abs().max(scale);
        assert!((got - reference).abs() <= allowed, "{} {output}: got {got}, expected {reference}", self.id);
    }
}

fn floats(tensor: &safetensors::tensor::TensorView) -> Vec<f64> {
    assert_eq!(tensor.dtype(), Dtype::F64);
    tensor.data().chunks(8).map(|b| f64::from_le_bytes(b.try_into().unwrap())).collect()
}

#[test]
fn reference_values() {
    check_file("metrics.safetensors", 30);
    check_file("multilabel.safetensors", 6);
}

fn check_file(name: &str, expected: usize) {
    let bytes = std::fs::read(locate::golden().join(name)).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let (_, header) = SafeTensors::read_metadata(&bytes).unwrap();
    let cases: Vec<Value> = serde_json::from_str(&header.metadata().as_ref().unwrap()["veridical.cases"]).unwrap();
    let mut ran = 0;
    for json in &cases {
        let case = Case {
            file: &file,
            id: json["id"].as_str().unwrap().into(),
            params: json["params"].clone(),
            tolerance: json["tol"]["f64"].as_f64().unwrap(),
            scale: json["scale"].clone(),
        };
        run(json["op"].as_str().unwrap(), &case);
        ran += 1;
    }
    assert_eq!(ran, expected, "cases in {name}");
}

fn run(op: &str, case: &Case) {
    match op {
        "kid" => {
            let ((a, shape), (b, _)) = (case.input("a"), case.input("b"));
            let kernel = Kernel::Polynomial { degree: 3, gamma: case.param("gamma"), coef: case.param("coef") };
            assert_eq!(case.param("degree"), 3.0);
            case.compare("mmd2", mmd2(&a, &b, shape[1], &[kernel]).unwrap());
            case.compare("mmd2", kid(&a, &b, shape[1]).unwrap());
        }
        "mmd_gaussian" => {
            let ((a, shape), (b, _)) = (case.input("a"), case.input("b"));
            let kernel = Kernel::Gaussian { bandwidth: case.param("bandwidth") };
            case.compare("mmd2", mmd2(&a, &b, shape[1], &[kernel]).unwrap());
        }
        "wasserstein_1d" => {
            let ((a, _), (b, _)) = (case.input("a"), case.input("b"));
            case.compare("distance", wasserstein_1d(&a, &b, case.param("p")).unwrap());
            case.compare("distance", wasserstein_1d(&b, &a, case.param("p")).unwrap());
        }
        "sliced_wasserstein" => {
            let ((a, shape), (b, _), (directions, _)) = (case.input("a"), case.input("b"), case.input("directions"));
            let got = sliced_wasserstein_along(&a, &b, shape[1], &directions, case.param("p"));
            case.compare("distance", got.unwrap());
        }
        "classification" => {
            let ((logits, shape), labels) = (case.input("logits"), case.labels("labels"));
            let got = classification(&logits, shape[1], &labels, case.param("bins") as usize).unwrap();
            case.compare("accuracy", got.accuracy);
            case.compare("nll", got.nll);
            case.compare("ece", got.ece);
            case.compare("accuracy", Confusion::new(&logits, shape[1], &labels).unwrap().accuracy());
        }
        "frechet_distance" => {
            let ((a, shape), (b, _)) = (case.input("a"), case.input("b"));
            case.compare("distance", frechet_distance(&a, &b, shape[1]).unwrap());
            case.compare("distance", frechet_distance(&b, &a, shape[1]).unwrap());
        }
        "precision_recall" => {
            let ((real, shape), (fake, _)) = (case.input("real"), case.input("fake"));
            let got = precision_recall(&real, &fake, shape[1], case.param("k") as usize).unwrap();
            case.compare("precision", got.precision);
            case.compare("recall", got.recall);
        }
        "density_coverage" => {
            let ((real, shape), (fake, _)) = (case.input("real"), case.input("fake"));
            let got = density_coverage(&real, &fake, shape[1], case.param("k") as usize).unwrap();
            case.compare("density", got.density);
            case.compare("coverage", got.coverage);
        }
        "inception_score" => {
            let (probabilities, shape) = case.input("probs");
            let got = inception_score(&probabilities, shape[1], case.param("splits") as usize).unwrap();
            case.compare("mean", got.mean);
            case.compare("std", got.std);
        }
        "multilabel_ranking" | "multilabel_f1" => multilabel::run(op, case),
        other => panic!("{other}: no such metric here; leave its cases out of the golden file"),
    }
}

/// Numbers in (-1, 1) without a pattern; a plain congruential generator, so that nothing here leans on the crate's own.
fn noise(n: usize, seed: u64) -> Vec<f64> {
    let mut state = seed;
    let mut next = || {
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (state >> 11) as f64 / (1u64 << 52) as f64 - 1.0
    };
    (0..n).map(|_| next()).collect()
}

fn close(got: f64, expected: f64, tolerance: f64) {
    assert!((got - expected).abs() <= tolerance, "got {got}, expected {expected}");
}

/// The definition, pair by pair.
fn mmd2_in_plain_loops(a: &[f64], b: &[f64], d: usize, k: impl Fn(&[f64], &[f64]) -> f64) -> f64 {
    let mean = |x: &[f64], y: &[f64], same: bool| {
        let (mut sum, mut pairs) = (0.0, 0);
        for (i, xi) in x.chunks(d).enumerate() {
            for (j, yj) in y.chunks(d).enumerate() {
                if !same || i != j {
                    sum += k(xi, yj);
                    pairs += 1;
                }
            }
        }
        sum / f64::from(pairs)
    };
    mean(a, a, true) + mean(b, b, true) - 2.0 * mean(a, b, false)
}

#[test]
fn mmd_is_its_definition_for_every_kernel_and_across_tiles() {
    let d = 11;
    let distance = |x: &[f64], y: &[f64]| x.iter().zip(y).map(|(x, y)| (x - y).powi(2)).sum::<f64>().sqrt();
    for (n, m) in [(2, 2), (64, 65), (150, 63), (3, 130)] {
        let (a, b) = (noise(n * d, 1), noise(m * d, 2));
        type Formula = Box<dyn Fn(f64) -> f64>;
        let formulas: [(Kernel, Formula); 4] = [
            (Kernel::Gaussian { bandwidth: 1.3 }, Box::new(|r| (-r * r / (2.0 * 1.69)).exp())),
            (Kernel::Laplace { bandwidth: 0.7 }, Box::new(|r| (-r / 0.7).exp())),
            (
                Kernel::RationalQuadratic { alpha: 0.5, bandwidth: 2.0 },
                Box::new(|r| 1.0 / (1.0 + r * r / (2.0 * 0.5 * 4.0)).sqrt()),
            ),
            (Kernel::Energy, Box::new(|r| -r)),
        ];
        let mut sum = 0.0;
        for (kernel, k) in &formulas {
            let expected = mmd2_in_plain_loops(&a, &b, d, |x, y| k(distance(x, y)));
            close(mmd2(&a, &b, d, &[*kernel]).unwrap(), expected, 1e-12);
            sum += expected;
        }
        let inner = |x: &[f64], y: &[f64]| x.iter().zip(y).map(|(x, y)| x * y).sum::<f64>();
        let cubic = mmd2_in_plain_loops(&a, &b, d, |x, y| (inner(x, y) / d as f64 + 1.0).powi(3));
        close(kid(&a, &b, d).unwrap(), cubic, 1e-12);
        let all: Vec<Kernel> = formulas.iter().map(|f| f.0).chain([Kernel::kid(d)]).collect();
        close(mmd2(&a, &b, d, &all).unwrap(), sum + cubic, 1e-12);
    }
}

#[test]
fn mmd_in_closed_form() {
    // Two points each, on a line: k(0,1) within both, and across k(0,3), k(0,4), k(1,3), k(1,4) with k = -|x-y|.
    close(mmd2(&[0.0, 1.0], &[3.0, 4.0], 1, &[Kernel::Energy]).unwrap(), -1.0 - 1.0 + 2.0 * 3.0, 1e-15);
    // f32 rows are widened, not rounded again.
    close(mmd2(&[0.0f32, 1.0], &[3.0, 4.0], 1, &[Kernel::Energy]).unwrap(), 4.0, 1e-15);
}

#[test]
fn median_distance_of_known_points() {
    close(median_distance(&[0.0, 1.0], &[3.0], 1).unwrap(), 2.0, 1e-15);
    close(median_distance(&[0.0, 0.0], &[3.0, 4.0], 2).unwrap(), 5.0, 1e-15);
}

#[test]
fn wasserstein_in_closed_form() {
    // Sizes 1 and 2: all mass of the first goes to both of the second.
    close(wasserstein_1d(&[0.0], &[1.0, -3.0], 1.0).unwrap(), 2.0, 1e-15);
    close(wasserstein_1d(&[0.0], &[1.0, -3.0], 2.0).unwrap(), 5.0f64.sqrt(), 1e-15);
    close(wasserstein_1d(&[0.0], &[1.0, -3.0], 3.0).unwrap(), 14.0f64.cbrt(), 1e-15);
    // Repeating every value changes no distribution.
    let (a, b) = (noise(30, 7), noise(20, 8));
    let thrice: Vec<f64> = a.iter().flat_map(|&v| [v; 3]).collect();
    close(wasserstein_1d(&thrice, &b, 2.0).unwrap(), wasserstein_1d(&a, &b, 2.0).unwrap(), 1e-14);
    // A shift of everything is its own distance, in any direction's projection too.
    let shifted: Vec<f64> = a.iter().map(|v| v + 0.25).collect();
    close(wasserstein_1d(&a, &shifted, 1.0).unwrap(), 0.25, 1e-14);
    close(sliced_wasserstein_along(&a, &shifted, 1, &[1.0, -1.0], 2.0).unwrap(), 0.25, 1e-14);
}

/// Of diagonal Gaussians: `|mean|^2 + sum (sd_a - sd_b)^2`. Across panels of columns and blocks of rows.
#[test]
fn frechet_distance_in_closed_form() {
    // Rows +sd_i sqrt((n-1)/2) e_i and the same with a minus: covariance exactly diag(sd^2) with n = 2 d rows.
    let d = 200;
    let sample = |sd: &dyn Fn(usize) -> f64, shift: f64| -> Vec<f64> {
        let reach = ((2 * d - 1) as f64 / 2.0).sqrt();
        let row = |r: usize, c: usize| {
            if r / 2 != c { 0.0 } else { sd(c) * reach * if r.is_multiple_of(2) { 1.0 } else { -1.0 } }
        };
        (0..2 * d * d).map(|i| row(i / d, i % d) + shift).collect()
    };
    let (one, other) = (|c: usize| 1.0 + c as f64 / 100.0, |c: usize| 2.0 - c as f64 / 400.0);
    let expected = d as f64 * 0.25 + (0..d).map(|c| (one(c) - other(c)).powi(2)).sum::<f64>();
    close(frechet_distance(&sample(&one, 0.0), &sample(&other, 0.5), d).unwrap(), expected, 1e-10);
    let one = sample(&one, 0.0);
    assert!(frechet_distance(&one, &one, d).unwrap().abs() < 1e-8);
}

#[test]
fn neighbours_of_points_on_a_line() {
    // Balls of the real points (k = 1): 0 and 1 reach 1, 10 reaches 9.
    let (real, fake) = ([0.0, 1.0, 10.0], [0.5, 25.0, 1.5, 30.0]);
    let got = precision_recall(&real, &fake, 1, 1).unwrap();
    assert_eq!(got.precision, 0.5);
    // Balls of the generated ones: 0.5 and 1.5 reach 1, 25 and 30 reach 5.
    close(got.recall, 2.0 / 3.0, 1e-12);
    let got = density_coverage(&real, &fake, 1, 1).unwrap();
    // 0.5 lies in the balls of 0 and 1, 1.5 in those of 1 and 10.
    assert_eq!((got.density, got.coverage), (1.0, 1.0));
}

/// Of two real points and one more of the same law, the latter is as often nearer to a real one than the other as not.
#[test]
fn expected_coverage_in_closed_form() {
    close(expected_coverage(2, 1, 1), 0.5, 1e-15);
    // (n - 1) (n - 2) / ((n + m - 1) (n + m - 2)) are missed.
    close(expected_coverage(5, 7, 2), 1.0 - 4.0 * 3.0 / (11.0 * 10.0), 1e-15);
    // 0.97 for equal sizes and 5 neighbours, as Naeem et al. say.
    close(expected_coverage(10_000, 10_000, 5), 1.0 - 1.0 / 32.0, 1e-3);
    assert_eq!(expected_coverage(3, 9, 5), 1.0);
    assert_eq!(expected_coverage(9, 0, 5), 0.0);
    // Of 400 pairs of samples, 30 and 60 rows of two laws in the plane, within five standard errors.
    for law in [|x: f64| x, |x: f64| x * x * x] {
        let found: Vec<f64> = (0..400)
            .map(|set| {
                let rows = |n: usize, seed| noise(2 * n, seed).iter().map(|&x| law(x)).collect::<Vec<_>>();
                density_coverage(&rows(30, 2 * set + 1), &rows(60, 90_000 + 2 * set), 2, 3).unwrap().coverage
            })
            .collect();
        let mean = found.iter().sum::<f64>() / 400.0;
        let variance = found.iter().map(|c| (c - mean).powi(2)).sum::<f64>() / 399.0;
        close(mean, expected_coverage(30, 60, 3), 5.0 * (variance / 400.0).sqrt());
    }
}

#[test]
fn inception_score_in_closed_form() {
    let sharp: Vec<f64> = (0..12).flat_map(|i| (0..3).map(move |k| f64::from(i % 3 == k))).collect();
    let got = inception_score(&sharp, 3, 4).unwrap();
    close(got.mean, 3.0, 1e-12);
    assert!(got.std < 1e-12);
    close(inception_score(&[0.25f32; 40], 4, 1).unwrap().mean, 1.0, 1e-12);
}

#[test]
fn sliced_wasserstein_of_a_shift_is_the_mean_projection() {
    // Directions are uniform on the sphere: for a shift s, W_2^2 along theta is (s.theta)^2, whose mean is |s|^2 / d.
    let d = 5;
    let a = noise(40 * d, 9);
    let shifted: Vec<f64> = a.iter().enumerate().map(|(i, v)| v + [0.0, 0.0, 2.0, 0.0, 0.0][i % d]).collect();
    let got = sliced_wasserstein(&a, &shifted, d, 20_000, 2.0, 1).unwrap();
    // (s.theta)^2 has variance |s|^4 2 (d-1) / (d^2 (d+2)): five standard errors of the mean.
    let error = (16.0 * 8.0 / (25.0 * 7.0 * 20_000.0f64)).sqrt();
    close(got * got, 4.0 / 5.0, 5.0 * error);
    assert_eq!(got, sliced_wasserstein(&a, &shifted, d, 20_000, 2.0, 1).unwrap());
    assert_ne!(got, sliced_wasserstein(&a, &shifted, d, 20_000, 2.0, 2).unwrap());
}

#[test]
fn confusions_are_counted() {
    let logits = [2.0, 1.0, 0.0, /**/ 0.0, 3.0, 0.0, /**/ 0.0, 3.0, 0.0, /**/ 1.0, 1.0, 1.0];
    let confusion = Confusion::new(&logits, 3, &[0, 1, 0, 0]).unwrap();
    assert_eq!((confusion.count(0, 0), confusion.count(0, 1), confusion.count(1, 1)), (2, 1, 1));
    assert_eq!((confusion.count(2, 2), confusion.count(0, 3), confusion.count(9, 0)), (0, 0, 0));
    assert_eq!(confusion.accuracy(), 0.75);
    assert_eq!(confusion.recall(), [Some(2.0 / 3.0), Some(1.0), None]);
}

#[test]
fn the_number_of_threads_changes_no_bit() {
    let d = 24;
    let (a, b) = (noise(700 * d, 10), noise(333 * d, 11));
    let all = || {
        let kernels = [Kernel::kid(d), Kernel::Gaussian { bandwidth: 2.0 }];
        [
            mmd2(&a, &b, d, &kernels).unwrap(),
            sliced_wasserstein(&a, &b, d, 100, 1.0, 5).unwrap(),
            median_distance(&a, &b, d).unwrap(),
            frechet_distance(&a, &b, d).unwrap(),
            kid_subsets(&a, &b, d, (20, 100), 3).unwrap().mean,
            density_coverage(&a, &b, d, 5).unwrap().density,
        ]
    };
    let with = |threads| rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap().install(all);
    assert_eq!(with(1), with(5));
}

#[test]
fn bad_input_is_an_error() {
    let shape = |result: veridical::Result<f64>| assert!(matches!(result, Err(Error::Shape { .. })), "{result:?}");
    let argument =
        |result: veridical::Result<f64>| assert!(matches!(result, Err(Error::Argument { .. })), "{result:?}");
    let not_finite =
        |result: veridical::Result<f64>| assert!(matches!(result, Err(Error::NonFinite { .. })), "{result:?}");
    let good = [0.0, 1.0, 2.0, 3.0];

    shape(kid(&[], &good, 2));
    shape(kid(&good, &[], 2));
    shape(kid(&good, &good, 0));
    shape(kid(&good, &good, 3));
    shape(kid(&good[..2], &good, 2));
    for (subsets, size) in [(0, 2), (1, 1), (1, 3)] {
        argument(kid_subsets(&good, &good, 2, (subsets, size), 0).map(|found| found.mean));
    }
    shape(wasserstein_1d(&[], &good, 1.0));
    shape(sliced_wasserstein(&good, &[], 2, 8, 1.0, 0));
    shape(sliced_wasserstein_along(&good, &good, 2, &[], 1.0));
    shape(sliced_wasserstein_along(&good, &good, 2, &[1.0, 0.0, 1.0], 1.0));
    shape(median_distance::<f64>(&[], &[], 1));

    shape(frechet_distance(&good[..2], &good, 2));
    shape(precision_recall(&good, &good, 2, 2).map(|p| p.recall));
    shape(density_coverage(&good, &good, 2, usize::MAX).map(|p| p.density));
    shape(inception_score(&good, 2, 3).map(|s| s.mean));
    argument(precision_recall(&good, &good, 2, 0).map(|p| p.recall));
    argument(inception_score(&[0.5, 0.5, -0.1, 1.1], 2, 1).map(|s| s.mean));
    argument(inception_score(&[0.5, 0.5], 2, 0).map(|s| s.mean));

    for p in [0.5, f64::NAN, f64::INFINITY, -1.0] {
        argument(wasserstein_1d(&good, &good, p));
    }
    argument(sliced_wasserstein(&good, &good, 2, 0, 1.0, 0));
    argument(sliced_wasserstein(&good, &good, 2, usize::MAX, 1.0, 0));
    argument(sliced_wasserstein(&good, &good, 0, 8, 1.0, 0));
    argument(mmd2(&good, &good, 2, &[]));
    for bandwidth in [0.0, -1.0, f64::NAN] {
        argument(mmd2(&good, &good, 2, &[Kernel::Gaussian { bandwidth }]));
    }
    argument(mmd2(&good, &good, 2, &[Kernel::Polynomial { degree: 0, gamma: 1.0, coef: 1.0 }]));

    for value in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
        let bad = [0.0, 1.0, value, 3.0];
        not_finite(kid(&bad, &good, 2));
        not_finite(kid(&good, &bad, 2));
        not_finite(wasserstein_1d(&good, &bad, 2.0));
        not_finite(frechet_distance(&good, &bad, 2));
        not_finite(density_coverage(&bad, &good, 2, 1).map(|p| p.density));
        not_finite(sliced_wasserstein(&bad, &good, 2, 8, 1.0, 0));
        not_finite(classification(&bad, 2, &[0, 1], 15).map(|c| c.nll));
    }
    not_finite(kid(&[1e200; 4], &good, 2));

    shape(classification(&good, 2, &[0], 15).map(|c| c.nll));
    argument(classification(&good, 2, &[0, 2], 15).map(|c| c.nll));
    argument(classification(&good, 2, &[0, 1], 0).map(|c| c.nll));
    argument(Confusion::new(&[0.0; 5000], 5000, &[0]).map(|c| c.accuracy()));
}
