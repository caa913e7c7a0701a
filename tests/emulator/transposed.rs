//! wgmma with factors whose lines stand side by side (MN-major): right in both orders of their patterns, and wrong
//! descriptors named.

use veridical::backend::gpu::{Gpu, Ptr};
use veridical::backend::tensor_map::TensorMap;
use veridical::params;

use super::device::{ORDERS, download, hopper, hoppers, launch, refusal, start, upload};
use super::hopper::{bf16, boxes, place};

params! {
    pub struct TestTransposedParams {
        a: TensorMap, b: TensorMap, c: Ptr, twist_a: u64, twist_b: u64, lines_apart_a: u32, steps_apart_a: u32,
        lines_apart_b: u32, steps_apart_b: u32, rows: u32, expected: u32, unused: [u32; 4]
    }
}

/// Lines of both factors, and steps of depth.
pub const A: usize = 64;
pub const B: usize = 256;
pub const DEPTH: usize = 64;

/// Which factors lie transposed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Turned {
    A,
    B,
    Both,
    /// Both, and the instruction is not told.
    Unsaid,
}

/// How transposed factors lie in shared memory: bytes from 64 lines to the next and from eight steps to the next, of
/// either factor. All steps of 64 lines come first, or all lines of eight steps. The left factor has 64 lines, and what
/// would lead to more is a number like no other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layout {
    LinesApart,
    StepsApart,
}

impl Layout {
    fn apart(self) -> [u32; 4] {
        match self {
            Layout::LinesApart => [16384, 1024, 8192, 1024],
            Layout::StepsApart => [4096, 2048, 1024, 4096],
        }
    }
}

/// What is wrong on purpose: bits of either descriptor, and bytes that are announced too many.
#[derive(Debug, Clone, Copy, Default)]
struct Wrong {
    a: u64,
    b: u64,
    bytes: i32,
}

fn multiply_wrong(
    gpu: &Gpu,
    turned: Turned,
    layout: Layout,
    [a, b]: [&[u16]; 2],
    wrong: Wrong,
) -> veridical::Result<Vec<f32>> {
    let (a, b, c) = (upload(gpu, a), upload(gpu, b), upload(gpu, &[0f32; A * B]));
    let rows = if layout == Layout::LinesApart { 64 } else { 8 };
    let map = |at: Ptr, lines: usize, is_turned: bool| {
        let (lines, depth) = (lines as u32, DEPTH as u32);
        let (extents, size) = if is_turned { ([lines, depth], [64, rows]) } else { ([depth, lines], [64, lines]) };
        gpu.tensor_map(&boxes(at, &extents.map(u64::from), &size, true))
    };
    let [lines_apart_a, steps_apart_a, lines_apart_b, steps_apart_b] = layout.apart();
    let p = TestTransposedParams {
        a: map(a.ptr(0), A, turned != Turned::B)?,
        b: map(b.ptr(0), B, turned != Turned::A)?,
        c: c.ptr(0),
        twist_a: wrong.a,
        twist_b: wrong.b,
        lines_apart_a,
        steps_apart_a,
        lines_apart_b,
        steps_apart_b,
        rows,
        expected: ((A + B) * DEPTH * 2).wrapping_add_signed(wrong.bytes as isize) as u32,
        unused: [0; 4],
    };
    let kernel = match turned {
        Turned::A => "test_wgmma_transposed_a",
        Turned::B => "test_wgmma_transposed_b",
        Turned::Both => "test_wgmma_transposed_both",
        Turned::Unsaid => "test_wgmma_transposed_unsaid",
    };
    start(gpu, &launch(kernel, 1, 128).shared(16384 + B * DEPTH * 2), &p)?;
    Ok(download(&c))
}

/// The sums of 128 threads, one thread's after the other's, of factors as they lie: `[64, lines]` where transposed, and
/// `[lines, 64]` else.
pub fn multiply(gpu: &Gpu, turned: Turned, layout: Layout, factors: [&[u16]; 2]) -> Vec<f32> {
    multiply_wrong(gpu, turned, layout, factors, Wrong::default()).unwrap()
}

fn entry(line: usize, step: usize, seed: usize) -> i32 {
    ((line * 29 + step * 11 + seed * 5 + line / 64 * 7 + line * step) % 13) as i32 - 6
}

fn factor(lines: usize, seed: usize, is_turned: bool) -> Vec<u16> {
    let at = |i: usize| if is_turned { (i % lines, i / lines) } else { (i / DEPTH, i % DEPTH) };
    (0..lines * DEPTH).map(at).map(|(line, step)| bf16(entry(line, step, seed))).collect()
}

fn factors(turned: Turned) -> [Vec<u16>; 2] {
    [factor(A, 1, turned != Turned::B), factor(B, 2, turned != Turned::A)]
}

#[test]
fn wgmma_multiplies_factors_that_lie_transposed() {
    for gpu in hoppers() {
        for turned in [Turned::A, Turned::B, Turned::Both] {
            for layout in [Layout::LinesApart, Layout::StepsApart] {
                let [a, b] = factors(turned);
                for (i, sum) in multiply(&gpu, turned, layout, [&a, &b]).into_iter().enumerate() {
                    let (row, column) = place(i / 128, i % 128);
                    let product: i32 = (0..DEPTH).map(|k| entry(row, k, 1) * entry(column, k, 2)).sum();
                    assert_eq!(sum, product as f32, "{gpu:?}, {turned:?} {layout:?}: {row}, {column}");
                }
            }
        }
    }
}

/// The descriptor with another offset in its field from bit `from` on.
const fn offset(from: u32, was: u64, is: u64) -> u64 {
    (was >> 4 ^ is >> 4) << from
}
const LBO: u32 = 16;
const SBO: u32 = 32;

#[test]
fn what_is_wrong_with_transposed_factors_is_named() {
    let changed = offset(LBO, 8192, 1024) | offset(SBO, 1024, 8192);
    let cases: [(Wrong, &str); 14] = [
        (
            Wrong { b: offset(LBO, 8192, 4096), ..Wrong::default() },
            "b: its lines from 64 on have step 0 of the depth in line 32",
        ),
        (Wrong { b: offset(LBO, 8192, 16384), ..Wrong::default() }, "b: reads beyond the shared memory"),
        (
            Wrong { b: offset(LBO, 8192, 8208), ..Wrong::default() },
            "b: its descriptor has a leading offset (LBO) of 8208 bytes",
        ),
        (
            Wrong { b: offset(LBO, 8192, 16), ..Wrong::default() },
            "b: its descriptor has a leading offset (LBO) of 16 bytes",
        ),
        (Wrong { b: offset(LBO, 8192, 1024), ..Wrong::default() }, "1024 bytes both from 64 lines to the next (LBO)"),
        (Wrong { b: offset(SBO, 1024, 2048), ..Wrong::default() }, "b: its step 8 of the depth stands in line 16"),
        (Wrong { b: offset(SBO, 1024, 512), ..Wrong::default() }, "b: its descriptor has a stride (SBO) of 512 bytes"),
        (Wrong { a: offset(SBO, 1024, 2048), ..Wrong::default() }, "a: its step 8 of the depth stands in line 16"),
        // LBO and SBO changed for each other.
        (Wrong { b: changed, ..Wrong::default() }, "b: its lines from 64 on have step 0 of the depth in line 8"),
        // Swizzle mode, alignment, and what a descriptor has no bits for.
        (Wrong { b: 3 << 62, ..Wrong::default() }, "b: its descriptor says swizzle mode 2"),
        (Wrong { b: 2, ..Wrong::default() }, "64 lines go beyond"),
        (Wrong { a: 8, ..Wrong::default() }, "a: its descriptor begins at line 1 of a pattern of 1024 bytes"),
        (Wrong { a: 1 << 52, ..Wrong::default() }, "has bits set that mean nothing"),
        (Wrong { bytes: 16, ..Wrong::default() }, "1 of 1 arrivals and 16 bytes outstanding"),
    ];
    for order in ORDERS {
        let gpu = hopper(order);
        let [a, b] = factors(Turned::Both);
        let text = |turned, wrong| refusal(multiply_wrong(&gpu, turned, Layout::LinesApart, [&a, &b], wrong).map(drop));
        for (wrong, part) in cases {
            let text = text(Turned::Both, wrong);
            assert!(text.contains(part), "{wrong:?}, {order}: {text}");
        }
        // Without the bit that says so, each is taken for a factor with its depth side by side.
        let text = text(Turned::Unsaid, Wrong::default());
        assert!(text.contains("(LBO) of 16384 bytes, which means nothing in this layout"), "{order}: {text}");
    }
}

/// Without the search for races nothing knows of boxes: then the wrong elements are multiplied.
#[test]
fn other_offsets_read_other_elements() {
    use veridical::backend::{EmulatorOptions, Order};
    let lenient = EmulatorOptions::default().order(Order::Late).workers(1).races(false).hopper(true);
    let gpu = Gpu::emulator(lenient).unwrap();
    let [a, b] = factors(Turned::Both);
    let right = multiply(&gpu, Turned::Both, Layout::LinesApart, [&a, &b]);
    for (a_bits, b_bits) in [
        (0, offset(LBO, 8192, 4096)),
        (0, offset(LBO, 8192, 1024) | offset(SBO, 1024, 8192)),
        (offset(SBO, 1024, 2048), 0),
    ] {
        let wrong = Wrong { a: a_bits, b: b_bits, ..Wrong::default() };
        let got = multiply_wrong(&gpu, Turned::Both, Layout::LinesApart, [&a, &b], wrong).unwrap();
        let differs = (0..right.len()).filter(|&i| got[i] != right[i]).count();
        assert!(differs > right.len() / 2, "{wrong:?}: {differs}");
    }
}
