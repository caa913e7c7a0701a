use super::{Array, Fill, Input, Row, constants, side_by_side};
use crate::ops::adam::{AdamState, AdamStep};
use crate::{DType, Result, Var, ops};

/// The third step, with everything switched on.
const STEP: AdamStep =
    AdamStep { lr: 0.02, beta1: 0.9, beta2: 0.99, eps: 1e-6, weight_decay: 0.1, step: 3, ema_beta: 0.75 };

/// Weights, first moment, second moment and average after the step.
fn run(x: &[Var]) -> Result<Var> {
    let [mut weights, mut m, mut v, mut ema] = [0, 1, 2, 3].map(|i| x[i].value().clone());
    let state = AdamState { weights: &mut weights, m: &mut m, v: &mut v, ema: Some(&mut ema), copy: None };
    ops::adam(&STEP, state, x[4].value(), None)?;
    ops::concat(&[&weights.into(), &m.into(), &v.into(), &ema.into()], 0)
}

/// Kingma & Ba 2014, Algorithm 1, with decoupled weight decay and the average.
fn reference(x: &[Array]) -> Array {
    let AdamStep { lr, beta1, beta2, eps, weight_decay, step, ema_beta } = STEP;
    side_by_side(x[0].data.len(), |i| {
        let [w, m, v, ema, g] = [0, 1, 2, 3, 4].map(|k| x[k].data[i]);
        let m = beta1 * m + (1.0 - beta1) * g;
        let v = beta2 * v + (1.0 - beta2) * g * g;
        let (m_hat, v_hat) = (m / (1.0 - beta1.powi(step as i32)), v / (1.0 - beta2.powi(step as i32)));
        let w = w - lr * weight_decay * w - lr * m_hat / (v_hat.sqrt() + eps);
        [w, m, v, ema_beta * ema + (1.0 - ema_beta) * w]
    })
}

pub fn rows() -> Vec<Row> {
    let row = |n: usize| {
        let mut inputs: Vec<Input> = constants(5, n);
        inputs[2].fill = Fill::Uniform(0.01, 2.0); // a second moment
        Row::new("adam", inputs, run, reference).dtypes(&[DType::F32, DType::F64])
    };
    [0, 1, 3, 4, 255, 4099].map(row).to_vec()
}
