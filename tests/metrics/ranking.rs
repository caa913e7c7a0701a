//! Rankings and predictions of any number of labels: reference values, closed forms, bad input.

use veridical::Error;
use veridical::metrics::{multilabel_f1, ranking};

use super::{Case, close, noise};

pub fn run(op: &str, case: &Case) {
    let ((scores, shape), targets) = (case.input("scores"), case.labels("target"));
    let targets: Vec<u8> = targets.into_iter().map(|target| target as u8).collect();
    if op == "multilabel_f1" {
        let got = multilabel_f1(&scores, &targets, shape[1], case.param("threshold")).unwrap();
        case.compare("micro_f1", got.micro);
        case.compare("macro_f1", got.macro_mean);
        return;
    }
    let got = ranking(&scores, &targets, shape[1], &[1, 3, 5]).unwrap();
    case.compare("p_at_1", got.at(1).unwrap().precision);
    case.compare("p_at_3", got.at(3).unwrap().precision);
    case.compare("p_at_5", got.at(5).unwrap().precision);
    case.compare("f_at_3", got.at(3).unwrap().f);
    case.compare("f_at_5", got.at(5).unwrap().f);
    case.compare("map", got.map);
    case.compare("mrr", got.mrr);
    assert_eq!(got.rows + got.left_out, shape[0]);
    assert_eq!(got.at(2), None);
}

#[test]
fn rankings_in_closed_form() {
    // Ranks 1 and 4 of five; a row without labels; ties, where the first label comes first, also between two zeros.
    let scores = [0.9, 0.1, 0.5, 0.2, 0.3, /**/ 1.0, 1.0, 1.0, 1.0, 1.0, /**/ 0.0, -0.0, 0.0, -1.0, -2.0f32];
    let targets = [1, 0, 0, 1, 0, /**/ 0, 0, 0, 0, 0, /**/ 0, 1, 0, 0, 0];
    let got = ranking(&scores, &targets, 5, &[1, 4]).unwrap();
    assert_eq!((got.rows, got.left_out), (2, 1));
    close(got.mrr, (1.0 + 0.5) / 2.0, 1e-15);
    close(got.map, ((1.0 + 2.0 / 4.0) / 2.0 + 0.5) / 2.0, 1e-15);
    let (one, four) = (got.at(1).unwrap(), got.at(4).unwrap());
    close(one.precision, 0.5, 1e-15);
    close(one.recall, 0.25, 1e-15);
    close(one.f, (2.0 / 3.0) / 2.0, 1e-15);
    close(four.precision, (0.5 + 0.25) / 2.0, 1e-15);
    close(four.recall, 1.0, 1e-15);
    close(four.f, (2.0 / 3.0 + 0.4) / 2.0, 1e-15);

    // Scores that are the targets rank perfectly, their negatives worst.
    let targets: Vec<u8> = noise(40 * 7, 3).iter().map(|v| u8::from(*v > 0.2)).collect();
    let scores: Vec<f64> = targets.iter().map(|&t| f64::from(t)).collect();
    let best = ranking(&scores, &targets, 7, &[1]).unwrap();
    assert_eq!((best.map, best.mrr, best.at(1).unwrap().precision), (1.0, 1.0, 1.0));
    let f1 = multilabel_f1(&scores, &targets, 7, 0.5).unwrap();
    assert_eq!((f1.micro, f1.macro_mean), (1.0, 1.0));
}

#[test]
fn f1_in_closed_form() {
    // Label 0: TP 1, FP 1; label 1: FN 1, TP 1; label 2 never occurs and is never predicted. A score at the threshold
    // counts.
    let scores = [0.5, 0.1, 0.0, /**/ 0.9, 0.7, 0.2];
    let got = multilabel_f1(&scores, &[1, 1, 0, 0, 1, 0], 3, 0.5).unwrap();
    close(got.micro, 4.0 / 6.0, 1e-15);
    close(got.macro_mean, (2.0 / 3.0 + 2.0 / 3.0) / 3.0, 1e-15);
    assert_eq!(multilabel_f1(&[0.0], &[0], 1, 0.5).unwrap().micro, 0.0);
}

#[test]
fn threads_change_no_bit_of_a_ranking() {
    let scores = noise(500 * 31, 5);
    let targets: Vec<u8> = noise(500 * 31, 6).iter().map(|v| u8::from(*v > 0.8)).collect();
    let with = |threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| ranking(&scores, &targets, 31, &[3, 5]).unwrap())
    };
    assert_eq!(with(1), with(5));
}

#[test]
fn bad_scores_and_targets_are_errors() {
    let scores = [0.1, 0.2, 0.3, 0.4];
    let argument = |cutoffs: &[usize], targets: &[u8]| {
        let result = ranking(&scores, targets, 2, cutoffs);
        assert!(matches!(result, Err(Error::Argument { .. })), "{result:?}");
    };
    argument(&[0], &[1, 0, 0, 0]);
    argument(&[3], &[1, 0, 0, 0]);
    argument(&[1], &[0; 4]);
    argument(&[1], &[0, 1, 2, 0]);
    for (labels, targets) in [(3, vec![0; 4]), (0, vec![0; 4]), (2, vec![0; 3])] {
        assert!(matches!(ranking(&scores, &targets, labels, &[1]), Err(Error::Shape { .. })));
        assert!(matches!(multilabel_f1(&scores, &targets, labels, 0.5), Err(Error::Shape { .. })));
    }
    assert!(matches!(ranking::<f64>(&[], &[], 2, &[1]), Err(Error::Shape { .. })));
    let bad = [0.1, f64::NAN];
    assert!(matches!(ranking(&bad, &[1, 0], 2, &[1]), Err(Error::NonFinite { .. })));
    assert!(matches!(multilabel_f1(&bad, &[1, 0], 2, 0.5), Err(Error::NonFinite { .. })));
    assert!(matches!(multilabel_f1(&scores, &[1, 0, 0, 0], 2, f64::NAN), Err(Error::Argument { .. })));
}
