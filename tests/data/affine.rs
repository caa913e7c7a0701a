//! Turned, moved and scaled images against what they are on paper.

use veridical::data::Affine;
use veridical::data::affine::Placement;
use veridical::random::Samples;

/// A plane `a x + b y + c` of the middles of pixels, on which bilinear interpolation is exact.
fn plane([height, width]: [usize; 2], [a, b, c]: [f64; 3]) -> Vec<f32> {
    (0..height * width).map(|i| (a * (i % width) as f64 + b * (i / width) as f64 + c) as f32).collect()
}

/// Values without a pattern.
fn pixels(count: usize) -> Vec<f32> {
    (0..count as u64).map(|i| (i.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40) as f32 / 8_388_608.0 - 1.0).collect()
}

#[test]
fn a_range_of_zero_is_the_identity_bit_for_bit() {
    let still = Affine { rotation: 0.0, shift: 0.0, zoom: 0.0, background: -1.0 };
    let images = pixels(3 * 7 * 5 * 2);
    let mut same = images.clone();
    still.apply(&mut same, [7, 5, 2], (1, 2), Samples::From(0)).unwrap();
    assert_eq!(same, images);
    assert_eq!(Placement::IDENTITY.apply(&images[..70], [7, 5, 2], 0.0).unwrap(), images[..70]);
}

#[test]
fn quarter_turns_and_whole_shifts_move_pixels() {
    let image: Vec<f32> = (1..=6).map(|v| v as f32).collect();
    let close = |got: Vec<f32>, expected: &[f32]| {
        assert!(got.iter().zip(expected).all(|(g, e)| (g - e).abs() < 1e-5), "{got:?}, expected {expected:?}");
    };
    let moved = |shift| Placement { shift, ..Placement::IDENTITY }.apply(&image, [2, 3, 1], 9.0).unwrap();
    close(moved([1.0, 0.0]), &[9.0, 1.0, 2.0, 9.0, 4.0, 5.0]);
    close(moved([0.0, -1.0]), &[4.0, 5.0, 6.0, 9.0, 9.0, 9.0]);
    // Half a pixel: the mean of two, at the edge with the background.
    close(moved([0.5, 0.0]), &[5.0, 1.5, 2.5, 6.5, 4.5, 5.5]);
    // Counter-clockwise as it is seen: what was on the right is at the top.
    let turned = Placement { angle: std::f64::consts::FRAC_PI_2, ..Placement::IDENTITY };
    close(turned.apply(&[1.0, 2.0, 3.0, 4.0], [2, 2, 1], 0.0).unwrap(), &[2.0, 4.0, 1.0, 3.0]);
    // Channels stay apart.
    let two = [1.0, 10.0, 2.0, 20.0];
    let shifted = Placement { shift: [1.0, 0.0], ..Placement::IDENTITY }.apply(&two, [1, 2, 2], 0.0).unwrap();
    close(shifted, &[0.0, 0.0, 1.0, 10.0]);
}

/// A point p of the result shows the point Z^-1 R^-1 (p - t) of the image; on a plane its value is known.
#[test]
fn a_gradient_is_turned_as_on_paper() {
    let (size, weights) = ([28, 20], [0.03, -0.02, 0.1]);
    let image = plane(size, weights);
    let [height, width] = size;
    for (angle, zoom, shift) in
        [(0.2, [1.0, 1.0], [0.0, 0.0]), (-0.26, [1.1, 0.9], [2.0, -1.3]), (0.1, [0.93, 1.07], [-0.4, 0.8])]
    {
        let got = Placement { angle, zoom, shift }.apply(&image, [height, width, 1], -5.0).unwrap();
        let (mut inside, mut outside) = (0, 0);
        for (i, value) in got.into_iter().enumerate() {
            let (middle_x, middle_y) = ((width - 1) as f64 / 2.0, (height - 1) as f64 / 2.0);
            let (x, y) = ((i % width) as f64 - middle_x - shift[0], (i / width) as f64 - middle_y - shift[1]);
            // With y upwards, a turn back by the angle.
            let (u, v) = (x, -y);
            let back = (u * angle.cos() + v * angle.sin(), -u * angle.sin() + v * angle.cos());
            let (from_x, from_y) = (back.0 / zoom[0] + middle_x, -back.1 / zoom[1] + middle_y);
            let within = |at: f64, extent: usize| (0.0..=(extent - 1) as f64).contains(&at);
            if within(from_x, width) && within(from_y, height) {
                let expected = weights[0] * from_x + weights[1] * from_y + weights[2];
                assert!((f64::from(value) - expected).abs() < 2e-6, "pixel {i}: {value}, expected {expected}");
                inside += 1;
            } else if from_x < -1.0 || from_y < -1.0 || from_x > width as f64 || from_y > height as f64 {
                assert_eq!(value, -5.0);
                outside += 1;
            }
        }
        assert!(inside > 400 && outside > 0, "{inside} pixels inside, {outside} outside");
    }
}

#[test]
fn batches_and_threads_change_no_bit() {
    let affine = Affine::kdgan(-1.0);
    let (size, each) = ([9, 8, 3], 9 * 8 * 3);
    let images = pixels(11 * each);
    let with = |threads: usize, cuts: &[usize]| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        let mut all = images.clone();
        let (mut rest, mut first) = (all.as_mut_slice(), 0);
        for &count in cuts {
            let (part, after) = rest.split_at_mut(count * each);
            pool.install(|| affine.apply(part, size, (5, 7), Samples::From(first))).unwrap();
            (rest, first) = (after, first + count as u32);
        }
        all
    };
    let whole = with(1, &[11]);
    assert_ne!(whole, images);
    assert_eq!(whole, with(5, &[11]));
    assert_eq!(whole, with(2, &[1, 4, 0, 6]));
    let mut one = images[3 * each..4 * each].to_vec();
    affine.apply(&mut one, size, (5, 7), Samples::Ids(&[3])).unwrap();
    assert_eq!(one, whole[3 * each..4 * each]);
    for (seed, step) in [(6, 7), (5, 8)] {
        affine.apply(one.as_mut_slice(), size, (seed, step), Samples::From(3)).unwrap();
        assert_ne!(one, whole[3 * each..4 * each]);
    }
}

/// A single bright pixel stays within the ranges: its centre of mass moves by the shift and little else.
#[test]
fn draws_fill_their_ranges() {
    let shifts = Affine { rotation: 0.0, shift: 0.1, zoom: 0.0, background: 0.0 };
    let (side, n) = (21, 400);
    let mut image = vec![0.0; side * side];
    image[10 * side + 10] = 1.0;
    let mut images = image.repeat(n);
    shifts.apply(&mut images, [side, side, 1], (1, 0), Samples::From(0)).unwrap();
    let centres: Vec<f64> = images
        .chunks(side * side)
        .map(|image| image.iter().enumerate().map(|(i, v)| f64::from(*v) * ((i % side) as f64 - 10.0)).sum())
        .collect();
    let reach = 2.1;
    assert!(centres.iter().all(|c| c.abs() <= reach + 1e-5));
    let mean = centres.iter().sum::<f64>() / n as f64;
    let variance = centres.iter().map(|c| c * c).sum::<f64>() / n as f64;
    // Uniform: variance reach^2 / 3, whose relative error is sqrt(4/5/n); four standard errors.
    assert!(mean.abs() < 4.0 * reach / (3.0 * n as f64).sqrt(), "mean {mean}");
    assert!((variance / (reach * reach / 3.0) - 1.0).abs() < 4.0 * (0.8 / n as f64).sqrt(), "variance {variance}");
}

#[test]
fn what_does_not_fit_is_an_error() {
    let good = Affine::kdgan(0.0);
    for bad in [
        Affine { rotation: -1.0, ..good },
        Affine { rotation: f64::NAN, ..good },
        Affine { shift: 1.5, ..good },
        Affine { zoom: 1.0, ..good },
        Affine { background: f32::INFINITY, ..good },
    ] {
        assert!(bad.apply(&mut [0.0; 4], [2, 2, 1], (0, 0), Samples::From(0)).is_err(), "{bad:?}");
    }
    for size in [[3, 2, 1], [0, 2, 1], [usize::MAX, 2, 1]] {
        assert!(good.apply(&mut [0.0; 4], size, (0, 0), Samples::From(0)).is_err());
        assert!(Placement::IDENTITY.apply(&[0.0; 4], size, 0.0).is_err());
    }
    assert!(good.apply(&mut [0.0; 4], [2, 1, 1], (0, 0), Samples::Ids(&[1])).is_err());
    assert!(good.apply(&mut [], [2, 2, 1], (0, 0), Samples::From(0)).is_ok());
    for zoom in [0.0, f64::NAN, 1e9] {
        assert!(Placement { zoom: [zoom, 1.0], ..Placement::IDENTITY }.apply(&[0.0; 4], [2, 2, 1], 0.0).is_err());
    }
}
