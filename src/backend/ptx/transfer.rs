//! Between registers and memory.

use super::boxes;
use super::copies::Copy;
use super::lanes::Pure;
use super::machine::Machine;
use super::program::{Op, Place, Slot};
use super::warp::{Warp, lanes_of};

/// Runs the instruction in the lanes `active` if it is one of these. Errors name the lane.
pub(super) fn run(warp: &mut Warp, op: &Op, active: u32, machine: &mut Machine) -> Result<bool, String> {
    match op {
        Op::Load { to, place, bytes, signed } => {
            each(active, |lane| load(warp, to, place, *bytes, *signed, lane, machine))
        }
        Op::Store { from, place, bytes } => each(active, |lane| store(warp, from, place, *bytes, lane, machine)),
        Op::Atomic { .. } => each(active, |lane| atomic(warp, op, lane, machine)),
        Op::Copy { to, from, bytes, read } => each(active, |lane| {
            let read = read.map_or(*bytes, |slot| warp.register(slot)[lane] as u32 as usize);
            let copy = Copy { to: address(warp, to, lane), from: address(warp, from, lane), bytes: *bytes, read };
            warp.copies[lane].start(copy, machine)
        }),
        Op::MakeMbarrier { place, count } => each(active, |lane| {
            let count = warp.register(*count)[lane] & 0xffff_ffff;
            machine.own().engines.make(address(warp, place, lane), count)
        }),
        Op::ArriveMbarrier { place, bytes } => each(active, |lane| {
            let bytes = bytes.map_or(0, |bytes| warp.register(bytes)[lane] & 0xffff_ffff);
            machine.own().engines.arrive(address(warp, place, lane), bytes)
        }),
        Op::ArriveRemotely { place } => each(active, |lane| {
            machine.own().engines.check()?;
            let (rank, at) = machine.peer(address(warp, place, lane) & 0xffff_ffff)?;
            machine.blocks[rank].engines.arrive(at, 0)
        }),
        Op::LoadBox { to, map, at, mbarrier, blocks } => each(active, |lane| {
            let at: Vec<u64> = at.iter().map(|&slot| warp.register(slot)[lane]).collect();
            let (to, mbarrier) = (address(warp, to, lane), address(warp, mbarrier, lane));
            let blocks = blocks.map(|slot| warp.register(slot)[lane]);
            boxes::load(machine, to, warp.register(*map)[lane], &at, mbarrier, blocks)
        }),
        Op::Commit => each(active, |lane| {
            warp.copies[lane].commit();
            Ok(())
        }),
        Op::Wait(most) => each(active, |lane| warp.copies[lane].wait(*most, machine)),
        Op::WaitAll => each(active, |lane| warp.copies[lane].wait_all(machine)),
        Op::Unpack { to, from, bits } => {
            let values = *warp.register(*from);
            for (i, &to) in to.iter().enumerate() {
                warp.set(to, &values.map(|value| value >> (i as u32 * bits) & (u64::MAX >> (64 - bits))), active);
            }
            Ok(())
        }
        Op::Pack { to, from, bits } => {
            let mut values = [0; 32];
            for (i, &from) in from.iter().enumerate() {
                for (value, part) in values.iter_mut().zip(warp.register(from)) {
                    *value |= (part & (u64::MAX >> (64 - bits))) << (i as u32 * bits);
                }
            }
            warp.set(*to, &values, active);
            Ok(())
        }
        _ => return Ok(false),
    }?;
    Ok(true)
}

fn each(active: u32, mut f: impl FnMut(usize) -> Result<(), String>) -> Result<(), String> {
    lanes_of(active).try_for_each(|lane| f(lane).map_err(|why| format!("lane {lane}: {why}")))
}

/// Where a lane's access goes. Addresses in shared, local and parameter memory may have 32 bits only.
pub(super) fn address(warp: &Warp, place: &Place, lane: usize) -> u64 {
    warp.register(place.base)[lane].wrapping_add_signed(place.offset)
}

fn load(
    warp: &mut Warp,
    to: &[Slot],
    place: &Place,
    bytes: usize,
    signed: bool,
    lane: usize,
    machine: &mut Machine,
) -> Result<(), String> {
    let from = machine.at(place.space, address(warp, place, lane), bytes * to.len(), warp.first + lane as u32)?;
    for (&to, from) in to.iter().zip(from.chunks_exact(bytes)) {
        let mut value = number(from);
        if signed {
            let unused = 64 - 8 * bytes as u32;
            value = ((value << unused) as i64 >> unused) as u64;
        }
        warp.registers[to as usize][lane] = value;
    }
    Ok(())
}

fn store(
    warp: &Warp,
    from: &[Slot],
    place: &Place,
    bytes: usize,
    lane: usize,
    machine: &mut Machine,
) -> Result<(), String> {
    let to = machine.at(place.space, address(warp, place, lane), bytes * from.len(), warp.first + lane as u32)?;
    for (&from, to) in from.iter().zip(to.chunks_exact_mut(bytes)) {
        to.copy_from_slice(&warp.register(from)[lane].to_le_bytes()[..bytes]);
    }
    Ok(())
}

/// One lane after the other.
fn atomic(warp: &mut Warp, op: &Op, lane: usize, machine: &mut Machine) -> Result<(), String> {
    let Op::Atomic { f: Pure::Two(f), to, place, with, bytes } = op else { return Err("no such function".into()) };
    let at = machine.at(place.space, address(warp, place, lane), *bytes, warp.first + lane as u32)?;
    let old = number(at);
    let new = f(&[old; 32], warp.register(*with))[lane];
    at.copy_from_slice(&new.to_le_bytes()[..*bytes]);
    warp.registers[*to as usize][lane] = old;
    Ok(())
}

/// Up to eight bytes as a number.
fn number(bytes: &[u8]) -> u64 {
    let mut wide = [0; 8];
    wide[..bytes.len()].copy_from_slice(bytes);
    u64::from_le_bytes(wide)
}
