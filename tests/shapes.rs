//! What the op table cannot say of the operations that move elements: integer tensors, changes of dtype, refusals.

mod hardware;

use half::bf16;
use hardware::devices;
use veridical::{DType, Device, Tape, Tensor, Var, ops};

const CPU: Device = Device::Cpu;

fn counting(shape: &[usize], device: &Device) -> Var {
    let count: usize = shape.iter().product();
    Tensor::from_slice(&(0..count as u32).collect::<Vec<_>>(), shape, device).unwrap().into()
}

fn text<T: std::fmt::Debug>(result: veridical::Result<T>) -> String {
    result.unwrap_err().to_string()
}

#[test]
fn integers_are_moved_too() {
    for device in devices() {
        let x = counting(&[2, 3], &device);
        let list = |y: veridical::Result<Var>| y.unwrap().value().to_vec::<u32>().unwrap();
        assert_eq!(list(ops::concat(&[&x, &x], 1)), [0, 1, 2, 0, 1, 2, 3, 4, 5, 3, 4, 5]);
        assert_eq!(list(ops::slice(&x, 1, 1..3)), [1, 2, 4, 5]);
        assert_eq!(list(ops::transpose(&x, 0, 1)), [0, 3, 1, 4, 2, 5]);
        // Bits that are a signalling NaN as an f32 stay as they are.
        let odd: Var = Tensor::from_slice(&[0x7f80_0001u32, 7], [2, 1], &device).unwrap().into();
        assert_eq!(list(ops::transpose(&odd, 0, 1)), [0x7f80_0001, 7]);
        assert_eq!(list(ops::concat(&[&odd, &odd], 1)), [0x7f80_0001, 0x7f80_0001, 7, 7]);
    }
}

#[test]
fn cast_changes_the_dtype_and_its_gradient_changes_back() {
    for device in devices() {
        let tape = Tape::new();
        let x = tape.leaf(Tensor::from_slice(&[1.0f32, 1.0 + 1.0 / 256.0, -3.0], [3], &device).unwrap());
        let y = ops::cast(&x, DType::BF16).unwrap();
        assert_eq!(y.value().to_vec::<bf16>().unwrap(), [1.0, 1.0, -3.0].map(bf16::from_f32));
        let gradients = ops::sum(&y, &[0]).unwrap().backward().unwrap();
        assert_eq!(gradients.get(&x).unwrap().to_vec::<f32>().unwrap(), [1.0; 3]);
    }
    let x: Var = Tensor::from_slice(&[0.1f64, 2.0], [2], &CPU).unwrap().into();
    let single = ops::cast(&x, DType::F32).unwrap();
    assert_eq!(single.value().to_vec::<f32>().unwrap(), [0.1, 2.0]);
    assert_eq!(ops::cast(&single, DType::F64).unwrap().value().to_vec::<f64>().unwrap(), [f64::from(0.1f32), 2.0]);
    assert!(text(ops::cast(&x, DType::U32)).contains("floating-point"));
    assert!(text(ops::cast(counting(&[2], &CPU), DType::F32)).contains("floating-point"));
    for device in devices().iter().skip(1) {
        let x: Var = Tensor::from_slice(&[1f32], [1], device).unwrap().into();
        assert!(text(ops::cast(&x, DType::F64)).contains("CPU only"));
    }
}

#[test]
fn indices_outside_the_table_are_refused_or_become_nan() {
    for device in devices() {
        let tape = Tape::new();
        let table = tape.leaf(Tensor::from_slice(&[1f32, 2., 3., 4.], [2, 2], &device).unwrap());
        let index = Tensor::from_slice(&[1u32, 2, u32::MAX, 0], [4], &device).unwrap();
        let y = ops::embedding(&table, &index);
        let hot = ops::one_hot(&index, 2, DType::F32);
        if matches!(device, Device::Cpu) {
            assert!(text(y).contains("index 2 at position 1; indices must be below 2"));
            assert!(text(hot).contains("index 2"));
            continue;
        }
        let y = y.unwrap();
        let rows = y.value().to_vec::<f32>().unwrap();
        assert_eq!((&rows[..2], &rows[6..]), (&[3., 4.][..], &[1., 2.][..]));
        assert!(rows[2..6].iter().all(|x| x.is_nan()));
        let gradient = ops::sum(&y, &[0, 1]).unwrap().backward().unwrap();
        assert_eq!(gradient.get(&table).unwrap().to_vec::<f32>().unwrap(), [1.0; 4]);
        let hot = hot.unwrap().to_vec::<f32>().unwrap();
        assert_eq!((&hot[..2], &hot[6..]), (&[0., 1.][..], &[1., 0.][..]));
        assert!(hot[2..6].iter().all(|x| x.is_nan()));
    }
}

#[test]
fn a_phase_of_many_turns_keeps_its_digits() {
    // 2 pi x f is about 4 million here; in f32 even the nearest number to it would be off by a quarter.
    let (x, f) = (40_000.125f32, 16.25f32);
    let exact = std::f64::consts::TAU * (f64::from(x) * f64::from(f)).fract();
    for device in devices() {
        let x: Var = Tensor::from_slice(&[x], [1], &device).unwrap().into();
        let y = ops::fourier_embedding(&x, &Tensor::from_slice(&[f], [1], &device).unwrap()).unwrap();
        let y = y.value().to_f64().unwrap();
        assert!((y[0] - exact.cos()).abs() < 3e-7 && (y[1] - exact.sin()).abs() < 3e-7, "{y:?}");
    }
}

#[test]
fn non_finite_numbers_pass_through() {
    let (nan, inf) = (f32::NAN, f32::INFINITY);
    for device in devices() {
        let x: Var = Tensor::from_slice(&[nan, inf, -inf, 0.0], [4], &device).unwrap().into();
        let list = |y: veridical::Result<Var>| y.unwrap().value().to_vec::<f32>().unwrap();
        let same = |got: Vec<f32>, expected: [f32; 4]| {
            let equal = |(a, b): (&f32, &f32)| a == b || a.is_nan() && b.is_nan();
            assert!(got.iter().zip(&expected).all(equal), "{got:?}, expected {expected:?} on {device}");
        };
        same(list(ops::clamp(&x, -1.0, 2.0)), [nan, 2.0, -1.0, 0.0]);
        same(list(ops::exp(&x)), [nan, inf, 0.0, 1.0]);
        same(list(ops::log(&x)), [nan, inf, nan, -inf]);
        same(list(ops::sqrt(&x)), [nan, inf, nan, 0.0]);
        same(list(ops::abs(&x)), [nan, inf, inf, 0.0]);
        same(list(ops::cast(ops::cast(&x, DType::BF16).unwrap(), DType::F32)), [nan, inf, -inf, 0.0]);
    }
}

#[test]
fn wrong_use_is_an_error_that_says_so() {
    let x = counting(&[2, 3], &CPU);
    let float: Var = Tensor::zeros([2, 3], DType::F32, &CPU).unwrap().into();
    let image: Var = Tensor::zeros([1, 4, 4, 1], DType::F32, &CPU).unwrap().into();
    assert!(text(ops::concat(&[], 0)).contains("no tensors"));
    assert!(text(ops::concat(&[&x, &x], 2)).contains("axis 2"));
    assert!(text(ops::concat(&[&x, &float], 0)).contains("u32"));
    assert!(text(ops::concat(&[&x, &counting(&[2, 2], &CPU)], 0)).contains("[2, 2]"));
    assert!(text(ops::concat(&[&x, &counting(&[6], &CPU)], 0)).contains("[6]"));
    assert!(text(ops::slice(&x, 1, 2..4)).contains("extent is 3"));
    #[allow(clippy::reversed_empty_ranges)]
    let reversed = ops::slice(&x, 1, 2..1);
    assert!(text(reversed).contains("2..1"));
    assert!(text(ops::slice(&x, 2, 0..0)).contains("axis 2"));
    assert!(text(ops::permute(&x, &[0, 0])).contains("once"));
    assert!(text(ops::permute(&x, &[0])).contains("once"));
    assert!(text(ops::permute(counting(&[2; 6], &CPU), &[5, 4, 3, 2, 1, 0])).contains("5 at most"));
    assert!(text(ops::transpose(&x, 0, 2)).contains("axes 0 and 2"));
    assert!(text(ops::embedding(&float, float.value())).contains("u32"));
    assert!(text(ops::embedding(&image, x.value())).contains("[v, d]"));
    assert!(text(ops::one_hot(x.value(), 2, DType::U32)).contains("floating-point"));
    for taps in [&[][..], &[1.0, 2.0, 1.0], &[1.0, -1.0], &[f64::NAN, 1.0], &[1.0; 34]] {
        assert!(text(ops::upsample2x(&image, taps)).contains("even number"), "{taps:?}");
        assert!(text(ops::downsample2x(&image, taps)).contains("even number"), "{taps:?}");
    }
    assert!(text(ops::upsample2x(&float, &[1.0, 1.0])).contains("[n, h, w, c]"));
    let line: Var = Tensor::zeros([1, 1, 4, 1], DType::F32, &CPU).unwrap().into();
    assert!(text(ops::downsample2x(&line, &[1.0, 1.0])).contains("2 x 2"));
    let levels: Var = Tensor::zeros([2], DType::F32, &CPU).unwrap().into();
    for (channels, endpoint) in [(0, false), (3, false), (2, true)] {
        assert!(text(ops::positional_embedding(&levels, channels, 1e4, endpoint)).contains("channels"));
    }
    assert!(text(ops::positional_embedding(&levels, 8, -1.0, true)).contains("max_positions"));
    assert!(text(ops::positional_embedding(&float, 8, 1e4, true)).contains("x [b]"));
    assert!(text(ops::fourier_embedding(&levels, float.value())).contains("[c/2]"));
    assert!(text(ops::clamp(&float, 1.0, 0.0)).contains("min"));
    assert!(text(ops::clamp(&float, f64::NAN, 0.0)).contains("min"));
    assert!(text(ops::exp(&x)).contains("floating-point"));
}
