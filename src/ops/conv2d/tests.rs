//! The kernels with tilings that small convolutions would not choose. Whole numbers: every result must be exact.

use super::gpu::run;
use super::hopper;
use super::pass::Pass;
use crate::backend::convolution::Convolution;
use crate::ops::product::gpu::Tiling;
use crate::ops::product::tests::{gpus, hoppers, tensor, whole};
use crate::tensor::{DType, Device, Tensor};

#[test]
fn every_tiling_is_exact() {
    let shape = |batch, extent, inputs, outputs, stride| Convolution {
        batch,
        height: extent,
        width: extent + 1,
        inputs,
        outputs,
        kernel: 3,
        stride,
        padding: 1,
    };
    for device in gpus() {
        let Device::Gpu(gpu) = &device else { panic!("{device} is no GPU") };
        for dtype in [DType::F32, DType::BF16] {
            for (s, large, parts) in
                [(shape(2, 8, 16, 24, 1), true, 1), (shape(3, 7, 8, 16, 2), true, 2), (shape(2, 6, 3, 10, 1), false, 2)]
            {
                let x = whole(s.in_pixels() * s.inputs, 1);
                let w = whole(s.outputs * s.taps() * s.inputs, 2);
                let dy = whole(s.out_pixels() * s.outputs, 3);
                let image = [s.batch, s.height, s.width, s.inputs];
                let result = [s.batch, s.out_height(), s.out_width(), s.outputs];
                let weight = [s.outputs, 3, 3, s.inputs];
                for pass in [Pass::Forward, Pass::InputGradient, Pass::WeightGradient] {
                    let tiling = Tiling::cut(large, pass.sizes(&s).k, parts);
                    let of = |device: &Device| {
                        let x = tensor(&x, &image, dtype, device);
                        let w = tensor(&w, &weight, dtype, device);
                        let dy = tensor(&dy, &result, dtype, device);
                        let (from, other, out) = match pass {
                            Pass::Forward => (x, w, &result),
                            Pass::InputGradient => (dy, w, &image),
                            Pass::WeightGradient => (x, dy, &weight),
                        };
                        (from, other, Tensor::empty(out, dtype, device).unwrap())
                    };
                    let (from, other, mut found) = of(&device);
                    run(gpu, "conv2d", pass, &s, &from, &other, None, tiling, &mut found).unwrap();
                    let (from, other, mut expected) = of(&Device::Cpu);
                    match pass {
                        Pass::Forward => super::cpu::forward("conv2d", &s, &from, &other, None, &mut expected),
                        Pass::InputGradient => {
                            super::cpu::input_gradient("conv2d", &s, &from, &other, None, &mut expected)
                        }
                        Pass::WeightGradient => super::cpu::weight_gradient("conv2d", &s, &other, &from, &mut expected),
                    }
                    .unwrap();
                    assert!(
                        found.to_f64().unwrap() == expected.to_f64().unwrap(),
                        "{pass:?} {dtype} {s:?} large {large} parts {parts} on {device}"
                    );
                }
            }
        }
    }
}

/// By the kernel for Hopper, by that for all GPUs, and by the CPU: the same, bit for bit.
#[test]
fn boxes_make_the_same_convolutions() {
    let shape = |batch, height, width, inputs, outputs, kernel, padding| Convolution {
        batch,
        height,
        width,
        inputs,
        outputs,
        kernel,
        stride: 1,
        padding,
    };
    for device in hoppers() {
        let Device::Gpu(gpu) = &device else { panic!("{device} is no GPU") };
        for s in [
            // Two images a tile, and one of three left over.
            shape(3, 8, 8, 64, 64, 3, 1),
            // Eight rows of an image, and sixteen images of 2 x 4.
            shape(1, 16, 16, 128, 64, 3, 1),
            shape(17, 2, 4, 64, 128, 3, 1),
            // One tap; columns that are more than a tile's; one row, 128 wide.
            shape(1, 32, 4, 64, 320, 1, 0),
            shape(1, 2, 128, 64, 64, 3, 1),
            // The result is smaller than the image, or larger.
            shape(2, 10, 10, 64, 64, 3, 0),
            shape(1, 12, 12, 64, 64, 5, 4),
        ] {
            let x = whole(s.in_pixels() * s.inputs, 1);
            let w = whole(s.outputs * s.taps() * s.inputs, 2);
            let dy = whole(s.out_pixels() * s.outputs, 3);
            let image = [s.batch, s.height, s.width, s.inputs];
            let result = [s.batch, s.out_height(), s.out_width(), s.outputs];
            let weight = [s.outputs, s.kernel, s.kernel, s.inputs];
            let mut taken = 0;
            for pass in [Pass::Forward, Pass::InputGradient] {
                let of = |device: &Device| {
                    let tensor = |values, shape| tensor(values, shape, DType::BF16, device);
                    let (from, out, columns) = match pass {
                        Pass::Forward => (tensor(&x, &image), &result, s.outputs),
                        _ => (tensor(&dy, &result), &image, s.inputs),
                    };
                    let bias = tensor(&whole(columns, 4), &[columns]);
                    (from, tensor(&w, &weight), bias, Tensor::empty(out, DType::BF16, device).unwrap())
                };
                let (from, w, bias, mut found) = of(&device);
                if !hopper::takes(gpu, pass, &s, &from, &w).unwrap() {
                    continue;
                }
                taken += 1;
                hopper::run(gpu, gpu.hopper().unwrap(), "conv2d", pass, &s, &from, &w, Some(&bias), &mut found).unwrap();
                let (_, _, _, mut other) = of(&device);
                let tiling = Tiling::cut(true, pass.sizes(&s).k, 1);
                run(gpu, "conv2d", pass, &s, &from, &w, Some(&bias), tiling, &mut other).unwrap();
                let (from, w, bias, mut expected) = of(&Device::Cpu);
                match pass {
                    Pass::Forward => super::cpu::forward("conv2d", &s, &from, &w, Some(&bias), &mut expected),
                    _ => super::cpu::input_gradient("conv2d", &s, &from, &w, Some(&bias), &mut expected),
                }
                .unwrap();
                let expected = expected.to_f64().unwrap();
                assert!(other.to_f64().unwrap() == expected, "{pass:?} {s:?} on {device}: by mma");
                assert!(found.to_f64().unwrap() == expected, "{pass:?} {s:?} on {device}: by wgmma");
            }
            assert!(taken > 0, "{s:?} on {device}");
        }
    }
}

#[test]
fn what_no_box_is_made_of_is_left_to_other_kernels() {
    for device in hoppers() {
        let Device::Gpu(gpu) = &device else { panic!("{device} is no GPU") };
        let good = Convolution { batch: 1, height: 16, width: 16, inputs: 64, outputs: 64, kernel: 3, stride: 1, padding: 1 };
        let takes = |s: Convolution, pass| {
            let x = Tensor::zeros([1, 16, 16, 64], DType::BF16, &device).unwrap();
            hopper::takes(gpu, pass, &s, &x, &x).unwrap()
        };
        for pass in [Pass::Forward, Pass::InputGradient] {
            assert!(takes(good, pass));
            for wrong in [
                Convolution { stride: 2, ..good },
                Convolution { width: 24, ..good },
                Convolution { width: 256, ..good },
                Convolution { height: 12, ..good },
                Convolution { inputs: 96, outputs: 96, ..good },
            ] {
                assert!(!takes(wrong, pass), "{wrong:?}");
            }
        }
        assert!(!takes(good, Pass::WeightGradient));
    }
}
