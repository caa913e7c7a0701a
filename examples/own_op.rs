//! An operation of your own, with its gradient: ln cosh, a loss that outliers hardly move.
//!
//! `cargo run --release --example own_op`. This one computes on the host, whatever device its input is on;
//! CONTRIBUTING.md shows how an operation with kernels for CPU and GPU becomes part of the crate.

use veridical::autograd::{GradCheck, grad_check};
use veridical::{Device, Error, Result, Tape, Tensor, Var, ops};

/// `y = ln cosh x`, elementwise, in the dtype of `x`; `dx = tanh(x) dy`.
fn log_cosh(x: &Var) -> Result<Var> {
    // |x| + ln(1 + e^(-2|x|)) - ln 2: no overflow.
    let of = |x: f64| x.abs() + (-2.0 * x.abs()).exp().ln_1p() - std::f64::consts::LN_2;
    let values: Vec<f64> = x.value().to_f64()?.into_iter().map(of).collect();
    let y = Tensor::from_slice(&values, x.shape(), &Device::Cpu)?;
    let y = ops::cast(y, x.dtype())?.value().to_device(&x.device())?;
    // The rule keeps what it needs of the forward pass by capturing it.
    let x_value = x.value().clone();
    Var::record("log_cosh", y, [x], move |dy, _| {
        let slope = ops::tanh(Var::from(&x_value))?;
        Ok([Some(ops::mul(dy, &slope)?.into_value())])
    })
}

fn main() -> Result<()> {
    // The gradient against differences, in f64.
    let x = Tensor::from_slice(&[-40.0, -1.5, 0.0, 0.3, 2.0, 25.0], [6], &Device::Cpu)?;
    grad_check(|x| log_cosh(&x[0]), &[x], GradCheck::default())?;
    println!("the gradient agrees with differences");

    // Where is the middle of these? The mean says 11.7.
    let points = Tensor::from_slice(&[0.9f32, 1.0, 1.1, 1.2, 1.0, 65.0], [6, 1], &Device::best())?;
    let mut middle = Tensor::zeros([1], points.dtype(), &points.device())?;
    for _ in 0..200 {
        let m = Tape::new().leaf(middle);
        let loss = ops::mean(&log_cosh(&ops::sub(Var::from(&points), &m)?)?, &[0, 1])?;
        let gradient = loss.backward()?.take(&m).ok_or_else(|| Error::Autograd("no gradient".into()))?;
        middle = ops::add_scaled(m.detach(), 1.0, gradient, -0.5)?.into_value();
    }
    println!("the middle of the points, outlier and all: {:.2}", middle.item()?);
    assert!((middle.item()? - 1.2).abs() < 0.2);
    Ok(())
}
