//! The matrix instructions against the PTX ISA's own statement of who holds what, with integers, so that equal means
//! equal.

use veridical::backend::Order;
use veridical::backend::gpu::Ptr;
use veridical::params;

use super::device::{device, devices, download, launch, refusal, start, upload};

params! { pub struct TestMatrixParams { a: Ptr, b: Ptr, c: Ptr, trans: u32, count: u32 } }

/// An integer of at most 8 bits is exact in bf16.
fn bf16(value: i32) -> u16 {
    ((value as f32).to_bits() >> 16) as u16
}

fn entry(i: usize, j: usize, seed: usize) -> i32 {
    ((i * 31 + j * 17 + seed * 7 + i * j) % 23) as i32 - 11
}

#[test]
fn ldmatrix_gives_each_lane_its_two_elements() {
    // 32 rows of 8 elements, each element its own number; the rows are addressed out of order.
    let tile: Vec<u16> = (0..256).collect();
    let rows: Vec<u32> = (0..32).map(|l| (l * 5 + 3) % 32).collect();
    for gpu in devices() {
        for count in [1usize, 2, 4] {
            for trans in [false, true] {
                let (a, b, c) = (upload(&gpu, &tile), upload(&gpu, &rows), upload(&gpu, &[0u32; 128]));
                let p = TestMatrixParams {
                    a: a.ptr(0),
                    b: b.ptr(0),
                    c: c.ptr(0),
                    trans: trans.into(),
                    count: count as u32,
                };
                start(&gpu, &launch("test_ldmatrix", 1, 32), &p).unwrap();
                let got = download::<u32>(&c);
                // PTX ISA, ldmatrix: threads 8j..8j+7 give the rows of matrix j. Of each matrix, thread 0 gets the
                // first two elements of row 0, thread 1 the next two, thread 4 the first two of row 1, and so on; with
                // .trans the same of the transposed matrix.
                for j in 0..count {
                    let element = |row: usize, col: usize| u32::from(tile[8 * rows[8 * j + row] as usize + col]);
                    let mut thread = 0;
                    for row in 0..8 {
                        for pair in 0..4 {
                            let at = |col| if trans { element(col, row) } else { element(row, col) };
                            let expected = at(2 * pair) | at(2 * pair + 1) << 16;
                            assert_eq!(
                                got[4 * thread + j],
                                expected,
                                "{gpu:?} x{count} {trans}, lane {thread}, matrix {j}"
                            );
                            thread += 1;
                        }
                    }
                }
            }
        }
    }
}

#[test]
fn mma_multiplies_the_fragments_of_the_ptx_table() {
    let mut a = vec![0u16; 32 * 8];
    let mut b = vec![0u16; 32 * 4];
    let mut c = vec![0f32; 32 * 4];
    // PTX ISA, "Matrix fragments for mma.m16n8k16 with floating point type", element i of a lane's fragment:
    let row_col_a = |lane: usize, i: usize| {
        let (group, thread) = (lane >> 2, lane % 4);
        let row = if i < 2 || (4..6).contains(&i) { group } else { group + 8 };
        let col = thread * 2 + (i & 1) + if i < 4 { 0 } else { 8 };
        (row, col)
    };
    let row_col_b = |lane: usize, i: usize| ((lane % 4) * 2 + (i & 1) + if i < 2 { 0 } else { 8 }, lane >> 2);
    let row_col_c = |lane: usize, i: usize| (if i < 2 { lane >> 2 } else { (lane >> 2) + 8 }, (lane % 4) * 2 + (i & 1));
    for lane in 0..32 {
        for i in 0..8 {
            let (row, col) = row_col_a(lane, i);
            a[8 * lane + i] = bf16(entry(row, col, 1));
        }
        for i in 0..4 {
            let (row, col) = row_col_b(lane, i);
            b[4 * lane + i] = bf16(entry(row, col, 2));
            let (row, col) = row_col_c(lane, i);
            c[4 * lane + i] = entry(row, col, 3) as f32;
        }
    }
    for gpu in devices() {
        let (ba, bb, bc) = (upload(&gpu, &a), upload(&gpu, &b), upload(&gpu, &c));
        let p = TestMatrixParams { a: ba.ptr(0), b: bb.ptr(0), c: bc.ptr(0), trans: 0, count: 0 };
        start(&gpu, &launch("test_mma", 1, 32), &p).unwrap();
        let got = download::<f32>(&bc);
        for lane in 0..32 {
            for i in 0..4 {
                let (row, col) = row_col_c(lane, i);
                let product: i32 = (0..16).map(|k| entry(row, k, 1) * entry(k, col, 2)).sum();
                assert_eq!(
                    got[4 * lane + i],
                    (product + entry(row, col, 3)) as f32,
                    "{gpu:?}, row {row}, column {col}"
                );
            }
        }
    }
}

#[test]
fn ldmatrix_and_mma_fit_together() {
    let a: Vec<u16> = (0..256).map(|i| bf16(entry(i / 16, i % 16, 4))).collect();
    let b = |k: usize, n: usize| entry(k, n, 5);
    let by_row: Vec<u16> = (0..128).map(|i| bf16(b(i / 8, i % 8))).collect();
    let by_column: Vec<u16> = (0..128).map(|i| bf16(b(i % 16, i / 16))).collect();
    let expected: Vec<f32> =
        (0..128).map(|i| (0..16).map(|k| entry(i / 8, k, 4) * b(k, i % 8)).sum::<i32>() as f32).collect();
    for gpu in devices() {
        for (trans, b) in [(1, &by_row), (0, &by_column)] {
            let (ba, bb, bc) = (upload(&gpu, &a), upload(&gpu, b), upload(&gpu, &[0f32; 128]));
            let p = TestMatrixParams { a: ba.ptr(0), b: bb.ptr(0), c: bc.ptr(0), trans, count: 0 };
            start(&gpu, &launch("test_tile_product", 1, 32), &p).unwrap();
            assert_eq!(download::<f32>(&bc), expected, "{gpu:?}, trans {trans}");
        }
    }
}

#[test]
fn a_row_of_a_matrix_is_checked_like_any_access() {
    let gpu = device(Order::Early);
    let mut rows: Vec<u32> = (0..32).collect();
    rows[9] = 32;
    let (a, b, c) = (upload(&gpu, &[0u16; 256]), upload(&gpu, &rows), upload(&gpu, &[0u32; 128]));
    let p = TestMatrixParams { a: a.ptr(0), b: b.ptr(0), c: c.ptr(0), trans: 0, count: 4 };
    let at = launch("test_ldmatrix", 1, 32);
    let text = refusal(start(&gpu, &at, &p));
    assert!(text.contains("thread 9: reads") || text.contains("thread 9: accesses"), "{text}");
    assert!(text.contains("16 bytes of shared memory"), "{text}");
    // One matrix takes its rows from the first eight lanes; the others' addresses do not matter.
    start(&gpu, &at, &TestMatrixParams { count: 1, ..p }).unwrap();
}
