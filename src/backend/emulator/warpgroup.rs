//! wgmma: products that the four warps of a warpgroup start together, and that each of them waits for.
//!
//! A product reads its factors when it is started, or as late as when it is waited for. Its sums are NaN in between,
//! and what stands in their place is compared with what was left there: so it shows who touches them too early, and who
//! has written them without a fence.

use std::collections::VecDeque;
use std::rc::Rc;

use super::abi::Multiply;
use super::block::{Block, State};
use super::descriptor::{DEPTH, Descriptor, LINES};
use super::granules::{GRANULE, WARPS};
use super::order::Order;
use super::races::of_groups;

/// What sums hold while a product is under way, as bits: a NaN that nobody computes.
const UNDER_WAY: u32 = 0xffff_fff1;
/// Registers of a multiprocessor.
const REGISTERS: u32 = 65536;

/// Threads on their way to something that a warp or a warpgroup does together.
pub(super) struct Convoy {
    first: u32,
    width: u32,
    what: &'static str,
    arrived: Vec<(u32, usize)>,
}

/// One product of a warpgroup.
struct Product {
    descriptors: [Descriptor; 2],
    columns: usize,
    add: bool,
    /// Where the sums of its 128 threads are.
    sums: Vec<usize>,
    /// Both factors, if they were read when it was started.
    early: Option<[Vec<f32>; 2]>,
    /// What it reads.
    granules: Vec<u32>,
}

/// The sums that a thread keeps in one array.
struct Sums {
    at: usize,
    /// What was left there, as bits.
    left: Vec<u32>,
    values: Vec<f32>,
    under_way: u32,
}

/// What a warp has started.
#[derive(Default)]
struct Queue {
    fenced: bool,
    open: Vec<Rc<Product>>,
    groups: VecDeque<Vec<Rc<Product>>>,
    /// Groups that it has waited for.
    done: u32,
}

/// Of all warps and threads of a block.
#[derive(Default)]
pub(super) struct Warpgroups {
    convoys: Vec<Convoy>,
    queues: Vec<Queue>,
    sums: Vec<Vec<Sums>>,
    /// Registers of a thread of each warpgroup.
    registers: Vec<u32>,
    given: u32,
    /// Warpgroups of each block of the cluster.
    each: usize,
}

impl Warpgroups {
    /// A block of so many threads begins, or a cluster that has so many in all, and `each` of its blocks.
    pub(super) fn begin(&mut self, threads: usize, each: u32) {
        self.convoys.clear();
        self.queues.clear();
        self.queues.resize_with(threads.div_ceil(32), Queue::default);
        self.sums.iter_mut().for_each(Vec::clear);
        self.sums.resize_with(self.sums.len().max(threads), Vec::new);
        self.given = (REGISTERS / each.next_multiple_of(128) / 8 * 8).min(255);
        self.each = each.div_ceil(128) as usize;
        self.registers.clear();
        self.registers.resize(threads.div_ceil(128), self.given);
    }

    /// What is wrong with what a block leaves behind.
    pub(super) fn left(&self) -> Option<String> {
        if let Some(warp) = self.queues.iter().position(|q| !q.open.is_empty() || !q.groups.is_empty()) {
            return Some(format!("the block ends, and warp {warp} has not waited for its products"));
        }
        self.registers.chunks(self.each.max(1)).find_map(|block| {
            let (all, most) = (block.iter().sum::<u32>() * 128, self.given * 128 * block.len() as u32);
            (all > most).then(|| format!("setmaxnreg: the warpgroups want {all} registers of the block's {most}"))
        })
    }

    /// Where a thread waits for others of its warp or warpgroup: what for, and for whom.
    pub(super) fn waits(&self, thread: u32) -> Option<(&'static str, Vec<u32>)> {
        let convoy = self.convoys.iter().find(|c| c.arrived.iter().any(|&(t, _)| t == thread))?;
        let missing = |t: &u32| !convoy.arrived.iter().any(|(there, _)| there == t);
        Some((convoy.what, (convoy.first..convoy.first + convoy.width).filter(missing).collect()))
    }
}

impl Block {
    /// The current thread comes to what `width` threads do together. The last of them gets all their operands, by
    /// thread, and goes on with the others behind it; they get nothing, and have nothing left to do.
    unsafe fn convoy(block: *mut Block, width: u32, what: &'static str, operand: usize) -> Option<Vec<usize>> {
        let b = unsafe { &mut *block };
        let current = b.current;
        let first = current / width * width;
        if !b.hopper() || first + width > b.count {
            let why = format!("{what} is for {width} threads of a Hopper GPU, from a multiple of {width} on");
            unsafe { Block::fail(block, why) };
        }
        let convoys = &mut b.warpgroups.convoys;
        let i = convoys.iter().position(|c| c.first == first && c.width == width).unwrap_or_else(|| {
            convoys.push(Convoy { first, width, what, arrived: Vec::new() });
            convoys.len() - 1
        });
        if convoys[i].what != what {
            let why = format!("comes to {what}, and thread {} to {}", convoys[i].arrived[0].0, convoys[i].what);
            unsafe { Block::fail(block, why) };
        }
        convoys[i].arrived.push((current, operand));
        if convoys[i].arrived.len() < width as usize {
            b.threads[current as usize].state = State::InConvoy;
            unsafe { Block::suspend(block) };
            return None;
        }
        let mut arrived = convoys.swap_remove(i).arrived;
        arrived.sort_unstable();
        let mut others: Vec<u32> = arrived.iter().map(|&(t, _)| t).filter(|&t| t != current).collect();
        b.release(&mut others);
        Some(arrived.into_iter().map(|(_, operand)| operand).collect())
    }

    pub(super) unsafe fn wgmma_fence(block: *mut Block, sums: *mut f32, count: u32) {
        let b = unsafe { &mut *block };
        let bits = unsafe { std::slice::from_raw_parts(sums.cast::<u32>(), count as usize) };
        let own = &mut b.warpgroups.sums[b.current as usize];
        match own.iter_mut().find(|s| s.at == sums as usize && s.left.len() == bits.len()) {
            Some(known) if known.under_way > 0 && known.left != bits => return unsafe { Block::touched(block) },
            Some(known) => known.left.copy_from_slice(bits),
            None => {
                own.retain(|s| s.at != sums as usize || s.under_way > 0);
                own.push(Sums { at: sums as usize, left: bits.into(), values: vec![0.0; bits.len()], under_way: 0 });
            }
        }
        if unsafe { Block::convoy(block, 32, "wgmma.fence", 0) }.is_some() {
            let b = unsafe { &mut *block };
            b.warpgroups.queues[b.current as usize / 32].fenced = true;
        }
    }

    unsafe fn touched(block: *mut Block) {
        let why = "the sums of a product that is under way were written".to_string();
        unsafe { Block::fail(block, why) }
    }

    pub(super) unsafe fn wgmma(block: *mut Block, multiply: *const Multiply) {
        let Some(operands) = (unsafe { Block::convoy(block, 128, "wgmma.mma_async", multiply as usize) }) else {
            return;
        };
        // SAFETY: each is on the stack of a coroutine that has not gone on since.
        let all: Vec<Multiply> = operands.iter().map(|&at| unsafe { *(at as *const Multiply) }).collect();
        if let Err((thread, why)) = unsafe { Block::start_product(block, &all) } {
            unsafe { (*block).accuse(thread, why) };
            unsafe { Block::stop_if_accused(block) };
        }
    }

    /// Starts a product of the current thread's warpgroup. Errors name the thread that is at fault.
    unsafe fn start_product(block: *mut Block, all: &[Multiply]) -> Result<(), (u32, String)> {
        let b = unsafe { &mut *block };
        let first = b.current / 128 * 128;
        let Multiply { a, b: right, count, add, transposed, .. } = all[0];
        let same = |m: &Multiply| (m.a, m.b, m.count, m.add, m.transposed) == (a, right, count, add, transposed);
        if let Some(i) = all.iter().position(|m| !same(m)) {
            let why = "wgmma.mma_async with other descriptors than the first thread of its warpgroup";
            return Err((first + i as u32, why.into()));
        }
        let columns = 2 * count as usize;
        let [a_turned, b_turned] = transposed.map(|t| t != 0);
        let descriptors = [Descriptor::read(a, a_turned), Descriptor::read(right, b_turned)];
        let fault = |why: String| (first, format!("wgmma.mma_async: {why}"));
        let rank = b.cluster.rank(first) as usize;
        let mut granules = Vec::new();
        let factors = [("a", LINES, a_turned), ("b", columns, b_turned)];
        for (descriptor, (name, lines, turned)) in descriptors.iter().zip(factors) {
            descriptor.check(lines).map_err(|why| fault(format!("{name}: {why}")))?;
            let begin = granules.len();
            for at in descriptor.units(lines) {
                let offset = b.shared.unwindow(at, rank).and_then(|at| b.shared.offset(at));
                let offset = offset.ok_or_else(|| fault(format!("{name}: reads beyond the shared memory, {at:#x}")))?;
                granules.push((offset / GRANULE) as u32);
            }
            let line = |i: usize| b.granules.line(granules[begin + i] as usize);
            if let Some(why) = (b.races.on && turned).then(|| descriptor.misled(lines, line)).flatten() {
                return Err(fault(format!("{name}: {why}")));
            }
        }
        let warps: [u32; WARPS] = std::array::from_fn(|warp| first + 32 * warp as u32);
        let queue = &b.warpgroups.queues[first as usize / 32];
        let group = queue.done + queue.groups.len() as u32 + 1;
        for &number in granules.iter().filter(|_| b.races.on) {
            let at = number as usize * GRANULE;
            let said = |why: String| fault(format!("reads bytes, {}, {why}", b.shared.place_of(at)));
            let wrong = b.granules.multiply(warps, number as usize, group, true, &b.races);
            if let Some(why) = wrong {
                return Err(said(why));
            }
            if warps.iter().any(|&warp| b.races.unread(warp, at, GRANULE).is_some()) {
                return Err(said("that another thread wrote, with no barrier between".into()));
            }
        }
        let late = match unsafe { (*b.grid).order } {
            Order::Early => false,
            Order::Late => true,
            Order::Shuffled(_) => b.random.next() >> 63 == 1,
        };
        let factors = || {
            let [a, b_] = descriptors;
            [a, b_].into_iter().zip([LINES, columns]).map(|(d, n)| d.gather(n, &b.shared, rank)).collect::<Vec<_>>()
        };
        let early = (!late).then(|| <[Vec<f32>; 2]>::try_from(factors()).unwrap_or_default());
        for (i, m) in all.iter().enumerate() {
            let thread = first + i as u32;
            let fenced = b.warpgroups.queues[thread as usize / 32].fenced;
            let own = &mut b.warpgroups.sums[thread as usize];
            let bits = unsafe { std::slice::from_raw_parts_mut(m.sums.cast::<u32>(), count as usize) };
            let Some(known) = own.iter_mut().find(|s| s.at == m.sums as usize).filter(|s| fenced && s.left == bits)
            else {
                let why = match fenced {
                    false => "wgmma.mma_async with no wgmma.fence (warpgroup_fence) before it",
                    true => "wgmma.mma_async with sums that were written since the last wgmma.fence (warpgroup_fence)",
                };
                return Err((thread, why.into()));
            };
            if known.under_way == 0 {
                known.values.iter_mut().zip(&*bits).for_each(|(value, &bits)| *value = f32::from_bits(bits));
            }
            known.under_way += 1;
            bits.fill(UNDER_WAY);
            known.left.fill(UNDER_WAY);
        }
        let sums = all.iter().map(|m| m.sums as usize).collect();
        let product = Rc::new(Product { descriptors, columns, add: add != 0, sums, early, granules });
        for warp in first as usize / 32..first as usize / 32 + WARPS {
            b.warpgroups.queues[warp].open.push(product.clone());
        }
        Ok(())
    }

    pub(super) unsafe fn wgmma_commit(block: *mut Block) {
        if unsafe { Block::convoy(block, 32, "wgmma.commit_group", 0) }.is_some() {
            let b = unsafe { &mut *block };
            let queue = &mut b.warpgroups.queues[b.current as usize / 32];
            let group = std::mem::take(&mut queue.open);
            queue.groups.push_back(group);
        }
    }

    /// The current warp waits until at most `pending` of its groups are under way.
    pub(super) unsafe fn wgmma_wait(block: *mut Block, pending: u32) {
        if unsafe { Block::convoy(block, 32, "wgmma.wait_group", pending as usize) }.is_none() {
            return;
        }
        let b = unsafe { &mut *block };
        let (current, warp) = (b.current, b.current as usize / 32);
        while b.warpgroups.queues[warp].groups.len() > pending as usize {
            let queue = &mut b.warpgroups.queues[warp];
            let group = queue.groups.pop_front().unwrap_or_default();
            queue.done += 1;
            let done = queue.done;
            for product in group {
                if let Err(thread) = unsafe { Block::finish_product(block, &product, warp) } {
                    unsafe { (*block).accuse(thread, "the sums of a product that is under way were written".into()) };
                    return unsafe { Block::stop_if_accused(block) };
                }
            }
            b.races.reach(current, of_groups(warp), done);
        }
    }

    /// The sums of one warp's 16 lines. Errors name the thread whose sums were touched.
    unsafe fn finish_product(block: *mut Block, product: &Product, warp: usize) -> Result<(), u32> {
        let b = unsafe { &mut *block };
        let Product { descriptors, columns, add, .. } = *product;
        let late;
        let [left, right] = match &product.early {
            Some(factors) => factors,
            None => {
                let rank = b.cluster.rank(32 * warp as u32) as usize;
                late = [descriptors[0].gather(LINES, &b.shared, rank), descriptors[1].gather(columns, &b.shared, rank)];
                &late
            }
        };
        for lane in 0..32 {
            let thread = warp * 32 + lane;
            let at = product.sums[thread % 128];
            let Some(sums) = b.warpgroups.sums[thread].iter_mut().find(|s| s.at == at) else { continue };
            for (i, value) in sums.values.iter_mut().enumerate() {
                // The place of sums[i], as device/warpgroup.cuh has it.
                let row = 16 * (warp % WARPS) + lane / 4 + 8 * (i % 4 / 2);
                let column = 8 * (i / 4) + 2 * (lane % 4) + i % 2;
                let (left, right) = (&left[row * DEPTH..][..DEPTH], &right[column * DEPTH..][..DEPTH]);
                let old = if add { f64::from(*value) } else { 0.0 };
                let product = left.iter().zip(right).fold(old, |sum, (a, b)| sum + f64::from(*a) * f64::from(*b));
                *value = product as f32;
            }
            sums.under_way -= 1;
            let bits = unsafe { std::slice::from_raw_parts_mut(at as *mut u32, sums.values.len()) };
            if *bits != *sums.left {
                return Err(thread as u32);
            }
            if sums.under_way == 0 {
                bits.iter_mut().zip(&sums.values).for_each(|(bits, value)| *bits = value.to_bits());
                sums.left.copy_from_slice(bits);
            }
        }
        if b.races.on {
            product.granules.iter().for_each(|&number| b.granules.multiplied(number as usize));
        }
        Ok(())
    }

    /// setmaxnreg: the current warpgroup has `count` registers a thread from here on.
    pub(super) unsafe fn set_registers(block: *mut Block, count: u32, more: bool) {
        let what = if more { "setmaxnreg.inc" } else { "setmaxnreg.dec" };
        let Some(counts) = (unsafe { Block::convoy(block, 128, what, count as usize) }) else { return };
        let b = unsafe { &mut *block };
        let now = &mut b.warpgroups.registers[b.current as usize / 128];
        let wrong = counts.iter().any(|&other| other != count as usize)
            || !count.is_multiple_of(8)
            || !(24..=256).contains(&count)
            || if more { count < *now } else { count > *now };
        if wrong {
            let why = format!("{what} to {count} registers, where the warpgroup has {now}, or threads differ");
            return unsafe { Block::fail(block, why) };
        }
        *now = count;
    }

    /// What the current thread has written is there for the engines.
    pub(super) unsafe fn proxy_fence(block: *mut Block) {
        let b = unsafe { &mut *block };
        b.granules.fence(b.current);
    }
}
