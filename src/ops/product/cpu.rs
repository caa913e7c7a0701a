use super::{Factor, Sizes};
use crate::backend::cpu::gemm::{self, Matrix, Stored};
use crate::error::Result;
use crate::stop;
use crate::tensor::{Tensor, real};

pub fn product(
    op: &'static str,
    a: &Factor,
    b: &Factor,
    bias: Option<&Tensor>,
    sizes: Sizes,
    y: &mut Tensor,
) -> Result<()> {
    real!(op, y.dtype(), T => {
        let bias = bias.map(|bias| bias.as_slice::<T>().map(gemm::widened)).transpose()?;
        let (left, right) = (a.tensor.as_slice::<T>()?, b.tensor.as_slice::<T>()?);
        multiply(left, a.transposed, right, b.transposed, bias.as_deref(), sizes, y.as_mut_slice::<T>()?)?;
        stop::check()
    })
}

fn multiply<T: Stored>(
    a: &[T],
    a_transposed: bool,
    b: &[T],
    b_transposed: bool,
    bias: Option<&[T::Sum]>,
    Sizes { batch, m, n, k }: Sizes,
    y: &mut [T],
) -> Result<()> {
    let matrix = |data, rows, columns, transposed| match transposed {
        false => Matrix::new(data, rows, columns),
        true => Matrix::new(data, columns, rows),
    };
    let factors = |i: usize| {
        let left = matrix(&a[i * m * k..(i + 1) * m * k], m, k, a_transposed);
        let right = matrix(&b[i * k * n..(i + 1) * k * n], k, n, b_transposed);
        [(left, a_transposed), (right, b_transposed)]
    };
    gemm::batched(batch, factors, bias, y, m * n, n)
}
