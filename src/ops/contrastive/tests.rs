//! Strips and tiles that small batches would not be cut into, against the CPU.

use super::gpu::{Cut, backward_in, forward_in};
use super::{Gradients, Kind, Problem, Wanted, cpu};
use crate::ops::product::tests::{gpus, tensor};
use crate::tensor::{DType, Device, Tensor};

const CUTS: [Cut; 3] = [
    Cut { large: true, large_keys: true, strip: 128 },
    Cut { large: false, large_keys: false, strip: 64 },
    Cut { large: true, large_keys: false, strip: 256 },
];
/// More than a large tile is wide, and no multiple of anything.
const DEPTH: usize = 139;

/// Numbers between -0.2 and 0.2 that bf16 has.
fn few(count: usize, seed: usize) -> Vec<f32> {
    (0..count).map(|i| ((i * 7919 + seed * 104_729) / 13 % 103) as f32 / 256.0 - 0.2).map(rounded).collect()
}

fn rounded(x: f32) -> f32 {
    half::bf16::from_f32(x).to_f32()
}

fn problem(kind: Kind, rows: usize, columns: usize, dtype: DType, device: &Device) -> Problem {
    let q = tensor(&few(rows * DEPTH, 1), &[rows, DEPTH], dtype, device);
    let own = kind == Kind::Own;
    Problem {
        op: "contrastive",
        kind,
        weight: 0.7,
        rows,
        columns,
        depth: DEPTH,
        k: if own { q.clone() } else { tensor(&few(columns * DEPTH, 2), &[columns, DEPTH], dtype, device) },
        q,
        scale: Tensor::scalar(1.3, DType::F32, device).unwrap(),
        offset: (!own).then(|| tensor(&few(columns, 3), &[columns], DType::F32, device)),
        labels: own.then(|| {
            let labels: Vec<u32> = (0..rows as u32).map(|i| if i % 7 == 3 { 1000 + i } else { i * i % 5 }).collect();
            Tensor::from_slice(&labels, [rows], device).unwrap()
        }),
    }
}

/// The loss and the gradients.
fn results(loss: Tensor, gradients: Gradients) -> Vec<Vec<f64>> {
    let Gradients { q, k, scale, offset } = gradients;
    let all = [Some(loss), q, k, scale, offset];
    all.into_iter().flatten().map(|tensor| tensor.to_f64().unwrap()).collect()
}

#[test]
fn every_cut_is_right() {
    for device in gpus() {
        let Device::Gpu(gpu) = &device else { panic!("{device} is no GPU") };
        for dtype in [DType::F32, DType::BF16] {
            for (kind, rows, columns) in
                [(Kind::Rows, 131, 200), (Kind::Both, 263, 263), (Kind::Own, 197, 197), (Kind::Sigmoid, 140, 140)]
            {
                let own = kind == Kind::Own;
                let wanted = Wanted { q: true, k: !own, scale: !own, offset: !own };
                let expected = {
                    let problem = problem(kind, rows, columns, dtype, &Device::Cpu);
                    let (loss, kept) = cpu::forward(&problem).unwrap();
                    let dy = Tensor::scalar(1.5, DType::F32, &Device::Cpu).unwrap();
                    results(loss, cpu::backward(&problem, &kept, &dy, wanted).unwrap())
                };
                for cut in CUTS {
                    let problem = problem(kind, rows, columns, dtype, &device);
                    let (loss, kept) = forward_in(gpu, &problem, cut).unwrap();
                    let dy = Tensor::scalar(1.5, DType::F32, &device).unwrap();
                    let found = results(loss, backward_in(gpu, &problem, &kept, &dy, wanted, cut).unwrap());
                    assert_eq!(found.len(), expected.len());
                    let tolerance = if dtype == DType::BF16 { 1e-2 } else { 2e-5 };
                    for (which, (found, expected)) in found.iter().zip(&expected).enumerate() {
                        let size = expected.iter().fold(0f64, |max, x| max.max(x.abs()));
                        assert_eq!(found.len(), expected.len());
                        for (found, expected) in found.iter().zip(expected) {
                            let off = (found - expected).abs();
                            let what = format!("{kind:?} {dtype} {cut:?} on {device}, result {which}");
                            assert!(off <= tolerance * size, "{what}: {found}, expected {expected}");
                        }
                    }
                }
            }
        }
    }
}
