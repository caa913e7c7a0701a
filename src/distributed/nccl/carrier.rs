//! NCCL between ranks that have met, watched over the connections that they met by.

use std::sync::mpsc::channel;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use super::VARIABLE;
use super::library::{Communicator, Library, Outcome, Transfer, UniqueId};
use crate::backend::gpu::Gpu;
use crate::distributed::{Collective, Patience, Ranks};
use crate::error::{Error, Result};
use crate::tensor::{DType, Device, Tensor};

/// How much longer than for a sign of life it is waited, once NCCL has failed, for word of a rank that is lost.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// How long NCCL may take to end.
const TO_END: Duration = Duration::from_secs(10);

/// Ranks that exchange tensors by NCCL.
pub struct Nccl {
    /// By which they met.
    control: Ranks,
    patience: Patience,
    library: &'static Library,
    gpu: Gpu,
    /// `None` once it has failed.
    communicator: Mutex<Option<Handle>>,
}

/// A communicator, which any thread may use that has the GPU's context.
struct Handle(Communicator);

// SAFETY: NCCL lets any one thread at a time use a communicator, and whoever holds this is the only one.
unsafe impl Send for Handle {}

/// Why something was not done.
enum Failure {
    /// NCCL says so.
    Nccl(Outcome),
    Other(Error),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Failure::Other(error)
    }
}

/// What is done, and how long it may take.
#[derive(Clone, Copy)]
struct Task {
    what: &'static str,
    limit: Duration,
}

impl Nccl {
    /// Meets the others, who do the same. Errors with [`Error::Exchange`] where NCCL finds no way between them.
    pub fn meet(control: &Ranks, library: &'static Library, gpu: &Gpu, patience: Patience) -> Result<Self> {
        let task = Task { what: "meeting the other ranks", limit: patience.meeting };
        let id = control.is_first().then(|| library.unique_id().ok()).flatten();
        let told = control.gather(id.as_ref().map_or(&[], bytemuck::bytes_of))?;
        let id = told.first().and_then(|bytes| bytemuck::try_pod_read_unaligned::<UniqueId>(bytes).ok());
        let no_id =
            || Error::Exchange { what: "NCCL gives rank 0 no id to meet by; NCCL_DEBUG=WARN has it say why".into() };
        let id = id.ok_or_else(no_id)?;
        gpu.stream()?;
        let begun = library.meet(id, control.rank(), control.size());
        let communicator = begun.map_err(|code| failed(library, task, code))?;
        let communicator = Mutex::new(Some(Handle(communicator)));
        let nccl = Nccl { control: control.clone(), patience, library, gpu: gpu.clone(), communicator };
        nccl.act(task, |_| Ok(()))?;
        Ok(nccl)
    }

    fn communicator(&self) -> MutexGuard<'_, Option<Handle>> {
        self.communicator.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins something and waits until it is done on the GPU. Errors, and has nothing under way any more, if NCCL
    /// fails or a rank is lost.
    fn act(&self, task: Task, begin: impl FnOnce(Communicator) -> Result<(), Outcome>) -> Result<()> {
        self.gpu.stream()?;
        let mut held = self.communicator();
        let Some(Handle(communicator)) = *held else {
            return Err(Error::Exchange { what: format!("NCCL: {}: it has failed before", task.what) });
        };
        let done = begin(communicator).map_err(Failure::Nccl).and_then(|()| self.wait(communicator, task));
        done.map_err(|failure| {
            let cause = match failure {
                Failure::Other(error) => error,
                Failure::Nccl(code) => {
                    let lost = if code.may_be_of_others() { self.lost() } else { None };
                    lost.unwrap_or_else(|| failed(self.library, task, code))
                }
            };
            self.end(held.take());
            cause
        })
    }

    fn wait(&self, communicator: Communicator, task: Task) -> Result<(), Failure> {
        let began = Instant::now();
        for turn in 0u64.. {
            // SAFETY: the caller holds it, and it is ended only afterwards.
            match unsafe { self.library.progress(communicator) } {
                Outcome::SUCCESS if self.gpu.is_idle()? => return Ok(()),
                outcome if outcome.is_well() => {}
                outcome => return Err(Failure::Nccl(outcome)),
            }
            self.control.check()?;
            if began.elapsed() > task.limit {
                let seconds = task.limit.as_secs();
                let what = format!(
                    "NCCL: {}: not done after {seconds} seconds, and all ranks live; {VARIABLE}=off does without it",
                    task.what
                );
                return Err(Error::Exchange { what }.into());
            }
            // An exchange between GPUs takes about a millisecond.
            if turn < 1000 { thread::yield_now() } else { thread::sleep(Duration::from_micros(100)) }
        }
        Ok(())
    }

    /// The rank whose loss is why NCCL failed, if there is one: the connections may come to know of it later than NCCL.
    fn lost(&self) -> Option<Error> {
        let (began, limit) = (Instant::now(), self.patience.silence + LAST_WORDS);
        while began.elapsed() < limit {
            if let Err(lost) = self.control.check() {
                return Some(lost);
            }
            thread::sleep(Duration::from_millis(20));
        }
        None
    }

    /// Ends NCCL whatever is under way, in its own time: what it waits for, this rank does not.
    fn end(&self, communicator: Option<Handle>) {
        let Some(handle) = communicator else { return };
        let (library, gpu) = (self.library, self.gpu.clone());
        let (done, ended) = channel();
        let act = move || {
            let Handle(communicator) = { handle };
            if gpu.stream().is_ok() {
                // SAFETY: it was taken out of its place, so that nobody else uses it.
                unsafe { library.abort(communicator) };
            }
            let _ = done.send(());
        };
        if thread::Builder::new().name("the end of NCCL".into()).spawn(act).is_ok() {
            let _ = ended.recv_timeout(TO_END);
        }
    }

    /// One exchange of all ranks.
    fn transfer(&self, outgoing: &[Transfer], incoming: &[Vec<usize>]) -> Result<Tensor> {
        let total = incoming.iter().flatten().sum::<usize>();
        let mut came = Tensor::empty([total], DType::F32, &Device::Gpu(self.gpu.clone()))?;
        let mut at = came.ptr_mut(&self.gpu)?;
        let mut receives = Vec::new();
        for (rank, counts) in incoming.iter().enumerate() {
            for &count in counts.iter().filter(|count| **count > 0) {
                receives.push(Transfer { rank, address: at.number(), count });
                at = at.byte_add(4 * count);
            }
        }
        let stream = self.gpu.stream()?;
        let task = Task { what: "exchanging gradients", limit: self.patience.work };
        self.act(task, |communicator| {
            // SAFETY: the communicator is the one of this GPU; the addresses are of f32 on it, as the callers see to,
            // and live until `act` has waited for the stream.
            unsafe { self.library.transfer(communicator, stream, outgoing, &receives) }
        })?;
        Ok(came)
    }

    /// What a rank is sent of a tensor; nothing of an empty one.
    fn sent(&self, rank: usize, tensor: &Tensor) -> Result<Option<Transfer>> {
        if tensor.is_empty() {
            return Ok(None);
        }
        Ok(Some(Transfer { rank, address: tensor.ptr(&self.gpu)?.number(), count: tensor.len() }))
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

    fn patience(&self) -> Option<Patience> {
        Some(self.patience)
    }

    fn check(&self) -> Result<()> {
        self.control.check()
    }

    fn exchange_tensors(&self, outgoing: &[Vec<Tensor>], incoming: &[Vec<usize>]) -> Result<Tensor> {
        let each = outgoing.iter().enumerate().flat_map(|(rank, tensors)| tensors.iter().map(move |t| (rank, t)));
        let sends = each.filter_map(|(rank, tensor)| self.sent(rank, tensor).transpose());
        self.transfer(&sends.collect::<Result<Vec<_>>>()?, incoming)
    }

    fn gather_tensors(&self, own: &Tensor, lengths: &[usize]) -> Result<Tensor> {
        let sends = (0..self.size()).filter_map(|rank| self.sent(rank, own).transpose());
        let incoming: Vec<_> = lengths.iter().map(|length| vec![*length]).collect();
        self.transfer(&sends.collect::<Result<Vec<_>>>()?, &incoming)
    }
}

impl Drop for Nccl {
    fn drop(&mut self) {
        // What this rank has received is here, but what it sent may be on its way: NCCL is let finish first.
        if let Some(Handle(communicator)) = *self.communicator()
            && self.gpu.stream().is_ok()
        {
            let began = Instant::now();
            // SAFETY: it has not been ended, and is not used for anything else from here on.
            let mut outcome = unsafe { self.library.finalize(communicator) };
            while outcome == Outcome::IN_PROGRESS && began.elapsed() < TO_END && self.control.check().is_ok() {
                thread::sleep(Duration::from_micros(100));
                // SAFETY: as above.
                outcome = unsafe { self.library.progress(communicator) };
            }
        }
        let communicator = self.communicator().take();
        self.end(communicator);
    }
}

fn failed(library: &Library, task: Task, code: Outcome) -> Error {
    let (what, why) = (task.what, library.words(code));
    Error::Exchange {
        what: format!("NCCL: {what}: {why}; NCCL_DEBUG=WARN has it say more, and {VARIABLE}=off does without it"),
    }
}
