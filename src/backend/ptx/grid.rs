//! A launch: its blocks one after the other, or one cluster after the other, and the warps of these from barrier to
//! barrier.

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

/// Where a warp stands with the barrier of its cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cluster {
    Elsewhere,
    Arrived,
    Waits,
    /// All others have arrived, too, and it has yet to wait for that.
    Met,
}

/// A warp, and the barrier that it waits at.
struct Scheduled {
    warp: Warp,
    /// The number of its block in the cluster.
    rank: usize,
    waits: Option<usize>,
    cluster: Cluster,
    /// Whether it asks an mbarrier in vain.
    spins: bool,
    ended: bool,
}

/// Runs all blocks. Errors name the block, the threads and the instruction.
pub(super) fn run(program: &Program, launch: &Launch, machine: &mut Machine) -> Result<(), String> {
    let [x, y, z] = launch.grid;
    let cluster = program.cluster;
    let mut warps: Vec<Scheduled> = (0..cluster)
        .flat_map(|rank| (0..launch.threads).step_by(32).map(move |first| (rank as usize, first)))
        .map(|(rank, first)| Scheduled::new(Warp::new(program.slots, first), rank))
        .collect();
    let along_x = move || (0..x).step_by(cluster as usize);
    for block in (0..z).flat_map(|k| (0..y).flat_map(move |j| along_x().map(move |i| [i, j, k]))) {
        machine.poison();
        for scheduled in &mut warps {
            begin(scheduled, program, launch, block);
        }
        together(&mut warps, launch.threads, machine).map_err(|why| {
            let [x, y, z] = block;
            format!("block {:?}, {why}", [x + machine.rank as u32, y, z])
        })?;
    }
    Ok(())
}

/// Puts a warp at the beginning of its block, of the cluster whose first one is `first`.
fn begin(scheduled: &mut Scheduled, program: &Program, launch: &Launch, first: [u32; 3]) {
    (scheduled.waits, scheduled.spins, scheduled.ended) = (None, false, false);
    scheduled.cluster = Cluster::Elsewhere;
    let (warp, rank) = (&mut scheduled.warp, scheduled.rank as u32);
    warp.begin(launch.threads);
    for &(slot, bits) in &program.constants {
        warp.registers[slot as usize] = [bits; 32];
    }
    let along_x = |axis, threads| if axis == 0 { threads } else { 1 };
    for &(slot, special) in &program.specials {
        let first_thread = warp.first;
        warp.registers[slot as usize] = std::array::from_fn(|lane| {
            u64::from(match special {
                Special::Thread(0) => first_thread + lane as u32,
                Special::Thread(_) => 0,
                Special::Threads(axis) => along_x(axis, launch.threads),
                Special::Block(axis) => first[axis] + if axis == 0 { rank } else { 0 },
                Special::Blocks(axis) => launch.grid[axis],
                Special::Lane => lane as u32,
                Special::Rank => rank,
                Special::Ranks => program.cluster,
            })
        });
    }
}

/// Runs the blocks of a cluster, or a block alone. Where that ends, or errs, the machine has the block at its turn.
fn together(warps: &mut [Scheduled], threads: u32, machine: &mut Machine) -> Result<(), String> {
    // Warps count whole.
    let all = u64::from(threads.next_multiple_of(32));
    let mut barriers = vec![[Barrier::default(); 16]; machine.blocks.len()];
    loop {
        let can_run = |w: &Scheduled| !w.ended && w.waits.is_none() && !w.spins && w.cluster != Cluster::Waits;
        let Some(turn) = warps.iter().position(can_run) else {
            // Boxes arrive when nobody can go on without them.
            if !boxes::deliver(machine)? {
                break;
            }
            awake(warps, machine);
            continue;
        };
        let rank = warps[turn].rank;
        machine.rank = rank;
        let pause = warps[turn].warp.run(machine)?;
        awake(warps, machine);
        match pause {
            Pause::Ended => {
                let scheduled = &mut warps[turn];
                let first = scheduled.warp.first;
                scheduled.warp.products.end().map_err(|why| format!("threads {first}..: the warp ends, with {why}"))?;
                scheduled.ended = true;
                machine.blocks[rank].ended = warps.iter().all(|w| w.rank != rank || w.ended);
            }
            Pause::Spin => warps[turn].spins = true,
            Pause::Cluster { wait } => at_cluster(warps, turn, wait)?,
            Pause::Barrier { id, threads, arrive } => {
                let expected = threads.unwrap_or(all);
                let barrier =
                    barriers[rank].get_mut(id as usize).ok_or(format!("there is no barrier {id}: they end at 15"))?;
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
                    let released = |w: &&mut Scheduled| w.rank == rank && w.waits == Some(id as usize);
                    warps.iter_mut().filter(released).for_each(|w| w.waits = None);
                }
            }
        }
    }
    let who = |w: &Scheduled| match machine.blocks.len() {
        1 => format!("threads {}..", w.warp.first),
        _ => format!("threads {}.. of block {} of the cluster", w.warp.first, w.rank),
    };
    let stuck: Vec<String> = warps
        .iter()
        .filter_map(|w| match (w.waits, w.cluster) {
            (Some(id), _) => Some(format!("{} at barrier {id}", who(w))),
            (None, Cluster::Waits) => Some(format!("{} at the cluster's barrier", who(w))),
            _ => None,
        })
        .collect();
    let spins: Vec<String> = warps.iter().filter(|w| w.spins && !w.ended).map(who).collect();
    if !spins.is_empty() {
        let outstanding: Vec<String> = machine.blocks.iter().map(|own| own.engines.outstanding()).collect();
        return Err(format!("deadlock: {} wait at an mbarrier; {}", spins.join(", "), outstanding.join("; ")));
    }
    match stuck.is_empty() {
        true => machine.blocks.iter().try_for_each(|own| own.engines.end()),
        false => Err(format!("deadlock: {} wait for threads that have ended", stuck.join(", "))),
    }
}

/// Who asked an mbarrier in vain asks again if a phase was completed.
fn awake(warps: &mut [Scheduled], machine: &mut Machine) {
    for (rank, own) in machine.blocks.iter_mut().enumerate() {
        if own.engines.progressed() {
            warps.iter_mut().filter(|w| w.rank == rank).for_each(|w| w.spins = false);
        }
    }
}

/// A warp arrives at the barrier of the cluster, or waits there.
fn at_cluster(warps: &mut [Scheduled], turn: usize, wait: bool) -> Result<(), String> {
    let of = |w: &Scheduled| format!("threads {}..: ", w.warp.first);
    let now = &mut warps[turn].cluster;
    *now = match (*now, wait) {
        (Cluster::Elsewhere, false) => Cluster::Arrived,
        (Cluster::Arrived, true) => Cluster::Waits,
        (Cluster::Met, true) => Cluster::Elsewhere,
        (_, true) => return Err(of(&warps[turn]) + "a wait for the cluster with no arrival before it"),
        (_, false) => return Err(of(&warps[turn]) + "a second arrival at the cluster's barrier with no wait between"),
    };
    if warps.iter().all(|w| matches!(w.cluster, Cluster::Arrived | Cluster::Waits)) {
        for w in warps {
            w.cluster = if w.cluster == Cluster::Waits { Cluster::Elsewhere } else { Cluster::Met };
        }
    }
    Ok(())
}

impl Scheduled {
    fn new(warp: Warp, rank: usize) -> Self {
        Scheduled { warp, rank, waits: None, cluster: Cluster::Elsewhere, spins: false, ended: false }
    }
}
