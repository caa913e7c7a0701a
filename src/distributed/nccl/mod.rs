//! Ranks on GPUs that exchange gradients by NCCL, from the memory of one to that of another.
//!
//! NCCL moves bytes and adds nothing. All else that ranks say to each other goes over the connections that they met by,
//! which also tell when one of them is lost: NCCL itself would wait for it for ever.

mod library;

use std::ffi::OsString;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use self::library::{Communicator, Library, Outcome, Transfer, UniqueId};
use super::{Collective, Ranks};
use crate::backend::gpu::Gpu;
use crate::error::{Error, Result};
use crate::tensor::{DType, Device, Tensor};

/// What says whether NCCL is used, and which.
const VARIABLE: &str = "VERIDICAL_NCCL";

/// How long it is waited, after NCCL has failed, for word of a rank that is lost: that is the cause, then.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// Ranks that exchange tensors by NCCL.
pub struct Nccl {
    /// By which they met.
    control: Ranks,
    library: &'static Library,
    gpu: Gpu,
    /// `None` once it has failed.
    communicator: Mutex<Option<Handle>>,
}

/// A communicator, which any thread may use that has the GPU's context.
struct Handle(Communicator);

// SAFETY: NCCL lets any one thread at a time use a communicator, and the mutex around it does.
unsafe impl Send for Handle {}

/// What a person wants.
enum Wanted {
    Off,
    /// If it is there.
    Any,
    Required,
    /// The library in this file, for any device.
    File(OsString),
}

impl Wanted {
    fn of_environment() -> Self {
        match std::env::var_os(VARIABLE) {
            None => Wanted::Any,
            Some(text) if text.is_empty() => Wanted::Any,
            Some(text) if text == "off" => Wanted::Off,
            Some(text) if text == "required" => Wanted::Required,
            Some(file) => Wanted::File(file),
        }
    }

    fn is_a_must(&self) -> bool {
        matches!(self, Wanted::Required | Wanted::File(_))
    }
}

/// The same ranks, with tensors exchanged by NCCL where each has a GPU and the same version of it, and a line on what
/// was decided, if there was anything to decide. All ranks call this together, each with its device.
///
/// `VERIDICAL_NCCL` says `off`, `required`, or which file. Errors where it must be and cannot.
pub fn on(ranks: &Ranks, device: &Device) -> Result<(Ranks, Option<String>)> {
    if ranks.is_alone() {
        return Ok((ranks.clone(), None));
    }
    let wanted = Wanted::of_environment();
    let gpu = match device {
        Device::Gpu(gpu) if gpu.identity().is_some() || matches!(wanted, Wanted::File(_)) => Some(gpu),
        _ => None,
    };
    let found = match (gpu, &wanted) {
        (None, _) => Err(String::new()),
        (_, Wanted::Off) => Err(format!("{VARIABLE}=off")),
        (_, Wanted::File(file)) => Library::loaded(Some(file)),
        _ => Library::loaded(None),
    };
    let said = match &found {
        Ok(library) => format!("+{}", library.version()),
        Err(why) => format!("-{why}"),
    };
    let all = ranks.gather(said.as_bytes())?;
    let all: Vec<_> = all.iter().map(|said| String::from_utf8_lossy(said).into_owned()).collect();
    let first = all.first().map_or("", String::as_str);
    let why_not = match all.iter().enumerate().find(|(_, said)| !said.starts_with('+') || *said != first) {
        None => None,
        Some((_, said)) if said == "-" => Some(String::new()),
        Some((0, said)) => Some(said[1..].to_string()),
        Some((rank, said)) => Some(match (said.strip_prefix('-'), first.strip_prefix('+')) {
            (None, Some(first)) => format!("rank {rank} has version {} of it, and rank 0 {first}", &said[1..]),
            (why, _) => format!("on rank {rank}: {}", why.unwrap_or("it is another one")),
        }),
    };
    match (why_not, found, gpu) {
        (None, Ok(library), Some(gpu)) => {
            let version = library.version();
            let nccl = Nccl::meet(ranks, library, gpu)?;
            Ok((Ranks::new(nccl), Some(format!("gradients are exchanged by NCCL {version}"))))
        }
        (Some(why), ..) if wanted.is_a_must() && gpu.is_some() => {
            Err(Error::Config(format!("{VARIABLE} asks for NCCL, and it cannot be used: {why}")))
        }
        (Some(why), ..) if !why.is_empty() => {
            Ok((ranks.clone(), Some(format!("gradients go through the memory of the host, without NCCL: {why}"))))
        }
        _ => Ok((ranks.clone(), None)),
    }
}

impl Nccl {
    /// Meets the others, who do the same.
    fn meet(control: &Ranks, library: &'static Library, gpu: &Gpu) -> Result<Self> {
        let id = control.on_first(|| library.unique_id().map_err(|code| failed(library, "an id to meet by", code)))?;
        let told = control.gather(id.as_ref().map_or(&[], bytemuck::bytes_of))?;
        let id: UniqueId = told
            .first()
            .and_then(|bytes| bytemuck::try_pod_read_unaligned(bytes).ok())
            .ok_or_else(|| Error::Rank { rank: 0, what: "sent no id to meet by".into() })?;
        gpu.stream()?;
        let begun = library.meet(id, control.rank(), control.size());
        let communicator = begun.map_err(|code| failed(library, "meeting the other ranks", code))?;
        let communicator = Mutex::new(Some(Handle(communicator)));
        let nccl = Nccl { control: control.clone(), library, gpu: gpu.clone(), communicator };
        nccl.act("meeting the other ranks", |_| Ok(()))?;
        Ok(nccl)
    }

    fn communicator(&self) -> MutexGuard<'_, Option<Handle>> {
        self.communicator.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins something and waits until it is done on the GPU. Errors, and has nothing under way any more, if NCCL
    /// fails or a rank is lost.
    fn act(&self, what: &str, begin: impl FnOnce(Communicator) -> Result<(), Outcome>) -> Result<()> {
        self.gpu.stream()?;
        let mut held = self.communicator();
        let Some(Handle(communicator)) = *held else {
            return Err(Error::Driver { what: format!("NCCL: {what}"), why: "it has failed before".into() });
        };
        let failed = |code| failed(self.library, what, code);
        let done = begin(communicator).map_err(failed).and_then(|()| self.wait(communicator, failed));
        if done.is_err() {
            *held = None;
            // SAFETY: it was taken out of its place, so that nobody uses it again.
            unsafe { self.library.abort(communicator) };
        }
        done.map_err(|error| self.cause(error))
    }

    fn wait(&self, communicator: Communicator, failed: impl Fn(Outcome) -> Error) -> Result<()> {
        let began = Instant::now();
        for turn in 0u64.. {
            // SAFETY: the caller holds it, and it is aborted only afterwards.
            match unsafe { self.library.progress(communicator) } {
                Outcome::SUCCESS if self.gpu.is_idle()? => return Ok(()),
                outcome if outcome.is_well() => {}
                outcome => return Err(failed(outcome)),
            }
            self.control.check(began)?;
            // An exchange between GPUs takes about a millisecond.
            if turn < 1000 { thread::yield_now() } else { thread::sleep(Duration::from_micros(100)) }
        }
        Ok(())
    }

    /// Why NCCL failed: a rank that is lost, if there is one.
    fn cause(&self, error: Error) -> Error {
        if matches!(error, Error::Rank { .. }) {
            return error;
        }
        let began = Instant::now();
        while began.elapsed() < LAST_WORDS {
            if let Err(lost) = self.control.check(began) {
                return lost;
            }
            thread::sleep(Duration::from_millis(20));
        }
        error
    }
}

impl std::fmt::Debug for Nccl {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "NCCL {} over {:?}", self.library.version(), self.control)
    }
}

impl Collective for Nccl {
    fn rank(&self) -> usize {
        self.control.rank()
    }

    fn size(&self) -> usize {
        self.control.size()
    }

    fn exchange(&self, outgoing: Vec<Vec<u8>>) -> Result<Vec<Vec<u8>>> {
        self.control.exchange(outgoing)
    }

    fn abort(&self, why: &str) {
        self.control.abort(why);
    }

    fn check(&self, since: Instant) -> Result<()> {
        self.control.check(since)
    }

    fn exchange_tensors(&self, outgoing: &[Vec<Tensor>], incoming: &[Vec<usize>]) -> Result<Tensor> {
        let total = incoming.iter().flatten().sum::<usize>();
        let mut came = Tensor::empty([total], DType::F32, &Device::Gpu(self.gpu.clone()))?;
        let mut at = came.ptr_mut(&self.gpu)?;
        let (mut sends, mut receives) = (Vec::new(), Vec::new());
        for (rank, tensors) in outgoing.iter().enumerate() {
            for tensor in tensors.iter().filter(|tensor| !tensor.is_empty()) {
                sends.push(Transfer { rank, address: tensor.ptr(&self.gpu)?.address(), count: tensor.len() });
            }
        }
        for (rank, counts) in incoming.iter().enumerate() {
            for &count in counts.iter().filter(|count| **count > 0) {
                receives.push(Transfer { rank, address: at.address(), count });
                at = at.byte_add(4 * count);
            }
        }
        let stream = self.gpu.stream()?;
        self.act("exchanging gradients", |communicator| {
            // SAFETY: the communicator is the one of this GPU; the tensors are of f32, as their users see to, and live
            // until `act` has waited for the stream.
            unsafe { self.library.transfer(communicator, stream, &sends, &receives) }
        })?;
        Ok(came)
    }
}

impl Drop for Nccl {
    fn drop(&mut self) {
        if let (Some(Handle(communicator)), Ok(_)) = (self.communicator().take(), self.gpu.stream()) {
            // SAFETY: nobody else has it any more. Every exchange was waited for, so nothing is lost by not asking the
            // others whether they are done as well.
            unsafe { self.library.abort(communicator) };
        }
    }
}

fn failed(library: &Library, what: &str, code: Outcome) -> Error {
    let why = format!("{}; NCCL_DEBUG=WARN has it say more, and {VARIABLE}=off does without it", library.words(code));
    Error::Driver { what: format!("NCCL: {what}"), why }
}
