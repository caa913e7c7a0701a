//! Asynchronous copies (cp.async): carried out at once, or put off until the wait that orders them.

use super::block::Block;
use super::memory::POISON;
use super::order::Order;

/// A copy that was issued and not carried out.
struct Copy {
    to: *mut u8,
    /// Null: zeros.
    from: *const u8,
    bytes: usize,
    group: u32,
}

impl Copy {
    unsafe fn perform(&self) {
        if self.from.is_null() {
            unsafe { self.to.write_bytes(0, self.bytes) }
        } else {
            unsafe { self.to.copy_from(self.from, self.bytes) }
        }
    }
}

/// The copies of one thread.
#[derive(Default)]
pub(super) struct Copies {
    pending: Vec<Copy>,
    committed: u32,
}

impl Copies {
    pub(super) fn clear(&mut self) {
        self.pending.clear();
        self.committed = 0;
    }
}

impl Block {
    /// Issues a copy of the current thread. The kernel has checked both addresses.
    pub(super) unsafe fn async_copy(block: *mut Block, to: *mut u8, from: *const u8, bytes: u32) {
        let b = unsafe { &mut *block };
        let late = match unsafe { (*b.grid).order } {
            Order::Early => false,
            Order::Late => true,
            Order::Shuffled(_) => b.random.next() >> 63 == 1,
        };
        let copies = &mut b.threads[b.current as usize].copies;
        let copy = Copy { to, from, bytes: bytes as usize, group: copies.committed };
        if late {
            unsafe { to.write_bytes(POISON, copy.bytes) };
            copies.pending.push(copy);
        } else {
            unsafe { copy.perform() };
        }
    }

    /// Closes the current thread's group of copies.
    pub(super) unsafe fn async_commit(block: *mut Block) {
        let b = unsafe { &mut *block };
        b.threads[b.current as usize].copies.committed += 1;
    }

    /// Carries out all but the `pending` youngest groups that the current thread has closed.
    pub(super) unsafe fn async_wait(block: *mut Block, pending: u32) {
        let b = unsafe { &mut *block };
        let copies = &mut b.threads[b.current as usize].copies;
        let done = copies.committed.saturating_sub(pending);
        copies.pending.retain(|copy| {
            let due = copy.group < done;
            if due {
                unsafe { copy.perform() };
            }
            !due
        });
    }
}
