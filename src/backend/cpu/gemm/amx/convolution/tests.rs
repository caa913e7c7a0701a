//! Convolutions by tiles, on a CPU that has them or on the model of one.

use half::bf16;

use super::*;
use crate::backend::cpu::gemm::amx::tests::{counted, spoil_scratch};
use crate::backend::cpu::gemm::tests::{Numbers, PlainConvolution, narrow, plain_convolution, there_are_tiles};

/// What the three functions give; nothing where a shape is not for one of them.
struct Found {
    y: Option<Vec<bf16>>,
    dx: Option<Vec<bf16>>,
    dw: Option<Vec<bf16>>,
}

fn found(shape: &Convolution, x: &[bf16], w: &[bf16], dy: &[bf16]) -> Found {
    let room = |count: usize, there: bool| there.then(|| vec![bf16::NAN; count]);
    let mut y = room(dy.len(), is_better(shape));
    let mut dx = room(x.len(), is_better_for_input_gradient(shape));
    let mut dw = room(w.len(), is_better_for_weight_gradient(shape));
    spoil_scratch();
    y.iter_mut().for_each(|y| convolve(shape, x, (w, None), None, y).unwrap());
    spoil_scratch();
    dx.iter_mut().for_each(|dx| input_gradient(shape, dy, w, None, dx).unwrap());
    spoil_scratch();
    dw.iter_mut().for_each(|dw| weight_gradient(shape, x, dy, dw).unwrap());
    Found { y, dx, dw }
}

/// Small integers, whose sums are exact in f32 and rounded once.
struct Case {
    shape: Convolution,
    x: Vec<bf16>,
    w: Vec<bf16>,
    dy: Vec<bf16>,
    plain: PlainConvolution,
}

impl Case {
    fn new(shape: Convolution, numbers: &mut Numbers) -> Case {
        let x = numbers.integers(shape.in_pixels() * shape.inputs);
        let w = numbers.integers(shape.outputs * shape.taps() * shape.inputs);
        let dy = numbers.integers(shape.out_pixels() * shape.outputs);
        let plain = plain_convolution(&shape, &x, &w, &dy);
        Case { shape, x: narrow(&x), w: narrow(&w), dy: narrow(&dy), plain }
    }

    /// Checks all that the shape is for; says which of the three that is.
    fn check(&self) -> [bool; 3] {
        let Case { shape, x, w, dy, plain } = self;
        let found = found(shape, x, w, dy);
        assert!(found.y.as_ref().is_none_or(|found| *found == narrow(&plain.y)), "y of {shape:?}");
        assert!(found.dx.as_ref().is_none_or(|found| *found == narrow(&plain.dx)), "dx of {shape:?}");
        assert!(found.dw.as_ref().is_none_or(|found| *found == narrow(&plain.dw)), "dw of {shape:?}");
        if found.y.is_some() {
            let bias: Vec<f32> = (0..shape.outputs).map(|o| (o % 7) as f32 - 3.0).collect();
            let mut y = vec![bf16::NAN; dy.len()];
            convolve(shape, x, (w, None), Some(&bias), &mut y).unwrap();
            let expected: Vec<f32> = plain.y.iter().enumerate().map(|(i, y)| y + bias[i % shape.outputs]).collect();
            assert!(y == narrow(&expected), "y with a bias of {shape:?}");
        }
        [found.y.is_some(), found.dx.is_some(), found.dw.is_some()]
    }
}

#[test]
fn convolutions_of_integers_are_exact() {
    if !there_are_tiles() {
        return;
    }
    let mut numbers = Numbers(21);
    let one_thread = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap();
    let extents = [(4, 4), (5, 7), (8, 8), (1, 6), (9, 34), (1, 1), (6, 1), (2, 2)];
    let channels = [(16, 8), (18, 40), (34, 9), (64, 66), (97, 32), (3, 16), (32, 1)];
    let mut taken = [0; 3];
    for (i, (kernel, padding)) in [(2, 0), (2, 1), (3, 0), (3, 1), (3, 2), (5, 2), (4, 3)].into_iter().enumerate() {
        for (j, (height, width)) in extents.into_iter().enumerate() {
            let (inputs, outputs) = channels[(i + j) % channels.len()];
            let batch = 1 + (i + j) % 3;
            let shape = Convolution { batch, height, width, inputs, outputs, kernel, stride: 1, padding };
            if height + 2 * padding < kernel || width + 2 * padding < kernel {
                continue;
            }
            let case = Case::new(shape, &mut numbers);
            // On this thread alone, which is the one that counts.
            let (which, counted) = one_thread.install(|| {
                let before = counted();
                (case.check(), before.is_none_or(|before| counted() > Some(before)))
            });
            assert!(which == [false; 3] || counted, "by tiles: {shape:?}");
            taken.iter_mut().zip(which).for_each(|(count, taken)| *count += usize::from(taken));
        }
    }
    assert!(taken.iter().all(|&count| count >= 10), "of each of the three: {taken:?}");
}

/// Several tasks for an image, several lots of images for the weight's gradient, panels that are not full, and rows
/// that are not whole blocks.
#[test]
fn large_convolutions_of_integers_are_exact() {
    if !there_are_tiles() {
        return;
    }
    let mut numbers = Numbers(22);
    for (batch, height, width, inputs, outputs) in
        [(1, 33, 30, 320, 40), (21, 16, 8, 32, 34), (5, 32, 64, 40, 36), (2, 64, 64, 16, 16)]
    {
        let shape = Convolution { batch, height, width, inputs, outputs, kernel: 3, stride: 1, padding: 1 };
        assert_eq!(Case::new(shape, &mut numbers).check(), [true; 3]);
    }
}

#[test]
fn one_thread_gives_the_bits_of_many() {
    if !there_are_tiles() {
        return;
    }
    let mut numbers = Numbers(23);
    for (batch, extent, inputs, outputs) in [(1, 8, 64, 130), (7, 28, 34, 48)] {
        let shape =
            Convolution { batch, height: extent, width: extent, inputs, outputs, kernel: 3, stride: 1, padding: 1 };
        let mut some = |count: usize| narrow(&numbers.uniform(count));
        let x = some(shape.in_pixels() * inputs);
        let w = some(outputs * shape.taps() * inputs);
        let dy = some(shape.out_pixels() * outputs);
        let run = |threads: usize| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            let found = pool.install(|| found(&shape, &x, &w, &dy));
            (found.y.unwrap(), found.dx.unwrap(), found.dw.unwrap())
        };
        let one = run(1);
        for threads in [2, 3, 8] {
            assert!(one == run(threads), "{shape:?} on {threads} threads");
        }
    }
}

/// A pixel that is not finite spoils the results that see it, and no others: neither what a block is filled up
/// with nor what lies beside an image meets it. Of a weight's gradient it may spoil all taps of its channel.
#[test]
fn what_is_not_finite_goes_where_it_belongs() {
    if !there_are_tiles() {
        return;
    }
    let shape =
        Convolution { batch: 2, height: 6, width: 6, inputs: 34, outputs: 18, kernel: 3, stride: 1, padding: 1 };
    let mut numbers = Numbers(24);
    let mut ones =
        |count: usize| -> Vec<bf16> { narrow(&numbers.uniform(count).iter().map(|x| x.signum()).collect::<Vec<_>>()) };
    let (mut x, w) = (ones(shape.in_pixels() * 34), ones(18 * 9 * 34));
    let mut dy = ones(shape.out_pixels() * 18);
    // The first image's last pixel, and the last channel.
    x[35 * 34 + 33] = bf16::INFINITY;
    let with_x = found(&shape, &x, &w, &dy);
    for (i, y) in with_x.y.unwrap().iter().enumerate() {
        let (image, row, column) = (i / 18 / 36, i / 18 / 6 % 6, i / 18 % 6);
        assert_eq!(!y.is_finite(), image == 0 && row >= 4 && column >= 4, "pixel {row}, {column} of image {image}");
    }
    for (i, dw) in with_x.dw.unwrap().iter().enumerate() {
        let (tap, channel) = (i / 34 % 9, i % 34);
        // The taps that meet the corner are those that do not stand right of it or below it; of the others of its
        // channel nothing is said.
        let meets = tap / 3 >= 1 && tap % 3 >= 1;
        assert!(
            if channel == 33 { !meets || !dw.is_finite() } else { dw.is_finite() },
            "tap {tap} of channel {channel}"
        );
    }
    dy[36 * 18] = bf16::NAN;
    x[35 * 34 + 33] = bf16::ONE;
    let with_dy = found(&shape, &x, &w, &dy);
    for (i, dw) in with_dy.dw.unwrap().iter().enumerate() {
        let (output, tap) = (i / 34 / 9, i / 34 % 9);
        let meets = tap / 3 >= 1 && tap % 3 >= 1;
        assert!(if output == 0 { !meets || dw.is_nan() } else { dw.is_finite() }, "tap {tap} of output {output}");
    }
    for (i, dx) in with_dy.dx.unwrap().iter().enumerate() {
        let (image, row, column) = (i / 34 / 36, i / 34 / 6 % 6, i / 34 % 6);
        assert_eq!(dx.is_nan(), image == 1 && row < 2 && column < 2, "pixel {row}, {column} of image {image}");
    }
}

#[test]
fn odd_channels_and_strides_are_left_to_others() {
    let shape = |inputs, outputs| Convolution {
        batch: 2,
        height: 8,
        width: 8,
        inputs,
        outputs,
        kernel: 3,
        stride: 1,
        padding: 1,
    };
    let three = |shape: &Convolution| {
        [is_better(shape), is_better_for_input_gradient(shape), is_better_for_weight_gradient(shape)]
    };
    assert_eq!(three(&shape(16, 16)), [true; 3]);
    assert_eq!(three(&shape(17, 32)), [false, true, true]);
    assert_eq!(three(&shape(32, 3)), [true, false, true]);
    assert_eq!(three(&shape(1, 32)), [false, true, false]);
    assert_eq!(three(&Convolution { stride: 2, ..shape(32, 32) }), [false; 3]);
    assert_eq!(three(&Convolution { kernel: 1, padding: 0, ..shape(32, 32) }), [false; 3]);
    assert_eq!(three(&Convolution { padding: 3, ..shape(32, 32) }), [false; 3]);
    assert_eq!(three(&Convolution { batch: 0, ..shape(32, 32) }), [false; 3]);
    assert_eq!(three(&Convolution { width: 7, ..shape(32, 32) }), [true, true, false]);
}

/// Weights that are used again are packed no more, those that have changed are, and so are others at the same place.
#[test]
fn packed_weights_are_kept_until_the_weights_change() {
    if !there_are_tiles() {
        return;
    }
    let shape = Convolution { batch: 1, height: 4, width: 4, inputs: 16, outputs: 5, kernel: 3, stride: 1, padding: 1 };
    let (row, mut numbers) = (9 * 16, Numbers(25));
    let x = narrow(&numbers.integers(shape.in_pixels() * 16));
    let mut weights = crate::backend::cpu::CpuBuffer::from_bytes(&[0; 2 * 5 * 9 * 16]).unwrap();
    for seed in 26..28 {
        let fresh = narrow(&Numbers(seed).integers(5 * row));
        weights.as_mut_slice::<bf16>().copy_from_slice(&fresh);
        // Of outputs from `first` on, by weights that lie there.
        let check = |outputs: usize, first: usize| {
            let shape = Convolution { outputs, ..shape };
            let run = |weight: &[bf16], part| {
                let mut y = vec![bf16::NAN; shape.out_pixels() * outputs];
                convolve(&shape, &x, (&weight[first * row..], part), None, &mut y).unwrap();
                y
            };
            let part = weights.part(2 * first * row);
            assert!(run(weights.as_slice(), Some(part)) == run(&fresh, None), "{outputs} from {first} on, seed {seed}");
        };
        (0..3).for_each(|_| check(5, 0));
        weights.part(0).form(|_: &Weights| true, || unreachable!("they are kept")).unwrap();
        (0..3).for_each(|_| check(3, 2));
        (0..3).for_each(|_| check(4, 0));
        check(5, 0);
    }
}
