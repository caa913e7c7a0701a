//! Wrong kernels and wrong parameter structs: each must be named, and the device must be usable afterwards.

use veridical::backend::Order;
use veridical::backend::gpu::{Launch, Ptr};
use veridical::params;

use super::device::{ORDERS, device, download, launch, refusal, start, upload};

params! { pub struct TestFaultParams { y: Ptr, n: u64, how: u32, unused: u32 } }

fn run(order: Order, kernel: &'static str, how: u32, n: u64, shared: u32) -> veridical::Result<()> {
    let gpu = device(order);
    let y = upload(&gpu, &[0.0f32; 16]);
    let result = start(
        &gpu,
        &Launch { kernel, grid: [1, 1, 1], threads: 64, shared },
        &TestFaultParams { y: y.ptr(0), n, how, unused: 0 },
    );
    // A launch that was given up leaves coroutines behind: the next one must not notice.
    let fine = TestFaultParams { y: y.ptr(0), n: 5, how: 0, unused: 0 };
    start(&gpu, &launch("test_shared_limit", 3, 64), &fine).unwrap();
    result
}

#[test]
fn shared_memory_has_bounds() {
    for order in ORDERS {
        run(order, "test_shared_bounds", 0, 63, 0).unwrap();
        let text = refusal(run(order, "test_shared_bounds", 0, 64, 0));
        assert!(text.contains("reads 4 bytes of shared memory"), "{text}");
        assert!(text.contains("0 bytes past the end of the shared array `tile` (256 bytes)"), "{text}");
        let text = refusal(run(order, "test_shared_bounds", 2, u64::MAX, 0));
        assert!(text.contains("4 bytes before the shared array `tile`"), "{text}");
        run(order, "test_shared_bounds", 1, 24, 100).unwrap();
        let text = refusal(run(order, "test_shared_bounds", 1, 25, 100));
        assert!(text.contains("0 bytes past the end of the dynamic shared memory (100 bytes)"), "{text}");
    }
}

#[test]
fn static_shared_memory_has_a_limit() {
    run(Order::Early, "test_shared_limit", 0, 0, 0).unwrap();
    let text = refusal(run(Order::Early, "test_shared_limit", 1, 0, 0));
    assert!(text.contains("`large`") && text.contains("49152"), "{text}");
    // 95 KiB of dynamic and 4 KiB of static memory fit exactly.
    run(Order::Early, "test_shared_limit", 0, 0, 95 << 10).unwrap();
    let text = refusal(run(Order::Early, "test_shared_limit", 0, 0, (95 << 10) + 16));
    assert!(text.contains("together"), "{text}");
}

#[test]
fn guard_zones_show_writes_that_were_not_checked() {
    let gpu = device(Order::Early);
    for (how, words) in [(0, "written 0 bytes past its end"), (1, "written 1 bytes before its beginning")] {
        let y = upload(&gpu, &[0.0f32; 16]);
        let p = TestFaultParams { y: y.ptr(0), n: 16, how, unused: 0 };
        let text = refusal(start(&gpu, &launch("test_guard_zone", 1, 32), &p));
        assert!(text.contains("test_guard_zone") && text.contains("buffer of `y`") && text.contains(words), "{text}");
        // The damage is still there for whoever looks next.
        assert!(refusal(gpu.synchronize()).contains(words));
        assert!(refusal(y.download(0, &mut [0; 4])).contains(words));
        // Freeing cannot fail; the next call that can says what was found, once.
        drop(y);
        assert!(refusal(gpu.synchronize()).contains(words));
        gpu.synchronize().unwrap();
    }
}

#[test]
fn deadlocks_are_reported_not_waited_for() {
    let block = "block (0, 0, 0)";
    let cases: [(u32, &[&str]); 7] = [
        (0, &[block, "of 64 threads, 32 wait at the block barrier (threads 0-31); 32 have exited (threads 32-63)"]),
        (
            1,
            &[
                block,
                "32 wait at named barrier 3, where 32 of 64 have arrived (threads 0-31)",
                "32 wait at the block barrier (threads 32-63)",
            ],
        ),
        (
            2,
            &[
                "4 wait in __shfl_xor_sync (mask 0xffffffff) for threads 4-31 (threads 0-3)",
                "56 have exited (threads 4-31, 36-63)",
            ],
        ),
        (3, &["in __shfl_xor_sync", "for threads 16-31 (threads 0-15)", "in __ballot_sync", "for threads 0-15"]),
        (4, &["lane 0 calls __shfl_sync with mask 0xfffffffe, which leaves it out"]),
        (5, &["named barrier 1"]),
        (6, &["named barrier 16"]),
    ];
    for order in ORDERS {
        for (how, words) in cases {
            let text = refusal(run(order, "test_deadlock", how, 0, 0));
            assert!(text.contains("test_deadlock"), "{text}");
            for words in words {
                assert!(text.contains(words), "{order}, case {how}: {text}");
            }
        }
    }
}

mod other {
    //! The struct of `faults` with something wrong in each.
    pub mod name {
        use veridical::backend::gpu::Ptr;
        veridical::params! { pub struct TestFaultParams { y: Ptr, m: u64, how: u32, unused: u32 } }
    }
    pub mod order {
        use veridical::backend::gpu::Ptr;
        veridical::params! { pub struct TestFaultParams { y: Ptr, how: u32, unused: u32, n: u64 } }
    }
    pub mod size {
        use veridical::backend::gpu::Ptr;
        veridical::params! { pub struct TestFaultParams { y: Ptr, n: u32, how: u32, unused: u64 } }
    }
    pub mod fewer {
        use veridical::backend::gpu::Ptr;
        veridical::params! { pub struct TestFaultParams { y: Ptr, n: u64 } }
    }
    pub mod more {
        use veridical::backend::gpu::Ptr;
        veridical::params! { pub struct TestFaultParams { y: Ptr, n: u64, how: u32, unused: u32, extra: u64 } }
    }
}

#[test]
fn structs_that_differ_are_refused_by_field() {
    let gpu = device(Order::Early);
    let y = upload(&gpu, &[0.0f32; 16]);
    let at = launch("test_shared_bounds", 1, 32);
    let y0 = y.ptr(0);
    let text = refusal(start(&gpu, &at, &other::name::TestFaultParams { y: y0, m: 0, how: 0, unused: 0 }));
    assert!(text.contains("TestFaultParams: field 1 is `m` in Rust and `n` in C++"), "{text}");
    let text = refusal(start(&gpu, &at, &other::order::TestFaultParams { y: y0, n: 0, how: 0, unused: 0 }));
    assert!(text.contains("field 1 is `how` in Rust and `n` in C++"), "{text}");
    let text = refusal(start(&gpu, &at, &other::size::TestFaultParams { y: y0, n: 0, how: 0, unused: 0 }));
    assert!(text.contains("field `n` has offset 8 and 4 bytes in Rust, offset 8 and 8 bytes in C++"), "{text}");
    let text = refusal(start(&gpu, &at, &other::fewer::TestFaultParams { y: y0, n: 0 }));
    assert!(text.contains("C++ has a field `how` that Rust lacks"), "{text}");
    let text = refusal(start(&gpu, &at, &other::more::TestFaultParams { y: y0, n: 0, how: 0, unused: 0, extra: 0 }));
    assert!(text.contains("Rust has a field `extra` that C++ lacks"), "{text}");
    assert_eq!(download::<f32>(&y), [0.0; 16]);
}
