//! Buffers: nothing outside of them is read or written, and who frees one while a kernel runs does not take it from the
//! kernel.

use std::thread;

use veridical::backend::Order;
use veridical::{Device, Error, Tensor, ops};

use super::basic::TestMapParams;
use super::device::{device, download, integers, launch, start, upload};

#[test]
fn bytes_outside_a_buffer_are_an_error() {
    let gpu = device(Order::Early);
    let (mut a, b) = (upload(&gpu, &[1u8; 64]), upload(&gpu, &[2u8; 32]));
    let outside = |result: Result<(), Error>| {
        let text = result.expect_err("that is outside of the buffer").to_string();
        assert!(text.contains("in a buffer of"), "{text}");
    };
    let mut eight = [0; 8];
    for offset in [57, 64, 1 << 40, usize::MAX - 3, usize::MAX] {
        outside(a.download(offset, &mut eight));
        outside(a.write(offset, &eight));
        outside(a.copy_from(offset, &b, 0, 8));
        outside(a.copy_from(0, &b, offset, 8));
    }
    outside(a.copy_from(0, &b, 0, 33));
    outside(a.copy_from(0, &b, 1, usize::MAX));
    outside(a.download(65, &mut []));
    // Up to the last byte, and nothing at all behind it, is inside.
    a.write(56, &eight).unwrap();
    a.copy_from(24, &b, 0, 32).unwrap();
    a.download(64, &mut []).unwrap();
    let expected: Vec<u8> = [&[1; 24][..], &[2; 32], &[0; 8]].concat();
    assert_eq!(download::<u8>(&a), expected);
    gpu.synchronize().unwrap();
}

#[test]
fn buffers_of_two_devices_do_not_meet() {
    let (one, other) = (device(Order::Early), device(Order::Late));
    let mut a = upload(&one, &[1u8; 64]);
    let b = upload(&other, &[2u8; 64]);
    let text = a.copy_from(0, &b, 0, 64).unwrap_err().to_string();
    assert!(text.contains("emulator (late)") && text.contains("emulator (early)"), "{text}");
    assert_eq!(download::<u8>(&a), [1; 64]);
}

/// Each tensor of an operation is of the device that its kernel runs on, also where a rule of one's own brings the
/// tensor.
#[test]
fn a_tensor_of_another_device_is_an_error_of_the_operation() {
    let devices = [Order::Early, Order::Late].map(|order| Device::Gpu(device(order)));
    let [x, y] = [0, 1].map(|i| Tensor::from_slice(&integers(64), [64], &devices[i]).unwrap());
    assert!(matches!(ops::add(x.clone(), y.clone()), Err(Error::Device { .. })));

    let tape = veridical::Tape::new();
    let leaf = tape.leaf(x.clone());
    let activated = ops::silu(&leaf).unwrap();
    // The gradient has the shape and dtype that it should, but is elsewhere.
    let strayed = veridical::Var::record("stray", x.clone(), [&activated], move |_, _| Ok([Some(y.clone())])).unwrap();
    let error = ops::sum(&strayed, &[0]).unwrap().backward().unwrap_err();
    assert!(matches!(error, Error::Device { .. }), "{error}");
    devices[0].synchronize().unwrap();
    devices[1].synchronize().unwrap();
}

/// Calls are ordered as on one stream: a launch that came before the freeing has its buffer to the end, one that came
/// after has none.
#[test]
fn freeing_waits_for_the_kernels_of_other_threads() {
    const N: usize = 1 << 14;
    let gpu = device(Order::Early);
    let x = integers(N);
    let doubled: Vec<f32> = x.iter().map(|x| 2.0 * x).collect();
    for _ in 0..40 {
        let (from, to) = (upload(&gpu, &x), upload(&gpu, &vec![0.0f32; N]));
        let p = TestMapParams { x: from.ptr(0), y: to.ptr(0), n: N as u64, scale: 2.0, shift: 0 };
        let started = thread::scope(|scope| {
            scope.spawn(|| {
                drop(from);
                // Whoever is given the memory writes to it at once.
                drop((0..4).map(|_| upload(&gpu, &vec![f32::NAN; N])).collect::<Vec<_>>());
            });
            start(&gpu, &launch("test_map_f32", 64, 64), &p)
        });
        match started {
            Ok(()) => assert!(download::<f32>(&to) == doubled),
            Err(late) => assert!(late.to_string().contains("in no live allocation"), "{late}"),
        }
    }
    gpu.synchronize().unwrap();
}
