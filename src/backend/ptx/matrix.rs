//! The matrix instructions, by the fragments that the PTX ISA draws ("Matrix Fragments for mma.m16n8k16 with
//! floating point type" and "ldmatrix").

use half::bf16;

use super::lanes::Lanes;

/// One element of a fragment register, whose halves are elements 0 and 1.
fn half(register: u64, element: usize) -> f64 {
    bf16::from_bits((register >> (16 * element)) as u16).to_f64()
}

/// `d = a b + c`: a 16x16, b 16x8, c and d 16x8. Products of bf16 are exact in f64, and so are their sums but for
/// extreme exponents. They are rounded once, which the hardware, whose order and precision are not documented, need
/// not do.
pub(super) fn multiply(a: [&Lanes; 4], b: [&Lanes; 2], c: [&Lanes; 4]) -> [Lanes; 4] {
    let mut left = [[0.0; 16]; 16];
    let mut right = [[0.0; 8]; 16];
    for lane in 0..32 {
        let (group, thread) = (lane >> 2, lane % 4);
        // a has eight elements, numbered as the ISA does: two in each register.
        for i in 0..8 {
            let row = if (0..2).contains(&i) || (4..6).contains(&i) { group } else { group + 8 };
            let column = thread * 2 + (i & 1) + if i < 4 { 0 } else { 8 };
            left[row][column] = half(a[i / 2][lane], i % 2);
        }
        for i in 0..4 {
            let row = thread * 2 + (i & 1) + if i < 2 { 0 } else { 8 };
            right[row][group] = half(b[i / 2][lane], i % 2);
        }
    }
    let mut d = [[0; 32]; 4];
    for lane in 0..32 {
        let (group, thread) = (lane >> 2, lane % 4);
        for i in 0..4 {
            let row = if i < 2 { group } else { group + 8 };
            let column = thread * 2 + (i & 1);
            let products: f64 = (0..16).map(|k| left[row][k] * right[k][column]).sum();
            let sum = f64::from(f32::from_bits(c[i][lane] as u32)) + products;
            d[i][lane] = u64::from((sum as f32).to_bits());
        }
    }
    d
}

/// The register of every lane for one 8x8 matrix, whose rows are given: lane l gets two neighbours of row l / 4, or,
/// transposed, of column l / 4.
pub(super) fn distribute(rows: &[[u16; 8]; 8], transposed: bool) -> Lanes {
    std::array::from_fn(|lane| {
        let (row, column) = (lane / 4, 2 * (lane % 4));
        let [low, high] = match transposed {
            false => [rows[row][column], rows[row][column + 1]],
            true => [rows[column][row], rows[column + 1][row]],
        };
        u64::from(low) | u64::from(high) << 16
    })
}
