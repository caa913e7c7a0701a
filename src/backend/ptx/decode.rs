//! From the statements of a kernel to its program: registers, arrays and labels become numbers, opcodes what they do.
//!
//! An opcode that is not known is an error which names it: nothing is passed over.

use std::collections::HashMap;

use super::draft::Draft;
use super::lanes::{Bits, Pure, lanes};
use super::layout::laid_out;
use super::module::Function;
use super::program::{Op, Program, Slot};
use super::text::{Operand, Statement};
use super::{convert, decode_hopper, decode_memory, decode_warp, float, integer};

/// The program of a kernel. `arrays` says where the module's arrays in global memory are.
pub(super) fn decode(function: &Function, arrays: &HashMap<String, u64>) -> Result<Program, String> {
    let mut draft = Draft::new(function, arrays);
    let mut begins = Vec::new();
    for (i, statement) in function.statements.iter().enumerate() {
        begins.push(draft.code.len());
        draft.statement = i as u32;
        instruction(&mut draft, statement).map_err(|why| format!("`{}`: {why}", statement.text))?;
    }
    begins.push(draft.code.len());
    draft.guard = None;
    draft.emit(Op::Exit);
    // So far branches name statements.
    for instruction in &mut draft.code {
        match &mut instruction.op {
            Op::Branch(target) => *target = begins[*target],
            Op::BranchTable { targets, .. } => targets.iter_mut().for_each(|target| *target = begins[*target]),
            _ => {}
        }
    }
    let code = laid_out(draft.code);
    let mut sums: Vec<Vec<Slot>> = Vec::new();
    for instruction in &code {
        match &instruction.op {
            Op::WarpgroupMultiply { sums: slots, .. } if !sums.contains(slots) => sums.push(slots.clone()),
            _ => {}
        }
    }
    Ok(Program {
        sums,
        code,
        slots: draft.slots as usize,
        constants: draft.constants,
        specials: draft.specials,
        param_bytes: function.params.size,
        shared_bytes: function.shared.size,
        local_bytes: function.local.size,
        max_threads: function.max_threads.unwrap_or(1024),
        cluster: function.cluster.unwrap_or(1),
        texts: function.statements.iter().map(|s| s.text.clone()).collect(),
    })
}

fn instruction(draft: &mut Draft, statement: &Statement) -> Result<(), String> {
    draft.guard = None;
    if let Some((name, negated)) = &statement.guard {
        draft.guard = Some((draft.register(name)?, *negated));
    }
    let parts: Vec<&str> = statement.opcode.split('.').collect();
    let operands = statement.operands.as_slice();
    match (parts.as_slice(), operands) {
        (["bra", ..], [Operand::Name(label)]) => {
            let target = draft.label(label)?;
            draft.emit(Op::Branch(target));
        }
        (["brx", "idx", ..], [which, Operand::Name(table)]) => {
            let names = draft.function.tables.get(table).ok_or(format!("there is no table {table}"))?;
            let targets = names.iter().map(|name| draft.label(name)).collect::<Result<_, _>>()?;
            let which = draft.read(which)?;
            draft.emit(Op::BranchTable { which, targets });
        }
        (["ret" | "exit", ..], []) => draft.emit(Op::Exit),
        (["trap"], []) => draft.emit(Op::Trap),
        (["mov", ty], [to, from]) => moved(draft, ty, to, from)?,
        (["mad", "lo", "cc", "u32"] | ["madc", "hi", "u32"], [to, from @ ..]) => {
            long_multiplication(draft, parts[0] == "mad", to, from)?;
        }
        (["setp", how @ .., ty], [to, from @ ..]) => compared(draft, how, ty, to, from)?,
        (["cvt", how @ .., to_type, from_type], [to, from @ ..]) => {
            let f = convert::find(&how.join("."), to_type, from_type).ok_or("this conversion is not known here")?;
            let to = draft.write(to)?;
            draft.apply(f, to, from)?;
        }
        _ => {
            for decode in [decode_hopper::decode, decode_memory::decode, decode_warp::decode] {
                if decode(draft, &parts, operands)? {
                    return Ok(());
                }
            }
            let unknown = || format!("`{}` is not known here", statement.opcode);
            let (ty, how) = parts.split_last().ok_or_else(unknown)?;
            let how = how.join(".");
            let f = integer::find(&how, ty).or_else(|| float::find(&how, ty)).ok_or_else(unknown)?;
            let [to, from @ ..] = operands else { return Err("there is no operand".into()) };
            let to = draft.write(to)?;
            draft.apply(f, to, from)?;
        }
    }
    Ok(())
}

/// `mov` copies, takes an address, and packs and unpacks registers.
fn moved(draft: &mut Draft, ty: &str, to: &Operand, from: &Operand) -> Result<(), String> {
    let width = match ty {
        "pred" => 1,
        _ => ty.get(1..).and_then(|bits| bits.parse::<u32>().ok()).ok_or_else(|| format!("`{ty}` is no type"))?,
    };
    match (to, from) {
        (Operand::Vector(parts), from) if !parts.is_empty() => {
            let (to, from) = (draft.write_all(parts)?, draft.read(from)?);
            let bits = width / to.len() as u32;
            draft.emit(Op::Unpack { to, from, bits });
            Ok(())
        }
        (to, Operand::Vector(parts)) if !parts.is_empty() => {
            let (from, to) = (draft.read_all(parts)?, draft.write(to)?);
            let bits = width / from.len() as u32;
            draft.emit(Op::Pack { to, from, bits });
            Ok(())
        }
        (to, from) => {
            let f = match width {
                1 => lanes!(|a: bool| a),
                16 => lanes!(|a: u16| a),
                32 => lanes!(|a: u32| a),
                64 => lanes!(|a: u64| a),
                _ => return Err(format!("`{ty}` is not known here")),
            };
            let to = draft.write(to)?;
            draft.apply(f, to, std::slice::from_ref(from))
        }
    }
}

/// `mad.lo.cc` keeps what goes beyond 32 bits of its sum as the carry, and `madc.hi` adds it.
fn long_multiplication(draft: &mut Draft, low: bool, to: &Operand, from: &[Operand]) -> Result<(), String> {
    let [a, b, c] = draft.read_all(from)?[..] else { return Err("a product and sum of other than three".into()) };
    let to = draft.write(to)?;
    if low {
        let carry = draft.make_carry();
        let f = lanes!(|a: u32, b: u32, c: u32| (u64::from(a.wrapping_mul(b)) + u64::from(c)) >> 32);
        draft.emit(Op::Pure { f, to: carry, from: [a, b, c, c] });
        draft.emit(Op::Pure {
            f: lanes!(|a: u32, b: u32, c: u32| a.wrapping_mul(b).wrapping_add(c)),
            to,
            from: [a, b, c, c],
        });
    } else {
        let carry = draft.carry.ok_or("there is no carry")?;
        let f = lanes!(|a: u32, b: u32, c: u32, carry: u32| {
            ((u64::from(a) * u64::from(b)) >> 32).wrapping_add(u64::from(c) + u64::from(carry)) as u32
        });
        draft.emit(Op::Pure { f, to, from: [a, b, c, carry] });
    }
    Ok(())
}

/// `setp.lt.and.s32 p|q, a, b, c`: p is the comparison joined with c, q its contrary joined with c.
fn compared(draft: &mut Draft, how: &[&str], ty: &str, to: &Operand, from: &[Operand]) -> Result<(), String> {
    let unknown = "this comparison is not known here";
    let (how, join) = match how {
        [how] => (how, None),
        [how, join @ ("and" | "or" | "xor")] => (how, integer::find(join, "pred")),
        _ => return Err(unknown.into()),
    };
    let f = integer::compare(how, ty).or_else(|| float::compare(how, ty)).ok_or(unknown)?;
    if let (Operand::Name(_), None) = (to, join) {
        let to = draft.write(to)?;
        return draft.apply(f, to, from);
    }
    let (to, contrary) = match to {
        Operand::Pair(to, contrary) => (draft.register(to)?, Some(draft.register(contrary)?)),
        to => (draft.write(to)?, None),
    };
    let [a, b, third @ ..] = from else { return Err("a comparison of less than two operands".into()) };
    // Nothing is written before all is read: an operand may be a result too.
    let (found, opposite) = (draft.fresh(), draft.fresh());
    draft.apply(f, found, &[a.clone(), b.clone()])?;
    draft.emit(Op::Pure { f: lanes!(|a: bool| !a), to: opposite, from: [found; 4] });
    let joined = match (join, third) {
        (Some(join), [third]) => {
            let third = draft.read(third)?;
            for slot in [found, opposite] {
                draft.emit(Op::Pure { f: join, to: slot, from: [slot, third, third, third] });
            }
            true
        }
        (None, []) => true,
        _ => false,
    };
    if !joined {
        return Err("a comparison with other operands than it takes".into());
    }
    for (to, from) in [(Some(to), found), (contrary, opposite)] {
        if let Some(to) = to {
            draft.emit(Op::Pure { f: lanes!(|a: bool| a), to, from: [from; 4] });
        }
    }
    Ok(())
}
