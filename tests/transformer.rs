//! The causal transformer: against plain loops in f64, and its samples against its own distribution.

use std::sync::Arc;

use veridical::nn::{Context, Layout, Transformer, TransformerConfig, Weights};
use veridical::ops::{self, random::Draws};
use veridical::optim::OptimizerConfig;
use veridical::random::{Purpose, RandomKey};
use veridical::train::{TrainOptions, Trainer};
use veridical::{DType, Device, Tensor, Var};

fn build(config: &TransformerConfig, seed: u64, device: &Device) -> (Transformer, Weights) {
    let mut layout = Layout::new();
    let network = Transformer::new(&mut layout.scope("transformer"), config).unwrap();
    (network, Weights::init(&Arc::new(layout), seed, device).unwrap())
}

/// First weights have a deviation of 0.02, which leaves attention nearly flat: larger ones, so that every part matters.
fn lively(weights: &Weights) -> Weights {
    let flat = weights.flat().to_vec::<f32>().unwrap();
    let flat: Vec<f32> = flat.iter().enumerate().map(|(i, w)| 12.0 * w + ((i % 7) as f32 - 3.0) * 0.05).collect();
    weights.with_flat(Tensor::from_slice(&flat, [flat.len()], &weights.device()).unwrap()).unwrap()
}

fn logits(network: &Transformer, weights: &Weights, tokens: &[u32], shape: [usize; 2]) -> Vec<f64> {
    let tokens = Tensor::from_slice(tokens, shape, &weights.device()).unwrap();
    network.forward(&Context::inference(weights), &tokens).unwrap().value().to_f64().unwrap()
}

/// The network of the documentation in plain loops, for one sequence.
fn plain(config: &TransformerConfig, weights: &Weights, tokens: &[u32]) -> Vec<f64> {
    let get = |name: &str| -> Vec<f64> {
        let entries = weights.layout().entries();
        let entry =
            entries.iter().find(|e| e.name == format!("transformer.{name}")).unwrap_or_else(|| panic!("{name}"));
        weights.view(entry).unwrap().to_f64().unwrap()
    };
    let c = config.width;
    let linear = |x: &[Vec<f64>], name: &str, bias: bool| -> Vec<Vec<f64>> {
        let w = get(&format!("{name}.weight"));
        let inputs = x[0].len();
        let b = if bias { get(&format!("{name}.bias")) } else { vec![0.0; w.len() / inputs] };
        let row = |x: &Vec<f64>| {
            b.iter().zip(w.chunks(inputs)).map(|(b, w)| b + w.iter().zip(x).map(|(w, x)| w * x).sum::<f64>()).collect()
        };
        x.iter().map(row).collect()
    };
    let norm = |x: &[Vec<f64>], name: &str| -> Vec<Vec<f64>> {
        let (gamma, beta) = (get(&format!("{name}.weight")), get(&format!("{name}.bias")));
        let row = |x: &Vec<f64>| {
            let mean = x.iter().sum::<f64>() / c as f64;
            let variance = x.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / c as f64;
            (0..c).map(|i| gamma[i] * (x[i] - mean) / (variance + 1e-5).sqrt() + beta[i]).collect()
        };
        x.iter().map(row).collect()
    };
    let (wte, wpe) = (get("wte.weight"), get("wpe.weight"));
    let mut x: Vec<Vec<f64>> = tokens
        .iter()
        .enumerate()
        .map(|(t, &token)| (0..c).map(|i| wte[token as usize * c + i] + wpe[t * c + i]).collect())
        .collect();
    let add = |x: &mut [Vec<f64>], y: Vec<Vec<f64>>| {
        x.iter_mut().zip(y).for_each(|(x, y)| x.iter_mut().zip(y).for_each(|(x, y)| *x += y));
    };
    for layer in 0..config.layers {
        let qkv = linear(&norm(&x, &format!("h.{layer}.ln_1")), &format!("h.{layer}.attn.c_attn"), true);
        let d = c / config.heads;
        let mut mixed = vec![vec![0.0; c]; x.len()];
        for head in 0..config.heads {
            for t in 0..x.len() {
                let score = |s: usize| -> f64 {
                    (0..d).map(|i| qkv[t][head * d + i] * qkv[s][c + head * d + i]).sum::<f64>() / (d as f64).sqrt()
                };
                let exps: Vec<f64> = (0..=t).map(|s| score(s).exp()).collect();
                let total: f64 = exps.iter().sum();
                for (s, e) in exps.iter().enumerate() {
                    (0..d).for_each(|i| mixed[t][head * d + i] += e / total * qkv[s][2 * c + head * d + i]);
                }
            }
        }
        add(&mut x, linear(&mixed, &format!("h.{layer}.attn.c_proj"), true));
        let mut hidden = linear(&norm(&x, &format!("h.{layer}.ln_2")), &format!("h.{layer}.mlp.c_fc"), true);
        for v in hidden.iter_mut().flatten() {
            *v *= 0.5 * libm::erfc(-*v * std::f64::consts::FRAC_1_SQRT_2);
        }
        add(&mut x, linear(&hidden, &format!("h.{layer}.mlp.c_proj"), true));
    }
    linear(&norm(&x, "ln_f"), "lm_head", false).concat()
}

fn small() -> TransformerConfig {
    TransformerConfig { width: 12, layers: 2, heads: 3, ..TransformerConfig::new(7, 9) }
}

#[test]
fn the_network_is_its_documentation_in_plain_loops() {
    let config = small();
    let (network, weights) = build(&config, 3, &Device::Cpu);
    let weights = lively(&weights);
    let tokens = [7, 0, 3, 3, 6, 1, 5, 2, 4];
    let expected = plain(&config, &weights, &tokens);
    let found = logits(&network, &weights, &tokens, [1, 9]);
    let scale = expected.iter().fold(0f64, |m, x| m.max(x.abs()));
    assert!(scale > 0.5, "weights large enough to tell anything: {scale}");
    for (found, expected) in found.iter().zip(&expected) {
        assert!((found - expected).abs() < 2e-5 * scale, "{found} {expected}");
    }
    // Later tokens have no part in earlier logits.
    let changed = logits(&network, &weights, &[7, 0, 3, 3, 6, 0, 0, 0, 0], [1, 9]);
    assert_eq!(found[..5 * 7], changed[..5 * 7]);
    assert_ne!(found[5 * 7..6 * 7], changed[5 * 7..6 * 7]);
    #[cfg(feature = "emulator")]
    {
        let device = Device::emulator().unwrap();
        let emulated = logits(&network, &weights.to_device(&device).unwrap(), &tokens, [1, 9]);
        assert!(found.iter().zip(emulated).all(|(a, b)| (a - b).abs() < 2e-5 * scale));
    }
}

#[test]
fn samples_are_drawn_from_the_network_s_own_distribution() {
    let config = small();
    let (network, weights) = build(&config, 5, &Device::Cpu);
    let weights = lively(&weights);
    let cx = Context::inference(&weights);
    let drawn = network.generate(&cx, 11, 4, 20, 9).unwrap().to_vec::<u32>().unwrap();
    // The same draws from the logits of the whole sequence at once: what is kept of earlier tokens changes nothing.
    for (i, sequence) in drawn.chunks(9).enumerate() {
        let shifted: Vec<u32> = std::iter::once(7).chain(sequence[..8].iter().copied()).collect();
        let all = logits(&network, &weights, &shifted, [1, 9]);
        for (t, row) in all.chunks(7).enumerate() {
            let row: Vec<f32> = row.iter().map(|&x| x as f32).collect();
            let row = Var::constant(Tensor::from_slice(&row, [1, 7], &Device::Cpu).unwrap());
            let key = RandomKey::new(11, Purpose::Categorical).at_step(t as u32);
            let token = ops::categorical(&row, &Draws::from_sample(key, 4 + i as u32)).unwrap();
            assert_eq!(token.to_vec::<u32>().unwrap(), [sequence[t]], "sequence {i}, token {t}");
        }
    }
    let alone = network.generate(&cx, 11, 6, 1, 9).unwrap().to_vec::<u32>().unwrap();
    assert_eq!(alone, drawn[18..27]);
    assert!(drawn.iter().all(|&token| token < 7), "the start token is never drawn");
}

#[test]
fn it_learns_what_comes_next() {
    let config = TransformerConfig { width: 16, layers: 1, heads: 2, ..TransformerConfig::new(5, 8) };
    let (network, weights) = build(&config, 1, &Device::Cpu);
    let options = TrainOptions { optimizer: OptimizerConfig::adam(1e-2), ..TrainOptions::adam(1e-2, 1) };
    let mut trainer = Trainer::new(weights, options).unwrap();
    // Sequences that count up from 0 to 4 and begin anywhere: only the first token is uncertain, ln 5 of 8 tokens.
    let windows: Vec<u32> = (0..5).flat_map(|first| (0..8).map(move |t| (first + t) % 5)).collect();
    let inputs: Vec<u32> = windows.chunks(8).flat_map(|w| std::iter::once(5).chain(w[..7].iter().copied())).collect();
    let (inputs, targets) = (
        Tensor::from_slice(&inputs, [5, 8], &Device::Cpu).unwrap(),
        Tensor::from_slice(&windows, [5, 8], &Device::Cpu).unwrap(),
    );
    let mut loss = f64::INFINITY;
    for _ in 0..300 {
        loss = trainer.step(5, |cx| network.loss(cx, &inputs, &targets)).unwrap().loss;
    }
    assert!((loss - 5f64.ln() / 8.0).abs() < 0.02, "{loss}");
    let drawn = network.generate(&Context::inference(trainer.weights()), 2, 0, 50, 8).unwrap().to_vec::<u32>().unwrap();
    let right = drawn.chunks(8).flat_map(|w| w.windows(2)).filter(|pair| pair[1] == (pair[0] + 1) % 5).count();
    assert!(right > 340, "{right} of 350 successors are right");
}

#[test]
fn what_makes_no_network_is_an_error() {
    let refuse = |config: TransformerConfig| {
        assert!(Transformer::new(&mut Layout::new().scope(""), &config).is_err(), "{config:?}");
    };
    refuse(TransformerConfig { heads: 5, ..small() });
    refuse(TransformerConfig { layers: 0, ..small() });
    refuse(TransformerConfig { vocab: 0, ..small() });
    refuse(TransformerConfig { width: usize::MAX, ..small() });
    refuse(TransformerConfig { dropout: 1.0, ..small() });
    let (network, weights) = build(&small(), 0, &Device::Cpu);
    let cx = Context::inference(&weights);
    let tokens = |n: usize| Tensor::zeros([1, n], DType::U32, &Device::Cpu).unwrap();
    assert!(network.forward(&cx, &tokens(10)).unwrap_err().to_string().contains("at most 9"));
    assert!(network.forward(&cx, &tokens(9)).is_ok());
    let unknown = Tensor::from_slice(&[8u32], [1, 1], &Device::Cpu).unwrap();
    assert!(network.forward(&cx, &unknown).unwrap_err().to_string().contains("index 8"));
    for length in [0, 10] {
        assert!(network.generate(&cx, 0, 0, 1, length).is_err());
    }
}
