//! What the lanes of a warp, or the warps of a block, do together, from the text to [`Op`].

use super::draft::Draft;
use super::program::{Op, Shuffle, Slot, Vote};
use super::text::Operand;

/// Adds the instruction if it is one of these.
pub(super) fn decode(draft: &mut Draft, parts: &[&str], operands: &[Operand]) -> Result<bool, String> {
    match (parts, operands) {
        (["bar" | "barrier", "sync", "aligned"] | ["bar" | "barrier", "sync"], [id, threads @ ..]) => {
            barrier(draft, id, threads, false)?;
        }
        (["bar" | "barrier", "arrive", "aligned"] | ["bar" | "barrier", "arrive"], [id, threads @ ..]) => {
            barrier(draft, id, threads, true)?;
        }
        (["bar", "warp", "sync"], [mask]) => {
            let mask = draft.read(mask)?;
            draft.emit(Op::WarpBarrier { mask });
        }
        (["membar" | "fence", ..], []) => draft.emit(Op::Fence),
        (["shfl", "sync", how, "b32"], [to, from, lane, clamp, mask]) => {
            let how = match *how {
                "idx" => Shuffle::Index,
                "up" => Shuffle::Up,
                "down" => Shuffle::Down,
                "bfly" => Shuffle::Butterfly,
                _ => return Ok(false),
            };
            let [from, lane, clamp, mask] = reads(draft, [from, lane, clamp, mask])?;
            let (to, found) = match to {
                Operand::Pair(to, found) => (draft.register(to)?, Some(draft.register(found)?)),
                to => (draft.write(to)?, None),
            };
            draft.emit(Op::Shuffle { how, to, found, from, lane, clamp, mask });
        }
        (["vote", "sync", how, "pred" | "b32"], [to, from, mask]) => {
            let how = match *how {
                "any" => Vote::Any,
                "all" => Vote::All,
                "ballot" => Vote::Ballot,
                _ => return Ok(false),
            };
            let [from, mask] = reads(draft, [from, mask])?;
            let to = draft.write(to)?;
            draft.emit(Op::Vote { how, to, from, mask });
        }
        (["mma", "sync", "aligned", "m16n8k16", "row", "col", "f32", "bf16", "bf16", "f32"], [d, a, b, c]) => {
            let d = list(draft, d, true)?;
            let (a, b, c) = (list(draft, a, false)?, list(draft, b, false)?, list(draft, c, false)?);
            draft.emit(Op::Multiply { d, a, b, c });
        }
        _ => return Ok(false),
    }
    Ok(true)
}

fn reads<const N: usize>(draft: &mut Draft, operands: [&Operand; N]) -> Result<[Slot; N], String> {
    let mut slots = [0; N];
    for (slot, operand) in slots.iter_mut().zip(operands) {
        *slot = draft.read(operand)?;
    }
    Ok(slots)
}

/// The registers of a fragment.
fn list<const N: usize>(draft: &mut Draft, operand: &Operand, written: bool) -> Result<[Slot; N], String> {
    let Operand::Vector(parts) = operand else { return Err("mma takes lists of registers".into()) };
    let slots = if written { draft.write_all(parts) } else { draft.read_all(parts) };
    slots?.try_into().map_err(|slots: Vec<Slot>| format!("a list of {} registers where {N} should stand", slots.len()))
}

fn barrier(draft: &mut Draft, id: &Operand, threads: &[Operand], arrive: bool) -> Result<(), String> {
    let id = draft.read(id)?;
    let threads = match threads {
        [] if arrive => return Err("who arrives without waiting must say for how many threads".into()),
        [] => None,
        [threads] => Some(draft.read(threads)?),
        _ => return Err("a barrier with more operands than are known here".into()),
    };
    draft.emit(Op::Barrier { id, threads, arrive });
    Ok(())
}
