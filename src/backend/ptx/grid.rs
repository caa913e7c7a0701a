//! A launch: its blocks one after the other, and the warps of a block from barrier to barrier.

use crate::backend::gpu::Launch;

use super::boxes;
use super::machine::Machine;
use super::program::{Program, Special};
use super::step::Pause;
use super::warp::Warp;

/// Threads at a barrier.
#[derive(Debug, Clone, Copy, Default)]
struct Barrier {
    here: u64,
    expected: u64,
}

/// A warp, and the barrier that it waits at.
struct Scheduled {
    warp: Warp,
    waits: Option<usize>,
    /// Whether it asks an mbarrier in vain.
    spins: bool,
    ended: bool,
}

/// Runs all blocks. Errors name the block, the threads and the instruction.
pub(super) fn run(program: &Program, launch: &Launch, machine: &mut Machine) -> Result<(), String> {
    let [x, y, z] = launch.grid;
    let firsts = (0..launch.threads).step_by(32);
    let mut warps: Vec<Scheduled> = firsts.map(|first| Scheduled::new(Warp::new(program.slots, first))).collect();
    for block in (0..z).flat_map(|k| (0..y).flat_map(move |j| (0..x).map(move |i| [i, j, k]))) {
        machine.poison();
        for scheduled in &mut warps {
            begin(&mut scheduled.warp, program, launch, block);
            (scheduled.waits, scheduled.spins, scheduled.ended) = (None, false, false);
        }
        self::block(&mut warps, launch.threads, machine).map_err(|why| format!("block {block:?}, {why}"))?;
    }
    Ok(())
}

/// Puts a warp at the beginning of a block.
fn begin(warp: &mut Warp, program: &Program, launch: &Launch, block: [u32; 3]) {
    warp.begin(launch.threads);
    for &(slot, bits) in &program.constants {
        warp.registers[slot as usize] = [bits; 32];
    }
    let along_x = |axis, threads| if axis == 0 { threads } else { 1 };
    for &(slot, special) in &program.specials {
        let first = warp.first;
        warp.registers[slot as usize] = std::array::from_fn(|lane| {
            u64::from(match special {
                Special::Thread(0) => first + lane as u32,
                Special::Thread(_) => 0,
                Special::Threads(axis) => along_x(axis, launch.threads),
                Special::Block(axis) => block[axis],
                Special::Blocks(axis) => launch.grid[axis],
                Special::Lane => lane as u32,
            })
        });
    }
}

fn block(warps: &mut [Scheduled], threads: u32, machine: &mut Machine) -> Result<(), String> {
    // Warps count whole.
    let all = u64::from(threads.next_multiple_of(32));
    let mut barriers = [Barrier::default(); 16];
    loop {
        let Some(turn) = warps.iter().position(|w| !w.ended && w.waits.is_none() && !w.spins) else {
            // Boxes arrive when nobody can go on without them.
            if !boxes::deliver(machine)? {
                break;
            }
            if machine.engines.progressed() {
                warps.iter_mut().for_each(|w| w.spins = false);
            }
            continue;
        };
        let pause = warps[turn].warp.run(machine)?;
        if machine.engines.progressed() {
            warps.iter_mut().for_each(|w| w.spins = false);
        }
        match pause {
            Pause::Ended => {
                let scheduled = &mut warps[turn];
                let first = scheduled.warp.first;
                scheduled.warp.products.end().map_err(|why| format!("threads {first}..: the warp ends, with {why}"))?;
                scheduled.ended = true;
            }
            Pause::Spin => warps[turn].spins = true,
            Pause::Barrier { id, threads, arrive } => {
                let expected = threads.unwrap_or(all);
                let barrier =
                    barriers.get_mut(id as usize).ok_or(format!("there is no barrier {id}: they end at 15"))?;
                if barrier.here > 0 && barrier.expected != expected {
                    let other = barrier.expected;
                    return Err(format!("barrier {id} is for {other} threads, and for {expected} too"));
                }
                if expected % 32 != 0 || expected == 0 || expected > all {
                    return Err(format!("barrier {id} is for {expected} of the block's {all} threads"));
                }
                *barrier = Barrier { here: barrier.here + 32, expected };
                warps[turn].waits = (!arrive).then_some(id as usize);
                if barrier.here == expected {
                    *barrier = Barrier::default();
                    warps.iter_mut().filter(|w| w.waits == Some(id as usize)).for_each(|w| w.waits = None);
                }
            }
        }
    }
    let stuck: Vec<String> =
        warps.iter().filter_map(|w| Some(format!("threads {}.. at barrier {}", w.warp.first, w.waits?))).collect();
    let spins: Vec<String> =
        warps.iter().filter(|w| w.spins && !w.ended).map(|w| format!("threads {}..", w.warp.first)).collect();
    if !spins.is_empty() {
        let outstanding = machine.engines.outstanding();
        return Err(format!("deadlock: {} wait at an mbarrier; {outstanding}", spins.join(", ")));
    }
    match stuck.is_empty() {
        true => machine.engines.end(),
        false => Err(format!("deadlock: {} wait for threads that have ended", stuck.join(", "))),
    }
}

impl Scheduled {
    fn new(warp: Warp) -> Self {
        Scheduled { warp, waits: None, spins: false, ended: false }
    }
}
