//! Races in shared memory: two threads of a block, or of a cluster, that use the same bytes, one of them to write, with
//! nothing between that orders them. Found in any order of threads, as what counts is who waited for whom, and not who
//! came first.
//!
//! Each warp has a clock that goes on at every barrier and `__syncwarp`, and remembers up to which clock of each other
//! warp it has waited for. An access is stamped with thread and clock (FastTrack, Flanagan & Freund 2009, doi
//! 10.1145/1542476.1542490, with warps in place of threads and lanes told apart by the warp's own clock). Shuffles and
//! `mma` order nothing, as on a GPU. A copy of cp.async writes when it is issued and again when it is waited for;
//! whoever uses its bytes in between is in its way.

use std::collections::HashMap;
use std::fmt;

/// How many bytes may share a stamp, by the power of two: whole vectors, pairs of elements, an element, and half of
/// one, for no element is smaller that threads write side by side.
const GRAINS: [u32; 4] = [4, 3, 2, 1];
const WARPS: usize = 32;
/// What has a clock: warps, and, for what goes on beside them, mbarriers, whose clock counts phases, and the products
/// of each warp, whose clock counts groups.
const CLOCKS: usize = 3 * WARPS;
/// The clock of an mbarrier.
pub(super) const fn of_mbarrier(number: usize) -> usize {
    WARPS + number
}
/// The clock of a warp's groups of products.
pub(super) const fn of_groups(warp: usize) -> usize {
    2 * WARPS + warp
}
/// As many mbarriers as have a clock.
pub(super) const MBARRIERS: usize = WARPS;
/// In place of a lane: several of the warp.
const MANY: u8 = u8::MAX;

/// Who used a place, and when. Clock 0: nobody.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Stamp {
    clock: u32,
    warp: u8,
    lane: u8,
}

/// How a thread uses shared memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Use {
    Read,
    Write,
    /// Issues an asynchronous copy to it.
    Copy,
    /// Has waited for that copy.
    Copied,
    /// Has the copy engine write a box there. Who may use it then is the mbarrier's to say (`granules`).
    Box,
}

impl fmt::Display for Use {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Use::Read => "reads",
            Use::Write => "writes",
            Use::Copy => "copies to",
            Use::Copied => "has copied to",
            Use::Box => "loads a box to",
        })
    }
}

/// `seen` is known to `joined` too.
fn join(joined: &mut Seen, seen: &Seen) {
    joined.iter_mut().zip(seen).for_each(|(joined, seen)| *joined = (*joined).max(*seen));
}

/// What is known of bytes that share their stamps.
#[derive(Debug, Clone, Copy, Default)]
struct Cell {
    written: Stamp,
    /// A copy that nobody has waited for.
    copied: Stamp,
    /// One more than an index of [`Cells::readers`]; 0: none.
    readers: u32,
    /// The latest clock of those there; 0: nobody has read since, or one warp after the other, and what is there is of
    /// no use.
    latest: u32,
}

/// All that is known, if every access takes whole grains of a size.
#[derive(Default)]
struct Cells {
    all: Vec<Cell>,
    /// Who read each of them since it was written; of several warps that do not know of each other, the last, and all
    /// in `readers`.
    read: Vec<Stamp>,
    readers: Vec<[Stamp; WARPS]>,
}

impl Cells {
    fn resize(&mut self, count: usize) {
        self.all.resize(count.max(self.all.len()), Cell::default());
        self.read.resize(self.all.len(), Stamp::default());
    }

    /// The same of grains that have so many parts.
    fn refined(&self, parts: usize) -> Cells {
        let mut finer = Cells::default();
        for (cell, read) in self.all.iter().zip(&self.read) {
            for _ in 0..parts {
                finer.readers.extend(cell.readers.checked_sub(1).map(|i| self.readers[i as usize]));
                let readers = if cell.readers > 0 { finer.readers.len() as u32 } else { 0 };
                finer.all.push(Cell { readers, ..*cell });
                finer.read.push(*read);
            }
        }
        finer
    }
}

/// Up to which clock of each warp, and of what else has one, what was done is over.
pub(super) type Seen = [u32; CLOCKS];
pub(super) const NOTHING: Seen = [0; CLOCKS];

/// What the running block's threads did to its shared memory.
#[derive(Default)]
pub(super) struct Races {
    pub(super) on: bool,
    /// For each of [`GRAINS`], which of them is in use, and the one that each kernel needed: what another kernel left
    /// in them is over.
    cells: [Cells; GRAINS.len()],
    grain: usize,
    needed: HashMap<&'static str, usize>,
    kernel: &'static str,
    seen: Vec<Seen>,
    /// Of each warp the lanes that have passed a barrier that the others have yet to come to: their clock is one ahead.
    ahead: Vec<u32>,
    /// The latest clock of all: what another block did is over.
    latest: u32,
    /// That of the last block's end.
    before: u32,
    /// Threads of each block of the cluster, whose threads and warps are counted through.
    pub(super) each: u32,
}

impl Races {
    /// A block of the kernel, or a cluster of blocks of `each` threads, of so many warps and bytes begins.
    pub(super) fn begin(&mut self, on: bool, kernel: &'static str, warps: usize, each: u32, bytes: usize) {
        (self.on, self.each) = (on, each);
        if !on {
            return;
        }
        self.kernel = kernel;
        self.grain = self.needed.get(kernel).copied().unwrap_or(0);
        self.cells[self.grain].resize(bytes.div_ceil(1 << GRAINS[self.grain]));
        self.ahead.clear();
        self.ahead.resize(warps, 0);
        self.seen.clear();
        let mut seen = NOTHING;
        seen[..WARPS].fill(self.latest);
        self.seen.resize(warps, seen);
        self.before = self.latest;
        self.latest += 1;
        for (warp, seen) in self.seen.iter_mut().enumerate() {
            seen[warp] = self.latest;
        }
    }

    /// A thread passes a barrier without waiting: `joined` learns what its warp did before.
    pub(super) fn pass(&mut self, thread: u32, joined: &mut Seen) {
        let (warp, lane) = ((thread / 32) as usize, thread % 32);
        if !self.on {
            return;
        }
        self.ahead[warp] |= 1 << lane;
        if self.ahead[warp] == u32::MAX {
            join(joined, &self.seen[warp]);
            self.advance(warp);
        }
    }

    /// Threads that waited for each other, and for what `joined` knows of, go on: all of that is over for them.
    pub(super) fn meet(&mut self, waiting: &[u32], mut joined: Seen) {
        if !self.on {
            return;
        }
        let warps = waiting.iter().fold(0u32, |warps, thread| warps | 1 << (thread / 32));
        let met = || (0..WARPS).filter(move |warp| warps >> warp & 1 == 1);
        met().for_each(|warp| join(&mut joined, &self.seen[warp]));
        for warp in met() {
            let own = self.seen[warp][warp];
            self.seen[warp] = joined;
            self.seen[warp][warp] = own;
            self.advance(warp);
        }
    }

    /// A thread makes known, to whoever is to wait, what its warp did before it last met, and knows of others.
    pub(super) fn signal(&self, thread: u32, joined: &mut Seen) {
        if let Some(seen) = self.seen.get((thread / 32) as usize).filter(|_| self.on) {
            let mut known = *seen;
            known[(thread / 32) as usize] -= 1;
            join(joined, &known);
        }
    }

    /// The clock of a thread's warp up to which [`signal`](Self::signal) makes known what it did.
    pub(super) fn told(&self, thread: u32) -> u32 {
        let warp = (thread / 32) as usize;
        self.seen.get(warp).map_or(0, |seen| seen[warp] - 1)
    }

    /// A thread's warp learns what `known` knows.
    pub(super) fn learn(&mut self, thread: u32, known: &Seen) {
        let warp = (thread / 32) as usize;
        if let Some(seen) = self.seen.get_mut(warp).filter(|_| self.on) {
            let own = seen[warp];
            join(seen, known);
            seen[warp] = own;
        }
    }

    /// A thread's warp has waited for a clock that is no warp's.
    pub(super) fn reach(&mut self, thread: u32, clock: usize, count: u32) {
        if let Some(seen) = self.seen.get_mut((thread / 32) as usize).filter(|_| self.on) {
            seen[clock] = seen[clock].max(count);
        }
    }

    /// Whether that is over for a thread.
    pub(super) fn knows(&self, thread: u32, clock: usize, count: u32) -> bool {
        !self.on || self.seen[(thread / 32) as usize][clock] >= count
    }

    /// When a thread does something now.
    pub(super) fn stamp(&self, thread: u32) -> Stamp {
        let warp = (thread / 32) as usize;
        let clock = self.seen.get(warp).map_or(0, |seen| seen[warp] + (self.ahead[warp] >> (thread % 32) & 1));
        Stamp { clock, warp: warp as u8, lane: (thread % 32) as u8 }
    }

    /// Whether what was done then is over for a thread.
    pub(super) fn is_over(&self, thread: u32, then: Stamp) -> bool {
        let now = self.stamp(thread);
        match then.warp == now.warp {
            _ if !self.on => true,
            true => then.clock < now.clock || then.lane == now.lane,
            false => then.clock <= self.seen[now.warp as usize][then.warp as usize],
        }
    }

    /// Who wrote a place last, or copies to it, if that is not over for a thread.
    pub(super) fn unread(&self, thread: u32, at: usize, bytes: usize) -> Option<(Stamp, Use)> {
        let grain = 1 << GRAINS[self.grain];
        self.cells[self.grain].all[at / grain..(at + bytes).div_ceil(grain)].iter().find_map(|cell| match cell {
            cell if cell.copied.clock > self.before => Some((cell.copied, Use::Copy)),
            cell => (!self.is_over(thread, cell.written)).then_some((cell.written, Use::Write)),
        })
    }

    /// A warp's clock goes on.
    fn advance(&mut self, warp: usize) {
        self.seen[warp][warp] += 1 + u32::from(self.ahead[warp] != 0 && self.ahead[warp] != u32::MAX);
        self.ahead[warp] = 0;
        self.latest = self.latest.max(self.seen[warp][warp]);
    }

    /// Lets grains be no larger than this power of two, so that an access takes whole ones.
    fn refine(&mut self, most: u32) {
        let Some(finer) = GRAINS.iter().position(|&grain| grain <= most) else { return };
        self.cells[finer] = self.cells[self.grain].refined(1 << (GRAINS[self.grain] - GRAINS[finer]));
        self.grain = finer;
        self.needed.insert(self.kernel, finer);
    }

    /// `thread` uses `bytes` bytes from `at` on. With whom that is a race, if it is one, and what that one does.
    pub(super) fn note(&mut self, thread: u32, at: usize, bytes: usize, how: Use) -> Option<(Stamp, Use)> {
        let fits = (at | bytes).trailing_zeros().max(1);
        if fits < GRAINS[self.grain] {
            self.refine(fits);
        }
        let (warp, lane) = ((thread / 32) as usize, (thread % 32) as u8);
        let (seen, warps) = (&self.seen[warp], self.seen.len());
        let now = Stamp { clock: seen[warp] + (self.ahead[warp] >> lane & 1), warp: warp as u8, lane };
        self.latest = self.latest.max(now.clock);
        let (Cells { all, read, readers }, grain) = (&mut self.cells[self.grain], 1 << GRAINS[self.grain]);
        let places = at / grain..(at + bytes).div_ceil(grain);
        // What this thread has read since its warp last met, or two others of it have, nobody has written since: most
        // accesses are such, and all was looked at then.
        let again =
            |read: &Stamp| read.clock == now.clock && read.warp == now.warp && (read.lane == MANY || read.lane == lane);
        if how == Use::Read && read[places.clone()].iter().all(again) {
            return None;
        }
        // Whether it is over for this thread.
        let over = |stamp: Stamp| match stamp.warp == now.warp {
            true => stamp.clock < now.clock || stamp.lane == lane,
            false => stamp.clock <= seen[stamp.warp as usize],
        };
        // What was done up to this clock is over, whoever did it.
        let all_over = || seen[..warps].iter().min().map_or(0, |&clock| clock.min(seen[warp] - 1));
        let mut floor = None;
        for (cell, last) in all[places.clone()].iter_mut().zip(&mut read[places]) {
            if how == Use::Copied {
                cell.copied = Stamp::default();
            } else if cell.copied.clock > self.before {
                return Some((cell.copied, Use::Copy));
            }
            if !over(cell.written) {
                return Some((cell.written, Use::Write));
            }
            if how != Use::Read {
                let unsure = cell.latest > 0 && cell.latest > *floor.get_or_insert_with(all_over);
                let several = if unsure { &readers[cell.readers as usize - 1][..warps] } else { &[] };
                if let Some(&stamp) = several.iter().chain([&*last]).find(|&&stamp| !over(stamp)) {
                    return Some((stamp, Use::Read));
                }
                (cell.written, *last) = (if how == Use::Box { Stamp::default() } else { now }, Stamp::default());
                cell.latest = 0;
                if how == Use::Copy {
                    cell.copied = now;
                }
                continue;
            }
            let before = *last;
            if before.warp == now.warp && before.clock == now.clock {
                last.lane = if before.lane == lane { lane } else { MANY };
            } else {
                if !over(before) && cell.latest == 0 {
                    if cell.readers == 0 {
                        readers.push([Stamp::default(); WARPS]);
                        cell.readers = readers.len() as u32;
                    }
                    let several = &mut readers[cell.readers as usize - 1];
                    several[..warps].fill(Stamp::default());
                    several[before.warp as usize] = before;
                    cell.latest = before.clock;
                }
                *last = now;
            }
            if cell.latest > 0 {
                let own = &mut readers[cell.readers as usize - 1][warp];
                if own.clock > now.clock {
                    // A lane that is ahead has read: whoever knows of that knows of this.
                    *last = *own;
                } else {
                    if own.clock == now.clock && own.lane != lane {
                        last.lane = MANY;
                    }
                    *own = *last;
                }
                cell.latest = cell.latest.max(now.clock);
            }
        }
        None
    }
}

impl Races {
    /// What a thread does to a place, and what the other one does.
    pub(super) fn race(&self, place: &str, bytes: usize, how: Use, other: Stamp, does: Use) -> String {
        let who = match other.lane {
            MANY => format!("another thread of {}", self.warp(other.warp.into())),
            lane => self.thread(u32::from(other.warp) * 32 + u32::from(lane)),
        };
        let between = if does == Use::Copy { "wait and barrier" } else { "barrier" };
        format!("{how} {bytes} bytes of shared memory, {place}, that {who} {does}, with no {between} between")
    }
}

#[cfg(test)]
mod tests;
