//! Boxes of tensors that the copy engine brings, by the PTX ISA ("cp.async.bulk.tensor", "Tensors").
//!
//! A box destroys its destination when it is asked for, and arrives when no warp can go on without it, the last first:
//! who has not waited finds NaN. That is as late as the ISA allows.

use super::engines::Flying;
use super::machine::Machine;
use super::memory::POISON;
use super::program::{PEER, Space};
use crate::backend::tensor_map::{AXES, Plain};

/// Asks for the box at `at` of the tensor that the map at `map` describes, for shared memory from `to` on: of this
/// block, or of each of the cluster's that has a bit in the mask `blocks` ("the data is copied to the same offset").
pub(super) fn load(
    machine: &mut Machine,
    to: u64,
    map: u64,
    at: &[u64],
    mbarrier: u64,
    blocks: Option<u64>,
) -> Result<(), String> {
    machine.own().engines.check()?;
    let mut bytes = [0; 128];
    for (i, half) in bytes.chunks_exact_mut(64).enumerate() {
        half.copy_from_slice(machine.at(Space::Generic, map + 64 * i as u64, 64, 0)?);
    }
    let map = Plain::read(&bytes)?;
    if map.axes != at.len() {
        return Err(format!("{} coordinates for a tensor of {} dimensions", at.len(), map.axes));
    }
    machine.memory.at(map.address, map.span() as usize)?;
    if !to.is_multiple_of(128) {
        return Err(format!("a box goes to a multiple of 128 bytes, and {to} is none"));
    }
    let mut place = [0; AXES];
    // Coordinates are signed, and may lie outside.
    place.iter_mut().zip(at).for_each(|(place, at)| *place = i64::from(*at as i32));
    let mask = blocks.map_or(1 << machine.rank, |mask| mask & 0xffff);
    if mask == 0 {
        return Err("a box for no block of the cluster".into());
    }
    for rank in (0..16).filter(|rank| mask >> rank & 1 == 1) {
        let (rank, _) = machine.peer((rank + 1) * PEER)?;
        let own = &mut machine.blocks[rank];
        own.engines.is_made(mbarrier)?;
        let (size, end) = (own.shared.len(), to + map.box_bytes() as u64);
        let room = own.shared.get_mut(to as usize..end as usize);
        room.ok_or_else(|| format!("a box for bytes {to} to {end} of {size} of shared memory"))?.fill(POISON);
        machine.flying.push(Flying { rank, to, map, at: place, mbarrier });
    }
    Ok(())
}

/// Has one of the boxes under way arrive, if there is one.
pub(super) fn deliver(machine: &mut Machine) -> Result<bool, String> {
    let Some(Flying { rank, to, map, at, mbarrier }) = machine.flying.pop() else { return Ok(false) };
    let count = map.box_bytes() / 2;
    for number in 0..count {
        // The place of an element in the box, the innermost dimension first, and in the tensor.
        let (mut rest, mut from, mut inside) = (number as i64, map.address as i64, true);
        for (axis, first) in at.iter().enumerate() {
            let extent = i64::from(map.size[axis]);
            let coordinate = first + rest % extent;
            rest /= extent;
            inside &= coordinate >= 0 && coordinate < map.extents[axis] as i64;
            from += coordinate * map.strides[axis] as i64;
        }
        let value = match inside {
            true => [machine.memory.at(from as u64, 1)?[0], machine.memory.at(from as u64 + 1, 1)?[0]],
            false => [0, 0],
        };
        let mut place = to as usize + 2 * number;
        if map.swizzled {
            // "128-byte swizzle": of each 1024 bytes, 16-byte chunk c of 128-byte row r is chunk c xor r.
            let (row, chunk) = (place / 128 % 8, place / 16 % 8);
            place = place / 128 * 128 + (chunk ^ row) * 16 + place % 16;
        }
        machine.blocks[rank].shared[place..place + 2].copy_from_slice(&value);
    }
    machine.blocks[rank].engines.came(mbarrier, map.box_bytes() as u64)?;
    Ok(true)
}
