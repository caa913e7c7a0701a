//! Functions that are replayed as graphs, on devices that compute nothing or need no graph.

use veridical::backend::plan::{Chip, Event, Plan, Planner};
use veridical::data::Images;
use veridical::diffusion::{Model, Sampler};
use veridical::tensor::Replayed;
use veridical::train::RunConfig;
use veridical::{DType, Device, Error, Result, Tensor, ops};

pub fn of(values: &[f32], device: &Device) -> Tensor {
    Tensor::from_slice(values, [values.len()], device).unwrap()
}

pub fn values(tensor: &Tensor) -> Vec<f32> {
    tensor.to_vec().unwrap()
}

pub fn sum(a: &Tensor, b: &Tensor) -> Result<Tensor> {
    Ok(ops::add(a, b)?.into_value())
}

/// Launches that the host started itself.
pub fn started(plan: &Plan) -> usize {
    plan.events().iter().filter(|event| matches!(event, Event::Launch(_))).count()
}

#[test]
fn where_memory_is_short_the_function_is_called_as_it_is() {
    // Enough for what is in use at once, and not for a pool that keeps every size apart.
    let planner = Planner::new(10_000);
    let device = Device::Gpu(planner.gpu().clone());
    let x = Tensor::zeros([500], DType::F32, &device).unwrap();
    let mut replayed = Replayed::default();
    for _ in 0..3 {
        let y = replayed.call(&[&x], |x| {
            for size in [900, 901, 902] {
                Tensor::zeros([size], DType::F32, &device)?;
            }
            sum(&x[0], &x[0])
        });
        assert_eq!(y.unwrap().len(), 500);
    }
    assert!(!replayed.is_graph());
    let y = replayed.call(&[&x], |_| Tensor::zeros([5000], DType::F32, &device));
    assert!(matches!(y, Err(Error::OutOfMemory { .. })), "{y:?}");
    drop(replayed);
    assert_eq!(Tensor::zeros([2000], DType::F32, &device).unwrap().len(), 2000);
}

#[test]
fn on_the_cpu_every_call_is_plain() {
    let mut replayed = Replayed::default();
    for i in 0..3 {
        let x = of(&[i as f32], &Device::Cpu);
        assert_eq!(values(&replayed.call(&[&x], |x| sum(&x[0], &x[0])).unwrap()), [2.0 * i as f32]);
    }
    assert!(!replayed.is_graph());
}

#[test]
fn a_sample_of_edms_network_is_not_the_hosts() {
    let chip = Chip::H200;
    let planner = Planner::of(&chip);
    let device = Device::Gpu(planner.gpu().clone());
    let config = RunConfig::build(Some("cifar10-ddpmpp"), None, &[]).unwrap();
    let data = Images::new(vec![0.0; 32 * 32 * 3], vec![0], [32, 32, 3], 1).unwrap();
    let model = Model::new(&config.model_config(&data).unwrap(), 0, &device).unwrap();
    let sampler = Sampler { compute: DType::BF16, ..Sampler::default() };
    planner.take();
    sampler.sample(&model, 0, 0, 1).unwrap();
    let plan = planner.take();
    // 18 steps of Heun's method are 35 calls. What is left to the host are two of them, and what the solver does.
    let (replays, started, allocations) = (plan.replays(), started(&plan), plan.allocations());
    assert_eq!(replays, 33);
    assert!(started <= 1300 && allocations <= 300, "{started} launches, {allocations} allocations");
    let prediction = plan.predict(&chip);
    assert!(!prediction.is_bound_by_host(), "{prediction:?}");
    // The first graph is made of what the second call did.
    assert!(plan.events().iter().any(|event| matches!(event, Event::Prepare { commands } if *commands > 400)));
}
