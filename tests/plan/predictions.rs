//! What predictions are made of: which limit a launch meets, and what sums to what.

use veridical::backend::plan::{Chip, Cost, Limit, Plan, Planner, Prediction, Unit, Work};
use veridical::{DType, Device, Tensor, ops};

use super::{empty, planner};

fn multiplied(m: usize, n: usize, k: usize, dtype: DType) -> Plan {
    let (planner, device) = planner();
    ops::matmul(empty([m, k], dtype, &device), empty([k, n], dtype, &device)).unwrap();
    planner.take()
}

fn tflops(plan: &Plan, chip: &Chip) -> f64 {
    1e-12 * plan.flops() / plan.predict(chip).device_seconds
}

fn limit(prediction: &Prediction) -> Limit {
    prediction.kinds[0].limit
}

#[test]
fn a_large_product_runs_near_what_such_kernels_reach() {
    let plan = multiplied(8192, 8192, 8192, DType::BF16);
    for chip in Chip::ALL {
        // 39 % of the data sheet's 989 TFLOP/s is the best that others made of mma.sync in a whole kernel; 63 % is the
        // instruction's own.
        let rate = tflops(&plan, &chip);
        assert!((0.25 * 989.0..0.45 * 989.0).contains(&rate), "{rate} TFLOP/s on {}", chip.name);
        assert!(matches!(limit(&plan.predict(&chip)), Limit::Arithmetic | Limit::Cache | Limit::Instructions));
    }
    let single = tflops(&multiplied(4096, 4096, 4096, DType::F32), &Chip::H100);
    assert!((20.0..60.0).contains(&single), "{single} TFLOP/s");
}

#[test]
fn what_limits_a_launch() {
    let small = multiplied(64, 64, 64, DType::BF16).predict(&Chip::H200);
    assert_eq!((limit(&small), small.kinds[0].launches), (Limit::Launch, 1));
    let (planner, device) = planner();
    ops::scale(empty([1 << 28], DType::F32, &device), 2.0).unwrap();
    let stream = planner.take();
    let (h100, h200) = (stream.predict(&Chip::H100), stream.predict(&Chip::H200));
    assert_eq!((limit(&h100), limit(&h200)), (Limit::Memory, Limit::Memory));
    // Read and written once, at nine tenths of what the data sheet says.
    let bytes = 2.0 * 4.0 * f64::from(1 << 28);
    assert!((h200.device_seconds / (bytes / 4.32e12) - 1.0).abs() < 0.01, "{h200:?}");
    assert!((h100.device_seconds / h200.device_seconds - 4.8 / 3.35).abs() < 0.01, "{h100:?}");
}

#[test]
fn multiprocessors_without_a_block_do_nothing() {
    let work = |blocks: f64| Work { multiplications: 1e6 * blocks, unit: Unit::Mma, blocks, ..Work::default() };
    let seconds = |blocks: f64| Cost::of(&work(blocks), &Chip::H200).seconds;
    // A block more than there are multiprocessors takes as long as twice as many.
    assert!((seconds(265.0) / seconds(396.0) - 1.0).abs() < 1e-9);
    assert!(seconds(264.0) < 0.7 * seconds(265.0));
    // Alone on its multiprocessor a block is faster than two, and not twice as fast.
    assert!(seconds(132.0) < seconds(264.0) && seconds(132.0) > 0.5 * seconds(264.0));
    // One block cannot have the bandwidth of the chip.
    let stream = |blocks: f64| Cost::of(&Work { bytes: 1e9, blocks, ..Work::default() }, &Chip::H200);
    assert!(stream(1.0).seconds > 20.0 * stream(1e3).seconds && stream(1.0).limit == Limit::Memory);
}

#[test]
fn sums_are_those_of_their_parts() {
    let planner = Planner::new(1 << 40);
    let device = Device::Gpu(planner.gpu().clone());
    let x = Tensor::zeros([1 << 20], DType::F32, &device).unwrap();
    for _ in 0..3 {
        ops::scale(&x, 2.0).unwrap();
    }
    assert_eq!(ops::scale(&x, 2.0).unwrap().into_value().to_vec::<f32>().unwrap().len(), 1 << 20);
    let plan = planner.take();
    let Prediction { kinds, device_seconds, host_seconds, wait_seconds } = plan.predict(&Chip::H200);
    let find = |name: &str| kinds.iter().find(|kind| kind.name == name).unwrap_or_else(|| panic!("no {name}"));
    assert_eq!((find("affine_fwd").launches, find("zero").launches, find("download").launches), (4, 1, 1));
    assert_eq!(find("affine_fwd").bytes, 4.0 * 8.0 * f64::from(1 << 20));
    assert_eq!(find("download").limit, Limit::Host);
    assert_eq!(kinds.iter().map(|kind| kind.seconds).sum::<f64>(), device_seconds);
    assert!(kinds.is_sorted_by(|a, b| a.seconds >= b.seconds) && kinds.iter().all(|kind| kind.known));
    assert!(host_seconds > 0.0 && wait_seconds > 0.0);
    let all = plan.predict(&Chip::H200);
    assert_eq!(all.seconds(), device_seconds.max(host_seconds) + wait_seconds);
    assert_eq!(all.bytes(), kinds.iter().map(|kind| kind.bytes).sum::<f64>());
}

#[test]
fn chips_have_names() {
    for chip in Chip::ALL {
        assert_eq!(Chip::named(chip.name), Some(chip));
    }
    assert_eq!(Chip::named("h300"), None);
}
