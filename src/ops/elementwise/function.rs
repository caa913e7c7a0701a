//! What a row of the table becomes.

use crate::autograd::Var;
use crate::error::{Error, Result};
use crate::tensor::Accumulator;

/// The symbols of a function's kernels: forward in f32 and bf16, then backward.
pub type Kernels = [[&'static str; 2]; 2];

/// A function of one number, and its derivative.
pub trait Function: Copy + Send + Sync + 'static {
    /// What it is called.
    const NAME: &'static str;
    /// Its kernels on a GPU.
    const KERNELS: Kernels;
    /// Whether the derivative is given the function's result instead of its argument.
    const SLOPE_OF_RESULT: bool = false;
    /// Whether the derivative is the same number in stretches: its own derivative is zero.
    const FLAT_SLOPE: bool = false;

    /// The function.
    fn value<A: Accumulator>(self, x: A) -> A;

    /// Its derivative.
    fn slope<A: Accumulator>(self, x: A) -> A;

    /// `w` times the derivative of what [`slope`](Self::slope) computes, by what it is given: made of operations, so
    /// that it has derivatives in turn. Not asked for where the slope is flat. Errors where nobody has said it.
    fn bend(self, w: &Var, x: &Var) -> Result<Var> {
        let _ = (w, x);
        Err(Error::NoHigherGradient { op: Self::NAME })
    }

    /// Numbers that it depends on, for its kernels.
    fn numbers(self) -> [f64; 2] {
        [0.0; 2]
    }
}

/// The symbols that `FAMILY` makes in `kernels/elementwise.cu`.
macro_rules! kernels {
    ($name:expr) => {
        [
            [concat!($name, "_fwd_f32"), concat!($name, "_fwd_bf16")],
            [concat!($name, "_bwd_f32"), concat!($name, "_bwd_bf16")],
        ]
    };
}
pub(super) use kernels;

/// The table of functions without numbers of their own: an operation and a [`Function`] for each row.
macro_rules! functions {
    ($(
        $(#[doc = $doc:literal])+
        $name:ident: $function:ident {
            value($x:ident) $value:block
            slope($y:ident) $(of $mark:ident)? $slope:block
            $(bend: $flat:ident)?
            $(bend($this:ident, $w:ident, $at:ident) $bend:block)?
        }
    )*) => {
        $(
            #[derive(Clone, Copy)]
            struct $function;

            impl Function for $function {
                const NAME: &'static str = stringify!($name);
                const KERNELS: function::Kernels = function::kernels!(stringify!($name));
                $(const SLOPE_OF_RESULT: bool = { stringify!($mark); true };)?
                $(const FLAT_SLOPE: bool = { stringify!($flat); true };)?

                #[inline(always)]
                fn value<A: Accumulator>(self, $x: A) -> A $value

                #[inline(always)]
                fn slope<A: Accumulator>(self, $y: A) -> A $slope

                $(fn bend($this, $w: &Var, $at: &Var) -> Result<Var> $bend)?
            }

            $(#[doc = $doc])+
            ///
            /// For `x` of any shape and floating-point dtype. Errors on integers.
            pub fn $name(x: impl Into<Var>) -> Result<Var> {
                apply($function, &x.into())
            }
        )*
    };
}
pub(super) use functions;
