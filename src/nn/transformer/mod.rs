//! A causal transformer: the language model of characters, or of any other tokens.

mod generate;

use serde::{Deserialize, Serialize};

use super::context::Context;
use super::layers::{LayerInit, LayerNorm, Linear, Module};
use super::layout::{Init, ParamId, Scope};
use crate::autograd::Var;
use crate::error::{Error, Result};
use crate::ops;
use crate::tensor::{Shape, Tensor};

/// The options of [`Transformer`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TransformerConfig {
    /// Tokens of the vocabulary. One more, the start of a sequence, is added to what the network is given, never to
    /// what it predicts.
    pub vocab: usize,
    /// Tokens of a sequence at most.
    pub context: usize,
    /// Channels of a token.
    pub width: usize,
    /// Blocks of attention and perceptron.
    pub layers: usize,
    /// Heads of attention; they divide the width.
    pub heads: usize,
    /// Probability of dropout on every residual branch.
    #[serde(default)]
    pub dropout: f64,
}

impl TransformerConfig {
    /// Two blocks of width 64 with four heads, for sequences of up to `context` tokens.
    pub fn new(vocab: usize, context: usize) -> Self {
        TransformerConfig { vocab, context, width: 64, layers: 2, heads: 4, dropout: 0.0 }
    }

    /// The token that stands for the start of a sequence.
    pub fn start(&self) -> u32 {
        self.vocab as u32
    }

    fn check(&self) -> Result<()> {
        let sizes = [self.vocab, self.context, self.width, self.layers, self.heads];
        let deep = self.layers > 1 << 12;
        if deep || sizes.iter().any(|size| !(1..=1 << 20).contains(size)) || !self.width.is_multiple_of(self.heads) {
            return Err(Error::Config(format!(
                "a transformer needs sizes between 1 and 1048576, 4096 layers at most, and heads that divide the width; got {self:?}"
            )));
        }
        match (0.0..1.0).contains(&self.dropout) {
            true => Ok(()),
            false => Err(Error::Config(format!("dropout must be in [0, 1), got {}", self.dropout))),
        }
    }
}

/// Tokens `[b, t]` to the logits of each one's successor, `[b, t, vocab]`; token i sees tokens 0 to i.
///
/// Learnt positions, blocks with LayerNorm before attention and before a perceptron of four times the width with GELU,
/// a last LayerNorm, and a linear layer to the logits; first weights N(0, 0.02^2), those that end a residual branch
/// divided by `sqrt(2 layers)` (Radford et al. 2019, GPT-2). Parameters have GPT-2's names, in the orientation of
/// linear layers.
#[derive(Debug, Clone)]
pub struct Transformer {
    config: TransformerConfig,
    tokens: ParamId,
    positions: ParamId,
    blocks: Vec<Block>,
    norm: LayerNorm,
    head: Linear,
}

/// Attention and perceptron, each on a residual branch.
#[derive(Debug, Clone)]
struct Block {
    before_attention: LayerNorm,
    queries_keys_values: Linear,
    attended: Linear,
    before_perceptron: LayerNorm,
    wide: Linear,
    narrow: Linear,
    /// Where the dropout of the two branches gets its numbers from.
    sites: [u32; 2],
}

const EPS: f64 = 1e-5;
const DEVIATION: f32 = 0.02;

impl Transformer {
    /// Registers the parameters in `scope`. Errors on sizes that make no network.
    pub fn new(scope: &mut Scope, config: &TransformerConfig) -> Result<Self> {
        config.check()?;
        let TransformerConfig { vocab, context, width, layers, .. } = *config;
        let table = |scope: &mut Scope, rows: usize| scope.parameter("weight", [rows, width], Init::Normal(DEVIATION));
        let tokens = table(&mut scope.at("wte"), vocab + 1);
        let positions = table(&mut scope.at("wpe"), context);
        let last = DEVIATION / (2.0 * layers as f32).sqrt();
        let blocks = (0..layers)
            .map(|i| {
                let mut block = scope.at(&format!("h.{i}"));
                let normal = LayerInit::Normal;
                let first_site = block.site();
                let before_attention = LayerNorm::new(&mut block.at("ln_1"), width, EPS);
                let queries_keys_values =
                    Linear::new(&mut block.at("attn.c_attn"), width, 3 * width, normal(DEVIATION));
                let attended = Linear::new(&mut block.at("attn.c_proj"), width, width, normal(last));
                let second_site = block.site();
                Block {
                    before_attention,
                    queries_keys_values,
                    attended,
                    before_perceptron: LayerNorm::new(&mut block.at("ln_2"), width, EPS),
                    wide: Linear::new(&mut block.at("mlp.c_fc"), width, 4 * width, normal(DEVIATION)),
                    narrow: Linear::new(&mut block.at("mlp.c_proj"), 4 * width, width, normal(last)),
                    sites: [first_site, second_site],
                }
            })
            .collect();
        let norm = LayerNorm::new(&mut scope.at("ln_f"), width, EPS);
        let head = Linear::without_bias(&mut scope.at("lm_head"), width, vocab, LayerInit::Normal(DEVIATION));
        Ok(Transformer { config: config.clone(), tokens, positions, blocks, norm, head })
    }

    /// The options that it was made with.
    pub fn config(&self) -> &TransformerConfig {
        &self.config
    }

    /// The logits `[b, t, vocab]` of the successors of `tokens` `[b, t]` u32, in the context's dtype. Errors on more
    /// tokens than the context has, on other shapes and dtypes, and, on the CPU, on tokens that are not in the
    /// vocabulary (the start included).
    pub fn forward(&self, cx: &Context, tokens: &Tensor) -> Result<Var> {
        let [b, t] = tokens.shape().dims("Transformer", "tokens [b, t]")?;
        let mut x = self.embed(cx, tokens, 0)?;
        for block in &self.blocks {
            let normed = block.before_attention.forward(cx, &x)?;
            let [q, k, v] = self.split(&block.queries_keys_values.forward(cx, &normed)?)?;
            let mixed = ops::attention(&q, &k, &v, self.config.heads, true)?;
            x = self.add_branches(cx, block, &x, &mixed)?;
        }
        self.head.forward(cx, &self.norm.forward(cx, &x)?)?.reshape([b, t, self.config.vocab])
    }

    /// The mean over all tokens of `-log p(target)`, where `targets` `[b, t]` are the successors of `tokens` `[b, t]`.
    pub fn loss(&self, cx: &Context, tokens: &Tensor, targets: &Tensor) -> Result<Var> {
        let logits = self.forward(cx, tokens)?;
        let rows = targets.len();
        ops::cross_entropy(&logits.reshape([rows, self.config.vocab])?, &targets.reshape([rows])?)
    }

    /// Tokens and their positions, from `first` on, as channels.
    fn embed(&self, cx: &Context, tokens: &Tensor, first: usize) -> Result<Var> {
        let [_, t] = tokens.shape().dims("Transformer", "tokens [b, t]")?;
        if first + t > self.config.context {
            let expected = format!("at most {} tokens in a sequence", self.config.context);
            return Err(Error::shape("Transformer", expected, format!("{}", first + t)));
        }
        let embedded = ops::embedding(&cx.weight(self.tokens)?, tokens)?;
        let positions = ops::slice(&cx.weight(self.positions)?, 0, first..first + t)?;
        ops::add(&embedded, &positions)
    }

    /// Queries, keys and values side by side in the last axis, one by one.
    fn split(&self, all: &Var) -> Result<[Var; 3]> {
        let (width, axis) = (self.config.width, all.shape().rank() - 1);
        let part = |i: usize| ops::slice(all, axis, i * width..(i + 1) * width);
        Ok([part(0)?, part(1)?, part(2)?])
    }

    /// What attention has `mixed`, and then the perceptron, on top of `x`.
    fn add_branches(&self, cx: &Context, block: &Block, x: &Var, mixed: &Var) -> Result<Var> {
        let dropout = self.config.dropout;
        let branch = cx.dropout(&block.attended.forward(cx, mixed)?, dropout, block.sites[0])?;
        let x = ops::add(x, &branch)?;
        let hidden = ops::gelu(&block.wide.forward(cx, &block.before_perceptron.forward(cx, &x)?)?)?;
        let branch = cx.dropout(&block.narrow.forward(cx, &hidden)?, dropout, block.sites[1])?;
        ops::add(&x, &branch)
    }
}

/// `[b, t, ..]` of these extents.
fn shape(extents: &[usize]) -> Shape {
    Shape::from(extents.to_vec())
}
