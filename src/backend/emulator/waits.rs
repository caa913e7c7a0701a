//! Barriers and warp collectives, and the report when nobody can go on.
//!
//! Stricter than the hardware in one point: a thread that has exited still counts. On a GPU of today `__syncthreads`
//! waits for the threads that have not exited, and a shuffle takes part with the lanes that are left; what they then
//! read from the others is undefined, so here it is an error.

use std::collections::BTreeMap;
use std::ffi::{CStr, c_char, c_void};

use super::abi::{self, Compute};
use super::block::{Block, State};
use super::races::{NOTHING, Seen};

/// A barrier of the block.
pub(super) struct Barrier {
    arrived: u32,
    expected: u32,
    waiting: Vec<u32>,
    /// What those have done that have arrived without waiting.
    passed: Seen,
}

impl Default for Barrier {
    fn default() -> Self {
        Barrier { arrived: 0, expected: 0, waiting: Vec::new(), passed: NOTHING }
    }
}

impl Barrier {
    pub(super) fn clear(&mut self) {
        self.arrived = 0;
        self.waiting.clear();
        self.passed = NOTHING;
    }
}

/// Lanes of one warp on their way through one collective instruction.
pub(super) struct Meeting {
    what: *const c_char,
    compute: Compute,
    mask: u32,
    arrived: u32,
    operands: [*mut c_void; 32],
}

impl Block {
    /// The current thread comes to barrier `id` of `threads` threads (0: all of the block).
    pub(super) unsafe fn barrier(block: *mut Block, id: u32, threads: u32, wait: bool) {
        let b = unsafe { &mut *block };
        let (count, rank) = (b.cluster.each, b.cluster.rank(b.current));
        let expected = if threads == 0 { count } else { threads };
        if id >= 16 || (threads != 0 && (id == 0 || !threads.is_multiple_of(32) || threads > count)) {
            let why = format!(
                "named barrier {id} of {threads} threads in a block of {count}: it takes an id from 1 to 15 and a multiple of 32"
            );
            return unsafe { Block::fail(block, why) };
        }
        let number = (16 * rank + id) as usize;
        let barrier = &mut b.barriers[number];
        if barrier.arrived > 0 && barrier.expected != expected {
            let why = format!("barrier {id} of {expected} threads, where others wait for {}", barrier.expected);
            return unsafe { Block::fail(block, why) };
        }
        barrier.expected = expected;
        barrier.arrived += 1;
        if wait {
            barrier.waiting.push(b.current);
            b.threads[b.current as usize].state = State::AtBarrier(id);
        } else {
            b.races.pass(b.current, &mut barrier.passed);
        }
        if barrier.arrived == expected {
            let mut waiting = std::mem::take(&mut barrier.waiting);
            barrier.arrived = 0;
            b.races.meet(&waiting, std::mem::replace(&mut barrier.passed, NOTHING));
            b.release(&mut waiting);
            waiting.clear();
            b.barriers[number].waiting = waiting;
        }
        if wait {
            unsafe { Block::suspend(block) };
        }
    }

    /// The current thread comes to a collective of the lanes in `mask`. The last to come computes for all.
    pub(super) unsafe fn collective(
        block: *mut Block,
        what: *const c_char,
        mask: u32,
        operand: *mut c_void,
        compute: Compute,
    ) {
        let b = unsafe { &mut *block };
        let (warp, lane) = (b.current / 32, b.current % 32);
        if mask >> lane & 1 == 0 {
            let why =
                format!("lane {lane} calls {} with mask {mask:#010x}, which leaves it out", unsafe { abi::text(what) });
            return unsafe { Block::fail(block, why) };
        }
        let meetings = &mut b.meetings[warp as usize];
        let same =
            |m: &Meeting| m.mask == mask && std::ptr::fn_addr_eq(m.compute, compute) && m.arrived >> lane & 1 == 0;
        let i = meetings.iter().position(same).unwrap_or_else(|| {
            meetings.push(Meeting { what, compute, mask, arrived: 0, operands: [std::ptr::null_mut(); 32] });
            meetings.len() - 1
        });
        let meeting = &mut meetings[i];
        meeting.arrived |= 1 << lane;
        meeting.operands[lane as usize] = operand;
        if meeting.arrived != mask {
            b.threads[b.current as usize].state = State::InMeeting;
            return unsafe { Block::suspend(block) };
        }
        let meeting = meetings.swap_remove(i);
        // SAFETY: the operands of all lanes in the mask are on the stacks of their coroutines, which are suspended.
        unsafe { compute(meeting.operands.as_ptr(), mask) };
        let mut others = [0; 32];
        let mut count = 0;
        for l in (0..32).filter(|&l| l != lane && mask >> l & 1 == 1) {
            others[count] = warp * 32 + l;
            count += 1;
        }
        // Of a part of the lanes it orders nothing here: clocks are those of whole warps.
        if b.races.on && mask == u32::MAX && unsafe { CStr::from_ptr(what) } == c"__syncwarp" {
            b.races.meet(&[b.current], NOTHING);
        }
        b.release(&mut others[..count]);
    }

    /// Who waits for what, when nobody can run.
    pub(super) fn stuck(&self) -> String {
        (0..self.cluster.blocks).map(|rank| self.stuck_in(rank)).collect::<Vec<_>>().join("; ")
    }

    /// The same, of the threads of one of the blocks.
    fn stuck_in(&self, block: u32) -> String {
        let count = self.cluster.each;
        let first = block * count;
        let mut groups: BTreeMap<String, Vec<u32>> = BTreeMap::new();
        for rank in first..first + count {
            let doing = match self.threads[rank as usize].state {
                State::Unstarted | State::Running => "can run".into(),
                State::AtBarrier(0) => "wait at the block barrier".into(),
                State::AtBarrier(id) => {
                    let Barrier { arrived, expected, .. } = self.barriers[(16 * block + id) as usize];
                    format!("wait at named barrier {id}, where {arrived} of {expected} have arrived")
                }
                State::InMeeting => self.meeting(rank),
                State::AtMbarrier(number) => self.mbarrier_waited_at(number),
                State::AtCluster => self.cluster.waits(),
                State::InConvoy => match self.warpgroups.waits(rank) {
                    Some((what, missing)) => {
                        let missing: Vec<u32> = missing.iter().map(|thread| thread - first).collect();
                        format!("wait in {what} for {}", spans(&missing))
                    }
                    None => "wait for their warpgroup".into(),
                },
                State::Exited => "have exited".into(),
            };
            groups.entry(doing).or_default().push(rank - first);
        }
        let mut parts: Vec<(String, Vec<u32>)> = groups.into_iter().collect();
        parts.sort_by_key(|(doing, ranks)| (doing == "have exited", ranks[0]));
        let parts = parts.iter().map(|(doing, ranks)| format!("{} {doing} ({})", ranks.len(), spans(ranks)));
        let [x, y, z] = self.index_of(first);
        format!("block ({x}, {y}, {z}) cannot go on; of {count} threads, {}", parts.collect::<Vec<_>>().join("; "))
    }

    fn meeting(&self, rank: u32) -> String {
        let (warp, lane) = (rank / 32, rank % 32);
        match self.meetings[warp as usize].iter().find(|m| m.arrived >> lane & 1 == 1) {
            // SAFETY: a string literal of the kernel.
            Some(m) => {
                let missing = m.mask & !m.arrived;
                let warp = warp % self.cluster.each.div_ceil(32);
                let missing: Vec<u32> = (0..32).filter(|l| missing >> l & 1 == 1).map(|l| warp * 32 + l).collect();
                let what = unsafe { abi::text(m.what) };
                format!("wait in {what} (mask {:#010x}) for {}", m.mask, spans(&missing))
            }
            None => "wait in a warp collective".into(),
        }
    }
}

/// `threads 0-31, 64`.
fn spans(ranks: &[u32]) -> String {
    let mut parts: Vec<(u32, u32)> = Vec::new();
    for &rank in ranks {
        match parts.last_mut() {
            Some((_, last)) if *last + 1 == rank => *last = rank,
            _ => parts.push((rank, rank)),
        }
    }
    let part = |&(a, b): &(u32, u32)| if a == b { a.to_string() } else { format!("{a}-{b}") };
    let noun = if ranks.len() == 1 { "thread" } else { "threads" };
    format!("{noun} {}", parts.iter().map(part).collect::<Vec<_>>().join(", "))
}
