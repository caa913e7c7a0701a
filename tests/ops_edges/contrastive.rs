//! The contrastive losses against dense f64 forms: odd numbers of rows, high scales, equal rows, and what they refuse.

use veridical::{DType, Device, Tape, Tensor, Var, ops};

use super::hardware::devices;
use super::{error, values};

const D: usize = 24;

/// Rows of length 1 from a fixed muddle, some of them twice.
fn units(n: usize, seed: usize) -> Vec<f64> {
    let raw = values(n * D + seed, 1.0);
    let row = |i: usize| {
        let i = if i % 50 == 49 { i - 1 } else { i };
        let row: Vec<f64> = raw[seed + i * D..seed + (i + 1) * D].iter().map(|&x| f64::from(x)).collect();
        let length = row.iter().map(|x| x * x).sum::<f64>().sqrt();
        row.into_iter().map(move |x| x / length)
    };
    (0..n).flat_map(row).collect()
}

fn dot(a: &[f64], b: &[f64], i: usize, j: usize) -> f64 {
    a[i * D..(i + 1) * D].iter().zip(&b[j * D..(j + 1) * D]).map(|(a, b)| a * b).sum()
}

/// The loss, and its gradients by `a`, `b` and the logarithm of the scale, of the dense symmetric form.
struct Dense {
    loss: f64,
    a: Vec<f64>,
    b: Vec<f64>,
    log_scale: f64,
}

fn dense(a: &[f64], b: &[f64], n: usize, scale: f64) -> Dense {
    let s: Vec<Vec<f64>> = (0..n).map(|i| (0..n).map(|j| scale * dot(a, b, i, j)).collect()).collect();
    let lse = |of: &dyn Fn(usize) -> f64| {
        let max = (0..n).map(of).fold(f64::NEG_INFINITY, f64::max);
        max + (0..n).map(|i| (of(i) - max).exp()).sum::<f64>().ln()
    };
    let rows: Vec<f64> = (0..n).map(|i| lse(&|j| s[i][j])).collect();
    let columns: Vec<f64> = (0..n).map(|j| lse(&|i| s[i][j])).collect();
    let mut dense = Dense { loss: 0.0, a: vec![0.0; n * D], b: vec![0.0; n * D], log_scale: 0.0 };
    for i in 0..n {
        // Each row of probabilities is one.
        let sum: f64 = (0..n).map(|j| (s[i][j] - rows[i]).exp()).sum();
        assert!((sum - 1.0).abs() < 1e-12);
        dense.loss += (rows[i] + columns[i] - 2.0 * s[i][i]) / (2 * n) as f64;
        for j in 0..n {
            let own = if i == j { 2.0 } else { 0.0 };
            let slope = ((s[i][j] - rows[i]).exp() + (s[i][j] - columns[j]).exp() - own) / (2 * n) as f64;
            dense.log_scale += slope * s[i][j];
            for c in 0..D {
                dense.a[i * D + c] += slope * scale * b[j * D + c];
                dense.b[j * D + c] += slope * scale * a[i * D + c];
            }
        }
    }
    dense
}

fn tensor(data: &[f64], shape: &[usize], dtype: DType, device: &Device) -> Tensor {
    let data = Tensor::from_slice(data, shape, &Device::Cpu).unwrap();
    ops::cast(data, dtype).unwrap().into_value().to_device(device).unwrap()
}

fn close(name: &str, got: &[f64], expected: &[f64], tolerance: f64) {
    let scale = expected.iter().fold(1e-3f64, |max, x| max.max(x.abs()));
    for (got, expected) in got.iter().zip(expected) {
        assert!((got - expected).abs() <= tolerance * scale, "{name}: {got}, expected {expected}");
    }
}

/// A scale of 100 and rows of length 1, some twice: e^100 would be infinite in f32.
#[test]
fn a_scale_of_100_over_257_rows_is_the_dense_form() {
    let n = 257;
    for device in devices() {
        for dtype in [DType::F64, DType::F32] {
            if dtype == DType::F64 && !matches!(device, Device::Cpu) {
                continue;
            }
            let (a, b) = (units(n, 3), units(n, 1));
            let expected = dense(&a, &b, n, 100.0);
            let tape = Tape::new();
            let leaf = |data: &[f64], shape: &[usize]| tape.leaf(tensor(data, shape, dtype, &device));
            let (a, b, log_scale) = (leaf(&a, &[n, D]), leaf(&b, &[n, D]), leaf(&[100f64.ln()], &[]));
            let loss = ops::clip_symmetric(&a, &b, &log_scale).unwrap();
            let tolerance = if dtype == DType::F64 { 1e-11 } else { 4e-5 };
            close("loss", &loss.value().to_f64().unwrap(), &[expected.loss], tolerance);
            let gradients = loss.backward().unwrap();
            let of = |var: &Var| gradients.get(var).unwrap().to_f64().unwrap();
            close("a", &of(&a), &expected.a, tolerance);
            close("b", &of(&b), &expected.b, tolerance);
            close("log_scale", &of(&log_scale), &[expected.log_scale], tolerance);
        }
    }
}

/// The logarithm of the sum of exponentials.
fn log_sum_exp(values: impl Iterator<Item = f64> + Clone) -> f64 {
    let max = values.clone().fold(f64::NEG_INFINITY, f64::max);
    max + values.map(|x| (x - max).exp()).sum::<f64>().ln()
}

/// More rows than a tile of the CPU has, each loss against its dense form, and the gradient by one element of it in the
/// last tile against that form's difference.
#[test]
fn rows_beyond_a_tile_are_the_dense_form() {
    let n = 1100;
    let (a, b) = (units(n, 3), units(n, 1));
    let labels: Vec<u32> = (0..n as u32).map(|i| i * 7 % 90).collect();
    let scale = 5.0;
    let info_nce = |a: &[f64], b: &[f64]| {
        let row = |i: usize| log_sum_exp((0..n).map(move |j| scale * dot(a, b, i, j))) - scale * dot(a, b, i, i);
        (0..n).map(row).sum::<f64>() / n as f64
    };
    let siglip = |a: &[f64], b: &[f64]| {
        let softplus = |x: f64| x.max(0.0) + (-x.abs()).exp().ln_1p();
        let sign = |i, j| if i == j { -1.0 } else { 1.0 };
        let row = |i: usize| (0..n).map(|j| softplus(sign(i, j) * (scale * dot(a, b, i, j) - 2.0))).sum::<f64>();
        (0..n).map(row).sum::<f64>() / n as f64
    };
    let nt_xent = |a: &[f64], b: &[f64]| {
        let z = [a, b].concat();
        let row = |i: usize| {
            let z = &z;
            let others = (0..2 * n).filter(move |&j| j != i).map(move |j| scale * dot(z, z, i, j));
            log_sum_exp(others) - scale * dot(z, z, i, (i + n) % (2 * n))
        };
        (0..2 * n).map(row).sum::<f64>() / (2 * n) as f64
    };
    let sup_con = |a: &[f64], _: &[f64]| {
        let row = |i: usize| {
            let all = log_sum_exp((0..n).filter(move |&j| j != i).map(move |j| scale * dot(a, a, i, j)));
            let alike = (0..n).filter(|&j| j != i && labels[j] == labels[i]);
            let (sum, count) =
                alike.fold((0.0, 0.0), |(sum, count), j| (sum + all - scale * dot(a, a, i, j), count + 1.0));
            sum / count
        };
        (0..n).map(row).sum::<f64>() / n as f64
    };
    type Dense<'a> = &'a dyn Fn(&[f64], &[f64]) -> f64;
    let kinds: [(&str, Dense); 4] =
        [("info_nce", &info_nce), ("siglip", &siglip), ("nt_xent", &nt_xent), ("sup_con", &sup_con)];
    let of = Tensor::from_slice(&labels, [n], &Device::Cpu).unwrap();
    for (name, expected) in kinds {
        let tape = Tape::new();
        let leaf = |data: &[f64]| tape.leaf(tensor(data, &[n, D], DType::F64, &Device::Cpu));
        let (left, right) = (leaf(&a), leaf(&b));
        let loss = match name {
            "info_nce" => ops::info_nce(&left, &right, scale),
            "siglip" => ops::siglip(&left, &right, scale.ln(), -2.0),
            "nt_xent" => ops::nt_xent(&left, &right, 1.0 / scale),
            _ => ops::sup_con(&left, &of, 1.0 / scale, 1.0 / scale),
        };
        let loss = loss.unwrap();
        close(name, &loss.value().to_f64().unwrap(), &[expected(&a, &b)], 1e-11);
        let gradient = loss.backward().unwrap().get(&left).unwrap().to_f64().unwrap();
        for at in [2 * D + 5, 1050 * D + 7] {
            let moved = |by: f64| {
                let mut a = a.clone();
                a[at] += by;
                expected(&a, &b)
            };
            let difference = (moved(1e-4) - moved(-1e-4)) / 2e-4;
            let off = (gradient[at] - difference).abs();
            assert!(off < 1e-9 + 1e-5 * difference.abs(), "{name} {at}: {} {difference}", gradient[at]);
        }
    }
}

/// The slopes of a softmax's row add up to 0, and so do the gradients of all biases.
#[test]
fn probabilities_of_a_row_add_up_to_one() {
    let n = 257;
    for device in devices() {
        let tape = Tape::new();
        let bias = tape.leaf(tensor(&vec![0.25; n], &[n], DType::F32, &device));
        let rows = |seed| tensor(&units(n, seed), &[n, D], DType::F32, &device);
        let loss = ops::info_nce_biased(rows(3), rows(1), 100.0, &bias).unwrap();
        let gradient = loss.backward().unwrap().get(&bias).unwrap().to_f64().unwrap();
        let (sum, size) = (gradient.iter().sum::<f64>(), gradient.iter().map(|g| g.abs()).sum::<f64>());
        assert!(size > 0.1 && sum.abs() < 1e-5, "{device}: {sum} of {size}");
    }
}

/// Rows that are all alike: every probability is 1 / n, and nothing pulls them anywhere.
#[test]
fn equal_rows_give_the_logarithm_of_their_number() {
    let n = 130;
    for device in devices() {
        for dtype in [DType::F32, DType::BF16] {
            let tape = Tape::new();
            let row: Vec<f64> = (0..D).map(|c| if c == 0 { 1.0 } else { 0.0 }).collect();
            let x = || tape.leaf(tensor(&row.repeat(n), &[n, D], dtype, &device));
            let labels = Tensor::from_slice(&vec![7u32; n], [n], &device).unwrap();
            let (a, b) = (x(), x());
            let (ln_n, others) = ((n as f64).ln(), (2.0 * n as f64 - 1.0).ln());
            for (name, loss, expected) in [
                ("info_nce", ops::info_nce(&a, &b, 100.0), ln_n),
                ("clip", ops::clip_symmetric(&a, &b, 100f64.ln()), ln_n),
                ("nt_xent", ops::nt_xent(&a, &b, 0.01), others),
                ("sup_con", ops::sup_con(&a, &labels, 0.01, 0.01), (n as f64 - 1.0).ln()),
            ] {
                let loss = loss.unwrap();
                let name = format!("{name} {dtype} on {device}");
                close(&name, &loss.value().to_f64().unwrap(), &[expected], 1e-5);
                let gradient = loss.backward().unwrap().get(&a).unwrap().to_f64().unwrap();
                // A slope of (1/n - 1) and n - 1 of 1/n, in bf16 rounded one by one, times 100 / n.
                let allowed = if dtype == DType::BF16 { 4e-3 } else { 1e-5 };
                assert!(gradient.iter().all(|g| g.abs() <= allowed), "{name}: {gradient:?}");
            }
        }
    }
}

#[test]
fn a_sigmoid_of_large_logits_neither_overflows_nor_vanishes() {
    for device in devices() {
        let tape = Tape::new();
        // Logits of 200 beside the diagonal and -200 on it, then the other way round.
        for (sign, expected) in [(-1.0, 200.0 + 200.0), (1.0, 0.0)] {
            let a = tape.leaf(tensor(&[1.0, -1.0], &[2, 1], DType::F32, &device));
            let b = tensor(&[sign, -sign], &[2, 1], DType::F32, &device);
            let loss = ops::siglip(&a, b, 200f64.ln(), 0.0).unwrap();
            close("loss", &loss.value().to_f64().unwrap(), &[expected], 1e-6);
            let gradient = loss.backward().unwrap().get(&a).unwrap().to_f64().unwrap();
            // (sigma - delta) / 2 times 200 b, of both columns.
            let slope = if sign < 0.0 { 200.0 } else { 0.0 };
            close("a", &gradient, &[slope, -slope], 1e-5);
        }
    }
}

#[test]
fn what_does_not_fit_is_refused() {
    let x = |shape: &[usize]| Tensor::full(0.5, shape, DType::F32, &Device::Cpu).unwrap();
    let one = [
        ops::info_nce(x(&[1, 4]), x(&[1, 4]), 1.0),
        ops::clip_symmetric(x(&[1, 4]), x(&[1, 4]), 0.0),
        ops::siglip(x(&[1, 4]), x(&[1, 4]), 0.0, 0.0),
        ops::nt_xent(x(&[1, 4]), x(&[1, 4]), 1.0),
        ops::sup_con(x(&[1, 4]), &Tensor::from_slice(&[0u32], [1], &Device::Cpu).unwrap(), 1.0, 1.0),
    ];
    for result in one {
        assert!(error(result).contains("a batch of 1 has no negatives"));
    }
    let labels = |labels: &[u32]| Tensor::from_slice(labels, [labels.len()], &Device::Cpu).unwrap();
    let long = labels(&[0, 1, 0, 1]);
    assert!(error(ops::sup_con(x(&[3, 4]), &long, 1.0, 1.0)).contains("labels [3]"));
    assert!(error(ops::sup_con(x(&[3, 4]), &x(&[3]), 1.0, 1.0)).contains("u32"));
    assert!(error(ops::sup_con(x(&[3, 4]), &labels(&[5, 0, 9]), 1.0, 1.0)).contains("no row has another of its label"));
    assert!(error(ops::sup_con(x(&[2, 4]), &labels(&[5, 5]), 0.0, 1.0)).contains("temperature must be positive"));
    assert!(error(ops::nt_xent(x(&[2, 4]), x(&[2, 4]), f64::NAN)).contains("temperature must be positive"));
    assert!(error(ops::info_nce(x(&[3, 4]), x(&[2, 4]), 1.0)).contains("a key for each"));
    assert!(error(ops::info_nce(x(&[2, 4]), x(&[2, 3]), 1.0)).contains("keys [n, d]"));
    assert!(error(ops::info_nce(x(&[2, 4]), x(&[2, 4]), f64::INFINITY)).contains("scale must be finite"));
    assert!(error(ops::info_nce(x(&[2, 4]), x(&[2, 4]), x(&[2]))).contains("one element"));
    assert!(error(ops::info_nce_biased(x(&[2, 4]), x(&[3, 4]), 1.0, x(&[2]))).contains("a bias [3]"));
    assert!(error(ops::clip_symmetric(x(&[2, 4]), x(&[2, 4]), 1000.0)).contains("log_scale must be finite"));
    assert!(error(ops::clip_symmetric(x(&[2, 0]), x(&[2, 0]), 0.0)).contains("nothing to compare"));
    assert!(error(ops::siglip(x(&[2, 4]), x(&[2, 4]), 0.0, f64::NAN)).contains("bias must be finite"));
    assert!(error(ops::l2_normalize(x(&[2]))).contains("[n, d]"));
}

/// Where a GPU finds no anchor it cannot say so; the loss does.
#[cfg(feature = "emulator")]
#[test]
fn without_an_anchor_a_gpu_gives_nan() {
    let device = Device::emulator().unwrap();
    let tape = Tape::new();
    let z = tape.leaf(tensor(&units(3, 1), &[3, D], DType::F32, &device));
    let labels = Tensor::from_slice(&[5u32, 0, 9], [3], &device).unwrap();
    let loss = ops::sup_con(&z, &labels, 1.0, 1.0).unwrap();
    assert!(loss.value().item().unwrap().is_nan());
    let gradient = loss.backward().unwrap().get(&z).unwrap().to_f64().unwrap();
    assert!(gradient.iter().all(|g| g.is_nan()), "{gradient:?}");
}

#[test]
fn a_row_of_zeros_stays_and_has_a_gradient() {
    for device in devices() {
        let tape = Tape::new();
        let x = tape.leaf(tensor(&[0.0, 0.0, 3.0, 4.0], &[2, 2], DType::F32, &device));
        let y = ops::l2_normalize(&x).unwrap();
        close("y", &y.value().to_f64().unwrap(), &[0.0, 0.0, 0.6, 0.8], 1e-6);
        let dy = tensor(&[1e-12, 0.0, 1.0, 0.0], &[2, 2], DType::F32, &device);
        let loss = ops::sum(ops::mul(&y, dy).unwrap(), &[0, 1]);
        let gradient = loss.unwrap().backward().unwrap().get(&x).unwrap().to_f64().unwrap();
        close("x", &gradient, &[1.0, 0.0, (1.0 - 0.36) / 5.0, -0.48 / 5.0], 1e-5);
    }
}
