//! The ranks of a run, as one of them sees them.

use std::fmt;
use std::sync::Arc;

use super::Patience;
use crate::error::{Error, Result};
use crate::tensor::{Device, Tensor};

/// What moves bytes between ranks.
pub trait Collective: fmt::Debug + Send + Sync {
    /// Which rank this is, from 0 on.
    fn rank(&self) -> usize;

    /// How many there are.
    fn size(&self) -> usize;

    /// Sends `outgoing[r]` to each rank `r` and returns what each has sent here, by rank; its own comes back as it is.
    /// All ranks call this equally often.
    ///
    /// Errors if a rank is lost, within a time that the implementation states.
    fn exchange(&self, outgoing: Vec<Vec<u8>>) -> Result<Vec<Vec<u8>>>;

    /// Tells the others that this rank ends, and why: their exchanges end in that.
    fn abort(&self, why: &str);

    /// How long this waits for other ranks, if [`check`](Self::check) tells of those that are lost: whoever waits for
    /// them by other means than [`exchange`](Self::exchange) asks it. `None`: it does not tell.
    fn patience(&self) -> Option<Patience> {
        None
    }

    /// Errors where a rank is known to be lost.
    fn check(&self) -> Result<()> {
        Ok(())
    }

    /// As [`exchange`](Self::exchange), of flat tensors of f32 on one device: sends each rank `r` those of
    /// `outgoing[r]` and returns what has come here, one after another in the order of ranks. `incoming[r]` are the
    /// lengths of what `r` sends. By default all of it goes through the memory of the host, where the result then is.
    fn exchange_tensors(&self, outgoing: &[Vec<Tensor>], incoming: &[Vec<usize>]) -> Result<Tensor> {
        let outgoing = outgoing.iter().map(|tensors| bytes(tensors)).collect::<Result<_>>()?;
        joined(&self.exchange(outgoing)?, incoming.iter().map(|lengths| lengths.iter().sum()))
    }

    /// What each rank says to all, a flat tensor of f32, one after another in the order of ranks, of which rank `r` has
    /// one of `lengths[r]` numbers. By default as [`exchange_tensors`](Self::exchange_tensors).
    fn gather_tensors(&self, own: &Tensor, lengths: &[usize]) -> Result<Tensor> {
        let outgoing = vec![bytes(std::slice::from_ref(own))?; self.size()];
        joined(&self.exchange(outgoing)?, lengths.iter().copied())
    }
}

/// The numbers of tensors of f32, one after another.
fn bytes(tensors: &[Tensor]) -> Result<Vec<u8>> {
    let mut bytes = Vec::with_capacity(4 * tensors.iter().map(Tensor::len).sum::<usize>());
    for tensor in tensors {
        bytes.extend_from_slice(bytemuck::cast_slice(&tensor.to_vec::<f32>()?));
    }
    Ok(bytes)
}

/// What ranks sent, so many numbers each, as one tensor in the memory of the host.
fn joined(came: &[Vec<u8>], lengths: impl Iterator<Item = usize>) -> Result<Tensor> {
    let mut all = Vec::new();
    for (rank, (bytes, length)) in came.iter().zip(lengths).enumerate() {
        all.extend(floats(rank, bytes, length)?);
    }
    let length = all.len();
    Tensor::from_vec(all, [length], &Device::Cpu)
}

/// Bytes of a rank as numbers, as many as there must be.
pub(crate) fn floats(rank: usize, bytes: &[u8], expected: usize) -> Result<Vec<f32>> {
    if bytes.len() != 4 * expected {
        let what = format!("sent {} bytes, and {} were expected", bytes.len(), 4 * expected);
        return Err(Error::Rank { rank, what });
    }
    Ok(bytemuck::pod_collect_to_vec(bytes))
}

/// The ranks of a run: this process [alone](Self::alone), or several by a [`Collective`]. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Ranks(Option<Arc<dyn Collective>>);

impl Ranks {
    /// A process without others.
    pub fn alone() -> Self {
        Ranks(None)
    }

    /// The ranks that this connects.
    pub fn new(collective: impl Collective + 'static) -> Self {
        Ranks(Some(Arc::new(collective)))
    }

    /// Which one this is, from 0 on.
    pub fn rank(&self) -> usize {
        self.0.as_ref().map_or(0, |all| all.rank())
    }

    /// How many there are.
    pub fn size(&self) -> usize {
        self.0.as_ref().map_or(1, |all| all.size())
    }

    /// Whether this one writes files and talks to a person.
    pub fn is_first(&self) -> bool {
        self.rank() == 0
    }

    /// Whether there are no others.
    pub fn is_alone(&self) -> bool {
        self.size() == 1
    }

    /// What each rank has for each other one; see [`Collective::exchange`].
    pub fn exchange(&self, outgoing: Vec<Vec<u8>>) -> Result<Vec<Vec<u8>>> {
        if outgoing.len() != self.size() {
            let what = format!("{} parts for {} ranks", outgoing.len(), self.size());
            return Err(Error::argument("Ranks::exchange", what));
        }
        match &self.0 {
            Some(all) => all.exchange(outgoing),
            None => Ok(outgoing),
        }
    }

    /// What each rank has for each other one, in flat tensors of f32; see [`Collective::exchange_tensors`].
    pub(crate) fn exchange_tensors(&self, outgoing: &[Vec<Tensor>], incoming: &[Vec<usize>]) -> Result<Tensor> {
        self.several()?.exchange_tensors(outgoing, incoming)
    }

    /// What each rank says to all, a flat tensor of f32; see [`Collective::gather_tensors`].
    pub(crate) fn gather_tensors(&self, own: &Tensor, lengths: &[usize]) -> Result<Tensor> {
        self.several()?.gather_tensors(own, lengths)
    }

    fn several(&self) -> Result<&dyn Collective> {
        self.0.as_deref().ok_or_else(|| Error::argument("Ranks", "there is only one rank to exchange tensors"))
    }

    /// How long others are waited for; see [`Collective::patience`].
    #[allow(dead_code)] // only NCCL asks
    pub(super) fn patience(&self) -> Option<Patience> {
        self.0.as_ref().and_then(|all| all.patience())
    }

    /// Errors where a rank is known to be lost; see [`Collective::check`].
    #[allow(dead_code)] // only NCCL asks
    pub(super) fn check(&self) -> Result<()> {
        self.0.as_ref().map_or(Ok(()), |all| all.check())
    }

    /// What each rank says to all, by rank.
    pub fn gather(&self, own: &[u8]) -> Result<Vec<Vec<u8>>> {
        self.exchange(vec![own.to_vec(); self.size()])
    }

    /// Tells the others that this rank ends, and why.
    pub fn abort(&self, why: &str) {
        self.0.iter().for_each(|all| all.abort(why));
    }

    /// Errors where a batch in so many slots gives some rank nothing to do.
    pub fn check_slots(&self, slots: usize) -> Result<()> {
        let ranks = self.size();
        if slots < ranks {
            return Err(Error::Config(format!(
                "train.slots = {slots} gives {ranks} ranks nothing to share: set it to a multiple of their number, such \
                 as --set train.slots={ranks}"
            )));
        }
        Ok(())
    }

    /// Errors, on all ranks, unless each of them has the same texts: what it has of which name. They are long where
    /// they are settings; the error shows the first line that differs.
    pub fn check_same(&self, facts: &[(&str, String)]) -> Result<()> {
        if self.is_alone() {
            return Ok(());
        }
        let told = serde_json::to_vec(facts).map_err(|e| Error::argument("Ranks::check_same", e.to_string()))?;
        let all = self.gather(&told)?;
        let read = |bytes: &[u8]| serde_json::from_slice::<Vec<(String, String)>>(bytes).unwrap_or_default();
        let first = all.first().map(|bytes| read(bytes)).unwrap_or_default();
        for (rank, bytes) in all.iter().enumerate().skip(1) {
            let other = read(bytes);
            if let Some(((what, here), (_, there))) = first.iter().zip(&other).find(|(a, b)| a != b) {
                let (here, there) = difference(here, there);
                return Err(Error::Config(format!(
                    "rank {rank} is not like rank 0: its {what} is {there}, and that of rank 0 {here}; give all ranks the \
                     same command, data and build"
                )));
            }
            if other.len() != first.len() {
                return Err(Error::Config(format!(
                    "rank {rank} does something else than rank 0, or is of another build"
                )));
            }
        }
        Ok(())
    }

    /// Has every rank do something, with the first one done before the others begin. Errors where it does; where it
    /// does on another rank, that is the error here.
    pub fn first_then_others<T>(&self, action: impl FnOnce() -> Result<T>) -> Result<T> {
        let mut action = Some(action);
        let mut act = |now: bool| now.then(|| action.take().map(|action| action())).flatten();
        let first = match self.agree(act(self.is_first()))? {
            Some(Err(error)) => return Err(error), // which the others know, and do not begin
            first => first,
        };
        let other = self.agree(act(!self.is_first()))?;
        first.or(other).unwrap_or_else(|| Err(Error::argument("Ranks::first_then_others", "nothing was done")))
    }

    /// Has the first rank do something for which the others wait; what it came to, on that rank. Errors where it does,
    /// on all of them.
    pub fn on_first<T>(&self, action: impl FnOnce() -> Result<T>) -> Result<Option<T>> {
        self.together(self.is_first().then(action).transpose())
    }

    /// What the first rank finds, which the others are told. `code` and `decode` are for the way to them.
    pub fn as_first_finds<T>(
        &self,
        find: impl FnOnce() -> T,
        code: impl FnOnce(&T) -> Vec<u8>,
        decode: impl FnOnce(&[u8]) -> Result<T>,
    ) -> Result<T> {
        if self.is_alone() {
            return Ok(find());
        }
        let found = self.is_first().then(find);
        let said = self.gather(&found.as_ref().map(code).unwrap_or_default())?;
        found.map_or_else(|| decode(said.first().map_or(&[], Vec::as_slice)), Ok)
    }

    /// Whether the first rank finds something to be so.
    pub fn is_so_for_first(&self, find: impl FnOnce() -> bool) -> Result<bool> {
        self.as_first_finds(find, |so| vec![u8::from(*so)], |said| Ok(said == [1]))
    }

    /// Errors where another rank's outcome is an error, and gives this one's back otherwise; an error of its own comes
    /// back once the others have been told.
    fn agree<T>(&self, outcome: Option<Result<T>>) -> Result<Option<Result<T>>> {
        if self.is_alone() {
            return Ok(outcome);
        }
        let said = match &outcome {
            Some(Err(Error::Stopped)) => Told::Stopped,
            Some(Err(Error::OutOfTime)) => Told::OutOfTime,
            Some(Err(error)) => Told::Failed(error.to_string()),
            _ => Told::Well,
        };
        let all = self.gather(&said.written())?;
        if matches!(outcome, Some(Err(_))) {
            return Ok(outcome);
        }
        for (rank, said) in all.iter().enumerate() {
            Told::read(said).check(rank)?;
        }
        Ok(outcome)
    }

    /// This rank's outcome, once all have said theirs: errors on its own error, else on the first one of others.
    pub fn together<T>(&self, outcome: Result<T>) -> Result<T> {
        self.agree(Some(outcome))?.unwrap_or(Err(Error::Stopped))
    }
}

/// Of two texts the first lines that differ.
fn difference<'a>(a: &'a str, b: &'a str) -> (&'a str, &'a str) {
    let (mut a, mut b) = (a.lines(), b.lines());
    loop {
        match (a.next(), b.next()) {
            (None, None) => return ("the same", "the same"),
            (x, y) if x != y => return (x.unwrap_or("shorter"), y.unwrap_or("shorter")),
            _ => {}
        }
    }
}

/// What a rank says of how it fared.
enum Told {
    Well,
    Stopped,
    OutOfTime,
    Failed(String),
}

impl Told {
    fn written(&self) -> Vec<u8> {
        match self {
            Told::Well => vec![0],
            Told::Stopped => vec![1],
            Told::OutOfTime => vec![2],
            Told::Failed(why) => [&[3], why.as_bytes()].concat(),
        }
    }

    fn read(bytes: &[u8]) -> Self {
        match bytes.split_first() {
            Some((0, _)) => Told::Well,
            Some((1, _)) => Told::Stopped,
            Some((2, _)) => Told::OutOfTime,
            Some((_, why)) => Told::Failed(String::from_utf8_lossy(why).into_owned()),
            None => Told::Failed("it said nothing".into()),
        }
    }

    fn check(self, rank: usize) -> Result<()> {
        match self {
            Told::Well => Ok(()),
            Told::Stopped => Err(Error::Stopped),
            Told::OutOfTime => Err(Error::OutOfTime),
            Told::Failed(why) => Err(Error::Rank { rank, what: format!("ended: {why}") }),
        }
    }
}
