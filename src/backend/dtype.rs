//! Element types.

use std::fmt;

use half::bf16;

/// The type of a tensor's elements.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DType {
    /// IEEE single precision: weights, statistics, sampler state.
    F32,
    /// bfloat16: activations and matrix operands on the GPU; sums are always in f32.
    BF16,
    /// IEEE double precision, CPU only: references and gradient checks.
    F64,
    /// Labels, indices and random words; never differentiated.
    U32,
}

impl DType {
    /// Bytes per element.
    pub fn size(self) -> usize {
        match self {
            DType::F64 => 8,
            DType::F32 | DType::U32 => 4,
            DType::BF16 => 2,
        }
    }

    /// Whether elements are floating-point numbers, and so can have gradients.
    pub fn is_float(self) -> bool {
        self != DType::U32
    }
}

impl fmt::Display for DType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            DType::F32 => "f32",
            DType::BF16 => "bf16",
            DType::F64 => "f64",
            DType::U32 => "u32",
        })
    }
}

/// A Rust type that a tensor can hold: one for each [`DType`], whose size kernels rely on. So it cannot be implemented
/// elsewhere.
pub trait Element: sealed::Sealed + bytemuck::Pod + Send + Sync + PartialOrd + fmt::Debug {
    /// Its dtype.
    const DTYPE: DType;
}

mod sealed {
    pub trait Sealed {}
    impl Sealed for f32 {}
    impl Sealed for half::bf16 {}
    impl Sealed for f64 {}
    impl Sealed for u32 {}
}

impl Element for f32 {
    const DTYPE: DType = DType::F32;
}
impl Element for bf16 {
    const DTYPE: DType = DType::BF16;
}
impl Element for f64 {
    const DTYPE: DType = DType::F64;
}
impl Element for u32 {
    const DTYPE: DType = DType::U32;
}

/// The arithmetic that a kernel does in: f32 for f32 and bf16 elements, f64 for f64.
pub trait Accumulator:
    Real<Acc = Self> + num_traits::Float + num_traits::FloatConst + num_traits::NumAssign + std::iter::Sum
{
    /// Nearest value to an f64.
    fn of(value: f64) -> Self;
    /// Widened (exactly) to f64.
    fn widen(self) -> f64;
    /// e^x, in a form that compiles to vector code where there is one.
    fn vector_exp(self) -> Self;
    /// ln(1 + e^x), likewise.
    fn vector_softplus(self) -> Self;
    /// The hyperbolic tangent, likewise.
    fn vector_tanh(self) -> Self;
    /// The distribution function of the standard normal distribution, likewise.
    fn normal_cdf(self) -> Self;
}

impl Accumulator for f32 {
    #[inline(always)]
    fn of(value: f64) -> Self {
        value as f32
    }
    fn widen(self) -> f64 {
        self.into()
    }
    #[inline(always)]
    fn vector_exp(self) -> Self {
        crate::backend::math::exp(self)
    }
    #[inline(always)]
    fn vector_softplus(self) -> Self {
        crate::backend::math::softplus(self)
    }
    #[inline(always)]
    fn vector_tanh(self) -> Self {
        crate::backend::math::tanh(self)
    }
    #[inline(always)]
    fn normal_cdf(self) -> Self {
        crate::backend::math::normal_cdf(self)
    }
}

impl Accumulator for f64 {
    #[inline(always)]
    fn of(value: f64) -> Self {
        value
    }
    fn widen(self) -> f64 {
        self
    }
    fn vector_exp(self) -> Self {
        self.exp()
    }
    fn vector_softplus(self) -> Self {
        self.max(0.0) + (-self.abs()).exp().ln_1p()
    }
    fn vector_tanh(self) -> Self {
        self.tanh()
    }
    fn normal_cdf(self) -> Self {
        // erfc keeps the lower tail's digits, which 1 + erf would cancel.
        libm::erfc(-self * std::f64::consts::FRAC_1_SQRT_2) / 2.0
    }
}

/// A floating-point element: what it is computed in, and how to get there and back (rounding once, to nearest even).
pub trait Real: Element {
    /// The type that sums and products are made in.
    type Acc: Accumulator;
    /// Widened, exactly.
    fn acc(self) -> Self::Acc;
    /// Rounded to nearest even. (Not called `round`: that would lose against `f64::round` wherever the type is known.)
    fn narrow(value: Self::Acc) -> Self;
}

impl Real for f32 {
    type Acc = f32;
    #[inline(always)]
    fn acc(self) -> f32 {
        self
    }
    #[inline(always)]
    fn narrow(value: f32) -> f32 {
        value
    }
}

impl Real for f64 {
    type Acc = f64;
    #[inline(always)]
    fn acc(self) -> f64 {
        self
    }
    #[inline(always)]
    fn narrow(value: f64) -> f64 {
        value
    }
}

impl Real for bf16 {
    type Acc = f32;
    #[inline(always)]
    fn acc(self) -> f32 {
        crate::backend::math::from_bf16(self)
    }
    #[inline(always)]
    fn narrow(value: f32) -> bf16 {
        crate::backend::math::to_bf16(value)
    }
}

/// Runs `$body` with `$T` standing for the floating-point type of `$dtype`; any other dtype is an error of `$op`.
macro_rules! real {
    ($op:expr, $dtype:expr, $T:ident => $body:expr) => {
        match $dtype {
            $crate::backend::dtype::DType::F32 => {
                type $T = f32;
                $body
            }
            $crate::backend::dtype::DType::BF16 => {
                type $T = half::bf16;
                $body
            }
            $crate::backend::dtype::DType::F64 => {
                type $T = f64;
                $body
            }
            other => Err($crate::error::Error::dtype($op, "f32, bf16 or f64", other)),
        }
    };
}
pub(crate) use real;

/// Runs `$body` with `$T` standing for the Rust type of `$dtype`, any of them: for operations that only move elements.
macro_rules! element {
    ($dtype:expr, $T:ident => $body:expr) => {
        match $dtype {
            $crate::backend::dtype::DType::F32 => {
                type $T = f32;
                $body
            }
            $crate::backend::dtype::DType::BF16 => {
                type $T = half::bf16;
                $body
            }
            $crate::backend::dtype::DType::F64 => {
                type $T = f64;
                $body
            }
            $crate::backend::dtype::DType::U32 => {
                type $T = u32;
                $body
            }
        }
    };
}
pub(crate) use element;
