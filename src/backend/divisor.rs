//! Division by a number that is known at launch, for kernels.

/// A number that a kernel divides by; `Divisor` in `kernels/device/divisor.cuh`.
#[derive(Debug, Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(C)]
pub(crate) struct Divisor {
    pub(super) divisor: u32,
    magic: u32,
}

impl Divisor {
    /// For a divisor below 2^31; 0 stands for 1, as nothing is divided then.
    pub(crate) fn new(divisor: u32) -> Self {
        let divisor = divisor.max(1);
        let power = 31 + u64::from(divisor.next_power_of_two().trailing_zeros());
        Divisor { divisor, magic: (1u64 << power).div_ceil(u64::from(divisor)) as u32 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn division_by_multiplication_is_exact() {
        let divisors = (1..300).chain([1 << 15, (1 << 15) + 1, 1_000_003, (1 << 30) - 1, 1 << 30, i32::MAX as u32]);
        for d in divisors {
            let Divisor { divisor, magic } = Divisor::new(d);
            let shift = 63 - (divisor - 1).leading_zeros();
            let near = (0..6).flat_map(|i| [i * d, (i * d).wrapping_sub(1)]);
            for n in near.chain((0..1000).map(|i| i * 2_147_483)).chain([i32::MAX as u32]) {
                if n <= i32::MAX as u32 {
                    assert_eq!(((u64::from(n) * u64::from(magic)) >> shift) as u32, n / d, "{n} / {d}");
                }
            }
        }
    }
}
