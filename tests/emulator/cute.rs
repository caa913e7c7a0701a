//! Who holds what, where tiles stand, and what descriptors say, by tables that NVIDIA's CuTe made
//! (`tests/golden/cute.json`; `cute.cpp` beside it says how to read them, and made them).

use serde_json::Value;
use veridical::backend::gpu::{Gpu, Ptr};
use veridical::params;

use super::device::{devices, download, hoppers, launch, start, upload};
use super::hopper::{bf16, load_box, multiply};
use super::{locate, matrix::TestMatrixParams};

params! {
    pub struct TestPlacedParams {
        a: Ptr, b: Ptr, c: Ptr, own: Ptr, from_a: [u64; 4], from_b: [u64; 4], lines_apart_a: u32, steps_apart_a: u32,
        lines_apart_b: u32, steps_apart_b: u32
    }
}

fn tables() -> Value {
    let text = std::fs::read_to_string(locate::golden().join("cute.json")).unwrap();
    serde_json::from_str(&text).unwrap()
}

/// The number of each pair of coordinates.
struct Layout {
    shape: [Vec<usize>; 2],
    stride: [Vec<usize>; 2],
    /// How many bits, from which one on, and how far to the left those are that are crossed into them.
    swizzle: [usize; 3],
}

impl Layout {
    fn read(table: &Value) -> Layout {
        let number = |value: &Value| value.as_u64().unwrap() as usize;
        let parts = |tree: &Value| {
            [0, 1].map(|mode| match &tree[mode] {
                Value::Array(parts) => parts.iter().map(number).collect(),
                single => vec![number(single)],
            })
        };
        let swizzle = ["bits", "base", "shift"].map(|part| table["swizzle"][part].as_u64().unwrap_or(0) as usize);
        Layout { shape: parts(&table["shape"]), stride: parts(&table["stride"]), swizzle }
    }

    fn of(tables: &Value, name: &str) -> Layout {
        Layout::read(&tables[name])
    }

    fn at(&self, i: usize, j: usize) -> usize {
        let mut sum = 0;
        for (mode, mut coordinate) in [i, j].into_iter().enumerate() {
            for (size, stride) in self.shape[mode].iter().zip(&self.stride[mode]) {
                sum += coordinate % size * stride;
                coordinate /= size;
            }
            assert_eq!(coordinate, 0, "({i}, {j}) lies outside of {:?}", self.shape);
        }
        let [bits, base, shift] = self.swizzle;
        sum ^ (sum >> shift & ((1 << bits) - 1) << base)
    }
}

/// A whole number of at most 4 bits and its sign, other ones for other seeds.
fn entry(i: usize, j: usize, seed: usize) -> i32 {
    ((i * 37 + j * 11 + seed * 5 + i * j) % 15) as i32 - 7
}

#[test]
fn the_tables_are_read_as_cute_reads_them() {
    let tables = tables();
    let mut samples = 0;
    for (name, table) in tables.as_object().unwrap().iter().filter(|(_, table)| table.is_object()) {
        let layout = Layout::read(table);
        for sample in table["samples"].as_array().unwrap() {
            let [i, j, number] = [0, 1, 2].map(|part| sample[part].as_u64().unwrap() as usize);
            assert_eq!(layout.at(i, j), number, "{name} at ({i}, {j})");
            samples += 1;
        }
    }
    assert_eq!(samples, 16 * 16);
}

#[test]
fn lanes_hold_of_a_product_what_cute_says() {
    let tables = tables();
    let [a, b, c] = ["a", "b", "c"].map(|factor| Layout::of(&tables, &format!("mma_m16n8k16 {factor}")));
    // [lane][element]: row + 16 column of a and c, column + 8 step of b.
    let of_a = (0..256).map(|i| a.at(i / 8, i % 8)).map(|at| bf16(entry(at % 16, at / 16, 1)));
    let of_b = (0..128).map(|i| b.at(i / 4, i % 4)).map(|at| bf16(entry(at / 8, at % 8, 2)));
    let of_c = (0..128).map(|i| c.at(i / 4, i % 4)).map(|at| entry(at % 16, at / 16, 3));
    let (of_a, of_b): (Vec<u16>, Vec<u16>) = (of_a.collect(), of_b.collect());
    let of_c: Vec<f32> = of_c.map(|value| value as f32).collect();
    for gpu in devices() {
        let (x, y, z) = (upload(&gpu, &of_a), upload(&gpu, &of_b), upload(&gpu, &of_c));
        let p = TestMatrixParams { a: x.ptr(0), b: y.ptr(0), c: z.ptr(0), trans: 0, count: 0 };
        start(&gpu, &launch("test_mma", 1, 32), &p).unwrap();
        for (i, sum) in download::<f32>(&z).into_iter().enumerate() {
            let (row, column) = (c.at(i / 4, i % 4) % 16, c.at(i / 4, i % 4) / 16);
            let product: i32 = (0..16).map(|k| entry(row, k, 1) * entry(k, column, 2)).sum();
            assert_eq!(sum, (product + entry(row, column, 3)) as f32, "{gpu:?}: row {row}, column {column}");
        }
    }
}

#[test]
fn lanes_get_of_matrices_what_cute_says() {
    let tables = tables();
    // Every element is its own number.
    let elements: Vec<u16> = (0..256).collect();
    let rows: Vec<u32> = (0..32).collect();
    for gpu in devices() {
        for (count, trans) in [(1, false), (2, false), (4, false), (1, true), (2, true), (4, true)] {
            let name = format!("ldmatrix_x{count}{}", if trans { "_trans" } else { "" });
            let layout = Layout::of(&tables, &name);
            let (a, b, c) = (upload(&gpu, &elements), upload(&gpu, &rows), upload(&gpu, &[0u32; 128]));
            let p = TestMatrixParams { a: a.ptr(0), b: b.ptr(0), c: c.ptr(0), trans: trans.into(), count };
            start(&gpu, &launch("test_ldmatrix", 1, 32), &p).unwrap();
            // [lane][register][half]
            let halves = download::<u16>(&c);
            for lane in 0..32 {
                for half in 0..2 * count as usize {
                    let bit = layout.at(lane, 16 * half);
                    assert_eq!(halves[8 * lane + half] as usize, bit / 16, "{gpu:?}, {name}: lane {lane}, half {half}");
                }
            }
        }
    }
}

#[test]
fn boxes_stand_where_cute_has_their_tiles() {
    let tables = tables();
    // A box's lines of 64 elements are lines of 64 steps, or, transposed, steps of 64 lines.
    let words: Vec<u16> = (0..64 * 64).collect();
    for gpu in hoppers() {
        let found = load_box(&gpu, &words, &[64, 64], &[64, 64], true, &[0, 0]);
        for (name, transposed) in [("a", false), ("a transposed", true)] {
            let layout = Layout::of(&tables, name);
            for (i, &word) in words.iter().enumerate() {
                let (line, step) = if transposed { (i % 64, i / 64) } else { (i / 64, i % 64) };
                assert_eq!(found[layout.at(line, step)], word, "{gpu:?}, {name}: line {line}, step {step}");
            }
        }
    }
}

#[test]
fn threads_hold_the_sums_that_cute_says() {
    let tables = tables();
    let factor = |lines: usize, seed| (0..lines * 64).map(|i| bf16(entry(i / 64, i % 64, seed))).collect::<Vec<u16>>();
    for gpu in hoppers() {
        for columns in [64, 256] {
            let layout = Layout::of(&tables, &format!("wgmma_m64n{columns}k16 c"));
            let sums = multiply(&gpu, columns, 64, [&factor(64, 1), &factor(columns, 2)], 0, 0).unwrap();
            for (i, sum) in sums.into_iter().enumerate() {
                let at = layout.at(i / (columns / 2), i % (columns / 2));
                let (row, column) = (at % 64, at / 64);
                let product: i32 = (0..64).map(|k| entry(row, k, 1) * entry(column, k, 2)).sum();
                // The wider one adds to ones.
                let sum = if columns == 256 { sum - 1.0 } else { sum };
                assert_eq!(sum, product as f32, "{gpu:?}, n{columns}: row {row}, column {column}");
            }
        }
    }
}

/// The tile's elements as they stand, the descriptors of its four products, and bytes from 64 lines to the next and
/// from eight steps to the next.
fn placed(tables: &Value, name: &str, lines: usize, seed: usize) -> (Vec<u16>, [u64; 4], [u32; 2]) {
    let (layout, table) = (Layout::of(tables, name), &tables[name]);
    let mut tile = vec![0; lines * 64];
    for i in 0..lines * 64 {
        tile[layout.at(i / 64, i % 64)] = bf16(entry(i / 64, i % 64, seed));
    }
    let descriptors = [0, 1, 2, 3].map(|k| {
        let digits = table["descriptors"][k].as_str().unwrap();
        u64::from_str_radix(digits.trim_start_matches("0x"), 16).unwrap()
    });
    (tile, descriptors, [0, 1].map(|mode| 2 * layout.stride[mode][1] as u32))
}

/// Tiles that stand as CuTe has them are multiplied by way of CuTe's descriptors, and ours are the same.
#[test]
fn descriptors_are_those_of_cute() {
    let tables = tables();
    let check = |gpu: &Gpu, kernel: &'static str, names: [&str; 2]| {
        let (a, from_a, [lines_apart_a, steps_apart_a]) = placed(&tables, names[0], 64, 1);
        let (b, from_b, [lines_apart_b, steps_apart_b]) = placed(&tables, names[1], 256, 2);
        let (a, b, c) = (upload(gpu, &a), upload(gpu, &b), upload(gpu, &[0f32; 64 * 256]));
        let own = upload(gpu, &[0u64; 2]);
        let p = TestPlacedParams {
            a: a.ptr(0),
            b: b.ptr(0),
            c: c.ptr(0),
            own: own.ptr(0),
            from_a,
            from_b,
            lines_apart_a,
            steps_apart_a,
            lines_apart_b,
            steps_apart_b,
        };
        start(gpu, &launch(kernel, 1, 128).shared((64 + 256) * 128), &p).unwrap();
        assert_eq!(download::<u64>(&own), [from_a[0], from_b[0]], "{gpu:?}, {names:?}");
        let place = Layout::of(&tables, "wgmma_m64n256k16 c");
        for (i, sum) in download::<f32>(&c).into_iter().enumerate() {
            let (row, column) = (place.at(i / 128, i % 128) % 64, place.at(i / 128, i % 128) / 64);
            let product: i32 = (0..64).map(|k| entry(row, k, 1) * entry(column, k, 2)).sum();
            assert_eq!(sum, product as f32, "{gpu:?}, {names:?}: row {row}, column {column}");
        }
    };
    for gpu in hoppers() {
        check(&gpu, "test_wgmma_placed", ["a", "b"]);
        check(&gpu, "test_wgmma_placed_transposed", ["a transposed", "b transposed, steps first"]);
        check(&gpu, "test_wgmma_placed_transposed", ["a transposed", "b transposed, lines first"]);
    }
}
