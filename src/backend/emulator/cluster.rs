//! Clusters: blocks that run together and reach into each other's shared memory.
//!
//! All of a cluster's threads are one scheduler's, and their warps have clocks of one set, so that what is looked for
//! among the threads of a block is looked for among those of a cluster: boxes that come to where another block's
//! products still read, mbarriers that another block has not made yet. Stricter than a GPU: a thread that has exited
//! does not count as arrived at the cluster's barrier.

use super::block::{Block, State};
use super::races::{NOTHING, Races};

/// Threads of a cluster at most: as many as a block's, which is what there are clocks for.
const THREADS: u32 = 1024;
/// Blocks of a cluster at most.
pub(super) const MOST: usize = 8;

/// The blocks that run together.
pub(super) struct Cluster {
    /// How many; one of a kernel without clusters.
    pub(super) blocks: u32,
    /// Threads of each.
    pub(super) each: u32,
    waiting: Vec<u32>,
    /// Of each warp, for each block at whose mbarriers it has arrived: the warp's clock then, which somebody there must
    /// know of before that block's memory goes.
    reached: Vec<[Option<u32>; MOST]>,
}

impl Default for Cluster {
    fn default() -> Self {
        Cluster { blocks: 1, each: 1, waiting: Vec::new(), reached: Vec::new() }
    }
}

/// Errors, in words, beyond the clusters that the emulator has.
pub(super) fn check(blocks: u32, threads: u32, hopper: bool) -> Result<(), String> {
    if blocks == 1 {
        return Ok(());
    }
    if !hopper {
        return Err("the kernel is for clusters of blocks, which are Hopper's, and this device is none".into());
    }
    // Warps and warpgroups are counted through all blocks.
    if !threads.is_multiple_of(128) || blocks * threads > THREADS || blocks as usize > MOST {
        return Err(format!(
            "clusters of {blocks} blocks of {threads} threads: the emulator has those of whole warpgroups, and up to \
             {THREADS} threads in all"
        ));
    }
    Ok(())
}

impl Cluster {
    pub(super) fn begin(&mut self, blocks: u32, each: u32) {
        (self.blocks, self.each) = (blocks, each);
        self.waiting.clear();
        self.reached.clear();
        if blocks > 1 {
            self.reached.resize((blocks * each).div_ceil(32) as usize, [None; MOST]);
        }
    }

    /// The number of a thread's block in the cluster.
    pub(super) fn rank(&self, thread: u32) -> u32 {
        thread / self.each
    }

    /// Where threads wait for the whole cluster, in words.
    pub(super) fn waits(&self) -> String {
        let all = self.blocks * self.each;
        format!("wait at the cluster's barrier, where {} of {all} threads have arrived", self.waiting.len())
    }
}

impl Block {
    /// The index of the block that a thread is of.
    pub(super) fn index_of(&self, thread: u32) -> [u32; 3] {
        let [x, y, z] = self.index;
        [x + self.cluster.rank(thread), y, z]
    }

    /// The current thread comes to the barrier of all threads of its cluster.
    pub(super) unsafe fn cluster_barrier(block: *mut Block) {
        let b = unsafe { &mut *block };
        if b.cluster.blocks == 1 {
            let why = "comes to the barrier of a cluster, and the kernel has none (KERNEL_CLUSTER)";
            return unsafe { Block::fail(block, why.into()) };
        }
        let current = b.current;
        b.cluster.waiting.push(current);
        b.threads[current as usize].state = State::AtCluster;
        if b.cluster.waiting.len() == b.count as usize {
            let mut waiting = std::mem::take(&mut b.cluster.waiting);
            b.races.meet(&waiting, NOTHING);
            b.release(&mut waiting);
            waiting.clear();
            b.cluster.waiting = waiting;
        }
        unsafe { Block::suspend(block) };
    }

    /// The current thread arrives at the mbarrier that block `rank` of its cluster has in the place of this one.
    pub(super) unsafe fn mbarrier_arrive_at(block: *mut Block, address: u64, rank: u32) {
        let Some(there) = (unsafe { Block::peer(block, address, rank) }) else { return };
        let b = unsafe { &mut *block };
        let current = b.current;
        if rank != b.cluster.rank(current) && b.races.on {
            b.cluster.reached[current as usize / 32][rank as usize] = Some(b.races.told(current));
        }
        unsafe { Block::mbarrier_arrive(block, there, 0) };
    }

    /// What another block of the cluster has in the place of an address in shared memory. Stops the block if there is
    /// none.
    pub(super) unsafe fn peer(block: *mut Block, address: u64, rank: u32) -> Option<u64> {
        let b = unsafe { &*block };
        let blocks = b.cluster.blocks;
        let why = if rank >= blocks {
            format!("reaches for block {rank} of a cluster of {blocks}")
        } else if b.has_ended(rank) {
            format!("reaches for the shared memory of block {rank} of its cluster, which has ended")
        } else {
            return b.shared.peer(address as usize, rank as usize).map(|at| at as u64);
        };
        unsafe { Block::fail(block, why) };
        None
    }

    fn has_ended(&self, rank: u32) -> bool {
        let each = self.cluster.each;
        let mut threads = self.threads[(rank * each) as usize..((rank + 1) * each) as usize].iter();
        threads.all(|thread| thread.state == State::Exited)
    }

    /// What is wrong with blocks that ended, in whatever order they did: one may not while another still has to arrive
    /// at its mbarriers.
    pub(super) fn ended_early(&self) -> Option<String> {
        let warps = self.cluster.each.div_ceil(32) as usize;
        for (warp, reached) in self.cluster.reached.iter().enumerate().filter(|_| self.races.on) {
            for (rank, clock) in reached.iter().enumerate() {
                let Some(clock) = *clock else { continue };
                let mut there = rank * warps..(rank + 1) * warps;
                if !there.any(|other| self.races.knows(32 * other as u32, warp, clock)) {
                    let who = self.races.warp(warp);
                    return Some(format!(
                        "block {rank} of the cluster may end before {who} arrives at its mbarrier: there is nothing \
                         between that orders them (cluster_sync)"
                    ));
                }
            }
        }
        None
    }
}

impl Races {
    /// A thread by its number in its block.
    pub(super) fn thread(&self, thread: u32) -> String {
        match thread / self.each.max(1) {
            0 => format!("thread {thread}"),
            rank => format!("thread {} of block {rank} of the cluster", thread % self.each),
        }
    }

    /// A warp by its number in its block.
    pub(super) fn warp(&self, warp: usize) -> String {
        let warps = self.each.div_ceil(32).max(1) as usize;
        match warp / warps {
            0 => format!("warp {warp}"),
            rank => format!("warp {} of block {rank} of the cluster", warp % warps),
        }
    }
}
