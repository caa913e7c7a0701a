//! How fast the products are, measured.

use super::convolution::{direct, takes_winograd};
use super::tests::Numbers;
use super::*;
use crate::backend::convolution::Convolution;

/// Time that the processor has spent on this thread; it does not grow while others run.
fn busy_seconds() -> f64 {
    unsafe extern "C" {
        fn clock_gettime(clock: i32, time: *mut [i64; 2]) -> i32;
    }
    const CLOCK_THREAD_CPUTIME_ID: i32 = 3;
    let mut time = [0; 2];
    // SAFETY: `struct timespec` is two 64-bit numbers on 64-bit Linux.
    assert_eq!(unsafe { clock_gettime(CLOCK_THREAD_CPUTIME_ID, &mut time) }, 0);
    time[0] as f64 + time[1] as f64 / 1e9
}

/// Prints the share of the multiply-add ceiling that products and convolutions reach on one thread, from processor
/// time, so that it can be measured on a busy machine: `cargo test --release figures -- --ignored --nocapture`.
#[test]
#[ignore = "a measurement"]
fn figures() {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap();
    pool.install(print_figures::<f32>);
    println!("bf16:");
    pool.install(print_figures::<half::bf16>);
}

fn print_figures<T: Stored<Sum = f32>>() {
    use crate::backend::cpu::ceiling::one_round;
    let seconds = |work: &mut dyn FnMut()| {
        let start = busy_seconds();
        work();
        busy_seconds() - start
    };
    let mut numbers = Numbers(8);
    let mut uniform = |count| numbers.uniform(count).into_iter().map(T::round).collect::<Vec<T>>();
    let report = |name: String, flops: f64, work: &mut dyn FnMut()| {
        let mut shares = Vec::new();
        work();
        for _ in 0..15 {
            let mut operations = 0.0;
            let ceiling_seconds = seconds(&mut || operations = one_round());
            let times = (5e8 / flops).clamp(1.0, 2000.0) as usize;
            let rate = flops * times as f64 / seconds(&mut || (0..times).for_each(|_| work()));
            shares.push(100.0 * rate * ceiling_seconds / operations);
        }
        shares.sort_by(f64::total_cmp);
        println!("{name:46} {:5.1} % of the ceiling, best {:5.1} %", shares[7], shares[14]);
    };
    for (m, n, k) in [(1024, 1024, 1024), (8192, 128, 256), (128, 256, 128), (64, 256, 1024), (4096, 32, 288)] {
        let (left, right) = (uniform(m * k), uniform(k * n));
        let mut c = uniform(m * n);
        for (left_transposed, right_transposed) in [(false, false), (false, true), (true, false)] {
            let left = if left_transposed { Matrix::new(&left, k, m) } else { Matrix::new(&left, m, k) };
            let right = if right_transposed { Matrix::new(&right, n, k) } else { Matrix::new(&right, k, n) };
            let name = format!(
                "{m}x{n}x{k} {}{}",
                if left_transposed { 'T' } else { 'N' },
                if right_transposed { 'T' } else { 'N' }
            );
            report(name, 2.0 * (m * n * k) as f64, &mut || {
                Product::new(Factor::new(&left, left_transposed), Factor::new(&right, right_transposed))
                    .write(&mut c, n)
                    .unwrap()
            });
        }
    }
    for (batch, extent, inputs, outputs, kernel) in [
        (4, 32, 256, 256, 3),
        (4, 16, 512, 256, 3),
        (4, 8, 256, 256, 3),
        (8, 32, 128, 128, 3),
        (8, 16, 256, 256, 1),
        (64, 8, 64, 64, 3),
        (64, 8, 32, 32, 3),
        (64, 8, 16, 32, 3),
        (64, 14, 16, 16, 3),
        (64, 8, 1, 32, 3),
    ] {
        let shape = Convolution {
            batch,
            height: extent,
            width: extent,
            inputs,
            outputs,
            kernel,
            stride: 1,
            padding: kernel / 2,
        };
        let flops = 2.0 * (shape.out_pixels() * outputs * shape.taps() * inputs) as f64;
        let x = uniform(shape.in_pixels() * inputs);
        let mut w = uniform(outputs * shape.taps() * inputs);
        let mut y = uniform(shape.out_pixels() * outputs);
        let mut dx = x.clone();
        let name = format!("conv {kernel}x{kernel} {inputs}->{outputs} {extent}x{extent} batch {batch}");
        report(format!("{name} y"), flops, &mut || convolve(&shape, &x, (&w, None), None, &mut y).unwrap());
        report(format!("{name} dx"), flops, &mut || input_gradient(&shape, &y, &w, None, &mut dx).unwrap());
        report(format!("{name} dw"), flops, &mut || weight_gradient(&shape, &x, &y, &mut w).unwrap());
        // The other way, whichever of them the above is.
        let isa = Isa::current();
        if takes_winograd::<T>(&shape, isa) {
            let name = format!("direct {name}");
            report(format!("{name} y"), flops, &mut || direct::convolve(&shape, &x, &w, None, &mut y, isa).unwrap());
            report(format!("{name} dx"), flops, &mut || {
                direct::input_gradient(&shape, &y, &w, None, &mut dx, isa).unwrap()
            });
            report(format!("{name} dw"), flops, &mut || direct::weight_gradient(&shape, &x, &y, &mut w, isa).unwrap());
        } else if winograd::is_better::<T>(&shape) {
            let name = format!("Winograd {name}");
            report(format!("{name} y"), flops, &mut || winograd::convolve(&shape, &x, &w, None, &mut y, isa).unwrap());
            report(format!("{name} dx"), flops, &mut || {
                winograd::input_gradient(&shape, &y, &w, None, &mut dx, isa).unwrap()
            });
            report(format!("{name} dw"), flops, &mut || {
                winograd::weight_gradient(&shape, &x, &y, &mut w, isa).unwrap()
            });
        }
    }
}
