//! Drawing, batch by batch, by one process or by several.

use veridical::diffusion::{Drawn, Request, Sampler};
use veridical::distributed::Ranks;
use veridical::train::together;
use veridical::{Error, Result, Tensor};

use crate::cli::Ended;
use crate::cli::interrupt::{self, Keeping};
use crate::cli::progress::Progress;

/// All samples, batch by batch, or the batches that are whole when a stop is asked for: as each sample depends on its
/// seed alone, those are as good as all. Before the first there is nothing to keep.
///
/// Several ranks draw a batch each at the same time, and the first one gets them all; on the others the list stays
/// empty. What they draw must be the same: model, samples, solver.
pub fn draw(
    sampler: &Sampler,
    request: &Request,
    batch: usize,
    ranks: &Ranks,
) -> Result<(Vec<Drawn>, Option<Keeping>, Ended)> {
    let total = request.samples.len();
    let labels = request.labels.as_ref().map(|labels| labels.to_f64()).transpose()?;
    ranks.check_same(&[
        ("model", request.model.weights.fingerprint()?),
        ("solver", format!("{sampler:?}")),
        ("list of samples", format!("{batch} {:?} {labels:?}", request.samples)),
        ("arithmetic", together::kind(&request.model.weights.device())),
    ])?;
    let mut progress = Progress::new("sampling", total as u64);
    let (mut parts, mut keeping, mut ended) = (Vec::new(), None, Ended::Done);
    for first in (0..total).step_by(batch * ranks.size()) {
        let of = |rank: usize| (first + rank * batch).min(total)..(first + (rank + 1) * batch).min(total);
        let own = of(ranks.rank());
        let part = match own.is_empty() {
            _ if !ranks.is_alone() && interrupt::requested() && keeping.is_some() => Err(Error::Stopped),
            true => Ok(None),
            false => request.part(own.start, own.len()).and_then(|part| sampler.draw(&part)).map(Some),
        };
        let part = match ranks.together(part) {
            Err(Error::Stopped) => {
                ended = Ended::Interrupted;
                break;
            }
            part => part?,
        };
        match ranks.is_alone() {
            true => parts.extend(part),
            false => {
                for (rank, bytes) in ranks.gather(&part.as_ref().map_or(Ok(Vec::new()), written)?)?.iter().enumerate() {
                    if ranks.is_first() && !of(rank).is_empty() {
                        parts.push(read(bytes, of(rank).len(), request).ok_or_else(|| Error::Rank {
                            rank,
                            what: format!("sent {} bytes that are no samples of this model", bytes.len()),
                        })??);
                    }
                }
            }
        }
        if let [one, .., other] = &parts[..]
            && !other.same_levels(one)
        {
            let what =
                format!("{:?} takes other steps for each sample: ask for the trajectory of one alone", sampler.solver);
            return Err(Error::Config(what));
        }
        keeping.get_or_insert_with(|| interrupt::keeping("whole batches are written, the one in progress is dropped"));
        progress.tick(of(ranks.size() - 1).end as u64, None);
    }
    progress.finish();
    Ok((parts, keeping, ended))
}

/// What was drawn, as bytes: denoiser calls, count of levels, levels, samples, states at the levels.
fn written(drawn: &Drawn) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    bytes.extend((drawn.nfe as u64).to_le_bytes());
    bytes.extend((drawn.trajectory.len() as u64).to_le_bytes());
    drawn.trajectory.iter().for_each(|(sigma, _)| bytes.extend(sigma.to_le_bytes()));
    for tensor in [&drawn.samples].into_iter().chain(drawn.trajectory.iter().map(|(_, x)| x)) {
        bytes.extend(tensor.to_vec::<f32>()?.into_iter().flat_map(f32::to_le_bytes));
    }
    Ok(bytes)
}

/// `count` samples from what [`written`] made; `None` if it is not that.
fn read(bytes: &[u8], count: usize, request: &Request) -> Option<Result<Drawn>> {
    let shape = [&[count][..], &request.model.denoiser().sample_shape()].concat();
    let values: usize = shape.iter().product();
    let (nfe, rest) = bytes.split_first_chunk::<8>()?;
    let (levels, rest) = rest.split_first_chunk::<8>()?;
    let levels = usize::try_from(u64::from_le_bytes(*levels)).ok()?;
    let expected = levels.checked_mul(8)?.checked_add(levels.checked_add(1)?.checked_mul(4 * values)?)?;
    if rest.len() != expected {
        return None;
    }
    let (sigmas, states) = rest.split_at(8 * levels);
    let device = request.model.weights.device();
    let mut tensors = states.chunks_exact(4 * values).map(|state| {
        let numbers: Vec<f32> = state.as_chunks::<4>().0.iter().map(|number| f32::from_le_bytes(*number)).collect();
        Tensor::from_slice(&numbers, shape.clone(), &device)
    });
    let samples = tensors.next()?;
    let sigmas = sigmas.as_chunks::<8>().0.iter().map(|sigma| f64::from_le_bytes(*sigma));
    let trajectory = sigmas.zip(tensors).map(|(sigma, x)| Ok((sigma, x?))).collect::<Result<Vec<_>>>();
    let nfe = u64::from_le_bytes(*nfe) as usize;
    Some(samples.and_then(|samples| Ok(Drawn { samples, nfe, trajectory: trajectory? })))
}
