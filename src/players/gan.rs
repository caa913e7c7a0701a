//! The losses of generative adversarial networks, all to be minimised, as functions of the discriminator's logits.

use crate::autograd::Var;
use crate::error::{Error, Result};
use crate::ops;
use crate::tensor::DType;

crate::choice! {
    /// What a discriminator and a generator go down on. The logits of real and of made samples are `[b]` or `[b, 1]`;
    /// the two batches may differ in size. Losses are in f32 for bf16 logits.
    pub enum GanLoss {
        /// The discriminator's cross-entropy; the generator's `-log D`. Goodfellow et al. 2014, arXiv 1406.2661,
        /// section 3.
        NonSaturating = "nonsaturating",
        /// The discriminator's cross-entropy; the generator's `log (1 - D)`. The same, equation 1.
        Minimax = "minimax",
        /// Margins of 1 about 0. Lim & Ye 2017, arXiv 1705.02894; Miyato et al. 2018, arXiv 1802.05957.
        Hinge = "hinge",
        /// Differences of means, to go with a gradient penalty. Arjovsky et al. 2017, arXiv 1701.07875.
        Wasserstein = "wasserstein",
    }
}

impl GanLoss {
    /// What the discriminator minimises. With `softplus(x) = log (1 + e^x)`:
    ///
    /// | | |
    /// |---|---|
    /// | non-saturating, minimax | `mean softplus(-real) + mean softplus(fake)` |
    /// | hinge | `mean relu(1 - real) + mean relu(1 + fake)` |
    /// | Wasserstein | `mean fake - mean real` |
    ///
    /// Made samples are to be constants here: run the generator [for inference](crate::nn::Context::inference), or
    /// `detach` them. Errors on other shapes, and on empty batches.
    pub fn discriminator(self, real: &Var, fake: &Var) -> Result<Var> {
        let (real, fake) = (&logits("GanLoss::discriminator", real)?, &logits("GanLoss::discriminator", fake)?);
        match self {
            GanLoss::Wasserstein => ops::sub(fake.mean_all()?, real.mean_all()?),
            _ => ops::add(self.on_real(real)?.mean_all()?, self.on_fake(fake)?.mean_all()?),
        }
    }

    /// What each logit of a real sample costs the discriminator: the first terms of the table above, without the mean.
    pub fn on_real(self, logits: &Var) -> Result<Var> {
        match self {
            GanLoss::NonSaturating | GanLoss::Minimax => (-logits)?.softplus(),
            GanLoss::Hinge => (1.0 - logits)?.relu(),
            GanLoss::Wasserstein => -logits,
        }
    }

    /// What each logit of a made sample costs the discriminator: the second terms.
    pub fn on_fake(self, logits: &Var) -> Result<Var> {
        match self {
            GanLoss::NonSaturating | GanLoss::Minimax => logits.softplus(),
            GanLoss::Hinge => (1.0 + logits)?.relu(),
            GanLoss::Wasserstein => Ok(logits.clone()),
        }
    }

    /// What each logit of a made sample costs whoever made it: the terms of [`generator`](Self::generator).
    pub fn to_fool(self, logits: &Var) -> Result<Var> {
        match self {
            GanLoss::NonSaturating => (-logits)?.softplus(),
            GanLoss::Minimax => ops::neg(logits.softplus()?),
            GanLoss::Hinge | GanLoss::Wasserstein => -logits,
        }
    }

    /// What the generator minimises, given the logits of its samples:
    ///
    /// | | |
    /// |---|---|
    /// | non-saturating | `mean softplus(-fake)`, which is `-mean log D` |
    /// | minimax | `-mean softplus(fake)`, which is `mean log (1 - D)` |
    /// | hinge, Wasserstein | `-mean fake` |
    ///
    /// The discriminator's weights are to be constants here: run it for inference, as `examples/own_gan.rs` does.
    /// Errors on other shapes than `[b]` and `[b, 1]`, and on empty batches.
    pub fn generator(self, fake: &Var) -> Result<Var> {
        let fake = &logits("GanLoss::generator", fake)?;
        self.to_fool(fake)?.mean_all()
    }
}

/// The mean over all elements of the cross-entropy between `targets`, probabilities in `[0, 1]` of the logits' shape
/// (or one that broadcasts to it), and `sigmoid(logits)`: `t softplus(-x) + (1 - t) softplus(x)`, which neither
/// overflows nor cancels.
///
/// With targets below 1 for real samples it is one-sided label smoothing (Salimans et al. 2016, arXiv 1606.03498):
///
/// ```
/// use veridical::players::bce_with_logits;
/// use veridical::{Device, Tape, Tensor};
/// # fn main() -> veridical::Result<()> {
/// let tape = Tape::new();
/// let real = tape.leaf(Tensor::from_vec(vec![2f32, -1.], [2], &Device::Cpu)?);
/// let fake = tape.leaf(Tensor::from_vec(vec![0f32, 1., 0.5], [3], &Device::Cpu)?);
/// let target = |t: f32| Tensor::from_vec(vec![t], [], &Device::Cpu);
/// let loss = (bce_with_logits(&real, target(0.9)?)? + bce_with_logits(&fake, target(0.0)?)?)?;
/// assert!(loss.backward()?.of(&real)?.to_vec::<f32>()?[0] < 0.0, "not yet at 0.9");
/// # Ok(())
/// # }
/// ```
///
/// Losses are in f32 for bf16 logits. Errors if shapes, dtypes or devices do not fit, and if there are no logits.
pub fn bce_with_logits(logits: &Var, targets: impl Into<Var>) -> Result<Var> {
    let (x, targets) = (wide(logits)?, wide(&targets.into())?);
    let on = (&targets * (-&x)?.softplus()?)?;
    let off = ((1.0 - &targets)? * x.softplus()?)?;
    let loss = (on + off)?;
    if loss.shape() != logits.shape() {
        let expected = format!("targets that broadcast to the logits {}", logits.shape());
        return Err(Error::shape("bce_with_logits", expected, targets.shape()));
    }
    loss.mean_all()
}

/// In the precision of losses.
fn wide(x: &Var) -> Result<Var> {
    if x.dtype() == DType::BF16 { ops::cast(x, DType::F32) } else { Ok(x.clone()) }
}

/// The logits of a batch in the precision of losses. Errors of `op` unless there is one for each sample.
pub(super) fn logits(op: &'static str, x: &Var) -> Result<Var> {
    match x.shape()[..] {
        [_] | [_, 1] => wide(x),
        _ => Err(Error::shape(op, "logits [b] or [b, 1] (average those of patches first)", x.shape())),
    }
}
