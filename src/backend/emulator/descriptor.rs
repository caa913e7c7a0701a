//! The 64 bits that say where wgmma finds a factor in shared memory, by the PTX ISA's table "Matrix Descriptor Format"
//! and its definitions of the leading (LBO) and the stride dimension byte offset (SBO), of tiles swizzled by 128 bytes.
//!
//! With the depth side by side ("K-major") a line is 128 bytes, eight of them are one pattern of the swizzle, and SBO
//! leads to the next eight. Transposed ("MN-major") a step of depth is 128 bytes, which are 64 lines; eight steps are
//! one pattern, LBO leads "from the first (swizzle-byte-size/16) rows to the next", rows of 16 bytes, which are the
//! next 64 lines, and SBO "from the first 8 columns to the next 8 columns", the next eight steps. So line and step
//! stand, from the tile's first byte and before units of 16 bytes change places, at
//!
//! | line | step | bytes           | line | step | bytes                         |
//! |------|------|-----------------|------|------|-------------------------------|
//! | 0    | 0    | 0               | 0    | 1    | 128                           |
//! | 1    | 0    | 2               | 0    | 7    | 896                           |
//! | 8    | 0    | 16              | 0    | 8    | SBO                           |
//! | 63   | 0    | 126             | 9    | 13   | 18 + SBO + 640                |
//! | 64   | 0    | LBO             | 70   | 3    | LBO + 12 + 384                |
//! | 200  | 0    | 3 LBO + 16      | 255  | 15   | 3 LBO + 126 + SBO + 896       |

use half::bf16;

use super::granules::BoxLine;
use super::shared::SharedMemory;

/// Lines of the left factor.
pub(super) const LINES: usize = 64;
/// Steps of depth of one product.
pub(super) const DEPTH: usize = 16;
/// Bytes of one pattern of the swizzle.
const PATTERN: u32 = 1024;
/// Lines of a transposed factor that stand side by side.
const SIDE_BY_SIDE: usize = 64;
/// Elements of 16 bytes.
const UNIT: usize = 8;

/// A descriptor, taken apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Descriptor {
    bits: u64,
    /// Whether the instruction takes its lines to stand side by side.
    transposed: bool,
    /// Bytes, in the window of 18 bits.
    address: u32,
    leading: u32,
    stride: u32,
    base: u32,
    swizzle: u32,
}

impl Descriptor {
    pub(super) fn read(bits: u64, transposed: bool) -> Descriptor {
        let field = |from: u32, width: u32| (bits >> from) as u32 & ((1 << width) - 1);
        Descriptor {
            bits,
            transposed,
            address: field(0, 14) << 4,
            leading: field(16, 14) << 4,
            stride: field(32, 14) << 4,
            base: field(49, 3),
            swizzle: field(62, 2),
        }
    }

    /// What it says of a factor of so many lines that the emulator does not know, or that is wrong.
    pub(super) fn check(&self, lines: usize) -> Result<(), String> {
        let Descriptor { bits, transposed, address, leading, stride, base, swizzle } = *self;
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
        match transposed {
            true => self.check_transposed(lines)?,
            false if leading != 16 => {
                return Err(format!(
                    "its descriptor has a leading offset (LBO) of {leading} bytes, which means nothing in this layout, \
                     where the depth stands side by side; the ISA assumes 1, which is 16 bytes"
                ));
            }
            false if address & 127 > 96 => {
                return Err("its descriptor begins so far in the lines that 16 steps of depth go beyond them".into());
            }
            false => {}
        }
        if stride == 0 || !stride.is_multiple_of(PATTERN) {
            return Err(format!(
                "its descriptor has a stride (SBO) of {stride} bytes from eight {} to the next, no multiple of the \
                 pattern's 1024",
                if transposed { "steps of depth" } else { "lines" }
            ));
        }
        Ok(())
    }

    fn check_transposed(&self, lines: usize) -> Result<(), String> {
        let Descriptor { address, leading, stride, .. } = *self;
        if !lines.is_multiple_of(SIDE_BY_SIDE) {
            return Err(format!("it is transposed and has {lines} lines, of which 64 stand side by side"));
        }
        if address & 127 != 0 {
            return Err("its descriptor begins so far in a step of depth that 64 lines go beyond it".into());
        }
        // Where 64 lines are all, it leads nowhere, and CuTe has 0.
        if leading == 0 && lines > SIDE_BY_SIDE || !leading.is_multiple_of(PATTERN) {
            return Err(format!(
                "its descriptor has a leading offset (LBO) of {leading} bytes from 64 lines to the next, no multiple of \
                 the pattern's 1024"
            ));
        }
        if lines > SIDE_BY_SIDE && leading == stride {
            return Err(format!(
                "its descriptor has {leading} bytes both from 64 lines to the next (LBO) and from eight steps of depth \
                 to the next (SBO)"
            ));
        }
        Ok(())
    }

    /// The addresses, in the window, of the units of 16 bytes that `lines` lines of 16 steps have: line by line, or, if
    /// it is transposed, step by step.
    pub(super) fn units(&self, lines: usize) -> Vec<u32> {
        let Descriptor { address, leading, stride, transposed, .. } = *self;
        let plain: Vec<u32> = match transposed {
            false => (0..lines as u32 * 2)
                .map(|i| (i / 2, i % 2))
                .map(|(line, unit)| address + line / 8 * stride + line % 8 * 128 + unit * 16)
                .collect(),
            true => {
                let across = (lines / UNIT) as u32;
                (0..DEPTH as u32 * across)
                    .map(|i| (i / across, i % across))
                    .map(|(step, unit)| {
                        address + unit / 8 * leading + unit % 8 * 16 + step / 8 * stride + step % 8 * 128
                    })
                    .collect()
            }
        };
        // Bits 4 to 6 of the address are crossed with bits 7 to 9.
        plain.into_iter().map(|plain| plain ^ (plain >> 3 & 0x70)).collect()
    }

    /// The factor's elements, line by line, in the memory of this block of the cluster. NaN where there is none.
    pub(super) fn gather(&self, lines: usize, shared: &SharedMemory, rank: usize) -> Vec<f32> {
        let mut all = vec![0.0; lines * DEPTH];
        for (i, at) in self.units(lines).into_iter().enumerate() {
            // SAFETY: a place that `unwindow` gives has room for a unit, for it is a multiple of 16 within the memory.
            let unit = shared.unwindow(at, rank).map(|at| unsafe { (at as *const [u16; UNIT]).read() });
            let unit = unit.unwrap_or([u16::MAX; UNIT]).map(|bits| bf16::from_bits(bits).to_f32());
            for (e, value) in unit.into_iter().enumerate() {
                let (line, step) = match self.transposed {
                    false => (i / 2, i % 2 * UNIT + e),
                    true => (i % (lines / UNIT) * UNIT + e, i / (lines / UNIT)),
                };
                all[line * DEPTH + step] = value;
            }
        }
        all
    }

    /// Where a transposed factor is not what boxes brought: `line` says of each unit, as [`units`](Self::units) has
    /// them, which line of its box it stands in, if a box brought it. A step of depth stands in the same line of
    /// each box that it is made of, and the next step in the next line, or in the first one of the next boxes.
    pub(super) fn misled(&self, lines: usize, line: impl Fn(usize) -> Option<BoxLine>) -> Option<String> {
        let across = lines / UNIT;
        for step in 0..DEPTH {
            let Some(first) = line(step * across) else { continue };
            for unit in 1..across {
                let Some(other) = line(step * across + unit).filter(|other| other.number != first.number) else {
                    continue;
                };
                let (from, to) = (unit * UNIT, step);
                return Some(format!(
                    "its lines from {from} on have step {to} of the depth in line {} of their box, and those from 0 on in \
                     line {}: from 64 lines to the next the descriptor has {} bytes (LBO)",
                    other.number, first.number, self.leading
                ));
            }
            let before = step.checked_sub(1).and_then(|before| line(before * across));
            let Some(before) = before else { continue };
            if first.number != if before.last { 0 } else { before.number + 1 } {
                return Some(format!(
                    "its step {step} of the depth stands in line {} of a box, and the one before in line {}: from eight \
                     steps to the next the descriptor has {} bytes (SBO)",
                    first.number, before.number, self.stride
                ));
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A tile at 0x4000, 32 bytes into its lines.
    const GOOD: u64 = 0x402 | 1 << 16 | 64 << 32 | 1 << 62;

    #[test]
    fn each_field_stands_where_the_isa_says() {
        let read = Descriptor::read(GOOD, false);
        assert_eq!((read.address, read.leading, read.stride, read.base, read.swizzle), (0x4020, 16, 1024, 0, 1));
        read.check(64).unwrap();
        let read = Descriptor::read(u64::MAX, false);
        assert_eq!((read.address, read.leading, read.stride), (0x3fff0, 0x3fff0, 0x3fff0));
        assert_eq!((read.base, read.swizzle), (7, 3));
    }

    #[test]
    fn the_first_lines_lie_as_the_isa_draws_the_swizzle() {
        // "128-Byte swizzle mode": unit u of line r stands at u ^ r.
        let units = Descriptor::read(GOOD, false).units(16);
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
            let why = Descriptor::read(bits, false).check(64).unwrap_err();
            assert!(why.contains(part), "{why}");
        }
    }
    /// A transposed tile at 0x4000: 8192 bytes from 64 lines to the next, 1024 from eight steps to the next.
    const TURNED: u64 = 0x400 | 512 << 16 | 64 << 32 | 1 << 62;

    /// The table at the head of this file, with the units where the swizzle puts them: unit u of step k at u ^ k % 8.
    #[test]
    fn lines_that_stand_side_by_side_lie_as_the_isa_says() {
        for (leading, stride) in [(8192, 1024), (1024, 4096), (3072, 16384)] {
            let bits = 0x400 | (leading as u64 >> 4) << 16 | (stride as u64 >> 4) << 32 | 1 << 62;
            let descriptor = Descriptor::read(bits, true);
            descriptor.check(256).unwrap();
            let units = descriptor.units(256);
            assert_eq!(units.len(), 16 * 32);
            for (line, step, bytes) in [
                (0, 0, 0),
                (8, 0, 16),
                (64, 0, leading),
                (200, 0, 3 * leading + 16),
                (0, 1, 128),
                (0, 7, 896),
                (0, 8, stride),
                (8, 13, 16 + stride + 640),
                (64, 3, leading + 384),
                (248, 15, 3 * leading + 112 + stride + 896),
            ] {
                let swizzled = 0x4000 + (bytes ^ (step % 8 * 16));
                assert_eq!(units[(step * 32 + line / 8) as usize], swizzled, "line {line}, step {step}");
            }
        }
    }

    #[test]
    fn what_is_wrong_with_a_transposed_descriptor_is_named() {
        Descriptor::read(TURNED, true).check(256).unwrap();
        Descriptor::read(TURNED & !(0x3fff << 16), true).check(64).unwrap();
        for (bits, lines, part) in [
            (TURNED ^ (512 ^ 1) << 16, 256, "(LBO) of 16 bytes from 64 lines to the next"),
            (TURNED ^ (512 ^ 544) << 16, 64, "(LBO) of 8704 bytes"),
            (TURNED & !(0x3fff << 16), 256, "(LBO) of 0 bytes"),
            (TURNED ^ (64 ^ 32) << 32, 256, "(SBO) of 512 bytes from eight steps of depth"),
            (TURNED ^ (512 ^ 64) << 16, 256, "1024 bytes both from 64 lines"),
            (TURNED | 2, 256, "64 lines go beyond"),
            (TURNED | 8, 256, "begins at line 1"),
            (TURNED | 1 << 49, 256, "base offset of 1"),
            (TURNED | 1 << 63, 256, "swizzle mode 3"),
            (TURNED | 1 << 46, 256, "bits set that mean nothing"),
            (TURNED, 72, "72 lines, of which 64 stand side by side"),
        ] {
            let why = Descriptor::read(bits, true).check(lines).unwrap_err();
            assert!(why.contains(part), "{why}");
        }
        // Taken for the other layout, each is refused: 1 is what stands for an LBO that means nothing.
        assert!(Descriptor::read(TURNED, false).check(256).unwrap_err().contains("means nothing"));
        assert!(Descriptor::read(GOOD & !2, true).check(256).unwrap_err().contains("(LBO) of 16 bytes"));
    }

    #[test]
    fn boxes_say_where_a_descriptor_misleads() {
        // Boxes of 64 lines, 8192 bytes each, one after the other from 0x4000 on.
        let misled = |bits: u64, lines: usize, box_lines: u32| {
            let descriptor = Descriptor::read(bits, true);
            descriptor.check(lines).unwrap();
            let units = descriptor.units(lines);
            descriptor.misled(lines, |i| {
                let number = (units[i] - 0x4000) / 128 % box_lines;
                Some(BoxLine { number, last: number + 1 == box_lines })
            })
        };
        assert_eq!(misled(TURNED, 256, 64), None);
        // Boxes of eight steps, first those of all lines.
        assert_eq!(misled(0x400 | 64 << 16 | 256 << 32 | 1 << 62, 256, 8), None);
        let says = |bits, lines, part: &str| {
            let why = misled(bits, lines, 64).unwrap();
            assert!(why.contains(part), "{why}");
        };
        says(TURNED ^ (512 ^ 256) << 16, 256, "has 4096 bytes (LBO)");
        says(TURNED ^ (64 ^ 128) << 32, 256, "has 2048 bytes (SBO)");
        // The two changed for each other, of both factors.
        let changed = 0x400 | 64 << 16 | 512 << 32 | 1 << 62;
        says(changed, 256, "has 1024 bytes (LBO)");
        says(changed, 64, "has 8192 bytes (SBO)");
        let none = Descriptor::read(changed, true).misled(256, |_| None);
        assert_eq!(none, None, "threads wrote it");
    }
}
