//! Every kernel against plain loops in f64.

use half::bf16;

use super::convolution::direct;
use super::scratch::Scratch;
use super::*;
use crate::backend::convolution::Convolution;
use crate::error::Error;

/// Levels that this CPU can run, or a model of it.
pub(super) fn levels() -> impl Iterator<Item = Isa> {
    Isa::ALL.into_iter().filter(|isa| {
        if !isa.is_supported() {
            eprintln!("not tested: this CPU has no {isa}");
        }
        isa.is_supported()
    })
}

/// Numbers that look random; the same for the same seed.
pub(super) struct Numbers(pub u64);

impl Numbers {
    fn word(&mut self) -> u64 {
        // SplitMix64.
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub fn integers(&mut self, count: usize) -> Vec<f32> {
        (0..count).map(|_| (self.word() % 9) as f32 - 4.0).collect()
    }

    pub fn uniform(&mut self, count: usize) -> Vec<f32> {
        (0..count).map(|_| (self.word() >> 40) as f32 / (1u64 << 23) as f32 - 1.0).collect()
    }
}

fn transpose(matrix: &[f32], rows: usize, columns: usize) -> Vec<f32> {
    (0..rows * columns).map(|i| matrix[i % rows * columns + i / rows]).collect()
}

fn plain_product(left: &[f32], right: &[f32], m: usize, n: usize, k: usize) -> Vec<f64> {
    let at = |r: usize, c: usize| (0..k).map(|i| left[r * k + i] as f64 * right[i * n + c] as f64).sum();
    (0..m * n).map(|i| at(i / n, i % n)).collect()
}

pub(super) fn narrow(values: &[f32]) -> Vec<bf16> {
    values.iter().map(|&v| bf16::from_f32(v)).collect()
}

pub(super) fn wide(values: &[f32]) -> Vec<f64> {
    values.iter().map(|&v| v as f64).collect()
}

/// Products of integers are exact, so every way to compute one must give the very same numbers.
#[test]
fn integer_products_are_exact() {
    let sizes = [0, 1, 2, 5, 13, 14, 15, 31, 32, 33, 65];
    let mut numbers = Numbers(1);
    let mut case = 0;
    for isa in levels() {
        for (m, n) in sizes.into_iter().flat_map(|m| sizes.map(|n| (m, n))) {
            for k in [0, 1, 3, 17, 255, 256, 257, 520] {
                case += 1;
                if (m * n * k) > 4000 && case % 3 != 0 {
                    continue;
                }
                let (left, right) = (numbers.integers(m * k), numbers.integers(k * n));
                let expected = plain_product(&left, &right, m, n, k);
                check_exact(isa, &left, &right, &expected, (m, n, k), case);
            }
        }
    }
}

/// One of the four ways to hand the factors over, one of the biases, with or without accumulation; in f32, bf16 and
/// f64.
fn check_exact(isa: Isa, left: &[f32], right: &[f32], product: &[f64], (m, n, k): (usize, usize, usize), case: usize) {
    let (left_transposed, right_transposed) = (case & 1 != 0, case & 2 != 0);
    let (accumulate, stride) = (case / 4 % 2 == 1, n + case / 8 % 3);
    let left = if left_transposed { transpose(left, m, k) } else { left.to_vec() };
    let right = if right_transposed { transpose(right, k, n) } else { right.to_vec() };
    let biases = Numbers(case as u64).integers(n);
    let biased = !(case / 5).is_multiple_of(3);
    let before = Numbers(case as u64 + 7).integers(m * stride);
    let expected: Vec<f64> = (0..m * stride)
        .map(|i| {
            let (r, c) = (i / stride, i % stride);
            if c >= n {
                return before[i] as f64; // between the rows: left alone
            }
            let base = if accumulate { before[i] as f64 } else { 0.0 };
            base + 2.0 * product[r * n + c] + if biased { f64::from(biases[c]) } else { 0.0 }
        })
        .collect();

    macro_rules! check {
        ($stored:ty, $sum:ty, $convert:expr) => {{
            let convert: fn(&[f32]) -> Vec<$stored> = $convert;
            // One element in front: the slices do not start where vectors do.
            let shifted = |values: &[f32]| convert(&[&[0.0], values].concat());
            let (left, right, mut result) = (shifted(&left), shifted(&right), shifted(&before));
            let size = |rows, columns, transposed| if transposed { (columns, rows) } else { (rows, columns) };
            let (rows, columns) = size(m, k, left_transposed);
            let left = Matrix::new(&left[1..], rows, columns);
            let (rows, columns) = size(k, n, right_transposed);
            let right = Matrix::new(&right[1..], rows, columns);
            let bias: Vec<$sum> = biases.iter().map(|&b| b as $sum).collect();
            let bias = biased.then_some(&bias[..]);
            Product::new(Factor::new(&left, left_transposed), Factor::new(&right, right_transposed))
                .on(isa)
                .scaled(2.0)
                .plus(bias)
                .accumulating(accumulate)
                .write(&mut result[1..], stride)
                .unwrap();
            for (i, (found, &expected)) in result[1..].iter().zip(&expected).enumerate() {
                let expected = <$stored as Stored>::round(expected as $sum);
                assert!(
                    *found == expected,
                    "{isa} {} {m}x{n}x{k} transposed {left_transposed} {right_transposed} bias {biased} \
                     accumulate {accumulate}: element {i} is {found}, not {expected}",
                    stringify!($stored)
                );
            }
        }};
    }
    check!(f32, f32, |v| v.to_vec());
    check!(bf16, f32, narrow);
    check!(f64, f64, wide);
}

#[test]
fn real_products_are_close() {
    let mut numbers = Numbers(2);
    for (m, n, k) in [(67, 45, 700), (128, 96, 2304), (300, 70, 64), (9, 600, 130), (33, 40, 5000)] {
        let (left, right) = (numbers.uniform(m * k), numbers.uniform(k * n));
        let expected = plain_product(&left, &right, m, n, k);
        for isa in levels() {
            let mut found = vec![f32::NAN; m * n];
            Product::new(Factor::plain(&Matrix::new(&left, m, k)), Factor::plain(&Matrix::new(&right, k, n)))
                .on(isa)
                .write(&mut found, n)
                .unwrap();
            // The rounding of each step is half a unit of the running sum, which is of the order of sqrt(k).
            let tolerance = f32::EPSILON as f64 * k as f64;
            for (found, expected) in found.iter().zip(&expected) {
                assert!((*found as f64 - expected).abs() < tolerance, "{isa} {m}x{n}x{k}: {found} {expected}");
            }
        }
    }
}

/// Sums are rounded to bf16 once: with f32 sums the result is that of rounding the f32 result.
#[test]
fn bf16_results_are_rounded_once() {
    let (m, n, k) = (37, 51, 1500);
    let mut numbers = Numbers(3);
    let (left, right) = (narrow(&numbers.uniform(m * k)), narrow(&numbers.uniform(k * n)));
    for isa in levels() {
        let (left, right) = (Matrix::new(&left, m, k), Matrix::new(&right, k, n));
        let product = Product::new(Factor::plain(&left), Factor::plain(&right)).on(isa);
        let (mut sums, mut found) = (vec![0f32; m * n], vec![bf16::ZERO; m * n]);
        product.write(&mut sums, n).unwrap();
        product.write(&mut found, n).unwrap();
        assert_eq!(found, narrow(&sums), "{isa}");
    }
}

#[test]
fn rounding_to_bf16_is_to_nearest_even() {
    for bits in (0..=u32::MAX).step_by(65_537 / 3) {
        let value = f32::from_bits(bits);
        let (found, expected) = (<bf16 as Stored>::round(value), bf16::from_f32(value));
        assert!(found.to_bits() == expected.to_bits() || (found.is_nan() && expected.is_nan()), "{bits:x}");
    }
}

#[test]
fn one_thread_gives_the_bits_of_many() {
    let mut numbers = Numbers(4);
    // Few rows, few columns, a deep one that is cut in parts, one of several turns of the shared factor.
    for (m, n, k) in [(700, 40, 300), (40, 700, 300), (48, 96, 9000), (30, 2500, 1700)] {
        let (left, right) = (numbers.uniform(m * k), numbers.uniform(n * k));
        let run = |threads: usize| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            let mut found = vec![0f32; m * n];
            pool.install(|| {
                Product::new(
                    Factor::transposed(&Matrix::new(&left, k, m)),
                    Factor::transposed(&Matrix::new(&right, n, k)),
                )
                .write(&mut found, n)
                .unwrap();
            });
            found
        };
        let one = run(1);
        for threads in [2, 3, 8] {
            assert!(one == run(threads), "{m}x{n}x{k} on {threads} threads");
        }
    }
}

#[test]
fn batches_are_their_products() {
    // Few large ones are each shared out, many of any size handed out whole: many for two threads.
    let pool = rayon::ThreadPoolBuilder::new().num_threads(2).build().unwrap();
    let mut numbers = Numbers(5);
    for (count, m, n, k) in
        [(0, 3, 4, 5), (1, 5, 7, 3), (37, 9, 20, 16), (3, 110, 100, 128), (70, 66, 64, 64), (4, 0, 3, 2), (4, 3, 2, 0)]
    {
        let (left, right) = (numbers.integers(count * m * k), numbers.integers(count * k * n));
        let mut found = vec![-9f32; count * (m * n + 2)];
        let matrices = |i: usize| {
            let left = Matrix::new(&left[i * m * k..(i + 1) * m * k], m, k);
            let right = Matrix::new(&right[i * k * n..(i + 1) * k * n], n, k);
            [(left, false), (right, true)]
        };
        pool.install(|| batched(count, matrices, None, &mut found, m * n + 2, n)).unwrap();
        for i in 0..count {
            let right = transpose(&right[i * k * n..(i + 1) * k * n], n, k);
            let expected = plain_product(&left[i * m * k..(i + 1) * m * k], &right, m, n, k);
            let found = &found[i * (m * n + 2)..][..m * n + 2];
            assert!(found[..m * n].iter().zip(&expected).all(|(f, e)| *f as f64 == *e), "{count} {m}x{n}x{k}");
            assert_eq!(found[m * n..], [-9.0; 2]);
        }
    }
}

/// A convolution in seven loops: `y`, `dx` and `dw` for given `x`, `w` and `dy`, all small integers.
pub struct PlainConvolution {
    pub y: Vec<f32>,
    pub dx: Vec<f32>,
    pub dw: Vec<f32>,
}

pub fn plain_convolution(s: &Convolution, x: &[f32], w: &[f32], dy: &[f32]) -> PlainConvolution {
    let (out_height, out_width) = (s.out_height(), s.out_width());
    let mut plain = PlainConvolution { y: vec![0.0; dy.len()], dx: vec![0.0; x.len()], dw: vec![0.0; w.len()] };
    for image in 0..s.batch {
        for (oy, ox) in (0..out_height).flat_map(|oy| (0..out_width).map(move |ox| (oy, ox))) {
            for (ky, kx) in (0..s.kernel).flat_map(|ky| (0..s.kernel).map(move |kx| (ky, kx))) {
                let (iy, ix) = (oy * s.stride + ky, ox * s.stride + kx);
                let inside = |at: usize, extent: usize| at >= s.padding && at - s.padding < extent;
                if !inside(iy, s.height) || !inside(ix, s.width) {
                    continue;
                }
                let pixel = (image * s.height + iy - s.padding) * s.width + ix - s.padding;
                for o in 0..s.outputs {
                    let y_at = ((image * out_height + oy) * out_width + ox) * s.outputs + o;
                    for i in 0..s.inputs {
                        let w_at = ((o * s.kernel + ky) * s.kernel + kx) * s.inputs + i;
                        plain.y[y_at] += x[pixel * s.inputs + i] * w[w_at];
                        plain.dx[pixel * s.inputs + i] += dy[y_at] * w[w_at];
                        plain.dw[w_at] += dy[y_at] * x[pixel * s.inputs + i];
                    }
                }
            }
        }
    }
    plain
}

#[test]
fn convolutions_are_exact_on_integers() {
    let mut numbers = Numbers(6);
    let extents = [(5, 7), (8, 8), (1, 3), (9, 4)];
    let channels = [(1, 1), (3, 5), (16, 18), (33, 2), (20, 40)];
    let mut case = 0;
    for (kernel, stride, padding) in
        [1, 2, 3, 5].into_iter().flat_map(|k| [1, 2, 3].into_iter().flat_map(move |s| [0, 1, 2].map(|p| (k, s, p))))
    {
        for ((height, width), (inputs, outputs)) in extents.into_iter().flat_map(|e| channels.map(|c| (e, c))) {
            case += 1;
            let shape = Convolution { batch: 1 + case % 3, height, width, inputs, outputs, kernel, stride, padding };
            if shape.out_pixels() == 0 {
                continue;
            }
            let x = numbers.integers(shape.in_pixels() * inputs);
            let w = numbers.integers(outputs * shape.taps() * inputs);
            let dy = numbers.integers(shape.out_pixels() * outputs);
            let bias = numbers.integers(outputs);
            let plain = plain_convolution(&shape, &x, &w, &dy);

            let biased: Vec<f32> = plain.y.iter().enumerate().map(|(i, y)| y + bias[i % outputs]).collect();
            for isa in levels() {
                let mut y = vec![f32::NAN; dy.len()];
                direct::convolve(&shape, &x, &w, Some(&bias), &mut y, isa).unwrap();
                assert!(y == biased, "{isa} y of {shape:?}");
                let (mut dx, mut dw) = (vec![f32::NAN; x.len()], vec![f32::NAN; w.len()]);
                direct::input_gradient(&shape, &dy, &w, None, &mut dx, isa).unwrap();
                direct::weight_gradient(&shape, &x, &dy, &mut dw, isa).unwrap();
                assert!(dx == plain.dx, "{isa} dx of {shape:?}");
                assert!(dw == plain.dw, "{isa} dw of {shape:?}");
                check_bf16_convolution(&shape, &x, &w, &dy, &plain, isa);
            }
            let mut dx = vec![f64::NAN; x.len()];
            direct::input_gradient(&shape, &wide(&dy), &wide(&w), None, &mut dx, Isa::Portable).unwrap();
            assert!(dx == wide(&plain.dx), "f64 dx of {shape:?}");
        }
    }
}

/// The direct way's three products in bf16: of the same integers, with sums that are exact in f32 and rounded once.
fn check_bf16_convolution(shape: &Convolution, x: &[f32], w: &[f32], dy: &[f32], plain: &PlainConvolution, isa: Isa) {
    let [x, w, dy] = [x, w, dy].map(narrow);
    let (mut y, mut dx, mut dw) = (vec![bf16::NAN; dy.len()], vec![bf16::NAN; x.len()], vec![bf16::NAN; w.len()]);
    direct::convolve(shape, &x, &w, None, &mut y, isa).unwrap();
    direct::input_gradient(shape, &dy, &w, None, &mut dx, isa).unwrap();
    direct::weight_gradient(shape, &x, &dy, &mut dw, isa).unwrap();
    assert!(y == narrow(&plain.y), "{isa} bf16 y of {shape:?}");
    assert!(dx == narrow(&plain.dx), "{isa} bf16 dx of {shape:?}");
    assert!(dw == narrow(&plain.dw), "{isa} bf16 dw of {shape:?}");
}

#[test]
fn large_convolutions_are_exact_on_integers() {
    let mut numbers = Numbers(7);
    for shape in [
        Convolution { batch: 3, height: 16, width: 16, inputs: 64, outputs: 48, kernel: 3, stride: 1, padding: 1 },
        Convolution { batch: 64, height: 8, width: 8, inputs: 16, outputs: 16, kernel: 3, stride: 1, padding: 1 },
        Convolution { batch: 2, height: 33, width: 31, inputs: 40, outputs: 70, kernel: 3, stride: 2, padding: 1 },
        Convolution { batch: 2, height: 32, width: 32, inputs: 64, outputs: 130, kernel: 1, stride: 1, padding: 0 },
    ] {
        let x = numbers.integers(shape.in_pixels() * shape.inputs);
        let w = numbers.integers(shape.outputs * shape.taps() * shape.inputs);
        let dy = numbers.integers(shape.out_pixels() * shape.outputs);
        let plain = plain_convolution(&shape, &x, &w, &dy);
        for isa in levels() {
            let (mut y, mut dx, mut dw) = (vec![0.0; dy.len()], vec![0.0; x.len()], vec![0.0; w.len()]);
            direct::convolve(&shape, &x, &w, None, &mut y, isa).unwrap();
            direct::input_gradient(&shape, &dy, &w, None, &mut dx, isa).unwrap();
            direct::weight_gradient(&shape, &x, &dy, &mut dw, isa).unwrap();
            assert!(y == plain.y, "{isa} y of {shape:?}");
            assert!(dx == plain.dx, "{isa} dx of {shape:?}");
            assert!(dw == plain.dw, "{isa} dw of {shape:?}");
            check_bf16_convolution(&shape, &x, &w, &dy, &plain, isa);
        }
    }
}

#[test]
fn a_lack_of_memory_is_an_error_and_not_an_end() {
    assert!(matches!(Scratch::of::<f32>(usize::MAX / 64), Err(Error::OutOfMemory { .. })));
    assert!(matches!(Scratch::of::<f64>(usize::MAX), Err(Error::OutOfMemory { .. })));
}

/// Whether there are tiles. That is said where there are none: on a CPU without AVX-512, which nothing stands in for.
pub fn there_are_tiles() -> bool {
    let there = Isa::Amx.is_supported();
    if !there {
        eprintln!("not tested: this machine has no {}", Isa::Amx);
    }
    there
}

/// Which factors are transposed.
pub const WAYS: [[bool; 2]; 4] = [[false, false], [false, true], [true, false], [true, true]];

/// `left * right` with sums in f32, on this thread: factors that lie transposed as told, and what else `set` says.
pub fn product_of<T: Stored<Sum = f32>>(
    left: &[T],
    right: &[T],
    [m, n, k]: [usize; 3],
    [tl, tr]: [bool; 2],
    set: impl FnOnce(Product<f32>) -> Product<f32>,
) -> Vec<f32> {
    let turned = |values: &[T], rows: usize, columns: usize, turn: bool| -> Vec<T> {
        match turn {
            true => (0..rows * columns).map(|i| values[i % rows * columns + i / rows]).collect(),
            false => values.to_vec(),
        }
    };
    let (left, right) = (turned(left, m, k, tl), turned(right, k, n, tr));
    let left = if tl { Matrix::new(&left, k, m) } else { Matrix::new(&left, m, k) };
    let right = if tr { Matrix::new(&right, n, k) } else { Matrix::new(&right, k, n) };
    let mut found = vec![f32::NAN; m * n];
    let product = set(Product::new(Factor::new(&left, tl), Factor::new(&right, tr)));
    blocks::compute(&product, &mut found, n, false).unwrap();
    found
}
