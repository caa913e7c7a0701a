//! Charts and contact sheets: geometry and colours by pixel, and what cannot be drawn.

use image::{Rgb, RgbImage};
use veridical::Error;
use veridical::report::{Chart, Curves, ImageGrid, Scatter, png};

fn has(image: &RgbImage, colour: [u8; 3]) -> bool {
    image.pixels().any(|p| p.0 == colour)
}

#[test]
fn pixels_are_enlarged_by_a_whole_factor_and_keep_their_values() {
    // Two images of 2x2: greys at both ends and the middle, values beyond the range, a NaN.
    let images = [-1.0, 1.0, 0.0, 0.5, -7.0, 7.0, f32::NAN, -1.0];
    let sheet = ImageGrid::new([2, 2, 1]).panel("", &images, 2).render().unwrap();
    // Factor 32, so that an image is 64 pixels wide; 20 units of margin at 2 pixels, 6 pixels around images.
    let at = |image: u32, row: u32, column: u32| {
        let (x, y) = (46 + image * 70 + column * 32, 46 + row * 32);
        let corner = sheet.get_pixel(x, y);
        assert!((0..32).all(|i| sheet.get_pixel(x + i, y) == corner && sheet.get_pixel(x, y + i) == corner));
        assert_eq!(sheet.get_pixel(x + 31, y + 31), corner);
        corner.0
    };
    assert_eq!([at(0, 0, 0), at(0, 0, 1), at(0, 1, 0), at(0, 1, 1)], [[0; 3], [255; 3], [128; 3], [191; 3]]);
    assert_eq!([at(1, 0, 0), at(1, 0, 1), at(1, 1, 0), at(1, 1, 1)], [[0; 3], [255; 3], [255, 0, 255], [0; 3]]);
}

/// Bicubic interpolation keeps what is linear, away from the edges.
#[test]
fn smooth_enlargement_keeps_a_ramp() {
    let ramp: Vec<f32> = (0..64).map(|i| (i % 8) as f32 / 4.0 - 0.875).collect();
    let sheet = ImageGrid::new([8, 8, 1]).smooth().panel("", &ramp, 1).render().unwrap();
    // Greys between the frame's edges in the middle row, where the frame has another colour.
    let grey = |x: u32| Some(sheet.get_pixel(x, sheet.height() / 2).0).filter(|[r, g, b]| r == g && g == b && *r < 255);
    let row: Vec<f64> = (0..sheet.width()).filter_map(grey).map(|[r, ..]| f64::from(r)).collect();
    assert_eq!(row.len(), 64);
    for (i, level) in row.iter().enumerate().take(52).skip(12) {
        let value = ((i as f64 + 0.5) / 8.0 - 0.5) / 4.0 - 0.875;
        assert!((level - (value + 1.0) * 127.5).abs() <= 0.5 + 1e-3, "{i}: {level}");
    }
}

#[test]
fn three_channels_are_red_green_blue() {
    let sheet = ImageGrid::new([1, 1, 3]).panel("", &[1.0, -1.0, -1.0, -1.0, 1.0, -1.0], 2).render().unwrap();
    assert_eq!((sheet.get_pixel(46, 46), sheet.get_pixel(46 + 70, 46)), (&Rgb([255, 0, 0]), &Rgb([0, 255, 0])));
}

#[test]
fn large_images_and_long_texts_fit() {
    let long = "word ".repeat(500);
    let images = vec![0.0; 3 * 100 * 80];
    let sheet = ImageGrid::new([100, 80, 1])
        .title(&long)
        .footer(&long)
        .row_labels(["label".to_string()])
        .panel(&long, &images, 3)
        .panel("second", &images[..8000], 1)
        .render()
        .unwrap();
    assert!(sheet.width() < 4000, "{:?}", sheet.dimensions());
    let edge = |x| (0..sheet.height()).all(|y| sheet.get_pixel(x, y).0 == [255; 3]);
    assert!(edge(0) && edge(sheet.width() - 1), "nothing runs over the edge");
}

#[test]
fn what_cannot_be_drawn_is_an_error() {
    let refused = |grid: ImageGrid| assert!(matches!(grid.render(), Err(Error::Argument { .. })));
    refused(ImageGrid::new([8, 8, 1]));
    refused(ImageGrid::new([8, 8, 1]).panel("", &[], 1));
    refused(ImageGrid::new([8, 8, 1]).panel("", &[0.0; 63], 1));
    refused(ImageGrid::new([8, 8, 1]).panel("", &[0.0; 64], 0));
    refused(ImageGrid::new([8, 8, 2]).panel("", &[0.0; 128], 1));
    refused(ImageGrid::new([0, 8, 1]).panel("", &[0.0; 64], 1));
    refused(ImageGrid::new([usize::MAX, usize::MAX, 3]).panel("", &[0.0; 64], 1));
    refused(ImageGrid::new([1, 1, 1]).panel("", &[0.0; 100_000], 1));
    refused(ImageGrid::new([1, 1, 1]).panel("", &[0.0], usize::MAX));
}

/// The rows of the picture, from the top, in which a colour occurs in a column.
fn rows_of(image: &RgbImage, colour: [u8; 3], x: u32) -> Vec<u32> {
    (150..image.height()).filter(|&y| image.get_pixel(x, y).0 == colour).collect()
}

const BLUE: [u8; 3] = [0x00, 0x72, 0xb2];

#[test]
fn a_straight_line_is_straight() {
    let line: Vec<_> = (0..=100).map(|i| (f64::from(i), f64::from(i))).collect();
    let chart = Chart::new("Line", "x", "y").series("y = x", line).render().unwrap();
    assert_eq!(chart.dimensions(), (1520, 800));
    // Plot from 128 to 1472 and from 156 to 692 pixels, 4 % of air above and below.
    for share in [0.1, 0.5, 0.9] {
        let rows = rows_of(&chart, BLUE, (128.0 + share * 1344.0) as u32);
        let middle = rows.iter().sum::<u32>() as f64 / rows.len() as f64;
        let expected = 692.0 - 536.0 * (0.04 + share) / 1.08;
        assert!((middle - expected).abs() < 1.5, "{middle} for {expected}");
    }
}

#[test]
fn an_exponential_is_straight_on_a_logarithmic_axis() {
    let points: Vec<_> = (0..=100).map(|i| (f64::from(i), 10f64.powf(-3.0 + f64::from(i) / 20.0))).collect();
    let chart = Chart::new("", "", "").log_y().series("", points).render().unwrap();
    for share in [0.1, 0.5, 0.9] {
        let rows = rows_of(&chart, BLUE, (128.0 + share * 1344.0) as u32);
        let middle = rows.iter().sum::<u32>() as f64 / rows.len() as f64;
        assert!((middle - (692.0 - 536.0 * (0.04 + share) / 1.08)).abs() < 1.5);
    }
}

#[test]
fn what_is_counted_has_ticks_at_whole_numbers() {
    let ticks = |xs: &[f64]| {
        let chart = Chart::new("", "", "").series("", xs.iter().map(|&x| (x, x)).collect()).render().unwrap();
        // Across the marks, which reach from the axis at 692 down to 702.
        let dark: Vec<bool> = (0..chart.width()).map(|x| chart.get_pixel(x, 698) != chart.get_pixel(0, 0)).collect();
        dark.windows(2).filter(|pair| !pair[0] && pair[1]).count()
    };
    assert_eq!(ticks(&[0.0, 1.0, 2.0, 3.0, 4.0]), 5);
    assert_eq!(ticks(&[0.0, 1.5, 4.0]), 9);
    assert_eq!(ticks(&[3.0]), 1);
}

#[test]
fn smoothing_has_no_lag() {
    // Noise of alternating sign around a slope; the smoothed curve goes through the middle of the slope.
    let points: Vec<_> =
        (0..2001).map(|i| (f64::from(i), f64::from(i) + if i % 2 == 0 { 400.0 } else { -400.0 })).collect();
    let chart = Chart::new("", "", "").smoothed("", points, 20.0).render().unwrap();
    let rows = rows_of(&chart, BLUE, 128 + 672);
    let middle = rows.iter().sum::<u32>() as f64 / rows.len() as f64;
    assert!((middle - (692.0 - 536.0 / 2.0)).abs() < 3.0, "{middle}");
}

#[test]
fn odd_data_gives_a_picture_and_no_panic() {
    let chart = |points: Vec<(f64, f64)>| {
        for log in [false, true] {
            let chart = Chart::new("t", "x", "y");
            let chart = if log { chart.log_y() } else { chart };
            chart.clone().smoothed("a", points.clone(), 3.0).series("b", points.clone()).render().unwrap();
            let alone = chart.series("a", points.clone()).render().unwrap();
            let drawable = |&(x, y): &(f64, f64)| x.is_finite() && y.is_finite() && (!log || y > 0.0);
            assert_eq!(has(&alone, BLUE) && rows_anywhere(&alone), points.iter().any(drawable), "{points:?} log {log}");
        }
    };
    chart(vec![]);
    chart(vec![(0.0, 1.0)]);
    chart(vec![(0.0, 0.0)]);
    chart(vec![(f64::NAN, 1.0), (1.0, f64::INFINITY)]);
    chart(vec![(0.0, 1.0), (1.0, f64::NAN), (2.0, 3.0)]);
    chart(vec![(1.0, 5.0), (2.0, 5.0)]);
    chart(vec![(0.0, -1e308), (1.0, 1e308)]);
    chart(vec![(0.0, 5e-324), (1.0, 1e308)]);
    chart(vec![(-1e308, 1.0), (1e308, 2.0)]);
    chart(vec![(1e15, 1.0), (1e15 + 1.0, 1.0 + 1e-15)]);
    chart((0..100_000).map(|i| (f64::from(i), (f64::from(i) * 0.7).sin() + 2.0)).collect());
    assert!(!Chart::new("", "", "").smoothed("", vec![(0.0, 1.0), (1.0, 2.0)], f64::NAN).render().unwrap().is_empty());
}

/// Blue below the legend.
fn rows_anywhere(image: &RgbImage) -> bool {
    (100..image.width()).any(|x| !rows_of(image, BLUE, x).is_empty())
}

#[test]
fn png_files_are_png_files() {
    let image = RgbImage::from_fn(5, 3, |x, y| Rgb([x as u8, y as u8, 7]));
    let bytes = png(&image).unwrap();
    assert_eq!(image::load_from_memory(&bytes).unwrap().to_rgb8(), image);
}

#[test]
fn error_bars_reach_from_low_to_high() {
    let points = vec![(0.0, 0.0), (1.0, 0.0), (2.0, 0.0)];
    let chart =
        Chart::new("", "", "").barred("", points, vec![(1.0, -3.0, 1.0), (2.0, f64::NAN, 1.0)]).render().unwrap();
    // The axis goes from -3 to 1 with 4 % of air: 536 pixels for 4.32.
    let at = |y: f64| 692.0 - 536.0 * (y + 3.16) / 4.32;
    let rows = rows_of(&chart, BLUE, 128 + 672);
    let (top, bottom) = (f64::from(rows[0]), f64::from(rows[rows.len() - 1]));
    assert!((top - at(1.0)).abs() < 2.5 && (bottom - at(-3.0)).abs() < 2.5, "{top} to {bottom}");
    // Beside the bar are the curve and its ends, of 3 units to either side, and nothing else.
    let beside = rows_of(&chart, BLUE, 128 + 672 + 4);
    assert!((4..=12).contains(&beside.len()), "{beside:?}");
    assert!(rows_of(&chart, BLUE, 128 + 672 + 12).len() <= 6);
    // A logarithmic axis has no zero: the bar ends a hundredth below its top.
    let log = Chart::new("", "", "").log_y().barred("", vec![(0.0, 1.0), (1.0, 1.0)], vec![(0.0, -1.0, 2.0)]);
    assert!(log.render().is_ok());
}

#[test]
fn points_stand_where_they_belong() {
    let frame = vec![[0.0, 0.0], [1.0, 1.0]];
    let drawn = vec![[0.5, 0.5], [9.0, 0.5], [f64::NAN, 0.0]];
    let picture = Scatter::new(["generated", "data"]).row(["x", "y"], vec![drawn, frame.clone()]).render().unwrap();
    // Plots of 310 units at two pixels, from (76, 46) and, 26 apart, (412, 46); 8 % of air on every side.
    let place = |plot: u32, x: f64, y: f64| {
        let along = |v: f64| ((v + 0.08) / 1.16 * 620.0).round() as u32;
        (152 + plot * 672 + along(x), 92 + 620 - along(y))
    };
    let colour = |plot, x, y| {
        let (px, py) = place(plot, x, y);
        picture.get_pixel(px, py).0
    };
    // 0.55 of the colour over a line of the axes, which go through round numbers.
    let rule = [0xe3u8, 0xe6, 0xea];
    let over = |colour: [u8; 3]| -> [u8; 3] {
        std::array::from_fn(|i| (0.55 * f32::from(colour[i]) + 0.45 * f32::from(rule[i])).round() as u8)
    };
    let near = |found: [u8; 3], expected: [u8; 3]| found.iter().zip(expected).all(|(a, b)| a.abs_diff(b) <= 1);
    assert!(near(colour(0, 0.5, 0.5), over(BLUE)), "{:?} for {:?}", colour(0, 0.5, 0.5), over(BLUE));
    let orange = over([0xd5, 0x5e, 0x00]);
    assert!(near(colour(1, 0.0, 0.0), orange), "{:?} for {orange:?}", colour(1, 0.0, 0.0));
    assert_eq!(colour(1, 1.0, 1.0), colour(1, 0.0, 0.0));
    assert_eq!(colour(0, 0.25, 0.625), [255; 3]);
    let without = Scatter::new(["generated", "data"]).row(["x", "y"], vec![vec![[0.5, 0.5]], frame.clone()]).render();
    assert_ne!(picture, without.unwrap(), "what is beyond the axes is counted");

    // A density on the right half is seen there only.
    let half = |at: [f64; 2]| f64::from(u8::from(at[0] > 0.5));
    let shaded = Scatter::new(["data"]).row(["x", "y"], vec![frame]).density(&half).render().unwrap();
    let (left, right) = (place(0, 0.3, 0.7), place(0, 0.7, 0.3));
    assert_eq!(shaded.get_pixel(left.0, left.1).0, [255; 3]);
    assert_eq!(shaded.get_pixel(right.0, right.1).0, [0xb9, 0xc4, 0xd2]);
}

#[test]
fn signals_are_curves() {
    let ramp: Vec<f64> = (0..11).map(|i| f64::from(i) / 10.0).collect();
    let curves = Curves::new(1, 2).row_labels(["class".into()]).panel("generated", vec![vec![0.0; 11]]);
    let picture = curves.panel("data", vec![ramp.clone(), ramp.clone(), ramp]).render().unwrap();
    assert!(has(&picture, BLUE));
    let one = Curves::new(1, 1).panel("", vec![vec![0.0, 1.0, 2.0, f64::NAN, 4.0]]).render().unwrap();
    // A plot of 150 by 78 units from (76, 48): the middle of the line from 1 to 2 is a quarter and an eighth along.
    let rows = rows_of(&one, BLUE, (2.0 * (76.0 + 150.0 * 0.125)) as u32);
    let middle = rows.iter().sum::<u32>() as f64 / rows.len() as f64;
    let expected = 2.0 * (48.0 + 78.0 * (1.0 - (0.5 + 0.32) / 4.64));
    assert!((middle - expected).abs() < 2.0, "{middle} for {expected}");
}

#[test]
fn points_and_signals_that_cannot_be_drawn_are_errors() {
    let refused = |picture: veridical::Result<RgbImage>| {
        assert!(matches!(picture, Err(Error::Argument { .. })), "{picture:?}");
    };
    refused(Scatter::new(["a"]).render());
    refused(Scatter::new::<&str>([]).row(["x", "y"], vec![]).render());
    refused(Scatter::new(["a"]).row(["x", "y"], vec![]).render());
    refused(Scatter::new(["a"]).row(["x", "y"], vec![vec![]]).render());
    refused(Scatter::new(["a"]).row(["x", "y"], vec![vec![[f64::NAN, 0.0]]]).render());
    refused(Curves::new(1, 1).render());
    refused(Curves::new(0, 1).panel("", vec![vec![1.0]]).render());
    refused(Curves::new(1, 0).panel("", vec![vec![1.0]]).render());
    refused(Curves::new(2, 1).panel("", vec![vec![1.0; 3]]).render());
    refused(Curves::new(1, 1).panel("", vec![]).render());
    refused(Curves::new(1, 1).panel("", vec![vec![f64::NAN]]).render());
    refused(Curves::new(1, 1).panel("", vec![vec![0.0]; 4000]).render());
    // One place, one point, and numbers that are all alike are drawn.
    assert!(Curves::new(1, 1).panel("", vec![vec![3.0]]).render().is_ok());
    for point in [[0.0, 0.0], [1e300, -1e300], [5.0, 5.0]] {
        assert!(Scatter::new(["a"]).row(["x", "y"], vec![vec![point; 2]]).render().is_ok());
    }
}
