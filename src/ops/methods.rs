//! Operations as methods and operators of variables, for code that reads like its formulas.
//!
//! An operator cannot return an error besides its value, and nothing here panics: so operators return a [`Result`],
//! like every other operation, and `?` follows the parenthesis.
//!
//! ```
//! use veridical::{Device, Result, Tensor, Var};
//! # fn main() -> Result<()> {
//! let x = Tensor::from_vec(vec![1f32, 2.], [2], &Device::Cpu)?;
//! let w = veridical::Tape::new().leaf(Tensor::from_vec(vec![2f32], [1], &Device::Cpu)?);
//! let loss = ((&w * &x)? - 1.0)?.square()?.mean_all()?; // tensors are taken where constants are
//! assert_eq!(loss.value().item()?, (1.0 + 9.0) / 2.0);
//! let slope = loss.backward()?.of(&w)?;
//! assert_eq!(slope.item()?, 2.0 * (1.0 + 2.0 * 3.0) / 2.0);
//! assert_eq!((6.0 / &x)?.to_string(), "[6. 3.]");
//! # Ok(())
//! # }
//! ```

use std::ops::{Add, Div, Mul, Neg, Range, Sub};

use crate::autograd::Var;
use crate::error::Result;
use crate::ops;
use crate::tensor::{DType, Shape, Tensor};

/// Methods that are operations of the same name, of one variable and numbers.
macro_rules! methods {
    ($($name:ident($($argument:ident: $type:ty),*);)*) => {
        impl Var {
            $(
                #[doc = concat!("[`ops::", stringify!($name), "()`] of this.")]
                pub fn $name(&self $(, $argument: $type)*) -> Result<Var> {
                    ops::$name(self $(, $argument)*)
                }
            )*
        }
    };
}

methods! {
    abs();
    sin();
    cos();
    exp();
    log();
    sqrt();
    square();
    silu();
    sigmoid();
    tanh();
    relu();
    gelu();
    softplus();
    leaky_relu(slope: f64);
    clamp(min: f64, max: f64);
    softmax();
    log_softmax();
    cast(dtype: DType);
    sum(axes: &[usize]);
    mean(axes: &[usize]);
    permute(axes: &[usize]);
    transpose(a: usize, b: usize);
    slice(axis: usize, range: Range<usize>);
    broadcast_to(shape: impl Into<Shape>);
    matmul(other: impl Into<Var>);
}

impl Var {
    fn all_axes(&self) -> Vec<usize> {
        (0..self.shape().rank()).collect()
    }

    /// The sum of all elements, a scalar.
    pub fn sum_all(&self) -> Result<Var> {
        self.sum(&self.all_axes())
    }

    /// The mean of all elements, a scalar. Errors if there are none.
    pub fn mean_all(&self) -> Result<Var> {
        self.mean(&self.all_axes())
    }
}

/// A binary operator of variables and tensors, owned or borrowed, and of one with a number.
macro_rules! binary {
    ($trait:ident, $method:ident, $op:path, $number:expr) => {
        binary!(@pairs $trait, $method, $op; Var, &Var, Tensor, &Tensor);
        binary!(@numbers $trait, $method, $number; Var, &Var, Tensor, &Tensor);
    };
    (@pairs $trait:ident, $method:ident, $op:path; $($left:ty),*) => {
        $(binary!(@pair $trait, $method, $op, $left; Var, &Var, Tensor, &Tensor);)*
    };
    (@pair $trait:ident, $method:ident, $op:path, $left:ty; $($right:ty),*) => {
        $(
            impl $trait<$right> for $left {
                type Output = Result<Var>;

                fn $method(self, other: $right) -> Result<Var> {
                    $op(self, other)
                }
            }
        )*
    };
    (@numbers $trait:ident, $method:ident, $number:expr; $($left:ty),*) => {
        $(
            impl $trait<f64> for $left {
                type Output = Result<Var>;

                fn $method(self, number: f64) -> Result<Var> {
                    let with_number: fn(Var, f64) -> Result<Var> = $number;
                    with_number(self.into(), number)
                }
            }
        )*
    };
}

binary!(Add, add, ops::add, |x, number| ops::shift(x, number));
binary!(Sub, sub, ops::sub, |x, number| ops::shift(x, -number));
binary!(Mul, mul, ops::mul, |x, number| ops::scale(x, number));
binary!(Div, div, ops::div, |x, number| ops::scale(x, 1.0 / number));

/// A number on the left, and the sign.
macro_rules! left_number {
    ($($type:ty),*) => {
        $(
            impl Add<$type> for f64 {
                type Output = Result<Var>;

                fn add(self, x: $type) -> Result<Var> {
                    ops::shift(x, self)
                }
            }

            impl Sub<$type> for f64 {
                type Output = Result<Var>;

                fn sub(self, x: $type) -> Result<Var> {
                    ops::shift(ops::neg(x)?, self)
                }
            }

            impl Mul<$type> for f64 {
                type Output = Result<Var>;

                fn mul(self, x: $type) -> Result<Var> {
                    ops::scale(x, self)
                }
            }

            impl Div<$type> for f64 {
                type Output = Result<Var>;

                fn div(self, x: $type) -> Result<Var> {
                    let x: Var = x.into();
                    ops::div(Tensor::full(self, [], x.dtype(), &x.device())?, x)
                }
            }

            impl Neg for $type {
                type Output = Result<Var>;

                fn neg(self) -> Result<Var> {
                    ops::neg(self)
                }
            }
        )*
    };
}

left_number!(Var, &Var, Tensor, &Tensor);
