//! Adapters of contrastive losses.

use veridical::{Result, Var, ops};

use crate::call::{Adapter, Call};
use crate::layers::one;

pub fn adapters() -> Vec<(&'static str, Adapter)> {
    vec![
        one("info_nce", |c| ops::info_nce(rows(c, "q")?, rows(c, "k")?, 1.0 / c.number("temperature")?)),
        one("clip_symmetric", |c| ops::clip_symmetric(rows(c, "a")?, rows(c, "b")?, c.var("log_scale")?)),
        one("nt_xent", |c| ops::nt_xent(rows(c, "z1")?, rows(c, "z2")?, c.number("temperature")?)),
        one("sup_con", |c| {
            let (temperature, base) = (c.number("temperature")?, c.number("base_temperature")?);
            ops::sup_con(rows(c, "z")?, &c.labels("labels")?, temperature, base)
        }),
        one("siglip", |c| ops::siglip(rows(c, "a")?, rows(c, "b")?, c.var("log_scale")?, c.var("bias")?)),
    ]
}

/// The rows of an input, divided by their length if the case says so.
///
/// At a temperature of 0.01 what is rounded away of rows in bf16, once more after the division, comes back in the
/// logits a hundredfold: then they stay in the precision of losses.
fn rows(c: &Call, name: &str) -> Result<Var> {
    match c.flag("normalize")? {
        true if c.number("temperature").is_ok_and(|temperature| temperature < 0.02) => ops::l2_normalize(c.wide(name)?),
        true => ops::l2_normalize(c.var(name)?),
        false => c.var(name),
    }
}
