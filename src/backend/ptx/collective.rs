//! What the lanes of a warp do together.

use super::lanes::Lanes;
use super::machine::Machine;
use super::matrix;
use super::program::{Op, Place, Shuffle, Slot, Vote};
use super::transfer;
use super::warp::{Warp, lanes_of};
use super::warpgroup;

/// Runs the instruction; one that is no other's is nothing that has an effect.
pub(super) fn run(warp: &mut Warp, op: &Op, active: u32, machine: &mut Machine) -> Result<(), String> {
    match op {
        Op::WarpBarrier { mask } => members(warp, *mask, active).map(drop),
        Op::Shuffle { .. } => shuffle(warp, op, active),
        Op::Vote { how, to, from, mask } => {
            let members = members(warp, *mask, active)?;
            let holds = warp.ballot(*from, false) & members;
            let value = match how {
                Vote::Any => u64::from(holds != 0),
                Vote::All => u64::from(holds == members),
                Vote::Ballot => holds.into(),
            };
            warp.set(*to, &[value; 32], active);
            Ok(())
        }
        Op::LoadMatrix { to, place, transposed } => load_matrix(warp, to, place, *transposed, active, machine),
        Op::Multiply { d, a, b, c } => {
            warp.whole(active)?;
            let results = matrix::multiply(
                a.map(|slot| warp.register(slot)),
                b.map(|slot| warp.register(slot)),
                c.map(|slot| warp.register(slot)),
            );
            for (&slot, values) in d.iter().zip(&results) {
                warp.set(slot, values, active);
            }
            Ok(())
        }
        Op::WarpgroupFence => {
            warp.whole(active)?;
            warpgroup::fence(warp, &machine.program.sums)
        }
        Op::WarpgroupMultiply { sums, a, b, add, transposed } => {
            warpgroup::multiply(warp, sums, [*a, *b, *add], *transposed, active, machine)
        }
        Op::WarpgroupCommit => warp.whole(active).map(|()| warpgroup::commit(warp)),
        Op::WarpgroupWait(most) => {
            warp.whole(active)?;
            warpgroup::wait(warp, *most, machine)
        }
        Op::Registers(count) => {
            machine.own().engines.check()?;
            match count % 8 == 0 && (24..=256).contains(count) {
                true => warp.whole(active),
                false => Err(format!("{count} registers a thread")),
            }
        }
        _ => Ok(()),
    }
}

/// The lanes that take part by their mask. All of them must be here, and nobody else.
fn members(warp: &Warp, mask: Slot, active: u32) -> Result<u32, String> {
    let members = warp.register(mask);
    for lane in lanes_of(active) {
        let members = members[lane] as u32;
        if members != active {
            return Err(format!("lane {lane} names {members:#010x} to take part, but {active:#010x} are here"));
        }
    }
    Ok(active)
}

/// The lane that each reads from, as the semantics of `shfl.sync` have it.
fn source(how: Shuffle, lane: u32, b: u32, c: u32) -> (u32, bool) {
    let (b, clamp, segment) = (b & 31, c & 31, c >> 8 & 31);
    let least = lane & segment;
    let most = least | (clamp & !segment);
    let (from, found) = match how {
        Shuffle::Up => (lane.wrapping_sub(b), lane as i32 - b as i32 >= most as i32),
        Shuffle::Down => (lane + b, lane + b <= most),
        Shuffle::Butterfly => (lane ^ b, lane ^ b <= most),
        Shuffle::Index => (least | (b & !segment), least | (b & !segment) <= most),
    };
    (if found { from } else { lane }, found)
}

fn shuffle(warp: &mut Warp, op: &Op, active: u32) -> Result<(), String> {
    let Op::Shuffle { how, to, found, from, lane, clamp, mask } = op else { return Ok(()) };
    members(warp, *mask, active)?;
    let (mut values, mut valid): (Lanes, Lanes) = ([0; 32], [0; 32]);
    for this in lanes_of(active) {
        let (b, c) = (warp.register(*lane)[this] as u32, warp.register(*clamp)[this] as u32);
        let (other, inside) = source(*how, this as u32, b, c);
        if active >> other & 1 == 0 {
            return Err(format!("lane {this} reads from lane {other}, which takes no part"));
        }
        values[this] = warp.register(*from)[other as usize];
        valid[this] = inside.into();
    }
    warp.set(*to, &values, active);
    if let Some(found) = found {
        warp.set(*found, &valid, active);
    }
    Ok(())
}

/// Lanes 8j to 8j + 7 give the rows of matrix j.
fn load_matrix(
    warp: &mut Warp,
    to: &[Slot],
    place: &Place,
    transposed: bool,
    active: u32,
    machine: &mut Machine,
) -> Result<(), String> {
    warp.whole(active)?;
    let mut loaded = Vec::new();
    for j in 0..to.len() {
        let mut rows = [[0; 8]; 8];
        for (i, row) in rows.iter_mut().enumerate() {
            let lane = 8 * j + i;
            let bytes = machine.at(place.space, transfer::address(warp, place, lane), 16, 0);
            let bytes = bytes.map_err(|why| format!("lane {lane}: {why}"))?;
            for (element, pair) in row.iter_mut().zip(bytes.chunks_exact(2)) {
                *element = u16::from_le_bytes([pair[0], pair[1]]);
            }
        }
        loaded.push(matrix::distribute(&rows, transposed));
    }
    for (&slot, values) in to.iter().zip(&loaded) {
        warp.set(slot, values, active);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What CUDA promises of its functions, which put width and clamp into one operand.
    #[test]
    fn lanes_are_read_from_as_cuda_says() {
        let width = |width: u32| (32 - width) << 8;
        for lane in 0..32 {
            assert_eq!(source(Shuffle::Butterfly, lane, 3, 31), (lane ^ 3, true));
            assert_eq!(source(Shuffle::Index, lane, 5, 31), (5, true));
            assert_eq!(source(Shuffle::Index, lane, 5, width(4) | 31), (lane / 4 * 4 + 1, true));
            let down = if lane % 8 + 2 < 8 { (lane + 2, true) } else { (lane, false) };
            assert_eq!(source(Shuffle::Down, lane, 2, width(8) | 31), down);
            let up = if lane >= 4 { (lane - 4, true) } else { (lane, false) };
            assert_eq!(source(Shuffle::Up, lane, 4, 0), up);
        }
    }
}
