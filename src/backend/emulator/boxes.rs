//! Boxes of tensors that the copy engine brings to shared memory: at once, or as late as can be; to several blocks of a
//! cluster at different times.

use super::abi::BoxLoad;
use super::block::Block;
use super::granules::{BoxLine, GRANULE};
use super::memory::POISON;
use super::order::Order;
use super::races::Use;
use crate::backend::tensor_map::{AXES, Plain};

/// One that is under way.
#[derive(Clone, Copy)]
pub(super) struct Pending {
    to: usize,
    map: Plain,
    at: [i64; AXES],
    mbarrier: usize,
    /// The phase that counts its bytes.
    phase: u32,
    thread: u32,
}

impl Pending {
    /// Copies the box, line by line.
    ///
    /// # Safety
    /// The tensor lies within an allocation, and the box within shared memory.
    unsafe fn perform(&self) {
        let Plain { address, size, extents, strides, swizzled, .. } = self.map;
        let line = size[0] as usize * 2;
        let lines: u32 = size[1..].iter().product();
        for number in 0..lines {
            // Which line of the box this is, and whether the tensor has it.
            let (mut rest, mut from, mut inside) = (number, address, true);
            for axis in 1..AXES {
                let at = self.at[axis] + i64::from(rest % size[axis]);
                rest /= size[axis];
                inside &= (0..extents[axis] as i64).contains(&at);
                from = from.wrapping_add((at as u64).wrapping_mul(strides[axis]));
            }
            for unit in 0..line / GRANULE {
                let at = self.to + number as usize * line + unit * GRANULE;
                let to = if swizzled { at ^ (at >> 3 & 0x70) } else { at } as *mut u8;
                for element in 0..GRANULE / 2 {
                    let x = self.at[0] + (unit * 8 + element) as i64;
                    let value = match inside && (0..extents[0] as i64).contains(&x) {
                        true => unsafe { (from.wrapping_add(x as u64 * 2) as *const u16).read() },
                        false => 0,
                    };
                    unsafe { to.cast::<u16>().add(element).write(value) };
                }
            }
        }
    }
}

impl Block {
    /// The current thread starts to load a box.
    pub(super) unsafe fn tensor_load(block: *mut Block, load: BoxLoad) {
        let pending = match unsafe { Block::box_of(block, &load) } {
            Ok(pending) => pending,
            Err(why) => return unsafe { Block::fail(block, format!("loads a box: {why}")) },
        };
        let own = unsafe { (*block).cluster.rank((*block).current) };
        let targets = if load.blocks == 0 { 1 << own } else { load.blocks };
        // A block that there is not is named where its memory is looked for.
        for rank in (0..u32::BITS).filter(|rank| targets >> rank & 1 == 1) {
            let (Some(to), Some(barrier)) =
                (unsafe { (Block::peer(block, load.to, rank), Block::peer(block, load.barrier, rank)) })
            else {
                return;
            };
            unsafe { Block::load_to(block, Pending { to: to as usize, ..pending }, barrier) };
        }
    }

    /// The current thread starts to load a box to one of the blocks.
    unsafe fn load_to(block: *mut Block, pending: Pending, barrier: u64) {
        let Some(i) = (unsafe { Block::mbarrier(block, barrier) }) else { return };
        let b = unsafe { &mut *block };
        let phase = b.mbarriers[i].phase;
        let (bytes, thread, swizzled) = (pending.map.box_bytes(), b.current, pending.map.swizzled);
        let pending = Pending { mbarrier: i, phase, ..pending };
        let watched = if b.races.on { bytes } else { 0 };
        let line_bytes = pending.map.size[0] as usize * 2;
        for at in (pending.to..pending.to + watched).step_by(GRANULE) {
            let Some(number) = b.shared.offset(at).map(|offset| offset / GRANULE) else { continue };
            unsafe { Block::shared_access(block, at, GRANULE, Use::Box) };
            let line = (at - pending.to) / line_bytes;
            let line = BoxLine { number: line as u32, last: (line + 1) * line_bytes == bytes };
            let wrong = b.granules.load(thread, number, (i, phase + 1), swizzled, line, &b.races);
            if let Some(why) = wrong {
                let why = format!("loads a box to shared memory, {}, {why}", b.shared.place(at));
                return unsafe { Block::fail(block, why) };
            }
        }
        let late = match unsafe { (*b.grid).order } {
            Order::Early => false,
            Order::Late => true,
            Order::Shuffled(_) => b.random.next() >> 63 == 1,
        };
        if late {
            unsafe { (pending.to as *mut u8).write_bytes(POISON, bytes) };
            b.boxes.push(pending);
        } else {
            unsafe { Block::arrived(block, pending) };
            unsafe { Block::stop_if_accused(block) };
        }
    }

    /// Reads and checks what a load says.
    unsafe fn box_of(block: *mut Block, load: &BoxLoad) -> Result<Pending, String> {
        let b = unsafe { &*block };
        if !b.hopper() {
            return Err("the copy engine is Hopper's, and this device is none".into());
        }
        if !load.map.addr().is_multiple_of(64) {
            return Err("its tensor map is not at a multiple of 64".into());
        }
        let map = Plain::read(unsafe { std::slice::from_raw_parts(load.map, 128) })?;
        if map.axes != load.axes as usize {
            return Err(format!("it names {} coordinates of a tensor with {} axes", load.axes, map.axes));
        }
        let (begin, span) = (map.address, map.span());
        let grid = unsafe { &*b.grid };
        let range = grid.memory.find(begin, grid.turn);
        if range.is_none_or(|range| range.end - begin < span) {
            return Err(format!("its tensor of {span} bytes at {begin:#x} is not all in one live allocation"));
        }
        let bytes = map.box_bytes();
        if load.to + bytes as u64 > load.end {
            return Err(format!("its {bytes} bytes go beyond the shared array that it is loaded to"));
        }
        if map.swizzled && !load.to.is_multiple_of(1024) {
            return Err("a swizzled box is loaded to a multiple of 1024 bytes".into());
        }
        let mut at = [0; AXES];
        for (i, at) in at.iter_mut().enumerate().take(map.axes) {
            *at = i64::from(unsafe { load.at.add(i).read() });
        }
        Ok(Pending { to: load.to as usize, map, at, mbarrier: 0, phase: 0, thread: b.current })
    }

    /// A box comes to shared memory, and its bytes to the mbarrier.
    unsafe fn arrived(block: *mut Block, pending: Pending) {
        unsafe { pending.perform() };
        let b = unsafe { &mut *block };
        let (i, bytes) = (pending.mbarrier, pending.map.box_bytes());
        let now = b.mbarriers[i].phase;
        if now != pending.phase {
            let why = format!(
                "loaded a box of {bytes} bytes in phase {} of its mbarrier, which ended without them: fewer were \
                 announced",
                pending.phase
            );
            return b.accuse(pending.thread, why);
        }
        unsafe { Block::mbarrier_bytes(block, i, bytes) };
    }

    /// Lets one of the boxes under way arrive, if there are any: the last, or any.
    pub(super) unsafe fn deliver(block: *mut Block) -> bool {
        let b = unsafe { &mut *block };
        let count = b.boxes.len();
        if count == 0 {
            return false;
        }
        let i = match unsafe { (*b.grid).order } {
            Order::Shuffled(_) => b.random.below(count as u64) as usize,
            _ => count - 1,
        };
        let pending = b.boxes.remove(i);
        unsafe { Block::arrived(block, pending) };
        true
    }
}
