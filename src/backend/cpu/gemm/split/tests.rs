//! Products of f32 made of products of bf16, by tiles or the model of them.

use super::super::blocks;
use super::super::tests::{Numbers, WAYS, product_of, there_are_tiles};
use super::super::{Factor, Matrix, Product};
use super::{F32Products, choose, rounded};
use crate::backend::cpu::isa::Isa;

fn parts(x: f32) -> [f32; 3] {
    let first = rounded(x);
    let second = rounded(x - first);
    [first, second, rounded(x - first - second)]
}

/// Twenty-four bits are three times eight, so nothing is left, up to the largest number and down to where the last part
/// would be below the normal ones.
#[test]
fn the_parts_of_a_number_are_all_of_it() {
    let mut tried = 0;
    for bits in (0..=u32::MAX).step_by(30_011) {
        let x = f32::from_bits(bits);
        if !x.is_finite() || x.abs() < 2f32.powi(-102) {
            continue;
        }
        tried += 1;
        let parts = parts(x);
        assert!(parts.iter().all(|part| part.to_bits() & 0xffff == 0), "{x:e}: {parts:?} are bf16");
        assert_eq!(parts.iter().map(|&part| f64::from(part)).sum::<f64>(), f64::from(x), "{x:e}: {parts:?}");
        assert!(parts[1].abs() <= parts[0].abs() * 2f32.powi(-7) && parts[2].abs() <= parts[1].abs() * 2f32.powi(-7));
    }
    assert!(tried > 100_000);
    let most = parts(f32::MAX);
    assert_eq!(most.iter().map(|&part| f64::from(part)).sum::<f64>(), f64::from(f32::MAX));
    // To nearest, ties to even, where that is finite.
    assert_eq!(rounded(1.0 + 2f32.powi(-8)), 1.0);
    assert_eq!(rounded(1.0 + 3.0 * 2f32.powi(-8)), 1.0 + 2f32.powi(-6));
}

/// By parts, or by multiply-adds.
fn product(left: &[f32], right: &[f32], size: [usize; 3], transposed: [bool; 2], way: Option<F32Products>) -> Vec<f32> {
    product_of(left, right, size, transposed, |product| match way {
        Some(way) => product.on(Isa::Amx).of_f32_by(way),
        None => product.on(Isa::Avx512),
    })
}

/// Where all parts but the first are 0 or products are exact, so is the result, however the factors lie.
#[test]
fn integers_are_exact() {
    if !there_are_tiles() {
        return;
    }
    let mut numbers = Numbers(21);
    for [m, n, k] in [[1, 1, 1], [5, 3, 7], [33, 17, 129], [20, 150, 300], [150, 20, 33]] {
        // Up to 2^11 by up to 2^4: two parts by one; k of them stay below 2^24.
        let (mut left, mut right) = (numbers.uniform(m * k), numbers.uniform(k * n));
        left.iter_mut().for_each(|x| *x = (*x * 2048.0).round());
        right.iter_mut().for_each(|x| *x = (*x * 16.0).round());
        let exact: Vec<f32> =
            (0..m * n).map(|i| (0..k).map(|d| left[i / n * k + d] * right[d * n + i % n]).sum()).collect();
        for way in [F32Products::Split3, F32Products::Split6] {
            for transposed in WAYS {
                let found = product(&left, &right, [m, n, k], transposed, Some(way));
                assert!(found == exact, "{way:?} {m}x{n}x{k} {transposed:?}");
            }
        }
    }
}

/// Root mean squares of what is wrong, as a share of the root mean square of the results: by multiply-adds, by three
/// and by six products.
fn errors([m, n, k]: [usize; 3], left: &[f32], right: &[f32]) -> [f64; 3] {
    let term = |i: usize, d: usize| f64::from(left[i / n * k + d]) * f64::from(right[d * n + i % n]);
    let exact: Vec<f64> = (0..m * n).map(|i| (0..k).map(|d| term(i, d)).sum()).collect();
    let size: f64 = exact.iter().map(|x| x * x).sum();
    [None, Some(F32Products::Split3), Some(F32Products::Split6)].map(|way| {
        let found = product(left, right, [m, n, k], [false, true], way);
        let wrong = found.iter().zip(&exact).map(|(found, exact)| (f64::from(*found) - exact).powi(2));
        (wrong.sum::<f64>() / size).sqrt()
    })
}

/// Six products round less than multiply-adds do, as sums of 32 products meet the running one; three are off by some
/// 2^-16.
#[test]
fn six_products_are_as_good_as_multiply_adds_and_three_are_sixteen_bits() {
    if !there_are_tiles() {
        return;
    }
    let mut numbers = Numbers(22);
    for [m, n, k] in [[40, 48, 64], [33, 35, 576], [24, 40, 2304]] {
        let uniform = |numbers: &mut Numbers, count| numbers.uniform(count);
        // Of one size, and of sizes over six orders of magnitude.
        let scattered = |numbers: &mut Numbers, count: usize| -> Vec<f32> {
            let sizes = numbers.uniform(count);
            numbers.uniform(count).into_iter().zip(sizes).map(|(x, size)| x * (7.0 * size).exp()).collect()
        };
        let of_one_size = (uniform(&mut numbers, m * k), uniform(&mut numbers, k * n));
        let of_many = (scattered(&mut numbers, m * k), scattered(&mut numbers, k * n));
        for (name, (left, right)) in [("of one size", of_one_size), ("of many sizes", of_many)] {
            let [fma, three, six] = errors([m, n, k], &left, &right);
            eprintln!("{m}x{n}x{k} {name}: multiply-adds {fma:.2e}, three {three:.2e}, six {six:.2e}");
            assert!(six <= fma, "{m}x{n}x{k} {name}: {six:e} by six products, {fma:e} by multiply-adds");
            assert!(three < 2f64.powi(-16) && three > fma, "{m}x{n}x{k} {name}: {three:e} by three products");
        }
    }
}

#[test]
fn one_thread_gives_the_bits_of_many() {
    if !there_are_tiles() {
        return;
    }
    let mut numbers = Numbers(23);
    for (m, n, k) in [(100, 40, 70), (40, 48, 2000)] {
        let (left, right) = (numbers.uniform(m * k), numbers.uniform(n * k));
        let run = |threads: usize| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            let mut found = vec![0f32; m * n];
            pool.install(|| {
                let (left, right) = (Matrix::new(&left, k, m), Matrix::new(&right, n, k));
                let product = Product::new(Factor::transposed(&left), Factor::transposed(&right));
                let product = product.on(Isa::Amx).of_f32_by(F32Products::Split6);
                blocks::compute(&product, &mut found, n, true).unwrap();
            });
            found
        };
        let one = run(1);
        assert!([2, 3, 8].into_iter().all(|threads| one == run(threads)), "{m}x{n}x{k}");
    }
}

/// What is not finite is NaN in all that it is multiplied into, and in nothing else.
#[test]
fn what_is_not_finite_is_not_a_number() {
    if !there_are_tiles() {
        return;
    }
    // Among them what poison fills memory with, and NaNs whose upper half is that of infinity.
    let odd = [0xffff_ffff, 0x7fff_ffff, 0x7f80_0001, 0xff80_0001].map(f32::from_bits);
    for spoiler in [f32::INFINITY, f32::NEG_INFINITY, f32::NAN].into_iter().chain(odd) {
        let (m, n, k) = (3, 4, 5);
        for on_the_left in [true, false] {
            let (mut left, mut right) = (vec![1f32; m * k], vec![2f32; k * n]);
            if on_the_left {
                left[k + 2] = spoiler
            } else {
                right[2 * n + 1] = spoiler
            }
            for way in [F32Products::Split3, F32Products::Split6] {
                let found = product(&left, &right, [m, n, k], [false; 2], Some(way));
                for (i, found) in found.iter().enumerate() {
                    let spoilt = if on_the_left { i / n == 1 } else { i % n == 1 };
                    assert!(if spoilt { found.is_nan() } else { *found == 10.0 }, "{way:?}, {spoiler:?}, {i}: {found}");
                }
            }
        }
    }
}

#[test]
fn the_environment_chooses_what_can_be_done() {
    assert_eq!(choose("", Isa::Amx), (F32Products::Fma, None));
    assert_eq!(choose("fma", Isa::Avx2), (F32Products::Fma, None));
    assert_eq!(choose("split3", Isa::Amx), (F32Products::Split3, None));
    assert_eq!(choose("split6", Isa::Amx), (F32Products::Split6, None));
    let (way, complaint) = choose("split6", Isa::Avx512Bf16);
    assert_eq!(way, F32Products::Fma);
    let expected =
        "VERIDICAL_F32_PRODUCTS=split6: only for VERIDICAL_CPU_KERNEL=amx, and that in use is avx512bf16; using fma";
    assert_eq!(complaint.as_deref(), Some(expected));
    let (way, complaint) = choose("split9", Isa::Amx);
    assert_eq!(way, F32Products::Fma);
    assert!(complaint.unwrap().contains("expected split6, split3 or fma; using fma"));
    assert_eq!([F32Products::Fma, F32Products::Split6].map(F32Products::name), [None, Some("split6")]);
}
