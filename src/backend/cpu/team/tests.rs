//! Every item once, whoever does it, whatever happens.

use rayon::prelude::*;

use super::*;

#[test]
fn every_number_comes_once() {
    for count in [0, 1, 2, 3, 7, 64, 1000, 100_000] {
        for at_once in [0, 1, 3, 500] {
            let seen: Vec<AtomicUsize> = (0..count).map(|_| AtomicUsize::new(0)).collect();
            for_each(count, at_once, &|i| {
                seen[i].fetch_add(1, Ordering::Relaxed);
            });
            assert!(seen.iter().all(|seen| seen.load(Ordering::Relaxed) == 1), "{count}, {at_once} at once");
        }
    }
}

#[test]
fn others_help_where_there_are_any() {
    let seen = Mutex::new(std::collections::BTreeSet::new());
    // Another test's loop may have the team, or its members may just have left.
    for _ in 0..10 {
        for_each(8, 1, &|_| {
            std::thread::sleep(Duration::from_millis(10));
            locked(&seen).insert(format!("{:?}", std::thread::current().id()));
        });
    }
    assert!(rayon::current_num_threads() < 2 || locked(&seen).len() > 1, "{:?}", locked(&seen));
}

#[test]
fn loops_follow_each_other_whoever_asks() {
    // More threads than may lead at a time, with loops in loops.
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for round in 0..500 {
                    let sum = AtomicUsize::new(0);
                    for_each(40, 1, &|i| {
                        for_each(3, 1, &|j| {
                            sum.fetch_add(i * j, Ordering::Relaxed);
                        });
                    });
                    assert_eq!(sum.into_inner(), 780 * 3, "round {round}");
                }
            });
        }
    });
}

#[test]
fn results_are_in_order() {
    let texts: Vec<String> = (0..300).map(|i| i.to_string()).collect();
    let lengths = texts.par_iter().map_on_team(String::len);
    assert_eq!(lengths, texts.iter().map(String::len).collect::<Vec<_>>());
    assert_eq!(texts.par_chunks(7).with_min_len(5).map_on_team(<[String]>::len).iter().sum::<usize>(), 300);
    assert_eq!(Vec::<u8>::new().into_par_iter().map_on_team(|_| ()), []);
}

#[test]
fn the_first_error_is_the_loops() {
    let begun = AtomicUsize::new(0);
    let result = (0..100_000usize).into_par_iter().try_each_on_team(|i| {
        begun.fetch_add(1, Ordering::Relaxed);
        if i % 1000 == 7 { Err(i) } else { Ok(()) }
    });
    assert_eq!(result.unwrap_err() % 1000, 7);
    assert!(begun.into_inner() < 100_000);
    assert_eq!([1, 2, 3].par_iter().try_each_on_team(|_| Ok::<(), ()>(())), Ok(()));
}

#[test]
fn a_panic_goes_on_in_the_caller_and_the_team_with_it() {
    for round in 0..20 {
        let at = round * 50;
        let panicked = catch_unwind(|| for_each(1000, 1, &|i| assert_ne!(i, at, "as planned")));
        assert!(panicked.is_err(), "number {at}");
        let sum = AtomicUsize::new(0);
        for_each(1000, 1, &|i| {
            sum.fetch_add(i, Ordering::Relaxed);
        });
        assert_eq!(sum.into_inner(), 499_500);
    }
}
