//! Products of bf16 by tiles, on a CPU that has them or on the model of one.

use half::bf16;

use super::super::blocks;
use super::super::convolution::{direct, takes_winograd};
use super::super::scratch::Scratch;
use super::super::tests::{Numbers, WAYS, narrow, product_of, there_are_tiles};
use super::super::{Factor, Matrix, Product, convolve, input_gradient, weight_gradient, winograd};
use crate::backend::convolution::Convolution;
use crate::backend::cpu::isa::Isa;

/// What a model has multiplied on this thread; `None` on a CPU that has tiles, where nobody counts.
#[cfg(target_os = "linux")]
pub fn counted() -> Option<usize> {
    use crate::backend::cpu::amx::model;
    model::stands_in().then(|| {
        assert!(!model::tiles_are_configured_on_this_thread(), "tiles are emptied behind a product");
        model::products_on_this_thread()
    })
}

/// Nowhere else is there a model.
#[cfg(not(target_os = "linux"))]
pub fn counted() -> Option<usize> {
    None
}

/// Fills what this thread keeps for panels with NaN: what is multiplied without having been packed shows.
pub fn spoil_scratch() {
    let mut spoilt: Vec<Scratch> = (0..4).map(|_| Scratch::of::<f32>(1 << 20).unwrap()).collect();
    spoilt.iter_mut().for_each(|scratch| scratch.as_mut::<f32>().fill(f32::NAN));
}

fn product(left: &[bf16], right: &[bf16], size: [usize; 3], way: [bool; 2], isa: Isa) -> Vec<f32> {
    product_of(left, right, size, way, |product| product.on(isa))
}

/// Of real numbers: off by no more than so many roundings of sums of so many products may be.
#[test]
fn products_are_close() {
    if !there_are_tiles() {
        return;
    }
    let mut numbers = Numbers(11);
    let sizes = [
        [1, 1, 1],
        [1, 1, 2],
        [16, 16, 32],
        [17, 15, 31],
        [32, 32, 512],
        [33, 31, 513],
        [15, 33, 1000],
        [70, 40, 2305],
        [3, 100, 65],
        [100, 3, 7],
    ];
    for [m, n, k] in sizes {
        let (left, right) = (narrow(&numbers.uniform(m * k)), narrow(&numbers.uniform(k * n)));
        for way in WAYS {
            spoil_scratch();
            let before = counted();
            let found = product(&left, &right, [m, n, k], way, Isa::Amx);
            let tiles = m.div_ceil(16) * n.div_ceil(16) * k.div_ceil(32);
            assert!(before.is_none_or(|before| counted() >= Some(before + tiles)), "{m}x{n}x{k} was computed by tiles");
            for (i, found) in found.into_iter().enumerate() {
                let terms = (0..k).map(|d| left[i / n * k + d].to_f64() * right[d * n + i % n].to_f64());
                let (sum, size) = terms.fold((0.0, 0.0), |(sum, size), term| (sum + term, size + term.abs()));
                let tolerance = size * (k + 2) as f64 * f64::from(f32::EPSILON / 2.0);
                assert!((f64::from(found) - sum).abs() <= tolerance, "{m}x{n}x{k} {way:?}, {i}: {found} for {sum}");
            }
        }
    }
}

/// NaN and infinities go where the plain loops have them, and nowhere else: not into sums that lie beside them in a
/// tile, and not into what a panel is filled up with.
#[test]
fn what_is_not_finite_goes_where_it_belongs() {
    if !there_are_tiles() {
        return;
    }
    let (m, n, k) = (35, 37, 71);
    let mut numbers = Numbers(12);
    let whole = |count, numbers: &mut Numbers| {
        numbers.uniform(count).into_iter().map(|x| bf16::from_f32((4.0 * x).round())).collect::<Vec<_>>()
    };
    let (mut left, mut right) = (whole(m * k, &mut numbers), whole(k * n, &mut numbers));
    left[3 * k + k - 1] = bf16::NAN;
    left[16 * k + 5] = bf16::INFINITY;
    left[34 * k] = bf16::NEG_INFINITY;
    right[8 * n + 20] = bf16::NAN;
    right[(k - 1) * n + 36] = bf16::INFINITY;
    for way in WAYS {
        spoil_scratch();
        let found = product(&left, &right, [m, n, k], way, Isa::Amx);
        let expected = product(&left, &right, [m, n, k], way, Isa::Portable);
        assert!(expected.iter().any(|x| x.is_nan()) && expected.iter().any(|x| x.is_infinite()));
        for (i, (found, expected)) in found.iter().zip(&expected).enumerate() {
            let (row, column) = (i / n, i % n);
            assert!(
                found == expected || found.is_nan() && expected.is_nan(),
                "{row}, {column}: {found} for {expected}"
            );
        }
    }
}

/// Numbers below 2^-126 are 0, as the level says, factors and sums alike; those above are not.
#[test]
fn numbers_below_the_normal_ones_are_zero() {
    if !there_are_tiles() {
        return;
    }
    let least = f32::MIN_POSITIVE;
    for (left, right, expected) in [
        (least / 2.0, 2f32.powi(100), 0.0),
        (2f32.powi(-64), 2f32.powi(-63), 0.0),
        (2f32.powi(-63), 2f32.powi(-63), least),
        (least, 1.0, least),
    ] {
        let found = product(&narrow(&[left]), &narrow(&[right]), [1, 1, 1], [false; 2], Isa::Amx);
        assert_eq!(found, [expected], "{left} * {right}");
    }
}

#[test]
fn one_thread_gives_the_bits_of_many() {
    if !there_are_tiles() {
        return;
    }
    let mut numbers = Numbers(13);
    // Few rows, few columns, a depth that is shared out, several turns of the shared factor.
    for (m, n, k) in [(300, 40, 300), (40, 300, 300), (48, 96, 5000), (30, 2500, 70)] {
        let (left, right) = (narrow(&numbers.uniform(m * k)), narrow(&numbers.uniform(n * k)));
        let run = |threads: usize| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            let mut found = vec![0f32; m * n];
            pool.install(|| {
                let (left, right) = (Matrix::new(&left, k, m), Matrix::new(&right, n, k));
                let product = Product::new(Factor::transposed(&left), Factor::transposed(&right)).on(Isa::Amx);
                blocks::compute(&product, &mut found, n, true).unwrap();
            });
            found
        };
        let one = run(1);
        for threads in [2, 3, 8] {
            assert!(one == run(threads), "{m}x{n}x{k} on {threads} threads");
        }
    }
}

/// The result is the same whether a tile is stored as it comes or through memory: a scale of 1 and one of 2, a bias of
/// zeros, and a result that is added to.
#[test]
fn every_way_to_store_a_tile_gives_the_same_sums() {
    if !there_are_tiles() {
        return;
    }
    let (m, n, k) = (64, 64, 600);
    let mut numbers = Numbers(14);
    let (left, right) = (narrow(&numbers.uniform(m * k)), narrow(&numbers.uniform(k * n)));
    let (left, right) = (Matrix::new(&left, m, k), Matrix::new(&right, k, n));
    let plain = Product::new(Factor::plain(&left), Factor::plain(&right)).on(Isa::Amx);
    let write = |product: Product<f32>| {
        let mut found = vec![0f32; m * n];
        blocks::compute(&product, &mut found, n, false).unwrap();
        found
    };
    let straight = write(plain);
    let zeros = vec![0f32; n];
    assert!(straight == write(plain.plus(Some(&zeros))));
    assert!(straight == write(plain.accumulating(true)));
    let doubled: Vec<f32> = straight.iter().map(|x| 2.0 * x).collect();
    assert!(doubled == write(plain.scaled(2.0)));
}

#[test]
fn lower_levels_leave_the_tiles_alone() {
    if !there_are_tiles() {
        return;
    }
    let mut numbers = Numbers(16);
    let [left, right] =
        [40 * 50, 50 * 60].map(|count| numbers.uniform(count).into_iter().map(bf16::from_f32).collect::<Vec<_>>());
    for isa in Isa::ALL.into_iter().filter(|&isa| isa < Isa::Amx && isa.is_supported()) {
        let before = counted();
        product(&left, &right, [40, 60, 50], [false; 2], isa);
        assert_eq!(counted(), before, "{isa}");
    }
}

#[test]
fn factors_of_f32_are_not_for_tiles() {
    if !there_are_tiles() {
        return;
    }
    let mut numbers = Numbers(15);
    let (left, right) = (numbers.uniform(40 * 50), numbers.uniform(50 * 60));
    let before = counted();
    let run = |isa| {
        let (left, right) = (Matrix::new(&left, 40, 50), Matrix::new(&right, 50, 60));
        let mut found = vec![0f32; 40 * 60];
        let product = Product::new(Factor::plain(&left), Factor::plain(&right)).on(isa);
        blocks::compute(&product, &mut found, 60, false).unwrap();
        found
    };
    assert!(run(Isa::Amx) == run(Isa::Avx512));
    assert_eq!(counted(), before);
}

fn shape(batch: usize, extent: usize, inputs: usize, outputs: usize) -> Convolution {
    Convolution { batch, height: extent, width: extent, inputs, outputs, kernel: 3, stride: 1, padding: 1 }
}

#[test]
fn tiles_take_convolutions_of_many_channels_in_bf16() {
    let (many, few) = (shape(2, 16, 64, 64), shape(2, 16, 64, 24));
    for isa in Isa::ALL {
        let allowed = winograd::is_allowed();
        assert_eq!(takes_winograd::<bf16>(&many, isa), allowed && isa != Isa::Amx);
        assert_eq!(takes_winograd::<bf16>(&few, isa), allowed);
        assert_eq!(takes_winograd::<f32>(&many, isa), allowed);
        assert!(!takes_winograd::<f64>(&many, isa));
    }
}

/// Convolution and gradients as operations call them, at the level that the environment asks for: in a process of its
/// own, for the level is chosen once.
#[test]
fn convolutions_of_many_channels_are_computed_by_tiles() {
    const LEVEL: &str = "VERIDICAL_CPU_KERNEL";
    if !there_are_tiles() {
        return;
    }
    if std::env::var(LEVEL).is_ok_and(|level| level == Isa::Amx.to_string()) {
        assert_eq!(Isa::current(), Isa::Amx);
        let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap();
        return pool.install(convolutions_by_the_level_in_use);
    }
    let mut test = std::process::Command::new(std::env::current_exe().unwrap());
    let name = "backend::cpu::gemm::amx::tests::convolutions_of_many_channels_are_computed_by_tiles";
    let output = test.args(["--exact", name, "--nocapture"]).env(LEVEL, Isa::Amx.to_string()).output().unwrap();
    let text = [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned()).concat();
    assert!(output.status.success() && text.contains("1 passed"), "{text}");
    assert!(!text.contains("using avx512"), "{text}");
}

fn convolutions_by_the_level_in_use() {
    [9, 10].into_iter().for_each(convolution_by_the_level_in_use);
}

/// Rows of an even width are for tiles in all three, of an odd one in two.
fn convolution_by_the_level_in_use(extent: usize) {
    let s = shape(2, extent, 70, 66);
    let mut numbers = Numbers(16);
    let mut some = |count| narrow(&numbers.uniform(count));
    let (x, w) = (some(s.in_pixels() * s.inputs), some(s.outputs * 9 * s.inputs));
    let dy = some(s.out_pixels() * s.outputs);
    let before = counted();
    let (mut y, mut dx, mut dw) = (vec![0f32; 0], vec![0f32; 0], vec![0f32; 0]);
    {
        let zeros = |count: usize| vec![bf16::NAN; count];
        let (mut y16, mut dx16, mut dw16) = (zeros(dy.len()), zeros(x.len()), zeros(w.len()));
        convolve(&s, &x, (&w, None), None, &mut y16).unwrap();
        input_gradient(&s, &dy, &w, None, &mut dx16).unwrap();
        weight_gradient(&s, &x, &dy, &mut dw16).unwrap();
        for (wide, narrow) in [(&mut y, &y16), (&mut dx, &dx16), (&mut dw, &dw16)] {
            *wide = narrow.iter().map(|x| x.to_f32()).collect();
        }
    }
    // Three products of 2 x 81 pixels, 630 numbers of a patch and 66 channels, or the like.
    let tiles = 3 * (162 / 16) * (630 / 32) * (66 / 16);
    assert!(before.is_none_or(|before| counted() > Some(before + tiles)), "they are computed by tiles");

    let exact = |values: &[bf16]| values.iter().map(|x| x.to_f64()).collect::<Vec<f64>>();
    let (x, w, dy) = (exact(&x), exact(&w), exact(&dy));
    let (mut ey, mut edx, mut edw) = (vec![0f64; y.len()], vec![0f64; dx.len()], vec![0f64; dw.len()]);
    direct::convolve(&s, &x, &w, None, &mut ey, Isa::Portable).unwrap();
    direct::input_gradient(&s, &dy, &w, None, &mut edx, Isa::Portable).unwrap();
    direct::weight_gradient(&s, &x, &dy, &mut edw, Isa::Portable).unwrap();
    for (what, found, expected) in [("y", y, ey), ("dx", dx, edx), ("dw", dw, edw)] {
        for (found, expected) in found.into_iter().zip(expected) {
            // The result's rounding to bf16, and sums of some 600 numbers of size 1 at most.
            let tolerance = expected.abs() * 2f64.powi(-8) + 1e-4;
            assert!((f64::from(found) - expected).abs() <= tolerance, "{what}: {found} for {expected}");
        }
    }
}
