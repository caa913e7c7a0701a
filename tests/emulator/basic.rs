//! Indices, bounds, barriers, reductions, warp collectives, and the checks at the launch.

use veridical::backend::Order;
use veridical::backend::gpu::{Gpu, Launch, Ptr};
use veridical::params;

use super::device::{ORDERS, device, download, integers, launch, lenient, refusal, start, upload};

params! { pub struct TestMapParams { x: Ptr, y: Ptr, n: u64, scale: f32, shift: u32 } }
params! { pub struct TestBlockParams { x: Ptr, y: Ptr } }

#[test]
fn a_map_is_applied_to_every_element() {
    for order in ORDERS {
        let gpu = device(order);
        for n in [0usize, 1, 31, 1000, 4097] {
            let x = integers(n + 3);
            let (bx, by) = (upload(&gpu, &x), upload(&gpu, &vec![0.0f32; n]));
            let p = TestMapParams { x: bx.ptr(0), y: by.ptr(0), n: n as u64, scale: 2.0, shift: 3 };
            start(&gpu, &launch("test_map_f32", 5, 96), &p).unwrap();
            let expected: Vec<f32> = x[3..].iter().map(|v| 2.0 * v).collect();
            assert_eq!(download::<f32>(&by), expected, "{order}, n = {n}");
        }
        gpu.synchronize().unwrap();
    }
}

#[test]
fn bf16_rounds_to_nearest_even() {
    let gpu = device(Order::Early);
    // 1 + 2^-8 lies between 1 and 1 + 2^-7: even is 1. 1 + 3 * 2^-8 lies between 1 + 2^-7 and 1 + 2^-6: even is the
    // latter.
    let x: Vec<u16> = vec![0x3f80, 0x3f81, 0x7f80, 0xff80, 0x7fc0, 0x0001, 0x8000];
    let scale = 1.0 + 2f32.powi(-8);
    let (bx, by) = (upload(&gpu, &x), upload(&gpu, &vec![0u16; x.len()]));
    let p = TestMapParams { x: bx.ptr(0), y: by.ptr(0), n: x.len() as u64, scale, shift: 0 };
    start(&gpu, &launch("test_map_bf16", 1, 32), &p).unwrap();
    // (1 + 2^-7)(1 + 2^-8) = 1 + 3 * 2^-8 + 2^-15: just above the tie.
    assert_eq!(download::<u16>(&by), [0x3f80, 0x3f82, 0x7f80, 0xff80, 0x7fff, 0x0001, 0x8000]);
}

#[test]
fn a_tree_sum_needs_its_barriers() {
    let x = integers(1024);
    let sums: Vec<f32> = x.chunks(256).map(|c| c.iter().sum()).collect();
    let run = |gpu: &Gpu, kernel| {
        let (bx, by) = (upload(gpu, &x), upload(gpu, &[0.0f32; 4]));
        start(gpu, &launch(kernel, 4, 256), &TestBlockParams { x: bx.ptr(0), y: by.ptr(0) })?;
        Ok(download::<f32>(&by))
    };
    for order in ORDERS {
        assert_eq!(run(&device(order), "test_tree_sum").unwrap(), sums, "{order}");
        // Without the barriers that is a race, whoever comes first.
        let text = refusal(run(&device(order), "test_tree_sum_racy").map(|_| ()));
        assert!(text.contains("of `part`, that ") && text.contains("with no barrier between"), "{order}: {text}");
    }
    // Thread 0 reads what nobody has written yet: NaN, under every schedule that lets it run early.
    let racy = |order| run(&lenient(order), "test_tree_sum_racy").unwrap();
    assert!(racy(Order::Early).iter().all(|s| s.is_nan()));
    assert!(racy(Order::Shuffled(1)) != sums);
}

#[test]
fn block_reductions_reach_every_thread() {
    for threads in [32u32, 64, 256, 1024] {
        let n = threads;
        let x = integers(n as usize);
        let expected = [x.iter().sum(), x.iter().map(|v| v * v).sum(), x.iter().copied().fold(f32::MIN, f32::max)];
        for order in ORDERS {
            let gpu = device(order);
            let (bx, by) = (upload(&gpu, &x), upload(&gpu, &vec![0.0f32; 3 * n as usize]));
            let shape = Launch { kernel: "test_block_reductions", grid: [1, 1, 1], threads, shared: 0 };
            start(&gpu, &shape, &TestBlockParams { x: bx.ptr(0), y: by.ptr(0) }).unwrap();
            assert!(download::<f32>(&by).chunks(3).all(|y| y == expected), "{order}, {threads}");
        }
    }
}

#[test]
fn warp_collectives_exchange_lanes() {
    let x: Vec<u32> = (0..96).map(|i| (i * 37 + 5) % 101).collect();
    for order in ORDERS {
        let gpu = device(order);
        let (bx, by) = (upload(&gpu, &x), upload(&gpu, &[0u32; 8 * 96]));
        start(&gpu, &launch("test_warp_collectives", 1, 96), &TestBlockParams { x: bx.ptr(0), y: by.ptr(0) }).unwrap();
        let y = download::<u32>(&by);
        for (rank, y) in y.chunks(8).enumerate() {
            let (warp, l) = (&x[rank / 32 * 32..][..32], rank % 32);
            let ballot = (0..32).filter(|&i| warp[i] % 3 == 0).fold(0u32, |b, i| b | 1 << i);
            let expected = [
                warp[5],
                warp[l ^ 3],
                if l + 4 < 32 { warp[l + 4] } else { warp[l] },
                if l >= 4 { warp[l - 4] } else { warp[l] },
                if l % 8 + 2 < 8 { warp[l + 2] } else { warp[l] },
                ballot,
                if l < 16 { warp[l ^ 1] } else { warp[l ^ 2] },
                1 + 2 * u32::from(warp.contains(&7)),
            ];
            assert_eq!(y, expected, "{order}, thread {rank}");
        }
    }
}

#[test]
fn accesses_outside_are_refused() {
    let gpu = device(Order::Early);
    let (bx, by) = (upload(&gpu, &integers(64)), upload(&gpu, &[0.0f32; 64]));
    let good = TestMapParams { x: bx.ptr(0), y: by.ptr(0), n: 64, scale: 1.0, shift: 0 };
    let run = |kernel, p: TestMapParams| refusal(start(&gpu, &launch(kernel, 1, 64), &p));

    let text = run("test_map_f32", TestMapParams { shift: 8, ..good });
    assert!(text.contains("test_map_f32") && text.contains("block (0, 0, 0), thread 56"), "{text}");
    assert!(text.contains("reads 4 bytes") && text.contains("0 bytes past the end of the buffer of `x`"), "{text}");
    let text = run("test_map_f32", TestMapParams { y: by.ptr(4), ..good });
    assert!(text.contains("thread 63") && text.contains("the buffer of `y` (256 bytes"), "{text}");
    let text = run("test_map_f32", TestMapParams { x: Ptr::NULL, ..good });
    assert!(text.contains("null"), "{text}");
    let text = run("test_map_f32", TestMapParams { x: Ptr::NULL.byte_add(0x1000), ..good });
    assert!(text.contains("in no live allocation"), "{text}");
    let text = run("test_map_f32", TestMapParams { x: bx.ptr(2), ..good });
    assert!(text.contains("no multiple of the element's 4 bytes"), "{text}");
    let text = run("test_map_vec_f32", TestMapParams { shift: 1, n: 4, ..good });
    assert!(text.contains("no multiple of 16"), "{text}");
    // A freed buffer is no buffer.
    let stale = upload(&gpu, &integers(64)).ptr(0);
    let text = run("test_map_f32", TestMapParams { x: stale, ..good });
    assert!(text.contains("in no live allocation"), "{text}");
    // The device is as good as before.
    start(&gpu, &launch("test_map_f32", 1, 64), &good).unwrap();
    assert_eq!(download::<f32>(&by), integers(64));
    gpu.synchronize().unwrap();
}

#[test]
fn fresh_memory_is_not_a_number() {
    let gpu = device(Order::Early);
    assert!(download::<f32>(&gpu.allocate(4096).unwrap()).iter().all(|v| v.is_nan()));
}

#[test]
fn launches_keep_to_the_limits_of_a_gpu() {
    let gpu = device(Order::Early);
    let p = TestMapParams { x: Ptr::NULL, y: Ptr::NULL, n: 0, scale: 1.0, shift: 0 };
    let run = |kernel, grid, threads, shared| start(&gpu, &Launch { kernel, grid, threads, shared }, &p);
    let map = "test_map_f32";
    run(map, [1, 65535, 1], 1024, 99 << 10).unwrap();
    for (grid, threads, shared, words) in [
        ([0, 1, 1], 32, 0, "zero"),
        ([1, 1, 1], 0, 0, "no threads"),
        ([1, 65536, 1], 32, 0, "65535"),
        ([1, 1, 65536], 32, 0, "65535"),
        ([1, 1, 1], 1025, 0, "1024 threads"),
        ([1, 1, 1], 32, (99 << 10) + 1, "shared memory"),
    ] {
        let text = refusal(run(map, grid, threads, shared));
        assert!(text.contains(words), "{text}");
    }
    run("test_map_small_blocks_f32", [1, 1, 1], 64, 0).unwrap();
    assert!(refusal(run("test_map_small_blocks_f32", [1, 1, 1], 96, 0)).contains("at most 64 threads"));
    assert!(refusal(run("no_such_kernel", [1, 1, 1], 32, 0)).contains("no kernel of this name"));
}
