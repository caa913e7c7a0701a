//! mbarriers: arrivals and bytes that are counted, phase by phase, and who waits for them.
//!
//! Stricter than a GPU, where a wrong wait is one that does not wait: a thread may wait for each phase once, and for
//! none that another has followed already. An arrival speaks for what its warp did before its last barrier or
//! `__syncwarp`.

use super::block::{Block, State};
use super::races::{MBARRIERS, NOTHING, Seen, Stamp, of_mbarrier};

/// The bytes that a transaction count holds: 20 bits and a sign.
const MOST_BYTES: i64 = (1 << 20) - 1;

/// One of the block.
pub(super) struct Mbarrier {
    address: usize,
    /// Arrivals of a phase.
    count: u32,
    /// Those that the present phase waits for, and the bytes.
    pending: u32,
    bytes: i64,
    /// Phases that are over.
    pub(super) phase: u32,
    waiting: Vec<(u32, u32)>,
    /// What those knew that have arrived.
    gathered: Seen,
    /// The same, of the phases that are over.
    known: Seen,
    /// Who made it, and whether it has fenced.
    made: Stamp,
    maker: u32,
    fenced: bool,
    /// Which phase each thread waited for last, -1 for the one before the first.
    waited: Vec<Option<i64>>,
    /// The last phase that had bytes to wait for, one more than its number, and that anybody waited for.
    carried: u32,
    observed: u32,
}

impl Mbarrier {
    fn parity_is_over(&self, parity: u32) -> bool {
        self.phase & 1 != parity
    }

    /// Notes that a thread has waited for the phase before the present one. Errors if it is another than it meant.
    fn note_wait(&mut self, thread: u32, parity: u32) -> Result<(), String> {
        let over = i64::from(self.phase) - 1;
        let waited = &mut self.waited[thread as usize];
        let expected = match *waited {
            Some(last) => last + 1,
            // Its first: the phase of this parity, or the one before the first.
            None => over.min(i64::from(parity)),
        };
        if over < expected {
            return Err(format!(
                "waits for parity {parity}, which phase {over} satisfies; it has waited for that before, as if the \
                 parity had not been turned"
            ));
        }
        if over > expected {
            return Err(format!(
                "waits for parity {parity}, which phase {over} satisfies; it has not waited for phase {expected}, two \
                 or more before"
            ));
        }
        *waited = Some(over);
        self.observed = self.observed.max(self.phase);
        Ok(())
    }

    /// What it waits for, in words.
    fn describe(&self) -> String {
        let Mbarrier { count, pending, bytes, phase, .. } = self;
        format!("phase {phase} has {} of {count} arrivals and {bytes} bytes outstanding", count - pending)
    }
}

impl Block {
    /// The mbarrier at an address that the current thread uses, by number. Stops the block if there is none.
    pub(super) unsafe fn mbarrier(block: *mut Block, address: u64) -> Option<usize> {
        let b = unsafe { &*block };
        let place = b.shared.place(address as usize);
        let why = match b.mbarriers.iter().position(|m| m.address == address as usize) {
            None => format!("uses an mbarrier, {place}, that was not made (mbarrier_init)"),
            Some(i) if !b.mbarriers[i].fenced => {
                format!("uses an mbarrier, {place}, that was made with no mbarrier_init_fence since")
            }
            Some(i) if !b.races.is_over(b.current, b.mbarriers[i].made) => {
                format!("uses an mbarrier, {place}, that another thread made, with no barrier between")
            }
            Some(i) => return Some(i),
        };
        unsafe { Block::fail(block, why) };
        None
    }

    pub(super) unsafe fn mbarrier_init(block: *mut Block, address: u64, count: u32) {
        let b = unsafe { &mut *block };
        let (address, current) = (address as usize, b.current);
        let why = if !b.hopper() {
            Some("has no mbarriers here: they are Hopper's, and this device is none".to_string())
        } else if count == 0 || count > MOST_BYTES as u32 {
            Some(format!("makes an mbarrier of {count} arrivals"))
        } else if b.mbarriers.iter().any(|m| m.address == address) {
            Some(format!("makes an mbarrier, {}, a second time", b.shared.place(address)))
        } else if b.mbarriers.len() == MBARRIERS {
            Some(format!("makes more than the {MBARRIERS} mbarriers of a block that the emulator knows"))
        } else {
            None
        };
        if let Some(why) = why {
            return unsafe { Block::fail(block, why) };
        }
        b.mbarriers.push(Mbarrier {
            address,
            count,
            pending: count,
            bytes: 0,
            phase: 0,
            waiting: Vec::new(),
            gathered: NOTHING,
            known: NOTHING,
            made: b.races.stamp(current),
            maker: current,
            fenced: false,
            waited: vec![None; b.count as usize],
            carried: 0,
            observed: 0,
        });
    }

    /// What the current thread has made is there for everybody.
    pub(super) unsafe fn mbarrier_init_fence(block: *mut Block) {
        let b = unsafe { &mut *block };
        b.mbarriers.iter_mut().filter(|m| m.maker == b.current).for_each(|m| m.fenced = true);
    }

    /// The current thread arrives, and announces bytes.
    pub(super) unsafe fn mbarrier_arrive(block: *mut Block, address: u64, bytes: u32) {
        let Some(i) = (unsafe { Block::mbarrier(block, address) }) else { return };
        let b = unsafe { &mut *block };
        let m = &mut b.mbarriers[i];
        if m.pending == 0 {
            let why = format!("arrives at the mbarrier, {}, once more than its {} times", m.place(&b.shared), m.count);
            return unsafe { Block::fail(block, why) };
        }
        m.bytes += i64::from(bytes);
        if bytes > 0 {
            m.carried = m.phase + 1;
        }
        if m.bytes > MOST_BYTES {
            let why = format!("announces bytes to the mbarrier, {}: {} in all", m.place(&b.shared), m.bytes);
            return unsafe { Block::fail(block, why) };
        }
        m.pending -= 1;
        b.races.signal(b.current, &mut m.gathered);
        unsafe { Block::mbarrier_complete(block, i) };
        unsafe { Block::stop_if_accused(block) };
    }

    /// Bytes of a box have come.
    pub(super) unsafe fn mbarrier_bytes(block: *mut Block, i: usize, bytes: usize) {
        let m = unsafe { &mut (&mut (*block).mbarriers)[i] };
        m.bytes -= bytes as i64;
        unsafe { Block::mbarrier_complete(block, i) };
    }

    /// Ends the present phase if nothing is missing.
    unsafe fn mbarrier_complete(block: *mut Block, i: usize) {
        let b = unsafe { &mut *block };
        let m = &mut b.mbarriers[i];
        if m.pending > 0 || m.bytes != 0 {
            return;
        }
        m.phase += 1;
        m.pending = m.count;
        let mut known = m.gathered;
        known[of_mbarrier(i)] = m.phase;
        m.known = known;
        let waiting = std::mem::take(&mut m.waiting);
        let (released, rest): (Vec<_>, Vec<_>) = waiting.into_iter().partition(|&(_, parity)| m.parity_is_over(parity));
        m.waiting = rest;
        let mut threads: Vec<u32> = released.iter().map(|&(thread, _)| thread).collect();
        for (thread, parity) in released {
            b.races.learn(thread, &known);
            if let Err(why) = b.mbarriers[i].note_wait(thread, parity) {
                let place = b.mbarriers[i].place(&b.shared);
                b.accuse(thread, format!("at the mbarrier, {place}: {why}"));
            }
        }
        b.release(&mut threads);
    }

    pub(super) unsafe fn mbarrier_wait(block: *mut Block, address: u64, parity: u32) {
        let Some(i) = (unsafe { Block::mbarrier(block, address) }) else { return };
        let b = unsafe { &mut *block };
        let (m, current) = (&mut b.mbarriers[i], b.current);
        if parity > 1 {
            return unsafe { Block::fail(block, format!("waits for parity {parity}, which is 0 or 1")) };
        }
        if m.parity_is_over(parity) {
            if let Err(why) = m.note_wait(current, parity) {
                let place = m.place(&b.shared);
                return unsafe { Block::fail(block, format!("at the mbarrier, {place}: {why}")) };
            }
            let known = m.known;
            b.races.learn(current, &known);
            return;
        }
        m.waiting.push((current, parity));
        b.threads[current as usize].state = State::AtMbarrier(i as u32);
        unsafe { Block::suspend(block) };
    }

    /// Where a waiting thread waits, in words.
    pub(super) fn mbarrier_waited_at(&self, i: u32) -> String {
        let m = &self.mbarriers[i as usize];
        format!("wait at the mbarrier, {}, whose {}", m.place(&self.shared), m.describe())
    }

    /// What is wrong with mbarriers that a block leaves behind.
    pub(super) fn mbarriers_left(&self) -> Option<String> {
        self.mbarriers.iter().find_map(|m| {
            let place = m.place(&self.shared);
            if m.bytes != 0 {
                return Some(format!("the block ends, and of the mbarrier, {place}, {}", m.describe()));
            }
            let unobserved = m.carried > m.observed;
            unobserved.then(|| {
                format!("the block ends, and nobody has waited for phase {} of the mbarrier, {place}", m.carried - 1)
            })
        })
    }
}

impl Mbarrier {
    fn place(&self, shared: &super::shared::SharedMemory) -> String {
        shared.place(self.address)
    }
}
