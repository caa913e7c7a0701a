//! Operations, bytes and instructions of single launches, by formulas worked out by hand.

use veridical::backend::gpu::Asked;
use veridical::backend::plan::{Chip, Event, Plan, Planner, Unit, Work};
use veridical::ops::random::Draws;
use veridical::optim::{Optimizer, OptimizerConfig, StepOptions};
use veridical::random::{Purpose, RandomKey};
use veridical::{DType, Device, Error, Tape, Tensor, Var, ops};

use super::{empty, planner};

/// The work of each launch, by its kernel.
fn works(plan: &Plan) -> Vec<(&'static str, Work)> {
    plan.launches().map(|started| (started.launch().kernel, started.work())).collect()
}

/// The only launch of `kernel`.
fn work(plan: &Plan, kernel: &str) -> Work {
    let found: Vec<_> = works(plan).into_iter().filter(|(name, _)| *name == kernel).collect();
    assert_eq!(found.len(), 1, "{kernel} in {:?}", works(plan));
    found[0].1
}

#[test]
fn a_product_in_large_tiles() {
    let (planner, device) = planner();
    let (a, b) = (empty([4096, 512], DType::BF16, &device), empty([512, 1000], DType::BF16, &device));
    ops::matmul(&a, &b).unwrap();
    let plan = planner.take();
    assert_eq!((plan.launch_count(), plan.allocations(), plan.waits()), (1, 3, 0));
    let work = work(&plan, "matmul_fwd_nn_large_bf16");
    assert_eq!(work.flops, 2.0 * 4096.0 * 512.0 * 1000.0);
    assert_eq!(work.bytes, 2.0 * (4096.0 * 512.0 + 512.0 * 1000.0 + 4096.0 * 1000.0));
    // 32 x 8 tiles of 128 x 128, of which 24 columns are padding; each is made of 2 x 128 elements, 512 times.
    assert_eq!(work.blocks, 256.0);
    assert_eq!(work.multiplications, 4096.0 * 512.0 * 1024.0 / (16.0 * 8.0 * 16.0));
    assert_eq!(work.cached, 256.0 * 512.0 * 256.0 * 2.0);
    assert!(
        work.unit == Unit::Mma
            && work.instructions > 2.0 * work.multiplications
            && work.instructions < 5.0 * work.multiplications
    );
}

#[test]
fn a_deep_product_in_parts() {
    let (planner, device) = planner();
    let (a, b) = (empty([3, 64, 4096], DType::F32, &device), empty([3, 4096, 64], DType::F32, &device));
    ops::matmul(&a, &b).unwrap();
    let plan = planner.take();
    let product = plan.launches().next().unwrap();
    let depth = product.number("depth_per_part").unwrap() as f64;
    let parts = (4096.0 / depth).ceil();
    assert!(parts > 1.0 && product.number("nothing").is_none());
    // Two factors, the result, and the parts.
    assert_eq!(plan.allocations(), 4);
    let work = product.work();
    assert_eq!(work.flops, 2.0 * 3.0 * 64.0 * 64.0 * 4096.0);
    assert_eq!(work.bytes, 4.0 * 3.0 * (2.0 * 64.0 * 4096.0 + parts * 64.0 * 64.0));
    assert_eq!((work.blocks, work.unit), (3.0 * parts, Unit::Fma));
    assert_eq!(work.multiplications, 3.0 * 64.0 * 64.0 * depth * parts / 32.0);
    let sum = self::work(&plan, "matmul_fwd_sum_parts_f32");
    assert_eq!(sum.bytes, 4.0 * 3.0 * 64.0 * 64.0 * (parts + 1.0));
}

/// Forward, and both gradients of a sum, of a convolution.
fn convolved(stride: usize, device: &Device) {
    let tape = Tape::new();
    let x = tape.leaf(empty([2, 32, 32, 64], DType::BF16, device));
    let w = tape.leaf(empty([128, 3, 3, 64], DType::BF16, device));
    let y = ops::conv2d(&x, &w, None, stride, 1).unwrap();
    y.sum_all().unwrap().backward().unwrap();
}

#[test]
fn a_convolution_and_its_gradients() {
    for (stride, side) in [(1, 32.0f64), (2, 16.0)] {
        let (planner, device) = planner();
        convolved(stride, &device);
        let plan = planner.take();
        let pixels = 2.0 * side * side;
        let of = |kind: &str| {
            let found: Vec<_> = plan.launches().filter(|started| started.kind() == kind).collect();
            assert_eq!(found.len(), 1, "{kind}");
            (found[0].work(), found[0].launch().grid[1])
        };
        let (image, weight, result) = (2.0 * 32.0 * 32.0 * 64.0, 128.0 * 9.0 * 64.0, pixels * 128.0);
        for (kind, read, written) in [
            ("conv2d_fwd", image + weight, result),
            ("conv2d_bwd_input", result + weight, image),
            ("conv2d_bwd_weight", image + result, weight),
        ] {
            let (work, parts) = of(kind);
            assert_eq!(work.flops, 2.0 * pixels * 128.0 * 9.0 * 64.0, "{kind}, stride {stride}");
            let written = if parts > 1 { 4.0 * f64::from(parts) * written } else { 2.0 * written };
            assert_eq!(work.bytes, 2.0 * read + written, "{kind}, stride {stride}");
            // What is multiplied is the whole of each tile, and of a strided input gradient the zeros between, too.
            let made = work.multiplications * 2048.0 * 2.0 / work.flops;
            let least = if kind == "conv2d_bwd_input" { (stride * stride) as f64 } else { 1.0 };
            assert!(made >= least && made < 1.5 * least, "{kind}, stride {stride}: {made}");
        }
    }
}

#[test]
fn a_gradient_of_weights_by_wgmma() {
    let planner = Planner::with(&Chip::H200, Asked { weight_gradients: true, ..Asked::default() });
    let device = Device::Gpu(planner.gpu().clone());
    let tape = Tape::new();
    let x = tape.leaf(empty([64, 32, 32, 256], DType::BF16, &device));
    let w = tape.leaf(empty([256, 3, 3, 256], DType::BF16, &device));
    ops::conv2d(&x, &w, None, 1, 1).unwrap().sum_all().unwrap().backward().unwrap();
    let work = work(&planner.take(), "conv2d_bwd_weight_hopper_bf16");
    let (pixels, result) = (64.0 * 1024.0, 256.0 * 9.0 * 256.0);
    // Two rows by nine columns of tiles, each in seven parts, whose sums are written in f32.
    assert_eq!((work.blocks, work.unit), (2.0 * 9.0 * 7.0, Unit::Wgmma));
    assert_eq!((work.flops, work.multiplications), (2.0 * pixels * result, pixels * result / 2048.0));
    assert_eq!(work.bytes, 2.0 * pixels * (256.0 + 256.0) + 7.0 * 4.0 * result);
    assert_eq!(work.cached, 18.0 * pixels * (128.0 + 256.0) * 2.0);
}

/// Forward, and both gradients, of a convolution of 256 channels, by single blocks and by clusters of two.
#[test]
fn clusters_fetch_once_what_their_blocks_share() {
    let works = |clusters| {
        let planner = Planner::with(&Chip::H200, Asked { weight_gradients: true, clusters });
        let device = Device::Gpu(planner.gpu().clone());
        let tape = Tape::new();
        let x = tape.leaf(empty([64, 32, 32, 256], DType::BF16, &device));
        let w = tape.leaf(empty([256, 3, 3, 256], DType::BF16, &device));
        ops::conv2d(&x, &w, None, 1, 1).unwrap().sum_all().unwrap().backward().unwrap();
        let a = empty([66 * 128, 1024], DType::BF16, &device);
        ops::matmul_transposed(a, false, empty([512, 1024], DType::BF16, &device), true).unwrap();
        let products = works(&planner.take()).into_iter().filter(|(name, _)| name.contains("_hopper_"));
        products.collect::<Vec<(&str, Work)>>()
    };
    let (single, paired) = (works(false), works(true));
    let kinds = ["conv2d_fwd", "conv2d_bwd_weight", "conv2d_fwd", "matmul_fwd_nt"];
    assert_eq!(single.len(), kinds.len(), "{single:?}");
    // Rows by columns of tiles, and parts, and steps of depth of all.
    let tiles = [(512.0, 2304.0), (18.0, 65536.0), (512.0, 2304.0), (132.0, 1024.0)];
    for ((one, two), (count, depth)) in single.iter().zip(&paired).zip(tiles) {
        assert_eq!(two.0, one.0.replace("_hopper_", "_hopper_cluster_"));
        assert_eq!(one.1.cached, count * depth * (128.0 + 256.0) * 2.0, "{}", one.0);
        assert_eq!(two.1.cached, count * depth * (128.0 + 128.0) * 2.0, "{}", two.0);
        let other = Work { cached: one.1.cached, clustered: false, ..two.1 };
        assert!(other == one.1 && two.1.clustered && !one.1.clustered, "{one:?}, {two:?}");
    }
    for kind in kinds {
        assert!(single.iter().any(|(name, _)| *name == format!("{kind}_hopper_bf16")), "{kind}");
    }
}

#[test]
fn attention_and_its_gradients() {
    // Channels of a head, and products that the gradient of keys and values makes.
    for (channels, made) in [(64usize, 4.0), (256, 6.0)] {
        let (planner, device) = planner();
        let tape = Tape::new();
        let [q, k, v] = [0; 3].map(|_| tape.leaf(empty([3, 256, channels], DType::BF16, &device)));
        let y = ops::attention(&q, &k, &v, 1, false).unwrap();
        y.sum_all().unwrap().backward().unwrap();
        let plan = planner.take();
        let (product, tensor) = (3.0 * 256.0 * 256.0 * channels as f64, 3.0 * 256.0 * channels as f64);
        for (kernel, products, made, tensors) in [
            (format!("attention_fwd_d{channels}_bf16"), 2.0, 2.0, 4.0),
            (format!("attention_bwd_queries_d{channels}_bf16"), 3.0, 3.0, 6.0),
            (format!("attention_bwd_keys_d{channels}_bf16"), 4.0, made, 6.0),
        ] {
            let work = work(&plan, &kernel);
            assert_eq!(work.flops, 2.0 * products * product, "{kernel}");
            assert_eq!(work.multiplications, made * product / 2048.0, "{kernel}");
            assert_eq!(work.bytes, 2.0 * tensors * tensor, "{kernel}");
            assert!(work.instructions > work.multiplications, "{kernel}");
        }
    }
    let (planner, device) = planner();
    let q = empty([1, 128, 64], DType::F32, &device);
    ops::attention(&q, &q, &q, 2, true).unwrap();
    let work = work(&planner.take(), "attention_fwd_d64_f32");
    // A token sees itself and those before it; of two tiles by two, three are made, of heads of 32 channels in 64.
    assert_eq!(work.flops, 2.0 * 2.0 * 2.0 * (128.0 * 129.0 / 2.0) * 32.0);
    assert_eq!(work.multiplications, 2.0 * 2.0 * 3.0 * 64.0 * 64.0 * 64.0 / 32.0);
}

#[test]
fn an_optimiser_moves_what_it_keeps() {
    let (planner, device) = planner();
    let mut weights = Tensor::zeros([1000], DType::F32, &device).unwrap();
    let gradient = empty([1000], DType::F32, &device);
    let (mut ema, mut copy) = (empty([1000], DType::F32, &device), empty([1000], DType::BF16, &device));
    let mut adam = Optimizer::new(OptimizerConfig::adam(1e-3), &weights).unwrap();
    planner.take();
    adam.step(&mut weights, &gradient, StepOptions::default()).unwrap();
    let options = StepOptions { ema: Some((&mut ema, 0.9)), copy: Some(&mut copy), ..StepOptions::default() };
    adam.step(&mut weights, &gradient, options).unwrap();
    let plan = planner.take();
    assert_eq!((plan.allocations(), plan.waits()), (0, 0));
    let bytes: Vec<f64> = works(&plan).iter().map(|(_, work)| work.bytes).collect();
    // Weights and two moments are read and written, the gradient is read; so is an average, and the copy is written.
    assert_eq!(bytes, [28_000.0, 38_000.0]);
    let each: Vec<f64> = works(&plan).iter().map(|(_, work)| work.instructions).collect();
    assert!(each[0] > 1000.0 / 32.0 && each[0] == each[1], "{each:?}");
}

#[test]
fn what_goes_over_elements_moves_them() {
    let (planner, device) = planner();
    let key = Draws::new(RandomKey::new(0, Purpose::Synthetic));
    let tape = Tape::new();
    let x = tape.leaf(empty([4, 64, 128], DType::BF16, &device));
    let n = 4.0 * 64.0 * 128.0;
    let gamma: Var = empty([128], DType::F32, &device).into();
    ops::group_norm_silu(&x, &gamma, &gamma, 32, 1e-6).unwrap();
    ops::add(&x, empty([1, 1, 128], DType::BF16, &device)).unwrap();
    ops::scale(&x, 2.0).unwrap();
    ops::concat(&[&x, &x], 2).unwrap();
    ops::cast(&x, DType::F32).unwrap();
    ops::silu(&x).unwrap().sum_all().unwrap().backward().unwrap();
    ops::normal([4, 100], DType::F32, &key, &device).unwrap();
    let plan = planner.take();
    assert_eq!(work(&plan, "group_norm_fwd_bf16").bytes, 4.0 * n);
    assert_eq!(work(&plan, "combine_fwd_bf16").bytes, 2.0 * (2.0 * n + 128.0));
    assert_eq!(work(&plan, "cast_fwd_f32").bytes, 6.0 * n);
    assert_eq!(work(&plan, "silu_fwd_bf16").bytes, 4.0 * n);
    assert_eq!(work(&plan, "silu_bwd_bf16").bytes, 6.0 * n);
    assert_eq!(work(&plan, "random_fwd_normal_f32").bytes, 1600.0);
    let copies: Vec<f64> =
        works(&plan).iter().filter(|(name, _)| *name == "concat_fwd_bf16").map(|(_, work)| work.bytes).collect();
    // Both pieces in one launch.
    assert_eq!(copies, [8.0 * n]);
    // A sum in two passes: all elements and one sum in f32 for each block of 4,096, and those again.
    let sum = (work(&plan, "sum_rows_fwd_partial_bf16").bytes, work(&plan, "sum_rows_fwd_final_bf16").bytes);
    assert_eq!(sum, (2.0 * n + 4.0 * 8.0, 4.0 * 8.0 + 2.0));
    assert!(plan.launches().all(|started| !started.work().assumed && started.work().flops == 0.0));
}

#[test]
fn a_plan_has_what_passes_between_host_and_device() {
    let (planner, device) = planner();
    // What is staged at most, and a number more.
    let count = 1 << 21;
    let x = Tensor::from_slice(&vec![1f32; count], [count], &device).unwrap();
    let y = Tensor::from_slice(&vec![1f32; count + 1], [count + 1], &device).unwrap();
    assert_eq!(x.to_vec::<f32>().unwrap(), vec![0f32; count], "nothing is there to be read");
    drop((x, y));
    device.synchronize().unwrap();
    let plan = planner.take();
    let bytes = |event: &Event| match event {
        Event::Upload { bytes } => format!("up {bytes}"),
        Event::Download { bytes } => format!("down {bytes}"),
        Event::Allocate { bytes } => format!("+{bytes}"),
        Event::Free { bytes } => format!("-{bytes}"),
        other => format!("{other:?}"),
    };
    let said: Vec<String> = plan.events().iter().map(bytes).collect();
    let expected = ["+8388608", "up 8388608", "+8388612", "up 8388612", "down 8388608", "-8388608", "-8388612", "Wait"];
    assert_eq!(said, expected);
    // The large upload, the download, and being asked to.
    assert_eq!((plan.waits(), plan.allocations(), plan.launch_count()), (3, 2, 0));
    assert!(planner.take().events().is_empty());
}

#[test]
fn memory_ends_where_the_chip_has_no_more() {
    let planner = Planner::new(1000);
    let device = Device::Gpu(planner.gpu().clone());
    let held = empty([200], DType::F32, &device);
    let more = Tensor::empty([100], DType::F32, &device);
    assert!(matches!(more, Err(Error::OutOfMemory { bytes: 400, .. })), "{more:?}");
    drop(held);
    assert_eq!(empty([250], DType::F32, &device).len(), 250);
    assert_eq!(device.peak_memory(), 1000);
}

#[test]
fn no_name_gives_a_device_that_computes_nothing() {
    let (_planner, device) = planner();
    assert_eq!(device.to_string(), "plan (computes nothing)");
    for name in ["plan", "h100", "h200", "plan (computes nothing)"] {
        assert!(matches!(Device::named(name), Err(Error::Unavailable { .. })), "{name}");
    }
}
