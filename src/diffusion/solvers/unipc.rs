//! UniPC (Zhao et al. 2023, arXiv 2302.04867), data prediction: a predictor and a corrector of any order from one
//! denoiser call a step.
//!
//! Orders `min(order, i + 1, N - i)` in step i; a step to 0 returns the denoised samples. The corrector of step i uses
//! the denoiser call that step i + 1 needs anyway, at the predicted samples (the paper's UniPC without the oracle
//! call).

use super::phi::phi;
use super::run::{axpy, combine};
use super::{Run, Solver};
use crate::error::{Error, Result};
use crate::tensor::Tensor;

/// The paper's function B(h).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum BFunction {
    /// `B = h`.
    Bh1,
    /// `B = e^h - 1`, better with few steps.
    #[default]
    Bh2,
}

/// The solver.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UniPc {
    /// Order of the predictor, 1 to 6; the corrector has one more.
    pub order: usize,
    /// B(h).
    pub b: BFunction,
}

impl Default for UniPc {
    fn default() -> Self {
        UniPc { order: 3, b: BFunction::default() }
    }
}

impl Solver for UniPc {
    fn solve(&self, run: &mut Run, x: Tensor, sigmas: &[f64]) -> Result<Tensor> {
        if !(1..=6).contains(&self.order) {
            return Err(Error::Config(format!("UniPC has order 1 to 6, got {}", self.order)));
        }
        let steps = sigmas.len() - 1;
        let order = |i: usize| self.order.min(i + 1).min(steps - i);
        let mut models: Vec<Tensor> = Vec::new(); // M_i, M_{i-1}, ...
        let mut predicted = x.clone();
        let mut corrected = x; // at the level before, until the corrector has been over
        for i in 0..steps {
            let model = run.denoise(&predicted, sigmas[i])?;
            if i > 0 {
                let step = Step::new(self.b, &sigmas[..=i], &models, &corrected)?;
                corrected = step.take(order(i - 1), Some(&model))?;
            }
            run.observe_corrected(i, sigmas[i], &predicted, &corrected)?;
            models.insert(0, model);
            models.truncate(self.order + 1);
            predicted = match sigmas[i + 1] {
                0.0 => models[0].clone(),
                _ => Step::new(self.b, &sigmas[..=i + 1], &models, &corrected)?.take(order(i), None)?,
            };
        }
        run.observe(steps, sigmas[steps], &predicted)?;
        Ok(predicted)
    }
}

/// A step from `s = sigmas[len - 2]` to `t = sigmas[len - 1]`.
struct Step<'a> {
    g: f64,
    b: f64,
    /// `r_j = (lambda_{s-j} - lambda_s) / H`, j = 1, 2, ...
    r: Vec<f64>,
    models: &'a [Tensor],
    base: Tensor,
}

impl<'a> Step<'a> {
    fn new(b: BFunction, sigmas: &[f64], models: &'a [Tensor], x: &Tensor) -> Result<Self> {
        let lambda: Vec<f64> = sigmas.iter().rev().map(|sigma| -sigma.ln()).collect(); // t, s, s-1, ...
        let h = lambda[0] - lambda[1];
        let g = -h;
        let b = match b {
            BFunction::Bh1 => g,
            BFunction::Bh2 => g.exp_m1(),
        };
        let r = lambda.iter().skip(2).take(models.len() - 1).map(|l| (l - lambda[1]) / h).collect();
        let base = combine(&[(g.exp(), x), (-g.exp_m1(), &models[0])])?;
        Ok(Step { g, b, r, models, base })
    }

    /// `base - B sum_j rho_j delta_j`, `delta_j = (M_{s-j} - M_s) / r_j`: the predictor of order p, or with `at_t` =
    /// M_t the corrector.
    fn take(&self, p: usize, at_t: Option<&Tensor>) -> Result<Tensor> {
        let mut r: Vec<f64> = self.r.iter().take(p - 1).copied().collect();
        let mut others: Vec<&Tensor> = self.models.iter().skip(1).take(p - 1).collect();
        if let Some(model) = at_t {
            r.push(1.0);
            others.push(model);
        }
        // For one unknown the paper takes 1/2 instead of the solution.
        let rho = if r.len() == 1 { vec![0.5] } else { self.weights(&r) };
        let mut x = self.base.clone();
        for ((rho, r), model) in rho.iter().zip(&r).zip(others) {
            let c = -self.b * rho / r;
            x = axpy(&axpy(&x, c, model)?, -c, &self.models[0])?;
        }
        Ok(x)
    }

    /// The solution of `sum_j rho_j r_j^(k-1) = b_k = k! g phi_{k+1}(g) / B`, k = 1, 2, ...
    fn weights(&self, r: &[f64]) -> Vec<f64> {
        let n = r.len();
        let mut rows: Vec<Vec<f64>> = (0..n)
            .map(|k| {
                let factorial: f64 = (1..=k + 1).map(|i| i as f64).product();
                let right = factorial * self.g * phi(k as u32 + 2, self.g) / self.b;
                r.iter().map(|r| r.powi(k as i32)).chain([right]).collect()
            })
            .collect();
        // Gauss-Jordan with pivots; the matrix is Vandermonde's, the r differ.
        for column in 0..n {
            let pivot = (column..n).max_by(|&i, &j| rows[i][column].abs().total_cmp(&rows[j][column].abs()));
            rows.swap(column, pivot.unwrap_or(column));
            let row = rows[column].clone();
            for (i, other) in rows.iter_mut().enumerate() {
                let factor = other[column] / row[column];
                if i != column {
                    other.iter_mut().zip(&row).for_each(|(x, y)| *x -= factor * y);
                }
            }
        }
        (0..n).map(|i| rows[i][n] / rows[i][i]).collect()
    }
}
