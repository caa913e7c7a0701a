//! A register of all 32 lanes, and functions that a warp applies lane by lane.

/// One register in the 32 lanes of a warp, 64 bits each; narrower ones use the lower bits.
pub(super) type Lanes = [u64; 32];

/// A type that a register can be read as.
pub(super) trait Bits: Copy {
    fn of(bits: u64) -> Self;
    fn bits(self) -> u64;
}

macro_rules! bits {
    ($($ty:ty: $of:expr, $bits:expr;)*) => {
        $(impl Bits for $ty {
            fn of(bits: u64) -> Self {
                $of(bits)
            }
            fn bits(self) -> u64 {
                $bits(self)
            }
        })*
    };
}

bits! {
    bool: |b| b & 1 == 1, u64::from;
    u8: |b| b as u8, u64::from;
    i8: |b| b as i8, |x| x as u8 as u64;
    u16: |b| b as u16, u64::from;
    i16: |b| b as i16, |x| x as u16 as u64;
    u32: |b| b as u32, u64::from;
    i32: |b| b as i32, |x| x as u32 as u64;
    u64: |b| b, |x| x;
    i64: |b| b as i64, |x| x as u64;
    f32: |b| f32::from_bits(b as u32), |x: f32| x.to_bits().into();
    f64: f64::from_bits, f64::to_bits;
}

/// What an instruction without side effects makes of its operands, for all lanes at once.
#[derive(Debug, Clone, Copy)]
pub(super) enum Pure {
    One(fn(&Lanes) -> Lanes),
    Two(fn(&Lanes, &Lanes) -> Lanes),
    Three(fn(&Lanes, &Lanes, &Lanes) -> Lanes),
    Four(fn(&Lanes, &Lanes, &Lanes, &Lanes) -> Lanes),
}

/// A [`Pure`] of a function of one to four numbers: `lanes!(|a: f32, b: f32| a + b)`.
macro_rules! lanes {
    (|$a:ident: $A:ty| $value:expr) => {
        Pure::One(|x| {
            std::array::from_fn(|i| {
                let $a = <$A as Bits>::of(x[i]);
                Bits::bits($value)
            })
        })
    };
    (|$a:ident: $A:ty, $b:ident: $B:ty| $value:expr) => {
        Pure::Two(|x, y| {
            std::array::from_fn(|i| {
                let ($a, $b) = (<$A as Bits>::of(x[i]), <$B as Bits>::of(y[i]));
                Bits::bits($value)
            })
        })
    };
    (|$a:ident: $A:ty, $b:ident: $B:ty, $c:ident: $C:ty| $value:expr) => {
        Pure::Three(|x, y, z| {
            std::array::from_fn(|i| {
                let ($a, $b, $c) = (<$A as Bits>::of(x[i]), <$B as Bits>::of(y[i]), <$C as Bits>::of(z[i]));
                Bits::bits($value)
            })
        })
    };
    (|$a:ident: $A:ty, $b:ident: $B:ty, $c:ident: $C:ty, $d:ident: $D:ty| $value:expr) => {
        Pure::Four(|x, y, z, w| {
            std::array::from_fn(|i| {
                let ($a, $b) = (<$A as Bits>::of(x[i]), <$B as Bits>::of(y[i]));
                let ($c, $d) = (<$C as Bits>::of(z[i]), <$D as Bits>::of(w[i]));
                Bits::bits($value)
            })
        })
    };
}
pub(super) use lanes;
