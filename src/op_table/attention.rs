use super::{Array, Row, input};
use crate::{Var, ops};

fn reference(x: &[Array], heads: usize, causal: bool) -> Array {
    let (q, k, v) = (&x[0], &x[1], &x[2]);
    let (images, tokens, channels) = (q.shape[0], q.shape[1], q.shape[2]);
    let width = channels / heads;
    let mut y = q.map(|_| 0.0);
    for image in 0..images {
        for head in 0..heads {
            let at = |token: usize, channel: usize| (image * tokens + token) * channels + head * width + channel;
            for query in 0..tokens {
                let keys = if causal { query + 1 } else { tokens };
                let scores: Vec<f64> = (0..keys)
                    .map(|key| (0..width).map(|c| q.data[at(query, c)] * k.data[at(key, c)]).sum::<f64>())
                    .map(|score| score / (width as f64).sqrt())
                    .collect();
                let max = scores.iter().copied().fold(f64::MIN, f64::max);
                let sum: f64 = scores.iter().map(|score| (score - max).exp()).sum();
                for (key, score) in scores.iter().enumerate() {
                    for c in 0..width {
                        y.data[at(query, c)] += (score - max).exp() / sum * v.data[at(key, c)];
                    }
                }
            }
        }
    }
    y
}

pub fn rows() -> Vec<Row> {
    let row = |images: usize, tokens: usize, channels: usize, heads: usize, causal: bool| {
        let inputs = vec![input(&[images, tokens, channels]); 3];
        let run = move |x: &[Var]| ops::attention(&x[0], &x[1], &x[2], heads, causal);
        Row::new("attention", inputs, run, move |x| reference(x, heads, causal))
            .case(format!("heads={heads}{}", if causal { " causal" } else { "" }))
            .tolerance(5e-6, 8e-3)
    };
    let mut rows = vec![
        row(0, 3, 4, 1, false),
        row(1, 0, 4, 2, true),
        row(1, 1, 1, 1, false),
        row(2, 1, 4, 2, true),
        row(1, 5, 6, 1, false),
        row(2, 7, 12, 3, true),
        row(1, 17, 8, 2, false),
        row(2, 64, 16, 1, false), // one tile
        row(1, 65, 48, 3, true),  // a key more
        row(1, 130, 33, 1, false),
        row(1, 20, 64, 1, true),
        row(1, 66, 72, 1, true),  // two pieces of channels
        row(1, 9, 141, 1, false), // three, the last of them odd
        row(1, 70, 256, 1, false),
        row(1, 68, 400, 2, true),
        row(1, 300, 8, 1, true), // two blocks of queries on the CPU
    ];
    for (images, tokens, channels) in [(64, 16, 64), (16, 64, 128), (8, 256, 256)] {
        let (n, t) = ((images * tokens * channels) as f64, tokens as f64);
        rows.push(row(images, tokens, channels, 1, false).bench(4.0 * n * t, 4.0 * n));
    }
    rows
}
