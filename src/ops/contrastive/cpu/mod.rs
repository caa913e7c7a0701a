//! Tile by tile: the packed product makes a tile of inner products on all threads, a run of its rows at a time is made
//! into sums or slopes, and packed products make gradients of the slopes.

mod slopes;
mod sums;

use std::collections::HashMap;
use std::ops::Range;

use num_traits::Zero;
use rayon::prelude::*;

use super::{Gradients, Kept, Kind, Problem, Wanted};
use crate::backend::cpu::gemm::{Factor, Matrix, Product, Stored, Sum};
use crate::backend::cpu::{OnTeam, tasks_per_share, with_vector_instructions};
use crate::error::{Error, Result};
use crate::ops::cast;
use crate::tensor::{Accumulator, Device, Element, Real, Tensor, real};

use slopes::Slopes;
use sums::{Stats, Sums};

/// Rows and columns of a tile: large enough for products at full speed, 4 MB in f32. Fixed, and so are the bits.
const TILE: usize = 1024;
/// Rows of a tile that are handed out together.
const RUN: usize = 64;
/// What an element of a tile costs beside its product, in elements that are only read and written.
const WORK: usize = 4;

pub fn forward(problem: &Problem) -> Result<(Tensor, Kept)> {
    real!(problem.op, problem.q.dtype(), T => forward_as::<T>(problem))
}

pub fn backward(problem: &Problem, kept: &Kept, dy: &Tensor, wanted: Wanted) -> Result<Gradients> {
    real!(problem.op, problem.q.dtype(), T => backward_as::<T>(problem, kept, dy, wanted))
}

/// What turns inner products into logits, and says which are positives.
struct Setting<'a, A> {
    kind: Kind,
    scale: A,
    /// One for each column.
    offset: Vec<A>,
    /// One for each row of [`Kind::Own`].
    labels: &'a [u32],
}

impl<'a, A: Accumulator + Element> Setting<'a, A> {
    fn of(problem: &'a Problem) -> Result<Self> {
        Ok(Setting {
            kind: problem.kind,
            scale: first(&problem.scale)?,
            offset: match &problem.offset {
                Some(offset) => offset.as_slice::<A>()?.to_vec(),
                None => vec![A::zero(); problem.columns],
            },
            labels: problem.labels.as_ref().map_or(Ok(&[][..]), |labels| labels.as_slice::<u32>())?,
        })
    }
}

impl Problem {
    /// Rows and columns of each tile, in the order in which they are taken. A symmetric matrix is walked from its
    /// diagonal to the right: the columns of such a tile are the rows of the one that is left out.
    fn tiles(&self) -> impl Iterator<Item = (Range<usize>, Range<usize>)> + use<> {
        let Problem { kind, rows, columns, .. } = *self;
        let pieces = |from: usize, len: usize| (from..len).step_by(TILE).map(move |at| at..(at + TILE).min(len));
        pieces(0, rows).flat_map(move |rows| {
            let first = if kind == Kind::Own { rows.start } else { 0 };
            pieces(first, columns).map(move |columns| (rows.clone(), columns))
        })
    }

    /// Whether the columns of a tile take part in sums and gradients as rows do.
    fn both(&self, rows: &Range<usize>, columns: &Range<usize>) -> bool {
        match self.kind {
            Kind::Rows | Kind::Sigmoid => false,
            Kind::Both => true,
            Kind::Own => columns.start > rows.start,
        }
    }

    /// Elements of the largest tile.
    fn tile(&self) -> usize {
        self.rows.min(TILE) * self.columns.min(TILE)
    }
}

/// The one element of a tensor.
fn first<A: Element + Zero>(tensor: &Tensor) -> Result<A> {
    Ok(tensor.as_slice::<A>()?.first().copied().unwrap_or_else(A::zero))
}

/// Some of the rows of a matrix with `depth` columns.
fn rows_of<'a, T>(data: &'a [T], rows: &Range<usize>, depth: usize) -> Matrix<'a, T> {
    Matrix::new(&data[rows.start * depth..rows.end * depth], rows.len(), depth)
}

/// Inner products of rows of `q` and `k`.
fn multiply<T: Stored>(
    [q, k]: [&[T]; 2],
    depth: usize,
    (rows, columns): (&Range<usize>, &Range<usize>),
    tile: &mut [T::Sum],
) -> Result<()> {
    let (q, k) = (rows_of(q, rows, depth), rows_of(k, columns, depth));
    Product::new(Factor::plain(&q), Factor::transposed(&k)).write(tile, columns.len())
}

fn forward_as<T>(problem: &Problem) -> Result<(Tensor, Kept)>
where
    T: Real + Stored<Sum = <T as Real>::Acc>,
    T::Acc: Real<Acc = T::Acc> + Sum + Element,
{
    let setting = Setting::<T::Acc>::of(problem)?;
    let inputs = [problem.q.as_slice::<T>()?, problem.k.as_slice::<T>()?];
    let counts = count_positives(problem.op, &setting)?;
    let mut rows_stats = Stats::new(problem.rows);
    let mut column_stats = Stats::new(if problem.kind == Kind::Both { problem.columns } else { 0 });
    let mut tile = vec![T::Acc::zero(); problem.tile()];
    // Of each run of rows and each column: the largest logit, the sum of exponentials, that of positives.
    let mut parts = vec![T::Acc::zero(); problem.rows.min(TILE).div_ceil(RUN) * 3 * problem.columns.min(TILE)];
    for (rows, columns) in problem.tiles() {
        let width = columns.len();
        let scores = &mut tile[..rows.len() * width];
        multiply(inputs, problem.depth, (&rows, &columns), scores)?;
        let both = problem.both(&rows, &columns);
        let parts = &mut parts[..rows.len().div_ceil(RUN) * 3 * width];
        let (largest, sum, positive) = rows_stats.parts(&rows);
        let tasks = (
            scores.par_chunks_mut(RUN * width),
            largest.par_chunks_mut(RUN),
            sum.par_chunks_mut(RUN),
            positive.par_chunks_mut(RUN),
            parts.par_chunks_mut(3 * width),
        );
        let tasks = tasks.into_par_iter().with_min_len(tasks_per_share(WORK * RUN * width)).enumerate();
        tasks.each_on_team(|(run, (scores, largest, sum, positive, part))| {
            let (first, columns) = (rows.start + run * RUN, columns.clone());
            let by_column = both.then_some(part);
            let sums = Sums { setting: &setting, first, columns, scores, largest, sum, positive, by_column };
            with_vector_instructions(sums);
        });
        if both {
            let stats = if problem.kind == Kind::Own { &mut rows_stats } else { &mut column_stats };
            parts.chunks(3 * width).for_each(|part| stats.merge(&columns, part));
        }
    }

    let sigmoid = problem.kind == Kind::Sigmoid;
    let anchors = counts.iter().filter(|&&count| count > 0).count().max(1);
    let weight = problem.weight / anchors as f64;
    let total = match sigmoid {
        true => rows_stats.total(),
        false => rows_stats.losses(&counts) + column_stats.losses(&[]),
    };
    let lse = |stats: &Stats<T::Acc>| Tensor::from_vec(stats.lse(), [stats.len()], &Device::Cpu);
    let kept = Kept {
        rows: (!sigmoid).then(|| lse(&rows_stats)).transpose()?,
        columns: (problem.kind == Kind::Both).then(|| lse(&column_stats)).transpose()?,
        counts: (problem.kind == Kind::Own)
            .then(|| counts.iter().map(|&count| T::Acc::of(count as f64)).collect())
            .map(|counts: Vec<T::Acc>| Tensor::from_vec(counts, [problem.rows], &Device::Cpu))
            .transpose()?,
        weight: Tensor::scalar(weight, <T::Acc as Element>::DTYPE, &Device::Cpu)?,
    };
    // The positives of column j are those of row j.
    Ok((Tensor::scalar(weight * total, <T::Acc as Element>::DTYPE, &Device::Cpu)?, kept))
}

/// How many others have the label of each row; nothing where there are no labels. Errors if nobody has another.
fn count_positives<A>(op: &'static str, setting: &Setting<A>) -> Result<Vec<usize>> {
    let mut of_label: HashMap<u32, usize> = HashMap::new();
    for &label in setting.labels {
        *of_label.entry(label).or_default() += 1;
    }
    let counts: Vec<usize> = setting.labels.iter().map(|label| of_label[label] - 1).collect();
    if setting.kind == Kind::Own && counts.iter().all(|&count| count == 0) {
        let what = "no row has another of its label, so there is no positive: give labels that come twice";
        return Err(Error::argument(op, what));
    }
    Ok(counts)
}

fn backward_as<T>(problem: &Problem, kept: &Kept, dy: &Tensor, wanted: Wanted) -> Result<Gradients>
where
    T: Real + Stored<Sum = <T as Real>::Acc>,
    T::Acc: Real<Acc = T::Acc> + Sum + Element,
{
    let setting = Setting::<T::Acc>::of(problem)?;
    let (q, k) = (problem.q.as_slice::<T>()?, problem.k.as_slice::<T>()?);
    let Problem { kind, depth, .. } = *problem;
    let factor = first::<T::Acc>(dy)? * first::<T::Acc>(&kept.weight)?;
    let slice = |tensor: &'_ Option<Tensor>| -> Result<Vec<T::Acc>> {
        tensor.as_ref().map_or(Ok(Vec::new()), |tensor| tensor.as_slice::<T::Acc>().map(<[_]>::to_vec))
    };
    let lse = slice(&kept.rows)?;
    // Of a symmetric matrix the columns are the rows.
    let column_lse = if kind == Kind::Own { lse.clone() } else { slice(&kept.columns)? };
    let shares: Vec<T::Acc> = slice(&kept.counts)?
        .into_iter()
        .map(|count| if count.is_zero() { count } else { <T::Acc as num_traits::One>::one() / count })
        .collect();

    let sums = |rows: usize| Tensor::zeros([rows, depth], <T::Acc as Element>::DTYPE, &Device::Cpu);
    let mut dq = wanted.q.then(|| sums(problem.rows)).transpose()?;
    let mut dk = wanted.k.then(|| sums(problem.columns)).transpose()?;
    let (mut dscale, mut doffset) = (0.0, vec![0.0; problem.columns]);
    let mut tile = vec![T::Acc::zero(); problem.tile()];
    let runs = problem.rows.min(TILE).div_ceil(RUN);
    let mut column_sums = vec![T::Acc::zero(); runs * problem.columns.min(TILE)];
    let mut products = vec![0.0; runs];
    for (rows, columns) in problem.tiles() {
        let width = columns.len();
        let runs = rows.len().div_ceil(RUN);
        let scores = &mut tile[..rows.len() * width];
        multiply([q, k], depth, (&rows, &columns), scores)?;
        let (column_sums, products) = (&mut column_sums[..runs * width], &mut products[..runs]);
        let tasks = (scores.par_chunks_mut(RUN * width), column_sums.par_chunks_mut(width), products.par_iter_mut());
        let tasks = tasks.into_par_iter().with_min_len(tasks_per_share(WORK * RUN * width)).enumerate();
        tasks.each_on_team(|(run, (scores, column_sums, products))| {
            with_vector_instructions(Slopes {
                setting: &setting,
                first: rows.start + run * RUN,
                columns: columns.clone(),
                factor,
                lse: &lse,
                column_lse: &column_lse,
                shares: &shares,
                scores,
                column_sums,
                products,
            });
        });
        // A tile of rows against themselves holds every pair twice.
        let twice = kind == Kind::Own && columns == rows;
        dscale += products.iter().sum::<f64>() * if twice { 0.5 } else { 1.0 };
        for sums in column_sums.chunks(width) {
            doffset[columns.clone()].iter_mut().zip(sums).for_each(|(total, sum)| *total += Accumulator::widen(*sum));
        }
        let slopes = Matrix::new(scores, rows.len(), width);
        let (queries, keys) = (rows_of(q, &rows, depth), rows_of(k, &columns, depth));
        if let Some(dq) = &mut dq {
            let dq = dq.as_mut_slice::<T::Acc>()?;
            Product::new(Factor::plain(&slopes), Factor::plain(&keys))
                .accumulating(true)
                .write(&mut dq[rows.start * depth..rows.end * depth], depth)?;
        }
        let of_columns = if kind == Kind::Own && columns != rows { &mut dq } else { &mut dk };
        if let Some(dk) = of_columns {
            let dk = dk.as_mut_slice::<T::Acc>()?;
            Product::new(Factor::transposed(&slopes), Factor::plain(&queries))
                .accumulating(true)
                .write(&mut dk[columns.start * depth..columns.end * depth], depth)?;
        }
    }
    let rounded = |sums: Option<Tensor>| sums.map(|sums| cast::convert(&sums, problem.q.dtype())).transpose();
    Ok(Gradients {
        q: rounded(dq)?,
        k: rounded(dk)?,
        scale: wanted.scale.then(|| Tensor::scalar(dscale, <T::Acc as Element>::DTYPE, &Device::Cpu)).transpose()?,
        offset: wanted
            .offset
            .then(|| doffset.iter().map(|&sum| T::Acc::of(sum)).collect())
            .map(|sums: Vec<T::Acc>| Tensor::from_vec(sums, [problem.columns], &Device::Cpu))
            .transpose()?,
    })
}
