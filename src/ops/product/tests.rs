//! The kernels with tilings that small products would not choose. Whole numbers: every result must be exact.

use half::bf16;

use super::gpu::{Tiling, product_in};
use super::{Factor, Sizes, product};
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
    match Device::ptx() {
        Ok(device) => gpus.push(device),
        Err(error) => {
            assert!(std::env::var_os("VERIDICAL_CUDA").is_none_or(|value| value != "required"), "{error}");
            println!("not as PTX: {error}");
        }
    }
    match Device::cuda(0) {
        Ok(device) => gpus.push(device),
        Err(error) => {
            assert!(std::env::var_os("VERIDICAL_GPU").is_none(), "VERIDICAL_GPU is set: {error}");
            println!("not on a GPU: {error}");
        }
    }
    gpus
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
