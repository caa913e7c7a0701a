//! Whole networks: operations against an independent count, launches against the emulator's and against a budget.

use veridical::backend::gpu::Asked;
use veridical::backend::plan::{Chip, Plan, Planner};
use veridical::data::Images;
use veridical::diffusion::{Loss, Model, ModelConfig};
use veridical::nn::{Conditions, Context, NetworkConfig, SongConfig};
use veridical::train::{RunConfig, TrainOptions, Trainer};
use veridical::{DType, Device, Result, Tensor, Var};

/// A network with images for it, labels of their augmentation if it takes any, and how it is trained.
struct Case {
    model: Model,
    images: Tensor,
    labels: Option<Var>,
    options: TrainOptions,
}

impl Case {
    fn of(network: impl Into<NetworkConfig>, batch: usize, device: &Device) -> Result<Case> {
        Self::new(&ModelConfig::new(network), TrainOptions::adam(1e-3, 0), batch, device)
    }

    /// EDM's CIFAR-10 network, trained as its preset says.
    fn cifar10(batch: usize, device: &Device) -> Result<Case> {
        let config = RunConfig::build(Some("cifar10-ddpmpp"), None, &[])?;
        let data = Images::new(vec![0.0; 32 * 32 * 3], vec![0], [32, 32, 3], 1)?;
        Self::new(&config.model_config(&data)?, config.train_options(), batch, device)
    }

    fn new(config: &ModelConfig, options: TrainOptions, batch: usize, device: &Device) -> Result<Case> {
        let model = Model::new(config, 0, device)?;
        let images = Tensor::zeros([&[batch][..], &model.denoiser().sample_shape()].concat(), DType::F32, device)?;
        let labels = match model.denoiser().augment_dim() {
            0 => None,
            dim => Some(Tensor::zeros([batch, dim], DType::F32, device)?.into()),
        };
        Ok(Case { model, images, labels, options })
    }

    fn forward(&self, dtype: DType) -> Result<()> {
        let weights = self.model.weights.clone().for_compute(dtype)?;
        let cx = Context::inference(&weights).compute_in(dtype);
        let sigmas = vec![1.0; self.images.shape()[0]];
        self.model.denoiser().denoise(&cx, &(&self.images).into(), &sigmas, Conditions::default()).map(drop)
    }

    /// Two training steps, with something between.
    fn step(self, dtype: DType, between: impl FnOnce()) -> Result<()> {
        let Case { model, images, labels, options } = self;
        let denoiser = model.denoiser().clone();
        let options = TrainOptions { compute: dtype, ..options };
        let mut trainer = Trainer::new(model.weights, options)?;
        let batch = images.shape()[0];
        let mut step = || {
            trainer.step(batch, |cx| {
                let conditions = Conditions { class_labels: None, augment_labels: labels.as_ref() };
                Loss::default().forward(cx, &denoiser, &images, conditions)
            })
        };
        step()?;
        between();
        step().map(drop)
    }
}

/// The plan of a training step in steady state, and the most bytes that it holds.
fn trained(planner: &Planner, dtype: DType, case: impl FnOnce(&Device) -> Result<Case>) -> (Plan, usize) {
    let device = Device::Gpu(planner.gpu().clone());
    let case = case(&device).unwrap();
    let between = || {
        planner.take();
        device.reset_peak_memory();
    };
    case.step(dtype, between).unwrap();
    (planner.take(), device.peak_memory())
}

fn planner() -> Planner {
    Planner::new(141_000_000_000)
}

fn assert_close(found: f64, expected: f64, within: f64, what: &str) {
    assert!((found / expected - 1.0).abs() < within, "{what}: {found}, expected {expected}");
}

/// Counted from the layer list of an implementation in PyTorch, as `tests/networks.rs` has it.
const CIFAR10_MULTIPLY_ADDS: f64 = 21_190_213_632.0;

#[test]
fn edms_network_has_the_operations_that_its_layers_say() {
    let planner = planner();
    let device = Device::Gpu(planner.gpu().clone());
    let case = Case::cifar10(64, &device).unwrap();
    planner.take();
    case.forward(DType::BF16).unwrap();
    let plan = planner.take();
    assert_close(plan.flops(), 64.0 * 2.0 * CIFAR10_MULTIPLY_ADDS, 1e-9, "forward");
    assert!(plan.launches().all(|started| !started.work().assumed), "a kernel whose bytes nobody wrote down");
}

#[test]
fn a_training_step_of_edms_network_stays_within_its_budget() {
    // By the kernels for all GPUs, and by those for Hopper, for which weights are turned at each call, without and with
    // those for the gradients of weights.
    for (planner, launches, allocations) in [
        (planner(), 1609, 1738),
        (Planner::with(&Chip::H200, Asked::default()), 1673, 1802),
        (Planner::with(&Chip::H200, Asked { weight_gradients: true, clusters: true }), 1673, 1802),
    ] {
        stays_within(&planner, launches, allocations);
    }
}

fn stays_within(planner: &Planner, most_launches: usize, most_allocations: usize) {
    let (plan, peak) = trained(planner, DType::BF16, |device| Case::cifar10(512, device));
    // Thrice the forward pass, less the gradient of the images, with the scores of attention once more for each of its
    // two gradients: less than a hundredth in all.
    assert_close(plan.flops(), 512.0 * 6.0 * CIFAR10_MULTIPLY_ADDS, 0.01, "training step");
    assert!(plan.launches().all(|started| !started.work().assumed), "a kernel whose bytes nobody wrote down");
    // What there is today; whoever needs fewer lowers the numbers.
    let (launches, allocations) = (plan.launch_count(), plan.allocations());
    println!("{launches} launches, {allocations} allocations, {} waits, {peak} bytes", plan.waits());
    assert!(launches <= most_launches, "{launches} launches");
    assert!(allocations <= most_allocations, "{allocations} allocations");
    assert_eq!(plan.waits(), WAITS);
    // They are those of any batch, but for products that are cut in parts when there are few tiles.
    Device::Gpu(planner.gpu().clone()).release_memory();
    let (small, small_peak) = trained(planner, DType::BF16, |device| Case::cifar10(64, device));
    assert!(small.launch_count().abs_diff(launches) <= 200, "{} launches", small.launch_count());
    assert!(small_peak < peak / 4 && peak < 80_000_000_000, "{small_peak}, {peak}");
}

const WAITS: usize = 2;

#[test]
fn gradients_of_weights_by_wgmma_are_predicted_to_take_less() {
    for (chip, batch) in [(Chip::H100, 64), (Chip::H200, 64), (Chip::H100, 512), (Chip::H200, 512)] {
        let [without, with] = [false, true].map(|weight_gradients| {
            let planner = Planner::with(&chip, Asked { weight_gradients, ..Asked::default() });
            trained(&planner, DType::BF16, |device| Case::cifar10(batch, device)).0
        });
        assert_eq!(without.flops(), with.flops(), "the same products");
        let of = |plan: &Plan, kind: &str| {
            let prediction = plan.predict(&chip);
            prediction.kinds.iter().find(|k| k.name == kind).map_or((0, 0.0), |k| (k.launches, k.seconds))
        };
        let (all, before) = of(&without, "conv2d_bwd_weight");
        let ((left, other), (taken, after)) = (of(&with, "conv2d_bwd_weight"), of(&with, "conv2d_bwd_weight_hopper"));
        println!(
            "{}, batch {batch}: {:.2} ms for {:.2}; {taken} of {all} gradients of weights, {:.2} ms for {:.2}; {} and {} \
             launches",
            chip.name,
            1e3 * with.predict(&chip).seconds(),
            1e3 * without.predict(&chip).seconds(),
            1e3 * (other + after),
            1e3 * before,
            with.launch_count(),
            without.launch_count(),
        );
        assert!(taken + left == all && taken > 50, "{taken} of {all}");
        assert!(other + after < 0.8 * before, "{other} and {after} for {before}");
    }
}

#[test]
fn clusters_are_predicted_to_take_less() {
    for (chip, batch) in [(Chip::H100, 64), (Chip::H200, 64), (Chip::H100, 512), (Chip::H200, 512)] {
        for weight_gradients in [false, true] {
            let [without, with] = [false, true].map(|clusters| {
                let planner = Planner::with(&chip, Asked { weight_gradients, clusters });
                trained(&planner, DType::BF16, |device| Case::cifar10(batch, device)).0
            });
            assert_eq!((without.flops(), without.launch_count()), (with.flops(), with.launch_count()));
            let of = |plan: &Plan, part: &str| {
                let kinds = plan.predict(&chip).kinds.into_iter().filter(|kind| kind.name.contains(part));
                kinds.fold((0, 0.0), |(launches, seconds), kind| (launches + kind.launches, seconds + kind.seconds))
            };
            let ((all, before), (left, after), (taken, _)) =
                (of(&without, "_hopper"), of(&with, "_hopper"), of(&with, "_hopper_cluster"));
            println!(
                "{}, batch {batch}, gradients of weights by wgmma {weight_gradients}: {:.2} ms for {:.2}; {taken} of {all} \
                 products in clusters, {:.2} ms for {:.2}",
                chip.name,
                1e3 * with.predict(&chip).seconds(),
                1e3 * without.predict(&chip).seconds(),
                1e3 * after,
                1e3 * before,
            );
            assert!(left == all && taken > 100, "{taken} of {all}");
            assert!(after < 0.85 * before, "{after} for {before}");
        }
    }
}

pub fn tiny() -> SongConfig {
    SongConfig {
        model_channels: 16,
        channel_mult: vec![1, 1],
        num_blocks: 1,
        attn_resolutions: vec![4],
        ..SongConfig::new(8, 1)
    }
}

#[test]
fn the_host_waits_for_nothing_in_a_forward_pass() {
    let planner = planner();
    let device = Device::Gpu(planner.gpu().clone());
    let case = Case::of(tiny(), 4, &device).unwrap();
    planner.take();
    case.forward(DType::F32).unwrap();
    assert_eq!(planner.take().waits(), 0);
}

/// The plan is worth nothing if a device that computes takes another way.
#[cfg(feature = "emulator")]
#[test]
fn a_plan_is_what_the_emulator_gets() {
    use veridical::backend::EmulatorOptions;
    use veridical::backend::gpu::Gpu;
    use veridical::backend::plan::Event;

    /// Launches with their blocks and sizes, and everything else with its bytes.
    fn said(plan: &Plan) -> Vec<String> {
        let event = |event: &Event| match event {
            Event::Launch(started) => {
                let buffers: Vec<_> = started.buffers().iter().map(|(name, bytes)| format!("{name} {bytes}")).collect();
                format!("{} {} {:?}", started.launch(), buffers.join(", "), started.work())
            }
            other => format!("{other:?}"),
        };
        plan.events().iter().flat_map(Event::parts).map(event).collect()
    }

    for dtype in [DType::F32, DType::BF16] {
        let emulator = Gpu::emulator(EmulatorOptions::default().races(false)).unwrap();
        let case = |device: &Device| Case::of(tiny(), 2, device);
        let (ran, held) = trained(&Planner::watching(&emulator), dtype, case);
        let (planned, peak) = trained(&planner(), dtype, case);
        assert!(ran.launch_count() > 100 && ran.waits() > 0);
        let (ran, planned) = (said(&ran), said(&planned));
        let differs = ran.iter().zip(&planned).position(|(ran, planned)| ran != planned);
        assert!(
            differs.is_none(),
            "{dtype}: the emulator was asked for {:?}, the plan has {:?}",
            differs.map(|at| &ran[at]),
            differs.map(|at| &planned[at])
        );
        assert_eq!(ran.len(), planned.len(), "{dtype}");
        assert_eq!(held, peak, "{dtype}: bytes at most");
    }
}
