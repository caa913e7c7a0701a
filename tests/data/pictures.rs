//! Files of pictures: the forms that are read, and what becomes of depth, alpha and colours.

use std::io::Cursor;

use image::{DynamicImage, ImageFormat};
use veridical::data::{self, DataSet};

use super::{Place, noise, png, says};

/// The picture as a file.
fn file(picture: &DynamicImage, format: ImageFormat) -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    picture.write_to(&mut bytes, format).unwrap();
    bytes.into_inner()
}

/// A set of this one picture.
fn read(name: &str, bytes: &[u8]) -> veridical::Result<DataSet> {
    let place = Place::new();
    place.put(&format!("only/{name}"), bytes);
    data::open(place.path().join("only"))
}

fn colours() -> DynamicImage {
    image::RgbImage::from_raw(5, 4, noise(60)).unwrap().into()
}

#[test]
fn jpeg_pictures_are_told_by_their_contents() {
    // Slopes, which JPEG keeps to within its rounding.
    let (width, height) = (16, 8);
    let slopes = image::RgbImage::from_fn(width, height, |x, y| image::Rgb([8 * x as u8, 16 * y as u8, 128]));
    let grey = image::DynamicImage::from(slopes.clone()).into_luma8();
    for (picture, channels) in [(image::DynamicImage::from(slopes), 3), (grey.into(), 1)] {
        let mut jpeg = Vec::new();
        let encoder = image::codecs::jpeg::JpegEncoder::new_with_quality(&mut jpeg, 100);
        picture.write_with_encoder(encoder).unwrap();
        assert_eq!(jpeg[..2], [0xff, 0xd8]);
        let place = Place::new();
        for name in ["a.jpg", "b.JPEG", "c.png"] {
            place.put(&format!("only/{name}"), &jpeg);
        }
        place.put("only/d.jpg", &png(width, height, picture.as_bytes()));
        let set = data::open(place.path()).unwrap().train;
        assert_eq!((set.len(), set.size()), (4, [height as usize, width as usize, channels]));
        let expected: Vec<f32> = picture.as_bytes().iter().map(|&b| f32::from(b)).collect();
        for (i, got) in set.pixels().unwrap().iter().enumerate() {
            let (got, expected) = ((got + 1.0) * 127.5, expected[i % expected.len()]);
            assert!((got - expected).abs() < 4.0, "value {i} is {got}, drawn as {expected}");
        }
    }
}

/// All forms that lose nothing give what was drawn, under any of their names and under none, and never if they are cut.
#[test]
fn every_form_is_read_whole_or_not_at_all() {
    let (colour, grey) = (colours(), DynamicImage::from(image::GrayImage::from_raw(5, 4, noise(20)).unwrap()));
    let forms = [
        (ImageFormat::Png, "a.png", &colour),
        (ImageFormat::WebP, "a.webp", &colour),
        (ImageFormat::Bmp, "a.bmp", &colour),
        (ImageFormat::Tiff, "a.tif", &colour),
        (ImageFormat::Tiff, "a.tiff", &grey),
        (ImageFormat::Pnm, "a.ppm", &colour),
        (ImageFormat::Pnm, "a.pgm", &grey),
        (ImageFormat::Png, "of another.jpg", &grey),
        (ImageFormat::Png, "of none", &grey),
        (ImageFormat::Tiff, "of none.dat", &grey),
    ];
    for (format, name, picture) in forms {
        let bytes = file(picture, format);
        let set = read(name, &bytes).unwrap_or_else(|e| panic!("{name}: {e}")).train;
        let expected: Vec<f32> = picture.as_bytes().iter().map(|&b| f32::from(b) / 127.5 - 1.0).collect();
        assert_eq!(
            (set.size()[2], &set.pixels().unwrap()[..]),
            (picture.color().channel_count() as usize, &expected[..]),
            "{name}"
        );
        for cut in 1..32 {
            let part = &bytes[..bytes.len() - 1 - (bytes.len() - 1) * cut / 32];
            assert!(read(name, part).is_err(), "{name} cut to {} of {} bytes", part.len(), bytes.len());
        }
        assert!(
            read(name, &bytes[..bytes.len() - 1]).is_err() || format == ImageFormat::Bmp,
            "{name} without its last byte"
        );
    }
}

/// Those whose coding loses something, near enough; the names that JPEG files have besides.
#[test]
fn jpeg_and_gif_are_read_whole_or_not_at_all() {
    let slopes: DynamicImage =
        image::RgbImage::from_fn(16, 8, |x, y| image::Rgb([8 * x as u8, 16 * y as u8, 128])).into();
    let grey = DynamicImage::from(slopes.to_luma8());
    for (format, name, picture, most) in [
        (ImageFormat::Jpeg, "a.jpe", &slopes, 12.0),
        (ImageFormat::Jpeg, "a.jfif", &grey, 12.0),
        (ImageFormat::Gif, "a.gif", &slopes, 12.0),
    ] {
        let bytes = file(picture, format);
        let set = read(name, &bytes).unwrap().train;
        for (got, drawn) in set.pixels().unwrap().iter().zip(picture.as_bytes()) {
            assert!(((got + 1.0) * 127.5 - f32::from(*drawn)).abs() < most, "{name}: {got} for {drawn}");
        }
        for length in 1..bytes.len() {
            let Err(error) = read(name, &bytes[..length]) else {
                panic!("{name} cut to {length} of {} bytes is read", bytes.len())
            };
            says(error, name);
        }
    }
}

/// Every block must be there, or decoders make it up: also where the end marker was put back behind a cut, or the
/// middle is lost.
#[test]
fn a_jpeg_with_fewer_blocks_than_pixels_is_no_picture() {
    let grey: DynamicImage = image::GrayImage::from_raw(40, 24, noise(40 * 24)).unwrap().into();
    let colour: DynamicImage = image::RgbImage::from_raw(24, 16, noise(3 * 24 * 16)).unwrap().into();
    for picture in [grey, colour] {
        let whole = file(&picture, ImageFormat::Jpeg);
        assert!(read("a.jpg", &whole).is_ok());
        let scan = whole.windows(2).position(|pair| pair == [0xff, 0xda]).unwrap() + 14;
        for cut in scan..whole.len() - 3 {
            let mut part = whole[..cut].to_vec();
            part.extend([0xff, 0xd9]);
            let Err(error) = read("a.jpg", &part) else { panic!("cut to {cut} of {} bytes", whole.len()) };
            says(error, "a.jpg");
        }
        let middle = scan + (whole.len() - scan) / 2;
        assert!(read("a.jpg", &[&whole[..scan], &whole[middle..]].concat()).is_err());
    }
}

/// Progressive, 8 by 8, grey from 0 to 252 in steps of 4 by libjpeg-turbo (through Pillow 13, quality 90).
const PROGRESSIVE: &str = "\
    ffd8ffe000104a46494600010100000100010000ffdb0043000302020302020303030304030304050805050404050a070706080c0a0c0c\
    0b0a0b0b0d0e12100d0e110e0b0b1016101113141515150c0f171816141812141514ffc2000b080008000801011100ffc4001400010000\
    0000000000000000000000000002ffda00080101000000011fffc400161000030000000000000000000000000000000407ffda00080101\
    000105025a6c7fffc4001610000300000000000000000000000000000033a1ffda0008010100063f02543fffc400151001010000000000\
    0000000000000000000031ffda0008010100013f2180ffda0008010100000010ff00ffc400141001000000000000000000000000000000\
    00ffda0008010100013f1053ffd9";

#[test]
fn progressive_pictures_are_read_whole_or_not_at_all() {
    let whole: Vec<u8> =
        (0..PROGRESSIVE.len() / 2).map(|i| u8::from_str_radix(&PROGRESSIVE[2 * i..2 * i + 2], 16).unwrap()).collect();
    let set = read("a.jpg", &whole).unwrap().train;
    for (i, got) in set.pixels().unwrap().iter().enumerate() {
        assert!(((got + 1.0) * 127.5 - 4.0 * i as f32).abs() < 6.0, "value {i} is {got}");
    }
    for length in 1..whole.len() {
        assert!(read("a.jpg", &whole[..length]).is_err(), "cut to {length} of {} bytes", whole.len());
    }
}

#[test]
fn sixteen_bits_are_kept() {
    let words: Vec<u16> = (0..6).map(|i| i * 13_000).collect();
    let wide = image::ImageBuffer::<image::Luma<u16>, _>::from_raw(3, 2, words.clone()).unwrap();
    for format in [ImageFormat::Png, ImageFormat::Tiff, ImageFormat::Pnm] {
        let set = read("a.png", &file(&wide.clone().into(), format)).unwrap();
        let expected: Vec<f32> = words.iter().map(|&x| (f64::from(x) / 32767.5 - 1.0) as f32).collect();
        for (got, expected) in set.train.pixels().unwrap().iter().zip(&expected) {
            assert!((got - expected).abs() < 1e-6, "{format:?}: {got} for {expected}");
        }
        let account = set.account();
        assert!(account.contains("16 bits, values 0 to 65000 (0 to 65535 is read as [-1, 1])"), "{account}");
    }
    // Beside pictures of 8 bits, the same number would mean another.
    let place = Place::new();
    place.put("set/a.png", &file(&wide.into(), ImageFormat::Png));
    place.put("set/b.png", &png(3, 2, &[0, 51, 102, 153, 204, 255]));
    says(data::open(place.path().join("set")).unwrap_err(), "1 pictures of 8 bits and 1 of 16");
    // Counts, which take up little of what there can be, are standardised.
    let counts = image::ImageBuffer::<image::Luma<u16>, _>::from_raw(2, 1, vec![103u16, 255]).unwrap();
    let set = read("a.png", &file(&counts.into(), ImageFormat::Png)).unwrap();
    assert_eq!(set.train.units().all_to_user(&set.train.pixels().unwrap(), 1), [103.0, 255.0]);
    assert!((set.train.deviation() - 0.5).abs() < 1e-3 && set.account().contains("standardised"), "{}", set.account());
    let dark = image::ImageBuffer::<image::Luma<u16>, _>::from_raw(2, 1, vec![3u16, 3]).unwrap();
    says(read("a.png", &file(&dark.into(), ImageFormat::Png)).unwrap_err(), "all values of 16 bits are 3");
    let floats = image::Rgb32FImage::from_raw(1, 1, vec![0.5; 3]).unwrap();
    says(read("a.tif", &file(&floats.into(), ImageFormat::Tiff)).unwrap_err(), "save it with 8 or 16 bits");
}

#[test]
fn what_is_converted_is_said() {
    let place = Place::new();
    let clear = image::RgbaImage::from_raw(2, 1, vec![1, 2, 3, 0, 4, 5, 6, 255]).unwrap();
    let opaque = image::RgbaImage::from_raw(2, 1, vec![1, 2, 3, 255, 4, 5, 6, 255]).unwrap();
    place.put("set/clear.png", &file(&clear.into(), ImageFormat::Png));
    place.put("set/opaque.png", &file(&opaque.into(), ImageFormat::Png));
    place.put("set/grey.png", &png(2, 1, &[7, 8]));
    let set = data::open(place.path().join("set")).unwrap();
    let bytes: Vec<u8> = set.train.pixels().unwrap().iter().map(|x| ((x + 1.0) * 127.5).round() as u8).collect();
    assert_eq!(bytes, [1, 2, 3, 4, 5, 6, 7, 7, 7, 8, 8, 8, 1, 2, 3, 4, 5, 6]);
    let expected = "converted: 1 grey picture made red, green and blue (grey.png); \
                    1 picture that is transparent in places, without its alpha (clear.png)";
    assert!(set.account().contains(expected), "{}", set.account());
    // A start image for a model of grey ones.
    let set = data::picture(place.path().join("set/opaque.png"), false, &Default::default()).unwrap();
    assert_eq!(set.train.size(), [1, 2, 1]);
    assert!(set.account().contains("1 picture made grey"), "{}", set.account());
    // Of a file of several pictures the first is read.
    let mut gif = Vec::new();
    {
        let mut encoder = image::codecs::gif::GifEncoder::new(&mut gif);
        for value in [200, 10] {
            let frame = image::RgbaImage::from_pixel(2, 2, image::Rgba([value, value, value, 255]));
            encoder.encode_frame(image::Frame::new(frame)).unwrap();
        }
    }
    let set = read("a.gif", &gif).unwrap();
    assert!(
        set.train.pixels().unwrap().iter().all(|x| (x - (200.0 / 127.5 - 1.0)).abs() < 0.02),
        "{:?}",
        set.train.pixels().unwrap()
    );
    assert!(
        set.account().contains("left out: 1 file of several pictures, all but the first (a.gif)"),
        "{}",
        set.account()
    );
}

/// Whatever stands in a file, a decoder's panic included, is an error that names it.
#[test]
fn damaged_pictures_are_errors_that_name_the_file() {
    let slopes: DynamicImage =
        image::RgbImage::from_fn(24, 24, |x, y| image::Rgb([8 * x as u8, 8 * y as u8, (x * y) as u8])).into();
    let place = Place::new();
    let mut refused = 0;
    for (format, name) in [
        (ImageFormat::Jpeg, "set/a.jpg"),
        (ImageFormat::WebP, "set/a.webp"),
        (ImageFormat::Gif, "set/a.gif"),
        (ImageFormat::Bmp, "set/a.bmp"),
        (ImageFormat::Tiff, "set/a.tif"),
        (ImageFormat::Pnm, "set/a.ppm"),
    ] {
        let whole = file(&slopes, format);
        for round in 0..300u64 {
            let mut bytes = whole.clone();
            // The headers most of all, a few bytes at a time.
            for k in 0..1 + round % 4 {
                let random = (round * 4 + k + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
                let at = (random >> 33) as usize % if round % 2 == 0 { bytes.len().min(700) } else { bytes.len() };
                bytes[at] = (random >> 20) as u8;
            }
            let path = place.put(name, &bytes);
            if let Err(error) = data::open(path.parent().unwrap()) {
                refused += 1;
                says(error, "set");
            }
        }
        std::fs::remove_dir_all(place.path().join("set")).unwrap();
    }
    assert!(refused > 100, "only {refused} were refused");
}
