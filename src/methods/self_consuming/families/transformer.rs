//! A causal transformer on the characters of a text.

use std::collections::HashMap;

use super::super::{Draw, Family, Part};
use crate::data::Text;
use crate::error::{Error, Result};
use crate::memory;
use crate::nn::{Context, Layout, Transformer, TransformerConfig, Weights};
use crate::optim::{Decay, Schedule as Rates};
use crate::random::{Alias, Sequence};
use crate::tensor::{Device, Tensor};
use crate::train::{TrainOptions, Trainer};

/// How each round's network is trained, from new first weights.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LanguageTraining {
    /// Steps.
    pub steps: u64,
    /// Windows a step.
    pub batch: usize,
    /// Adam's learning rate; falls along half a cosine after a short rise.
    pub learning_rate: f64,
}

impl LanguageTraining {
    /// Errors on numbers that make no training.
    fn check(&self) -> Result<()> {
        let LanguageTraining { steps, batch, learning_rate } = *self;
        if !(1..=1 << 32).contains(&steps) || !(1..=1 << 20).contains(&batch) {
            return Err(Error::Config(format!(
                "a fit of {steps} steps of {batch} windows; there are 1 to 2^32 steps of 1 to 2^20"
            )));
        }
        match learning_rate > 0.0 && learning_rate.is_finite() {
            true => Ok(()),
            false => Err(Error::Config(format!("a learning rate of {learning_rate}; it must be above 0"))),
        }
    }
}

impl Default for LanguageTraining {
    /// For two small blocks: 400 steps of 32 windows at 3e-3.
    fn default() -> Self {
        LanguageTraining { steps: 400, batch: 32, learning_rate: 3e-3 }
    }
}

/// Windows of characters of a text as samples, and a small [`Transformer`] as model. The truth is a window from a
/// random place of the training part; the model begins each window at its start token.
#[derive(Debug)]
pub struct LanguageModel {
    text: Text,
    network: Transformer,
    layout: std::sync::Arc<Layout>,
    training: LanguageTraining,
    device: Device,
    held_out: Vec<u32>,
    /// Whether each trigram of the training text is of its tail.
    trigrams: HashMap<[u32; 3], bool>,
    /// Makes the windows that are measured: the same in every round.
    seed: u64,
}

/// Held-out windows that the likelihood is measured on, and generated ones that trigrams are counted in.
const MEASURED: usize = 512;
/// Windows that the network sees at once outside of training.
const AT_ONCE: usize = 128;
/// The share of the training text's trigrams that its rarest ones make up: the tail.
const TAIL: f64 = 0.1;

impl LanguageModel {
    /// Windows of `config.context` characters; the vocabulary is the text's. Errors on settings that make no network,
    /// and on a text whose parts are shorter than a window.
    pub fn new(
        text: Text,
        config: TransformerConfig,
        training: LanguageTraining,
        seed: u64,
        device: &Device,
    ) -> Result<Self> {
        let config = TransformerConfig { vocab: text.alphabet.len(), ..config };
        let mut layout = Layout::new();
        let network = Transformer::new(&mut layout.scope("transformer"), &config)?;
        let window = config.context;
        if text.held_out.len() < window {
            let (train, held_out) = (text.train.len(), text.held_out.len());
            return Err(Error::Config(format!(
                "a text of {train} characters and {held_out} held out has no window of {window} in both; give more text or a lower --context"
            )));
        }
        training.check()?;
        // Inputs, targets and their tensors; the windows that are measured.
        let bytes = 16 * training.batch as u128 * window as u128 + 8 * MEASURED as u128 * window as u128;
        let what = format!("a step of {} windows of {window} characters", training.batch);
        memory::check(bytes, &what, "lower --batch or --context")?;
        let count = MEASURED.min(text.held_out.len() / window);
        // Spread evenly, without overlap.
        let stride = text.held_out.len() / count;
        let held_out =
            (0..count).flat_map(|i| text.held_out[i * stride..i * stride + window].iter().copied()).collect();
        let trigrams = tail(&text.train);
        Ok(LanguageModel {
            text,
            network,
            layout: layout.into(),
            training,
            device: device.clone(),
            held_out,
            trigrams,
            seed,
        })
    }

    /// The text.
    pub fn text(&self) -> &Text {
        &self.text
    }

    fn window(&self) -> usize {
        self.network.config().context
    }

    /// Inputs and targets: a window's characters are predicted from those before, the first from the start token.
    fn batch(&self, windows: &[u32]) -> Result<(Tensor, Tensor)> {
        let (t, start) = (self.window(), self.network.config().start());
        let shifted: Vec<u32> =
            windows.chunks_exact(t).flat_map(|w| std::iter::once(start).chain(w[..t - 1].iter().copied())).collect();
        let shape = [windows.len() / t, t];
        Ok((Tensor::from_slice(&shifted, shape, &self.device)?, Tensor::from_slice(windows, shape, &self.device)?))
    }

    fn generate(&self, model: &Weights, seed: u64, n: usize) -> Result<Vec<u32>> {
        let cx = Context::inference(model);
        let mut windows = Vec::with_capacity(n * self.window());
        for first in (0..n).step_by(AT_ONCE) {
            let count = AT_ONCE.min(n - first);
            let drawn = self.network.generate(&cx, seed, first as u32, count, self.window())?;
            windows.extend(drawn.to_vec::<u32>()?);
        }
        Ok(windows)
    }
}

/// The rarest trigrams, which together make up at most [`TAIL`] of a text.
fn tail(text: &[u32]) -> HashMap<[u32; 3], bool> {
    let mut counts: HashMap<[u32; 3], u64> = HashMap::new();
    for at in text.windows(3) {
        *counts.entry([at[0], at[1], at[2]]).or_default() += 1;
    }
    let total: u64 = counts.values().sum();
    let mut sorted: Vec<([u32; 3], u64)> = counts.into_iter().collect();
    sorted.sort_unstable_by_key(|&(trigram, count)| (count, trigram));
    let mut sum = 0;
    sorted
        .into_iter()
        .map(|(trigram, count)| {
            sum += count;
            (trigram, sum as f64 <= TAIL * total as f64)
        })
        .collect()
}

impl Family for LanguageModel {
    /// Windows, one after the other.
    type Data = Vec<u32>;
    type Model = Weights;

    fn measures(&self) -> Vec<String> {
        [
            "held-out negative log-likelihood, nats per character",
            "tail mass: share of trigrams that are among the text's rarest tenth",
            "share of trigrams that the text does not have",
        ]
        .map(String::from)
        .into()
    }

    fn real(&self, n: u64, draw: &Draw) -> Result<Vec<u32>> {
        let mut sequence = draw.sequence()?;
        let (t, text) = (self.window(), &self.text.train);
        let mut windows = Vec::with_capacity(n as usize * t);
        for _ in 0..n {
            let at = sequence.below((text.len() - t + 1) as u64) as usize;
            windows.extend(&text[at..at + t]);
        }
        Ok(windows)
    }

    fn synthetic(&self, model: &Weights, n: u64, draw: &Draw) -> Result<Vec<u32>> {
        if n > u64::from(u32::MAX) {
            return Err(Error::Config(format!("{n} generated windows; at most 2^32 have numbers of their own")));
        }
        self.generate(model, draw.own_seed()?, n as usize)
    }

    fn merge(&self, into: &mut Vec<u32>, more: Vec<u32>) {
        into.extend(more);
    }

    fn fit(&self, parts: &[Part<Vec<u32>>], _: Option<&Weights>, draw: &Draw) -> Result<Weights> {
        let LanguageTraining { steps, batch, learning_rate } = self.training;
        let mut sequence = draw.sequence()?;
        let seed = sequence.word64() >> 1;
        let total = steps * batch as u64;
        let options = TrainOptions {
            schedule: Rates { warm_up: total / 20, decay: Decay::Cosine { total } },
            max_norm: 1.0,
            ..TrainOptions::adam(learning_rate, seed)
        };
        let mut trainer = Trainer::new(Weights::init(&self.layout, seed, &self.device)?, options)?;
        let picks = Windows::new(parts, self.window())?;
        for _ in 0..steps {
            let (inputs, targets) = self.batch(&picks.draw(batch, &mut sequence))?;
            trainer.step(batch, |cx| self.network.loss(cx, &inputs, &targets))?;
        }
        trainer.average()
    }

    fn measure(&self, model: &Weights) -> Result<Vec<f64>> {
        let (cx, t) = (Context::inference(model), self.window());
        let mut nats = 0.0;
        for windows in self.held_out.chunks(AT_ONCE * t) {
            let (inputs, targets) = self.batch(windows)?;
            nats += self.network.loss(&cx, &inputs, &targets)?.value().item()? * windows.len() as f64;
        }
        let generated = self.generate(model, self.seed, MEASURED)?;
        let (mut rare, mut novel) = (0, 0);
        for trigram in generated.chunks_exact(t).flat_map(|window| window.windows(3)) {
            match self.trigrams.get(&[trigram[0], trigram[1], trigram[2]]) {
                Some(true) => rare += 1,
                Some(false) => {}
                None => novel += 1,
            }
        }
        let all = (MEASURED * t.saturating_sub(2)).max(1) as f64;
        Ok(vec![nats / self.held_out.len() as f64, f64::from(rare) / all, f64::from(novel) / all])
    }

    fn bytes(&self, n: u64) -> u128 {
        8 * u128::from(n) * self.window() as u128
    }
}

/// Windows to draw batches from, by the weights of their parts.
struct Windows<'a> {
    parts: Vec<&'a [u32]>,
    by_weight: Alias,
    window: usize,
}

impl<'a> Windows<'a> {
    fn new(parts: &'a [Part<Vec<u32>>], window: usize) -> Result<Self> {
        let weights: Vec<f64> = parts.iter().map(|part| part.weight * part.data.len() as f64).collect();
        let parts = parts.iter().map(|part| part.data.as_slice()).collect();
        Ok(Windows { parts, by_weight: Alias::new(&weights)?, window })
    }

    fn draw(&self, count: usize, sequence: &mut Sequence) -> Vec<u32> {
        let mut windows = Vec::with_capacity(count * self.window);
        for _ in 0..count {
            let part = self.parts[self.by_weight.draw(sequence)];
            let at = sequence.below((part.len() / self.window) as u64) as usize * self.window;
            windows.extend(&part[at..at + self.window]);
        }
        windows
    }
}
