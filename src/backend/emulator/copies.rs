//! Asynchronous copies (cp.async): carried out at once, or put off until the wait that orders them.

use super::block::Block;
use super::memory::POISON;
use super::order::Order;
use super::races::Use;

/// A copy that was issued and not carried out.
struct Copy {
    to: *mut u8,
    /// Null: zeros.
    from: *const u8,
    bytes: usize,
    group: u32,
    /// Carried out already, and only kept because its end is a write too where races are looked for.
    done: bool,
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
        let watched = b.races.on;
        let copies = &mut b.threads[b.current as usize].copies;
        let copy = Copy { to, from, bytes: bytes as usize, group: copies.committed, done: !late };
        if late {
            unsafe { to.write_bytes(POISON, copy.bytes) };
        } else {
            unsafe { copy.perform() };
        }
        if late || watched {
            copies.pending.push(copy);
        }
        if watched {
            unsafe { Block::shared_access(block, to as usize, bytes as usize, Use::Copy) };
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
        let (watched, current) = (b.races.on, b.current as usize);
        let closed = b.threads[current].copies.committed.saturating_sub(pending);
        let mut next = 0;
        while let Some(copy) = b.threads[current].copies.pending.get(next) {
            if copy.group >= closed {
                next += 1;
                continue;
            }
            let (to, bytes) = (copy.to as usize, copy.bytes);
            if !copy.done {
                unsafe { copy.perform() };
            }
            b.threads[current].copies.pending.swap_remove(next);
            if watched {
                unsafe { Block::shared_access(block, to, bytes, Use::Copied) };
            }
        }
    }
}
