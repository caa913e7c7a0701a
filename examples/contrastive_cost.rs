//! What the symmetric contrastive loss costs: operations a second, forward and with its gradient, beside a product of
//! the same sizes and the loss that holds the matrix of similarities, and the memory that the process came to.
//!
//! `cargo run --release --example contrastive_cost -- ROWS COLUMNS [alone]`; `alone` leaves out what holds the matrix.

use std::time::Instant;

use veridical::op_table::input;
use veridical::{DType, Device, Error, Result, Tape, Tensor, Var, ops};

/// The same loss of dense operations.
fn dense(a: &Var, b: &Var, log_scale: &Var) -> Result<Var> {
    let n = a.shape()[0];
    let s = ops::mul(&ops::matmul_transposed(a, false, b, true)?, &ops::exp(log_scale)?)?;
    let labels = Tensor::from_vec((0..n as u32).collect(), [n], &Device::Cpu)?;
    let back = ops::cross_entropy(ops::transpose(&s, 0, 1)?, &labels)?;
    ops::add_scaled(&ops::cross_entropy(&s, &labels)?, 0.5, &back, 0.5)
}

/// The most memory that the process has had at a time, where the system says so.
fn most_memory() -> String {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap_or(" unknown");
    line.trim().to_string()
}

fn report(what: &str, flops: f64, work: impl Fn() -> Result<f64>) -> Result<()> {
    let start = Instant::now();
    let value = work()?;
    let seconds = start.elapsed().as_secs_f64();
    println!("{what:<34} {seconds:>8.3} s {:>8.1} GFLOP/s   {value:.6}", flops / seconds / 1e9);
    Ok(())
}

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let number = |i: usize, default: usize| match arguments.get(i).map(|text| text.parse()) {
        None => Ok(default),
        Some(Ok(number)) => Ok(number),
        Some(Err(error)) => Err(Error::Config(format!("ROWS and COLUMNS are numbers: {error}"))),
    };
    let (n, d) = (number(0, 1024)?, number(1, 256)?);
    let rows = |seed| -> Result<Tensor> {
        let values = input(&[n, d]).values(seed).to_tensor(DType::F32, &Device::Cpu)?;
        Ok(ops::l2_normalize(values)?.into_value())
    };
    let (a, b) = (rows(1)?, rows(2)?);
    let log_scale = Tensor::scalar(20f64.ln(), DType::F32, &Device::Cpu)?;
    let with_gradient = |loss: &dyn Fn(&Var, &Var, &Var) -> Result<Var>| {
        let tape = Tape::new();
        let [a, b, log_scale] = [&a, &b, &log_scale].map(|x| tape.leaf(x.clone()));
        let mut gradients = loss(&a, &b, &log_scale)?.backward()?;
        gradients.of(&log_scale)?.item()
    };
    let product = 2.0 * (n * n) as f64 * d as f64;
    println!("{n} rows of {d}; the matrix of similarities takes {} MB", (n * n * 4) >> 20);
    println!("memory so far: {}", most_memory());
    let alone = arguments.get(2).map(String::as_str) == Some("alone");
    // The first time, memory is new.
    for _ in 0..if alone { 1 } else { 2 } {
        report("the loss", product, || ops::clip_symmetric(&a, &b, &log_scale)?.value().item())?;
        report("with its gradient", 4.0 * product, || with_gradient(&|a, b, s| ops::clip_symmetric(a, b, s)))?;
    }
    println!("memory with tiles: {}", most_memory());
    if !alone {
        for _ in 0..2 {
            report("the product alone", product, || {
                ops::matmul_transposed(&a, false, &b, true).map(|s| s.value().len() as f64)
            })?;
            report("with its gradient, dense", 3.0 * product, || with_gradient(&dense))?;
        }
        println!("memory with the matrix: {}", most_memory());
    }
    Ok(())
}
