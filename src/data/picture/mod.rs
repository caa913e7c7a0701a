//! One file of a picture: decoded whole, or an error.
//!
//! Decoders are other people's code and files are anybody's: what a decoder does, a panic included, ends here as an
//! error that names the file. The form is told by the contents, whatever the name says.

mod jpeg;
mod scans;
mod tensor;
mod whole;

use std::cell::Cell;
use std::io::{BufReader, Cursor, Read};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Once;

use image::metadata::Orientation;
use image::{ColorType, DynamicImage, ImageDecoder, ImageFormat, ImageReader, Limits};

use crate::{Error, Result, files};

/// Pictures with longer sides are not training data.
const MAX_SIDE: u32 = 1 << 13;
/// Files beyond this are no pictures of such sides.
const MAX_FILE: u64 = 1 << 30;

/// A JPEG picture of more bytes has its header in these, if its EXIF data are not long; whether it goes to its end is
/// seen when it is decoded.
const JPEG_HEAD: u64 = 1 << 16;

/// The forms that are read: what a message calls them, and the endings of their names.
const FORMS: [(ImageFormat, &str, &[&str]); 7] = [
    (ImageFormat::Png, "PNG", &["png", "apng"]),
    (ImageFormat::Jpeg, "JPEG", &["jpg", "jpeg", "jpe", "jfif"]),
    (ImageFormat::WebP, "WebP", &["webp"]),
    (ImageFormat::Gif, "GIF", &["gif"]),
    (ImageFormat::Bmp, "BMP", &["bmp", "dib"]),
    (ImageFormat::Tiff, "TIFF", &["tif", "tiff"]),
    (ImageFormat::Pnm, "PNM", &["ppm", "pgm", "pbm", "pnm", "pam"]),
];

/// Endings of pictures that nothing here decodes; whoever has such files wants to know that they were passed over.
const UNREAD: &str = "arw avif cr2 dds dng exr hdr heic heif ico j2k jp2 jpx jxl nef pcx pfm psd qoi svg tga";

/// What a file is by its name alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Name {
    Picture,
    /// A picture of a form that is not read.
    Unread,
    Other,
}

pub(super) fn by_name(path: &Path) -> Name {
    let ending = path.extension().and_then(|e| e.to_str()).unwrap_or("").to_ascii_lowercase();
    if FORMS.iter().any(|(_, _, endings)| endings.contains(&&*ending)) {
        return Name::Picture;
    }
    if UNREAD.split(' ').any(|unread| unread == ending) { Name::Unread } else { Name::Other }
}

/// Whether the file is a picture by how it starts. Two letters, as BMP and PNM have them, begin many a text and prove
/// nothing.
///
/// Errors if it is no regular file or cannot be read.
pub fn is_picture(path: impl AsRef<Path>) -> Result<bool> {
    let path = path.as_ref();
    let mut start = Vec::new();
    files::open(path)?.take(32).read_to_end(&mut start).map_err(|e| Error::io(path, e))?;
    let weak = [ImageFormat::Bmp, ImageFormat::Pnm];
    Ok(form(&start).is_some_and(|(format, _)| !weak.contains(&format) || by_name(path) == Name::Picture))
}

/// The form of these bytes, if it is one that is read.
fn form(bytes: &[u8]) -> Option<(ImageFormat, &'static str)> {
    let found = image::guess_format(bytes).ok()?;
    FORMS.iter().find(|(format, ..)| *format == found).map(|&(format, name, _)| (format, name))
}

/// What stands in a picture's header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Header {
    pub form: &'static str,
    /// As it is to be seen: turned as `turned` says.
    pub width: u32,
    pub height: u32,
    /// How the camera was held, by its EXIF data.
    pub turned: Orientation,
    pub colour: bool,
    pub alpha: bool,
    /// 16 bits a value instead of 8 at most.
    pub wide: bool,
}

/// Reads no more than the header, where the form allows that. Errors as [`decoded`], on what a header shows.
pub(super) fn header(path: &Path) -> Result<Header> {
    fenced(path, || {
        let failed = |e: std::io::Error| Error::io(path, e);
        let mut file = BufReader::new(files::open(path)?);
        let mut start = Vec::new();
        (&mut file).take(32).read_to_end(&mut start).map_err(failed)?;
        let (format, form) = form(&start).ok_or_else(|| unknown(path, &start))?;
        if format == ImageFormat::Jpeg {
            (&mut file).take(JPEG_HEAD - start.len() as u64).read_to_end(&mut start).map_err(failed)?;
            if start.len() as u64 == JPEG_HEAD
                && let Ok(header) = jpeg::header(&start)
            {
                return Ok(header);
            }
            let bytes = read(path)?;
            let whole = whole::frames(format, &bytes).map_err(|e| format!("the JPEG picture {e}"));
            return whole.and_then(|_| jpeg::header(&bytes)).map_err(|e| Error::format(path, e));
        }
        std::io::Seek::rewind(&mut file).map_err(failed)?;
        let mut reader = ImageReader::with_format(file, format);
        reader.limits(limits());
        let mut decoder = reader.into_decoder().map_err(|e| Error::format(path, e.to_string()))?;
        let ((width, height), colour) = (decoder.dimensions(), decoder.color_type());
        let turned = decoder.orientation().unwrap_or(Orientation::NoTransforms);
        let wide = depth(colour).map_err(|e| Error::format(path, e))? == 16;
        let (width, height) = seen((width, height), turned);
        Ok(Header { form, width, height, turned, colour: colour.has_color(), alpha: colour.has_alpha(), wide })
    })
}

/// A picture with what its file said of it.
#[derive(Debug)]
pub(super) struct Picture {
    pub header: Header,
    /// Grey or coloured, 8 or 16 bits, perhaps with alpha.
    pub image: DynamicImage,
    /// Pictures in the file, of which this is the first.
    pub frames: usize,
    /// Made of cyan, magenta, yellow and black.
    pub cmyk: bool,
}

/// Whether a picture of 8 or 16 bits is transparent anywhere.
pub(super) fn transparent(image: &DynamicImage) -> bool {
    let colour = image.color();
    if !colour.has_alpha() {
        return false;
    }
    let channels = usize::from(colour.channel_count());
    match colour.bytes_per_pixel() / colour.channel_count() {
        1 => image.as_bytes().chunks_exact(channels).any(|pixel| pixel[channels - 1] != u8::MAX),
        _ => image.as_bytes().chunks_exact(2 * channels).any(|pixel| pixel[2 * channels - 2..] != [0xff; 2]),
    }
}

/// Decodes a file: its first picture, if it has several.
///
/// Errors on files that are no pictures of a form that is read, are damaged or cut short, have sides of more than 8,192
/// pixels, or hold floating-point numbers.
pub(super) fn decoded(path: &Path) -> Result<Picture> {
    fenced(path, || {
        let bytes = read(path)?;
        let (format, form) = form(&bytes).ok_or_else(|| unknown(path, &bytes))?;
        let damaged = |e: String| Error::format(path, e);
        let frames = whole::frames(format, &bytes).map_err(|e| damaged(format!("the {form} picture {e}")))?;
        if format == ImageFormat::Jpeg {
            return jpeg::decoded(&bytes).map_err(damaged);
        }
        let mut reader = ImageReader::with_format(Cursor::new(&bytes), format);
        reader.limits(limits());
        let mut decoder = reader.into_decoder().map_err(|e| damaged(e.to_string()))?;
        let wide = depth(decoder.color_type()).map_err(damaged)? == 16;
        let turned = decoder.orientation().unwrap_or(Orientation::NoTransforms);
        let mut image = DynamicImage::from_decoder(decoder).map_err(|e| damaged(e.to_string()))?;
        image.apply_orientation(turned);
        let (width, height, kind) = (image.width(), image.height(), image.color());
        let header = Header { form, width, height, turned, colour: kind.has_color(), alpha: kind.has_alpha(), wide };
        Ok(Picture { header, image, frames, cmyk: false })
    })
}

/// The picture of a run's own, drawn by `veridical`.
#[cfg(feature = "report")]
pub(crate) fn rgb(path: &Path) -> Result<image::RgbImage> {
    Ok(decoded(path)?.image.into_rgb8())
}

/// Red, green and blue, or grey, and alpha if that is wanted, row by row, in 8 bits.
pub(super) fn bytes(image: DynamicImage, colour: bool, alpha: bool) -> Vec<u8> {
    match (colour, alpha) {
        (true, false) => image.into_rgb8().into_raw(),
        (false, false) => image.into_luma8().into_raw(),
        (true, true) => image.into_rgba8().into_raw(),
        (false, true) => image.into_luma_alpha8().into_raw(),
    }
}

/// As [`bytes`], in 16 bits.
pub(super) fn words(image: DynamicImage, colour: bool, alpha: bool) -> Vec<u16> {
    match (colour, alpha) {
        (true, false) => image.into_rgb16().into_raw(),
        (false, false) => image.into_luma16().into_raw(),
        (true, true) => image.into_rgba16().into_raw(),
        (false, true) => image.into_luma_alpha16().into_raw(),
    }
}

/// Width and height of a picture that is turned so.
fn seen((width, height): (u32, u32), turned: Orientation) -> (u32, u32) {
    use Orientation::{Rotate90, Rotate90FlipH, Rotate270, Rotate270FlipH};
    match turned {
        Rotate90 | Rotate270 | Rotate90FlipH | Rotate270FlipH => (height, width),
        _ => (width, height),
    }
}

fn read(path: &Path) -> Result<Vec<u8>> {
    files::read_at_most(path, MAX_FILE, "picture")
}

fn limits() -> Limits {
    let mut limits = Limits::default();
    (limits.max_image_width, limits.max_image_height) = (Some(MAX_SIDE), Some(MAX_SIDE));
    limits
}

/// Bits of a value.
fn depth(colour: ColorType) -> Result<u32, String> {
    match colour {
        ColorType::L8 | ColorType::La8 | ColorType::Rgb8 | ColorType::Rgba8 => Ok(8),
        ColorType::L16 | ColorType::La16 | ColorType::Rgb16 | ColorType::Rgba16 => Ok(16),
        other => {
            Err(format!("values of type {other:?}; give the path of the file itself, or save it with 8 or 16 bits"))
        }
    }
}

fn unknown(path: &Path, bytes: &[u8]) -> Error {
    if bytes.is_empty() {
        return Error::format(path, "an empty file");
    }
    let forms = FORMS.map(|(_, name, _)| name).join(", ");
    let start = &bytes[..bytes.len().min(8)];
    Error::format(path, format!("starts with {start:02x?}, as no picture does that is read; there are {forms}"))
}

thread_local! {
    /// Whether this thread is in a decoder, whose panics are told as errors and nowhere else.
    static FENCED: Cell<bool> = const { Cell::new(false) };
}

/// Runs a decoder; its panic becomes an error that names the file.
pub(super) fn fenced<T>(path: &Path, call: impl FnOnce() -> Result<T>) -> Result<T> {
    static QUIET: Once = Once::new();
    QUIET.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            if !FENCED.get() {
                before(info);
            }
        }));
    });
    FENCED.set(true);
    let done = catch_unwind(AssertUnwindSafe(call));
    FENCED.set(false);
    done.unwrap_or_else(|_| Err(Error::format(path, "the picture is damaged: its decoder gave up on it")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_of_a_decoder_is_an_error_that_names_the_file() {
        let path = Path::new("some/picture.jpg");
        for _ in 0..2 {
            let error = fenced(path, || -> Result<()> { panic!("index out of bounds") }).unwrap_err().to_string();
            assert_eq!(error, "some/picture.jpg: the picture is damaged: its decoder gave up on it");
        }
        assert_eq!(fenced(path, || Ok(7)).unwrap(), 7);
        // Panics elsewhere are told as ever.
        assert!(!FENCED.get());
    }

    #[test]
    fn names_say_what_a_file_may_be() {
        for (name, expected) in [
            ("a.PNG", Name::Picture),
            ("a.b.jpeg", Name::Picture),
            ("a.heic", Name::Unread),
            ("a.txt", Name::Other),
            ("png", Name::Other),
        ] {
            assert_eq!(by_name(Path::new(name)), expected, "{name}");
        }
    }
}
