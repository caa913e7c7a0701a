//! Adapters of adversarial losses and of penalties, which are the crate's own functions.

use veridical::players::{GanLoss, bce_with_logits, penalty};
use veridical::{Result, Var, ops};

use crate::call::{Adapter, Call};
use crate::layers::one;

pub fn adapters() -> Vec<(&'static str, Adapter)> {
    let discriminator = |op, loss: GanLoss| one(op, move |c| loss.discriminator(&c.var("real")?, &c.var("fake")?));
    let generator = |op, loss: GanLoss| one(op, move |c| loss.generator(&c.var("fake")?));
    vec![
        one("bce_with_logits", |c| bce_with_logits(&c.var("logits")?, &c.var("target")?)),
        discriminator("gan_d_bce", GanLoss::NonSaturating),
        discriminator("gan_d_hinge", GanLoss::Hinge),
        discriminator("gan_d_wasserstein", GanLoss::Wasserstein),
        generator("gan_g_nonsaturating", GanLoss::NonSaturating),
        generator("gan_g_minimax", GanLoss::Minimax),
        generator("gan_g_hinge", GanLoss::Hinge),
        generator("gan_g_wasserstein", GanLoss::Wasserstein),
        one("r1_penalty", |c| {
            let x = c.leaf(c.var("x")?.value());
            penalty::r1(&x, c.number("gamma")?, |x| critic(c, x))
        }),
        one("wgan_gp", |c| {
            let [real, fake, mix] = ["real", "fake", "mix"].map(|name| c.var(name).map(Var::into_value));
            let x = c.leaf(&penalty::mixed(&real?, &fake?, &mix?)?);
            penalty::gradient_penalty(&x, c.number("lambda")?, c.number("center")?, |x| critic(c, x))
        }),
    ]
}

/// The multilayer perceptron of the case, which has one output.
fn critic(c: &Call, x: &Var) -> Result<Var> {
    let mut h = x.clone();
    for layer in 0..c.count("layers")? {
        if layer > 0 {
            h = match c.word("activation")? {
                "tanh" => ops::tanh(h)?,
                "silu" => ops::silu(h)?,
                "softplus" => ops::softplus(h)?,
                "leaky_relu" => ops::leaky_relu(h, 0.2)?,
                other => return Err(veridical::Error::Config(format!("the activation {other}"))),
            };
        }
        h = ops::linear(h, c.var(&format!("w{layer}"))?, Some(&c.var(&format!("b{layer}"))?))?;
    }
    Ok(h)
}
