//! The kernels with tilings that small products would not choose. Whole numbers: every result must be exact.

use half::bf16;

use super::gpu::{Tiling, product_in};
use super::hopper::{self, Team};
use super::{Factor, Sizes, few, product};
use crate::backend::gpu::{Asked, Gpu, Hopper};
use crate::tensor::{DType, Device, Tensor};

/// Whole numbers from -2 to 2, in a fixed muddle.
pub fn whole(count: usize, seed: usize) -> Vec<f32> {
    (0..count).map(|i| ((i * 7919 + seed * 104_729) / 13 % 5) as f32 - 2.0).collect()
}

pub fn tensor(values: &[f32], shape: &[usize], dtype: DType, device: &Device) -> Tensor {
    match dtype {
        DType::BF16 => {
            let values: Vec<_> = values.iter().map(|&x| bf16::from_f32(x)).collect();
            Tensor::from_slice(&values, shape, device).unwrap()
        }
        _ => Tensor::from_slice(values, shape, device).unwrap(),
    }
}

/// The emulator in every kind of order and the interpreter of PTX, if they were built, and the first GPU, if there is
/// one.
pub fn gpus() -> Vec<Device> {
    let mut gpus = Vec::new();
    #[cfg(feature = "emulator")]
    {
        use crate::backend::{EmulatorOptions, Order};
        let order = |order| Device::emulator_with(EmulatorOptions::default().order(order)).unwrap();
        gpus.extend([Order::Early, Order::Late, Order::Shuffled(3)].map(order));
    }
    #[cfg(feature = "ptx")]
    gpus.extend(crate::backend::PtxModules::if_built().map(|modules| Device::ptx_of(&modules).unwrap()));
    match Device::cuda(0) {
        Ok(device) => gpus.push(device),
        Err(error) => {
            assert!(std::env::var_os("VERIDICAL_GPU").is_none(), "VERIDICAL_GPU is set: {error}");
            println!("not on a GPU: {error}");
        }
    }
    gpus
}

/// The same, where they are Hoppers.
pub fn hoppers() -> Vec<Device> {
    let mut gpus = Vec::new();
    #[cfg(feature = "emulator")]
    {
        use crate::backend::{EmulatorOptions, Order};
        let order =
            |order| Device::emulator_with(EmulatorOptions::default().order(order).workers(2).hopper(true)).unwrap();
        gpus.extend([Order::Early, Order::Late, Order::Shuffled(3)].map(order));
    }
    #[cfg(feature = "ptx")]
    if let Some(modules) = crate::backend::PtxModules::if_built() {
        gpus.push(Device::ptx_of(&modules.hopper(true)).unwrap());
    }
    let is_one = |device: &Device| matches!(device, Device::Gpu(gpu) if gpu.hopper().is_some());
    gpus.extend(Device::cuda(0).ok().filter(is_one));
    gpus
}

/// By the kernel for Hopper, of single blocks and of clusters, by that for all GPUs, and by the CPU: the same, bit for
/// bit.
#[test]
fn products_of_warpgroups_are_exact() {
    for device in hoppers() {
        let Device::Gpu(gpu) = &device else { panic!("{device} is no GPU") };
        let found = gpu.hopper().unwrap();
        for (batch, m, n, k, with_bias) in [
            (1, 128, 256, 64, true),
            // One row and one column too many, and too few; steps of depth that no stage is filled by.
            (1, 129, 264, 72, false),
            (1, 64, 40, 8, true),
            (2, 300, 520, 136, true),
            // Columns that no row is 16 bytes of, and more stages than there are.
            (1, 70, 61, 640, true),
            (3, 128, 256, 320, false),
            // Three rows of tiles, of which the fourth's block has nothing to store, and two columns; the second half
            // of a column that has none; several tiles for each cluster.
            (1, 384, 512, 64, true),
            (1, 260, 130, 200, true),
            (2, 256, 264, 72, false),
        ] {
            let sizes = Sizes { batch, m, n, k };
            let run = |device: &Device, how: usize| {
                let a = Factor::new(&tensor(&whole(batch * m * k, 1), &[batch, m, k], DType::BF16, device), false);
                let b = Factor::new(&tensor(&whole(batch * k * n, 2), &[batch, n, k], DType::BF16, device), true);
                let bias = tensor(&whole(n, 3), &[n], DType::BF16, device);
                let bias = with_bias.then_some(&bias);
                let mut y = Tensor::empty([batch, m, n], DType::BF16, device).unwrap();
                match how {
                    0 => return product("matmul", &a, &b, bias, sizes).unwrap(),
                    1 => product_in(gpu, "matmul", &a, &b, bias, sizes, Tiling::cut(true, k, 1), &mut y).unwrap(),
                    _ => {
                        assert!(hopper::takes(gpu, &a, &b, sizes).unwrap());
                        let team = if how == 2 { Team::alone(found) } else { Team::pair(found) };
                        hopper::product(gpu, team, "matmul", &a, &b, bias, sizes, &mut y).unwrap();
                    }
                }
                y
            };
            let expected = run(&Device::Cpu, 0).to_f64().unwrap();
            let wrong = |y: Tensor| y.to_f64().unwrap().iter().zip(&expected).position(|(a, b)| a != b);
            for how in (1..).take(if is_to_pair(gpu) { 3 } else { 2 }) {
                assert_eq!(wrong(run(&device, how)), None, "{batch}x{m}x{n}x{k} on {device}, way {how}");
            }
        }
    }
}

/// Whether clusters are tried on a device: on a GPU only where it is asked for them.
pub fn is_to_pair(gpu: &Gpu) -> bool {
    let is_cuda = matches!(Device::cuda(0), Ok(Device::Gpu(cuda)) if cuda.same(gpu));
    !is_cuda || gpu.hopper().is_some_and(|hopper| hopper.asked.clusters)
}

/// Clusters take what fills tiles of two rows, where they are asked for.
#[test]
fn tiles_are_given_to_clusters_where_that_is_asked_for() {
    let hopper = |clusters| Hopper { multiprocessors: 132, asked: Asked { clusters, ..Asked::default() } };
    let of = |clusters, m, n| {
        let sizes = Sizes { batch: 1, m, n, k: 64 };
        let team = Team::of(hopper(clusters), sizes);
        (team.blocks, team.tiles(sizes), team.launch(["alone", "pair"], team.tiles(sizes)).grid[0])
    };
    assert_eq!(of(false, 1 << 17, 256), (1, 1024, 132));
    assert_eq!(of(true, 1 << 17, 256), (2, 512, 132));
    // One row of tiles, and three, would leave a block without anything to do; seven are seven of eight.
    assert_eq!([1, 3, 7].map(|rows| of(true, 128 * rows, 1 << 14)), [(1, 64, 64), (1, 192, 132), (2, 256, 132)]);
    // One multiprocessor too many for clusters.
    let odd = Hopper { multiprocessors: 3, ..hopper(true) };
    assert_eq!(Team::pair(odd).launch(["alone", "pair"], 9), Team::pair(odd).launch(["alone", "pair"], 1));
    assert_eq!(Team::pair(odd).launch(["alone", "pair"], 9).grid, [2, 1, 1]);
    #[cfg(feature = "emulator")]
    {
        use crate::backend::EmulatorOptions;
        use crate::backend::plan::Planner;
        let product = |clusters| {
            let options = EmulatorOptions::default().races(false).hopper(true).hopper_clusters(clusters);
            let planner = Planner::watching(&Gpu::emulator(options).unwrap());
            let device = Device::Gpu(planner.gpu().clone());
            let a = tensor(&whole(66 * 128 * 64, 1), &[66 * 128, 64], DType::BF16, &device);
            let b = tensor(&whole(256 * 64, 2), &[256, 64], DType::BF16, &device);
            let y = crate::ops::matmul_transposed(a, false, b, true).unwrap().value().to_f64().unwrap();
            let started: Vec<&str> = planner.take().launches().map(|started| started.launch().kernel).collect();
            (y, started)
        };
        let ((single, by_one), (paired, by_two)) = (product(false), product(true));
        assert!(single == paired);
        assert_eq!(by_one, ["matmul_fwd_nt_hopper_bf16"]);
        assert_eq!(by_two, ["matmul_fwd_nt_hopper_cluster_bf16"]);
    }
}

/// What is large enough goes to the kernel for Hopper where there is one, by way of the operation.
#[test]
fn large_products_are_given_to_warpgroups() {
    let bf16 = DType::BF16;
    for device in hoppers() {
        let Device::Gpu(gpu) = &device else { panic!("{device} is no GPU") };
        let pays = |m, n, k, dtype| hopper::pays(gpu, dtype, Sizes { batch: 1, m, n, k }).is_some();
        assert!(pays(66 * 128, 256, 64, bf16) && pays(1 << 17, 256, 2304, bf16));
        assert!(
            !pays(65 * 128, 256, 64, bf16) && !pays(1 << 17, 64, 576, bf16) && !pays(66 * 128, 256, 64, DType::F32)
        );
        let product = |device: &Device| {
            let a = tensor(&whole(66 * 128 * 64, 1), &[66 * 128, 64], bf16, device);
            let b = tensor(&whole(256 * 64, 2), &[256, 64], bf16, device);
            crate::ops::matmul_transposed(a, false, b, true).unwrap().value().to_f64().unwrap()
        };
        assert!(product(&device) == product(&Device::Cpu), "on {device}");
    }
    #[cfg(feature = "ptx")]
    if crate::backend::PtxModules::if_built().is_some() {
        let started = crate::backend::ptx::kernels();
        assert!(started.contains(&("matmul_fwd_nt_hopper_bf16", true)));
    }
}

#[test]
fn what_warpgroups_do_not_take_is_left() {
    for device in hoppers() {
        let Device::Gpu(gpu) = &device else { panic!("{device} is no GPU") };
        let takes = |a: (&[usize], bool), b: (&[usize], bool), k: usize, dtype: DType| {
            let factor = |(shape, transposed): (&[usize], bool)| {
                Factor::new(&Tensor::zeros(shape, dtype, &device).unwrap(), transposed)
            };
            hopper::takes(gpu, &factor(a), &factor(b), Sizes { batch: 1, m: 16, n: 24, k }).unwrap()
        };
        let (bf16, f32) = (DType::BF16, DType::F32);
        assert!(takes((&[1, 16, 8], false), (&[1, 24, 8], true), 8, bf16));
        assert!(!takes((&[1, 16, 8], false), (&[1, 24, 8], true), 8, f32));
        assert!(!takes((&[1, 16, 12], false), (&[1, 24, 12], true), 12, bf16), "rows of 24 bytes");
        assert!(!takes((&[1, 8, 16], true), (&[1, 24, 8], true), 8, bf16));
        assert!(!takes((&[1, 16, 8], false), (&[1, 8, 24], false), 8, bf16));
    }
}

#[test]
fn every_tiling_is_exact() {
    for device in gpus() {
        let Device::Gpu(gpu) = &device else { panic!("{device} is no GPU") };
        for dtype in [DType::F32, DType::BF16] {
            for (large, parts, m, n, k) in [
                (true, 1, 130, 136, 72),
                (true, 1, 200, 96, 40),
                (true, 2, 129, 131, 190),
                (false, 1, 72, 136, 264),
                (false, 3, 70, 66, 200),
            ] {
                for (a_t, b_t) in [(false, false), (false, true), (true, false), (true, true)] {
                    let sizes = Sizes { batch: 1, m, n, k };
                    let run = |device: &Device, tiled: bool| {
                        let shape = |rows, columns, t| if t { [1, columns, rows] } else { [1, rows, columns] };
                        let a = Factor::new(&tensor(&whole(m * k, 1), &shape(m, k, a_t), dtype, device), a_t);
                        let b = Factor::new(&tensor(&whole(k * n, 2), &shape(k, n, b_t), dtype, device), b_t);
                        let bias = tensor(&whole(n, 3), &[n], dtype, device);
                        if !tiled {
                            return product("matmul", &a, &b, Some(&bias), sizes).unwrap();
                        }
                        let mut y = Tensor::empty([1, m, n], dtype, device).unwrap();
                        let tiling = Tiling::cut(large, k, parts);
                        assert_eq!(tiling.parts, parts);
                        product_in(gpu, "matmul", &a, &b, Some(&bias), sizes, tiling, &mut y).unwrap();
                        y
                    };
                    let (found, expected) = (run(&device, true), run(&Device::Cpu, false));
                    assert!(
                        found.to_f64().unwrap() == expected.to_f64().unwrap(),
                        "{dtype} {m}x{n}x{k} {a_t} {b_t} large {large} parts {parts} on {device}"
                    );
                }
            }
        }
    }
}

#[test]
fn products_of_a_few_rows_are_exact() {
    for device in gpus() {
        for dtype in [DType::F32, DType::BF16] {
            // Rows of a whole number of 16 bytes and others, less than a warp's and more, a bias and none, no depth.
            for (m, n, k, with_bias) in [
                (1, 37, 512, true),
                (1, 4, 9, false),
                (3, 5, 264, true),
                (4, 9, 40, false),
                (8, 66, 331, true),
                (7, 3, 0, true),
            ] {
                let sizes = Sizes { batch: 1, m, n, k };
                let run = |device: &Device| {
                    let a = Factor::new(&tensor(&whole(m * k, 1), &[1, m, k], dtype, device), false);
                    let b = Factor::new(&tensor(&whole(k * n, 2), &[1, n, k], dtype, device), true);
                    assert!(few::pays(&a, &b, sizes));
                    let bias = tensor(&whole(n, 3), &[n], dtype, device);
                    product("linear", &a, &b, with_bias.then_some(&bias), sizes).unwrap().to_f64().unwrap()
                };
                assert!(run(&device) == run(&Device::Cpu), "{dtype} {m}x{n}x{k} on {device}");
            }
        }
    }
    // Rows that do not start at a multiple of 16 bytes.
    for device in gpus() {
        let rows = tensor(&whole(3 * 8 + 1, 1), &[25], DType::F32, &device);
        let shifted = rows.narrow(1, 24).unwrap().reshape([1, 3, 8]).unwrap();
        let weight = tensor(&whole(16, 2), &[1, 2, 8], DType::F32, &device);
        let sizes = Sizes { batch: 1, m: 3, n: 2, k: 8 };
        let y = product("linear", &Factor::new(&shifted, false), &Factor::new(&weight, true), None, sizes).unwrap();
        let (a, b) = (&whole(25, 1)[1..], whole(16, 2));
        let expected = |r: usize, c: usize| (0..8).map(|i| f64::from(a[r * 8 + i] * b[c * 8 + i])).sum::<f64>();
        let expected: Vec<f64> = (0..6).map(|i| expected(i / 2, i % 2)).collect();
        assert_eq!(y.to_f64().unwrap(), expected, "{device}");
        // Nor do the bits depend on where they start.
        let values: Vec<f32> = (0..513).map(|i| (i as f32 * 0.37).sin()).collect();
        let weight = tensor(&values[..512], &[1, 1, 512], DType::F32, &device);
        let (all, own) =
            (tensor(&values, &[513], DType::F32, &device), tensor(&values[1..], &[1, 1, 512], DType::F32, &device));
        let of = |row: &Tensor| {
            let sizes = Sizes { batch: 1, m: 1, n: 1, k: 512 };
            product("linear", &Factor::new(row, false), &Factor::new(&weight, true), None, sizes)
                .unwrap()
                .to_f64()
                .unwrap()
        };
        assert_eq!(of(&all.narrow(1, 512).unwrap().reshape([1, 1, 512]).unwrap()), of(&own), "{device}");
    }
    let pays = |a_t, b_t, batch, m| {
        let factor = |t| Factor::new(&tensor(&[0.0], &[1, 1, 1], DType::F32, &Device::Cpu), t);
        few::pays(&factor(a_t), &factor(b_t), Sizes { batch, m, n: 1, k: 1 })
    };
    assert!(pays(false, true, 1, 8));
    assert!(
        !pays(false, true, 1, 9) && !pays(false, true, 2, 1) && !pays(true, true, 1, 1) && !pays(false, false, 1, 1)
    );
}

#[test]
fn no_tile_is_large_for_the_sake_of_zeros() {
    let large = |m, n| Tiling::of(Sizes { batch: 1, m, n, k: 576 }).large;
    for n in [3, 32, 64, 192] {
        assert!(!large(1 << 17, n) && !large(n, 1 << 17), "{n} columns");
    }
    for n in [128, 256, 448] {
        assert!(large(1 << 17, n) && large(n, 1 << 17), "{n} columns");
    }
    assert!(!large(256, 256), "too few large tiles to keep a GPU busy");
}

#[test]
fn tilings_cover_the_depth() {
    for (m, n, k) in [(1, 1, 0), (1, 1, 1), (64, 64, 100_000), (4096, 4096, 4096), (256, 2304, 131_072), (33, 20, 511)]
    {
        let tiling = Tiling::of(Sizes { batch: 1, m, n, k });
        let Tiling { parts, depth_per_part, .. } = tiling;
        assert!(parts * depth_per_part >= k && (parts == 1 || (parts - 1) * depth_per_part < k), "{k}: {tiling:?}");
    }
}

#[test]
fn weight_gradients_take_large_tiles_in_parts() {
    let of = |m, n, k| Tiling::of(Sizes { batch: 1, m, n, k });
    // Of a 3x3 convolution of 256 channels, 64 images of 32x32; of 64 channels, which would be half zeros.
    let wide = of(256, 9 * 256, 64 * 1024);
    assert_eq!((wide.large, wide.parts), (true, 7));
    assert!(!of(64, 9 * 64, 64 * 1024).large);
    // What is not as deep keeps its small tiles, and its depth whole: a product of 1,024, and the same convolution
    // forward, of 64 images of 8x8.
    for (m, n, k) in [(1024, 1024, 1024), (64 * 64, 256, 9 * 256), (256, 9 * 256, 256)] {
        let tiling = of(m, n, k);
        assert_eq!((tiling.large, tiling.parts), (false, 1), "{m}x{n}x{k}");
    }
    assert_eq!(of(0, 5, 7).parts, 1);
}
