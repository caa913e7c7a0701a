//! Rayon's threads as a team that stays together between loops.
//!
//! A network's step is hundreds of loops of some ten microseconds each. A thread of rayon's that finds nothing to do
//! for that long goes to sleep, and to wake it takes as long as a loop, more on a virtual machine. So the first loop
//! that is shared out asks rayon's other threads to stay: they look at one word that says which loop is open, and leave
//! when there has been none for a while. Each begins with its own share of the loop's numbers, the same share of every
//! loop, so that it finds in its cache what it wrote; who is done helps the others.
//!
//! There is one team, with one loop at a time. A loop within a loop, or beside another thread's, is rayon's.

mod iterators;
#[cfg(test)]
mod tests;

use std::any::Any;
use std::cell::{Cell, UnsafeCell};
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use rayon::prelude::*;

pub use self::iterators::OnTeam;
use crate::threads;

/// Most threads of the team, the one whose loop it is among them: as many as a word has bits. More are not worth
/// waiting for in loops as short as these.
const MOST: usize = 64;
/// How long a member waits for the next loop, once it has seen some, and before; and how long it stays at most, so that
/// work of its own that it may have left waiting goes on.
const PATIENCE: Duration = Duration::from_millis(2);
const PATIENCE_AT_FIRST: Duration = Duration::from_micros(200);
const SOME: usize = 4;
const LONGEST: Duration = Duration::from_millis(100);
/// Looks at the word before other threads of the system are let pass.
const LOOKS: usize = 64;
/// Turns of that many looks before a member looks for other work of rayon's.
const TURNS: usize = 8;
/// Into how many lots at least a share is cut, so that who is done can help.
const LOTS: usize = 8;

/// Calls `f` with every number below `count`, on the team; each thread takes `at_once` numbers at least, and fewer than
/// two such lots are the calling thread's. A panic of `f` goes on in the caller, when nobody is at work any more.
///
/// Deliberately not generic: a loop of this kind in every kernel would take long to compile.
pub fn for_each(count: usize, at_once: usize, f: &(dyn Fn(usize) + Sync)) {
    let threads = rayon::current_num_threads();
    if count / 2 < at_once.max(1) || threads < 2 {
        (0..count).for_each(f);
        return;
    }
    let _in_loop = InLoop::begin();
    if !TEAM.lead(threads, count, at_once, f) {
        (0..count).into_par_iter().with_min_len(at_once).for_each(f);
    }
}

thread_local! {
    /// Loops that the thread is in, one within the other.
    static LOOPS: Cell<usize> = const { Cell::new(0) };
}

/// As long as it lives the thread does not stay with the team, where it waits for rayon and is asked to: whoever waits
/// for its loop would wait in turn.
struct InLoop;

impl InLoop {
    fn begin() -> Self {
        LOOPS.set(LOOPS.get() + 1);
        InLoop
    }
}

impl Drop for InLoop {
    fn drop(&mut self) {
        LOOPS.set(LOOPS.get() - 1);
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

static TEAM: Team = Team::new();

struct Team {
    /// Whether somebody's loop is being set up, or is open.
    led: AtomicBool,
    /// Odd while a loop is open, and another number for every loop.
    epoch: Line<AtomicUsize>,
    /// Members that are looking at the open loop, or have been a moment ago.
    inside: Line<AtomicUsize>,
    /// The numbers of rayon's threads that were asked to stay and have not left, as bits.
    asked: AtomicU64,
    /// When they were asked last, in microseconds since the first time.
    asked_at: AtomicU64,
    /// What is open. Written by its leader while it is closed and nobody is inside.
    job: UnsafeCell<Job>,
    /// The number that is next in each share.
    next: [Line<AtomicUsize>; MOST],
    panic: Mutex<Option<Box<dyn Any + Send>>>,
}

/// Apart from its neighbours by the lines that a processor fetches together.
#[repr(align(128))]
struct Line<T>(T);

// SAFETY: `job` is written by the one thread that holds `led`, while the epoch is even and nobody is inside, and read
// by who is inside while it is odd.
unsafe impl Sync for Team {}

#[derive(Clone, Copy)]
struct Job {
    count: usize,
    shares: usize,
    lot: usize,
    f: Option<&'static (dyn Fn(usize) + Sync)>,
}

impl Job {
    fn share(&self, share: usize) -> Range<usize> {
        self.count * share / self.shares..self.count * (share + 1) / self.shares
    }
}

impl Team {
    const fn new() -> Self {
        Team {
            led: AtomicBool::new(false),
            epoch: Line(AtomicUsize::new(0)),
            inside: Line(AtomicUsize::new(0)),
            asked: AtomicU64::new(0),
            asked_at: AtomicU64::new(0),
            job: UnsafeCell::new(Job { count: 0, shares: 1, lot: 1, f: None }),
            next: [const { Line(AtomicUsize::new(0)) }; MOST],
            panic: Mutex::new(None),
        }
    }

    /// Does the loop with the calling thread at its head, or says that another is at work.
    fn lead(&'static self, threads: usize, count: usize, at_once: usize, f: &(dyn Fn(usize) + Sync)) -> bool {
        if self.led.swap(true, Ordering::Acquire) {
            return false;
        }
        self.ask_to_stay(threads);
        let shares = threads.min(MOST);
        let lot = (count / (LOTS * shares)).max(at_once).max(1);
        // SAFETY: the reference is used by who is inside, and `close` waits for them before `f` is given back.
        let f: &'static (dyn Fn(usize) + Sync) = unsafe { std::mem::transmute(f) };
        let job = Job { count, shares, lot, f: Some(f) };
        // SAFETY: this thread holds `led`; the epoch is even, and nobody is inside.
        unsafe { *self.job.get() = job };
        for (share, next) in self.next.iter().enumerate().take(shares) {
            next.0.store(job.share(share).start, Ordering::Relaxed);
        }
        self.epoch.0.fetch_add(1, Ordering::SeqCst);
        let own = catch_unwind(AssertUnwindSafe(|| self.work(&job, 0)));
        self.close();
        let panic = locked(&self.panic).take().or(own.err());
        self.led.store(false, Ordering::Release);
        if let Some(panic) = panic {
            resume_unwind(panic);
        }
        true
    }

    /// Lets nobody enter any more, and waits until nobody is inside.
    fn close(&self) {
        self.epoch.0.fetch_add(1, Ordering::SeqCst);
        let mut looks = 0;
        while self.inside.0.load(Ordering::SeqCst) != 0 {
            looks += 1;
            match looks % LOOKS {
                0 => std::thread::yield_now(),
                _ => std::hint::spin_loop(),
            }
        }
    }

    /// Takes numbers until there are none: of its own share first.
    fn work(&self, job: &Job, own: usize) {
        let Some(f) = job.f else { return };
        for share in (own..job.shares).chain(0..own.min(job.shares)) {
            let (next, end) = (&self.next[share].0, job.share(share).end);
            loop {
                let first = next.fetch_add(job.lot, Ordering::Relaxed);
                if first >= end {
                    break;
                }
                (first..end.min(first + job.lot)).for_each(f);
            }
        }
    }

    /// Asks those of rayon's other threads to stay that are not here, every now and then.
    fn ask_to_stay(&'static self, threads: usize) {
        let caller = rayon::current_thread_index();
        let mut wanted = u64::MAX >> (MOST - threads.min(MOST));
        // A program's main thread has other things to do; and of threads that wait for one that is none of rayon's, all
        // but one are as many as processors with it.
        if threads::first_is_callers() || caller.is_none() {
            wanted &= !1;
        }
        wanted &= !caller.filter(|caller| *caller < MOST).map_or(0, |caller| 1 << caller);
        if wanted & !self.asked.load(Ordering::Relaxed) == 0 {
            return;
        }
        static FIRST: OnceLock<Instant> = OnceLock::new();
        let now = 1 + FIRST.get_or_init(Instant::now).elapsed().as_micros() as u64;
        let before = self.asked_at.load(Ordering::Relaxed);
        if before != 0 && now < before + PATIENCE.as_micros() as u64 {
            return;
        }
        self.asked_at.store(now, Ordering::Relaxed);
        let missing = wanted & !self.asked.fetch_or(wanted, Ordering::Relaxed);
        // What a broadcast left with this thread, which may never wait for rayon and so never look.
        while caller.is_some() && rayon::yield_local() == Some(rayon::Yield::Executed) {}
        rayon::spawn_broadcast(move |member| {
            let index = member.index();
            if index < MOST && missing & 1 << index != 0 {
                if LOOPS.get() == 0 {
                    self.stay(index);
                }
                self.asked.fetch_and(!(1 << index), Ordering::Relaxed);
            }
        });
    }

    /// A member's time with the team. `own` is its share.
    fn stay(&self, own: usize) {
        let began = Instant::now();
        let (mut seen, mut loops, mut turns, mut since) = (0, 0, 0, began);
        loop {
            for _ in 0..LOOKS {
                let epoch = self.epoch.0.load(Ordering::Relaxed);
                if epoch % 2 == 1 && epoch != seen {
                    (seen, loops) = (epoch, loops + 1);
                    self.enter(epoch, own);
                    since = Instant::now();
                }
                std::hint::spin_loop();
            }
            std::thread::yield_now();
            turns += 1;
            if turns % TURNS == 0 {
                let patience = if loops < SOME { PATIENCE_AT_FIRST } else { PATIENCE };
                if rayon::yield_now() == Some(rayon::Yield::Executed) {
                    since = Instant::now();
                } else if since.elapsed() > patience || began.elapsed() > LONGEST {
                    return;
                }
            }
        }
    }

    /// Works at the loop of `epoch`, if it is still open.
    fn enter(&self, epoch: usize, own: usize) {
        let _in_loop = InLoop::begin();
        self.inside.0.fetch_add(1, Ordering::SeqCst);
        // Either the leader sees that somebody is inside, or this thread sees that it has closed.
        if self.epoch.0.load(Ordering::SeqCst) == epoch {
            // SAFETY: the loop is open, and its leader waits for who is inside.
            let job = unsafe { *self.job.get() };
            if let Err(panic) = catch_unwind(AssertUnwindSafe(|| self.work(&job, own % job.shares))) {
                locked(&self.panic).get_or_insert(panic);
            }
        }
        self.inside.0.fetch_sub(1, Ordering::Release);
    }
}
