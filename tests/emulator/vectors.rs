//! Every instruction wrapper of `kernels/device/` on fixed inputs: what a GPU made of them is kept in
//! `tests/golden/ptx`, and the emulator is held against it.
//!
//! On a GPU host, with a build that holds the test kernels for it (`VERIDICAL_TEST_KERNELS=1`), the GPU is compared
//! with the emulator at once, and `VERIDICAL_RECORD=FOLDER` writes the files.

use std::collections::HashMap;
use std::path::Path;

use safetensors::tensor::{Dtype, SafeTensors, TensorView};
use veridical::backend::gpu::Gpu;

use super::cluster::{self, Pair};
use super::device::{devices, download, hoppers, launch, start, upload};
use super::hopper::{load_box, multiply};
use super::matrix::TestMatrixParams;
use super::transposed::{self, Layout, Turned};
use super::{asynchrony::TestAsyncParams, basic::TestBlockParams, hardware, locate};
use veridical::params;

params! { pub struct TestWordsParams { x: veridical::backend::gpu::Ptr, y: veridical::backend::gpu::Ptr, n: u64 } }

/// Inputs in 32-bit words, and what makes of them the words of the result.
struct Vector {
    name: &'static str,
    inputs: Vec<Vec<u32>>,
    run: Box<dyn Fn(&Gpu, &[Vec<u32>]) -> Vec<u32>>,
    /// How far a result, read as f32, may be off; `None`: equal bits, but any NaN for any other.
    tolerance: Option<f32>,
    /// Whether it needs a Hopper.
    hopper: bool,
}

/// A xorshift, so that inputs are the same for good, whatever the crate's own generator does.
fn words(n: usize, mut state: u32) -> Vec<u32> {
    let mut next = move || {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        state
    };
    (0..n).map(|_| next()).collect()
}

/// Zeros, infinities, NaN, subnormal and largest numbers, ties between neighbouring bf16, and random bits.
fn floats(n: usize) -> Vec<u32> {
    let special = [
        0,
        0x8000_0000,
        0x7f80_0000,
        0xff80_0000,
        0x7fc0_0000,
        1,
        0x8000_0001,
        0x007f_ffff,
        0x0080_0000,
        0x7f7f_ffff,
        0xff7f_ffff,
        0x3f80_0000,
        0xbf80_0000,
        0x3f80_8000,
        0x3f81_8000,
        0x3f80_7fff,
        0x3f80_8001,
        0x7f7f_8000,
        0x0000_8000,
        0x4040_0000,
    ];
    special.into_iter().chain(words(n - special.len(), 0x1234_5678)).collect()
}

/// Random bf16 between -2 and 2, two in a word.
fn halves(n: usize, seed: u32) -> Vec<u32> {
    words(n, seed).into_iter().map(|w| (w & 0x807f_807f) | 0x3f00_3f00 | (w >> 1 & 0x0080_0080)).collect()
}

fn of_words(name: &'static str, kernel: &'static str, input: Vec<u32>, per_input: usize) -> Vector {
    let run = move |gpu: &Gpu, inputs: &[Vec<u32>]| {
        let n = inputs[0].len();
        let (x, y) = (upload(gpu, &inputs[0]), upload(gpu, &vec![0u32; n * per_input]));
        start(gpu, &launch(kernel, 1, 32), &TestWordsParams { x: x.ptr(0), y: y.ptr(0), n: n as u64 }).unwrap();
        download(&y)
    };
    Vector { name, inputs: vec![input], run: Box::new(run), tolerance: None, hopper: false }
}

fn of_matrices(name: &'static str, kernel: &'static str, inputs: [Vec<u32>; 3], trans: bool, count: u32) -> Vector {
    let run = move |gpu: &Gpu, inputs: &[Vec<u32>]| {
        let [a, b, c] = [0, 1, 2].map(|i| upload(gpu, &inputs[i]));
        let p = TestMatrixParams { a: a.ptr(0), b: b.ptr(0), c: c.ptr(0), trans: trans.into(), count };
        start(gpu, &launch(kernel, 1, 32), &p).unwrap();
        download(&c)
    };
    Vector { name, inputs: inputs.into(), run: Box::new(run), tolerance: None, hopper: false }
}

fn of_blocks(name: &'static str, kernel: &'static str, threads: u32, input: Vec<u32>, per_thread: usize) -> Vector {
    let run = move |gpu: &Gpu, inputs: &[Vec<u32>]| {
        let (x, y) = (upload(gpu, &inputs[0]), upload(gpu, &vec![0u32; threads as usize * per_thread]));
        start(gpu, &launch(kernel, 1, threads), &TestBlockParams { x: x.ptr(0), y: y.ptr(0) }).unwrap();
        download(&y)
    };
    Vector { name, inputs: vec![input], run: Box::new(run), tolerance: None, hopper: false }
}

fn of_copies(name: &'static str, kernel: &'static str, threads: u32, n: u32) -> Vector {
    let run = move |gpu: &Gpu, inputs: &[Vec<u32>]| {
        let (x, y) = (upload(gpu, &inputs[0]), upload(gpu, &[0u32; 512]));
        start(gpu, &launch(kernel, 1, threads), &TestAsyncParams { x: x.ptr(0), y: y.ptr(0), n, omit: 0 }).unwrap();
        download(&y)
    };
    Vector { name, inputs: vec![words(512, 99)], run: Box::new(run), tolerance: None, hopper: false }
}

/// Boxes of a tensor of random words, as they stand in shared memory.
fn of_boxes(name: &'static str, extents: &'static [u64], size: &'static [u32], at: &'static [i32]) -> Vector {
    let swizzled = size[0] == 64;
    let run = move |gpu: &Gpu, inputs: &[Vec<u32>]| {
        let halves: &[u16] = bytemuck::cast_slice(&inputs[0]);
        let found = load_box(gpu, halves, extents, size, swizzled, at);
        pairs(found)
    };
    let inputs = vec![words(extents.iter().product::<u64>() as usize / 2, 15)];
    Vector { name, inputs, run: Box::new(run), tolerance: None, hopper: true }
}

fn pairs(halves: Vec<u16>) -> Vec<u32> {
    halves.as_chunks().0.iter().map(|&[a, b]| u32::from(a) | u32::from(b) << 16).collect()
}

/// Two boxes of a tensor of random words, each of which one block of a cluster has loaded for both.
fn of_multicast(name: &'static str, pair: Pair) -> Vector {
    let run =
        move |gpu: &Gpu, inputs: &[Vec<u32>]| pairs(cluster::multicast(gpu, bytemuck::cast_slice(&inputs[0]), pair));
    let inputs = vec![words(pair.extents.iter().product::<u64>() as usize / 2, 17)];
    Vector { name, inputs, run: Box::new(run), tolerance: None, hopper: true }
}

/// Nine pairs of lines through two slots of both blocks of a cluster, which tell each other that a slot is free.
fn of_ring(name: &'static str) -> Vector {
    let run = |gpu: &Gpu, inputs: &[Vec<u32>]| pairs(cluster::passed(gpu, bytemuck::cast_slice(&inputs[0])));
    Vector { name, inputs: vec![words(9 * 64, 18)], run: Box::new(run), tolerance: None, hopper: true }
}

/// A product of a warpgroup: four in a row, 64 steps deep.
fn of_warpgroup(name: &'static str, columns: usize) -> Vector {
    let run = move |gpu: &Gpu, inputs: &[Vec<u32>]| {
        let [a, b] = [0, 1].map(|i| bytemuck::cast_slice::<u32, u16>(&inputs[i]));
        let sums = multiply(gpu, columns, 64, [a, b], 0, 0).unwrap();
        sums.into_iter().map(f32::to_bits).collect()
    };
    let inputs = vec![halves(64 * 32, 13), halves(columns * 32, 14)];
    // As with mma, but four times after each other, 64 products each.
    Vector { name, inputs, run: Box::new(run), tolerance: Some(256.0 * 2f32.powi(-20)), hopper: true }
}

/// Lines of 64 steps, of which each picks the step that has its number.
fn picks(lines: usize) -> Vec<u16> {
    (0..lines * 64).map(|i| if i / 64 % 64 == i % 64 { 0x3f80 } else { 0 }).collect()
}

/// bf16 of which each is there once, 64 for each line.
fn distinct(lines: u16) -> Vec<u16> {
    (0..lines * 64).map(|i| 0x2000 + i).collect()
}

/// A product with factors whose lines stand side by side. Where one of them is transposed the other one picks its
/// elements, one for each sum: so the recording says of each sum which two bytes of shared memory it was made of, and
/// must be equal bit for bit.
fn of_transposed(name: &'static str, turned: Turned, layout: Layout) -> Vector {
    let (factors, tolerance) = match turned {
        Turned::A => ([distinct(64), picks(256)], None),
        Turned::B => ([picks(64), distinct(256)], None),
        _ => {
            let random = |lines: usize, seed| bytemuck::cast_slice::<u32, u16>(&halves(lines * 32, seed)).to_vec();
            ([random(64, 15), random(256, 16)], Some(256.0 * 2f32.powi(-20)))
        }
    };
    let run = move |gpu: &Gpu, inputs: &[Vec<u32>]| {
        let factors = [0, 1].map(|i| bytemuck::cast_slice::<u32, u16>(&inputs[i]));
        transposed::multiply(gpu, turned, layout, factors).into_iter().map(f32::to_bits).collect()
    };
    Vector { name, inputs: factors.map(pairs).into(), run: Box::new(run), tolerance, hopper: true }
}

fn vectors() -> Vec<Vector> {
    // What a GPU has yet to say comes first. Offsets differ between factors and layouts, so that one that is taken for
    // another shows.
    let mut all = vec![
        of_transposed("wgmma_transposed_b", Turned::B, Layout::LinesApart),
        of_transposed("wgmma_transposed_a", Turned::A, Layout::LinesApart),
        of_transposed("wgmma_transposed_both", Turned::Both, Layout::LinesApart),
        of_transposed("wgmma_transposed_b_steps_apart", Turned::B, Layout::StepsApart),
        of_transposed("wgmma_transposed_a_steps_apart", Turned::A, Layout::StepsApart),
        of_transposed("wgmma_transposed_both_steps_apart", Turned::Both, Layout::StepsApart),
    ];
    let reals = || words(96, 7).into_iter().map(|w| ((w >> 8) as f32 / 8388608.0 - 1.0).to_bits()).collect::<Vec<_>>();
    all.extend([
        of_words("to_bf16", "test_to_bf16", floats(256), 2),
        of_words("exact", "test_exact", floats(256), 7),
        of_words("async_sizes", "test_async_sizes", words(384, 3), 1),
        of_words("load_store", "test_vectors", words(128, 4), 4),
        of_blocks("warp_collectives", "test_warp_collectives", 32, words(32, 5).iter().map(|w| w % 1200).collect(), 8),
        of_blocks("block_reductions", "test_block_reductions", 96, reals(), 3),
        of_copies("async_swap", "test_async_swap", 128, 200),
        of_copies("async_pipeline", "test_async_pipeline", 32, 512),
        of_copies("named_barriers", "test_warp_roles", 64, 8),
    ]);
    let rows: Vec<u32> = (0..32).map(|l| (l * 5 + 3) % 32).collect();
    for (name, trans, count) in [
        ("ldmatrix_x1", false, 1),
        ("ldmatrix_x2", false, 2),
        ("ldmatrix_x4", false, 4),
        ("ldmatrix_x1_trans", true, 1),
        ("ldmatrix_x2_trans", true, 2),
        ("ldmatrix_x4_trans", true, 4),
    ] {
        all.push(of_matrices(name, "test_ldmatrix", [words(128, 6), rows.clone(), vec![0; 128]], trans, count));
    }
    // Sixteen products of magnitude up to 4, and a sum that the card need not round as we do.
    let c = words(128, 9).into_iter().map(|w| ((w >> 8) as f32 / 8388608.0 - 1.0).to_bits()).collect();
    let mma = of_matrices("mma_m16n8k16", "test_mma", [halves(128, 11), halves(64, 12), c], false, 0);
    all.push(Vector { tolerance: Some(64.0 * 2f32.powi(-22)), ..mma });
    all.push(of_boxes("tensor_load_2d", &[128, 20], &[64, 16], &[64, 10]));
    all.push(of_boxes("tensor_load_2d_plain", &[40, 8], &[32, 4], &[-8, 6]));
    all.push(of_boxes("tensor_load_3d", &[64, 5, 3], &[64, 4, 2], &[0, 3, -1]));
    all.push(of_boxes("tensor_load_4d", &[64, 8, 8, 3], &[64, 8, 8, 2], &[0, -1, 1, 0]));
    all.push(of_warpgroup("wgmma_m64n64k16", 64));
    all.push(of_warpgroup("wgmma_m64n256k16", 256));
    // Last, as what hangs takes nothing with it then that could have been recorded.
    let names = ["cluster_multicast_2d", "cluster_multicast_2d_plain", "cluster_multicast_3d", "cluster_multicast_4d"];
    all.extend(names.into_iter().zip(cluster::PAIRS).map(|(name, pair)| of_multicast(name, pair)));
    all.push(of_ring("cluster_ring"));
    all
}

/// What is wrong with `got`, if anything.
fn difference(vector: &Vector, got: &[u32], expected: &[u32]) -> Option<String> {
    let same = |a: u32, b: u32| {
        let (x, y) = (f32::from_bits(a), f32::from_bits(b));
        match vector.tolerance {
            None => a == b || (x.is_nan() && y.is_nan()),
            Some(tolerance) => (x - y).abs() <= tolerance,
        }
    };
    if got.len() != expected.len() {
        return Some(format!("{}: {} words, expected {}", vector.name, got.len(), expected.len()));
    }
    let at = got.iter().zip(expected).position(|(&a, &b)| !same(a, b))?;
    Some(format!("{}: word {at} is {:#010x}, expected {:#010x}", vector.name, got[at], expected[at]))
}

fn record(folder: &Path, vector: &Vector, output: &[u32], device: &str) {
    let bytes = |words: &[u32]| words.iter().flat_map(|w| w.to_le_bytes()).collect::<Vec<u8>>();
    let mut data: Vec<(String, Vec<u8>)> =
        vector.inputs.iter().enumerate().map(|(i, words)| (format!("in/{i}"), bytes(words))).collect();
    data.push(("out".into(), bytes(output)));
    let views: Vec<(&str, TensorView)> = data
        .iter()
        .map(|(name, data)| (name.as_str(), TensorView::new(Dtype::U32, vec![data.len() / 4], data).unwrap()))
        .collect();
    let metadata = HashMap::from([("device".to_string(), device.to_string())]);
    let file = safetensors::serialize(views, Some(metadata)).unwrap();
    std::fs::create_dir_all(folder).unwrap();
    std::fs::write(folder.join(format!("{}.safetensors", vector.name)), file).unwrap();
}

/// What a GPU made of the vector, if that was recorded. A recording of other inputs is out of date.
fn recorded(folder: &Path, vector: &Vector) -> Option<Vec<u32>> {
    let bytes = std::fs::read(folder.join(format!("{}.safetensors", vector.name))).ok()?;
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let words = |name: &str| -> Vec<u32> {
        let view = file.tensor(name).unwrap();
        view.data().as_chunks().0.iter().map(|&b| u32::from_le_bytes(b)).collect()
    };
    for (i, input) in vector.inputs.iter().enumerate() {
        assert!(words(&format!("in/{i}")) == *input, "{}: recorded from other inputs; record it again", vector.name);
    }
    Some(words("out"))
}

#[test]
fn the_emulator_does_what_a_gpu_did() {
    let folder = locate::golden().join("ptx");
    let (mut known, mut on_gpu, mut wrong) = (0, 0, Vec::new());
    for vector in vectors() {
        let mut expected = recorded(&folder, &vector);
        known += usize::from(expected.is_some());
        // The emulator's orders first, so that a GPU without a recording is compared with them.
        for gpu in if vector.hopper { hoppers() } else { devices() } {
            let got = (vector.run)(&gpu, &vector.inputs);
            let is_cuda = hardware::cuda().is_some_and(|cuda| cuda.same(&veridical::Device::Gpu(gpu.clone())));
            // What a GPU made of it is written down whatever the emulator expects, and before the next one runs.
            if let (true, Some(folder)) = (is_cuda, std::env::var_os("VERIDICAL_RECORD")) {
                record(Path::new(&folder), &vector, &got, &gpu.name());
            }
            on_gpu += usize::from(is_cuda);
            let expected = expected.get_or_insert_with(|| got.clone());
            wrong.extend(difference(&vector, &got, expected).map(|why| format!("on {gpu:?}: {why}")));
        }
    }
    println!("{} instructions, {known} of them recorded on a GPU, {on_gpu} compared with one here", vectors().len());
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// A recording is read as it was written, and a word that differs is noticed.
#[test]
fn a_recording_that_differs_is_noticed() {
    let dir = tempfile::tempdir().unwrap();
    for vector in vectors() {
        let device = if vector.hopper { super::device::hopper } else { super::device::device };
        let gpu = device(veridical::backend::Order::Early);
        assert_eq!(recorded(dir.path(), &vector), None);
        let got = (vector.run)(&gpu, &vector.inputs);
        assert!(got.iter().any(|&word| word != 0), "{}: nothing but zeros", vector.name);
        record(dir.path(), &vector, &got, "a test");
        let mut back = recorded(dir.path(), &vector).unwrap();
        assert_eq!(difference(&vector, &got, &back), None);
        let at = back.iter().position(|&word| word != 0 && !f32::from_bits(word).is_nan()).unwrap();
        back[at] ^= 0x0040_0000;
        assert!(difference(&vector, &got, &back).unwrap().contains(&format!("word {at} ")), "{}", vector.name);
    }
}
