use super::{Array, Fill, Row, constants, side_by_side};
use crate::ops::sgd::{SgdState, SgdStep};
use crate::{DType, Result, Var, ops};

/// Weights, momentum, running squares and average after a step.
fn run(step: SgdStep, x: &[Var]) -> Result<Var> {
    let [mut weights, mut momentum, mut squares, mut ema] = [0, 1, 2, 3].map(|i| x[i].value().clone());
    let state = SgdState {
        weights: &mut weights,
        momentum: Some(&mut momentum),
        squares: Some(&mut squares),
        ema: Some(&mut ema),
        copy: None,
    };
    ops::sgd(&step, state, x[4].value(), None)?;
    ops::concat(&[&weights.into(), &momentum.into(), &squares.into(), &ema.into()], 0)
}

/// Momentum as in PyTorch's `SGD`, squares as in its `RMSprop`; buffers that the settings do not use stay as they are.
fn reference(step: SgdStep, x: &[Array]) -> Array {
    let SgdStep { lr, momentum: mu, nesterov, weight_decay, rms, ema_beta } = step;
    side_by_side(x[0].data.len(), |i| {
        let [w, b, s, ema, g] = [0, 1, 2, 3, 4].map(|k| x[k].data[i]);
        let g = g + weight_decay * w;
        let (s, g) = match rms {
            Some((alpha, eps)) => {
                let s = alpha * s + (1.0 - alpha) * g * g;
                (s, g / (s.sqrt() + eps))
            }
            None => (s, g),
        };
        let b = if mu == 0.0 { b } else { mu * b + g };
        let direction = match (mu == 0.0, nesterov) {
            (true, _) => g,
            (false, true) => g + mu * b,
            (false, false) => b,
        };
        let w = w - lr * direction;
        [w, b, s, ema_beta * ema + (1.0 - ema_beta) * w]
    })
}

pub fn rows() -> Vec<Row> {
    let plain = SgdStep { lr: 0.05, ema_beta: 0.75, ..SgdStep::default() };
    let steps = [
        ("plain", plain),
        ("momentum", SgdStep { momentum: 0.9, weight_decay: 0.1, ..plain }),
        ("nesterov", SgdStep { momentum: 0.9, nesterov: true, ..plain }),
        ("rmsprop", SgdStep { momentum: 0.5, rms: Some((0.9, 1e-6)), ..plain }),
    ];
    let row = |n: usize, (name, step): (&str, SgdStep)| {
        let mut inputs = constants(5, n);
        inputs[2].fill = Fill::Uniform(0.01, 2.0); // running squares
        Row::new("sgd", inputs, move |x| run(step, x), move |x| reference(step, x))
            .case(name)
            .dtypes(&[DType::F32, DType::F64])
    };
    [0, 1, 4, 7, 4099].into_iter().flat_map(|n| steps.map(|step| row(n, step))).collect()
}
