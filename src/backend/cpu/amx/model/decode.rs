//! The encodings of the instructions that the crate uses.

/// An instruction on tiles.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Instruction {
    /// `ldtilecfg`
    Configure(Address),
    /// `tilerelease`
    Release,
    /// `tilezero`
    Zero(usize),
    /// `tileloadd`, or `tileloaddt1`, which differs in what caches keep.
    Load(usize, Address),
    /// `tilestored`
    Store(Address, usize),
    /// `tdpbf16ps`
    MultiplyBf16 { sums: usize, left: usize, right: usize },
}

/// A place in memory, by registers in the order of their encodings: `rax`, `rcx`, `rdx`, `rbx`, `rsp`, `rbp`, `rsi`,
/// `rdi`, `r8` to `r15`. For rows of a tile, the scaled index is the distance between them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Address {
    pub base: Option<usize>,
    /// The register, and by how many bits it is shifted.
    pub index: Option<(usize, u32)>,
    pub displacement: i32,
}

/// Reads the instruction at the beginning of `code`, and its length in bytes. `None` if it is not one with the prefix
/// and the opcodes of tiles; an error where the CPU refuses it, or where it is one that the crate does not use.
pub(super) fn decode(code: &[u8; 10]) -> Result<Option<(Instruction, usize)>, &'static str> {
    // The VEX prefix of three bytes, with the opcode map 0F 38.
    let [0xc4, first, second, opcode @ (0x49 | 0x4b | 0x5c), modrm, ..] = *code else { return Ok(None) };
    if first & 0x1f != 2 {
        return Ok(None);
    }
    // R, X, B and vvvv are written inverted.
    let extended = |bit: u8| if first & (1 << bit) == 0 { 8 } else { 0 };
    let (r, x, b) = (extended(7), extended(6), extended(5));
    let third = usize::from(!second >> 3 & 0xf);
    let (prefix, mode) = (second & 3, modrm >> 6);
    let (reg, rm) = (usize::from(modrm >> 3 & 7), usize::from(modrm & 7));
    if second & 0x80 != 0 {
        return Err("VEX.W is set");
    }
    if second & 4 != 0 {
        return Err("VEX.L is set");
    }
    if opcode != 0x5c && third != 0 {
        return Err("VEX.vvvv names a third operand");
    }
    let tile = |high: usize, low: usize| if high == 0 { Ok(low) } else { Err("a tile register beyond the eighth") };
    const NONE: u8 = 0;
    const P66: u8 = 1;
    const PF3: u8 = 2;
    const PF2: u8 = 3;
    let memory = || address(code, x, b);
    let found = match (opcode, prefix, mode) {
        (0x49, NONE, 3) if modrm == 0xc0 => (Instruction::Release, 5),
        (0x49, PF2, 3) if rm == 0 => (Instruction::Zero(tile(r, reg)?), 5),
        (0x49, NONE, 0..3) if reg == 0 => {
            let (address, length) = memory()?;
            (Instruction::Configure(address), length)
        }
        (0x4b, PF2 | P66 | PF3, 0..3) => {
            if rm != 4 {
                return Err("rows of a tile without an SIB byte");
            }
            let (tile, (address, length)) = (tile(r, reg)?, memory()?);
            match prefix {
                PF3 => (Instruction::Store(address, tile), length),
                _ => (Instruction::Load(tile, address), length),
            }
        }
        (0x5c, PF3, 3) => {
            let (sums, left, right) = (tile(r, reg)?, tile(b, rm)?, tile(third & 8, third & 7)?);
            (Instruction::MultiplyBf16 { sums, left, right }, 5)
        }
        _ => return Err("an instruction on tiles that the model does not have"),
    };
    Ok(Some(found))
}

/// Reads ModRM, SIB and displacement from the fifth byte on; returns the instruction's length too.
fn address(code: &[u8; 10], x: usize, b: usize) -> Result<(Address, usize), &'static str> {
    let (mode, rm) = (code[4] >> 6, usize::from(code[4] & 7));
    let mut length = 5;
    let (mut base, mut index) = (Some(b + rm), None);
    if rm == 4 {
        let sib = code[5];
        length = 6;
        let (scale, low_index, low_base) = (u32::from(sib >> 6), usize::from(sib >> 3 & 7), usize::from(sib & 7));
        // `rsp` cannot be an index: its number says that there is none.
        index = (x + low_index != 4).then_some((x + low_index, scale));
        base = Some(b + low_base);
        if mode == 0 && low_base == 5 {
            base = None;
        }
    } else if mode == 0 && rm == 5 {
        return Err("an address relative to the instruction, which the model does not have");
    }
    let displacement = match mode {
        _ if base.is_none() => i32::from_le_bytes([code[length], code[length + 1], code[length + 2], code[length + 3]]),
        0 => 0,
        1 => i32::from(code[length] as i8),
        _ => i32::from_le_bytes([code[length], code[length + 1], code[length + 2], code[length + 3]]),
    };
    length += match (mode, base) {
        (1, _) => 1,
        (2, _) | (0, None) => 4,
        _ => 0,
    };
    Ok((Address { base, index, displacement }, length))
}
