//! What is wrong with mbarriers, boxes of tensors and wgmma is named, in whatever order threads run.

use veridical::backend::Order;
use veridical::backend::gpu::{Gpu, Ptr};

use super::device::{ORDERS, device, hopper, launch, refusal, start, upload};
use super::hopper::{TestBoxParams, TestRegistersParams, TestRingParams, boxes, factor, multiply, place};

/// Loads the first 16 lines of a matrix, with a fault, and `expected` bytes announced of the 2048.
fn load(gpu: &Gpu, fault: u32, expected: u32) -> veridical::Result<()> {
    let words: Vec<u16> = (0..1024).collect();
    let (x, y) = (upload(gpu, &words), upload(gpu, &[0u16; 1024]));
    let map = gpu.tensor_map(&boxes(x.ptr(0), &[64, 16], &[64, 16], true))?;
    let p = TestBoxParams { map, y: y.ptr(0), at: [0; 4], axes: 2, bytes: 2048, expected, fault, unused: [0; 6] };
    start(gpu, &launch("test_tensor_load", 1, 64).shared(2048), &p)
}

/// One of the parts stands in the text; which one may depend on the order.
fn says(text: &str, parts: &[&str], what: &str) {
    assert!(parts.iter().any(|part| text.contains(part)), "{what}: {text}");
}

#[test]
fn faults_around_a_box_are_named() {
    let unwaited = "has not waited for: phase 0 of its mbarrier";
    let cases: [(u32, u32, &[&str]); 13] = [
        (1, 2048, &["an mbarrier, byte 0 of `barrier`, that was not made (mbarrier_init)"]),
        (2, 2048, &["that was made with no mbarrier_init_fence since"]),
        (3, 2048, &["that another thread made, with no barrier between", "that was not made"]),
        (4, 2048, &["nobody has waited for phase 0 of the mbarrier, byte 0 of `barrier`"]),
        // It waits for a phase that nobody begins, or not at all.
        (5, 2048, &["cannot go on", unwaited, "reads, with no barrier between"]),
        (6, 2048, &["which phase 0 satisfies; it has waited for that before"]),
        // The arrival is one too many for phase 0, or ends phase 1, which nobody had in mind.
        (7, 2048, &["once more than its 1 times", "cannot go on", "waited for phase"]),
        (8, 2048, &["whose phase 0 has 0 of 1 arrivals and -2048 bytes outstanding"]),
        (9, 2048, &[unwaited, "with no barrier between"]),
        (
            10,
            2048,
            &[
                "loads a box to shared memory, byte 0 of the dynamic part, a thread wrote there and has had no proxy_fence",
            ],
        ),
        (0, 2064, &["whose phase 0 has 1 of 1 arrivals and 16 bytes outstanding"]),
        (0, 1024, &["whose phase 0 has 1 of 1 arrivals and -1024 bytes outstanding"]),
        (0, 0, &[unwaited, "phase 1 of its mbarrier", "fewer were announced", "bytes outstanding"]),
    ];
    for order in ORDERS {
        let gpu = hopper(order);
        load(&gpu, 0, 2048).unwrap();
        load(&gpu, 11, 2048).unwrap();
        for (fault, expected, parts) in cases {
            let text = refusal(load(&gpu, fault, expected));
            says(&text, parts, &format!("fault {fault}, {expected} bytes, {order}"));
        }
    }
}

#[test]
fn faults_in_a_ring_are_named() {
    let cases: [(u32, &[&str]); 7] = [
        (1, &["which phase 0 satisfies; it has waited for that before", "cannot go on"]),
        (2, &["which phase -1 satisfies; it has waited for that before", "cannot go on"]),
        (3, &["has not waited for", "reads, with no barrier between", "once more than its 1 times"]),
        (4, &["has not waited for", "reads, with no barrier between"]),
        (5, &["cannot go on", "has 0 of 1 arrivals and 0 bytes outstanding"]),
        (6, &["has not waited for", "reads, with no barrier between"]),
        (7, &["has not waited for", "fewer were announced", "reads, with no barrier between"]),
    ];
    for order in ORDERS {
        let gpu = hopper(order);
        let ring = |fault| {
            let (x, y) = (upload(&gpu, &[1u16; 64 * 6]), upload(&gpu, &[0u16; 64 * 6]));
            let map = gpu.tensor_map(&boxes(x.ptr(0), &[64, 6], &[64, 1], false))?;
            let p = TestRingParams { map, y: y.ptr(0), count: 6, fault, unused: [0; 12] };
            start(&gpu, &launch("test_box_ring", 1, 64).shared(2048), &p)
        };
        ring(0).unwrap();
        for (fault, parts) in cases {
            says(&refusal(ring(fault)), parts, &format!("fault {fault}, {order}"));
        }
    }
}

#[test]
fn faults_around_wgmma_are_named() {
    let cases: [(u32, &[&str]); 11] = [
        (1, &["wgmma.mma_async with no wgmma.fence (warpgroup_fence) before it"]),
        (2, &["has not waited for its products"]),
        (3, &["has not waited for its products"]),
        (4, &["the sums of a product that is under way were written"]),
        (5, &["sums that were written since the last wgmma.fence"]),
        (6, &["while a product reads there that is under way (write after asynchronous read)"]),
        (7, &["that a thread wrote, with no proxy_fence since"]),
        (9, &["thread 96: wgmma.mma_async with other descriptors than the first thread of its warpgroup"]),
        (10, &["wait in wgmma.mma_async for threads 96-127 (threads 0-95)"]),
        (11, &["of a box that thread 0 has not waited for"]),
        (12, &["while a product reads there that is under way (write after asynchronous read)"]),
    ];
    let (a, b) = (factor(64, 1), factor(256, 2));
    for order in ORDERS {
        let gpu = hopper(order);
        for (fault, parts) in cases {
            let text = refusal(multiply(&gpu, 256, 64, [&a, &b], fault, 0).map(drop));
            says(&text, parts, &format!("fault {fault}, {order}"));
        }
    }
}

#[test]
fn wrong_descriptors_are_named_or_read_other_lines() {
    let (a, b) = (factor(64, 1), factor(256, 2));
    for order in ORDERS {
        let gpu = hopper(order);
        for (twist, part) in [
            (1u64 << 62, "a: its descriptor says swizzle mode 0"),
            (1 << 63, "says swizzle mode 3"),
            (3 << 16, "a leading offset (LBO) of 32 bytes"),
            ((64 ^ 32) << 32, "a stride (SBO) of 512 bytes"),
            (8, "begins at line 1 of a pattern of 1024 bytes, with a base offset of 0"),
            (1 << 49, "with a base offset of 1"),
            (1 << 15, "has bits set that mean nothing"),
            // The tile of the left factor, moved beyond both.
            (1 << 13, "reads beyond the shared memory"),
        ] {
            let text = refusal(multiply(&gpu, 256, 64, [&a, &b], 0, twist).map(drop));
            assert!(text.contains(part), "{twist:#x}, {order}: {text}");
        }
        // Twice the stride: every second group of lines, and lines of the other factor.
        let right = multiply(&gpu, 256, 64, [&a, &b], 0, 0).unwrap();
        let wrong = multiply(&gpu, 256, 64, [&a, &b], 0, (64 ^ 128) << 32).unwrap();
        let differs = |row: usize| (0..wrong.len()).any(|i| place(i / 128, i % 128).0 == row && wrong[i] != right[i]);
        assert!((0..8).all(|row| !differs(row)) && differs(8) && differs(63), "{order}");
    }
}

#[test]
fn boxes_are_swizzled_as_the_descriptor_says() {
    let gpu = hopper(Order::Early);
    let (a, b) = (upload(&gpu, &factor(64, 1)), upload(&gpu, &factor(256, 2)));
    let c = upload(&gpu, &[0f32; 64 * 256]);
    let mut p = super::hopper::TestWgmmaParams {
        a: gpu.tensor_map(&boxes(a.ptr(0), &[64, 64], &[64, 64], false)).unwrap(),
        b: gpu.tensor_map(&boxes(b.ptr(0), &[64, 256], &[64, 256], true)).unwrap(),
        c: c.ptr(0),
        twist: 0,
        depth: 64,
        fault: 0,
        unused: [0; 10],
    };
    let at = launch("test_wgmma_n256", 1, 128).shared(8192 + 256 * 128);
    let text = refusal(start(&gpu, &at, &p));
    assert!(text.contains("of a box that is not swizzled, with a descriptor that is swizzled"), "{text}");
    // A box that does not fit, and a struct that holds no map.
    p.a = gpu.tensor_map(&boxes(a.ptr(0), &[64, 64], &[64, 64], true)).unwrap();
    let text = refusal(start(&gpu, &launch("test_wgmma_n256", 1, 128).shared(16384), &p));
    assert!(text.contains("its 32768 bytes go beyond the shared array"), "{text}");
    p.b = bytemuck::Zeroable::zeroed();
    assert!(refusal(start(&gpu, &at, &p)).contains("there is no tensor map"));
}

#[test]
fn tensors_are_checked_against_their_buffers() {
    let gpu = hopper(Order::Late);
    let x = upload(&gpu, &[0u16; 64 * 16]);
    let y = upload(&gpu, &[0u16; 1024]);
    let map = |extents: &[u64]| gpu.tensor_map(&boxes(x.ptr(0), extents, &[64, 16], true));
    let p = |map| TestBoxParams {
        map,
        y: y.ptr(0),
        at: [0; 4],
        axes: 2,
        bytes: 2048,
        expected: 2048,
        fault: 0,
        unused: [0; 6],
    };
    let at = launch("test_tensor_load", 1, 64).shared(2048);
    start(&gpu, &at, &p(map(&[64, 16]).unwrap())).unwrap();
    let text = refusal(start(&gpu, &at, &p(map(&[64, 17]).unwrap())));
    assert!(text.contains("its tensor of 2176 bytes") && text.contains("not all in one live allocation"), "{text}");
    let text = refusal(start(&gpu, &at, &TestBoxParams { axes: 3, ..p(map(&[64, 16]).unwrap()) }));
    assert!(text.contains("names 3 coordinates of a tensor with 2 axes"), "{text}");
    let refused = gpu.tensor_map(&boxes(x.ptr(8), &[64, 8], &[64, 8], true));
    assert!(refusal(refused.map(drop)).contains("address is a multiple of 16"));
    // An older GPU has neither.
    let old = device(Order::Early);
    assert!(
        refusal(old.tensor_map(&boxes(Ptr::NULL.byte_add(64), &[64, 8], &[64, 8], true)).map(drop)).contains("Hopper")
    );
    let y = upload(&old, &[0u16; 1024]);
    let text = refusal(start(&old, &at, &TestBoxParams { y: y.ptr(0), ..p(map(&[64, 16]).unwrap()) }));
    assert!(text.contains("they are Hopper's, and this device is none"), "{text}");
}

#[test]
fn registers_are_shared_out_by_warpgroups() {
    for order in ORDERS {
        let gpu = hopper(order);
        let of = |fault| {
            let y = upload(&gpu, &[0u32; 3]);
            refusal(start(&gpu, &launch("test_registers", 1, 384), &TestRegistersParams { y: y.ptr(0), fault }))
        };
        assert!(of(1).contains("the warpgroups want 79872 registers of the block's 64512"), "{}", of(1));
        assert!(of(2).contains("setmaxnreg.inc to 24 registers, where the warpgroup has 168"), "{}", of(2));
        assert!(of(3).contains("wait in setmaxnreg.dec for threads 32-127 (threads 0-31)"), "{}", of(3));
    }
}
