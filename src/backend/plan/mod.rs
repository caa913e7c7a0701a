//! What a program does with a GPU, written down instead of being done, and what it should cost.
//!
//! A [`Planner`] lends a device that allocates addresses with no memory behind them, notes every launch, copy and
//! allocation, and computes nothing: what is downloaded from it is zero. Nothing in a network's launches depends on
//! numbers, and of the GPU that they are for only on whether it is a Hopper, so its step is planned on any machine, in
//! seconds, by the code that runs it. [`Plan::predict`] then adds up what the launches should cost on a [`Chip`].
//!
//! No name gives such a device ([`Device::named`](crate::tensor::Device::named)), as nobody should train on it:
//!
//! ```
//! use veridical::backend::plan::{Chip, Planner};
//! use veridical::{DType, Device, Tensor, ops};
//! # fn main() -> veridical::Result<()> {
//! let planner = Planner::of(&Chip::H200);
//! let device = Device::Gpu(planner.gpu().clone());
//! let x = Tensor::empty([4096, 4096], DType::BF16, &device)?;
//! ops::matmul(&x, &x)?;
//! let plan = planner.take();
//! assert_eq!(plan.flops(), 2.0 * 4096f64.powi(3));
//! assert!(plan.predict(&Chip::H200).device_seconds > 1e-4);
//! # Ok(())
//! # }
//! ```

mod chip;
mod events;
mod loops;
mod predict;
mod products;
mod rules;
mod work;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

pub use chip::Chip;
#[allow(unused_imports)] // a build without CUDA compares nothing with it
pub(crate) use chip::STAGED;
pub use events::{Event, Plan, Started};
pub use predict::{Cost, Kind, Limit, Prediction};
pub use work::{Unit, Work};

use super::gpu::{Command, Driver, Field, Gpu, Hopper, Launch, Replay, prepared};
use super::hopper::Asked;
use super::kernels;
use super::shared_memory::most;
use super::tensor_map::{Boxes, Plain, TensorMap};
use crate::error::{Error, Result};

/// Lends a device that notes what is asked of it.
#[derive(Debug)]
pub struct Planner {
    gpu: Gpu,
    log: Arc<Mutex<Log>>,
}

impl Planner {
    /// A device with `memory` bytes to give away, which computes nothing, and is told what every GPU is.
    pub fn new(memory: usize) -> Planner {
        Self::over(Beneath::Nothing { memory, hopper: None })
    }

    /// The same with the memory of a chip, and told what that one is: by the kernels for Hopper, which all of them are,
    /// and by what a GPU would be asked for besides (`VERIDICAL_HOPPER_WEIGHTS`, `VERIDICAL_HOPPER_CLUSTERS`).
    pub fn of(chip: &Chip) -> Planner {
        Self::with(chip, Asked::by_environment())
    }

    /// The same with what is asked for.
    pub fn with(chip: &Chip, asked: Asked) -> Planner {
        let hopper = Some(Hopper { multiprocessors: chip::MULTIPROCESSORS as u32, asked });
        Self::over(Beneath::Nothing { memory: chip.memory, hopper })
    }

    /// A device that hands everything on to `gpu`, and notes it.
    pub fn watching(gpu: &Gpu) -> Planner {
        Self::over(Beneath::Device(gpu.driver()))
    }

    fn over(beneath: Beneath) -> Planner {
        let log = Arc::new(Mutex::new(Log { next: FIRST, ..Log::default() }));
        Planner { gpu: Gpu::new(Noting { beneath, log: log.clone() }), log }
    }

    /// The device.
    pub fn gpu(&self) -> &Gpu {
        &self.gpu
    }

    /// What was asked of the device since this was called last.
    pub fn take(&self) -> Plan {
        Plan::new(std::mem::take(&mut locked(&self.log).events))
    }
}

/// Addresses are far above all sizes, which stand beside them in parameter structs, and below those of half the space.
const FIRST: u64 = 1 << 46;
/// What a driver's addresses are multiples of.
const ALIGNMENT: u64 = 256;

#[derive(Debug, Default)]
struct Log {
    /// Bytes of what is allocated, by address.
    live: BTreeMap<u64, usize>,
    held: usize,
    next: u64,
    events: Vec<Event>,
}

impl Log {
    /// Bytes from `address` to the end of the allocation that it lies in.
    fn room(&self, address: u64) -> Option<usize> {
        let (&begin, &bytes) = self.live.range(..=address).next_back()?;
        (address - begin < bytes as u64).then(|| bytes - (address - begin) as usize)
    }

    /// The fields of a parameter struct that are addresses, with the bytes there.
    fn buffers(&self, params: &[u8], layout: &'static [Field]) -> Vec<(&'static str, usize)> {
        let words = |field: &Field| {
            let bytes = params.get(field.offset..field.offset + field.size).unwrap_or_default();
            bytes
                .chunks_exact(8)
                .map(|word| u64::from_ne_bytes(word.try_into().unwrap_or_default()))
                .collect::<Vec<_>>()
        };
        let found = layout.iter().flat_map(|field| words(field).into_iter().map(|word| (field.name, word)));
        found.filter_map(|(name, word)| Some((name, self.room(word)?))).collect()
    }

    /// What a command is in a graph.
    fn event(&self, command: &Command) -> Event {
        match command {
            Command::Launch { launch, params, layout } => {
                let of = kernels::find(launch.kernel).map_or("", |kernel| kernel.params);
                Event::Launch(Started::new(*launch, of, params.clone(), layout, self.buffers(params, layout)))
            }
            Command::Copy { bytes, .. } => Event::Copy { bytes: *bytes },
            Command::Zero { bytes, .. } => Event::Zero { bytes: *bytes },
            // It is kept on the device.
            Command::Upload { from, .. } => Event::Copy { bytes: from.len() },
        }
    }
}

fn locked(log: &Mutex<Log>) -> MutexGuard<'_, Log> {
    log.lock().unwrap_or_else(PoisonError::into_inner)
}

enum Beneath {
    Nothing { memory: usize, hopper: Option<Hopper> },
    Device(Arc<dyn Driver>),
}

/// The driver behind a [`Planner`]'s device.
struct Noting {
    beneath: Beneath,
    log: Arc<Mutex<Log>>,
}

impl Noting {
    fn note(&self, event: Event) {
        locked(&self.log).events.push(event);
    }

    fn device(&self) -> Option<&dyn Driver> {
        match &self.beneath {
            Beneath::Nothing { .. } => None,
            Beneath::Device(device) => Some(&**device),
        }
    }
}

impl Driver for Noting {
    fn name(&self) -> String {
        self.device().map_or_else(|| "plan (computes nothing)".into(), Driver::name)
    }

    fn identity(&self) -> Option<String> {
        self.device().and_then(Driver::identity)
    }

    fn hopper(&self) -> Option<Hopper> {
        match &self.beneath {
            Beneath::Nothing { hopper, .. } => *hopper,
            Beneath::Device(device) => device.hopper(),
        }
    }

    fn tensor_map(&self, boxes: &Boxes) -> Result<TensorMap> {
        self.device().map_or_else(|| Ok(Plain::map(boxes)), |device| device.tensor_map(boxes))
    }

    fn allocate(&self, bytes: usize) -> Result<u64> {
        let mut log = locked(&self.log);
        let address = match &self.beneath {
            Beneath::Device(device) => device.allocate(bytes)?,
            Beneath::Nothing { memory, .. } if bytes > memory.saturating_sub(log.held) => {
                let why = format!("{} of {memory} bytes are in use", log.held);
                return Err(Error::OutOfMemory { device: self.name(), bytes, why });
            }
            Beneath::Nothing { .. } => {
                // An address is given once, so that whoever keeps one too long is seen; they last for 2^46 bytes.
                let address = log.next;
                log.next = (address + bytes as u64).next_multiple_of(ALIGNMENT);
                address
            }
        };
        log.live.insert(address, bytes);
        log.held += bytes;
        log.events.push(Event::Allocate { bytes });
        Ok(address)
    }

    fn free(&self, address: u64, bytes: usize) {
        let mut log = locked(&self.log);
        if log.live.remove(&address).is_some() {
            log.held -= bytes;
        }
        log.events.push(Event::Free { bytes });
        // Before anybody else can be given the address.
        if let Some(device) = self.device() {
            device.free(address, bytes);
        }
    }

    fn upload(&self, to: u64, from: &[u8]) -> Result<()> {
        self.note(Event::Upload { bytes: from.len() });
        self.device().map_or(Ok(()), |device| device.upload(to, from))
    }

    fn download(&self, from: u64, to: &mut [u8]) -> Result<()> {
        self.note(Event::Download { bytes: to.len() });
        match self.device() {
            Some(device) => device.download(from, to),
            None => {
                to.fill(0);
                Ok(())
            }
        }
    }

    fn copy(&self, to: u64, from: u64, bytes: usize) -> Result<()> {
        self.note(Event::Copy { bytes });
        self.device().map_or(Ok(()), |device| device.copy(to, from, bytes))
    }

    fn zero(&self, to: u64, bytes: usize) -> Result<()> {
        self.note(Event::Zero { bytes });
        self.device().map_or(Ok(()), |device| device.zero(to, bytes))
    }

    fn launch(&self, launch: &Launch, params: &[u8], layout: &'static [Field]) -> Result<()> {
        let error = |why: String| Error::Driver { what: launch.to_string(), why };
        let kernel = kernels::find(launch.kernel).ok_or_else(|| error("there is no kernel of this name".into()))?;
        launch.check(u32::MAX, kernel.cluster, most(self.hopper().is_some())).map_err(error)?;
        let buffers = locked(&self.log).buffers(params, layout);
        self.note(Event::Launch(Started::new(*launch, kernel.params, params.into(), layout, buffers)));
        self.device().map_or(Ok(()), |device| device.launch(launch, params, layout))
    }

    fn synchronize(&self) -> Result<()> {
        self.note(Event::Wait);
        self.device().map_or(Ok(()), Driver::synchronize)
    }

    fn prepare(&self, commands: &[Command], to_be_changed: bool) -> Result<Option<Box<dyn Replay>>> {
        let events: Arc<[Event]> = commands.iter().map(|command| locked(&self.log).event(command)).collect();
        let beneath = match &self.beneath {
            Beneath::Nothing { .. } => None,
            Beneath::Device(device) => Some(prepared(device, commands.to_vec(), to_be_changed)?),
        };
        self.note(Event::Prepare { commands: commands.len() });
        Ok(Some(Box::new(Noted { events, changed: to_be_changed.then_some(0), log: self.log.clone(), beneath })))
    }
}

/// A graph whose runs are noted.
struct Noted {
    events: Arc<[Event]>,
    /// Commands that were changed since the last run, if they may be.
    changed: Option<usize>,
    log: Arc<Mutex<Log>>,
    beneath: Option<Box<dyn Replay>>,
}

impl Replay for Noted {
    fn run(&mut self) -> Result<()> {
        let changed = self.changed.as_mut().map(std::mem::take);
        locked(&self.log).events.push(Event::Replay { events: self.events.clone(), changed });
        self.beneath.as_mut().map_or(Ok(()), |replay| replay.run())
    }

    fn change(&mut self, at: usize, command: &Command) -> Result<bool> {
        let Some(changed) = &mut self.changed else { return Ok(false) };
        *changed += 1;
        Arc::make_mut(&mut self.events)[at] = locked(&self.log).event(command);
        self.beneath.as_mut().map_or(Ok(true), |replay| replay.change(at, command))
    }
}
