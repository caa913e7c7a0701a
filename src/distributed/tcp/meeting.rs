//! How ranks find each other: all connect to rank 0, which tells them where the others are.

use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream, ToSocketAddrs};
use std::thread;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::frames::{self, Kind};
use crate::distributed::{Launch, Patience};
use crate::error::{Error, Result};

/// Between two trials.
const AGAIN: Duration = Duration::from_millis(50);
/// Before a line says that somebody is waited for.
const LATE: Duration = Duration::from_secs(5);
/// What ranks say of themselves is short.
const MOST: u64 = 1 << 20;

/// What a rank says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Hello {
    version: String,
    rank: usize,
    size: usize,
    /// Where it waits for the ranks after it.
    port: u16,
}

/// What rank 0 answers: where all are, or why there will be no run.
#[derive(Debug, Serialize, Deserialize)]
enum Answer {
    Peers(Vec<SocketAddr>),
    Refused(String),
}

/// A stream to each other rank, `None` in the place of this one.
pub fn meet(launch: &Launch, patience: Patience, waiting: &mut dyn FnMut(&str)) -> Result<Vec<Option<TcpStream>>> {
    let mut meeting = Meeting { launch, until: Instant::now() + patience.meeting, patience, waiting, told: false };
    match launch.rank {
        0 => meeting.as_first(),
        _ => meeting.as_other(),
    }
}

struct Meeting<'a> {
    launch: &'a Launch,
    until: Instant,
    patience: Patience,
    waiting: &'a mut dyn FnMut(&str),
    /// Whether it was said that somebody is waited for.
    told: bool,
}

impl Meeting<'_> {
    fn hello(&self, port: u16) -> Hello {
        let Launch { rank, size, .. } = *self.launch;
        Hello { version: env!("CARGO_PKG_VERSION").into(), rank, size, port }
    }

    fn place(&self) -> String {
        format!("{}:{}", self.launch.host, self.launch.port)
    }

    /// Waits a little. Errors with `why` once there is no time left.
    fn pause(&mut self, why: &str) -> Result<()> {
        crate::stop::check()?;
        let left = self.until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            let waited = self.patience.meeting.as_secs();
            return Err(Error::Config(format!(
                "{why} within {waited} seconds; VERIDICAL_RANKS_MEETING says how many to wait"
            )));
        }
        if !self.told && self.patience.meeting.saturating_sub(left) >= LATE {
            self.told = true;
            (self.waiting)(why);
        }
        thread::sleep(AGAIN.min(left));
        Ok(())
    }

    fn as_first(&mut self) -> Result<Vec<Option<TcpStream>>> {
        let Launch { size, port, .. } = *self.launch;
        let listener = self.listen(port)?;
        let mut met: Vec<Option<(TcpStream, SocketAddr)>> = (0..size).map(|_| None).collect();
        while met.iter().skip(1).any(Option::is_none) {
            let all: Vec<usize> = (1..size).filter(|rank| met[*rank].is_none()).collect();
            let mut missing: Vec<String> = all.iter().take(8).map(ToString::to_string).collect();
            if all.len() > missing.len() {
                missing.push(format!("{} more", all.len() - missing.len()));
            }
            let why = format!("rank 0 waits at {}: rank {} did not come", self.place(), missing.join(", "));
            let (mut stream, from) = self.accept(&listener, &why)?;
            let Some(hello) = self.heard(&mut stream) else { continue };
            let refusal = self.refusal(&hello, met.get(hello.rank).is_some_and(Option::is_some));
            match refusal {
                None => met[hello.rank] = Some((stream, SocketAddr::new(from.ip().to_canonical(), hello.port))),
                Some(why) => {
                    let others = met.iter_mut().flatten().map(|(stream, _)| stream);
                    for stream in others.chain([&mut stream]) {
                        let _ = answer(stream, &Answer::Refused(why.clone()));
                    }
                    return Err(Error::Config(why));
                }
            }
        }
        let nowhere = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0);
        let peers: Vec<SocketAddr> = met.iter().map(|met| met.as_ref().map_or(nowhere, |(_, at)| *at)).collect();
        for (rank, (stream, _)) in met.iter_mut().enumerate().filter_map(|(rank, met)| Some((rank, met.as_mut()?))) {
            answer(stream, &Answer::Peers(peers.clone()))
                .map_err(|e| Error::Rank { rank, what: format!("went while the ranks met ({e})") })?;
        }
        Ok(met.into_iter().map(|met| met.map(|(stream, _)| stream)).collect())
    }

    fn as_other(&mut self) -> Result<Vec<Option<TcpStream>>> {
        let Launch { rank, size, .. } = *self.launch;
        let listener = self.listen(0)?;
        let port = listener.local_addr().map_err(|e| Error::io("a port to listen at", e))?.port();
        let hello = self.hello(port);
        let (place, mut first) = (self.place(), None);
        while first.is_none() {
            first = self.reach_first(&hello)?;
            if first.is_none() {
                self.pause(&format!("rank {rank} does not reach rank 0 at {place} (MASTER_ADDR and MASTER_PORT)"))?;
            }
        }
        let Some(mut first) = first else { return Err(Error::argument("Tcp::join", "no stream to rank 0")) };
        let peers = match self.answered(&mut first, size)? {
            Answer::Peers(peers) if peers.len() == size => peers,
            Answer::Peers(peers) => {
                let what = format!("speaks of {} ranks, and WORLD_SIZE is {size} here", peers.len());
                return Err(Error::Rank { rank: 0, what });
            }
            Answer::Refused(why) => return Err(Error::Config(why)),
        };
        // A rank beside rank 0 may have come to it over the machine's loopback, where nobody else finds it.
        let at_first = first.peer_addr().map_err(|e| Error::io(&place, e))?.ip().to_canonical();
        let reached = |peer: SocketAddr| match peer.ip().is_loopback() {
            true => SocketAddr::new(at_first, peer.port()),
            false => peer,
        };
        let peers: Vec<SocketAddr> = peers.into_iter().map(reached).collect();
        let mut streams: Vec<Option<TcpStream>> = (0..size).map(|_| None).collect();
        streams[0] = Some(first);
        for other in 1..rank {
            let failed = |e| Error::io(format!("rank {other} at {}", peers[other]), e);
            let mut stream = TcpStream::connect_timeout(&peers[other], self.patience.silence).map_err(failed)?;
            introduce(&mut stream, &hello).map_err(failed)?;
            streams[other] = Some(stream);
        }
        while streams.iter().enumerate().any(|(other, stream)| other != rank && stream.is_none()) {
            let (mut stream, _) =
                self.accept(&listener, &format!("rank {rank} waits for the ranks after it: none came"))?;
            let Some(hello) = self.heard(&mut stream) else { continue };
            if hello.rank > rank && hello.rank < size && streams[hello.rank].is_none() {
                streams[hello.rank] = Some(stream);
            }
        }
        Ok(streams)
    }

    /// A connection to rank 0 that has heard who is there; `None` if nobody is there yet.
    fn reach_first(&self, hello: &Hello) -> Result<Option<TcpStream>> {
        let place = self.place();
        let found = (self.launch.host.as_str(), self.launch.port).to_socket_addrs();
        // A name that is not known yet may be later, where machines have just been started.
        let addresses: Vec<SocketAddr> = found.map(Iterator::collect).unwrap_or_default();
        for address in addresses {
            let Ok(mut stream) = TcpStream::connect_timeout(&address, Duration::from_secs(5)) else { continue };
            introduce(&mut stream, hello).map_err(|e| Error::io(&place, e))?;
            return Ok(Some(stream));
        }
        Ok(None)
    }

    /// What rank 0 answers, once all are there.
    fn answered(&mut self, first: &mut TcpStream, size: usize) -> Result<Answer> {
        let place = self.place();
        let left = self.until.saturating_duration_since(Instant::now()) + self.patience.silence;
        first.set_read_timeout(Some(left)).map_err(|e| Error::io(&place, e))?;
        let (_, bytes) = frames::read(first, MOST).map_err(|e| match e.kind() {
            ErrorKind::WouldBlock | ErrorKind::TimedOut => {
                Error::Config(format!("not all {size} ranks came to {place} in time"))
            }
            ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset => {
                Error::Rank { rank: 0, what: format!("ended while the ranks met at {place}") }
            }
            _ => Error::Config(format!(
                "what answers at {place} is no rank of veridical ({e}); is another program there? MASTER_PORT names \
                 another port"
            )),
        })?;
        serde_json::from_slice(&bytes)
            .map_err(|e| Error::Config(format!("what answers at {place} is no rank of this version ({e})")))
    }

    fn listen(&self, port: u16) -> Result<TcpListener> {
        let everywhere = || vec![IpAddr::V6(Ipv6Addr::UNSPECIFIED), IpAddr::V4(Ipv4Addr::UNSPECIFIED)];
        let ips = match self.launch.is_local() {
            false => everywhere(),
            true => match (self.launch.host.as_str(), port).to_socket_addrs() {
                Ok(found) => found.map(|address| address.ip()).collect(),
                Err(_) => vec![IpAddr::V4(Ipv4Addr::LOCALHOST)],
            },
        };
        let failed = |e: std::io::Error| match e.kind() {
            ErrorKind::AddrInUse => Error::Config(format!(
                "port {port} is in use, by another run perhaps; MASTER_PORT names another one, the same on every rank"
            )),
            _ => Error::io(format!("port {port}"), e),
        };
        let mut last = None;
        for ip in ips {
            match TcpListener::bind((ip, port)) {
                Ok(listener) => {
                    listener.set_nonblocking(true).map_err(failed)?;
                    return Ok(listener);
                }
                // A machine may have one kind of address only; a port that is taken is taken.
                Err(e) if e.kind() == ErrorKind::AddrInUse => return Err(failed(e)),
                Err(e) => last = Some(e),
            }
        }
        Err(failed(last.unwrap_or_else(|| ErrorKind::AddrNotAvailable.into())))
    }

    fn accept(&mut self, listener: &TcpListener, why: &str) -> Result<(TcpStream, SocketAddr)> {
        loop {
            match listener.accept() {
                Ok((stream, from)) => {
                    stream.set_nonblocking(false).map_err(|e| Error::io(from.to_string(), e))?;
                    return Ok((stream, from));
                }
                Err(_) => self.pause(why)?,
            }
        }
    }

    /// Who connected; `None` if it is no rank of ours, which is told.
    fn heard(&mut self, stream: &mut TcpStream) -> Option<Hello> {
        // Somebody who connects and says nothing keeps nobody for long.
        let read = stream.set_read_timeout(Some(Duration::from_secs(5))).and_then(|()| frames::read(stream, MOST));
        let hello = read.ok().filter(|(kind, _)| *kind == Kind::Hello);
        let hello = hello.and_then(|(_, bytes)| serde_json::from_slice(&bytes).ok());
        if hello.is_none() {
            (self.waiting)("somebody connected who is no rank of veridical, and was turned away");
        }
        hello
    }

    /// Why a rank cannot take part.
    fn refusal(&self, hello: &Hello, there: bool) -> Option<String> {
        let (own, rank) = (self.hello(0), hello.rank);
        if hello.version != own.version {
            return Some(format!(
                "rank {rank} is version {} and rank 0 version {}; use the same",
                hello.version, own.version
            ));
        }
        if hello.size != own.size || rank >= own.size {
            return Some(format!(
                "rank {rank} was told of {} ranks and rank 0 of {}; set WORLD_SIZE to the same number everywhere",
                hello.size, own.size
            ));
        }
        (there || rank == 0).then(|| format!("two processes call themselves rank {rank}; each needs a RANK of its own"))
    }
}

fn introduce(stream: &mut TcpStream, hello: &Hello) -> std::io::Result<()> {
    let text = serde_json::to_vec(hello).map_err(std::io::Error::other)?;
    frames::write(stream, Kind::Hello, &text)
}

fn answer(stream: &mut TcpStream, answer: &Answer) -> std::io::Result<()> {
    let text = serde_json::to_vec(answer).map_err(std::io::Error::other)?;
    frames::write(stream, Kind::Hello, &text)
}
