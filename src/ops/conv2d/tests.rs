//! The kernels with tilings that small convolutions would not choose. Whole numbers: every result must be exact.

use super::gpu::{Pass, run};
use crate::backend::convolution::Convolution;
use crate::ops::product::gpu::Tiling;
use crate::ops::product::tests::{gpus, tensor, whole};
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
