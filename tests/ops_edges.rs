//! What the op table cannot say of the normalisations, softmax, losses and attention: mixed dtypes, values that are not
//! finite, and arguments that do not fit.

#[path = "ops_edges/batch_norm.rs"]
mod batch_norm;
#[path = "ops_edges/contrastive.rs"]
mod contrastive;
#[path = "ops_edges/far_from_zero.rs"]
mod far_from_zero;
mod hardware;
#[path = "ops_edges/windows.rs"]
mod windows;

use half::bf16;
use hardware::devices;
use veridical::autograd::Backward;
use veridical::{DType, Device, Tape, Tensor, Var, ops};

fn values(n: usize, scale: f32) -> Vec<f32> {
    (0..n).map(|i| ((i * 7919 % 1009) as f32 / 504.5 - 1.0) * scale).collect()
}

fn error(result: veridical::Result<Var>) -> String {
    result.unwrap_err().to_string()
}

mod group_norm {
    use super::*;

    /// bf16 images with f32 weights: the same result as with everything in f32, up to the rounding of x, y and dy.
    #[test]
    fn takes_f32_weights_beside_bf16_images() {
        let (shape, channels) = ([2, 3, 3, 12], 12);
        let x: Vec<bf16> = values(2 * 9 * 12, 2.0).into_iter().map(bf16::from_f32).collect();
        let widened: Vec<f32> = x.iter().map(|x| x.to_f32()).collect();
        // Not representable in bf16.
        let gamma: Vec<f32> = values(channels, 1.0).iter().map(|x| x + 1.001).collect();
        let beta = values(channels, 0.5);
        for device in devices() {
            let run = |x: Tensor| {
                let tape = Tape::new();
                let leaf = |data: &[f32]| tape.leaf(Tensor::from_slice(data, [channels], &device).unwrap());
                let (x, gamma, beta) = (tape.leaf(x), leaf(&gamma), leaf(&beta));
                let y = ops::group_norm_silu(&x, &gamma, &beta, 3, 1e-5).unwrap();
                assert_eq!(y.dtype(), x.dtype());
                let dy = Tensor::full(1.0, shape, x.dtype(), &device).unwrap();
                let gradients = y.backward_with(Backward { cotangent: Some(dy), ..Default::default() }).unwrap();
                let of = |var| gradients.get(var).unwrap().to_f64().unwrap();
                assert_eq!(gradients.get(&gamma).unwrap().dtype(), DType::F32);
                [y.value().to_f64().unwrap(), of(&x), of(&gamma), of(&beta)]
            };
            let narrow = run(Tensor::from_slice(&x, shape, &device).unwrap());
            let wide = run(Tensor::from_slice(&widened, shape, &device).unwrap());
            for (which, (narrow, wide)) in narrow.iter().zip(&wide).enumerate() {
                // x and the weights are equal, so gamma's and beta's gradients round in f32 only.
                let tolerance = if which < 2 { 4e-3 } else { 2e-6 };
                let scale = wide.iter().fold(0f64, |max, x| max.max(x.abs()));
                for (a, b) in narrow.iter().zip(wide) {
                    assert!((a - b).abs() <= tolerance * scale, "{device}, tensor {which}: {a} and {b}");
                }
            }
        }
    }

    /// E[x^2] - E[x]^2 would be left with nothing here.
    #[test]
    fn survives_a_mean_far_from_zero() {
        for device in devices() {
            let x: Vec<f32> = (0..64).map(|i| 10_000.0 + (i % 2) as f32).collect();
            let x = Var::constant(Tensor::from_slice(&x, [1, 16, 4], &device).unwrap());
            let ones = Var::constant(Tensor::full(1.0, [4], DType::F32, &device).unwrap());
            let zeros = Var::constant(Tensor::zeros([4], DType::F32, &device).unwrap());
            let y = ops::group_norm(&x, &ones, &zeros, 2, 1e-5).unwrap().value().to_f64().unwrap();
            for (i, y) in y.iter().enumerate() {
                let expected = if i % 2 == 0 { -1.0 } else { 1.0 };
                assert!((y - expected).abs() < 1e-3, "{device}: {y}");
            }
        }
    }

    #[test]
    fn says_what_does_not_fit() {
        let of = |shape: &[usize], dtype| Var::constant(Tensor::zeros(shape, dtype, &Device::Cpu).unwrap());
        let (x, c, wrong) = (of(&[2, 3, 6], DType::F32), of(&[6], DType::F32), of(&[5], DType::F32));
        let text = error(ops::group_norm(&x, &c, &c, 4, 1e-5));
        assert!(text.contains("groups must divide the 6 channels, got 4"), "{text}");
        let text = error(ops::group_norm(&x, &c, &c, 0, 1e-5));
        assert!(text.contains("got 0"), "{text}");
        let text = error(ops::group_norm_silu(&x, &c, &wrong, 2, 1e-5));
        assert!(text.contains("group_norm_silu") && text.contains("[5]"), "{text}");
        let text = error(ops::group_norm(&x, &c, &c, 2, 0.0));
        assert!(text.contains("eps must be positive"), "{text}");
        let text = error(ops::group_norm(&x, of(&[6], DType::F64), &c, 2, 1e-5));
        assert!(text.contains("f64"), "{text}");
        assert!(ops::group_norm(of(&[6], DType::F32), &c, &c, 2, 1e-5).is_err());
    }
}

mod softmax {
    use super::*;

    const INF: f32 = f32::INFINITY;

    #[test]
    fn treats_infinities_and_nan_alike_on_every_device() {
        let rows =
            [[-INF, 0.0, 0.0], [-INF; 3], [f32::NAN, 0.0, 1.0], [-INF, f32::NAN, -INF], [INF, 0.0, 0.0], [3e38; 3]];
        let (half, third, nan) = (0.5, 1.0 / 3.0, f64::NAN);
        let expected = [[0.0, half, half], [0.0; 3], [nan; 3], [nan; 3], [nan; 3], [third; 3]];
        // Many rows are handled side by side.
        for (device, repeats) in devices().into_iter().flat_map(|device| [(device.clone(), 1), (device, 13)]) {
            let (rows, expected) = (rows.repeat(repeats), expected.repeat(repeats));
            let tape = Tape::new();
            let x = tape.leaf(Tensor::from_slice(rows.as_flattened(), [rows.len(), 3], &device).unwrap());
            let y = ops::softmax(&x).unwrap();
            let log = ops::log_softmax(&x).unwrap().value().to_f64().unwrap();
            for (i, (&y, &expected)) in y.value().to_f64().unwrap().iter().zip(expected.as_flattened()).enumerate() {
                let same = |a: f64, b: f64| a == b || (a - b).abs() < 1e-6 || (a.is_nan() && b.is_nan());
                assert!(same(y, expected), "{device}: element {i} is {y}, expected {expected}");
                assert!(same(log[i], expected.ln()), "{device}: log of element {i} is {}", log[i]);
            }
            let dy = Tensor::full(1.5, [rows.len(), 3], DType::F32, &device).unwrap();
            let gradients = y.backward_with(Backward { cotangent: Some(dy), ..Default::default() }).unwrap();
            let dx = gradients.get(&x).unwrap().to_f64().unwrap();
            assert!(dx[..6].iter().all(|dx| dx.abs() < 1e-6), "{device}: {dx:?}");
        }
    }

    #[test]
    fn says_what_does_not_fit() {
        let scalar = Var::constant(Tensor::scalar(1.0, DType::F32, &Device::Cpu).unwrap());
        assert!(error(ops::softmax(&scalar)).contains("softmax: expected x [..., k]"));
        let labels = Var::constant(Tensor::from_slice(&[1u32], [1], &Device::Cpu).unwrap());
        assert!(error(ops::log_softmax(&labels)).contains("log_softmax"));
    }
}

mod cross_entropy {
    use super::*;

    fn loss(logits: &[f32], labels: &[u32], device: &Device) -> veridical::Result<(f64, Vec<f64>)> {
        let tape = Tape::new();
        let shape = [labels.len(), logits.len() / labels.len()];
        let x = tape.leaf(Tensor::from_slice(logits, shape, device)?);
        let loss = ops::cross_entropy(&x, &Tensor::from_slice(labels, [labels.len()], device)?)?;
        let gradients = loss.backward()?;
        Ok((loss.value().item()?, gradients.get(&x).unwrap().to_f64()?))
    }

    #[test]
    fn a_label_that_does_not_exist_is_an_error_or_nan() {
        for device in devices() {
            let result = loss(&[0.0, 1.0, 2.0, 3.0], &[1, 2], &device);
            match device {
                Device::Cpu => {
                    let text = result.unwrap_err().to_string();
                    assert!(text.contains("label 2 in row 1") && text.contains("below 2"), "{text}");
                }
                Device::Gpu(_) => {
                    let (loss, gradient) = result.unwrap();
                    assert!(loss.is_nan(), "{device}: {loss}");
                    assert!(gradient[..2].iter().all(|x| x.is_finite()), "{device}: {gradient:?}");
                    assert!(gradient[2..].iter().all(|x| x.is_nan()), "{device}: {gradient:?}");
                }
            }
        }
    }

    #[test]
    fn logits_that_are_not_finite() {
        let inf = f32::INFINITY;
        for device in devices() {
            assert!(loss(&[f32::NAN, 1.0], &[1], &device).unwrap().0.is_nan(), "{device}");
            let (value, gradient) = loss(&[-inf, 0.0, 0.0], &[2], &device).unwrap();
            assert!((value - 2f64.ln()).abs() < 1e-6, "{device}: {value}");
            // A GPU's exponential is not rounded correctly.
            let off = gradient.iter().zip([0.0, 0.5, -0.5]).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
            assert!(off < 1e-6, "{device}: {gradient:?}");
            assert_eq!(loss(&[-inf, 0.0], &[0], &device).unwrap().0, f64::INFINITY, "{device}");
            let (value, gradient) = loss(&[3e38, -3e38], &[0], &device).unwrap();
            assert_eq!((value, gradient.as_slice()), (0.0, &[0.0, 0.0][..]), "{device}");
        }
    }

    #[test]
    fn says_what_does_not_fit() {
        let x = |shape: &[usize]| Var::constant(Tensor::zeros(shape, DType::F32, &Device::Cpu).unwrap());
        let labels = |n: usize| Tensor::zeros([n], DType::U32, &Device::Cpu).unwrap();
        assert!(error(ops::cross_entropy(x(&[0, 3]), &labels(0))).contains("at least one row"));
        assert!(error(ops::cross_entropy(x(&[3, 0]), &labels(3))).contains("at least one row and one class"));
        assert!(error(ops::cross_entropy(x(&[3, 2]), &labels(2))).contains("labels [3]"));
        let floats = Tensor::zeros([3], DType::F32, &Device::Cpu).unwrap();
        assert!(error(ops::cross_entropy(x(&[3, 2]), &floats)).contains("labels of u32"));
        assert!(error(ops::cross_entropy(x(&[3]), &labels(3))).contains("logits [b, k]"));
    }
}

mod attention {
    use super::*;

    /// Scores far apart: a plain exponential would overflow, and each query follows one key.
    #[test]
    fn large_scores_do_not_overflow() {
        for device in devices() {
            let of = |data: &[f32]| Var::constant(Tensor::from_slice(data, [1, 3, 1], &device).unwrap());
            let (q, k, v) = (of(&[1e4, -1e4, 0.0]), of(&[3.0, -2.0, 1.0]), of(&[7.0, 5.0, 3.0]));
            let y = ops::attention(&q, &k, &v, 1, false).unwrap().value().to_f64().unwrap();
            assert!(y.iter().zip([7.0, 5.0, 5.0]).all(|(y, expected)| (y - expected).abs() < 1e-5), "{device}: {y:?}");
        }
    }

    /// What a query does not see has no part in its result; what it sees has.
    #[test]
    fn causal_queries_do_not_see_what_comes_later() {
        for device in devices() {
            let tokens = 70;
            let mut data = values(tokens * 2, 1.0);
            let of = |data: &[f32]| Var::constant(Tensor::from_slice(data, [1, tokens, 2], &device).unwrap());
            let before = ops::attention(of(&data), of(&data), of(&data), 1, true).unwrap().value().to_f64().unwrap();
            data[66 * 2..].fill(9.0);
            let after = ops::attention(of(&data), of(&data), of(&data), 1, true).unwrap().value().to_f64().unwrap();
            assert_eq!(before[..66 * 2], after[..66 * 2], "{device}");
            assert!(before[66 * 2..].iter().zip(&after[66 * 2..]).all(|(a, b)| a != b), "{device}");
        }
    }

    #[test]
    fn says_what_does_not_fit() {
        let of = |shape: &[usize], device: &Device| Var::constant(Tensor::zeros(shape, DType::F32, device).unwrap());
        let x = of(&[2, 3, 6], &Device::Cpu);
        assert!(error(ops::attention(&x, &x, &x, 4, false)).contains("heads must divide the 6 channels, got 4"));
        assert!(error(ops::attention(&x, of(&[2, 4, 6], &Device::Cpu), &x, 1, false)).contains("[2, 4, 6]"));
        let flat = of(&[3, 6], &Device::Cpu);
        assert!(error(ops::attention(&flat, &flat, &flat, 1, false)).contains("[b, t, d]"));
        for device in devices() {
            let wide = of(&[1, 2, 300], &device);
            let result = ops::attention(&wide, &wide, &wide, 1, false);
            match device {
                Device::Cpu => assert!(result.is_ok()),
                Device::Gpu(_) => assert!(error(result).contains("at most 256"), "{device}"),
            }
        }
    }
}

mod sums {
    use super::*;

    /// The order of a sum is that of its shape: where the tensor begins in memory is nothing to its bits.
    #[test]
    fn have_the_bits_of_their_shape() {
        for device in devices() {
            for dtype in [DType::F32, DType::BF16] {
                for (rows, columns) in [(300, 64), (5000, 8), (70, 24), (33, 7)] {
                    let all = Tensor::from_vec(values(rows * columns + 1, 3.0), [rows * columns + 1], &device).unwrap();
                    let all = ops::cast(&all, dtype).unwrap().into_value();
                    let inside = all.narrow(1, rows * columns).unwrap().reshape([rows, columns]).unwrap();
                    let apart = Tensor::zeros([rows, columns], dtype, &device).unwrap();
                    let apart = ops::add(&apart, &inside).unwrap();
                    for axis in [0, 1] {
                        let sum = |x: Var| ops::sum(x, &[axis]).unwrap().value().to_f64().unwrap();
                        let (inside, apart) = (sum((&inside).into()), sum(apart.clone()));
                        assert!(inside == apart, "{rows}x{columns} over axis {axis} in {dtype} on {device}");
                    }
                }
            }
        }
    }
}
