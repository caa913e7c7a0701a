//! Ranks that are connected over TCP, each with each.

mod frames;
mod link;
mod meeting;

use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use self::frames::Kind;
use self::link::Link;
use super::{Collective, Launch, Patience};
use crate::error::{Error, Result};

/// Ranks that are connected over TCP, each with each. A rank that is lost ends the exchanges of the others within the
/// time of [`Patience::silence`], at once if its process ended.
///
/// There is neither secrecy nor proof of who is there: it is for machines that trust each other's network.
#[derive(Debug)]
pub struct Tcp {
    rank: usize,
    /// By rank; `None` for this one.
    links: Arc<Vec<Option<Link>>>,
    patience: Patience,
    beat: Arc<Heart>,
}

/// Ends the thread of the signs of life.
#[derive(Debug, Default)]
struct Heart {
    ended: Mutex<bool>,
    end: Condvar,
}

impl Tcp {
    /// Meets the others; see [`Launch::join`].
    pub fn join(launch: &Launch, patience: Patience, waiting: &mut dyn FnMut(&str)) -> Result<Self> {
        let streams = meeting::meet(launch, patience, waiting)?;
        let link =
            |(rank, stream): (usize, Option<_>)| stream.map(|stream| Link::new(rank, stream, patience)).transpose();
        let links = Arc::new(streams.into_iter().enumerate().map(link).collect::<Result<Vec<_>>>()?);
        let beat = Arc::new(Heart::default());
        let (all, heart) = (links.clone(), beat.clone());
        let beating = move || {
            let mut ended = heart.ended.lock().unwrap_or_else(PoisonError::into_inner);
            while !*ended {
                drop(ended);
                all.iter().flatten().for_each(Link::beat);
                ended = heart.ended.lock().unwrap_or_else(PoisonError::into_inner);
                let waited = heart.end.wait_timeout(ended, Duration::from_secs(1));
                ended = waited.unwrap_or_else(PoisonError::into_inner).0;
            }
        };
        let thread = thread::Builder::new().name("signs of life".into()).stack_size(1 << 18).spawn(beating);
        thread.map_err(|e| Error::io("a thread for signs of life", e))?;
        Ok(Tcp { rank: launch.rank, links, patience, beat })
    }
}

impl Collective for Tcp {
    fn rank(&self) -> usize {
        self.rank
    }

    fn size(&self) -> usize {
        self.links.len()
    }

    fn exchange(&self, mut outgoing: Vec<Vec<u8>>) -> Result<Vec<Vec<u8>>> {
        let size = self.size();
        // Each begins with the one after it, so that not all send to the same one. What comes in is taken up meanwhile
        // by threads, so nobody waits for anybody to be done with sending.
        for other in (1..size).map(|step| (self.rank + step) % size) {
            if let Some(link) = &self.links[other] {
                link.send(Kind::Data, &std::mem::take(&mut outgoing[other]))?;
            }
        }
        let own = &mut outgoing[self.rank];
        self.links
            .iter()
            .map(|link| link.as_ref().map_or_else(|| Ok(std::mem::take(own)), |link| link.receive(self.patience)))
            .collect()
    }

    fn abort(&self, why: &str) {
        self.links.iter().flatten().for_each(|link| drop(link.send(Kind::Abort, why.as_bytes())));
    }

    fn patience(&self) -> Option<Patience> {
        Some(self.patience)
    }

    fn check(&self) -> Result<()> {
        self.links.iter().flatten().try_for_each(|link| link.check(self.patience))
    }
}

impl Drop for Tcp {
    fn drop(&mut self) {
        *self.beat.ended.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.beat.end.notify_all();
        for link in self.links.iter().flatten() {
            let _ = link.send(Kind::Bye, &[]);
            link.close();
        }
    }
}
