//! The scheduler of one block: which threads can run, which wait, and the loop that lets them.
//!
//! One `Block` serves an OS thread for all the blocks that it runs, one after the other. Kernels call into it from
//! coroutines while the scheduler is inside `Fiber::resume`, so all functions take a raw pointer and borrow only for an
//! instant.

use std::collections::VecDeque;
use std::ffi::c_void;
use std::ptr::NonNull;

use super::abi::{self, Context, Range};
use super::boxes;
use super::cluster::Cluster;
use super::copies::Copies;
use super::fiber::{Fiber, FiberYielder};
use super::granules::Granules;
use super::launch::Grid;
use super::mbarriers::Mbarrier;
use super::order::{Order, Random};
use super::races::Races;
use super::shared::SharedMemory;
use super::waits::{Barrier, Meeting};
use super::warpgroup::Warpgroups;

/// No fiber.
const NONE: u32 = u32::MAX;

/// What a thread is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    Unstarted,
    Running,
    AtBarrier(u32),
    InMeeting,
    AtMbarrier(u32),
    AtCluster,
    InConvoy,
    Exited,
}

/// One CUDA thread.
pub(super) struct Thread {
    pub(super) state: State,
    fiber: u32,
    pub(super) copies: Copies,
}

impl Default for Thread {
    fn default() -> Self {
        Thread { state: State::Unstarted, fiber: NONE, copies: Copies::default() }
    }
}

/// The block that is running, or all blocks of a cluster, and the scheduler's storage. Threads, and so warps, are
/// counted through all blocks.
pub(super) struct Block {
    pub(super) grid: *const Grid<'static>,
    /// Of the first block.
    pub(super) index: [u32; 3],
    pub(super) cluster: Cluster,
    pub(super) threads: Vec<Thread>,
    pub(super) count: u32,
    exited: u32,
    /// Threads that can run.
    ready: VecDeque<u32>,
    /// The thread whose turn is next, if a fiber has already drawn it.
    drawn: Option<u32>,
    pub(super) current: u32,
    /// Sixteen of each block.
    pub(super) barriers: Vec<Barrier>,
    pub(super) meetings: Vec<Vec<Meeting>>,
    pub(super) shared: SharedMemory,
    pub(super) races: Races,
    pub(super) granules: Granules,
    pub(super) mbarriers: Vec<Mbarrier>,
    /// Those on their way.
    pub(super) boxes: Vec<boxes::Pending>,
    pub(super) warpgroups: Warpgroups,
    /// Allocations that this block has used.
    ranges: Vec<Range>,
    pub(super) random: Random,
    pub(super) fault: Option<String>,
    fibers: Vec<NonNull<Fiber>>,
    yielders: Vec<*const FiberYielder>,
    idle: Vec<u32>,
    context: *mut Context,
}

impl Block {
    /// The scheduler of the calling OS thread; it must stay on it.
    pub(super) fn new() -> Box<Self> {
        Box::new(Block {
            grid: std::ptr::null(),
            index: [0; 3],
            cluster: Cluster::default(),
            threads: Vec::new(),
            count: 0,
            exited: 0,
            ready: VecDeque::new(),
            drawn: None,
            current: 0,
            barriers: Vec::new(),
            meetings: Vec::new(),
            shared: SharedMemory::default(),
            races: Races::default(),
            granules: Granules::default(),
            mbarriers: Vec::new(),
            boxes: Vec::new(),
            warpgroups: Warpgroups::default(),
            ranges: Vec::new(),
            random: Random::default(),
            fault: None,
            fibers: Vec::new(),
            yielders: Vec::new(),
            idle: Vec::new(),
            context: abi::context(),
        })
    }

    /// Runs block, or cluster, `number` of `grid` to its end. An error is the reason why it could not go on.
    pub(super) fn run(&mut self, grid: &Grid<'_>, number: u64) -> Result<(), String> {
        let block: *mut Block = self;
        // SAFETY: `block` is this scheduler, which nobody else uses meanwhile. The grid's lifetime is forgotten, but
        // the pointer is only used until this function returns.
        unsafe {
            Block::begin(block, grid, number)?;
            while (*block).fault.is_none()
                && let Some(thread) = Block::draw(block)
            {
                let mut fiber = (&(*block).threads)[thread as usize].fiber;
                if fiber == NONE {
                    match Block::idle_fiber(block) {
                        Ok(idle) => fiber = idle,
                        Err(why) => {
                            (*block).fault = Some(why);
                            break;
                        }
                    }
                }
                (*block).current = thread;
                Block::enter(block, thread);
                let fiber = (&(*block).fibers)[fiber as usize];
                (*fiber.as_ptr()).resume();
            }
            if (*block).fault.is_none() && (*block).exited < (*block).count {
                (*block).fault = Some((*block).stuck());
            }
            if (*block).fault.is_none()
                && let Some(why) = (*block).left_behind()
            {
                let [x, y, z] = (*block).index;
                (*block).fault = Some(format!("block ({x}, {y}, {z}): {why}"));
            }
            match (*block).fault.take() {
                None => Ok(()),
                Some(why) => {
                    Block::abandon(block);
                    Err(why)
                }
            }
        }
    }

    unsafe fn begin(block: *mut Block, grid: &Grid<'_>, number: u64) -> Result<(), String> {
        let b = unsafe { &mut *block };
        let [gx, gy, _] = grid.launch.grid.map(u64::from);
        let blocks = grid.kernel.cluster;
        let first = number * u64::from(blocks);
        b.grid = std::ptr::from_ref(grid).cast();
        b.index = [(first % gx) as u32, (first / gx % gy) as u32, (first / gx / gy) as u32];
        b.count = blocks * grid.launch.threads;
        b.cluster.begin(blocks, grid.launch.threads);
        b.exited = 0;
        b.drawn = None;
        b.ranges.clear();
        b.random = match grid.order {
            Order::Shuffled(seed) => Random::new(seed, number + 1),
            _ => Random::default(),
        };
        for thread in &mut b.threads {
            thread.state = State::Unstarted;
            thread.fiber = NONE;
            thread.copies.clear();
        }
        let count = b.count as usize;
        if b.threads.len() < count {
            b.threads.resize_with(count, Thread::default);
        }
        b.meetings.resize_with(b.meetings.len().max(count.div_ceil(32)), Vec::new);
        b.meetings.iter_mut().for_each(Vec::clear);
        b.barriers.resize_with(b.barriers.len().max(16 * blocks as usize), Barrier::default);
        b.barriers.iter_mut().for_each(Barrier::clear);
        b.ready.clear();
        match grid.order {
            Order::Late => b.ready.extend((0..b.count).rev()),
            _ => b.ready.extend(0..b.count),
        }
        b.shared.begin(blocks as usize, grid.launch.shared as usize, grid.hopper)?;
        b.races.begin(grid.races, grid.launch.kernel, count.div_ceil(32), grid.launch.threads, b.shared.extent());
        b.granules.begin(grid.races && grid.hopper, count, b.shared.extent());
        b.mbarriers.clear();
        b.boxes.clear();
        if grid.hopper {
            b.warpgroups.begin(count, grid.launch.threads);
        }
        let context = unsafe { &mut *b.context };
        context.block = b.index;
        context.block_dim = [grid.launch.threads, 1, 1];
        context.grid_dim = grid.launch.grid;
        context.state = block.cast();
        context.dynamic_shared = b.shared.dynamic(0);
        context.dynamic_bytes = u64::from(grid.launch.shared);
        context.watched = grid.races.into();
        context.cluster_rank = 0;
        Ok(())
    }

    /// Takes the next thread that can run.
    unsafe fn draw(block: *mut Block) -> Option<u32> {
        let b = unsafe { &mut *block };
        if let Some(thread) = b.drawn.take() {
            return Some(thread);
        }
        let shuffled = matches!(unsafe { (*b.grid).order }, Order::Shuffled(_));
        // Boxes arrive when nobody can go on without them, or at random.
        if !b.boxes.is_empty() && shuffled && b.random.below(8) == 0 {
            unsafe { Block::deliver(block) };
        }
        while unsafe { (*block).ready.is_empty() && (*block).fault.is_none() && Block::deliver(block) } {}
        let b = unsafe { &mut *block };
        if b.fault.is_some() {
            return None;
        }
        match shuffled && !b.ready.is_empty() {
            true => {
                let i = b.random.below(b.ready.len() as u64) as usize;
                b.ready.swap_remove_back(i)
            }
            false => b.ready.pop_front(),
        }
    }

    /// Whether the device is a Hopper.
    pub(super) fn hopper(&self) -> bool {
        // SAFETY: the grid outlives the run.
        unsafe { (*self.grid).hopper }
    }

    /// What is wrong with what the block leaves behind, which has ended.
    fn left_behind(&self) -> Option<String> {
        if !self.hopper() {
            return None;
        }
        self.mbarriers_left().or_else(|| self.warpgroups.left()).or_else(|| self.ended_early())
    }

    /// Makes waiting threads ready, in the order of the schedule.
    pub(super) fn release(&mut self, threads: &mut [u32]) {
        threads.sort_unstable();
        // SAFETY: the grid outlives the run.
        if unsafe { (*self.grid).order } == Order::Late {
            threads.reverse();
        }
        for &thread in threads.iter() {
            self.threads[thread as usize].state = State::Running;
            self.ready.push_back(thread);
        }
    }

    unsafe fn enter(block: *mut Block, thread: u32) {
        let b = unsafe { &*block };
        let context = unsafe { &mut *b.context };
        context.thread = [thread, 0, 0];
        if b.cluster.blocks > 1 {
            let rank = b.cluster.rank(thread);
            context.thread = [thread % b.cluster.each, 0, 0];
            context.block = b.index_of(thread);
            context.dynamic_shared = b.shared.dynamic(rank as usize);
            context.cluster_rank = rank.into();
        }
    }

    unsafe fn idle_fiber(block: *mut Block) -> Result<u32, String> {
        let b = unsafe { &mut *block };
        if let Some(index) = b.idle.pop() {
            return Ok(index);
        }
        let index = b.fibers.len() as u32;
        let fiber = Box::new(unsafe { Fiber::new(block, index) }?);
        b.fibers.push(NonNull::from(Box::leak(fiber)));
        b.yielders.push(std::ptr::null());
        Ok(index)
    }

    /// What fiber `index` does, forever: runs threads, the current one first.
    pub(super) unsafe fn fiber(block: *mut Block, index: u32, yielder: &FiberYielder) {
        unsafe {
            (&mut (*block).yielders)[index as usize] = yielder;
            loop {
                let mut thread = (*block).current;
                loop {
                    let t = &mut (&mut (*block).threads)[thread as usize];
                    t.fiber = index;
                    t.state = State::Running;
                    let grid = (*block).grid;
                    ((*grid).kernel.run)((*grid).params.as_ptr().cast::<c_void>());
                    (&mut (*block).threads)[thread as usize].state = State::Exited;
                    (*block).exited += 1;
                    match Block::draw(block) {
                        Some(next) if (&(*block).threads)[next as usize].state == State::Unstarted => {
                            thread = next;
                            (*block).current = next;
                            Block::enter(block, next);
                        }
                        next => {
                            (*block).drawn = next;
                            break;
                        }
                    }
                }
                let idle = &mut (*block).idle;
                idle.push(index);
                yielder.suspend(());
            }
        }
    }

    /// Lets other threads run until this one is made ready.
    pub(super) unsafe fn suspend(block: *mut Block) {
        unsafe {
            let fiber = (&(*block).threads)[(*block).current as usize].fiber;
            let yielder = (&(*block).yielders)[fiber as usize];
            (*yielder).suspend(());
        }
    }

    /// Stops the block: the current thread is never resumed.
    pub(super) unsafe fn fail(block: *mut Block, why: String) {
        unsafe {
            (*block).accuse((*block).current, why);
            Block::suspend(block);
        }
    }

    /// Has the block stopped, for what a thread did, as soon as the current one is suspended.
    pub(super) fn accuse(&mut self, thread: u32, why: String) {
        let ([bx, by, bz], thread) = (self.index_of(thread), thread % self.cluster.each);
        self.fault.get_or_insert_with(|| format!("block ({bx}, {by}, {bz}), thread {thread}: {why}"));
    }

    /// Suspends the current thread for good if somebody was accused.
    pub(super) unsafe fn stop_if_accused(block: *mut Block) {
        unsafe {
            if (*block).fault.is_some() {
                Block::suspend(block);
            }
        }
    }

    /// The allocation that `address` lies in; empty if none.
    pub(super) unsafe fn locate(block: *mut Block, address: u64, element: u32) -> Range {
        let b = unsafe { &mut *block };
        if !address.is_multiple_of(u64::from(element)) {
            let why = format!("the address {address:#x} is no multiple of the element's {element} bytes");
            unsafe { Block::fail(block, why) };
        }
        if let Some(&range) = b.ranges.iter().find(|r| r.begin <= address && address <= r.end) {
            return range;
        }
        let found = unsafe { (*b.grid).memory.find(address, (*b.grid).turn) };
        if let Some(range) = found {
            b.ranges.push(range);
        }
        found.unwrap_or_default()
    }

    /// Frees the fibers of a block that stopped early.
    unsafe fn abandon(block: *mut Block) {
        let b = unsafe { &mut *block };
        b.idle.clear();
        for (i, fiber) in b.fibers.iter().enumerate() {
            let index = i as u32;
            unsafe { (*fiber.as_ptr()).abandon(block, index) };
            b.idle.push(index);
        }
    }
}

impl Drop for Block {
    fn drop(&mut self) {
        for fiber in self.fibers.drain(..) {
            // SAFETY: leaked from a box in `idle_fiber`, and not used again.
            drop(unsafe { Box::from_raw(fiber.as_ptr()) });
        }
    }
}
