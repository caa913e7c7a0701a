//! Clusters of two blocks: boxes that come to both, arrivals at each other's mbarriers, and what is wrong with them
//! named in whatever order threads run.

use veridical::backend::Order;
use veridical::backend::gpu::{Gpu, Launch, Ptr};
use veridical::backend::tensor_map::TensorMap;
use veridical::params;

use super::device::{ORDERS, device, download, hopper, hoppers, launch, refusal, start, upload};
use super::hardware;
use super::hopper::{boxes, factor, place};

params! { pub struct TestClusterBoxesParams { map: TensorMap, y: Ptr, at: [i32; 4], axes: u32, further: u32, bytes: u32, fault: u32, unused: [u32; 6] } }
params! { pub struct TestClusterRingParams { map: TensorMap, y: Ptr, count: u32, fault: u32, unused: [u32; 12] } }
params! { pub struct TestClusterProductsParams { a: TensorMap, b: TensorMap, c: Ptr, depth: u32, fault: u32, unused: [u32; 12] } }

/// A GPU is left out unless it is asked for clusters: what is wrong there may hang. Its vectors are recorded all the
/// same, the last of all.
fn hoppers_in_clusters() -> Vec<Gpu> {
    let cuda = hardware::cuda();
    let is_cuda = |gpu: &Gpu| cuda.as_ref().is_some_and(|cuda| cuda.same(&veridical::Device::Gpu(gpu.clone())));
    let is_asked = |gpu: &Gpu| gpu.hopper().is_some_and(|hopper| hopper.asked.clusters);
    hoppers().into_iter().filter(|gpu| !is_cuda(gpu) || is_asked(gpu)).collect()
}

/// A box of a tensor, and the one `further` along its last axis.
#[derive(Debug, Clone, Copy)]
pub struct Pair {
    pub extents: &'static [u64],
    pub size: &'static [u32],
    pub at: &'static [i32],
    pub further: u32,
}

/// What is loaded in the tests, in two, three and four axes: as a product and as a convolution ask for it, and partly
/// outside.
pub const PAIRS: [Pair; 4] = [
    Pair { extents: &[128, 40], size: &[64, 16], at: &[64, 12], further: 16 },
    Pair { extents: &[40, 9], size: &[32, 4], at: &[16, 1], further: 6 },
    Pair { extents: &[64, 32, 3], size: &[64, 16, 1], at: &[0, 8, 1], further: 1 },
    Pair { extents: &[64, 8, 8, 4], size: &[64, 8, 4, 1], at: &[0, -1, 5, 1], further: 2 },
];

fn boxes_wrong(gpu: &Gpu, words: &[u16], pair: Pair, fault: u32) -> veridical::Result<Vec<u16>> {
    let Pair { extents, size, at, further } = pair;
    let bytes = 2 * size.iter().product::<u32>();
    let (x, y) = (upload(gpu, words), upload(gpu, &vec![0u16; 2 * bytes as usize]));
    let map = gpu.tensor_map(&boxes(x.ptr(0), extents, size, size[0] == 64))?;
    let mut place = [0; 4];
    place[..at.len()].copy_from_slice(at);
    let axes = at.len() as u32;
    let p = TestClusterBoxesParams { map, y: y.ptr(0), at: place, axes, further, bytes, fault, unused: [0; 6] };
    start(gpu, &launch("test_cluster_boxes", 2, 128).shared(2 * bytes as usize), &p)?;
    Ok(download(&y))
}

/// What stands in the shared memory of both blocks, each of which has loaded one of the boxes for both.
pub fn multicast(gpu: &Gpu, words: &[u16], pair: Pair) -> Vec<u16> {
    boxes_wrong(gpu, words, pair, 0).unwrap()
}

fn ring(gpu: &Gpu, words: &[u16], fault: u32, blocks: u32) -> veridical::Result<Vec<u16>> {
    let count = words.len() as u32 / 128;
    let (x, y) = (upload(gpu, words), upload(gpu, &vec![0u16; 2 * words.len()]));
    let map = gpu.tensor_map(&boxes(x.ptr(0), &[64, 2 * u64::from(count)], &[64, 1], false))?;
    let p = TestClusterRingParams { map, y: y.ptr(0), count, fault, unused: [0; 12] };
    start(gpu, &launch("test_cluster_ring", blocks, 128).shared(512), &p)?;
    Ok(download(&y))
}

/// A matrix of lines of 64, through the slots of both blocks, twice.
pub fn passed(gpu: &Gpu, words: &[u16]) -> Vec<u16> {
    ring(gpu, words, 0, 2).unwrap()
}

fn products(gpu: &Gpu, a: &[u16], b: &[u16], fault: u32) -> veridical::Result<Vec<f32>> {
    let (a, b, c) = (upload(gpu, a), upload(gpu, b), upload(gpu, &[0f32; 2 * 64 * 256]));
    let p = TestClusterProductsParams {
        a: gpu.tensor_map(&boxes(a.ptr(0), &[64, 128], &[64, 64], true))?,
        b: gpu.tensor_map(&boxes(b.ptr(0), &[64, 256], &[64, 128], true))?,
        c: c.ptr(0),
        depth: 64,
        fault,
        unused: [0; 12],
    };
    start(gpu, &launch("test_cluster_products", 2, 128).shared(8192 + 256 * 128), &p)?;
    Ok(download(&c))
}

#[test]
fn a_box_comes_to_both_blocks() {
    for gpu in hoppers_in_clusters() {
        for pair in PAIRS {
            let words: Vec<u16> = (1..=pair.extents.iter().product::<u64>() as u16).collect();
            let got = multicast(&gpu, &words, pair);
            let mut at = pair.at.to_vec();
            let swizzled = pair.size[0] == 64;
            let first = super::hopper::load_box(&gpu, &words, pair.extents, pair.size, swizzled, &at);
            *at.last_mut().unwrap() += pair.further as i32;
            let second = super::hopper::load_box(&gpu, &words, pair.extents, pair.size, swizzled, &at);
            assert!(first != second, "{pair:?}");
            assert_eq!(got, [&first[..], &second, &first, &second].concat(), "{gpu:?}, {pair:?}");
        }
    }
}

#[test]
fn a_ring_of_two_blocks_keeps_its_slots_apart() {
    for gpu in hoppers_in_clusters() {
        for count in [1u16, 2, 3, 9] {
            let words: Vec<u16> = (0..128 * count).collect();
            assert_eq!(passed(&gpu, &words), [&words[..], &words].concat(), "{gpu:?}, {count} steps");
        }
    }
}

/// Each cluster of a grid is one of its own.
#[test]
fn clusters_are_pairs_of_neighbours() {
    for order in ORDERS {
        let words: Vec<u16> = (0..384).collect();
        assert_eq!(ring(&hopper(order), &words, 0, 6).unwrap(), [&words[..], &words].concat(), "{order}");
    }
}

#[test]
fn products_take_what_the_other_block_has_loaded() {
    let entry =
        |line: usize, step: usize, seed: usize| ((line * 31 + step * 17 + seed * 7 + line * step) % 13) as i32 - 6;
    let (a, b) = (factor(128, 1), factor(256, 2));
    for gpu in hoppers_in_clusters() {
        for (i, sum) in products(&gpu, &a, &b, 0).unwrap().into_iter().enumerate() {
            let (row, column) = place(i / 128 % 128, i % 128);
            let row = row + i / (128 * 128) * 64;
            let product: i32 = (0..64).map(|k| entry(row, k, 1) * entry(column, k, 2)).sum();
            assert_eq!(sum, product as f32, "{gpu:?}: {row}, {column}");
        }
    }
}

/// What is wrong if none of the parts stands in the text; which one does may depend on the order.
fn silent(text: &str, parts: &[&str], what: &str) -> Option<String> {
    (!parts.iter().any(|part| text.contains(part))).then(|| format!("{what}: {text}"))
}

#[test]
fn faults_around_boxes_for_both_blocks_are_named() {
    let cases: [(u32, &[&str]); 7] = [
        (
            1,
            &[
                "uses an mbarrier, byte 0 of `barrier` of block 1 of the cluster, that was not made",
                "uses an mbarrier, byte 0 of `barrier` of block 0 of the cluster, that was not made",
                "that another thread made, with no barrier between",
                "that was made with no mbarrier_init_fence since",
                "which has ended",
            ],
        ),
        (2, &["of block 1 of the cluster, whose phase 0 has 1 of 1 arrivals and 2048 bytes outstanding"]),
        (3, &["of block 0 of the cluster, whose phase 0 has 1 of 1 arrivals and 2048 bytes outstanding"]),
        (4, &["reaches for block 2 of a cluster of 2"]),
        (5, &["fewer were announced", "has not waited for", "bytes outstanding", "reads, with no barrier between"]),
        (6, &["whose phase 0 has 1 of 1 arrivals and 2048 bytes outstanding"]),
        (7, &["has not waited for: phase 0 of its mbarrier", "with no barrier between", "which has ended"]),
    ];
    let words: Vec<u16> = (0..128 * 40).collect();
    let mut wrong = Vec::new();
    for order in ORDERS {
        let gpu = hopper(order);
        for (fault, parts) in cases {
            let text = refusal(boxes_wrong(&gpu, &words, PAIRS[0], fault).map(drop));
            wrong.extend(silent(&text, parts, &format!("fault {fault}, {order}")));
            boxes_wrong(&gpu, &words, PAIRS[0], 0).unwrap();
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn faults_in_a_ring_of_two_blocks_are_named() {
    let unwaited = "has not waited for: phase";
    let again = "that was not made (mbarrier_init)";
    let cases: [(u32, &[&str]); 17] = [
        (1, &[again, "that another thread made, with no barrier between", "with no mbarrier_init_fence since"]),
        (
            2,
            &[
                "of the cluster may end before",
                "of block 0 of its cluster, which has ended",
                "of block 1 of its cluster, which has ended",
            ],
        ),
        (3, &[unwaited, "cannot go on", "1 of 2 arrivals"]),
        (4, &[unwaited, "cannot go on", "1 of 2 arrivals"]),
        (5, &["cannot go on"]),
        (6, &[unwaited, "reads, with no barrier between"]),
        (7, &[unwaited, "reads, with no barrier between", "once more than its 1 times"]),
        (8, &["128 bytes outstanding"]),
        (9, &["128 bytes outstanding"]),
        (10, &["fewer were announced", unwaited, "bytes outstanding", "reads, with no barrier between"]),
        (11, &["256 bytes outstanding"]),
        (12, &["which phase -1 satisfies; it has waited for that before", "cannot go on"]),
        (13, &[unwaited, "once more than its 1 times", "reads, with no barrier between", "two or more before"]),
        (14, &["cannot go on"]),
        (
            15,
            &[
                "wait at the cluster's barrier, where 128 of 256 threads have arrived",
                "of its cluster, which has ended",
            ],
        ),
        (16, &[unwaited, "reads, with no barrier between"]),
        (17, &["that was made with no mbarrier_init_fence since"]),
    ];
    let words: Vec<u16> = (0..128 * 6).collect();
    let mut wrong = Vec::new();
    for order in ORDERS {
        let gpu = hopper(order);
        for (fault, parts) in cases {
            let text = refusal(ring(&gpu, &words, fault, 2).map(drop));
            wrong.extend(silent(&text, parts, &format!("fault {fault}, {order}")));
        }
        // The next one must not notice.
        ring(&gpu, &words, 0, 4).unwrap();
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// A stage of the other block is not to be written while that one multiplies it, nor before anything says that it is
/// done.
#[test]
fn writes_to_what_the_other_block_multiplies_are_named() {
    let (a, b) = (factor(128, 1), factor(256, 2));
    for order in ORDERS {
        let gpu = hopper(order);
        let text = |fault| refusal(products(&gpu, &a, &b, fault).map(drop));
        let (unknown, begun) = (text(1), text(2));
        let parts = ["of block 1 of the cluster", "has not waited for: phase 0 of its mbarrier"];
        assert!(parts.iter().all(|part| unknown.contains(part)), "{order}: {unknown}");
        let parts = ["of block 1 of the cluster", "(write after asynchronous read)"];
        assert!(parts.iter().all(|part| begun.contains(part)), "{order}: {begun}");
    }
}

#[test]
fn clusters_have_limits() {
    let gpu = hopper(Order::Early);
    let words: Vec<u16> = (0..128).collect();
    let text = refusal(ring(&gpu, &words, 0, 3).map(drop));
    assert!(text.contains("the kernel is for clusters of 2 blocks along x, of which a grid has whole ones"), "{text}");
    let x = upload(&gpu, &words);
    let map = gpu.tensor_map(&boxes(x.ptr(0), &[64, 2], &[64, 1], false)).unwrap();
    let p = |y: Ptr| TestClusterRingParams { map, y, count: 1, fault: 0, unused: [0; 12] };
    let at = |threads| Launch { kernel: "test_cluster_ring", grid: [2, 1, 1], threads, shared: 512 };
    let text = refusal(start(&gpu, &at(96), &p(x.ptr(0))));
    assert!(text.contains("clusters of 2 blocks of 96 threads: the emulator has those of whole warpgroups"), "{text}");
    let old = device(Order::Early);
    let y = upload(&old, &words);
    let text = refusal(start(&old, &at(128), &p(y.ptr(0))));
    assert!(text.contains("clusters of blocks, which are Hopper's, and this device is none"), "{text}");
}
