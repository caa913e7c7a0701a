//! What was asked of a device, in order.

use std::sync::Arc;

use crate::backend::gpu::{Field, Launch};

use super::chip::STAGED;
use super::rules;
use super::work::Work;

/// A launch with what its kernel was given.
#[derive(Debug, Clone)]
pub struct Started {
    launch: Launch,
    /// The name of the parameter struct.
    of: &'static str,
    params: Box<[u8]>,
    layout: &'static [Field],
    /// Of each address among the parameters: field, and bytes from there to the end of its allocation.
    buffers: Vec<(&'static str, usize)>,
}

impl Started {
    pub(super) fn new(
        launch: Launch,
        of: &'static str,
        params: Box<[u8]>,
        layout: &'static [Field],
        buffers: Vec<(&'static str, usize)>,
    ) -> Self {
        Started { launch, of, params, layout, buffers }
    }

    /// Kernel, blocks, threads and shared memory.
    pub fn launch(&self) -> &Launch {
        &self.launch
    }

    /// A parameter of 4 or 8 bytes, as a whole number, by the name that it has in the kernel's struct; `None` if there
    /// is none.
    pub fn number(&self, name: &str) -> Option<u64> {
        let field = self.layout.iter().find(|field| field.name == name)?;
        let bytes = self.params.get(field.offset..field.offset + field.size)?;
        match bytes.len() {
            4 => bytes.try_into().ok().map(u32::from_ne_bytes).map(u64::from),
            8 => bytes.try_into().ok().map(u64::from_ne_bytes),
            _ => None,
        }
    }

    /// The parameters that are addresses of live memory: field, and bytes from there to the end of the allocation.
    pub fn buffers(&self) -> &[(&'static str, usize)] {
        &self.buffers
    }

    /// What there is to do.
    pub fn work(&self) -> Work {
        rules::of(&self.launch, self.of, &self.params, &self.buffers)
    }

    /// What the launch does, without dtype, sizes of tiles and layouts of factors: `conv2d_fwd`, `matmul_fwd`.
    pub fn kind(&self) -> &'static str {
        let mut name = self.launch.kernel;
        const ENDINGS: [&str; 12] =
            ["_f32", "_bf16", "_u32", "_large", "_small", "_d64", "_d128", "_d256", "_nn", "_nt", "_tn", "_tt"];
        while let Some(shorter) = ENDINGS.iter().find_map(|ending| name.strip_suffix(ending)) {
            name = shorter;
        }
        name
    }
}

/// One thing that was asked of a device.
#[derive(Debug, Clone)]
pub enum Event {
    /// A kernel was started.
    Launch(Started),
    /// Bytes were copied within the device.
    Copy {
        /// How many.
        bytes: usize,
    },
    /// Bytes were set to zero.
    Zero {
        /// How many.
        bytes: usize,
    },
    /// Bytes went to the device.
    Upload {
        /// How many.
        bytes: usize,
    },
    /// Bytes came from the device, which the host waited for.
    Download {
        /// How many.
        bytes: usize,
    },
    /// A buffer was made.
    Allocate {
        /// Its size.
        bytes: usize,
    },
    /// A buffer was given back.
    Free {
        /// Its size.
        bytes: usize,
    },
    /// The host waited for everything.
    Wait,
    /// Launches, copies and zeroings were made a graph.
    Prepare {
        /// How many.
        commands: usize,
    },
    /// A graph was started.
    Replay {
        /// What it does.
        events: Arc<[Event]>,
        /// How many of its commands were given other parameters before, where the host asked for each of them anew;
        /// `None` where it did nothing but to start the graph.
        changed: Option<usize>,
    },
}

impl Event {
    /// What a graph does, or else the event itself.
    pub fn parts(&self) -> &[Event] {
        match self {
            Event::Replay { events, .. } => events,
            _ => std::slice::from_ref(self),
        }
    }

    /// Whether the host waits for the device: uploads that are too large to be staged do, too.
    pub fn waits(&self) -> bool {
        match self {
            Event::Download { .. } | Event::Wait => true,
            Event::Upload { bytes } => *bytes > STAGED,
            _ => false,
        }
    }
}

/// What was asked of a device between two moments.
#[derive(Debug, Clone, Default)]
pub struct Plan {
    events: Vec<Event>,
}

impl Plan {
    pub(super) fn new(events: Vec<Event>) -> Self {
        Plan { events }
    }

    /// Everything in order.
    pub fn events(&self) -> &[Event] {
        &self.events
    }

    /// The launches in order, those of graphs among them.
    pub fn launches(&self) -> impl Iterator<Item = &Started> {
        self.events.iter().flat_map(Event::parts).filter_map(|event| match event {
            Event::Launch(started) => Some(started),
            _ => None,
        })
    }

    /// How often a graph was started.
    pub fn replays(&self) -> usize {
        self.events.iter().filter(|event| matches!(event, Event::Replay { .. })).count()
    }

    /// How many launches there are.
    pub fn launch_count(&self) -> usize {
        self.launches().count()
    }

    /// How many buffers were made.
    pub fn allocations(&self) -> usize {
        self.events.iter().filter(|event| matches!(event, Event::Allocate { .. })).count()
    }

    /// How often the host waited for the device.
    pub fn waits(&self) -> usize {
        self.events.iter().filter(|event| event.waits()).count()
    }

    /// Floating-point operations of the products, a multiply-add counting as two.
    pub fn flops(&self) -> f64 {
        self.launches().map(|started| started.work().flops).sum()
    }
}
