//! The model against what GNU `as` makes of the instructions, and against results by hand.

use half::bf16;

use super::decode::{Address, Instruction, decode};
use super::handler::{products_on_this_thread, tiles_are_configured_on_this_thread};
use super::stands_in;
use super::tiles::Tiles;
use crate::backend::cpu::amx;

/// The bytes of an instruction and what follows.
fn code<const N: usize>(bytes: [u8; N]) -> [u8; 10] {
    let mut code = [0xcc; 10];
    code[..N].copy_from_slice(&bytes);
    code
}

fn at(base: Option<usize>, index: Option<(usize, u32)>, displacement: i32) -> Address {
    Address { base, index, displacement }
}

/// Each encoding is that of GNU `as` 2.40 for the text beside it.
#[test]
fn instructions_are_read_as_the_assembler_writes_them() {
    use Instruction::*;
    let [rax, rcx, rdx, rbx, rsp, rbp, rsi, rdi]: [usize; 8] = [0, 1, 2, 3, 4, 5, 6, 7];
    let cases = [
        // ldtilecfg [rax]; [r13 + 8]; [rsp + 0x40]; [r12 + r9*4 - 0x200]
        (code([0xc4, 0xe2, 0x78, 0x49, 0x00]), Configure(at(Some(rax), None, 0)), 5),
        (code([0xc4, 0xc2, 0x78, 0x49, 0x45, 0x08]), Configure(at(Some(13), None, 8)), 6),
        (code([0xc4, 0xe2, 0x78, 0x49, 0x44, 0x24, 0x40]), Configure(at(Some(rsp), None, 0x40)), 7),
        (
            [0xc4, 0x82, 0x78, 0x49, 0x84, 0x8c, 0x00, 0xfe, 0xff, 0xff],
            Configure(at(Some(12), Some((9, 2)), -0x200)),
            10,
        ),
        // tilerelease
        (code([0xc4, 0xe2, 0x78, 0x49, 0xc0]), Release, 5),
        // tilezero tmm0; tmm5
        (code([0xc4, 0xe2, 0x7b, 0x49, 0xc0]), Zero(0), 5),
        (code([0xc4, 0xe2, 0x7b, 0x49, 0xe8]), Zero(5), 5),
        // tileloadd tmm1, [rax + rcx*1]; tmm7, [r8 + r15*2 + 0x40]; tmm2, [rbp + rsi*8]
        (code([0xc4, 0xe2, 0x7b, 0x4b, 0x0c, 0x08]), Load(1, at(Some(rax), Some((rcx, 0)), 0)), 6),
        (code([0xc4, 0x82, 0x7b, 0x4b, 0x7c, 0x78, 0x40]), Load(7, at(Some(8), Some((15, 1)), 0x40)), 7),
        (code([0xc4, 0xe2, 0x7b, 0x4b, 0x54, 0xf5, 0x00]), Load(2, at(Some(rbp), Some((rsi, 3)), 0)), 7),
        // tileloadd tmm3, [rdi + rdx*1 - 0x12345]; tmm4, [rbx]; tmm6, [rcx*4 + 0x1000]
        (
            [0xc4, 0xe2, 0x7b, 0x4b, 0x9c, 0x17, 0xbb, 0xdc, 0xfe, 0xff],
            Load(3, at(Some(rdi), Some((rdx, 0)), -0x12345)),
            10,
        ),
        (code([0xc4, 0xe2, 0x7b, 0x4b, 0x24, 0x23]), Load(4, at(Some(rbx), None, 0)), 6),
        ([0xc4, 0xe2, 0x7b, 0x4b, 0x34, 0x8d, 0x00, 0x10, 0x00, 0x00], Load(6, at(None, Some((rcx, 2)), 0x1000)), 10),
        // tileloaddt1 tmm6, [r13 + r12*1]
        (code([0xc4, 0x82, 0x79, 0x4b, 0x74, 0x25, 0x00]), Load(6, at(Some(13), Some((12, 0)), 0)), 7),
        // tilestored [r14 + rax*1 + 0x40], tmm3; [rdx + r11*1], tmm0
        (code([0xc4, 0xc2, 0x7a, 0x4b, 0x5c, 0x06, 0x40]), Store(at(Some(14), Some((rax, 0)), 0x40), 3), 7),
        (code([0xc4, 0xa2, 0x7a, 0x4b, 0x04, 0x1a]), Store(at(Some(rdx), Some((11, 0)), 0), 0), 6),
        // tdpbf16ps tmm0, tmm4, tmm6; tmm3, tmm5, tmm7; tmm7, tmm1, tmm2
        (code([0xc4, 0xe2, 0x4a, 0x5c, 0xc4]), MultiplyBf16 { sums: 0, left: 4, right: 6 }, 5),
        (code([0xc4, 0xe2, 0x42, 0x5c, 0xdd]), MultiplyBf16 { sums: 3, left: 5, right: 7 }, 5),
        (code([0xc4, 0xe2, 0x6a, 0x5c, 0xf9]), MultiplyBf16 { sums: 7, left: 1, right: 2 }, 5),
    ];
    for (code, instruction, length) in cases {
        assert_eq!(decode(&code), Ok(Some((instruction, length))), "{code:02x?}");
    }
}

#[test]
fn what_is_no_instruction_on_tiles_is_left_to_others() {
    for code in [
        code([0x0f, 0x0b]),                         // ud2
        code([0x62, 0xf2, 0x75, 0x48, 0xb8, 0xc2]), // vfmadd231ps zmm0, zmm1, zmm2
        code([0xc4, 0xe2, 0x75, 0xb8, 0xc2]),       // vfmadd231ps ymm0, ymm1, ymm2
        code([0xc4, 0xe3, 0x75, 0x4b, 0xc2, 0x30]), // vblendvpd ymm0, ymm1, ymm2, ymm3: opcode 4B of another map
    ] {
        assert_eq!(decode(&code), Ok(None), "{code:02x?}");
    }
}

#[test]
fn what_the_cpu_refuses_is_an_error() {
    for (code, why) in [
        (code([0xc4, 0xe2, 0xfb, 0x49, 0xc0]), "VEX.W"), // tilezero tmm0 with W
        (code([0xc4, 0xe2, 0x7f, 0x49, 0xc0]), "VEX.L"), // tilezero tmm0 with L
        (code([0xc4, 0xe2, 0x73, 0x49, 0xc0]), "VEX.vvvv"), // tilezero tmm0 with a third operand
        (code([0xc4, 0x62, 0x7b, 0x49, 0xc0]), "beyond the eighth"), // tilezero of tile 8
        (code([0xc4, 0xe2, 0x0a, 0x5c, 0xc4]), "beyond the eighth"), // tdpbf16ps with tile 14
        (code([0xc4, 0xc2, 0x4a, 0x5c, 0xc4]), "beyond the eighth"), // tdpbf16ps with tile 12
        (code([0xc4, 0xe2, 0x7b, 0x4b, 0x08]), "without an SIB"), // tileloadd tmm1, [rax] without SIB
        (code([0xc4, 0xe2, 0x79, 0x49, 0x00]), "does not have"), // sttilecfg [rax]
        (code([0xc4, 0xe2, 0x6b, 0x5e, 0xc1]), ""),      // tdpbssd tmm0, tmm1, tmm2
    ] {
        match decode(&code) {
            Err(found) => assert!(!why.is_empty() && found.contains(why), "{code:02x?}: {found}"),
            found => assert!(why.is_empty() && found == Ok(None), "{code:02x?}: {found:?}"),
        }
    }
}

/// Shapes of the first three tiles, each rows and bytes of a row.
fn shapes(of: [(u8, u16); 3]) -> [u8; 64] {
    let mut memory = [0; 64];
    memory[0] = 1;
    for (tile, (rows, bytes)) in of.into_iter().enumerate() {
        memory[16 + 2 * tile..][..2].copy_from_slice(&bytes.to_le_bytes());
        memory[48 + tile] = rows;
    }
    memory
}

/// The bytes of numbers in bf16.
fn halves(numbers: &[f32]) -> Vec<u8> {
    numbers.iter().flat_map(|&x| bf16::from_f32(x).to_le_bytes()).collect()
}

/// What is left of `sums` after `sums += left * right`, one row by one column of as many pairs.
fn dot(sum: f32, left: &[f32], right: &[f32]) -> f32 {
    let pairs = (left.len() / 2) as u8;
    let mut tiles = Tiles::new();
    tiles.configure(&shapes([(1, 4), (1, 4 * u16::from(pairs)), (pairs, 4)])).unwrap();
    let (left, right, mut sum) = (halves(left), halves(right), sum.to_le_bytes());
    // SAFETY: one row, one row of all pairs, and rows of a pair each; the arrays have that.
    unsafe {
        tiles.load(0, sum.as_ptr(), 0).unwrap();
        tiles.load(1, left.as_ptr(), 0).unwrap();
        tiles.load(2, right.as_ptr(), 4).unwrap();
        tiles.multiply_bf16(0, 1, 2).unwrap();
        tiles.store(0, sum.as_mut_ptr(), 0).unwrap();
    }
    f32::from_le_bytes(sum)
}

#[test]
fn a_product_of_tiles_is_that_of_matrices() {
    // [1 2 3 4; 5 6 7 8; 9 10 11 12] by [1 10; 2 20; 3 30; 4 40], rows of the right tile being pairs of its rows.
    let mut tiles = Tiles::new();
    tiles.configure(&shapes([(3, 8), (3, 8), (2, 8)])).unwrap();
    let left = halves(&[1.0, 2.0, 3.0, 4.0, 99.0, 99.0, 5.0, 6.0, 7.0, 8.0, 99.0, 99.0, 9.0, 10.0, 11.0, 12.0]);
    let right = halves(&[1.0, 2.0, 10.0, 20.0, 3.0, 4.0, 30.0, 40.0]);
    let mut sums = [1000f32, 2000.0, -1.0, 3000.0, 4000.0, -1.0, 5000.0, 6000.0];
    // SAFETY: rows of 8 bytes, three 12 bytes apart and two 8 bytes apart; the arrays have that.
    unsafe {
        tiles.load(0, sums.as_ptr().cast(), 12).unwrap();
        tiles.load(1, left.as_ptr(), 12).unwrap();
        tiles.load(2, right.as_ptr(), 8).unwrap();
        tiles.multiply_bf16(0, 1, 2).unwrap();
        tiles.store(0, sums.as_mut_ptr().cast(), 12).unwrap();
    }
    assert_eq!(sums, [1030.0, 2300.0, -1.0, 3070.0, 4700.0, -1.0, 5110.0, 7100.0]);
}

/// The even products are summed apart from the odd ones, both before they meet what the tile holds.
#[test]
fn products_are_added_in_the_order_of_the_manual() {
    let (large, tiny) = (2f32.powi(24), 1.0);
    // Even: 2^24 + 1 rounds to 2^24, twice. Odd: 1 + 1. In the order of the depth it would be 2^24 throughout.
    assert_eq!(dot(0.0, &[large, tiny, tiny, tiny, tiny, 0.0], &[1.0; 6]), 16_777_218.0);
    // One after the other, 1 would be lost each time; their sum of 4 is not.
    assert_eq!(dot(large, &[1.0; 4], &[1.0; 4]), 16_777_220.0);
    // A product is not rounded before it is added: by itself 2^128 is no number, and 2^-127 would be 0.
    let (half, least) = (2f32.powi(127), 2f32.powi(-63));
    assert_eq!(dot(0.0, &[-half, 0.0, 2f32.powi(64), 0.0], &[1.0, 0.0, 2f32.powi(64), 0.0]), half);
    assert_eq!(dot(0.0, &[least, 0.0, least, 0.0], &[least, 0.0, least / 2.0, 0.0]), 1.5 * f32::MIN_POSITIVE);
}

#[test]
fn sums_are_rounded_to_nearest_even() {
    let large = 2f32.powi(24);
    for (sum, more, expected) in
        [(large, 1.0, large), (large, 3.0, large + 4.0), (large + 2.0, 1.0, large + 4.0), (-large, -3.0, -large - 4.0)]
    {
        assert_eq!(dot(sum, &[more, 0.0], &[1.0, 0.0]), expected, "{sum} + {more}");
    }
}

#[test]
fn numbers_below_the_normal_ones_are_zero() {
    let least = f32::MIN_POSITIVE;
    // Going in: a factor, and what the tile holds.
    assert_eq!(dot(0.0, &[least / 2.0, 0.0], &[2f32.powi(100), 0.0]), 0.0);
    assert_eq!(dot(least / 2.0, &[least, 0.0], &[1.0, 0.0]), least);
    // Coming out, with the sign: a product, of which 2^-127 would make up half of the result; a difference.
    assert_eq!(dot(0.0, &[2f32.powi(-63), 0.0], &[2f32.powi(-64), 0.0]), 0.0);
    assert_eq!(dot(0.0, &[2f32.powi(-63), 2f32.powi(-63)], &[2f32.powi(-64), 2f32.powi(-64)]), 0.0);
    assert_eq!(dot(1.5 * least, &[-least, 0.0], &[1.0, 0.0]).to_bits(), 0);
    assert_eq!(dot(-1.5 * least, &[least, -0.0], &[1.0, 1.0]).to_bits(), (-0f32).to_bits());
    // The least normal number is one.
    assert_eq!(dot(0.0, &[2f32.powi(-63), 0.0], &[2f32.powi(-63), 0.0]), least);
}

#[test]
fn what_is_not_finite_stays_so() {
    let inf = f32::INFINITY;
    assert_eq!(dot(1.0, &[inf, 1.0], &[2.0, 1.0]), inf);
    assert_eq!(dot(-inf, &[1.0, 1.0], &[2.0, 1.0]), -inf);
    for nan in [
        dot(1.0, &[f32::NAN, 1.0], &[2.0, 1.0]),
        dot(f32::NAN, &[1.0, 1.0], &[2.0, 1.0]),
        dot(1.0, &[inf, 1.0], &[0.0, 1.0]),
        dot(1.0, &[inf, -inf], &[1.0, 1.0]),
    ] {
        assert!(nan.is_nan());
    }
}

#[test]
fn shapes_that_the_cpu_refuses_are_errors() {
    let right = shapes([(16, 64), (1, 64), (16, 4)]);
    let mut tiles = Tiles::new();
    assert!(tiles.configure(&right).is_ok() && tiles.are_configured());
    let with = |at: usize, byte: u8| {
        let mut memory = right;
        memory[at] = byte;
        memory
    };
    for (memory, why) in [
        (with(0, 2), "a palette"),
        (with(2, 1), "reserved"),
        (with(32, 1), "reserved"),
        (with(63, 1), "reserved"),
        (with(48, 17), "more than 16 rows"),
        (with(16, 65), "more than 64 bytes"),
        (with(17, 1), "more than 64 bytes"),
        (with(49, 0), "bytes of no rows"),
        (with(51, 1), "rows of no bytes"),
    ] {
        assert!(tiles.configure(&memory).is_err_and(|error| error.contains(why)), "{why}");
    }
    assert!(tiles.configure(&[0; 64]).is_ok() && !tiles.are_configured(), "palette 0 is no tiles");
}

#[test]
fn tiles_that_do_not_fit_are_errors() {
    let mut tiles = Tiles::new();
    let says = |found: Result<(), &str>, why: &str| assert!(found.is_err_and(|error| error.contains(why)), "{why}");
    says(tiles.zero(0), "no tiles are configured");
    says(tiles.multiply_bf16(0, 1, 2), "no tiles are configured");
    let mut sums = [0f32; 4];
    // SAFETY: refused before anything is read or written.
    says(unsafe { tiles.load(0, sums.as_ptr().cast(), 4) }, "no tiles are configured");
    // SAFETY: as above.
    says(unsafe { tiles.store(0, sums.as_mut_ptr().cast(), 4) }, "no tiles are configured");
    tiles.configure(&shapes([(2, 8), (2, 4), (1, 8)])).unwrap();
    assert_eq!(tiles.multiply_bf16(0, 1, 2), Ok(()));
    says(tiles.multiply_bf16(0, 1, 1), "twice");
    says(tiles.multiply_bf16(0, 0, 2), "twice");
    says(tiles.multiply_bf16(2, 1, 2), "twice");
    says(tiles.multiply_bf16(0, 2, 1), "fit each other");
    says(tiles.multiply_bf16(0, 1, 3), "without a shape");
    says(tiles.zero(7), "without a shape");
    tiles.configure(&shapes([(2, 6), (2, 4), (1, 6)])).unwrap();
    says(tiles.multiply_bf16(0, 1, 2), "whole numbers of four");
    let mut behind = shapes([(2, 8), (2, 4), (1, 8)]);
    behind[1] = 2;
    tiles.configure(&behind).unwrap();
    // SAFETY: as above.
    says(unsafe { tiles.load(0, sums.as_ptr().cast(), 4) }, "behind the last row");
    tiles.release();
    says(tiles.zero(0), "no tiles are configured");
}

/// Rows of a tile are as far apart as the index says, also by nothing; an interrupted load goes on where it stopped,
/// and the next one begins at the first row again.
#[test]
fn rows_are_where_the_instruction_says() {
    let mut tiles = Tiles::new();
    let mut interrupted = shapes([(2, 4), (0, 0), (0, 0)]);
    interrupted[1] = 1;
    tiles.configure(&interrupted).unwrap();
    let (from, mut found) = ([1u8, 1, 1, 1, 2, 2, 2, 2], [9u8; 12]);
    // SAFETY: two rows of 4 bytes, at most 8 apart; the arrays have that.
    unsafe {
        tiles.load(0, from.as_ptr(), 4).unwrap();
        tiles.store(0, found.as_mut_ptr(), 8).unwrap();
        assert_eq!(found, [0, 0, 0, 0, 9, 9, 9, 9, 2, 2, 2, 2]);
        tiles.load(0, from.as_ptr().add(4), -4).unwrap();
        tiles.store(0, found.as_mut_ptr(), 4).unwrap();
        assert_eq!(found, [2, 2, 2, 2, 1, 1, 1, 1, 2, 2, 2, 2]);
        tiles.store(0, found.as_mut_ptr(), 0).unwrap();
        assert_eq!(found, [1, 1, 1, 1, 1, 1, 1, 1, 2, 2, 2, 2]);
        tiles.zero(0).unwrap();
        tiles.store(0, found.as_mut_ptr(), 8).unwrap();
        assert_eq!(found, [0, 0, 0, 0, 1, 1, 1, 1, 0, 0, 0, 0]);
    }
}

/// What the crate's own instructions leave behind, through the signal: each thread has its tiles.
#[test]
fn each_thread_has_its_own_tiles() {
    if !stands_in() {
        eprintln!("not tested: the CPU has tiles, and nothing stands in for them");
        return;
    }
    // SAFETY: the model does what the CPU does not.
    unsafe { amx::configure() };
    assert!(tiles_are_configured_on_this_thread());
    let other = std::thread::spawn(|| {
        let before = (tiles_are_configured_on_this_thread(), products_on_this_thread());
        // SAFETY: as above.
        let (multiply_adds, sum) = unsafe { amx::multiply_tiles(3) };
        (before, multiply_adds, sum, products_on_this_thread(), tiles_are_configured_on_this_thread())
    });
    let one_product = 16 * 16 * 32;
    assert_eq!(other.join().unwrap(), ((false, 0), 4 * one_product, (3 * 4 * one_product) as f32, 12, false));
    // SAFETY: as above.
    unsafe { amx::release() };
    assert!(!tiles_are_configured_on_this_thread());
}

/// A refusal ends the process, so that no test can pass over it.
#[test]
fn a_refused_instruction_ends_the_process() {
    const WITHOUT_SHAPES: &str = "VERIDICAL_TEST_OF_TILES_WITHOUT_SHAPES";
    if !stands_in() {
        eprintln!("not tested: the CPU has tiles, and nothing stands in for them");
        return;
    }
    if std::env::var_os(WITHOUT_SHAPES).is_some() {
        let (left, right, mut to) = ([0f32; 256], [0f32; 512], [0f32; 256]);
        let (left, right, to) = (left.as_ptr(), right.as_ptr(), to.as_mut_ptr());
        let block = amx::Block { left, right, steps: &[amx::Step { left: 0, right: 0 }], to, to_stride: 64 };
        // SAFETY: tiles without shapes, which is what is refused.
        unsafe { amx::one_by_one(&block) };
        return;
    }
    let mut test = std::process::Command::new(std::env::current_exe().unwrap());
    let name = "backend::cpu::amx::model::tests::a_refused_instruction_ends_the_process";
    let output = test.args(["--exact", name]).env(WITHOUT_SHAPES, "1").output().unwrap();
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && text.contains("no tiles are configured on this thread"), "{text}");
}

/// Where the CPU has tiles this is what shows whether it does as the model says: with numbers of about unit size, of
/// every size, and below the normal ones.
#[test]
fn the_cpu_does_what_the_model_does() {
    if amx::lack().is_some() && !stands_in() {
        return;
    }
    let mut state = 0x2545_f491_4f6c_dd1du64;
    let mut word = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 32) as u32
    };
    // Bits of the exponent that stay as they are drawn, in both halves; and those that are set.
    for (mask, set) in [(0x807f_807f, 0x3f80_3f80), (u32::MAX, 0), (0x83ff_83ff, 0), (0x80ff_80ff, 0x2000_2000)] {
        for _ in 0..50 {
            let mut words = [0f32; 16 * 48];
            words.iter_mut().for_each(|to| *to = f32::from_bits(word() & mask | set));
            // 16 rows of 16 pairs, and 16 steps of 32, of which the first 16 count.
            let (left, right) = words.split_at(16 * 16);
            let (mut found, mut expected) = ([0f32; 256], [0f32; 256]);
            let mut model = Tiles::new();
            model.configure(&amx::SHAPES.0).unwrap();
            // SAFETY: there are 16 rows of 64 bytes in each place, 64 or 128 bytes apart.
            unsafe {
                amx::configure();
                amx::one_by_one(&amx::Block {
                    left: left.as_ptr(),
                    right: right.as_ptr(),
                    steps: &[amx::Step { left: 0, right: 0 }],
                    to: found.as_mut_ptr(),
                    to_stride: 64,
                });
                amx::release();
                model.load(4, left.as_ptr().cast(), 64).unwrap();
                model.load(6, right.as_ptr().cast(), 128).unwrap();
                model.zero(0).unwrap();
                model.multiply_bf16(0, 4, 6).unwrap();
                model.store(0, expected.as_mut_ptr().cast(), 64).unwrap();
            }
            for (i, (found, expected)) in found.into_iter().zip(expected).enumerate() {
                let same = found.to_bits() == expected.to_bits() || found.is_nan() && expected.is_nan();
                assert!(same, "exponents {mask:#x}, {i}: {found:e}, and {expected:e} by the model");
            }
        }
    }
}
