//! The 64 bits that say where wgmma finds a factor in shared memory, by the PTX ISA's table "Matrix Descriptor Format"
//! and its figures of the layouts whose depth stands side by side.

use half::bf16;

use super::shared::SharedMemory;

/// Lines of the left factor.
pub(super) const LINES: usize = 64;
/// Steps of depth of one product.
pub(super) const DEPTH: usize = 16;

/// A descriptor, taken apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Descriptor {
    bits: u64,
    /// Bytes, in the window of 18 bits.
    address: u32,
    leading: u32,
    stride: u32,
    base: u32,
    swizzle: u32,
}

impl Descriptor {
    pub(super) fn read(bits: u64) -> Descriptor {
        let field = |from: u32, width: u32| (bits >> from) as u32 & ((1 << width) - 1);
        Descriptor {
            bits,
            address: field(0, 14) << 4,
            leading: field(16, 14) << 4,
            stride: field(32, 14) << 4,
            base: field(49, 3),
            swizzle: field(62, 2),
        }
    }

    /// What it says that the emulator does not know, or that is wrong.
    pub(super) fn check(&self) -> Result<(), String> {
        let Descriptor { bits, address, leading, stride, base, swizzle } = *self;
        let unused = bits & !(0x3fff | 0x3fff << 16 | 0x3fff << 32 | 7 << 49 | 3 << 62);
        if unused != 0 {
            return Err(format!("its descriptor {bits:#018x} has bits set that mean nothing, {unused:#x}"));
        }
        if swizzle != 1 {
            return Err(format!(
                "its descriptor says swizzle mode {swizzle}, and tiles here are swizzled by 128, mode 1"
            ));
        }
        if base != address >> 7 & 7 {
            let line = address >> 7 & 7;
            return Err(format!(
                "its descriptor begins at line {line} of a pattern of 1024 bytes, with a base offset of {base}: the tile \
                 is not at a multiple of 1024"
            ));
        }
        if leading != 16 {
            return Err(format!(
                "its descriptor has a leading offset (LBO) of {leading} bytes, which means nothing in this layout; the \
                 ISA assumes 1, which is 16 bytes"
            ));
        }
        if stride == 0 || stride % 1024 != 0 {
            return Err(format!(
                "its descriptor has a stride (SBO) of {stride} bytes from eight lines to the next, no multiple of the \
                 pattern's 1024"
            ));
        }
        if address & 127 > 96 {
            return Err("its descriptor begins so far in the lines that 16 steps of depth go beyond them".into());
        }
        Ok(())
    }

    /// The addresses, in the window, of the units of 16 bytes that `lines` lines of 16 steps have, line by line.
    pub(super) fn units(&self, lines: usize) -> impl Iterator<Item = u32> {
        let Descriptor { address, stride, .. } = *self;
        (0..lines as u32).flat_map(move |line| {
            (0..DEPTH as u32 / 8).map(move |unit| {
                let plain = address + line / 8 * stride + line % 8 * 128 + unit * 16;
                // Bits 4 to 6 of the address are crossed with bits 7 to 9.
                plain ^ (plain >> 3 & 0x70)
            })
        })
    }

    /// The factor's elements, line by line. NaN where there is no shared memory.
    pub(super) fn gather(&self, lines: usize, shared: &SharedMemory) -> Vec<f32> {
        let mut all = Vec::with_capacity(lines * DEPTH);
        for at in self.units(lines) {
            // SAFETY: a place that `unwindow` gives has room for a unit, for it is a multiple of 16 within the memory.
            let unit = shared.unwindow(at).map(|at| unsafe { (at as *const [u16; 8]).read() });
            all.extend(unit.unwrap_or([u16::MAX; 8]).map(|bits| bf16::from_bits(bits).to_f32()));
        }
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A tile at 0x4000, 32 bytes into its lines.
    const GOOD: u64 = 0x402 | 1 << 16 | 64 << 32 | 1 << 62;

    #[test]
    fn each_field_stands_where_the_isa_says() {
        let read = Descriptor::read(GOOD);
        assert_eq!((read.address, read.leading, read.stride, read.base, read.swizzle), (0x4020, 16, 1024, 0, 1));
        read.check().unwrap();
        let read = Descriptor::read(u64::MAX);
        assert_eq!((read.address, read.leading, read.stride), (0x3fff0, 0x3fff0, 0x3fff0));
        assert_eq!((read.base, read.swizzle), (7, 3));
    }

    #[test]
    fn the_first_lines_lie_as_the_isa_draws_the_swizzle() {
        // "128-Byte swizzle mode": unit u of line r stands at u ^ r.
        let units: Vec<u32> = Descriptor::read(GOOD).units(16).collect();
        for (line, pair) in units.chunks_exact(2).enumerate() {
            let (group, row) = (line as u32 / 8, line as u32 % 8);
            let begin = 0x4000 + 1024 * group + 128 * row;
            assert_eq!(pair, [begin + 16 * (2 ^ row), begin + 16 * (3 ^ row)], "line {line}");
        }
    }

    #[test]
    fn what_is_wrong_with_a_descriptor_is_named() {
        for (bits, part) in [
            (GOOD & !(3 << 62), "swizzle mode 0"),
            (GOOD | 1 << 63, "swizzle mode 3"),
            (GOOD | 8, "begins at line 1"),
            (GOOD | 1 << 49, "base offset of 1"),
            (GOOD ^ 3 << 16, "(LBO) of 32 bytes"),
            (GOOD ^ (64 ^ 32) << 32, "(SBO) of 512 bytes"),
            (GOOD | 1 << 14, "bits set that mean nothing"),
            (GOOD | 7, "go beyond"),
        ] {
            let why = Descriptor::read(bits).check().unwrap_err();
            assert!(why.contains(part), "{why}");
        }
    }
}
