//! What ranks tell each other over TCP.

use std::io::Write;
use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};

use veridical::distributed::{Launch, Patience};
use veridical::{Error, Result};

use super::{free_port, on_ranks, patience};

#[test]
fn everything_comes_to_whom_it_is_for() {
    for size in [2, 3, 5] {
        let came = on_ranks(size, |ranks| {
            let mine = ranks.rank() as u8;
            // Of several lengths, one of them longer than any buffer on the way.
            let part = |other: usize| vec![16 * mine + other as u8; if other == 1 { 3 << 20 } else { other }];
            let first = ranks.exchange((0..size).map(part).collect()).unwrap();
            let second = ranks.gather(&[mine]).unwrap();
            assert_eq!(second, (0..size).map(|rank| vec![rank as u8]).collect::<Vec<_>>());
            first
        });
        for (to, parts) in came.iter().enumerate() {
            for (from, part) in parts.iter().enumerate() {
                assert_eq!(part.len(), if to == 1 { 3 << 20 } else { to });
                assert!(part.iter().all(|byte| *byte == (16 * from + to) as u8));
            }
        }
    }
}

#[test]
fn the_first_one_is_done_before_the_others_begin() {
    let order = std::sync::Mutex::new(Vec::new());
    on_ranks(3, |ranks| {
        ranks
            .first_then_others(|| {
                if ranks.is_first() {
                    thread::sleep(Duration::from_millis(100));
                }
                order.lock().unwrap().push(ranks.rank());
                Ok(())
            })
            .unwrap();
        assert_eq!(order.lock().unwrap().len(), 3, "nobody goes on before all are done");
    });
    assert_eq!(order.lock().unwrap()[0], 0);
}

#[test]
fn an_error_of_one_is_the_end_of_all() {
    let ends = on_ranks(3, |ranks| {
        let own: Result<()> = if ranks.rank() == 1 { Err(Error::Config("no memory left".into())) } else { Ok(()) };
        ranks.together(own).unwrap_err().to_string()
    });
    assert_eq!(ends[1], "no memory left");
    assert!(ends[0] == ends[2] && ends[0] == "rank 1 ended: no memory left", "{ends:?}");
    let stopped = on_ranks(2, |ranks| {
        let own: Result<()> = if ranks.rank() == 1 { Err(Error::Stopped) } else { Ok(()) };
        matches!(ranks.together(own), Err(Error::Stopped))
    });
    assert_eq!(stopped, [true, true]);
}

#[test]
fn a_rank_that_is_gone_is_missed_at_once() {
    let began = Instant::now();
    let ends = on_ranks(3, |ranks| {
        if ranks.rank() == 2 {
            return "left".to_string();
        }
        ranks.gather(&[1]).unwrap_err().to_string()
    });
    assert!(ends[0].contains("rank 2 has come to its end") && ends[1].contains("rank 2"), "{ends:?}");
    let ends = on_ranks(2, |ranks| {
        if ranks.rank() == 1 {
            ranks.abort("the disk is full");
            return String::new();
        }
        ranks.gather(&[1]).unwrap_err().to_string()
    });
    assert_eq!(ends[0], "rank 1 ended: the disk is full");
    assert!(began.elapsed() < Duration::from_secs(4), "no waiting for silence");
}

#[test]
fn a_rank_that_lives_but_does_not_come_is_not_waited_for_for_ever() {
    let impatient = Patience { work: Duration::from_secs(2), ..patience() };
    let port = free_port();
    let join = |rank| {
        Launch { rank, size: 2, local_rank: None, host: "127.0.0.1".into(), port }.join(impatient, &mut |_| ()).unwrap()
    };
    thread::scope(|scope| {
        let other = scope.spawn(|| {
            let ranks = join(1);
            thread::sleep(Duration::from_secs(4));
            drop(ranks);
        });
        let error = join(0).gather(&[1]).unwrap_err().to_string();
        assert!(error.contains("rank 1 is alive") && error.contains("VERIDICAL_RANKS_PATIENCE"), "{error}");
        other.join().unwrap();
    });
}

fn refused(launches: Vec<Launch>, patience: Patience) -> Vec<String> {
    thread::scope(|scope| {
        let all: Vec<_> = launches
            .into_iter()
            .map(|launch| scope.spawn(move || launch.join(patience, &mut |_| ()).unwrap_err().to_string()))
            .collect();
        all.into_iter().map(|rank| rank.join().unwrap()).collect()
    })
}

#[test]
fn who_cannot_meet_is_told_why() {
    let at = |rank, size, port| Launch { rank, size, local_rank: None, host: "127.0.0.1".into(), port };
    let impatient = Patience { meeting: Duration::from_secs(1), ..patience() };
    let missing = refused(vec![at(0, 3, free_port())], impatient);
    assert!(missing[0].contains("rank 1, 2 did not come") && missing[0].contains("within 1 seconds"), "{missing:?}");
    let unreachable = refused(vec![at(1, 2, free_port())], impatient);
    assert!(unreachable[0].contains("does not reach rank 0 at 127.0.0.1:"), "{unreachable:?}");
    let port = free_port();
    let sizes = refused(vec![at(0, 2, port), at(1, 3, port)], patience());
    assert!(sizes.iter().all(|error| error.contains("told of 3 ranks and rank 0 of 2")), "{sizes:?}");
    let port = free_port();
    let twice = refused(vec![at(0, 3, port), at(1, 3, port), at(1, 3, port)], patience());
    assert!(twice.iter().all(|error| error.contains("two processes call themselves rank 1")), "{twice:?}");
    let taken = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let in_use = refused(vec![at(0, 2, taken.local_addr().unwrap().port())], patience());
    assert!(in_use[0].contains("is in use") && in_use[0].contains("MASTER_PORT"), "{in_use:?}");
    // Something else answers at the port, in its own language.
    let port = taken.local_addr().unwrap().port();
    let other = thread::spawn(move || {
        let (mut stream, _) = taken.accept().unwrap();
        stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").unwrap();
        thread::sleep(Duration::from_millis(300));
    });
    let strange = refused(vec![at(1, 2, port)], patience());
    assert!(strange[0].contains("is no rank of veridical"), "{strange:?}");
    other.join().unwrap();
}

#[test]
fn strangers_are_turned_away() {
    let port = free_port();
    let at = |rank| Launch { rank, size: 2, local_rank: None, host: "localhost".into(), port };
    thread::scope(|scope| {
        let first = scope.spawn(move || {
            let mut said = Vec::new();
            let ranks = at(0).join(patience(), &mut |text| said.push(text.to_string())).unwrap();
            ranks.gather(&[0]).unwrap();
            said
        });
        let mut stranger = loop {
            if let Ok(stream) = TcpStream::connect(("localhost", port)) {
                break stream;
            }
            thread::sleep(Duration::from_millis(10));
        };
        stranger.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
        let other = scope.spawn(move || at(1).join(patience(), &mut |_| ()).unwrap().gather(&[1]).unwrap());
        assert_eq!(other.join().unwrap().len(), 2);
        let said = first.join().unwrap();
        assert!(said.iter().any(|text| text.contains("turned away")), "{said:?}");
    });
}
