//! Whole numbers and bits, as the chapters "Integer Arithmetic", "Logic and Shift" and "Comparison and Selection" of
//! the PTX ISA have them.

use super::lanes::{Bits, Pure, lanes};

/// A function for the type that an instruction ends in, written once with `T` for it.
macro_rules! whole {
    ($ty:expr, $T:ident => $pure:expr) => {
        match $ty {
            "b16" | "u16" => {
                type $T = u16;
                Some($pure)
            }
            "b32" | "u32" => {
                type $T = u32;
                Some($pure)
            }
            "b64" | "u64" => {
                type $T = u64;
                Some($pure)
            }
            "s16" => {
                type $T = i16;
                Some($pure)
            }
            "s32" => {
                type $T = i32;
                Some($pure)
            }
            "s64" => {
                type $T = i64;
                Some($pure)
            }
            _ => None,
        }
    };
}

/// What an instruction computes, by its opcode without the type, and the type.
pub(super) fn find(opcode: &str, ty: &str) -> Option<Pure> {
    match opcode {
        "add" => whole!(ty, T => lanes!(|a: T, b: T| a.wrapping_add(b))),
        "sub" => whole!(ty, T => lanes!(|a: T, b: T| a.wrapping_sub(b))),
        "mul.lo" => whole!(ty, T => lanes!(|a: T, b: T| a.wrapping_mul(b))),
        "mad.lo" => whole!(ty, T => lanes!(|a: T, b: T, c: T| a.wrapping_mul(b).wrapping_add(c))),
        // Division by zero gives no particular number on a GPU, and stops nothing.
        "div" => whole!(ty, T => lanes!(|a: T, b: T| if b == 0 { T::MAX } else { a.wrapping_div(b) })),
        "rem" => whole!(ty, T => lanes!(|a: T, b: T| if b == 0 { a } else { a.wrapping_rem(b) })),
        "min" => whole!(ty, T => lanes!(|a: T, b: T| a.min(b))),
        "max" => whole!(ty, T => lanes!(|a: T, b: T| a.max(b))),
        "shl" => whole!(ty, T => lanes!(|a: T, b: u32| a.checked_shl(b).unwrap_or(0))),
        // Beyond the width, nothing is left but the sign.
        "shr" => whole!(ty, T => lanes!(|a: T, b: u32| a >> b.min(T::BITS - 1) >> u32::from(b >= T::BITS))),
        "and" | "or" | "xor" | "not" if ty == "pred" => logic_of_predicates(opcode),
        "and" => whole!(ty, T => lanes!(|a: T, b: T| a & b)),
        "or" => whole!(ty, T => lanes!(|a: T, b: T| a | b)),
        "xor" => whole!(ty, T => lanes!(|a: T, b: T| a ^ b)),
        "not" => whole!(ty, T => lanes!(|a: T| !a)),
        "neg" => match ty {
            "s16" => Some(lanes!(|a: i16| a.wrapping_neg())),
            "s32" => Some(lanes!(|a: i32| a.wrapping_neg())),
            "s64" => Some(lanes!(|a: i64| a.wrapping_neg())),
            _ => None,
        },
        "abs" => match ty {
            "s16" => Some(lanes!(|a: i16| a.wrapping_abs())),
            "s32" => Some(lanes!(|a: i32| a.wrapping_abs())),
            "s64" => Some(lanes!(|a: i64| a.wrapping_abs())),
            _ => None,
        },
        _ => wider(opcode, ty).or_else(|| bits(opcode, ty)),
    }
}

fn logic_of_predicates(opcode: &str) -> Option<Pure> {
    match opcode {
        "and" => Some(lanes!(|a: bool, b: bool| a & b)),
        "or" => Some(lanes!(|a: bool, b: bool| a | b)),
        "xor" => Some(lanes!(|a: bool, b: bool| a ^ b)),
        _ => Some(lanes!(|a: bool| !a)),
    }
}

/// Products of which all bits, or the upper ones, are kept.
fn wider(opcode: &str, ty: &str) -> Option<Pure> {
    let pure = match (opcode, ty) {
        ("mul.wide", "u16") => lanes!(|a: u16, b: u16| u32::from(a) * u32::from(b)),
        ("mul.wide", "s16") => lanes!(|a: i16, b: i16| i32::from(a) * i32::from(b)),
        ("mul.wide", "u32") => lanes!(|a: u32, b: u32| u64::from(a) * u64::from(b)),
        ("mul.wide", "s32") => lanes!(|a: i32, b: i32| i64::from(a) * i64::from(b)),
        ("mad.wide", "u16") => lanes!(|a: u16, b: u16, c: u32| (u32::from(a) * u32::from(b)).wrapping_add(c)),
        ("mad.wide", "s16") => lanes!(|a: i16, b: i16, c: i32| (i32::from(a) * i32::from(b)).wrapping_add(c)),
        ("mad.wide", "u32") => lanes!(|a: u32, b: u32, c: u64| (u64::from(a) * u64::from(b)).wrapping_add(c)),
        ("mad.wide", "s32") => lanes!(|a: i32, b: i32, c: i64| (i64::from(a) * i64::from(b)).wrapping_add(c)),
        ("mul.hi", "u16") => lanes!(|a: u16, b: u16| ((u32::from(a) * u32::from(b)) >> 16) as u16),
        ("mul.hi", "s16") => lanes!(|a: i16, b: i16| ((i32::from(a) * i32::from(b)) >> 16) as i16),
        ("mul.hi", "u32") => lanes!(|a: u32, b: u32| ((u64::from(a) * u64::from(b)) >> 32) as u32),
        ("mul.hi", "s32") => lanes!(|a: i32, b: i32| ((i64::from(a) * i64::from(b)) >> 32) as i32),
        ("mul.hi", "u64") => lanes!(|a: u64, b: u64| ((u128::from(a) * u128::from(b)) >> 64) as u64),
        ("mul.hi", "s64") => lanes!(|a: i64, b: i64| ((i128::from(a) * i128::from(b)) >> 64) as i64),
        ("mad.hi", "u32") => {
            lanes!(|a: u32, b: u32, c: u32| (((u64::from(a) * u64::from(b)) >> 32) as u32).wrapping_add(c))
        }
        ("mad.hi", "s32") => {
            lanes!(|a: i32, b: i32, c: i32| (((i64::from(a) * i64::from(b)) >> 32) as i32).wrapping_add(c))
        }
        ("mad.hi", "u64") => {
            lanes!(|a: u64, b: u64, c: u64| (((u128::from(a) * u128::from(b)) >> 64) as u64).wrapping_add(c))
        }
        _ => return None,
    };
    Some(pure)
}

fn bits(opcode: &str, ty: &str) -> Option<Pure> {
    let pure = match (opcode, ty) {
        ("popc", "b32") => lanes!(|a: u32| a.count_ones()),
        ("popc", "b64") => lanes!(|a: u64| a.count_ones()),
        ("clz", "b32") => lanes!(|a: u32| a.leading_zeros()),
        ("clz", "b64") => lanes!(|a: u64| a.leading_zeros()),
        ("brev", "b32") => lanes!(|a: u32| a.reverse_bits()),
        ("brev", "b64") => lanes!(|a: u64| a.reverse_bits()),
        ("bfind.shiftamt", "u32") => lanes!(|a: u32| if a == 0 { u32::MAX } else { a.leading_zeros() }),
        ("bfe", "u32") => lanes!(|a: u32, at: u32, count: u32| field(a.into(), at, count) as u32),
        ("bfe", "u64") => lanes!(|a: u64, at: u32, count: u32| field(a, at, count)),
        ("bfe", "s32") => lanes!(|a: i32, at: u32, count: u32| signed_field(a.into(), at, count, 31) as i32),
        ("bfe", "s64") => lanes!(|a: i64, at: u32, count: u32| signed_field(a, at, count, 63)),
        ("bfi", "b32") => {
            lanes!(|a: u32, b: u32, at: u32, count: u32| insert(a.into(), b.into(), at, count) as u32)
        }
        ("bfi", "b64") => lanes!(|a: u64, b: u64, at: u32, count: u32| insert(a, b, at, count)),
        ("lop3", "b32") => lanes!(|a: u32, b: u32, c: u32, table: u32| lop3(a, b, c, table)),
        ("prmt", "b32") => lanes!(|a: u32, b: u32, which: u32| prmt(a, b, which)),
        ("shf.l.wrap", "b32") => lanes!(|a: u32, b: u32, n: u32| (pair(a, b) << (n & 31) >> 32) as u32),
        ("shf.r.wrap", "b32") => lanes!(|a: u32, b: u32, n: u32| (pair(a, b) >> (n & 31)) as u32),
        ("shf.l.clamp", "b32") => lanes!(|a: u32, b: u32, n: u32| (pair(a, b) << n.min(32) >> 32) as u32),
        ("shf.r.clamp", "b32") => lanes!(|a: u32, b: u32, n: u32| (pair(a, b) >> n.min(32)) as u32),
        ("selp", "b16" | "u16" | "s16") => lanes!(|a: u16, b: u16, p: bool| if p { a } else { b }),
        ("selp", "b32" | "u32" | "s32" | "f32") => lanes!(|a: u32, b: u32, p: bool| if p { a } else { b }),
        ("selp", "b64" | "u64" | "s64" | "f64") => lanes!(|a: u64, b: u64, p: bool| if p { a } else { b }),
        _ => return None,
    };
    Some(pure)
}

fn pair(low: u32, high: u32) -> u64 {
    u64::from(low) | u64::from(high) << 32
}

/// `count` ones.
fn ones(count: u32) -> u64 {
    if count >= 64 { u64::MAX } else { (1 << count) - 1 }
}

/// Only the lowest 8 bits of a position or a length count.
fn field(a: u64, at: u32, count: u32) -> u64 {
    a.checked_shr(at & 0xff).unwrap_or(0) & ones(count & 0xff)
}

/// The last bit of the field, or of the number if the field reaches beyond it, is the sign.
fn signed_field(a: i64, at: u32, count: u32, last: u32) -> i64 {
    let (at, count) = (at & 0xff, count & 0xff);
    if count == 0 {
        return 0;
    }
    let sign = (a >> (at + count - 1).min(last)) & 1;
    let inside = ones(count.min((last + 1).saturating_sub(at)));
    let bits = (a as u64).checked_shr(at).unwrap_or(0) & inside;
    (bits | if sign == 1 { !inside } else { 0 }) as i64
}

fn insert(a: u64, b: u64, at: u32, count: u32) -> u64 {
    let (at, ones) = (at & 0xff, ones(count & 0xff));
    let shifted = |x: u64| x.checked_shl(at).unwrap_or(0);
    (b & !shifted(ones)) | shifted(a & ones)
}

/// Bit `4 a + 2 b + c` of the table is the result for the bits a, b and c.
fn lop3(a: u32, b: u32, c: u32, table: u32) -> u32 {
    let of = |x: u32, wanted: bool| if wanted { x } else { !x };
    let term = |i: u32| of(a, i & 4 != 0) & of(b, i & 2 != 0) & of(c, i & 1 != 0);
    (0..8).filter(|i| table >> i & 1 == 1).fold(0, |bits, i| bits | term(i))
}

/// Every four bits of `which` name a byte of b:a; the fourth of them asks for its sign instead.
fn prmt(a: u32, b: u32, which: u32) -> u32 {
    let bytes = pair(a, b).to_le_bytes();
    let byte = |i: u32| {
        let nibble = which >> (4 * i);
        let byte = bytes[(nibble & 7) as usize];
        if nibble & 8 == 0 { byte } else { ((byte as i8) >> 7) as u8 }
    };
    u32::from_le_bytes([0, 1, 2, 3].map(byte))
}

/// Comparisons of whole numbers. `lo`, `ls`, `hi` and `hs` are those of unsigned ones.
pub(super) fn compare(how: &str, ty: &str) -> Option<Pure> {
    match how {
        "eq" => whole!(ty, T => lanes!(|a: T, b: T| a == b)),
        "ne" => whole!(ty, T => lanes!(|a: T, b: T| a != b)),
        "lt" | "lo" => whole!(ty, T => lanes!(|a: T, b: T| a < b)),
        "le" | "ls" => whole!(ty, T => lanes!(|a: T, b: T| a <= b)),
        "gt" | "hi" => whole!(ty, T => lanes!(|a: T, b: T| a > b)),
        "ge" | "hs" => whole!(ty, T => lanes!(|a: T, b: T| a >= b)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// By the words of the ISA, one bit after the other.
    #[test]
    fn fields_are_those_that_the_bits_give() {
        for a in [0u32, 1, 0x8000_0000, 0xdead_beef, 0x7fff_ffff, u32::MAX] {
            for at in [0u32, 1, 7, 16, 31, 32, 40] {
                for count in [0u32, 1, 5, 16, 31, 32, 50] {
                    let bit = |i: u32| if i <= 31 { a >> i & 1 } else { 0 };
                    let sign = if count == 0 { 0 } else { bit((at + count - 1).min(31)) };
                    let (mut plain, mut signed, mut inserted) = (0u32, 0u32, 0x1234_5678u32);
                    for i in 0..32 {
                        let inside = i < count && at + i <= 31;
                        plain |= if inside { bit(at + i) } else { 0 } << i;
                        signed |= if inside { bit(at + i) } else { sign } << i;
                        if inside {
                            inserted = inserted & !(1 << (at + i)) | bit(i) << (at + i);
                        }
                    }
                    assert_eq!(field(a.into(), at, count) as u32, plain, "{a:x} {at} {count}");
                    let found = signed_field((a as i32).into(), at, count, 31) as u32;
                    assert_eq!(found, signed, "{a:x} {at} {count}");
                    assert_eq!(insert(a.into(), 0x1234_5678, at, count) as u32, inserted, "{a:x} {at} {count}");
                }
            }
        }
    }

    /// The tables that the ISA gives for common functions, and its bytes in the order of the result.
    #[test]
    fn tables_and_permutations_are_those_of_the_isa() {
        let (a, b, c) = (0xf0f0_1234u32, 0xcccc_5678, 0xaaaa_9abc);
        let known =
            [(0x80, a & b & c), (0xfe, a | b | c), (0x40, a & b & !c), (0x1a, (a & b | c) ^ a), (0x96, a ^ b ^ c)];
        for (table, expected) in known {
            assert_eq!(lop3(a, b, c, table), expected, "{table:#x}");
        }
        assert_eq!(prmt(0x3322_1100, 0x7766_5544, 0x7531), 0x7755_3311);
        assert_eq!(prmt(0x3322_1180, 0x7766_55c4, 0x4c80), 0xc4ff_ff80);
    }
}
