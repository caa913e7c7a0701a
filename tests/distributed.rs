//! Several ranks: what they exchange, that they come to the bits of one process, and what becomes of a run when one is
//! lost.

#[path = "distributed/commands.rs"]
mod commands;
#[path = "distributed/exchange.rs"]
mod exchange;
#[path = "distributed/figures.rs"]
mod figures;
mod locate;
#[path = "distributed/nccl.rs"]
mod nccl;
#[path = "distributed/network.rs"]
mod network;
#[path = "distributed/shards.rs"]
mod shards;
#[path = "distributed/shared.rs"]
mod shared;
#[path = "distributed/trainer.rs"]
mod trainer;

use std::net::TcpListener;
use std::thread;
use std::time::Duration;

use veridical::distributed::{Launch, Patience, Ranks};

/// A port at which nobody listens.
fn free_port() -> u16 {
    TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port()
}

/// Impatient enough for a test.
fn patience() -> Patience {
    Patience { meeting: Duration::from_secs(20), silence: Duration::from_secs(4), work: Duration::from_secs(60) }
}

/// What each of so many ranks, a thread each, makes of an action.
fn on_ranks<T: Send>(size: usize, action: impl Fn(Ranks) -> T + Sync) -> Vec<T> {
    let port = free_port();
    let rank = |rank| {
        let launch = Launch { rank, size, local_rank: Some(rank), host: "127.0.0.1".into(), port };
        let ranks = launch.join(patience(), &mut |_| ()).unwrap_or_else(|e| panic!("rank {rank}: {e}"));
        action(ranks)
    };
    thread::scope(|scope| {
        let all: Vec<_> = (0..size).map(|index| scope.spawn(move || rank(index))).collect();
        all.into_iter().map(|rank| rank.join().unwrap()).collect()
    })
}
