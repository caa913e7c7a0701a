//! The kernels with tilings that small convolutions would not choose. Whole numbers: every result must be exact.

use super::gpu::run;
use super::hopper_weight::{self, Cut};
use super::pass::Pass;
use super::{gpu, hopper};
use crate::backend::convolution::Convolution;
use crate::backend::gpu::Gpu;
use crate::ops::product::gpu::Tiling;
use crate::ops::product::hopper::Team;
use crate::ops::product::tests::{gpus, hoppers, is_to_pair, tensor, whole};
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

/// The pass in plain loops over whole numbers, rounded once. (On the CPU a 3x3 convolution takes fewer multiplications,
/// and is not exact.)
fn plain(pass: Pass, s: &Convolution, from: &[f32], w: &[f32], bias: &[f32]) -> Vec<f64> {
    let forward = pass == Pass::Forward;
    let (height, width) = if forward { (s.out_height(), s.out_width()) } else { (s.height, s.width) };
    let (from_height, from_width, channels) = match forward {
        true => (s.height, s.width, s.inputs),
        false => (s.out_height(), s.out_width(), s.outputs),
    };
    let mut result = Vec::new();
    for i in 0..s.batch * height * width {
        let (image, y, x) = (i / width / height, i / width % height, i % width);
        let mut sums = bias.to_vec();
        for tap in 0..s.taps() {
            let (r, t) = (tap / s.kernel, tap % s.kernel);
            let [row, column] = match forward {
                true => [(y + r).checked_sub(s.padding), (x + t).checked_sub(s.padding)],
                false => [(y + s.padding).checked_sub(r), (x + s.padding).checked_sub(t)],
            };
            let (Some(row), Some(column)) = (row, column) else { continue };
            if row >= from_height || column >= from_width {
                continue;
            }
            let pixel = &from[((image * from_height + row) * from_width + column) * channels..][..channels];
            for (n, sum) in sums.iter_mut().enumerate() {
                let weight = |c: usize| match forward {
                    true => w[(n * s.taps() + tap) * s.inputs + c],
                    false => w[(c * s.taps() + tap) * s.inputs + n],
                };
                *sum += pixel.iter().enumerate().map(|(c, value)| value * weight(c)).sum::<f32>();
            }
        }
        result.extend(sums.iter().map(|&sum| half::bf16::from_f32(sum).to_f64()));
    }
    result
}

/// One block for a tile, and two where they are to be tried.
fn teams(gpu: &Gpu) -> Vec<Team> {
    let found = gpu.hopper().unwrap();
    let teams = [Team::alone(found), Team::pair(found)];
    teams.into_iter().take(if is_to_pair(gpu) { 2 } else { 1 }).collect()
}

/// By the kernel for Hopper, of single blocks and of clusters, by that for all GPUs, and in plain loops: the same, bit
/// for bit.
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
    let gpus = hoppers();
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
        let image = [s.batch, s.height, s.width, s.inputs];
        let result = [s.batch, s.out_height(), s.out_width(), s.outputs];
        let weight = [s.outputs, s.kernel, s.kernel, s.inputs];
        let w = whole(s.outputs * s.taps() * s.inputs, 2);
        let mut taken = 0;
        for (pass, from_shape, out_shape, columns) in
            [(Pass::Forward, image, result, s.outputs), (Pass::InputGradient, result, image, s.inputs)]
        {
            let (from, bias) = (whole(from_shape.iter().product(), 1), whole(columns, 4));
            let expected = plain(pass, &s, &from, &w, &bias);
            for device in &gpus {
                let Device::Gpu(gpu) = device else { panic!("{device} is no GPU") };
                let of = |values: &[f32], shape: &[usize]| tensor(values, shape, DType::BF16, device);
                let (from, w, bias) = (of(&from, &from_shape), of(&w, &weight), of(&bias, &[columns]));
                if !hopper::takes(gpu, pass, &s, &from, &w).unwrap() {
                    continue;
                }
                taken += 1;
                for team in teams(gpu) {
                    let mut y = Tensor::empty(out_shape, DType::BF16, device).unwrap();
                    hopper::run(gpu, team, "conv2d", pass, &s, &from, &w, Some(&bias), &mut y).unwrap();
                    assert!(y.to_f64().unwrap() == expected, "{pass:?} {s:?} on {device}: by wgmma, {team:?}");
                }
                let tiling = Tiling::cut(true, pass.sizes(&s).k, 1);
                let mut y = Tensor::empty(out_shape, DType::BF16, device).unwrap();
                run(gpu, "conv2d", pass, &s, &from, &w, Some(&bias), tiling, &mut y).unwrap();
                assert!(y.to_f64().unwrap() == expected, "{pass:?} {s:?} on {device}: by mma");
            }
        }
        assert!(taken >= gpus.len(), "{s:?}");
    }
}

#[test]
fn what_no_box_is_made_of_is_left_to_other_kernels() {
    for device in hoppers() {
        let Device::Gpu(gpu) = &device else { panic!("{device} is no GPU") };
        let good =
            Convolution { batch: 1, height: 16, width: 16, inputs: 64, outputs: 64, kernel: 3, stride: 1, padding: 1 };
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

/// The gradient of the weight in plain loops over whole numbers, rounded once.
fn plain_weight(s: &Convolution, dy: &[f32], x: &[f32]) -> Vec<f64> {
    let mut sums = vec![0f32; s.outputs * s.taps() * s.inputs];
    let (height, width) = (s.out_height(), s.out_width());
    for (pixel, dy) in dy.chunks_exact(s.outputs).enumerate() {
        let (image, i, j) = (pixel / width / height, pixel / width % height, pixel % width);
        for tap in 0..s.taps() {
            let (row, column) = (i + tap / s.kernel, j + tap % s.kernel);
            let inside = |at: usize, extent: usize| (s.padding..extent + s.padding).contains(&at);
            if !inside(row, s.height) || !inside(column, s.width) {
                continue;
            }
            let at = (image * s.height + row - s.padding) * s.width + column - s.padding;
            let x = &x[at * s.inputs..][..s.inputs];
            for (o, dy) in dy.iter().enumerate() {
                let sums = &mut sums[(o * s.taps() + tap) * s.inputs..][..s.inputs];
                sums.iter_mut().zip(x).for_each(|(sum, x)| *sum += dy * x);
            }
        }
    }
    sums.into_iter().map(|sum| half::bf16::from_f32(sum).to_f64()).collect()
}

/// Hoppers that make gradients of weights by wgmma: the emulator, in all kinds of order or one, the interpreter of PTX,
/// and a GPU if it is asked to.
#[cfg_attr(not(feature = "emulator"), allow(unused_variables))]
fn asked(every_order: bool) -> Vec<Device> {
    let mut gpus = Vec::new();
    #[cfg(feature = "emulator")]
    {
        use crate::backend::{EmulatorOptions, Order};
        let options = EmulatorOptions::default().workers(2).hopper(true).hopper_weights(true);
        let orders = [Order::Early, Order::Late, Order::Shuffled(3)];
        let orders = orders.into_iter().take(if every_order { 3 } else { 1 });
        gpus.extend(orders.map(|order| Device::emulator_with(options.order(order)).unwrap()));
    }
    #[cfg(feature = "ptx")]
    if let Some(modules) = crate::backend::PtxModules::if_built() {
        gpus.push(Device::ptx_of(&modules.hopper(true).hopper_weights(true)).unwrap());
    }
    let is_asked = |device: &Device| match device {
        Device::Gpu(gpu) => gpu.hopper().is_some_and(|hopper| hopper.asked.weight_gradients),
        Device::Cpu => false,
    };
    gpus.extend(Device::cuda(0).ok().filter(is_asked));
    gpus
}

/// By the kernel for Hopper, whole and in parts, of single blocks and of clusters, by that for all GPUs, and in plain
/// loops: the same, bit for bit.
#[test]
fn boxes_make_the_same_gradients_of_weights() {
    let gpus = asked(true);
    for (batch, height, width, inputs, outputs, kernel, padding, parts) in [
        // One image a step; a tile of 3 x 64 and one of 9 taps, of which a block's tiles are several.
        (3, 8, 8, 64, 64, 3, 1, 2),
        // Four rows a step; the channels of two taps share a tile.
        (1, 16, 16, 128, 128, 3, 1, 3),
        // Eight images a step, and one that is alone in the last; rows that no block of outputs is filled by.
        (17, 2, 4, 64, 72, 3, 1, 3),
        // One tap; more rows than a tile's.
        (1, 32, 4, 64, 320, 1, 0, 2),
        // Half a row a step, and a whole one.
        (1, 2, 128, 64, 64, 3, 1, 4),
        (1, 3, 64, 192, 136, 3, 1, 1),
        // The result is smaller than the image, or larger.
        (2, 10, 10, 64, 64, 3, 0, 2),
        (1, 12, 12, 64, 64, 5, 4, 1),
    ] {
        let s = Convolution { batch, height, width, inputs, outputs, kernel, stride: 1, padding };
        let result = [s.batch, s.out_height(), s.out_width(), s.outputs];
        let (dy, x) = (whole(result.iter().product(), 1), whole(s.in_pixels() * s.inputs, 2));
        let expected = plain_weight(&s, &dy, &x);
        for device in &gpus {
            let Device::Gpu(gpu) = device else { panic!("{device} is no GPU") };
            let dy = tensor(&dy, &result, DType::BF16, device);
            let x = tensor(&x, &[s.batch, s.height, s.width, s.inputs], DType::BF16, device);
            assert!(hopper_weight::takes(gpu, &s, &dy, &x).unwrap(), "{s:?}");
            let empty = || Tensor::empty([s.outputs, s.kernel, s.kernel, s.inputs], DType::BF16, device).unwrap();
            let steps = s.out_pixels().div_ceil(64);
            let cuts = [Cut::new(steps, 1), Cut::new(steps, parts)];
            for (cut, team) in cuts.into_iter().flat_map(|cut| teams(gpu).into_iter().map(move |team| (cut, team))) {
                let mut dw = empty();
                hopper_weight::run(gpu, team, cut, "conv2d", &s, &dy, &x, &mut dw).unwrap();
                assert!(dw.to_f64().unwrap() == expected, "{s:?} {cut:?} on {device}: by wgmma, {team:?}");
            }
            let tiling = Tiling::cut(true, s.out_pixels(), 1);
            let mut dw = empty();
            run(gpu, "conv2d", Pass::WeightGradient, &s, &x, &dy, None, tiling, &mut dw).unwrap();
            assert!(dw.to_f64().unwrap() == expected, "{s:?} on {device}: by mma");
        }
    }
}

/// What is large enough goes to that kernel where it is asked for, and nowhere else.
#[test]
fn gradients_of_weights_are_given_to_warpgroups_where_that_is_asked_for() {
    let s = Convolution { batch: 32, height: 8, width: 8, inputs: 256, outputs: 128, kernel: 3, stride: 1, padding: 1 };
    let large = Convolution { batch: 512, height: 32, width: 32, outputs: 256, ..s };
    for device in asked(false) {
        let Device::Gpu(gpu) = &device else { panic!("{device} is no GPU") };
        let cut = |s: &Convolution| hopper_weight::pays(gpu, DType::BF16, s).map(|(_, cut)| (cut.parts, cut.steps));
        // Eighteen tiles of 8,192 steps: 396 tiles of parts are three for each of 132 multiprocessors.
        assert_eq!((cut(&s), cut(&large)), (Some((8, 4)), Some((22, 373))));
        assert_eq!(cut(&Convolution { batch: 64, ..large }), Some((7, 147)));
        // Too few channels to fill a tile, too few pixels for many parts, or another dtype.
        assert_eq!(cut(&Convolution { inputs: 64, outputs: 64, ..large }), None);
        assert_eq!(cut(&Convolution { batch: 2, ..s }), None);
        assert!(hopper_weight::pays(gpu, DType::F32, &large).is_none());
        let (dy, x) = (whole(s.out_pixels() * s.outputs, 1), whole(s.in_pixels() * s.inputs, 2));
        let expected = plain_weight(&s, &dy, &x);
        let dy = tensor(&dy, &[s.batch, s.height, s.width, s.outputs], DType::BF16, &device);
        let x = tensor(&x, &[s.batch, s.height, s.width, s.inputs], DType::BF16, &device);
        let mut dw = Tensor::empty([s.outputs, 3, 3, s.inputs], DType::BF16, &device).unwrap();
        gpu::weight_gradient(gpu, "conv2d", &s, &dy, &x, &mut dw).unwrap();
        assert!(dw.to_f64().unwrap() == expected, "on {device}");
    }
    for device in hoppers() {
        let Device::Gpu(gpu) = &device else { panic!("{device} is no GPU") };
        let is_asked = gpu.hopper().is_some_and(|hopper| hopper.asked.weight_gradients);
        assert_eq!(hopper_weight::pays(gpu, DType::BF16, &large).is_some(), is_asked);
    }
}

#[test]
fn gradients_of_weights_that_no_box_makes_are_left_to_other_kernels() {
    for device in hoppers() {
        let Device::Gpu(gpu) = &device else { panic!("{device} is no GPU") };
        let good =
            Convolution { batch: 1, height: 16, width: 16, inputs: 64, outputs: 64, kernel: 3, stride: 1, padding: 1 };
        let takes = |s: Convolution, dtype| {
            let x = Tensor::zeros([1, 16, 16, 64], dtype, &device).unwrap();
            hopper_weight::takes(gpu, &s, &x, &x).unwrap()
        };
        assert!(takes(good, DType::BF16) && !takes(good, DType::F32));
        assert!(takes(Convolution { width: 256, outputs: 8, ..good }, DType::BF16));
        for wrong in [
            Convolution { stride: 2, ..good },
            Convolution { width: 24, ..good },
            Convolution { width: 96, ..good },
            Convolution { height: 14, ..good },
            Convolution { inputs: 96, ..good },
            Convolution { outputs: 12, ..good },
        ] {
            assert!(!takes(wrong, DType::BF16), "{wrong:?}");
        }
    }
}
