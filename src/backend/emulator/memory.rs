//! Device memory: allocations with guard zones, and the search for the one an address lies in.

use std::alloc::{Layout, alloc, dealloc};
use std::collections::BTreeMap;
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

/// All live allocations by address.
#[derive(Default)]
pub(super) struct Memory {
    live: RwLock<BTreeMap<u64, Allocation>>,
}

impl Memory {
    fn read(&self) -> RwLockReadGuard<'_, BTreeMap<u64, Allocation>> {
        self.live.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, BTreeMap<u64, Allocation>> {
        self.live.write().unwrap_or_else(PoisonError::into_inner)
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
        self.write().insert(address, Allocation { base, layout, bytes });
        Ok(address)
    }

    /// Frees an allocation; says if its guard zones were hurt.
    pub(super) fn free(&self, address: u64) -> Result<(), String> {
        let Some(allocation) = self.write().remove(&address) else {
            return Err(format!("{address:#x} is not the address of an allocation"));
        };
        allocation.damage().map_or(Ok(()), |how| Err(describe(address, allocation.bytes, &how)))
    }

    /// The allocation that `address` lies in or at the end of.
    pub(super) fn find(&self, address: u64) -> Option<Range> {
        let live = self.read();
        let (&begin, allocation) = live.range(..=address).next_back()?;
        let end = begin + allocation.bytes as u64;
        (address <= end).then_some(Range { begin, end })
    }

    /// The allocation whose bytes are closest to `address`.
    pub(super) fn nearest(&self, address: u64) -> Option<Range> {
        let live = self.read();
        let range = |(&begin, a): (&u64, &Allocation)| Range { begin, end: begin + a.bytes as u64 };
        let below = live.range(..=address).next_back().map(range);
        let above = live.range(address..).next().map(range);
        match (below, above) {
            (Some(b), Some(a)) => Some(if address.saturating_sub(b.end) <= a.begin - address { b } else { a }),
            (b, a) => b.or(a),
        }
    }

    /// Whether all of `address..address + bytes` is one allocation's, and its guard zones are whole.
    pub(super) fn check(&self, address: u64, bytes: usize) -> Result<(), String> {
        let live = self.read();
        let found = live.range(..=address).next_back();
        let inside = |begin: u64, a: &Allocation| {
            (address - begin).checked_add(bytes as u64).is_some_and(|end| end <= a.bytes as u64)
        };
        match found {
            Some((&begin, allocation)) if inside(begin, allocation) => {
                allocation.damage().map_or(Ok(()), |how| Err(describe(begin, allocation.bytes, &how)))
            }
            _ => Err(format!("{bytes} bytes at {address:#x} are not all in one live allocation")),
        }
    }

    /// Looks at the guard zones of every live allocation.
    pub(super) fn check_all(&self) -> Result<(), String> {
        let live = self.read();
        let hurt = live.iter().find_map(|(&address, a)| a.damage().map(|how| describe(address, a.bytes, &how)));
        hurt.map_or(Ok(()), Err)
    }
}

fn describe(address: u64, bytes: usize, how: &str) -> String {
    format!("the guard zone of the {bytes}-byte allocation at {address:#x} was {how}")
}
