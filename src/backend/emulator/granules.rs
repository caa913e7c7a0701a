//! What the asynchronous engines of Hopper know of shared memory, 16 bytes at a time: which box was written there and
//! what counts its bytes, which threads' writes the engines may not see yet, and which products read there.

use super::races::{Races, of_groups, of_mbarrier};

/// Bytes of one granule: the unit that boxes are swizzled by.
pub(super) const GRANULE: usize = 16;
/// Warpgroups in a block of 1024 threads.
const WARPGROUPS: usize = 8;
/// Warps of a warpgroup.
pub(super) const WARPS: usize = 4;

/// A line of a box.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct BoxLine {
    pub(super) number: u32,
    /// Whether it is the box's last.
    pub(super) last: bool,
}

#[derive(Debug, Clone, Copy, Default)]
struct Granule {
    /// The last box: one more than the number of its mbarrier, and how many phases are over when it is there.
    mbarrier: u8,
    phase: u32,
    swizzled: bool,
    line: BoxLine,
    /// Whether anybody wrote here.
    written: bool,
    /// Threads that wrote here and have not fenced since.
    unfenced: u16,
    /// Warps whose products read here, and are under way.
    reading: u16,
    /// Up to which of its groups of products each warpgroup has read here.
    read: [u32; WARPGROUPS],
}

/// Those of a block.
#[derive(Default)]
pub(super) struct Granules {
    pub(super) on: bool,
    all: Vec<Granule>,
    /// What each thread has written since its last fence.
    writes: Vec<Vec<u32>>,
}

impl Granules {
    /// A block of so many threads and bytes of shared memory begins.
    pub(super) fn begin(&mut self, on: bool, threads: usize, bytes: usize) {
        self.on = on;
        if on {
            self.all.clear();
            self.all.resize(bytes.div_ceil(GRANULE), Granule::default());
            self.writes.iter_mut().for_each(Vec::clear);
            self.writes.resize(self.writes.len().max(threads), Vec::new());
        }
    }

    /// A thread reads, or writes, the bytes from `at` on. What is wrong with that, if anything.
    pub(super) fn used(&mut self, thread: u32, at: usize, bytes: usize, write: bool, races: &Races) -> Option<String> {
        for number in at / GRANULE..(at + bytes).div_ceil(GRANULE) {
            let granule = &mut self.all[number];
            if let Some(why) = granule.pending(thread, races) {
                return Some(why);
            }
            if !write {
                continue;
            }
            if let Some(why) = granule.still_read(thread, races) {
                return Some(why);
            }
            (granule.mbarrier, granule.written) = (0, true);
            let writes = &mut self.writes[thread as usize];
            if writes.last() != Some(&(number as u32)) {
                writes.push(number as u32);
                granule.unfenced += 1;
            }
        }
        None
    }

    /// The engines see what a thread has written.
    pub(super) fn fence(&mut self, thread: u32) {
        if self.on {
            for number in self.writes[thread as usize].drain(..) {
                let granule = &mut self.all[number as usize];
                granule.unfenced = granule.unfenced.saturating_sub(1);
            }
        }
    }

    /// A thread has a box of the phase in which `phase` phases are over written there. What is wrong, if anything.
    pub(super) fn load(
        &mut self,
        thread: u32,
        number: usize,
        (mbarrier, phase): (usize, u32),
        swizzled: bool,
        line: BoxLine,
        races: &Races,
    ) -> Option<String> {
        let granule = &mut self.all[number];
        if let Some(why) = granule.pending(thread, races).or_else(|| granule.still_read(thread, races)) {
            return Some(why);
        }
        if granule.unfenced > 0 {
            return Some("a thread wrote there and has had no proxy_fence since".into());
        }
        granule.mbarrier = mbarrier as u8 + 1;
        (granule.phase, granule.swizzled, granule.written, granule.line) = (phase, swizzled, true, line);
        None
    }

    /// Which line of its box stands there, if a box does.
    pub(super) fn line(&self, number: usize) -> Option<BoxLine> {
        let granule = &self.all[number];
        (granule.mbarrier > 0).then_some(granule.line)
    }

    /// A product of the warpgroup of these threads begins to read there, as part of its group `group` (from 1 on).
    pub(super) fn multiply(
        &mut self,
        threads: [u32; WARPS],
        number: usize,
        group: u32,
        swizzled: bool,
        races: &Races,
    ) -> Option<String> {
        let granule = &mut self.all[number];
        if !granule.written {
            return Some("that nobody has written".into());
        }
        if let Some(why) = threads.iter().find_map(|&thread| granule.pending(thread, races)) {
            return Some(why);
        }
        if granule.unfenced > 0 {
            return Some("that a thread wrote, with no proxy_fence since".into());
        }
        if granule.mbarrier > 0 && granule.swizzled != swizzled {
            let [box_, descriptor] = [granule.swizzled, swizzled].map(|s| if s { "swizzled" } else { "not swizzled" });
            return Some(format!("of a box that is {box_}, with a descriptor that is {descriptor}"));
        }
        granule.reading += WARPS as u16;
        let read = &mut granule.read[threads[0] as usize / 128];
        *read = (*read).max(group);
        None
    }

    /// A product of one warp is done with it.
    pub(super) fn multiplied(&mut self, number: usize) {
        self.all[number].reading -= 1;
    }
}

impl Granule {
    /// Why a thread may not use what a box brings here: it has not waited for it.
    fn pending(&self, thread: u32, races: &Races) -> Option<String> {
        let mbarrier = usize::from(self.mbarrier.checked_sub(1)?);
        if races.knows(thread, of_mbarrier(mbarrier), self.phase) {
            return None;
        }
        let who = races.thread(thread);
        Some(format!("of a box that {who} has not waited for: phase {} of its mbarrier", self.phase - 1))
    }

    /// Why nobody may write here: products read it.
    fn still_read(&self, thread: u32, races: &Races) -> Option<String> {
        if self.reading > 0 {
            return Some("while a product reads there that is under way (write after asynchronous read)".into());
        }
        for (warpgroup, &group) in self.read.iter().enumerate().filter(|(_, group)| **group > 0) {
            let unknown = |&warp: &usize| !races.knows(thread, of_groups(warp), group);
            if let Some(warp) = (warpgroup * WARPS..(warpgroup + 1) * WARPS).find(unknown) {
                let who = races.warp(warp);
                return Some(format!(
                    "that a product of {who} has read, with nothing between that orders them (write after asynchronous \
                     read)"
                ));
            }
        }
        None
    }
}
