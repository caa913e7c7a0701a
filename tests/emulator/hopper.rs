//! mbarriers, boxes of tensors and wgmma against what the PTX ISA says of them, with whole numbers, so that equal means
//! equal.

use veridical::backend::gpu::{Gpu, Launch, Ptr};
use veridical::backend::tensor_map::{Boxes, TensorMap};
use veridical::params;

use super::device::{device, download, hopper, hoppers, launch, refusal, start, upload};
use veridical::backend::Order;

params! { pub struct TestBoxParams { map: TensorMap, y: Ptr, at: [i32; 4], axes: u32, bytes: u32, expected: u32, fault: u32, unused: [u32; 6] } }
params! { pub struct TestRingParams { map: TensorMap, y: Ptr, count: u32, fault: u32, unused: [u32; 12] } }
params! { pub struct TestWgmmaParams { a: TensorMap, b: TensorMap, c: Ptr, twist: u64, depth: u32, fault: u32, unused: [u32; 10] } }
params! { pub struct TestRegistersParams { y: Ptr, fault: u64 } }

/// A whole number of at most 8 bits as bf16.
pub fn bf16(value: i32) -> u16 {
    ((value as f32).to_bits() >> 16) as u16
}

/// Boxes of a tensor whose elements stand without gaps.
pub fn boxes(address: Ptr, extents: &[u64], size: &[u32], swizzled: bool) -> Boxes {
    let strides = extents.iter().scan(2, |bytes, extent| {
        *bytes *= extent;
        Some(*bytes)
    });
    let strides = strides.take(extents.len() - 1).collect();
    Boxes { address, extents: extents.into(), strides, size: size.into(), swizzled }
}

/// Loads the box at `at` of a tensor of these extents that holds `words`: what stands in shared memory then.
pub fn load_box(gpu: &Gpu, words: &[u16], extents: &[u64], size: &[u32], swizzled: bool, at: &[i32]) -> Vec<u16> {
    let bytes = 2 * size.iter().product::<u32>();
    let (x, y) = (upload(gpu, words), upload(gpu, &vec![0u16; bytes as usize / 2]));
    let map = gpu.tensor_map(&boxes(x.ptr(0), extents, size, swizzled)).unwrap();
    let mut place = [0; 4];
    place[..at.len()].copy_from_slice(at);
    let p = TestBoxParams {
        map,
        y: y.ptr(0),
        at: place,
        axes: at.len() as u32,
        bytes,
        expected: bytes,
        fault: 0,
        unused: [0; 6],
    };
    start(gpu, &launch("test_tensor_load", 1, 64).shared(bytes as usize), &p).unwrap();
    download(&y)
}

#[test]
fn a_box_is_what_the_tensor_has_there_and_zeros_outside() {
    for gpu in hoppers() {
        for (extents, size, swizzled, at) in [
            (&[128, 10][..], &[64, 16][..], true, &[64, -3][..]),
            (&[72, 40], &[64, 8], true, &[64, 36]),
            (&[40, 7], &[32, 4], false, &[-8, 2]),
            (&[64, 5, 3], &[64, 5, 1], true, &[0, 0, 2]),
            (&[64, 5, 3], &[64, 4, 2], true, &[0, 3, -1]),
            // As a convolution asks for it: the first and the last tap of images of 8 x 8, and beyond the last image.
            (&[64, 8, 8, 3], &[64, 8, 8, 2], true, &[0, -1, -1, 0]),
            (&[64, 8, 8, 3], &[64, 8, 8, 2], true, &[0, 1, 1, 2]),
            (&[128, 4, 6, 2], &[64, 4, 2, 1], true, &[64, 1, 5, 1]),
        ] {
            let count = extents.iter().product::<u64>() as usize;
            // Each element is its own number, and none is zero.
            let words: Vec<u16> = (1..=count as u16).collect();
            let got = load_box(&gpu, &words, extents, size, swizzled, at);
            let line = size[0] as usize;
            for (i, &found) in got.iter().enumerate() {
                // PTX ISA, swizzling modes: of each 1024 bytes, the 16 bytes with number u in line r stand at u ^ r.
                let (row, unit) = (i / line, i % line / 8);
                let column = if swizzled { (unit ^ (row % 8)) * 8 + i % 8 } else { i % line };
                let (mut rest, mut from, mut step, mut inside) = (row, 0, 1, true);
                for (axis, ((&extent, &size), &at)) in extents.iter().zip(size).zip(at).enumerate() {
                    let within = if axis == 0 { column } else { rest % size as usize };
                    if axis > 0 {
                        rest /= size as usize;
                    }
                    let place = i64::from(at) + within as i64;
                    inside &= (0..extent as i64).contains(&place);
                    from += place * step;
                    step *= extent as i64;
                }
                let expected = if inside { words[from as usize] } else { 0 };
                assert_eq!(found, expected, "{gpu:?}, {extents:?} {size:?} at {at:?}: element {i}");
            }
            let zeros = got.iter().filter(|&&word| word == 0).count();
            assert!(zeros < got.len(), "{extents:?} at {at:?} is nothing but zeros");
        }
    }
}

#[test]
fn a_ring_of_boxes_keeps_its_slots_apart() {
    for gpu in hoppers() {
        for count in [1u32, 2, 3, 9] {
            let words: Vec<u16> = (0..64 * count as u16).collect();
            let (x, y) = (upload(&gpu, &words), upload(&gpu, &vec![0u16; words.len()]));
            let map = gpu.tensor_map(&boxes(x.ptr(0), &[64, count.into()], &[64, 1], false)).unwrap();
            let p = TestRingParams { map, y: y.ptr(0), count, fault: 0, unused: [0; 12] };
            start(&gpu, &launch("test_box_ring", 1, 64).shared(2048), &p).unwrap();
            assert_eq!(download::<u16>(&y), words, "{gpu:?}, {count} lines");
        }
    }
}

fn entry(line: usize, step: usize, seed: usize) -> i32 {
    ((line * 31 + step * 17 + seed * 7 + line * step) % 13) as i32 - 6
}

/// Lines of 64 steps.
pub fn factor(lines: usize, seed: usize) -> Vec<u16> {
    (0..lines * 64).map(|i| bf16(entry(i / 64, i % 64, seed))).collect()
}

/// The sums of 128 threads after `test_wgmma_n<columns>`, one thread's after the other's.
pub fn multiply(
    gpu: &Gpu,
    columns: usize,
    depth: u32,
    [a, b]: [&[u16]; 2],
    fault: u32,
    twist: u64,
) -> veridical::Result<Vec<f32>> {
    let (a, b) = (upload(gpu, a), upload(gpu, b));
    let c = upload(gpu, &vec![0f32; 64 * columns]);
    let p = TestWgmmaParams {
        a: gpu.tensor_map(&boxes(a.ptr(0), &[64, 64], &[64, 64], true))?,
        b: gpu.tensor_map(&boxes(b.ptr(0), &[64, columns as u64], &[64, columns as u32], true))?,
        c: c.ptr(0),
        twist,
        depth,
        fault,
        unused: [0; 10],
    };
    let kernel = if columns == 64 { "test_wgmma_n64" } else { "test_wgmma_n256" };
    start(gpu, &launch(kernel, 1, 128).shared(8192 + columns * 128), &p)?;
    Ok(download(&c))
}

/// PTX ISA, "Matrix fragments for wgmma accumulator D": row and column of register `i` of a thread.
pub fn place(thread: usize, i: usize) -> (usize, usize) {
    let (warp, lane) = (thread / 32, thread % 32);
    (16 * warp + lane / 4 + if i % 4 < 2 { 0 } else { 8 }, i / 4 * 8 + lane % 4 * 2 + i % 2)
}

#[test]
fn wgmma_multiplies_tiles_that_boxes_brought() {
    for gpu in hoppers() {
        for (columns, depth) in [(64, 16), (64, 64), (256, 48), (256, 64)] {
            let (a, b) = (factor(64, 1), factor(columns, 2));
            let sums = multiply(&gpu, columns, depth, [&a, &b], 0, 0).unwrap();
            // The wider one adds to ones; the other one's first product does not add.
            let first = if columns == 256 { 1 } else { 0 };
            for (i, sum) in sums.into_iter().enumerate() {
                let (row, column) = place(i / (columns / 2), i % (columns / 2));
                let product: i32 = (0..depth as usize).map(|k| entry(row, k, 1) * entry(column, k, 2)).sum();
                assert_eq!(sum, (first + product) as f32, "{gpu:?}, n{columns}, depth {depth}: {row}, {column}");
            }
        }
    }
}

/// What threads have written is there for wgmma behind a proxy_fence.
#[test]
fn wgmma_multiplies_what_threads_wrote_and_fenced() {
    for gpu in hoppers() {
        let b = factor(256, 2);
        let sums = multiply(&gpu, 256, 64, [&factor(64, 1), &b], 8, 0).unwrap();
        for (i, sum) in sums.into_iter().enumerate() {
            let (_, column) = place(i / 128, i % 128);
            let product: i32 = (0..64).map(|k| entry(column, k, 2)).sum();
            assert_eq!(sum, (1 + product) as f32, "{gpu:?}, column {column}");
        }
    }
}

#[test]
fn registers_go_from_one_warpgroup_to_others() {
    for gpu in hoppers() {
        let y = upload(&gpu, &[0u32; 3]);
        start(&gpu, &launch("test_registers", 1, 384), &TestRegistersParams { y: y.ptr(0), fault: 0 }).unwrap();
        assert_eq!(download::<u32>(&y), [1; 3]);
    }
}

/// 227 KiB of shared memory for a block, and only there.
#[test]
fn a_hopper_has_more_shared_memory() {
    let (new, old) = (hopper(Order::Early), device(Order::Early));
    let p = |y: Ptr| super::faults::TestFaultParams { y, n: 0, how: 1, unused: 0 };
    let of = |gpu: &Gpu, shared| {
        let y = upload(gpu, &[0f32; 16]);
        start(gpu, &Launch { kernel: "test_shared_bounds", grid: [1, 1, 1], threads: 64, shared }, &p(y.ptr(0)))
    };
    of(&new, 226 << 10).unwrap();
    assert!(refusal(of(&new, (226 << 10) + 16)).contains("limit is 232448"));
    assert!(refusal(of(&new, (227 << 10) + 16)).contains("at most 232448 bytes"));
    assert!(refusal(of(&old, 100 << 10)).contains("at most 101376 bytes"));
    assert!(old.hopper().is_none() && new.hopper().is_some());
}
