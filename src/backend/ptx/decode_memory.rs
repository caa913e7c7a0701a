//! Loads, stores, copies and addresses, from the text to [`Op`].

use super::draft::Draft;
use super::integer;
use super::lanes::{Bits, Pure, lanes};
use super::program::{Op, Space, WINDOW};
use super::text::Operand;

/// Adds the instruction if it is one of these.
pub(super) fn decode(draft: &mut Draft, parts: &[&str], operands: &[Operand]) -> Result<bool, String> {
    match (parts, operands) {
        (["ld", how @ .., ty], [to, place]) => {
            let access = Access::read(how, ty)?;
            let to = access.registers(to)?;
            let (to, place) = (draft.write_all(to)?, draft.place(access.space, place)?);
            draft.emit(Op::Load { to, place, bytes: access.bytes, signed: access.signed });
        }
        (["st", how @ .., ty], [place, from]) => {
            let access = Access::read(how, ty)?;
            let from = access.registers(from)?;
            let (from, place) = (draft.read_all(from)?, draft.place(access.space, place)?);
            draft.emit(Op::Store { from, place, bytes: access.bytes });
        }
        (["atom", how @ .., function, ty], [to, place, with]) => {
            let to = draft.write(to)?;
            atomic(draft, how, function, ty, to, [place, with])?;
        }
        (["red", how @ .., function, ty], [place, with]) => {
            let to = draft.fresh();
            atomic(draft, how, function, ty, to, [place, with])?;
        }
        (["cvta", how @ .., "u64" | "u32"], [to, from]) => {
            let f = converted(how)?;
            let to = draft.write(to)?;
            draft.apply(f, to, std::slice::from_ref(from))?;
        }
        (["ldmatrix", "sync", "aligned", "m8n8", count, trans @ .., "shared", "b16"], [to, place]) => {
            let count = count.strip_prefix('x').and_then(|n| n.parse::<usize>().ok());
            let Operand::Vector(to) = to else { return Err("ldmatrix writes a list of registers".into()) };
            let transposed = match trans {
                [] => false,
                ["trans"] => true,
                _ => return Ok(false),
            };
            if count != Some(to.len()) || ![1, 2, 4].contains(&to.len()) {
                return Err("ldmatrix loads 1, 2 or 4 matrices, a register for each".into());
            }
            let (to, place) = (draft.write_all(to)?, draft.place(Space::Shared, place)?);
            draft.emit(Op::LoadMatrix { to, place, transposed });
        }
        (["cp", "async", "commit_group"], []) => draft.emit(Op::Commit),
        (["cp", "async", "wait_group"], [Operand::Number(n)]) => draft.emit(Op::Wait(*n as usize)),
        (["cp", "async", "wait_all"], []) => draft.emit(Op::WaitAll),
        (["cp", "async", "ca" | "cg", "shared" | "shared::cta", "global", hints @ ..], [to, from, size, read @ ..]) => {
            if !hints.iter().all(|hint| hint.starts_with("L2::")) {
                return Ok(false);
            }
            copy(draft, parts[2] == "cg", [to, from], size, read)?;
        }
        _ => return Ok(false),
    }
    Ok(true)
}

/// How memory is accessed: `ld.global.nc.v4.u32`.
struct Access {
    space: Space,
    /// Registers, if they stand in a list.
    count: Option<usize>,
    /// Of one of them.
    bytes: usize,
    signed: bool,
}

impl Access {
    fn read(how: &[&str], ty: &str) -> Result<Access, String> {
        let bits = ty.get(1..).and_then(|bits| bits.parse::<usize>().ok());
        let bytes = bits.filter(|bits| [8, 16, 32, 64].contains(bits)).ok_or_else(|| format!("`{ty}` is no type"))? / 8;
        let mut access = Access { space: Space::Generic, count: None, bytes, signed: ty.starts_with('s') };
        for &word in how {
            match word {
                "global" => access.space = Space::Global,
                // What is constant is kept in global memory here.
                "const" => access.space = Space::Global,
                "shared" | "shared::cta" => access.space = Space::Shared,
                "local" => access.space = Space::Local,
                "param" | "param::entry" => access.space = Space::Param,
                "v2" => access.count = Some(2),
                "v4" => access.count = Some(4),
                // They say what a cache may keep, or that a value may change: here there is no cache.
                "nc" | "volatile" | "relaxed" | "weak" | "cta" | "gpu" | "sys" | "ca" | "cg" | "cs" | "cv" => {}
                _ if word.starts_with("L1::") || word.starts_with("L2::") => {}
                _ => return Err(format!("`.{word}` is not known here")),
            }
        }
        Ok(access)
    }

    /// The registers that take part.
    fn registers<'a>(&self, operand: &'a Operand) -> Result<&'a [Operand], String> {
        match (operand, self.count) {
            (Operand::Vector(parts), Some(count)) if parts.len() == count => Ok(parts),
            (Operand::Name(_) | Operand::Number(_), None) => Ok(std::slice::from_ref(operand)),
            _ => Err("other registers than the opcode says".into()),
        }
    }
}

/// The function is applied to what was there and the operand; here no other thread can come between.
fn atomic(draft: &mut Draft, how: &[&str], function: &str, ty: &str, to: u32, of: [&Operand; 2]) -> Result<(), String> {
    let access = Access::read(how, ty)?;
    let f = match function {
        "add" | "min" | "max" | "and" | "or" | "xor" => integer::find(function, ty),
        _ => None,
    };
    let f = f.ok_or_else(|| format!("`.{function}.{ty}` is not known here"))?;
    let (place, with) = (draft.place(access.space, of[0])?, draft.read(of[1])?);
    draft.emit(Op::Atomic { f, to, place, with, bytes: access.bytes });
    Ok(())
}

/// Between an address in a space and a generic one.
fn converted(how: &[&str]) -> Result<Pure, String> {
    let f = match how {
        ["to", "global"] | ["global"] => lanes!(|a: u64| a),
        ["shared"] => lanes!(|a: u64| a + WINDOW),
        ["to", "shared"] => lanes!(|a: u64| a.wrapping_sub(WINDOW)),
        ["local"] => lanes!(|a: u64| a + 2 * WINDOW),
        ["to", "local"] => lanes!(|a: u64| a.wrapping_sub(2 * WINDOW)),
        ["param"] => lanes!(|a: u64| a + 3 * WINDOW),
        ["to", "param"] => lanes!(|a: u64| a.wrapping_sub(3 * WINDOW)),
        _ => return Err("this memory is not known here".into()),
    };
    Ok(f)
}

/// `cp.async.cg` copies 16 bytes, `.ca` 4, 8 or 16.
fn copy(
    draft: &mut Draft,
    whole: bool,
    [to, from]: [&Operand; 2],
    size: &Operand,
    read: &[Operand],
) -> Result<(), String> {
    let bytes = match size {
        Operand::Number(16) => 16,
        Operand::Number(n @ (4 | 8)) if !whole => *n as usize,
        _ => return Err("cp.async.cg copies 16 bytes, cp.async.ca 4, 8 or 16".into()),
    };
    let read = match read {
        [] => None,
        [read] => Some(draft.read(read)?),
        _ => return Err("cp.async with more operands than are known here".into()),
    };
    let (to, from) = (draft.place(Space::Shared, to)?, draft.place(Space::Global, from)?);
    draft.emit(Op::Copy { to, from, bytes, read });
    Ok(())
}
