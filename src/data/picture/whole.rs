//! Whether a file of a picture goes to its end, and how many pictures it holds.
//!
//! A decoder stops when it has what it wants, or makes up what is missing. Here the parts of the file are walked by
//! their lengths.

use image::ImageFormat;

/// The number of pictures. Errors if the file ends before it should.
pub fn frames(format: ImageFormat, bytes: &[u8]) -> Result<usize, String> {
    let found = match format {
        ImageFormat::Jpeg => jpeg(bytes),
        ImageFormat::Png => png(bytes),
        ImageFormat::Gif => gif(bytes),
        ImageFormat::WebP => webp(bytes),
        ImageFormat::Tiff => tiff(bytes),
        // Rows of known length, which their decoders count.
        _ => Some(1),
    };
    found.ok_or_else(|| format!("is cut short: {} bytes end before the picture does", bytes.len()))
}

fn word(bytes: &[u8], at: usize) -> Option<usize> {
    Some(usize::from(u16::from_be_bytes(bytes.get(at..at.checked_add(2)?)?.try_into().ok()?)))
}

/// Segments up to the end marker; within coded data a marker is what follows 0xff and is neither zero nor a restart.
fn jpeg(bytes: &[u8]) -> Option<usize> {
    const END: u8 = 0xd9;
    const SCAN: u8 = 0xda;
    let mut at = 2;
    loop {
        at += bytes.get(at..)?.iter().position(|&byte| byte == 0xff)?;
        at += bytes.get(at..)?.iter().position(|&byte| byte != 0xff)?;
        match bytes[at] {
            END => return Some(1),
            // Without a length: stuffing, private, restarts.
            0 | 1 | 0xd0..=0xd7 => at += 1,
            marker => {
                at += 1 + word(bytes, at + 1)?;
                if marker == SCAN {
                    let mut pairs = bytes.get(at..)?.windows(2);
                    at += pairs.position(|pair| pair[0] == 0xff && !matches!(pair[1], 0 | 0xd0..=0xd7 | 0xff))?;
                }
            }
        }
    }
}

/// Chunks up to IEND; acTL says how many pictures an animation has.
fn png(bytes: &[u8]) -> Option<usize> {
    let (mut at, mut frames) = (8, 1);
    loop {
        let head = bytes.get(at..at + 8)?;
        let length = u32::from_be_bytes(head[..4].try_into().ok()?) as usize;
        let body = bytes.get(at + 8..at.checked_add(length)?.checked_add(8)?)?;
        bytes.get(at + 8 + length..at + 12 + length)?;
        match (&head[4..], body) {
            (b"IEND", _) => return Some(frames),
            (b"acTL", [a, b, c, d, ..]) => frames = u32::from_be_bytes([*a, *b, *c, *d]).max(1) as usize,
            _ => {}
        }
        at += 12 + length;
    }
}

/// Blocks up to the trailer.
fn gif(bytes: &[u8]) -> Option<usize> {
    let table = |flags: u8| if flags & 0x80 == 0 { 0 } else { 6usize << (flags & 7) };
    let mut at = 13 + table(*bytes.get(10)?);
    let mut frames = 0;
    loop {
        match *bytes.get(at)? {
            b';' => return Some(frames),
            b',' => {
                frames += 1;
                at += 11 + table(*bytes.get(at + 9)?);
            }
            b'!' => at += 2,
            _ => return None, // no block starts so
        }
        // Blocks of at most 255 bytes, each with its length before it, up to one of none.
        loop {
            let length = usize::from(*bytes.get(at)?);
            at += 1 + length;
            if length == 0 {
                break;
            }
        }
    }
}

/// Chunks, which must fill what the file says that it holds.
fn webp(bytes: &[u8]) -> Option<usize> {
    let length = |at: usize| Some(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?) as usize);
    let end = length(4)?.checked_add(8).filter(|&end| end <= bytes.len())?;
    let (mut at, mut frames) = (12, 0);
    while at + 8 <= end {
        frames += usize::from(&bytes[at..at + 4] == b"ANMF");
        at = at.checked_add(8 + length(at + 4)?.next_multiple_of(2))?;
    }
    // A last odd chunk may lack the byte that makes it even.
    (at <= end + 1).then_some(frames.max(1))
}

/// Directories, one a page, each with the place of the next. What they point to is for the decoder to find.
fn tiff(bytes: &[u8]) -> Option<usize> {
    let big_endian = bytes.starts_with(b"MM");
    let number = |at: usize, width: usize| {
        let part = bytes.get(at..at.checked_add(width)?)?.iter();
        let add = |sum: u64, byte: &u8| sum << 8 | u64::from(*byte);
        usize::try_from(if big_endian { part.fold(0, add) } else { part.rev().fold(0, add) }).ok()
    };
    // Widths of an offset, of a count of entries, and of an entry.
    let (first, offset, count, entry) = if number(2, 2)? == 43 { (8, 8, 8, 20) } else { (4, 4, 2, 12) };
    let (mut at, mut pages) = (number(first, offset)?, 0);
    while at != 0 && pages < 1 << 16 {
        pages += 1;
        at = number(at.checked_add(count)?.checked_add(number(at, count)?.checked_mul(entry)?)?, offset)?;
    }
    Some(pages.max(1))
}
