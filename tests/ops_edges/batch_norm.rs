//! Batch normalisation in mixed dtypes, its statistics, and arguments that do not fit.

use half::bf16;
use veridical::autograd::Backward;
use veridical::ops::BatchStatistics;
use veridical::{DType, Device, Tape, Tensor, Var, ops};

use super::hardware::devices;
use super::{error, values};

/// bf16 images with f32 weights: the same result as with everything in f32, up to the rounding of x, y and dy.
#[test]
fn takes_f32_weights_beside_bf16_images() {
    let (shape, channels) = ([2, 3, 3, 8], 8);
    let x: Vec<bf16> = values(2 * 9 * 8, 2.0).into_iter().map(bf16::from_f32).collect();
    let widened: Vec<f32> = x.iter().map(|x| x.to_f32()).collect();
    let gamma: Vec<f32> = values(channels, 1.0).iter().map(|x| x + 1.001).collect();
    for device in devices() {
        let run = |x: Tensor| {
            let tape = Tape::new();
            let leaf = |data: &[f32]| tape.leaf(Tensor::from_slice(data, [channels], &device).unwrap());
            let (x, gamma, beta) = (tape.leaf(x), leaf(&gamma), leaf(&values(channels, 0.5)));
            let (y, _) = ops::batch_norm(&x, &gamma, &beta, 1e-5).unwrap();
            assert_eq!(y.dtype(), x.dtype());
            let dy: Vec<f32> = (0..x.value().len()).map(|i| (i % 7) as f32 - 2.0).collect();
            let dy = Tensor::from_slice(&dy, shape, &device).unwrap();
            let dy = ops::cast(dy, x.dtype()).unwrap().into_value();
            let gradients = y.backward_with(Backward { cotangent: Some(dy), ..Default::default() }).unwrap();
            let of = |var| gradients.get(var).unwrap().to_f64().unwrap();
            assert_eq!(gradients.get(&gamma).unwrap().dtype(), DType::F32);
            [y.value().to_f64().unwrap(), of(&x), of(&gamma), of(&beta)]
        };
        let narrow = run(Tensor::from_slice(&x, shape, &device).unwrap());
        let wide = run(Tensor::from_slice(&widened, shape, &device).unwrap());
        for (which, (narrow, wide)) in narrow.iter().zip(&wide).enumerate() {
            let tolerance = if which < 2 { 4e-3 } else { 4e-6 };
            let scale = wide.iter().fold(0f64, |max, x| max.max(x.abs()));
            for (a, b) in narrow.iter().zip(wide) {
                assert!((a - b).abs() <= tolerance * scale, "{device}, tensor {which}: {a} and {b}");
            }
        }
    }
}

/// The statistics that it returns are those of the batch, and by them it does the same again.
#[test]
fn returns_what_it_normalised_by() {
    for device in devices() {
        let x = Tensor::from_slice(&[1f32, -1.0, 2.0, 0.0, 3.0, 4.0, 6.0, 1.0], [4, 2], &device).unwrap();
        let gamma = Tensor::from_slice(&[2f32, -1.0], [2], &device).unwrap();
        let beta = Tensor::from_slice(&[0.5f32, 3.0], [2], &device).unwrap();
        let (y, by) = ops::batch_norm(&x, &gamma, &beta, 1e-5).unwrap();
        assert_eq!(by.mean.to_f64().unwrap(), [3.0, 1.0], "{device}");
        assert_eq!(by.variance.to_f64().unwrap(), [3.5, 3.5], "{device}");
        let again = ops::batch_norm_with(&x, &gamma, &beta, &by, 1e-5).unwrap();
        let [y, again] = [y, again].map(|y| y.value().to_f64().unwrap());
        let off = y.iter().zip(&again).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
        assert!(off < 1e-6, "{device}: {off}");
    }
}

#[test]
fn says_what_does_not_fit() {
    let of = |shape: &[usize], dtype| Var::constant(Tensor::zeros(shape, dtype, &Device::Cpu).unwrap());
    let (x, c, wrong) = (of(&[2, 3, 6], DType::F32), of(&[6], DType::F32), of(&[5], DType::F32));
    let run = |x: &Var, gamma: &Var, beta: &Var, eps| ops::batch_norm(x, gamma, beta, eps).map(|(y, _)| y);
    assert!(error(run(&of(&[1, 6], DType::F32), &c, &c, 1e-5)).contains("two or more values for each channel"));
    assert!(error(run(&of(&[0, 6], DType::F32), &c, &c, 1e-5)).contains("two or more values for each channel"));
    assert!(error(run(&x, &c, &wrong, 1e-5)).contains("gamma and beta [6]"));
    assert!(error(run(&x, &c, &c, 0.0)).contains("eps must be positive, got 0"));
    assert!(error(run(&x, &c, &c, f64::NAN)).contains("eps must be positive"));
    assert!(error(run(&x, &of(&[6], DType::F64), &c, 1e-5)).contains("f64"));
    assert!(error(run(&of(&[], DType::F32), &c, &c, 1e-5)).contains("x [n, ..., c]"));
    assert!(error(run(&of(&[2, 6], DType::U32), &c, &c, 1e-5)).contains("floating-point"));
    let by = |shape: &[usize], dtype| {
        let statistics = of(shape, dtype).into_value();
        BatchStatistics { mean: statistics.clone(), variance: statistics }
    };
    let given = |by: &BatchStatistics| ops::batch_norm_with(&x, &c, &c, by, 1e-5);
    assert!(given(&by(&[6], DType::F32)).is_ok());
    assert!(error(given(&by(&[5], DType::F32))).contains("statistics [6]"));
    assert!(error(given(&by(&[6], DType::F64))).contains("statistics in f32"));
}
