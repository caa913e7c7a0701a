//! The coroutines that CUDA threads run on. A fiber is never finished: when its thread has exited it takes the next
//! one, so a block whose threads never wait runs on one fiber without a switch.

use corosensei::stack::{DefaultStack, Stack, StackPointer};
use corosensei::{Coroutine, Yielder};

use super::block::Block;

/// Stack of a CUDA thread. Only the pages that are touched cost memory.
const STACK: usize = 128 << 10;

pub(super) type FiberYielder = Yielder<(), ()>;

/// A stack that begins a little below its end. All stacks begin at the same place within a page, so what a thread
/// touches around a switch would fall into the same few sets of the cache for all of them.
struct Staggered {
    stack: DefaultStack,
    offset: usize,
}

impl Staggered {
    fn new(index: u32) -> std::io::Result<Self> {
        // 13 cache lines apart, of the 64 in a page: neighbours do not overlap, and 64 stacks use every line.
        Ok(Staggered { stack: DefaultStack::new(STACK)?, offset: index as usize * 13 % 64 * 64 })
    }
}

// SAFETY: part of a stack that has a guard page below it, and far more than the smallest size.
unsafe impl Stack for Staggered {
    fn base(&self) -> StackPointer {
        let base = self.stack.base();
        StackPointer::new(base.get() - self.offset).unwrap_or(base)
    }

    fn limit(&self) -> StackPointer {
        self.stack.limit()
    }
}

type Thread = Coroutine<(), (), (), Staggered>;

pub(super) struct Fiber {
    coroutine: Option<Thread>,
}

impl Fiber {
    /// Fiber number `index` of `block`.
    ///
    /// # Safety
    /// `block` outlives the fiber.
    pub(super) unsafe fn new(block: *mut Block, index: u32) -> Result<Self, String> {
        let stack = Staggered::new(index).map_err(|e| format!("no stack for a CUDA thread: {e}"))?;
        Ok(Fiber { coroutine: Some(unsafe { coroutine(block, index, stack) }) })
    }

    /// Runs the fiber until it suspends.
    pub(super) fn resume(&mut self) {
        if let Some(coroutine) = &mut self.coroutine {
            coroutine.resume(());
        }
    }

    /// Gives up what the fiber was doing.
    ///
    /// # Safety
    /// The fiber is suspended, and nothing on its stack needs a drop. `block` outlives the fiber.
    pub(super) unsafe fn abandon(&mut self, block: *mut Block, index: u32) {
        if let Some(mut old) = self.coroutine.take() {
            // SAFETY: kernels have no destructors, and the functions of abi.rs hold nothing while they suspend.
            unsafe { old.force_reset() };
            self.coroutine = Some(unsafe { coroutine(block, index, old.into_stack()) });
        }
    }
}

impl Drop for Fiber {
    fn drop(&mut self) {
        if let Some(coroutine) = &mut self.coroutine {
            // SAFETY: as in `abandon`. Unwinding instead would walk through C++ frames.
            unsafe { coroutine.force_reset() };
        }
    }
}

unsafe fn coroutine(block: *mut Block, index: u32, stack: Staggered) -> Thread {
    // SAFETY: the closure borrows nothing; `block` outlives the fiber.
    Coroutine::with_stack(stack, move |yielder, ()| unsafe { Block::fiber(block, index, yielder) })
}
