//! Pooling and transposed convolutions: NaN, ties, derivatives of derivatives, and arguments that do not fit.

use veridical::autograd::Backward;
use veridical::{DType, Device, Tape, Tensor, Var, ops};

use super::error;
use super::hardware::devices;

fn zeros(shape: &[usize]) -> Var {
    Tensor::zeros(shape, DType::F32, &Device::Cpu).unwrap().into()
}

/// A NaN is the maximum, an infinity is a number, and the first of equal ones counts.
#[test]
fn maxima_of_nan_infinities_and_ties() {
    let (nan, inf) = (f32::NAN, f32::INFINITY);
    // One row of windows of 2 x 2: rows of the image first.
    let rows: [[f32; 12]; 2] = [
        [1.0, nan, nan, 3.0, -inf, -inf, 7.0, 7.0, inf, 2.0, -0.0, 0.0],
        [2.0, 3.0, nan, nan, -inf, -inf, 7.0, 9.0, inf, nan, 0.0, -1.0],
    ];
    let expected = [nan, nan, -inf, 9.0, nan, 0.0];
    let places = [[0, 1], [0, 2], [0, 4], [1, 7], [1, 9], [0, 10]];
    for device in devices() {
        let tape = Tape::new();
        let x = tape.leaf(Tensor::from_slice(rows.as_flattened(), [1, 2, 12, 1], &device).unwrap());
        let (y, maxima) = ops::max_pool2d_with_maxima(&x, 2, 2).unwrap();
        for (&found, expected) in y.value().to_f64().unwrap().iter().zip(expected) {
            let expected = f64::from(expected);
            assert!(found == expected || found.is_nan() && expected.is_nan(), "{device}: {found}, not {expected}");
        }
        let dy = Tensor::from_slice(&[1f32, 2.0, 3.0, 4.0, 5.0, 6.0], [1, 1, 6, 1], &device).unwrap();
        let options = Backward { cotangent: Some(dy), ..Default::default() };
        let dx = y.backward_with(options).unwrap().of(&x).unwrap().to_f64().unwrap();
        let mut by_hand = [0.0; 24];
        for (i, [row, column]) in places.into_iter().enumerate() {
            by_hand[row * 12 + column] = i as f64 + 1.0;
        }
        assert_eq!(dx, by_hand, "{device}");
        // The places again, of another tensor.
        let other: Vec<f32> = (0..24).map(|i| i as f32).collect();
        let other = Tensor::from_slice(&other, [1, 2, 12, 1], &device).unwrap();
        let there = maxima.gather(&other).unwrap().value().to_f64().unwrap();
        assert_eq!(there, places.map(|[row, column]| (row * 12 + column) as f64), "{device}");
    }
}

/// To gather and to scatter are each other's gradient, without end.
#[test]
fn gathering_and_scattering_are_adjoint() {
    for device in devices() {
        let of = |n: usize, shape: &[usize], step: usize| {
            let values: Vec<f32> = (0..n).map(|i| (i * step % 17) as f32 - 8.0).collect();
            Tensor::from_slice(&values, shape, &device).unwrap()
        };
        let (_, maxima) = ops::max_pool2d_with_maxima(of(50, &[1, 5, 5, 2], 7), 3, 1).unwrap();
        let tape = Tape::new();
        let (x, y) = (of(50, &[1, 5, 5, 2], 5), of(18, &[1, 3, 3, 2], 3));
        let dot = |a: &Tensor, b: &Tensor| -> f64 {
            a.to_f64().unwrap().iter().zip(b.to_f64().unwrap()).map(|(a, b)| a * b).sum()
        };
        let leaf = tape.leaf(x.clone());
        let gathered = maxima.gather(&leaf).unwrap();
        let scattered = maxima.scatter(&y).unwrap();
        assert_eq!(dot(gathered.value(), &y), dot(&x, scattered.value()), "{device}");
        let options = Backward { cotangent: Some(y.clone()), ..Default::default() };
        let gradient = gathered.backward_with(options).unwrap().of(&leaf).unwrap();
        assert_eq!(gradient.to_f64().unwrap(), scattered.value().to_f64().unwrap(), "{device}");
    }
}

#[test]
fn pooling_says_what_does_not_fit() {
    let x = zeros(&[2, 4, 3, 5]);
    let pools: [fn(&Var, usize, usize) -> veridical::Result<Var>; 2] = [
        |x, kernel, stride| ops::max_pool2d(x, kernel, stride),
        |x, kernel, stride| ops::avg_pool2d(x, kernel, stride),
    ];
    for pool in pools {
        assert!(error(pool(&x, 4, 1)).contains("at least 4x4 pixels"));
        assert!(error(pool(&x, 0, 1)).contains("must be positive, got 0 and 1"));
        assert!(error(pool(&x, 2, 0)).contains("must be positive, got 2 and 0"));
        assert!(error(pool(&zeros(&[4, 3, 5]), 2, 2)).contains("[n, h, w, c]"));
        let labels: Var = Tensor::zeros([1, 2, 2, 1], DType::U32, &Device::Cpu).unwrap().into();
        assert!(error(pool(&labels, 2, 2)).contains("floating-point"));
        // A stride beyond the image leaves one window.
        assert_eq!(pool(&x, 3, usize::MAX).unwrap().shape()[..], [2, 1, 1, 5]);
    }
    let (_, maxima) = ops::max_pool2d_with_maxima(&x, 2, 2).unwrap();
    assert!(error(maxima.gather(zeros(&[2, 4, 4, 5]))).contains("[2, 4, 3, 5], as pooled"));
    assert!(error(maxima.scatter(&x)).contains("[2, 2, 1, 5], as pooled"));
    let labels = Tensor::zeros([2, 4, 3, 5], DType::U32, &Device::Cpu).unwrap();
    assert!(maxima.gather(labels).is_err());
}

#[test]
fn transposed_convolutions_say_what_does_not_fit() {
    let (x, w) = (zeros(&[2, 3, 4, 6]), zeros(&[6, 5, 5, 7]));
    let run = |w: &Var, bias: Option<&Var>, stride, padding, output_padding| {
        ops::conv_transpose2d(&x, w, bias, stride, padding, output_padding)
    };
    assert_eq!(run(&w, None, 2, 2, 1).unwrap().shape()[..], [2, 6, 8, 7]);
    assert!(error(run(&w, None, 2, 2, 2)).contains("output_padding must be below the stride 2, got 2"));
    assert!(error(run(&w, None, 0, 2, 0)).contains("stride not 0"));
    assert!(error(run(&w, None, 1, 1 << 20, 0)).contains("must be below"));
    assert!(error(run(&w, None, 1, 6, 0)).contains("leave pixels"));
    assert!(error(run(&zeros(&[7, 5, 5, 6]), None, 2, 2, 1)).contains("a weight [6, kernel, kernel, out]"));
    assert!(error(run(&zeros(&[6, 5, 4, 7]), None, 2, 2, 1)).contains("a weight [6, kernel, kernel, out]"));
    assert!(error(run(&w, Some(&zeros(&[6])), 2, 2, 1)).contains("a bias [7]"));
    assert!(error(ops::conv_transpose2d(zeros(&[3, 4, 6]), &w, None, 2, 2, 1)).contains("[batch, height, width, in]"));
    assert!(error(ops::conv_transpose2d(zeros(&[1, 0, 4, 6]), &w, None, 2, 2, 1)).contains("leave pixels"));
    let doubles: Var = Tensor::zeros([6, 5, 5, 7], DType::F64, &Device::Cpu).unwrap().into();
    assert!(error(run(&doubles, None, 2, 2, 1)).contains("f64"));
    let tall = zeros(&[1, 1 << 20, 1, 0]);
    assert!(error(ops::conv_transpose2d(tall, zeros(&[0, 1, 1, 1]), None, 1 << 14, 0, 0)).contains("below 2^30"));
}
