//! Rayon's iterators on the team.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use rayon::iter::plumbing::{Producer, ProducerCallback};
use rayon::prelude::*;

use super::{LOTS, for_each, locked};

/// Loops over rayon's iterators, on the team.
pub trait OnTeam: IndexedParallelIterator {
    /// As rayon's `for_each`.
    fn each_on_team(self, f: impl Fn(Self::Item) + Sync) {
        let len = self.len();
        self.with_producer(Each { len, f });
    }

    /// As rayon's `try_for_each`: up to the first error; others may have been begun.
    fn try_each_on_team<E: Send>(self, f: impl Fn(Self::Item) -> Result<(), E> + Sync) -> Result<(), E> {
        let error = Mutex::new(None);
        let failed = AtomicBool::new(false);
        self.each_on_team(|item| {
            if !failed.load(Ordering::Relaxed)
                && let Err(e) = f(item)
            {
                failed.store(true, Ordering::Relaxed);
                locked(&error).get_or_insert(e);
            }
        });
        error.into_inner().unwrap_or_else(PoisonError::into_inner).map_or(Ok(()), Err)
    }

    /// What `f` makes of every item, in order.
    fn map_on_team<R: Send>(self, f: impl Fn(Self::Item) -> R + Sync) -> Vec<R> {
        let mut made: Vec<Option<R>> = (0..self.len()).map(|_| None).collect();
        self.zip(made.par_iter_mut()).each_on_team(|(item, made)| *made = Some(f(item)));
        made.into_iter().flatten().collect()
    }
}

impl<I: IndexedParallelIterator> OnTeam for I {}

/// What is done with all items, of which there are `len`.
struct Each<F> {
    len: usize,
    f: F,
}

impl<T, F: Fn(T) + Sync> ProducerCallback<T> for Each<F> {
    type Output = ();

    fn callback<P: Producer<Item = T>>(self, producer: P) {
        let Each { len, f } = self;
        let (least, most) = (producer.min_len().max(1), producer.max_len().max(1));
        let pieces = (LOTS * rayon::current_num_threads()).max(len.div_ceil(most)).min(len / least).max(1);
        let mut rest = producer;
        let mut lots = Vec::with_capacity(pieces);
        for piece in 1..pieces {
            let (lot, others) = rest.split_at(len * piece / pieces - len * (piece - 1) / pieces);
            lots.push(Mutex::new(Some(lot)));
            rest = others;
        }
        lots.push(Mutex::new(Some(rest)));
        for_each(pieces, 1, &|i| {
            // Each is taken once.
            if let Some(lot) = locked(&lots[i]).take() {
                lot.into_iter().for_each(&f);
            }
        });
    }
}
