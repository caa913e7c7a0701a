//! JPEG, decoded so that damage is an error: by default decoders fill what they cannot read with grey.

use image::metadata::Orientation;
use image::{DynamicImage, GrayImage, RgbImage};
use zune_core::bytestream::ZCursor;
use zune_core::colorspace::ColorSpace;
use zune_core::options::DecoderOptions;
use zune_jpeg::JpegDecoder;

use super::{Header, MAX_SIDE, Picture, scans, seen};

type Decoder<'a> = JpegDecoder<ZCursor<&'a [u8]>>;

/// What stands in the header, and the colours of the file.
fn opened(bytes: &[u8]) -> Result<(Decoder<'_>, Header, ColorSpace), String> {
    let options = DecoderOptions::default()
        .set_strict_mode(true)
        .set_max_width(MAX_SIDE as usize)
        .set_max_height(MAX_SIDE as usize);
    let mut decoder = JpegDecoder::new_with_options(ZCursor::new(bytes), options);
    decoder.decode_headers().map_err(|e| e.to_string())?;
    let (Some((width, height)), Some(colours)) = (decoder.dimensions(), decoder.input_colorspace()) else {
        return Err("a JPEG picture without a header".into());
    };
    let colour = colours != ColorSpace::Luma;
    decoder.set_options(options.jpeg_set_out_colorspace(if colour { ColorSpace::RGB } else { ColorSpace::Luma }));
    let turned = decoder.exif().and_then(|chunk| Orientation::from_exif_chunk(chunk));
    let turned = turned.unwrap_or(Orientation::NoTransforms);
    let (width, height) = seen((width as u32, height as u32), turned);
    let header = Header { form: "JPEG", width, height, turned, colour, alpha: false, wide: false };
    Ok((decoder, header, colours))
}

pub fn header(bytes: &[u8]) -> Result<Header, String> {
    opened(bytes).map(|(_, header, _)| header)
}

pub fn decoded(bytes: &[u8]) -> Result<Picture, String> {
    let (mut decoder, header, colours) = opened(bytes)?;
    if !scans::are_whole(bytes) {
        return Err("the JPEG picture is cut short or damaged: not all of its pixels are there".into());
    }
    let pixels = decoder.decode().map_err(|e| e.to_string())?;
    let (width, height) = seen((header.width, header.height), header.turned); // back again
    let image = match header.colour {
        true => RgbImage::from_raw(width, height, pixels).map(DynamicImage::from),
        false => GrayImage::from_raw(width, height, pixels).map(DynamicImage::from),
    };
    let mut image = image.ok_or("a JPEG picture of fewer pixels than its header says")?;
    image.apply_orientation(header.turned);
    let cmyk = matches!(colours, ColorSpace::CMYK | ColorSpace::YCCK);
    Ok(Picture { header, image, frames: 1, cmyk })
}
