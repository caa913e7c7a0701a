//! EDM's loss.

/// EDM's loss: `mean_b lambda(sigma) sum |D(y + sigma n; sigma) - y|^2` with `ln sigma ~ N(p_mean, p_std^2)` and
/// `lambda = (sigma^2 + sigma_data^2) / (sigma sigma_data)^2`.
///
/// The sum runs over a sample's elements, the mean over the batch (Karras et al. 2022, equation 108 and table 1).
/// [`Loss`](super::Loss), whose default it is, computes it beside the others.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct EdmLoss {
    /// Mean of ln sigma.
    pub p_mean: f64,
    /// Standard deviation of ln sigma.
    pub p_std: f64,
}

impl Default for EdmLoss {
    fn default() -> Self {
        EdmLoss { p_mean: -1.2, p_std: 1.2 }
    }
}
