//! Asynchronous copies and warps that play different parts: right under every schedule, and caught when a wait is
//! missing.

use veridical::backend::Order;
use veridical::backend::gpu::Ptr;
use veridical::params;

use super::device::{ORDERS, device, download, integers, launch, lenient, refusal, start, upload};

params! { pub struct TestAsyncParams { x: Ptr, y: Ptr, n: u32, omit: u32 } }

fn run(order: Order, kernel: &'static str, threads: u32, n: u32, omit: u32) -> Vec<f32> {
    let gpu = if omit == 0 { device(order) } else { lenient(order) };
    let (x, y) = (upload(&gpu, &integers(512)), upload(&gpu, &[0.0f32; 512]));
    start(&gpu, &launch(kernel, 1, threads), &TestAsyncParams { x: x.ptr(0), y: y.ptr(0), n, omit }).unwrap();
    download(&y)
}

#[test]
fn copies_arrive_and_their_absence_shows() {
    let x = integers(512);
    let expected: Vec<f32> = (0..512).map(|i| if i ^ 4 < 200 { x[i ^ 4] } else { 0.0 }).collect();
    let swap = |order, omit| run(order, "test_async_swap", 128, 200, omit);
    for order in ORDERS {
        assert_eq!(swap(order, 0), expected, "{order}");
    }
    // Without the wait, or without the commit that gives it something to wait for, only luck makes it right.
    for omit in [1, 2] {
        assert_eq!(swap(Order::Early, omit), expected);
        assert!(swap(Order::Late, omit).iter().all(|v| v.is_nan()));
        let shuffled = swap(Order::Shuffled(1), omit);
        let nan = shuffled.iter().filter(|v| v.is_nan()).count();
        assert!((128..384).contains(&nan), "about half of the copies should be late, {nan} of 512 values are");
    }
    // Without the barrier the neighbour may not have come so far.
    for order in ORDERS {
        assert!(swap(order, 4).iter().any(|v| v.is_nan()), "{order}");
    }
}

#[test]
fn a_pipeline_keeps_its_buffers_apart() {
    let x = integers(512);
    let expected: Vec<f32> = (0..512).map(|i| x[i / 128 * 128 + 127 - i % 128]).collect();
    let pipeline = |order, omit| run(order, "test_async_pipeline", 32, 512, omit);
    for order in ORDERS {
        assert_eq!(pipeline(order, 0), expected, "{order}");
    }
    // A wait that lets one group too many be under way: right if copies are early, NaN if they are late.
    assert_eq!(pipeline(Order::Early, 1), expected);
    assert!(pipeline(Order::Late, 1).iter().any(|v| v.is_nan()));
    // A buffer that is filled again before everybody has read it.
    assert!(ORDERS.iter().any(|&order| pipeline(order, 2) != expected));
}

#[test]
fn warps_hand_over_through_named_barriers() {
    let x = integers(512);
    let mut expected: Vec<f32> = (0..512).map(|i| x[i / 32 * 32 + 31 - i % 32]).collect();
    expected[256..].fill(0.0);
    for order in ORDERS {
        assert_eq!(run(order, "test_warp_roles", 64, 8, 0), expected, "{order}");
    }
    assert!(ORDERS.iter().any(|&order| {
        let gpu = lenient(order);
        let (x, y) = (upload(&gpu, &x), upload(&gpu, &[0.0f32; 512]));
        let p = TestAsyncParams { x: x.ptr(0), y: y.ptr(0), n: 8, omit: 1 };
        start(&gpu, &launch("test_warp_roles", 1, 64), &p).is_err() || download::<f32>(&y) != expected
    }));
}

#[test]
fn what_is_left_out_is_found_in_every_order() {
    for order in ORDERS {
        let x = integers(512);
        let reversed: Vec<f32> = x[..32].iter().rev().copied().collect();
        assert_eq!(run(order, "test_late_producer", 64, 0, 0)[..32], reversed, "{order}");
    }
    for (kernel, threads, n, omit, part) in [
        // The wait, the commit that it waits for, the barrier behind it.
        ("test_async_swap", 128, 200, 1, "copies to, with no wait and barrier between"),
        ("test_async_swap", 128, 200, 2, "copies to, with no wait and barrier between"),
        ("test_async_swap", 128, 200, 4, "with no barrier between"),
        // One group too many under way; a buffer filled again before everybody has read it.
        ("test_async_pipeline", 32, 512, 1, "copies to, with no wait and barrier between"),
        ("test_async_pipeline", 32, 512, 2, "between"),
        // A consumer that does not wait for its producer.
        ("test_warp_roles", 64, 8, 1, "with no barrier between"),
        // A producer that says it is done before it is.
        ("test_late_producer", 64, 0, 1, "with no barrier between"),
    ] {
        for order in ORDERS {
            let gpu = device(order);
            let (x, y) = (upload(&gpu, &integers(512)), upload(&gpu, &[0.0f32; 512]));
            let p = TestAsyncParams { x: x.ptr(0), y: y.ptr(0), n, omit };
            let text = refusal(start(&gpu, &launch(kernel, 1, threads), &p));
            assert!(text.contains(part), "{kernel} without {omit}, {order}: {text}");
        }
    }
}

#[test]
fn copies_are_checked_like_any_access() {
    for order in ORDERS {
        let gpu = device(order);
        let (x, y) = (upload(&gpu, &integers(508)), upload(&gpu, &[0.0f32; 512]));
        let good = TestAsyncParams { x: x.ptr(0), y: y.ptr(0), n: 508, omit: 0 };
        let at = launch("test_async_swap", 1, 128);
        // The last thread's copy is not valid: its source is not looked at.
        start(&gpu, &at, &good).unwrap();
        let text = refusal(start(&gpu, &at, &TestAsyncParams { n: 512, ..good }));
        assert!(text.contains("thread 127: reads 16 bytes of global memory"), "{text}");
        let text = refusal(start(&gpu, &at, &TestAsyncParams { x: x.ptr(4), n: 128, ..good }));
        assert!(text.contains("no multiple of 16"), "{text}");
        let text = refusal(start(&gpu, &launch("test_async_swap", 1, 160), &good));
        assert!(text.contains("shared array `tile`"), "{text}");
    }
}
