//! Device memory: allocations with guard zones, and the search for the one an address lies in.
//!
//! Calls of all threads are ordered as on a GPU's one stream. So an allocation that is freed while kernels run stays
//! theirs until the last of them is done, and does not exist for a kernel that starts later.

use std::alloc::{Layout, alloc, dealloc};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use super::abi::Range;

/// Bytes kept on each side of an allocation. As large as the alignment that the driver promises.
const GUARD: usize = 256;
/// What the guard zones hold.
const GUARD_BYTE: u8 = 0xa5;
/// What fresh memory holds: NaN as f32, bf16 and f64.
pub(super) const POISON: u8 = 0xff;

struct Allocation {
    base: *mut u8,
    layout: Layout,
    bytes: usize,
    /// Freed while kernels ran: the first launch that it does not exist for.
    gone_for: Option<Turn>,
}

// SAFETY: the memory belongs to the allocation; who may touch it when is the caller's business, as on a GPU.
unsafe impl Send for Allocation {}
unsafe impl Sync for Allocation {}

impl Allocation {
    /// The first guard byte that was overwritten: how far before the beginning or past the end it lies.
    fn damage(&self) -> Option<String> {
        // SAFETY: both zones are part of the allocation, and nobody is meant to write them.
        let (before, after) = unsafe {
            let after = self.base.add(GUARD + self.bytes);
            let rest = self.layout.size() - GUARD - self.bytes;
            (std::slice::from_raw_parts(self.base, GUARD), std::slice::from_raw_parts(after, rest))
        };
        if let Some(i) = before.iter().rposition(|&b| b != GUARD_BYTE) {
            return Some(format!("written {} bytes before its beginning", GUARD - i));
        }
        after.iter().position(|&b| b != GUARD_BYTE).map(|i| format!("written {i} bytes past its end"))
    }
}

impl Drop for Allocation {
    fn drop(&mut self) {
        // SAFETY: allocated with this layout.
        unsafe { dealloc(self.base, self.layout) }
    }
}

/// A launch's place in the order of launches.
pub(super) type Turn = u64;
/// The place of what comes after every launch so far: copies, which see what has not been freed.
pub(super) const AFTER_ALL: Turn = Turn::MAX;

#[derive(Default)]
struct Live {
    /// By address, with those that wait.
    allocations: BTreeMap<u64, Allocation>,
    /// Addresses of what was freed while kernels ran.
    waiting: Vec<u64>,
    /// Launches under way.
    running: BTreeSet<Turn>,
    next: Turn,
}

impl Live {
    /// The allocation that begins at or before `address`, if it exists for the launch of this turn.
    fn before(&self, address: u64, turn: Turn) -> Option<(u64, &Allocation)> {
        let (&begin, allocation) = self.allocations.range(..=address).next_back()?;
        allocation.gone_for.is_none_or(|gone| turn < gone).then_some((begin, allocation))
    }
}

/// All live allocations.
#[derive(Default)]
pub(super) struct Memory {
    live: RwLock<Live>,
}

impl Memory {
    fn read(&self) -> RwLockReadGuard<'_, Live> {
        self.live.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Live> {
        self.live.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins a launch: what is allocated now stays until it has `ended`.
    pub(super) fn begin(&self) -> Turn {
        let mut live = self.write();
        let turn = live.next;
        live.next += 1;
        live.running.insert(turn);
        turn
    }

    /// Ends a launch: frees what was waiting for it. Says if a guard zone of that was hurt.
    pub(super) fn ended(&self, turn: Turn) -> Result<(), String> {
        let mut guard = self.write();
        let live = &mut *guard;
        live.running.remove(&turn);
        let oldest = live.running.first().copied().unwrap_or(AFTER_ALL);
        let done =
            |address: &u64| live.allocations.get(address).and_then(|a| a.gone_for).is_none_or(|gone| gone <= oldest);
        let (due, waiting) = std::mem::take(&mut live.waiting).into_iter().partition(done);
        live.waiting = waiting;
        let freed: Vec<_> = Vec::into_iter(due).filter_map(|address| live.allocations.remove_entry(&address)).collect();
        drop(guard);
        let hurt = freed.iter().find_map(|(address, a)| a.damage().map(|how| describe(*address, a.bytes, &how)));
        hurt.map_or(Ok(()), Err)
    }

    /// `bytes` bytes of NaN between two guard zones.
    pub(super) fn allocate(&self, bytes: usize) -> Result<u64, String> {
        let size = bytes.checked_add(2 * GUARD).ok_or("the size overflows")?;
        let layout = Layout::from_size_align(size, GUARD).map_err(|e| e.to_string())?;
        // SAFETY: the layout is not empty; the writes stay within it.
        let base = unsafe {
            let base = alloc(layout);
            if base.is_null() {
                return Err("the host is out of memory".into());
            }
            base.write_bytes(GUARD_BYTE, GUARD);
            base.add(GUARD).write_bytes(POISON, bytes);
            base.add(GUARD + bytes).write_bytes(GUARD_BYTE, GUARD);
            base
        };
        let address = base as u64 + GUARD as u64;
        self.write().allocations.insert(address, Allocation { base, layout, bytes, gone_for: None });
        Ok(address)
    }

    /// Frees an allocation, as soon as the launches under way have ended; says if its guard zones were hurt.
    pub(super) fn free(&self, address: u64) -> Result<(), String> {
        let mut live = self.write();
        let (next, waits) = (live.next, !live.running.is_empty());
        let allocation = match live.allocations.get_mut(&address) {
            Some(allocation) if allocation.gone_for.is_none() => allocation,
            _ => return Err(format!("{address:#x} is not the address of an allocation")),
        };
        if waits {
            allocation.gone_for = Some(next);
            live.waiting.push(address);
            return Ok(());
        }
        let Some(allocation) = live.allocations.remove(&address) else { return Ok(()) };
        drop(live);
        allocation.damage().map_or(Ok(()), |how| Err(describe(address, allocation.bytes, &how)))
    }

    /// The allocation that `address` lies in or at the end of, for a launch.
    pub(super) fn find(&self, address: u64, turn: Turn) -> Option<Range> {
        let live = self.read();
        let (begin, allocation) = live.before(address, turn)?;
        let end = begin + allocation.bytes as u64;
        (address <= end).then_some(Range { begin, end })
    }

    /// The allocation whose bytes are closest to `address`, for a launch.
    pub(super) fn nearest(&self, address: u64, turn: Turn) -> Option<Range> {
        let live = self.read();
        let range = |(&begin, a): (&u64, &Allocation)| Range { begin, end: begin + a.bytes as u64 };
        let exists = |(_, a): &(&u64, &Allocation)| a.gone_for.is_none_or(|gone| turn < gone);
        let below = live.allocations.range(..=address).rev().find(exists).map(range);
        let above = live.allocations.range(address..).find(exists).map(range);
        match (below, above) {
            (Some(b), Some(a)) => Some(if address.saturating_sub(b.end) <= a.begin - address { b } else { a }),
            (b, a) => b.or(a),
        }
    }

    /// Whether all of `address..address + bytes` is one allocation's, and its guard zones are whole.
    /// For a launch, or [`AFTER_ALL`].
    pub(super) fn check(&self, address: u64, bytes: usize, turn: Turn) -> Result<(), String> {
        let live = self.read();
        let inside = |begin: u64, a: &Allocation| {
            (address - begin).checked_add(bytes as u64).is_some_and(|end| end <= a.bytes as u64)
        };
        match live.before(address, turn) {
            Some((begin, allocation)) if inside(begin, allocation) => {
                allocation.damage().map_or(Ok(()), |how| Err(describe(begin, allocation.bytes, &how)))
            }
            _ => Err(format!("{bytes} bytes at {address:#x} are not all in one live allocation")),
        }
    }

    /// Looks at the guard zones of every live allocation.
    pub(super) fn check_all(&self) -> Result<(), String> {
        let live = self.read();
        let hurt =
            live.allocations.iter().find_map(|(&address, a)| a.damage().map(|how| describe(address, a.bytes, &how)));
        hurt.map_or(Ok(()), Err)
    }
}

fn describe(address: u64, bytes: usize, how: &str) -> String {
    format!("the guard zone of the {bytes}-byte allocation at {address:#x} was {how}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_freed_while_kernels_run_is_theirs_to_their_end() {
        let memory = Memory::default();
        let exists = |address, turn| memory.find(address, turn).is_some();
        let address = memory.allocate(64).unwrap();
        let first = memory.begin();
        let second = memory.begin();
        memory.free(address).unwrap();
        let third = memory.begin();
        assert_eq!([first, second, third].map(|turn| exists(address, turn)), [true, true, false]);
        assert!(memory.check(address, 64, second).is_ok() && memory.check(address, 64, AFTER_ALL).is_err());
        assert!(memory.free(address).unwrap_err().contains("not the address of an allocation"));

        // The memory is still there to be written until both launches have ended, in whatever order they do.
        memory.ended(second).unwrap();
        assert!(exists(address, first));
        // SAFETY: the launch that it was freed behind is under way.
        unsafe { (address as *mut u8).write_bytes(1, 64) };
        memory.ended(first).unwrap();
        assert!(!exists(address, first) && memory.read().allocations.is_empty());
        memory.ended(third).unwrap();

        let address = memory.allocate(64).unwrap();
        memory.free(address).unwrap();
        assert!(memory.read().allocations.is_empty() && memory.read().running.is_empty());
    }

    #[test]
    fn a_guard_zone_hurt_by_the_last_kernel_is_found() {
        let memory = Memory::default();
        let address = memory.allocate(64).unwrap();
        let turn = memory.begin();
        memory.free(address).unwrap();
        // SAFETY: within the guard zone of an allocation that waits for the launch.
        unsafe { (address as *mut u8).add(64).write(0) };
        assert!(memory.ended(turn).unwrap_err().contains("written 0 bytes past its end"));
    }
}
