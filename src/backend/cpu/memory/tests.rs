use super::*;

#[test]
fn buffers_are_aligned_and_hold_their_bytes() {
    let buffer = CpuBuffer::from_bytes(&[1, 2, 3, 4, 5, 6, 7, 8]).unwrap();
    assert_eq!(buffer.as_slice::<u32>(), [0x04030201, 0x08070605]);
    assert_eq!(buffer.as_slice::<u8>().as_ptr() as usize % ALIGN, 0);
    assert!(CpuBuffer::new(0).unwrap().as_mut_slice::<f64>().is_empty());
}

#[test]
fn an_absurd_size_is_an_error() {
    for absurd in [usize::MAX, usize::MAX / 2, isize::MAX as usize / 4, 1 << 50] {
        assert!(matches!(CpuBuffer::new(absurd), Err(Error::OutOfMemory { bytes, .. }) if bytes == absurd));
    }
}

#[test]
fn buffers_come_poisoned() {
    for bytes in [1, 100, SMALL + 1] {
        for _ in 0..2 {
            let mut buffer = CpuBuffer::new(bytes).unwrap();
            assert!(buffer.as_slice::<u8>().iter().all(|&byte| byte == 0xFF));
            buffer.as_mut_slice::<u8>().fill(0);
        }
    }
}

#[test]
fn what_a_buffer_takes_is_little_more_than_it_holds() {
    for bytes in (1..5000).chain([SMALL - 1, SMALL, SMALL + 1, (10 << 20) + 1]) {
        let taken = rounded(bytes);
        assert!(taken >= bytes && taken.is_multiple_of(ALIGN), "{bytes} -> {taken}");
        assert!(taken < bytes + ALIGN || taken <= bytes + bytes / 16, "{bytes} -> {taken}");
    }
}

/// Several threads at once, each checking that nobody else writes to its buffers.
#[test]
fn buffers_do_not_overlap() {
    std::thread::scope(|scope| {
        for thread in 0..4u8 {
            scope.spawn(move || {
                let (mut live, mut word) = (Vec::new(), u64::from(thread));
                for round in 0..400u32 {
                    word = word.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
                    let (draw, mark) = ((word >> 33) as usize, [thread, round as u8]);
                    let bytes = if draw % 3 == 0 { draw / 3 % (3 * SMALL) } else { draw / 3 % 2000 };
                    let mut buffer = CpuBuffer::new(bytes / 2 * 2).unwrap();
                    buffer.as_mut_slice::<[u8; 2]>().fill(mark);
                    live.push((buffer, mark));
                    if live.len() > 40 {
                        let (buffer, mark) = live.swap_remove(draw % 40);
                        assert!(buffer.as_slice::<[u8; 2]>().iter().all(|&found| found == mark));
                    }
                }
            });
        }
    });
}

fn takes(pool: &mut Pool, sizes: &[usize]) -> Vec<(usize, usize)> {
    sizes.iter().map(|&bytes| (pool.take(bytes).unwrap(), bytes)).collect()
}

fn puts(pool: &mut Pool, taken: Vec<(usize, usize)>) {
    taken.into_iter().for_each(|(start, bytes)| pool.put(start, bytes));
}

fn mapped(pool: &Pool) -> usize {
    [&pool.small, &pool.large].iter().flat_map(|kept| &kept.mappings).map(|mapping| mapping.bytes).sum()
}

const MIB: usize = 1 << 20;

#[test]
fn sizes_may_change_from_step_to_step() {
    let mut pool = Pool::new();
    let taken = takes(&mut pool, &[40 * MIB, 20 * MIB, 4 * MIB]);
    assert_eq!((pool.used, pool.peak, mapped(&pool)), (64 * MIB, 64 * MIB, 64 * MIB));
    puts(&mut pool, taken);
    // One, of all that was free; a pool of size classes would have to grow.
    let taken = takes(&mut pool, &[64 * MIB]);
    puts(&mut pool, taken);
    let taken = takes(&mut pool, &[MIB; 64]);
    puts(&mut pool, taken);
    assert_eq!((pool.used, mapped(&pool)), (0, 64 * MIB));
    pool.give_back();
    assert_eq!(mapped(&pool), 0);
}

#[test]
fn no_more_is_kept_than_was_in_use_at_once() {
    let mut pool = Pool::new();
    for size in (100..1000).step_by(7) {
        let taken = takes(&mut pool, &[size * MIB]);
        assert!(pool.free_bytes() <= pool.peak, "{} MiB are kept beside {size}", pool.free_bytes() / MIB);
        puts(&mut pool, taken);
    }
    pool.give_back();
    assert_eq!((mapped(&pool), pool.peak), (0, 0));
}

#[test]
fn what_is_in_use_stays_when_the_rest_is_given_back() {
    let mut pool = Pool::new();
    let mut taken = takes(&mut pool, &[5 * MIB, 100, 5 * MIB, 200, 5 * MIB]);
    let kept = [taken.swap_remove(2), taken.swap_remove(1)];
    for (start, bytes) in kept {
        // SAFETY: taken above, with so many bytes.
        unsafe { std::slice::from_raw_parts_mut(std::ptr::with_exposed_provenance_mut::<u8>(start), bytes) }.fill(7);
    }
    puts(&mut pool, taken);
    pool.give_back();
    for (start, bytes) in kept {
        // SAFETY: as above, and not put back yet.
        let found = unsafe { std::slice::from_raw_parts(std::ptr::with_exposed_provenance::<u8>(start), bytes) };
        assert!(found.iter().all(|&byte| byte == 7));
    }
    puts(&mut pool, kept.into());
    pool.give_back();
    assert_eq!((mapped(&pool), pool.used), (0, 0));
}

/// What is made of a buffer is kept from the second time on, each part's for itself, until somebody writes to it.
#[test]
fn forms_are_kept_while_the_contents_are() {
    let mut buffer = CpuBuffer::from_bytes(&[3, 4]).unwrap();
    let made = std::cell::Cell::new(0);
    let form = |buffer: &CpuBuffer, at: usize, least: u32| {
        let make = || {
            made.set(made.get() + 1);
            Ok(u32::from(buffer.as_slice::<u8>()[at]) * 10)
        };
        *buffer.part(at).form(|&form: &u32| form >= least, make).unwrap()
    };
    assert_eq!([form(&buffer, 0, 0), form(&buffer, 0, 0), form(&buffer, 0, 0), form(&buffer, 0, 0)], [30; 4]);
    assert_eq!(made.get(), 2, "the first is not kept");
    assert_eq!([form(&buffer, 1, 0), form(&buffer, 1, 0), form(&buffer, 1, 0)], [40; 3]);
    assert_eq!(made.get(), 4);
    form(&buffer, 0, 31);
    assert_eq!(made.get(), 5, "one that does not fit is made again");
    buffer.as_mut_slice::<u8>()[0] = 7;
    assert_eq!([form(&buffer, 0, 0), form(&buffer, 1, 0)], [70, 40]);
    assert_eq!(made.get(), 7, "both were dropped");

    let failing = buffer.part(0).form(|_: &u8| true, || Err(Error::Stopped));
    assert!(matches!(failing, Err(Error::Stopped)));
    assert_eq!(form(&buffer, 0, 0), 70);
}
