//! The gradient of a batch whose slots are spread over ranks.

use std::ops::Range;

use super::ranks::floats;
use super::{Ranks, tree};
use crate::error::{Error, Result};
use crate::ops;
use crate::tensor::Tensor;

/// What a slot found besides its gradient.
#[derive(Debug, Clone, PartialEq)]
pub struct SlotState {
    /// Its share of the loss: the shares of all slots add up to the mean over the batch.
    pub loss: f64,
    /// Its shares of other figures, as many in each slot.
    pub figures: Vec<f64>,
    /// The buffers after its forward pass, if it changed any.
    pub buffers: Option<Vec<f32>>,
}

/// What a rank has of a batch: sums over its nodes of the tree, in order, and what its slots found.
#[derive(Debug)]
pub struct Share {
    nodes: Vec<(Range<usize>, Tensor)>,
    states: Vec<SlotState>,
}

impl Share {
    /// Computes the slots of this rank. `slot` gives the gradient of one, flat in f32, and what it found. Errors where
    /// that does.
    pub fn compute(
        ranks: &Ranks,
        slots: usize,
        mut slot: impl FnMut(usize) -> Result<(Tensor, SlotState)>,
    ) -> Result<Self> {
        let own = tree::share(slots, ranks.rank(), ranks.size());
        let (mut nodes, mut states) = (Vec::new(), Vec::new());
        for node in tree::nodes(slots, &own) {
            let mut leaf = |node: &Range<usize>| {
                if node.len() > 1 {
                    return Ok(None);
                }
                let (gradient, state) = slot(node.start)?;
                states.push(state);
                Ok(Some(gradient))
            };
            let sum = tree::sum(node.clone(), &mut leaf, &mut |first, second| ops::accumulate(first, &second))?;
            nodes.push((node, sum));
        }
        Ok(Share { nodes, states })
    }

    /// The sum over all slots, and what each of them found, the same bits on every rank. `share` is this rank's, or
    /// why there is none: the others then end in that, too.
    pub fn sum(ranks: &Ranks, slots: usize, share: Result<Self>) -> Result<(Tensor, Vec<SlotState>)> {
        if ranks.is_alone() {
            return alone(slots, share?);
        }
        let Share { nodes, states } = ranks.together(share)?;
        let states = gathered(ranks, &states)?;
        let Some((_, like)) = nodes.first() else {
            let what = format!("{} ranks for {slots} slots: a rank has nothing to do; raise train.slots", ranks.size());
            return Err(Error::Config(what));
        };
        let (shape, length, device) = (like.shape().clone(), like.len(), like.device());
        let parts: Vec<_> = (0..ranks.size()).map(|rank| tree::share(length, rank, ranks.size())).collect();
        let flat: Vec<Tensor> = nodes.into_iter().map(|(_, sum)| sum.reshape([length])).collect::<Result<_>>()?;
        let cut = |part: &Range<usize>| flat.iter().map(|sum| sum.narrow(part.start, part.len())).collect();
        let outgoing: Vec<Vec<Tensor>> = parts.iter().map(cut).collect::<Result<_>>()?;
        let own = parts[ranks.rank()].len();
        let known: Vec<_> =
            (0..ranks.size()).map(|rank| tree::nodes(slots, &tree::share(slots, rank, ranks.size()))).collect();
        let incoming: Vec<_> = known.iter().map(|nodes| vec![own; nodes.len()]).collect();
        let came = ranks.exchange_tensors(&outgoing, &incoming)?;
        drop((outgoing, flat));
        let finished = finish(slots, known.into_iter().flatten(), &came, own)?;
        let lengths: Vec<_> = parts.iter().map(Range::len).collect();
        let whole = ranks.gather_tensors(&finished, &lengths)?;
        Ok((whole.to_device(&device)?.reshape(shape)?, states))
    }
}

/// The only rank's share is the whole.
fn alone(slots: usize, Share { mut nodes, states }: Share) -> Result<(Tensor, Vec<SlotState>)> {
    match (nodes.pop(), nodes.is_empty()) {
        (Some((node, sum)), true) if node == (0..slots) => Ok((sum, states)),
        _ => Err(Error::argument("Share::sum", "a share that is not the whole, of the only rank")),
    }
}

/// Adds what every rank sent of this rank's part of the gradient, in the tree's order: `length` numbers of each node.
fn finish(slots: usize, nodes: impl Iterator<Item = Range<usize>>, came: &Tensor, length: usize) -> Result<Tensor> {
    let nodes: Vec<_> = nodes.collect();
    tree::sum(
        0..slots,
        &mut |node| match nodes.iter().position(|other| other == node) {
            Some(at) => came.narrow(at * length, length).map(Some),
            None => Ok(None),
        },
        &mut |first, second| ops::accumulate(first, &second),
    )
}

/// The sum of two lists of the same length.
fn added(mut first: Vec<f32>, second: Vec<f32>) -> Result<Vec<f32>> {
    if first.len() != second.len() {
        return Err(Error::argument("tree::sum", format!("{} numbers and {}", first.len(), second.len())));
    }
    first.iter_mut().zip(&second).for_each(|(first, second)| *first += second);
    Ok(first)
}

/// What the slots of all ranks found, in order.
fn gathered(ranks: &Ranks, own: &[SlotState]) -> Result<Vec<SlotState>> {
    let buffers = own.first().and_then(|state| state.buffers.as_ref()).map(Vec::len);
    let figures = own.first().map_or(0, |state| state.figures.len());
    let mut bytes = Vec::new();
    for state in own {
        bytes.extend(state.loss.to_le_bytes());
        state.figures.iter().for_each(|figure| bytes.extend(figure.to_le_bytes()));
        bytes.extend(bytemuck::cast_slice::<f32, u8>(state.buffers.as_deref().unwrap_or_default()));
    }
    let record = 8 + 8 * figures + 4 * buffers.unwrap_or(0);
    let mut states = Vec::new();
    for (rank, bytes) in ranks.gather(&bytes)?.into_iter().enumerate() {
        if bytes.len() % record != 0 {
            return Err(Error::Rank { rank, what: format!("sent {} bytes of buffers and losses", bytes.len()) });
        }
        for state in bytes.chunks_exact(record) {
            let (numbers, rest) = state.split_at(8 + 8 * figures);
            let mut numbers = numbers.as_chunks::<8>().0.iter().map(|number| f64::from_le_bytes(*number));
            let loss = numbers.next().unwrap_or(f64::NAN);
            let buffers = buffers.map(|length| floats(rank, rest, length)).transpose()?;
            states.push(SlotState { loss, figures: numbers.collect(), buffers });
        }
    }
    Ok(states)
}

/// The mean of what the slots left in the buffers, added in the tree's order: each began with the same ones. `None` if
/// they changed nothing.
pub fn mean_buffers(states: &[SlotState]) -> Result<Option<Vec<f32>>> {
    if states.iter().all(|state| state.buffers.is_none()) {
        return Ok(None);
    }
    let slots = states.len();
    let mut leaf = |node: &Range<usize>| match node.len() {
        1 => Ok(Some(states[node.start].buffers.clone().unwrap_or_default())),
        _ => Ok(None),
    };
    let mut sum = tree::sum(0..slots, &mut leaf, &mut added)?;
    sum.iter_mut().for_each(|value| *value /= slots as f32);
    Ok(Some(sum))
}
