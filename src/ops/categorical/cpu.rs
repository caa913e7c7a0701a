use crate::error::Result;
use crate::ops::gumbel_rows::{Noise, label_rows};
use crate::ops::random::Draws;
use crate::tensor::{Tensor, real};

pub fn sample(logits: &Tensor, k: usize, draws: &Draws, labels: &mut Tensor, bad: &mut Tensor) -> Result<()> {
    let (stream, samples) = draws.host()?;
    let labels = labels.as_mut_slice::<u32>()?;
    let missing = real!("categorical", logits.dtype(), T => {
        Ok(label_rows(logits.as_slice::<T>()?, k, Noise::Drawn { stream, samples, first_block: 0 }, labels))
    })?;
    bad.as_mut_slice::<u32>()?[0] = missing.is_some().into();
    Ok(())
}
