//! A connection to one other rank: written to by whoever has something to say, read by a thread of its own.

use std::io::ErrorKind;
use std::net::{Shutdown, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use super::frames::{self, Kind};
use crate::distributed::Patience;
use crate::error::{Error, Result};

/// What comes in: the bytes of an exchange, or why there will be no more.
type Came = Result<Vec<u8>, String>;

/// A connection to another rank.
#[derive(Debug)]
pub struct Link {
    /// The other one.
    rank: usize,
    write: Mutex<TcpStream>,
    incoming: Mutex<Receiver<Came>>,
    /// Why nothing comes any more.
    ended: Arc<Mutex<Option<String>>>,
    /// When something came from there last, in milliseconds after `since`.
    heard: Arc<AtomicU64>,
    since: Instant,
}

impl Link {
    /// Begins to listen to `rank` at the other end of `stream`. Errors if a thread cannot be had.
    pub fn new(rank: usize, stream: TcpStream, patience: Patience) -> Result<Self> {
        let failed = |e| Error::io(format!("the connection to rank {rank}"), e);
        stream.set_nodelay(true).map_err(failed)?;
        stream.set_read_timeout(None).map_err(failed)?;
        stream.set_write_timeout(Some(patience.silence)).map_err(failed)?;
        let from = stream.try_clone().map_err(failed)?;
        let (to, incoming) = channel();
        let (heard, since, ended) = (Arc::new(AtomicU64::new(0)), Instant::now(), Arc::default());
        let (alive, last_words) = (heard.clone(), Arc::clone(&ended));
        let listen = move || listen(rank, from, &to, &last_words, || alive.store(millis(since), Ordering::Relaxed));
        thread::Builder::new().name(format!("rank {rank}")).stack_size(1 << 18).spawn(listen).map_err(failed)?;
        Ok(Link { rank, write: Mutex::new(stream), incoming: Mutex::new(incoming), ended, heard, since })
    }

    /// Sends a frame. Errors if the other one takes nothing any more, with its own reason if it gave one.
    pub fn send(&self, kind: Kind, bytes: &[u8]) -> Result<()> {
        let mut stream = self.write.lock().unwrap_or_else(PoisonError::into_inner);
        let sent = frames::write(&mut *stream, kind, bytes);
        drop(stream);
        sent.map_err(|e| {
            // It may have said why before it went.
            let began = Instant::now();
            while self.last_words().is_none() && began.elapsed() < Duration::from_millis(200) {
                thread::sleep(Duration::from_millis(5));
            }
            let said = self.last_words();
            let silent = matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut);
            let why = if silent { "it takes no bytes any more".to_string() } else { e.to_string() };
            Error::Rank { rank: self.rank, what: said.unwrap_or_else(|| format!("is gone ({why})")) }
        })
    }

    fn last_words(&self) -> Option<String> {
        self.ended.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Gives a sign of life. Whoever is sending at the moment gives one by that.
    pub fn beat(&self) {
        if let Ok(mut stream) = self.write.try_lock() {
            // One that takes nothing is found by whoever waits for it.
            let _ = frames::write(&mut *stream, Kind::Beat, &[]);
        }
    }

    /// Waits for the other one's part of an exchange. Errors if it ended, is silent for too long, or is alive but does
    /// not come.
    pub fn receive(&self, patience: Patience) -> Result<Vec<u8>> {
        let incoming = self.incoming.lock().unwrap_or_else(PoisonError::into_inner);
        let began = Instant::now();
        let lost = |what: String| Err(Error::Rank { rank: self.rank, what });
        loop {
            match incoming.recv_timeout(Duration::from_millis(250)) {
                Ok(Ok(bytes)) => return Ok(bytes),
                Ok(Err(why)) => return lost(why),
                Err(RecvTimeoutError::Disconnected) => {
                    return lost(self.last_words().unwrap_or_else(|| "is gone".into()));
                }
                Err(RecvTimeoutError::Timeout) => {}
            }
            self.heard_of(patience)?;
            if began.elapsed() > patience.work {
                return lost(format!(
                    "is alive, but has not come to this exchange for {} seconds; VERIDICAL_RANKS_PATIENCE says how \
                     many to wait",
                    patience.work.as_secs()
                ));
            }
        }
    }

    /// Errors if the other one ended, or is silent for too long.
    pub fn check(&self, patience: Patience) -> Result<()> {
        match self.last_words() {
            Some(what) => Err(Error::Rank { rank: self.rank, what }),
            None => self.heard_of(patience),
        }
    }

    fn heard_of(&self, patience: Patience) -> Result<()> {
        let heard = self.since + Duration::from_millis(self.heard.load(Ordering::Relaxed));
        if heard.elapsed() > patience.silence {
            let what = format!("has not been heard of for {} seconds", patience.silence.as_secs());
            return Err(Error::Rank { rank: self.rank, what });
        }
        Ok(())
    }

    /// Ends the connection; what was sent arrives all the same.
    pub fn close(&self) {
        let _ = self.write.lock().unwrap_or_else(PoisonError::into_inner).shutdown(Shutdown::Write);
    }
}

fn millis(since: Instant) -> u64 {
    since.elapsed().as_millis() as u64
}

/// Reads until the connection ends, and says why it did.
fn listen(rank: usize, mut from: TcpStream, to: &Sender<Came>, last_words: &Mutex<Option<String>>, heard: impl Fn()) {
    // A gradient is as large as its model.
    const MOST: u64 = 1 << 40;
    loop {
        let came = match frames::read(&mut Watched { from: &mut from, heard: &heard }, MOST) {
            Ok((Kind::Beat, _)) => continue,
            Ok((Kind::Data, bytes)) => Ok(bytes),
            Ok((Kind::Abort, why)) => Err(format!("ended: {}", String::from_utf8_lossy(&why))),
            Ok((Kind::Bye, _)) => Err("has come to its end, and this rank has not".into()),
            Ok((Kind::Hello, _)) => Err(format!("rank {rank} introduces itself twice")),
            Err(e) if e.kind() == ErrorKind::UnexpectedEof => Err("is gone: its process ended".into()),
            Err(e) => Err(format!("is gone ({e})")),
        };
        let last = came.is_err();
        if let Err(why) = &came {
            *last_words.lock().unwrap_or_else(PoisonError::into_inner) = Some(why.clone());
        }
        if to.send(came).is_err() || last {
            return;
        }
    }
}

/// A stream of which every byte is a sign of life.
struct Watched<'a, F> {
    from: &'a mut TcpStream,
    heard: &'a F,
}

impl<F: Fn()> std::io::Read for Watched<'_, F> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let count = self.from.read(buffer)?;
        (self.heard)();
        Ok(count)
    }
}
