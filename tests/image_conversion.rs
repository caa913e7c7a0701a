//! Tensors of the `image` crate's pictures, and pictures of tensors.

use image::{DynamicImage, GrayImage, ImageBuffer, Rgb, Rgb32FImage, RgbImage, Rgba, RgbaImage};
use veridical::{DType, Device, Tensor, data};

fn tensor(image: &DynamicImage) -> Tensor {
    Tensor::from_image(image, &Device::Cpu).unwrap()
}

fn of(values: &[f32], shape: &[usize]) -> Tensor {
    Tensor::from_slice(values, shape, &Device::Cpu).unwrap()
}

/// Pictures of every kind that the readers take, 7 wide and 5 high.
fn pictures() -> Vec<(&'static str, DynamicImage)> {
    let noise = |x: u32, y: u32, c: u32| (x * 7919 + y * 104_729 + c * 1_299_709 + 12_345) % 65_521;
    let byte = |x, y, c| (noise(x, y, c) >> 8) as u8;
    let word = |x, y, c| noise(x, y, c) as u16;
    vec![
        ("grey", GrayImage::from_fn(7, 5, |x, y| image::Luma([byte(x, y, 0)])).into()),
        ("colour", RgbImage::from_fn(7, 5, |x, y| Rgb([0, 1, 2].map(|c| byte(x, y, c)))).into()),
        ("grey, 16 bits", ImageBuffer::from_fn(7, 5, |x, y| image::Luma([word(x, y, 0)])).into()),
        ("colour, 16 bits", ImageBuffer::from_fn(7, 5, |x, y| Rgb([0, 1, 2].map(|c| word(x, y, c)))).into()),
        ("grey, opaque", ImageBuffer::from_fn(7, 5, |x, y| image::LumaA([byte(x, y, 0), 255])).into()),
        ("opaque", RgbaImage::from_fn(7, 5, |x, y| Rgba([byte(x, y, 0), byte(x, y, 1), byte(x, y, 2), 255])).into()),
        (
            "opaque, 16 bits",
            ImageBuffer::from_fn(7, 5, |x, y| Rgba([word(x, y, 0), word(x, y, 1), word(x, y, 2), u16::MAX])).into(),
        ),
    ]
}

#[test]
fn a_picture_is_what_the_reader_makes_of_its_file() {
    let folder = tempfile::tempdir().unwrap();
    for (name, image) in pictures() {
        let path = folder.path().join("a.png");
        image.save(&path).unwrap();
        let read = data::picture(&path, image.color().has_color(), &Default::default()).unwrap().train;
        let x = tensor(&image);
        assert_eq!(x.shape()[..], read.size(), "{name}");
        let bits = |values: &[f32]| values.iter().map(|value| value.to_bits()).collect::<Vec<_>>();
        assert_eq!(bits(&x.to_vec().unwrap()), bits(&read.pixels().unwrap()), "{name}");
    }
}

#[test]
fn pixels_lie_between_minus_one_and_one() {
    // Both ends, and a fifth of the way between them.
    let bytes = GrayImage::from_raw(3, 1, vec![0, 255, 51]).unwrap();
    let words: ImageBuffer<image::Luma<u16>, _> = ImageBuffer::from_raw(1, 3, vec![0, 65_535, 13_107]).unwrap();
    for (image, shape) in [(DynamicImage::from(bytes), [1, 3, 1]), (words.into(), [3, 1, 1])] {
        let x = tensor(&image);
        let values = x.to_vec::<f32>().unwrap();
        assert_eq!((&x.shape()[..], values[0], values[1]), (&shape[..], -1.0, 1.0));
        assert!((values[2] + 0.6).abs() < 1e-6, "{}", values[2]);
    }
}

#[test]
fn every_byte_goes_there_and_back() {
    let grey: DynamicImage = GrayImage::from_raw(16, 16, (0..=255).collect()).unwrap().into();
    assert_eq!(tensor(&grey).to_image().unwrap(), grey);
    let colour: DynamicImage = RgbImage::from_raw(16, 16, (0..768).map(|i| (i % 251) as u8).collect()).unwrap().into();
    assert_eq!(tensor(&colour).to_image().unwrap(), colour);
    let rows = tensor(&grey).reshape([16, 16]).unwrap();
    assert_eq!(rows.to_image().unwrap(), grey);
}

#[test]
fn values_between_bytes_are_rounded_and_others_clipped() {
    let image = of(&[0.0, 0.5, -0.999, -7.0, 7.0, 0.9], &[2, 3]).to_image().unwrap();
    // 127.5, 191.25, 0.1275, the ends, 242.25.
    assert_eq!(image, GrayImage::from_raw(3, 2, vec![128, 191, 0, 0, 255, 242]).unwrap().into());
}

#[test]
fn what_is_not_finite_is_magenta_as_in_the_reports() {
    let image = of(&[-1.0, f32::NAN, f32::INFINITY, 1.0], &[2, 2, 1]).to_image().unwrap();
    let expected = [[0; 3], [255, 0, 255], [255, 0, 255], [255; 3]].concat();
    assert_eq!(image, RgbImage::from_raw(2, 2, expected).unwrap().into());
    let image = of(&[1.0, f32::NEG_INFINITY, -1.0, 1.0, -1.0, -1.0], &[1, 2, 3]).to_image().unwrap();
    assert_eq!(image, RgbImage::from_raw(2, 1, vec![255, 0, 255, 255, 0, 0]).unwrap().into());
}

#[test]
fn errors_say_what_to_do() {
    let refused = |image: DynamicImage| Tensor::from_image(&image, &Device::Cpu).unwrap_err().to_string();
    let error = refused(RgbaImage::from_pixel(2, 2, Rgba([1, 2, 3, 254])).into());
    assert!(
        error.starts_with("from_image: the picture is transparent in places") && error.contains("into_rgb8"),
        "{error}"
    );
    let error = refused(Rgb32FImage::new(2, 2).into());
    assert!(error.starts_with("from_image: values of type Rgb32F") && error.contains("into_rgb16"), "{error}");

    for shape in [&[][..], &[4], &[2, 2, 2], &[2, 2, 4], &[1, 2, 2, 3]] {
        let error = of(&vec![0.0; shape.iter().product()], shape).to_image().unwrap_err().to_string();
        let expected = "to_image: expected [height, width], [height, width, 1] or [height, width, 3], got ";
        assert_eq!(error, format!("{expected}{shape:?}"));
    }
    for dtype in [DType::BF16, DType::F64, DType::U32] {
        let error = Tensor::zeros([2, 2], dtype, &Device::Cpu).unwrap().to_image().unwrap_err().to_string();
        assert_eq!(error, format!("to_image: expected dtype f32, got {dtype}; convert with `cast`"));
    }
}
