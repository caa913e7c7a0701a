use std::f64::consts::TAU;

use super::{Array, Fill, Row, input};
use crate::{Var, ops};

fn cos_sin(x: &Array, frequencies: &[f64]) -> Array {
    let half = frequencies.len();
    Array::from_fn(&[x.shape[0], 2 * half], |i| {
        let phase = x.data[i / (2 * half)] * frequencies[i % half];
        if i % (2 * half) < half { phase.cos() } else { phase.sin() }
    })
}

pub fn rows() -> Vec<Row> {
    let mut rows = Vec::new();
    for (batch, channels, endpoint) in
        [(1, 4, true), (3, 2, false), (0, 8, false), (5, 8, true), (7, 34, false), (2, 260, true)]
    {
        for fill in [Fill::Uniform(-1.7, 2.1), Fill::Uniform(-1e3, 1e3)] {
            let run = move |x: &[Var]| ops::positional_embedding(&x[0], channels, 1e4, endpoint);
            let row = Row::new("positional_embedding", vec![input(&[batch]).fill(fill)], run, move |x| {
                let last = (channels / 2 - usize::from(endpoint)) as f64;
                let frequencies: Vec<f64> = (0..channels / 2).map(|i| 1e4f64.powf(-(i as f64) / last)).collect();
                cos_sin(&x[0], &frequencies)
            });
            rows.push(row.case(format!("channels={channels} endpoint={endpoint} {fill:?}")));
        }
    }
    for (batch, half) in [(1, 1), (4, 16), (0, 3), (3, 0), (6, 131)] {
        let freqs = input(&[half]).fill(Fill::Uniform(-16.0, 16.0)).constant();
        let run = |x: &[Var]| ops::fourier_embedding(&x[0], x[1].value());
        rows.push(Row::new("fourier_embedding", vec![input(&[batch]), freqs], run, |x| {
            cos_sin(&x[0], &x[1].data.iter().map(|f| TAU * f).collect::<Vec<_>>())
        }));
    }
    rows
}
