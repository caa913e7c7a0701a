//! What a plan should cost on a chip: a prediction, to be held against a measurement that others make.

use std::collections::BTreeMap;

use super::chip::{
    ALONE, CACHE, CLOCK, CLUSTERED, COPIED, Chip, FMA_CYCLES, HOST_CHANGED, HOST_COPIED, HOST_GATHERED, HOST_LAUNCH,
    HOST_PAIR, HOST_PREPARED, HOST_REPLAY, HOST_WAIT, ISSUED, MMA_CYCLES, MMA_REACHED, MMA_SYNC, MULTIPROCESSORS,
    ONE_BLOCK, SCHEDULERS, START, START_IN_GRAPH, WGMMA_REACHED,
};
use super::events::{Event, Plan, Started};
use super::work::{Unit, Work};

/// What takes longest in a launch, and so all of its time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Limit {
    /// Multiplications: of tensor cores, or multiply-adds.
    Arithmetic,
    /// Instructions, of which the schedulers issue one a cycle.
    Instructions,
    /// Bytes out of the L2 cache.
    Cache,
    /// Bytes of the memory.
    Memory,
    /// That there is a launch at all.
    Launch,
    /// Bytes from the host or to it.
    Host,
}

impl Limit {
    /// As tables call it.
    pub fn name(self) -> &'static str {
        match self {
            Limit::Arithmetic => "arithmetic",
            Limit::Instructions => "instructions",
            Limit::Cache => "cache bandwidth",
            Limit::Memory => "bandwidth",
            Limit::Launch => "launches",
            Limit::Host => "host",
        }
    }
}

/// What a launch should cost.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Cost {
    /// Seconds, with those that it takes to start.
    pub seconds: f64,
    /// What takes them.
    pub limit: Limit,
}

impl Cost {
    /// Of work on a chip.
    pub fn of(work: &Work, chip: &Chip) -> Cost {
        let blocks = work.blocks.max(1.0);
        let product = work.multiplications > 0.0;
        let running = if work.clustered { CLUSTERED } else { MULTIPROCESSORS };
        // The multiprocessors with most blocks are done last, and meanwhile the others have nothing to do.
        let rounds = (blocks / running).ceil();
        let alone = if product && blocks <= running { ALONE } else { 1.0 };
        let busy = blocks / (rounds * MULTIPROCESSORS) * alone;
        let cycles = MULTIPROCESSORS * SCHEDULERS * CLOCK * busy;

        let each = match work.unit {
            Unit::Fma => FMA_CYCLES / ISSUED,
            Unit::Mma => MMA_CYCLES / MMA_SYNC / MMA_REACHED,
            Unit::Wgmma => MMA_CYCLES / WGMMA_REACHED,
        };
        let few = blocks * ONE_BLOCK;
        let parts = [
            (work.multiplications * each / cycles, Limit::Arithmetic),
            (work.instructions / ISSUED / cycles, Limit::Instructions),
            (work.cached / CACHE.min(few), Limit::Cache),
            (work.bytes / (COPIED * chip.bandwidth).min(few), Limit::Memory),
            (START, Limit::Launch),
        ];
        let (longest, limit) = parts.into_iter().fold((0.0, Limit::Launch), |a, b| if b.0 > a.0 { b } else { a });
        // Where starting takes longest there is little else.
        let seconds = if limit == Limit::Launch { START } else { START + longest };
        Cost { seconds, limit }
    }

    /// Of bytes that are copied or zeroed by as many blocks as it takes.
    fn moved(bytes: f64, chip: &Chip) -> Cost {
        Cost::of(&Work { bytes, blocks: MULTIPROCESSORS * 8.0, ..Work::default() }, chip)
    }
}

/// What launches of one kind should cost together.
#[derive(Debug, Clone, PartialEq)]
pub struct Kind {
    /// As [`Started::kind`] says, or `copy`, `zero`, `upload`, `download`.
    pub name: &'static str,
    /// How many.
    pub launches: usize,
    /// Operations of their products.
    pub flops: f64,
    /// Bytes of memory.
    pub bytes: f64,
    /// Seconds on the device.
    pub seconds: f64,
    /// What takes most of these.
    pub limit: Limit,
    /// Whether somebody wrote down how many bytes each of them moves; if not, it was taken for those of all buffers.
    pub known: bool,
}

/// What a plan should cost on a chip. Nothing of it was measured.
#[derive(Debug, Clone, PartialEq)]
pub struct Prediction {
    /// By what is done, longest first.
    pub kinds: Vec<Kind>,
    /// Seconds of the device.
    pub device_seconds: f64,
    /// Seconds of the host: launches and allocations.
    pub host_seconds: f64,
    /// Seconds for waiting, besides both.
    pub wait_seconds: f64,
}

impl Prediction {
    /// Seconds in all: device and host work side by side, but for the waits.
    pub fn seconds(&self) -> f64 {
        self.device_seconds.max(self.host_seconds) + self.wait_seconds
    }

    /// Whether the host is what keeps the device waiting.
    pub fn is_bound_by_host(&self) -> bool {
        self.host_seconds > self.device_seconds
    }

    /// Operations of all products.
    pub fn flops(&self) -> f64 {
        self.kinds.iter().map(|kind| kind.flops).sum()
    }

    /// Bytes of memory.
    pub fn bytes(&self) -> f64 {
        self.kinds.iter().map(|kind| kind.bytes).sum()
    }
}

/// Sums of one kind, with the seconds by what limits them.
#[derive(Default)]
struct Sums {
    launches: usize,
    work: Work,
    seconds: BTreeMap<Limit, f64>,
}

impl Sums {
    fn add(&mut self, work: &Work, cost: Cost) {
        self.launches += 1;
        self.work.flops += work.flops;
        self.work.bytes += work.bytes;
        self.work.assumed |= work.assumed;
        *self.seconds.entry(cost.limit).or_default() += cost.seconds;
    }

    fn kind(self, name: &'static str) -> Kind {
        let Sums { launches, work, seconds } = self;
        let most = seconds.iter().max_by(|a, b| a.1.total_cmp(b.1)).map_or(Limit::Launch, |(limit, _)| *limit);
        let seconds = seconds.values().sum();
        Kind { name, launches, flops: work.flops, bytes: work.bytes, seconds, limit: most, known: !work.assumed }
    }
}

impl Plan {
    /// What it should cost.
    pub fn predict(&self, chip: &Chip) -> Prediction {
        let mut kinds: BTreeMap<&'static str, Sums> = BTreeMap::new();
        let (mut host_seconds, mut wait_seconds) = (0.0, 0.0);
        for event in self.events() {
            host_seconds += match event {
                Event::Allocate { .. } => HOST_PAIR,
                Event::Prepare { commands } => *commands as f64 * HOST_PREPARED,
                Event::Replay { changed: None, .. } => HOST_REPLAY,
                Event::Replay { changed: Some(changed), events } => {
                    HOST_REPLAY + events.len() as f64 * HOST_GATHERED + *changed as f64 * HOST_CHANGED
                }
                Event::Free { .. } | Event::Wait => 0.0,
                _ => HOST_LAUNCH,
            };
            wait_seconds += if event.waits() { HOST_WAIT } else { 0.0 };
            let saved = if matches!(event, Event::Replay { .. }) { START - START_IN_GRAPH } else { 0.0 };
            for (name, work, cost) in event.parts().iter().filter_map(|part| started(part, chip)) {
                let cost = Cost { seconds: cost.seconds - saved, ..cost };
                kinds.entry(name).or_default().add(&work, cost);
            }
        }
        let mut kinds: Vec<Kind> = kinds.into_iter().map(|(name, sums)| sums.kind(name)).collect();
        kinds.sort_by(|a, b| b.seconds.total_cmp(&a.seconds));
        let device_seconds = kinds.iter().map(|kind| kind.seconds).sum();
        Prediction { kinds, device_seconds, host_seconds, wait_seconds }
    }
}

/// What the device does, what that is and what it should cost; `None` of what is the host's alone.
fn started(event: &Event, chip: &Chip) -> Option<(&'static str, Work, Cost)> {
    Some(match event {
        Event::Launch(started) => launch(started, chip),
        Event::Copy { bytes } => moved("copy", 2.0 * *bytes as f64, chip),
        Event::Zero { bytes } => moved("zero", *bytes as f64, chip),
        Event::Upload { bytes } => transferred("upload", *bytes),
        Event::Download { bytes } => transferred("download", *bytes),
        Event::Allocate { .. } | Event::Free { .. } | Event::Wait => return None,
        Event::Prepare { .. } | Event::Replay { .. } => return None,
    })
}

fn launch(started: &Started, chip: &Chip) -> (&'static str, Work, Cost) {
    let work = started.work();
    (started.kind(), work, Cost::of(&work, chip))
}

fn moved(name: &'static str, bytes: f64, chip: &Chip) -> (&'static str, Work, Cost) {
    (name, Work { bytes, ..Work::default() }, Cost::moved(bytes, chip))
}

fn transferred(name: &'static str, bytes: usize) -> (&'static str, Work, Cost) {
    let bytes = bytes as f64;
    (name, Work { bytes, ..Work::default() }, Cost { seconds: START + bytes / HOST_COPIED, limit: Limit::Host })
}
