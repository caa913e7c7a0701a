//! Against the direct way, in f64, where rounding does not hide a mistake, and in the types that it is for.

use half::bf16;

use super::*;
use crate::backend::cpu::gemm::convolution::direct;
use crate::backend::cpu::gemm::tests::{Numbers, levels, narrow, wide};
use crate::backend::dtype::Accumulator;

fn shape(batch: usize, [height, width]: [usize; 2], [inputs, outputs]: [usize; 2], padding: usize) -> Convolution {
    Convolution { batch, height, width, inputs, outputs, kernel: 3, stride: 1, padding }
}

/// Extents that are whole tiles and not, channels that are whole vectors, panels and blocks of the depth and not.
fn shapes() -> impl Iterator<Item = Convolution> {
    // Enough tiles for the weights to be transformed once, and parts of the depth.
    let many = shape(33, [8, 8], [300, 40], 1);
    let extents = [[4, 4], [8, 12], [3, 3], [5, 7], [1, 9], [13, 6]];
    let channels = [[16, 16], [1, 1], [3, 17], [40, 33], [300, 20], [18, 530]];
    let few =
        extents.into_iter().flat_map(move |extent| channels.map(|channels| (extent, channels))).enumerate().flat_map(
            |(i, (extent, channels))| {
                let padding = [1, 1 + i % 2, 0][i % 3];
                Some(shape(1 + i % 3, extent, channels, padding)).filter(fits)
            },
        );
    few.chain([many])
}

/// Numbers for input, weights, gradient of the output and bias.
fn numbers(shape: &Convolution, seed: u64) -> [Vec<f32>; 4] {
    let mut numbers = Numbers(seed);
    let weights = shape.outputs * 9 * shape.inputs;
    [shape.in_pixels() * shape.inputs, weights, shape.out_pixels() * shape.outputs, shape.outputs]
        .map(|count| numbers.uniform(count))
}

/// Output, gradient of the input, and of the weights.
fn fast<T: Stored>(s: &Convolution, x: &[T], w: &[T], dy: &[T], bias: &[T::Sum], isa: Isa) -> [Vec<T>; 3] {
    let nan = |count: usize| vec![T::round(T::Sum::of(f64::NAN)); count];
    let (mut y, mut dx, mut dw) = (nan(dy.len()), nan(x.len()), nan(w.len()));
    convolve(s, x, w, Some(bias), &mut y, isa).unwrap();
    super::input_gradient(s, dy, w, None, &mut dx, isa).unwrap();
    super::weight_gradient(s, x, dy, &mut dw, isa).unwrap();
    [y, dx, dw]
}

fn plain<T: Stored>(s: &Convolution, x: &[T], w: &[T], dy: &[T], bias: &[T::Sum]) -> [Vec<T>; 3] {
    let nan = |count: usize| vec![T::round(T::Sum::of(f64::NAN)); count];
    let (mut y, mut dx, mut dw) = (nan(dy.len()), nan(x.len()), nan(w.len()));
    direct::convolve(s, x, w, Some(bias), &mut y, Isa::current()).unwrap();
    direct::input_gradient(s, dy, w, None, &mut dx, Isa::current()).unwrap();
    direct::weight_gradient(s, x, dy, &mut dw, Isa::current()).unwrap();
    [y, dx, dw]
}

/// Root mean square of the differences, as a share of that of the numbers.
fn difference(found: impl Iterator<Item = f64>, expected: &[f64]) -> f64 {
    let (mut wrong, mut all, mut count) = (0.0, 0.0, 0);
    for (found, expected) in found.zip(expected) {
        assert!(found.is_finite());
        wrong += (found - expected).powi(2);
        all += expected.powi(2);
        count += 1;
    }
    assert_eq!(count, expected.len());
    (wrong / all).sqrt()
}

#[test]
fn it_is_the_direct_way_but_for_rounding() {
    for (i, s) in shapes().enumerate() {
        let [x, w, dy, bias] = numbers(&s, i as u64).map(|numbers| wide(&numbers));
        let expected = plain(&s, &x, &w, &dy, &bias);
        for (what, (found, expected)) in fast(&s, &x, &w, &dy, &bias, Isa::Portable).iter().zip(&expected).enumerate() {
            let off = difference(found.iter().copied(), expected);
            assert!(off < 1e-13, "result {what} of {s:?} by {off}");
        }
    }
}

#[test]
fn it_rounds_at_most_five_times_as_much() {
    let of_use = [
        shape(2, [16, 16], [256, 256], 1),
        shape(4, [32, 32], [64, 64], 1),
        shape(3, [14, 14], [32, 48], 1),
        shape(8, [8, 8], [40, 33], 1),
        shape(4, [13, 18], [300, 32], 0),
        shape(6, [10, 11], [32, 530], 2),
    ];
    for (i, s) in of_use.into_iter().enumerate() {
        assert!(fits(&s) && pays(&s), "{s:?}");
        let [x, w, dy, bias] = numbers(&s, i as u64);
        let exact = plain(&s, &wide(&x), &wide(&w), &wide(&dy), &wide(&bias));
        let direct = plain(&s, &x, &w, &dy, &bias);
        for isa in levels() {
            let found = fast(&s, &x, &w, &dy, &bias, isa);
            for (what, ((found, direct), exact)) in found.iter().zip(&direct).zip(&exact).enumerate() {
                let [found, direct] = [found, direct].map(|it| difference(wide(it).into_iter(), exact));
                assert!(
                    found < 5.0 * direct,
                    "{isa}: result {what} of {s:?} rounds by {found}, the direct way by {direct}"
                );
            }
        }
    }
}

/// Numbers of 16 bits are summed as those of 32 are, and rounded once.
#[test]
fn sixteen_bits_are_rounded_once() {
    let s = shape(2, [9, 8], [32, 48], 1);
    let [x, w, dy, bias] = numbers(&s, 3);
    let [x, w, dy] = [x, w, dy].map(|numbers| narrow(&numbers));
    let of_wide = |numbers: &[bf16]| numbers.iter().map(|x| x.to_f32()).collect::<Vec<f32>>();
    for isa in levels() {
        let found = fast(&s, &x, &w, &dy, &bias, isa);
        let expected = fast(&s, &of_wide(&x), &of_wide(&w), &of_wide(&dy), &bias, isa);
        for (found, expected) in found.iter().zip(&expected) {
            assert_eq!(found, &narrow(expected), "{isa}");
        }
    }
}

#[test]
fn one_thread_gives_the_bits_of_many() {
    for s in [shape(5, [17, 14], [48, 32], 1), shape(3, [64, 64], [16, 16], 1), shape(70, [8, 8], [64, 130], 1)] {
        let [x, w, dy, bias] = numbers(&s, 9);
        let run = |threads: usize| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| fast(&s, &x, &w, &dy, &bias, Isa::current()))
        };
        let one = run(1);
        for threads in [2, 3, 8] {
            assert!(one == run(threads), "{s:?} on {threads} threads");
        }
    }
}

/// What is not finite spoils the tiles that see it, and no other.
#[test]
fn what_is_not_finite_stays_in_its_tiles() {
    let s = shape(2, [12, 12], [16, 16], 1);
    let [mut x, w, dy, bias] = numbers(&s, 5);
    let sound = fast(&s, &x, &w, &dy, &bias, Isa::current());
    x[((12 + 5) * 12 + 6) * 16 + 3] = f32::INFINITY; // row 5, column 6 of the second image: in the tile of both 4 to 7
    let found = fast(&s, &x, &w, &dy, &bias, Isa::current());
    for (i, (found, sound)) in found[0].iter().zip(&sound[0]).enumerate() {
        let (image, y, x) = (i / (12 * 12 * 16), i / (12 * 16) % 12, i / 16 % 12);
        match (image, y / 4, x / 4) {
            (1, 1, 1) => {}
            _ => assert_eq!(found, sound, "image {image}, row {y}, column {x}"),
        }
        let near = image == 1 && (4..=6).contains(&y) && (5..=7).contains(&x);
        assert!(!near || !found.is_finite(), "row {y}, column {x} sees it");
    }
}

#[test]
fn it_is_taken_where_it_pays() {
    let is = |s: &Convolution| fits(s) && pays(s);
    assert!(is(&shape(1, [32, 32], [256, 256], 1)) && is(&shape(2, [14, 14], [32, 48], 1)));
    assert!(!is(&shape(1, [32, 32], [3, 128], 1)) && !is(&shape(1, [32, 32], [128, 8], 1)));
    assert!(!is(&shape(1, [8, 8], [256, 256], 1)), "the weights' transform would take longer than the products");
    assert!(!is(&shape(8, [1, 32], [64, 64], 1)), "three of four rows of every tile would be thrown away");
    assert!(!is(&shape(1, [64, 1024], [64, 64], 1)), "a row of tiles would leave the cache");
    let other = |kernel, stride| Convolution { kernel, stride, ..shape(1, [32, 32], [64, 64], 1) };
    assert!(!is(&other(5, 1)) && !is(&other(3, 2)) && !is(&other(1, 1)));
    assert!(!is_better::<f64>(&shape(1, [32, 32], [64, 64], 1)));
}
