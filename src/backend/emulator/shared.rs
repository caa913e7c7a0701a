//! Shared memory of the block that runs, or of the blocks of a cluster, and the text of a wrong access.

use std::alloc::{Layout, alloc, dealloc};
use std::ffi::c_char;

use super::abi::{self, Access, Range};
use super::block::Block;
use super::granules::GRANULE;
use super::memory::POISON;
use super::races::Use;
use crate::backend::shared_memory::{MOST_HOPPER, most};

/// How much of a block's shared memory may be static.
const STATIC_LIMIT: usize = 48 << 10;
/// Where the dynamic part begins in the window of 18 bits that descriptors of wgmma address.
const WINDOW: usize = 16 << 10;
/// Alignment of the dynamic part, and therefore the granularity of the static part before it.
const ALIGN: usize = 1024;

struct Array {
    site: usize,
    name: &'static str,
    begin: usize,
    bytes: usize,
}

/// Static and dynamic memory of a block are two pieces, so that the sizes of one need not be known before the other is
/// used.
#[derive(Clone, Copy)]
struct Pieces {
    statics: *mut u8,
    dynamic: *mut u8,
}

/// The arrays of the running block, or blocks, which have them at the same places.
#[derive(Default)]
pub(super) struct SharedMemory {
    /// Of as many blocks as have ever run together.
    pieces: Vec<Pieces>,
    /// Those that run now.
    blocks: usize,
    dynamic_bytes: usize,
    /// Both together at most.
    most: usize,
    arrays: Vec<Array>,
    used: usize,
}

impl Drop for SharedMemory {
    fn drop(&mut self) {
        let all = self.pieces.iter().flat_map(|p| [(p.statics, STATIC_LIMIT), (p.dynamic, MOST_HOPPER)]);
        for (piece, bytes) in all {
            if let Ok(layout) = Layout::from_size_align(bytes, ALIGN) {
                // SAFETY: allocated by `piece` with this layout.
                unsafe { dealloc(piece, layout) };
            }
        }
    }
}

fn piece(bytes: usize) -> Result<*mut u8, String> {
    let layout = Layout::from_size_align(bytes, ALIGN).map_err(|e| e.to_string())?;
    // SAFETY: the layout is not empty.
    let piece = unsafe { alloc(layout) };
    if piece.is_null() { Err("no memory for a block's shared memory".into()) } else { Ok(piece) }
}

impl SharedMemory {
    /// Forgets the arrays and fills the dynamic part of each block, whose size is within the limit, with NaN.
    pub(super) fn begin(&mut self, blocks: usize, dynamic_bytes: usize, hopper: bool) -> Result<(), String> {
        self.most = most(hopper);
        while self.pieces.len() < blocks {
            self.pieces.push(Pieces { statics: piece(STATIC_LIMIT)?, dynamic: piece(MOST_HOPPER)? });
        }
        self.arrays.clear();
        self.used = 0;
        (self.blocks, self.dynamic_bytes) = (blocks, dynamic_bytes);
        for pieces in &self.pieces[..blocks] {
            // SAFETY: the launch was checked against the limit.
            unsafe { pieces.dynamic.write_bytes(POISON, dynamic_bytes) };
        }
        Ok(())
    }

    pub(super) fn dynamic(&self, rank: usize) -> *mut u8 {
        self.pieces[rank].dynamic
    }

    fn array(&mut self, rank: usize, site: usize, name: *const c_char, bytes: usize) -> Result<*mut u8, String> {
        // SAFETY: arrays lie within the piece, as checked below; the name is a C string literal.
        unsafe {
            if let Some(array) = self.arrays.iter().find(|a| a.site == site) {
                return Ok(self.pieces[rank].statics.add(array.begin));
            }
            let begin = self.used;
            let end = bytes.checked_next_multiple_of(16).and_then(|b| begin.checked_add(b)).unwrap_or(usize::MAX);
            let name = abi::text(name);
            if end > STATIC_LIMIT {
                return Err(format!(
                    "the shared array `{name}` makes {end} bytes of static shared memory; the limit is {STATIC_LIMIT}"
                ));
            }
            let total = end.next_multiple_of(ALIGN) + self.dynamic_bytes;
            if self.dynamic_bytes > 0 && total > self.most {
                let most = self.most;
                return Err(format!(
                    "static and dynamic shared memory together take {total} bytes; the limit is {most}"
                ));
            }
            self.used = end;
            self.arrays.push(Array { site, name, begin, bytes });
            for pieces in &self.pieces[..self.blocks] {
                pieces.statics.add(begin).write_bytes(POISON, bytes);
            }
            Ok(self.pieces[rank].statics.add(begin))
        }
    }

    /// Bytes that [`offset`](Self::offset) counts of a block: whole granules.
    fn stride(&self) -> usize {
        STATIC_LIMIT + self.dynamic_bytes.next_multiple_of(GRANULE)
    }

    /// Bytes that [`offset`](Self::offset) counts.
    pub(super) fn extent(&self) -> usize {
        self.blocks * self.stride()
    }

    /// The block that an address in shared memory is of, and where it lies there, the static part first.
    fn find(&self, address: usize) -> Option<(usize, usize)> {
        let within = |piece: *mut u8, bytes: usize| address.checked_sub(piece as usize).filter(|&at| at < bytes);
        self.pieces[..self.blocks].iter().enumerate().find_map(|(rank, pieces)| {
            let dynamic = || within(pieces.dynamic, self.dynamic_bytes).map(|at| STATIC_LIMIT + at);
            within(pieces.statics, STATIC_LIMIT).or_else(dynamic).map(|at| (rank, at))
        })
    }

    /// Where an address lies in the shared memory of all blocks, one after the other.
    pub(super) fn offset(&self, address: usize) -> Option<usize> {
        self.find(address).map(|(rank, at)| rank * self.stride() + at)
    }

    /// The address that another block has in the place of this one.
    pub(super) fn peer(&self, address: usize, rank: usize) -> Option<usize> {
        let (_, at) = self.find(address)?;
        let Pieces { statics, dynamic } = self.pieces[rank];
        Some(match at.checked_sub(STATIC_LIMIT) {
            Some(at) => dynamic as usize + at,
            None => statics as usize + at,
        })
    }

    /// An address as descriptors hold it: arrays first, then the dynamic part.
    fn window(&self, address: usize) -> Option<usize> {
        let (_, at) = self.find(address)?;
        match at.checked_sub(STATIC_LIMIT) {
            Some(at) => Some(WINDOW + at),
            None => Some(at).filter(|&at| at < WINDOW),
        }
    }

    /// The address of a unit of 16 bytes that a descriptor of this block names, if there is shared memory.
    pub(super) fn unwindow(&self, at: u32, rank: usize) -> Option<usize> {
        let Pieces { statics, dynamic } = self.pieces[rank];
        match (at as usize).checked_sub(WINDOW) {
            Some(at) => (at + 16 <= self.dynamic_bytes).then(|| dynamic as usize + at),
            None => (at as usize + 16 <= self.used).then(|| statics as usize + at as usize),
        }
    }

    /// What is there that [`offset`](Self::offset) counts so.
    pub(super) fn place_of(&self, offset: usize) -> String {
        self.named(offset / self.stride(), offset % self.stride())
    }

    /// What an address within shared memory is called.
    pub(super) fn place(&self, address: usize) -> String {
        self.find(address).map_or_else(|| format!("{address:#x}"), |(rank, at)| self.named(rank, at))
    }

    fn named(&self, rank: usize, at: usize) -> String {
        let whose = if self.blocks > 1 { format!(" of block {rank} of the cluster") } else { String::new() };
        match self.arrays.iter().find(|a| (a.begin..a.begin + a.bytes).contains(&at)) {
            Some(array) => format!("byte {} of `{}`{whose}", at - array.begin, array.name),
            None => format!("byte {} of the dynamic part{whose}", at.wrapping_sub(STATIC_LIMIT)),
        }
    }

    fn describe(&self, range: Range) -> String {
        let bytes = range.end - range.begin;
        let at = self.find(range.begin as usize).map_or(usize::MAX, |(_, at)| at);
        match self.arrays.iter().find(|a| a.begin == at && a.bytes as u64 == bytes) {
            Some(array) => format!("the shared array `{}` ({bytes} bytes)", array.name),
            None => format!("the dynamic shared memory ({bytes} bytes)"),
        }
    }
}

impl Block {
    /// The block's copy of a static shared array.
    pub(super) unsafe fn static_shared(block: *mut Block, site: usize, name: *const c_char, bytes: usize) -> *mut u8 {
        let rank = unsafe { (*block).cluster.rank((*block).current) } as usize;
        match unsafe { (*block).shared.array(rank, site, name, bytes) } {
            Ok(at) => at,
            Err(why) => {
                unsafe { Block::fail(block, why) };
                std::ptr::null_mut()
            }
        }
    }

    /// The current thread uses shared memory, which it may. Stops the block if that is a race.
    pub(super) unsafe fn shared_access(block: *mut Block, address: usize, bytes: usize, how: Use) {
        let b = unsafe { &mut *block };
        let Some(at) = b.shared.offset(address) else { return };
        if b.granules.on && how != Use::Box {
            let wrong = b.granules.used(b.current, at, bytes, how != Use::Read, &b.races);
            if let Some(why) = wrong {
                let why = format!("{how} {bytes} bytes of shared memory, {}, {why}", b.shared.place(address));
                return unsafe { Block::fail(block, why) };
            }
        }
        let Some((other, does)) = b.races.note(b.current, at, bytes, how) else { return };
        let why = b.races.race(&b.shared.place(address), bytes, how, other, does);
        unsafe { Block::fail(block, why) };
    }

    /// An address in shared memory as descriptors hold it.
    pub(super) unsafe fn shared_window(block: *mut Block, address: usize) -> u32 {
        match unsafe { (*block).shared.window(address) } {
            Some(at) => at as u32,
            None => {
                let why = "describes a tile behind the first 16 KiB of static arrays, which the emulator does not know";
                unsafe { Block::fail(block, why.into()) };
                0
            }
        }
    }

    /// Stops the block because of a wrong access.
    pub(super) unsafe fn bad_access(block: *mut Block, access: Access) {
        unsafe {
            let why = (*block).describe(&access);
            Block::fail(block, why);
        }
    }

    fn describe(&self, access: &Access) -> String {
        let Access { address, bytes, align, range, shared, read } = *access;
        let what = if read { "reads" } else { "accesses" };
        let space = if shared { "shared" } else { "global" };
        let access = format!("{what} {bytes} bytes of {space} memory at {address:#x}");
        if address == 0 {
            return format!("{access}: the buffer is null");
        }
        if !address.is_multiple_of(u64::from(align)) {
            return format!("{access}, which is no multiple of {align}");
        }
        // SAFETY: the grid outlives the run.
        let grid = unsafe { &*self.grid };
        let inside = range != Range::default();
        let near = if inside { Some(range) } else { grid.memory.nearest(address, grid.turn) };
        let Some(near) = near else { return format!("{access}: there is no allocation at all") };
        let place = if address >= near.end {
            format!("{} bytes past the end of", address - near.end)
        } else if address < near.begin {
            format!("{} bytes before", near.begin - address)
        } else {
            format!("{} bytes before the end of", near.end - address)
        };
        let owner = if shared { self.shared.describe(near) } else { grid.describe(near) };
        let nearest = if inside { "" } else { "in no live allocation; the nearest: " };
        format!("{access}: {nearest}{place} {owner}")
    }
}
