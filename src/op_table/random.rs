use super::{Array, Fill, Row, input};
use crate::ops;
use crate::ops::random::{Distribution, Draws};
use crate::random::{Purpose, RandomKey};
use crate::{DType, Result, Tensor, Var};

const KEY: RandomKey = RandomKey { seed: 0x5eed_0000_0007, purpose: Purpose::Custom, site: 77, step: 123_456 };

/// Sample ids of a batch: consecutive from 5, or scattered.
fn ids(n: usize, scattered: bool) -> Vec<u32> {
    (0..n as u32).map(|i| if scattered { i.wrapping_mul(0x9e37_79b9) } else { 5 + i }).collect()
}

pub(super) fn draws(x: &Var, scattered: bool) -> Result<Draws> {
    if !scattered {
        return Ok(Draws::from_sample(KEY, 5));
    }
    let ids = ids(x.shape().first().copied().unwrap_or(1), true);
    Ok(Draws::of_samples(KEY, Tensor::from_slice(&ids, [ids.len()], &x.device())?))
}

/// Word `e` of a sample. All zero, which no kernel agrees with, if the key were out of range.
fn word(id: u32, e: u64) -> u32 {
    KEY.stream().map_or(0, |stream| stream.word(id, e))
}

/// The word of every element of a batch.
pub(super) fn words(shape: &[usize], scattered: bool) -> Vec<u32> {
    let len: usize = shape.iter().skip(1).product();
    let samples = ids(shape.first().copied().unwrap_or(1), scattered);
    samples.iter().flat_map(|&id| (0..len as u64).map(move |e| word(id, e))).collect()
}

fn unit(w: u32) -> f64 {
    (f64::from(w) + 0.5) / 4_294_967_296.0
}

fn exponential(w: u32) -> f64 {
    if w < 1 << 31 { -(-unit(w)).ln_1p() } else { -unit(!w).ln() }
}

pub(super) fn gumbel(w: u32) -> f64 {
    -exponential(w).ln()
}

/// Standard normal numbers by Box and Muller, in f64.
fn normals(shape: &[usize], scattered: bool) -> Vec<f64> {
    let len: usize = shape.iter().skip(1).product();
    let samples = ids(shape.first().copied().unwrap_or(1), scattered);
    let normal = |id: u32, e: u64| {
        let (radius, angle) = (word(id, e & !1), word(id, e | 1));
        let (sin, cos) = (2.0 * std::f64::consts::PI * unit(angle)).sin_cos();
        (2.0 * exponential(radius)).sqrt() * if e.is_multiple_of(2) { cos } else { sin }
    };
    samples.iter().flat_map(|&id| (0..len as u64).map(move |e| normal(id, e))).collect()
}

pub(super) fn like(shape: &[usize], data: Vec<f64>) -> Array {
    Array { shape: shape.to_vec(), data }
}

const SHAPES: [&[usize]; 8] = [&[], &[0, 4], &[1], &[7], &[3, 5], &[2, 4, 4, 3], &[5, 1031], &[1, 4096]];

/// Fills a tensor like the input (which is there for its device and dtype only).
fn fills() -> Vec<Row> {
    let kinds = [
        ("random uniform", Distribution::Uniform),
        ("random normal", Distribution::Normal),
        ("random exponential", Distribution::Exponential),
        ("random gumbel", Distribution::Gumbel),
    ];
    let mut rows = Vec::new();
    for (name, kind) in kinds {
        let row = |shape: &'static [usize], scattered: bool| {
            let run = move |x: &[Var]| {
                let draws = draws(&x[0], scattered)?;
                ops::random(kind, shape, x[0].dtype(), &draws, &x[0].device()).map(Var::constant)
            };
            let reference = move |_: &[Array]| {
                let each = |f: fn(u32) -> f64| words(shape, scattered).into_iter().map(f).collect();
                like(
                    shape,
                    match kind {
                        Distribution::Normal => normals(shape, scattered),
                        Distribution::Uniform => each(unit),
                        Distribution::Exponential => each(exponential),
                        _ => each(gumbel),
                    },
                )
            };
            // f64 holds the f32 numbers, so it is not compared with f64 arithmetic.
            Row::new(name, vec![input(shape).constant()], run, reference)
                .case(if scattered { "scattered" } else { "" })
                .dtypes(&[DType::F32, DType::BF16])
        };
        rows.extend(SHAPES.map(|shape| row(shape, false)));
        rows.push(row(&[9, 6], true));
        rows.push(row(&[64, 256, 256], false).bench(64.0 * 65536.0, 64.0 * 65536.0));
    }
    for (shape, scattered) in [(&[6, 9][..], false), (&[7], true), (&[3, 64], true)] {
        let run = move |x: &[Var]| {
            let draws = draws(&x[0], scattered)?;
            ops::random(Distribution::Words, shape, DType::U32, &draws, &x[0].device()).map(Var::constant)
        };
        let reference = move |_: &[Array]| like(shape, words(shape, scattered).into_iter().map(f64::from).collect());
        let whole = input(shape).fill(Fill::Integers(0, 1)).constant();
        rows.push(Row::new("random words", vec![whole], run, reference).dtypes(&[DType::F32]));
    }
    rows
}

fn dropouts() -> Vec<Row> {
    let row = |shape: &'static [usize], p: f64, scattered: bool| {
        let run = move |x: &[Var]| ops::dropout(&x[0], p, &draws(&x[0], scattered)?);
        let reference = move |x: &[Array]| {
            let words = words(shape, scattered);
            let keep = |i: usize| f64::from(words[i]) >= (p * 4_294_967_296.0).round();
            Array::from_fn(shape, |i| if keep(i) { x[0].data[i] / (1.0 - p) } else { 0.0 })
        };
        Row::new("dropout", vec![input(shape)], run, reference).case(format!("p={p}"))
    };
    let mut rows: Vec<Row> = SHAPES.into_iter().map(|shape| row(shape, 0.3, false)).collect();
    rows.extend([row(&[4, 10], 0.0, false), row(&[9, 7], 0.75, true), row(&[8, 8], 1e-3, true)]);
    rows.push(row(&[16, 16, 16, 256], 0.1, false).bench((1 << 20) as f64, 2.0 * (1 << 20) as f64));
    rows
}

fn updates() -> Vec<Row> {
    let mut rows = Vec::new();
    let shared = |shape: &'static [usize], a: f64, b: Option<f64>, scattered: bool| {
        let run = move |x: &[Var]| {
            let draws = draws(&x[0], scattered)?;
            ops::solver_update(&x[0], Some((a.into(), &x[1])), b.map(|b| (b.into(), &draws)))
        };
        let reference = move |x: &[Array]| {
            let z = normals(shape, scattered);
            Array::from_fn(shape, |i| x[0].data[i] + a * x[1].data[i] + b.unwrap_or(0.0) * z[i])
        };
        Row::new("solver_update", vec![input(shape), input(shape)], run, reference).case(format!("a={a} b={b:?}"))
    };
    for shape in SHAPES {
        rows.push(shared(shape, -0.75, None, false));
        // The noise is made in f32 on every device and for every dtype.
        rows.push(shared(shape, -0.75, Some(0.5), false).dtypes(&[DType::F32, DType::BF16]));
    }
    rows.push(shared(&[3, 8], 0.25, Some(0.0), false));
    rows.push(shared(&[5, 6], 0.25, Some(1.5), true).dtypes(&[DType::F32, DType::BF16]));
    rows.push(shared(&[64, 32, 32, 16], 0.25, Some(1.5), false).bench(3.0 * (1 << 20) as f64, 3.0 * (1 << 20) as f64));

    let (a, b) = (|i: usize| 0.5 - i as f64, |i: usize| 0.25 * i as f64);
    for (shape, noisy) in [(&[4, 3, 5][..], false), (&[3, 8], true), (&[6], true), (&[2, 1030], false)] {
        let run = move |x: &[Var]| {
            let each = |f: fn(usize) -> f64| {
                let values: Vec<f64> = (0..shape[0]).map(f).collect();
                match x[0].dtype() {
                    DType::F64 => Tensor::from_slice(&values, [shape[0]], &x[0].device()),
                    _ => {
                        let values: Vec<f32> = values.iter().map(|&v| v as f32).collect();
                        Tensor::from_slice(&values, [shape[0]], &x[0].device())
                    }
                }
            };
            let draws = draws(&x[0], true)?;
            let noise = if noisy { Some((each(b)?.into(), &draws)) } else { None };
            ops::solver_update(&x[0], Some((each(a)?.into(), &x[1])), noise)
        };
        let reference = move |x: &[Array]| {
            let (z, len) = (normals(shape, true), shape[1..].iter().product::<usize>());
            let noise = |i: usize| if noisy { b(i / len) * z[i] } else { 0.0 };
            Array::from_fn(shape, |i| x[0].data[i] + a(i / len) * x[1].data[i] + noise(i))
        };
        let dtypes: &[DType] = if noisy { &[DType::F32, DType::BF16] } else { &[DType::F32, DType::BF16, DType::F64] };
        let row = Row::new("solver_update", vec![input(shape), input(shape)], run, reference);
        rows.push(row.case(format!("per sample noisy={noisy}")).dtypes(dtypes));
    }
    rows.push(
        Row::new(
            "solver_update",
            vec![input(&[3, 7])],
            |x| ops::solver_update(&x[0], None, Some((2.0.into(), &draws(&x[0], false)?))),
            |x| {
                let z = normals(&[3, 7], false);
                Array::from_fn(&[3, 7], |i| x[0].data[i] + 2.0 * z[i])
            },
        )
        .case("noise only")
        .dtypes(&[DType::F32, DType::BF16]),
    );
    rows
}

/// Every draw by itself: the first outcome whose share of the total, in 64-bit fractions, exceeds the draw's words.
fn counted(x: &Array, n: u64, scattered: bool) -> Array {
    let k = x.shape[1];
    let mut counts = x.map(|_| 0.0);
    let rows =
        ids(x.shape[0], scattered).into_iter().zip(x.data.chunks(k.max(1)).zip(counts.data.chunks_mut(k.max(1))));
    for (id, (weights, counts)) in rows {
        let total: f64 = weights.iter().sum();
        for i in 0..n {
            let fraction = f64::from(word(id, 2 * i + 1)) / 2f64.powi(32) + f64::from(word(id, 2 * i)) / 2f64.powi(64);
            let mut sum = 0.0;
            let outcome = weights.iter().position(|w| {
                sum += w;
                fraction * total < sum
            });
            if let Some(outcome) = outcome {
                counts[outcome] += 1.0;
            }
        }
    }
    counts
}

fn multinomials() -> Vec<Row> {
    let row = |b: usize, k: usize, n: u32, scattered: bool, fill: Fill| {
        let run = move |x: &[Var]| ops::multinomial(&x[0], n, &draws(&x[0], scattered)?).map(Var::constant);
        let reference = move |x: &[Array]| counted(&x[0], n.into(), scattered);
        let weights = input(&[b, k]).fill(fill).constant();
        Row::new("multinomial", vec![weights], run, reference).case(format!("n={n} {fill:?}")).tolerance(0.0, 0.0)
    };
    let mut rows = Vec::new();
    for fill in [Fill::Uniform(0.1, 3.0), Fill::Uniform(1e-6, 1e-3), Fill::Integers(1, 9), Fill::Indices(1 << 30)] {
        let sizes = [(0, 3, 5), (1, 1, 4), (3, 2, 0), (2, 7, 1), (4, 33, 101), (2, 257, 60), (1, 1000, 3000)];
        rows.extend(sizes.map(|(b, k, n)| row(b, k, n, k % 2 == 1, fill)));
    }
    rows.push(row(16, 50, 1 << 16, false, Fill::Uniform(0.1, 3.0)).bench((1 << 20) as f64, 800.0));
    rows
}

pub fn rows() -> Vec<Row> {
    [fills(), dropouts(), updates(), multinomials()].concat()
}
