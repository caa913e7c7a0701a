use super::*;

const WRITE: Use = Use::Write;
const READ: Use = Use::Read;

fn races(warps: usize) -> Races {
    let mut races = Races::default();
    races.begin(true, "kernel", warps, 32 * warps as u32, 64);
    races
}

#[test]
fn what_a_barrier_lies_between_is_no_race() {
    let mut races = races(2);
    let all: Vec<u32> = (0..64).collect();
    assert_eq!(races.note(3, 8, 4, WRITE), None);
    assert_eq!(races.note(3, 8, 4, READ), None);
    assert!(races.note(3, 8, 4, WRITE).is_none(), "a thread does not race with itself");
    let other = Stamp { clock: 1, warp: 0, lane: 3 };
    assert_eq!(races.note(4, 10, 2, READ), Some((other, WRITE)));
    assert_eq!(races.note(40, 8, 8, READ), Some((other, WRITE)));
    races.meet(&all, NOTHING);
    assert_eq!(races.note(40, 8, 8, READ), None);
    assert_eq!(races.note(4, 8, 2, READ), None);
    assert!(races.note(3, 8, 4, WRITE).is_some(), "two have read it since");
    races.meet(&all, NOTHING);
    assert_eq!(races.note(3, 8, 4, WRITE), None);
}

#[test]
fn a_warp_that_meets_alone_knows_only_of_itself() {
    let mut races = races(2);
    let warp: Vec<u32> = (0..32).collect();
    assert_eq!(races.note(0, 0, 4, WRITE), None);
    assert_eq!(races.note(32, 4, 4, WRITE), None);
    races.meet(&warp, NOTHING);
    assert_eq!(races.note(1, 0, 4, READ), None);
    assert!(races.note(1, 4, 4, READ).is_some());
    assert!(races.note(33, 0, 4, READ).is_some());
}

#[test]
fn who_passes_without_waiting_is_waited_for_and_knows_nothing() {
    let mut races = races(2);
    let second: Vec<u32> = (32..64).collect();
    assert_eq!(races.note(0, 0, 4, WRITE), None);
    assert_eq!(races.note(32, 4, 4, WRITE), None);
    let mut joined = NOTHING;
    for thread in 0..32 {
        races.pass(thread, &mut joined);
        // What a lane does behind the barrier is not waited for, whenever the others come to it.
        assert_eq!(races.note(thread, 8, 4, READ), None);
    }
    races.meet(&second, joined);
    assert_eq!(races.note(40, 0, 4, READ), None);
    assert!(races.note(1, 4, 4, READ).is_some());
    assert!(races.note(40, 8, 4, WRITE).is_some());
}

#[test]
fn every_reader_is_remembered() {
    let mut races = races(3);
    let all: Vec<u32> = (0..96).collect();
    for reader in [0, 40, 41, 70, 5] {
        assert_eq!(races.note(reader, 0, 2, READ), None);
    }
    let mut later = (0..3).map(|warp| (warp * 32..warp * 32 + 32).collect::<Vec<u32>>());
    // The first two warps meet; the third has read it too.
    let two: Vec<u32> = later.by_ref().take(2).flatten().collect();
    races.meet(&two, NOTHING);
    assert_eq!(races.note(0, 0, 2, WRITE).map(|(stamp, does)| (stamp.warp, does)), Some((2, READ)));
    races.meet(&all, NOTHING);
    assert_eq!(races.note(0, 0, 2, WRITE), None);
    // Another block begins: what the last one did is over.
    races.begin(true, "kernel", 3, 96, 64);
    assert_eq!(races.note(70, 0, 2, WRITE), None);
}

/// Lanes of a warp between which another warp has read: both are remembered.
#[test]
fn every_lane_is_remembered() {
    let mut races = races(2);
    for reader in [0, 32, 1] {
        assert_eq!(races.note(reader, 0, 4, READ), None);
    }
    let second: Vec<u32> = (32..64).collect();
    races.meet(&second, NOTHING);
    let mut known = NOTHING;
    races.signal(32, &mut known);
    races.learn(1, &known);
    let several = Stamp { clock: 1, warp: 0, lane: MANY };
    assert_eq!(races.note(1, 0, 4, WRITE), Some((several, READ)));
}

/// A lane that is ahead of its warp at a barrier reads, and then one that is not: the former is remembered.
#[test]
fn lanes_that_are_ahead_are_remembered() {
    for readers in [[3, 5], [5, 3]] {
        let mut races = races(2);
        let mut joined = NOTHING;
        races.pass(3, &mut joined);
        for reader in readers {
            assert_eq!(races.note(reader, 0, 4, READ), None);
        }
        (0..32).for_each(|lane| races.pass(lane, &mut joined));
        let second: Vec<u32> = (32..64).collect();
        races.meet(&second, joined);
        assert!(races.note(40, 0, 4, WRITE).is_some_and(|(_, does)| does == READ), "{readers:?}");
    }
}

/// Every access since the last write of each pair of bytes, all of which are looked at.
#[derive(Default, Clone)]
struct Plain {
    written: Stamp,
    read: Vec<Stamp>,
}

impl Plain {
    /// Whom `thread` races with, if anybody.
    fn note(&mut self, races: &Races, thread: u32, how: Use) -> Option<Use> {
        if !races.is_over(thread, self.written) {
            return Some(WRITE);
        }
        if how == READ {
            self.read.push(races.stamp(thread));
            return None;
        }
        if self.read.iter().any(|&stamp| !races.is_over(thread, stamp)) {
            return Some(READ);
        }
        *self = Plain { written: races.stamp(thread), read: Vec::new() };
        None
    }
}

/// Reads, writes, barriers of all or of some warps, which some lanes pass without waiting, and signals, at random, over
/// several blocks of different sizes: what is found is what a list of all accesses finds.
#[test]
fn what_is_forgotten_is_never_missed() {
    let mut state = 7u64;
    let mut random = |below: u64| {
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (state >> 33) % below
    };
    let (mut found, mut races) = ([0; 2], Races::default());
    for _ in 0..2000 {
        let warps = 1 + random(5);
        if random(20) == 0 {
            races = Races::default(); // grains are large again
        }
        races.begin(true, "kernel", warps as usize, 32 * warps as u32, 64);
        let mut plain = vec![Plain::default(); 32];
        let (mut known, mut joined) = (NOTHING, NOTHING);
        for _ in 0..60 {
            let thread = (32 * random(warps) + random(3)) as u32;
            match random(14) {
                0 => {
                    let met = 1 + random((1 << warps) - 1);
                    let all: Vec<u32> = (0..32 * warps as u32).filter(|t| met >> (t / 32) & 1 == 1).collect();
                    races.meet(&all, std::mem::replace(&mut joined, NOTHING));
                }
                1 => races.signal(thread, &mut known),
                2 => races.learn(thread, &known),
                3 => races.pass(thread, &mut joined),
                4 => (thread / 32 * 32..thread / 32 * 32 + 32).for_each(|thread| races.pass(thread, &mut joined)),
                what => {
                    let how = if what > 10 { WRITE } else { READ };
                    let bytes = 2 << random(4);
                    let at = random(64 / bytes) * bytes;
                    let pairs = &mut plain[at as usize / 2..(at + bytes) as usize / 2];
                    // One that is wrong ends the block, so that it does not matter what is kept of it.
                    let expected = pairs.iter_mut().find_map(|pair| pair.note(&races, thread, how));
                    let got = races.note(thread, at as usize, bytes as usize, how).map(|(_, does)| does);
                    assert_eq!(got.is_some(), expected.is_some(), "{how} {bytes} bytes at {at} by {thread}");
                    if let Some(does) = got {
                        found[usize::from(does == READ)] += 1;
                        break;
                    }
                }
            }
        }
    }
    assert!(found.iter().all(|&count| count > 200), "{found:?}");
}

/// Accesses that begin as vectors and go on as halves: what was known of a vector is known of each half.
#[test]
fn grains_are_as_small_as_accesses() {
    let mut races = races(3);
    assert_eq!(races.note(0, 16, 16, WRITE), None);
    for reader in [32, 64] {
        assert_eq!(races.note(reader, 32, 16, READ), None);
    }
    assert_eq!(races.grain, 0);
    // The second half of a word that nobody used, and of one that another thread wrote.
    assert_eq!(races.note(5, 2, 2, WRITE), None);
    assert_eq!(GRAINS[races.grain], 1);
    assert_eq!(races.note(6, 0, 2, WRITE), None);
    assert_eq!(races.note(6, 2, 2, READ).map(|(stamp, does)| (stamp.lane, does)), Some((5, WRITE)));
    for half in (16..32).step_by(2) {
        assert_eq!(races.note(40, half, 2, READ).map(|(_, does)| does), Some(WRITE), "{half}");
    }
    // Both readers are remembered of every half, each for itself.
    for half in (32..48).step_by(2) {
        assert_eq!(races.note(0, half, 2, WRITE).map(|(stamp, does)| (stamp.warp, does)), Some((1, READ)), "{half}");
    }
    let all: Vec<u32> = (0..64).collect();
    races.meet(&all, NOTHING);
    assert_eq!(races.note(0, 32, 2, WRITE).map(|(stamp, does)| (stamp.warp, does)), Some((2, READ)));
    // The next block of the kernel begins so, another kernel does not, and neither sees what the last one did.
    races.begin(true, "kernel", 3, 96, 64);
    assert_eq!(GRAINS[races.grain], 1);
    races.begin(true, "other", 3, 96, 64);
    assert_eq!((GRAINS[races.grain], races.note(40, 16, 16, WRITE)), (4, None));
}

#[test]
fn a_copy_under_way_is_not_to_be_touched() {
    let mut races = races(2);
    let all: Vec<u32> = (0..64).collect();
    assert_eq!(races.note(0, 0, 16, Use::Copy), None);
    let copy = Some((Stamp { clock: 1, warp: 0, lane: 0 }, Use::Copy));
    // Not by the thread that issued it, and after a barrier no more than before.
    assert_eq!(races.note(0, 0, 4, READ), copy);
    races.meet(&all, NOTHING);
    assert_eq!(races.note(40, 8, 4, READ), copy);
    assert_eq!(races.note(0, 0, 16, Use::Copied), None);
    assert!(races.note(40, 8, 4, READ).is_some_and(|(_, does)| does == WRITE));
    races.meet(&all, NOTHING);
    assert_eq!(races.note(40, 8, 4, READ), None);
    // One that nobody waited for ends with its block.
    races.meet(&all, NOTHING);
    assert_eq!(races.note(0, 0, 16, Use::Copy), None);
    races.begin(true, "kernel", 2, 64, 64);
    assert_eq!(races.note(40, 8, 4, READ), None);
}
