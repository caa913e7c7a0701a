use super::{Array, Fill, Input, Row, input};
use crate::{Result, Var, ops};

/// `scale (a_i . b_j) + bias_j`, as rows.
fn logits(a: &Array, b: &Array, scale: f64, bias: impl Fn(usize) -> f64) -> Vec<Vec<f64>> {
    let d = a.shape[1];
    let dot = |i: usize, j: usize| (0..d).map(|c| a.data[i * d + c] * b.data[j * d + c]).sum::<f64>();
    let row = |i| (0..b.shape[0]).map(|j| scale * dot(i, j) + bias(j)).collect();
    (0..a.shape[0]).map(row).collect()
}

fn lse(row: impl Iterator<Item = f64> + Clone) -> f64 {
    let max = row.clone().fold(f64::NEG_INFINITY, f64::max);
    max + row.map(|x| (x - max).exp()).sum::<f64>().ln()
}

/// The mean over rows of the cross-entropy whose label is the row's own number.
fn of_rows(s: &[Vec<f64>]) -> f64 {
    s.iter().enumerate().map(|(i, row)| lse(row.iter().copied()) - row[i]).sum::<f64>() / s.len() as f64
}

fn scalar(value: f64) -> Array {
    Array { shape: vec![], data: vec![value] }
}

fn info_nce(x: &[Array]) -> Array {
    let bias = |j: usize| x.get(3).map_or(0.0, |bias| bias.data[j]);
    scalar(of_rows(&logits(&x[0], &x[1], x[2].data[0], bias)))
}

fn clip_symmetric(x: &[Array]) -> Array {
    let (s, n) = (logits(&x[0], &x[1], x[2].data[0].exp(), |_| 0.0), x[0].shape[0]);
    let transposed: Vec<Vec<f64>> = (0..n).map(|j| (0..n).map(|i| s[i][j]).collect()).collect();
    scalar(0.5 * (of_rows(&s) + of_rows(&transposed)))
}

fn siglip(x: &[Array]) -> Array {
    let (s, n) = (logits(&x[0], &x[1], x[2].data[0].exp(), |_| x[3].data[0]), x[0].shape[0]);
    let softplus = |x: f64| x.max(0.0) + (-x.abs()).exp().ln_1p();
    let term = |i: usize, j: usize| softplus(if i == j { -s[i][j] } else { s[i][j] });
    scalar((0..n).map(|i| (0..n).map(|j| term(i, j)).sum::<f64>()).sum::<f64>() / n as f64)
}

fn sup_con(z: &Array, labels: &[f64], temperature: f64, base: f64) -> Array {
    let (s, m) = (logits(z, z, 1.0 / temperature, |_| 0.0), z.shape[0]);
    let others = |i: usize| (0..m).filter(move |&j| j != i);
    let positives = |i: usize| others(i).filter(move |&j| labels[i] == labels[j]);
    let loss = |i: usize| {
        let mean = positives(i).map(|p| s[i][p]).sum::<f64>() / positives(i).count() as f64;
        lse(others(i).map(|j| s[i][j])) - mean
    };
    let anchors: Vec<usize> = (0..m).filter(|&i| positives(i).count() > 0).collect();
    scalar(temperature / base * anchors.iter().map(|&i| loss(i)).sum::<f64>() / anchors.len() as f64)
}

fn nt_xent(x: &[Array], temperature: f64) -> Array {
    let n = x[0].shape[0];
    let both = Array { shape: vec![2 * n, x[0].shape[1]], data: [&x[0].data[..], &x[1].data[..]].concat() };
    let items: Vec<f64> = (0..2 * n).map(|i| (i % n) as f64).collect();
    sup_con(&both, &items, temperature, temperature)
}

/// A temperature's or a bias's input.
fn number(low: f64, high: f64) -> Input {
    input(&[]).fill(Fill::Uniform(low, high))
}

fn row(
    op: &'static str,
    inputs: Vec<Input>,
    run: impl Fn(&[Var]) -> Result<Var> + Send + Sync + 'static,
    reference: impl Fn(&[Array]) -> Array + Send + Sync + 'static,
) -> Row {
    Row::new(op, inputs, run, reference).tolerance(1e-5, 2e-2)
}

fn infos(m: usize, n: usize, d: usize) -> Row {
    let inputs = vec![input(&[m, d]), input(&[n, d]), number(0.1, 0.4)];
    row("info_nce", inputs, |x| ops::info_nce(&x[0], &x[1], &x[2]), info_nce)
}

fn biased(m: usize, n: usize, d: usize) -> Row {
    let inputs = vec![input(&[m, d]), input(&[n, d]), number(0.1, 0.4), input(&[n])];
    let run = |x: &[Var]| ops::info_nce_biased(&x[0], &x[1], &x[2], &x[3]);
    row("info_nce", inputs, run, info_nce).case("biased")
}

fn clips(n: usize, d: usize) -> Row {
    let inputs = vec![input(&[n, d]), input(&[n, d]), number(-2.0, -1.0)];
    row("clip_symmetric", inputs, |x| ops::clip_symmetric(&x[0], &x[1], &x[2]), clip_symmetric)
}

fn siglips(n: usize, d: usize) -> Row {
    let inputs = vec![input(&[n, d]), input(&[n, d]), number(-2.0, -1.0), number(-2.0, -1.0)];
    row("siglip", inputs, |x| ops::siglip(&x[0], &x[1], &x[2], &x[3]), siglip)
}

fn nt_xents(n: usize, d: usize, temperature: f64) -> Row {
    let inputs = vec![input(&[n, d]), input(&[n, d]), number(temperature, 1.1 * temperature)];
    row("nt_xent", inputs, |x| ops::nt_xent(&x[0], &x[1], &x[2]), |x| nt_xent(x, x[2].data[0]))
}

fn sup_cons(m: usize, d: usize, labels: u32) -> Row {
    let inputs = vec![input(&[m, d]), input(&[m]).fill(Fill::Indices(labels)).constant(), number(4.0, 5.0)];
    let run = |x: &[Var]| ops::sup_con(&x[0], x[1].value(), &x[2], 0.7);
    let expected = |x: &[Array]| sup_con(&x[0], &x[1].data, x[2].data[0], 0.7);
    row("sup_con", inputs, run, expected).case(format!("{labels} labels"))
}

pub fn rows() -> Vec<Row> {
    // Around the tiles of 64 of the kernels, and their steps in depth of 16 and 32.
    let sizes = [(2, 1), (3, 4), (17, 15), (63, 8), (64, 16), (65, 17), (129, 33), (257, 10)];
    let mut rows: Vec<Row> = sizes.iter().map(|&(n, d)| infos(n, n, d)).collect();
    rows.extend([(1, 2, 3), (5, 9, 4), (64, 130, 8)].map(|(m, n, d)| infos(m, n, d)));
    rows.extend([(2, 2, 1), (7, 7, 5), (5, 66, 4), (130, 131, 9)].map(|(m, n, d)| biased(m, n, d)));
    rows.extend(sizes.iter().map(|&(n, d)| clips(n, d)));
    rows.extend(sizes.iter().map(|&(n, d)| siglips(n, d)));
    rows.extend(sizes.iter().map(|&(n, d)| nt_xents(n, d, 5.0)));
    rows.push(nt_xents(33, 6, 0.5));
    rows.extend(sizes[1..].iter().map(|&(m, d)| sup_cons(m, d, 2)));
    // Many rows that are nobody's positive.
    rows.push(sup_cons(40, 6, 60));
    let (n, d) = (4096, 512);
    let (product, moved) = (2.0 * (n * n * d) as f64, 2.0 * (n * d) as f64);
    // The tiles are made again for the gradient; then there are two products.
    for row in [clips(n, d), siglips(n, d), infos(n, n, d)] {
        rows.push(row.bench(product, moved).backward(3.0 * product, 2.0 * moved));
    }
    // Half of a symmetric matrix is enough.
    let (n, d) = (2048, 128);
    let (product, moved) = (((2 * n) * (2 * n) * d) as f64, 2.0 * (n * d) as f64);
    rows.push(nt_xents(n, d, 5.0).bench(product, moved).backward(3.0 * product, 2.0 * moved));
    rows
}
