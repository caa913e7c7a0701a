//! The header of a `.npy` file: a Python dictionary in text.

/// NumPy itself refuses headers of more than 10,000 characters.
pub const MAX_BYTES: u64 = 1 << 16;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Bool,
    Unsigned,
    Signed,
    Float,
}

/// What the numbers in a file are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Type {
    pub kind: Kind,
    /// Bytes per number.
    pub width: usize,
}

impl std::fmt::Display for Type {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.kind {
            Kind::Bool => write!(f, "bool"),
            Kind::Unsigned => write!(f, "uint{}", 8 * self.width),
            Kind::Signed => write!(f, "int{}", 8 * self.width),
            Kind::Float => write!(f, "float{}", 8 * self.width),
        }
    }
}

#[derive(Debug, PartialEq, Eq)]
pub struct Header {
    pub numbers: Type,
    pub big_endian: bool,
    pub columns_first: bool,
    pub shape: Vec<usize>,
}

impl Header {
    /// How many numbers there are; `None` if more than can be.
    pub fn count(&self) -> Option<u64> {
        self.shape.iter().try_fold(1u64, |n, &extent| n.checked_mul(extent as u64))
    }
}

/// Magic number, version, length and dictionary; the array that follows starts on a multiple of 64 bytes.
pub fn write(descr: &str, shape: &[usize]) -> Vec<u8> {
    let extents: String = shape.iter().map(|extent| format!("{extent}, ")).collect();
    let extents = if shape.len() == 1 { extents.trim_end() } else { extents.trim_end_matches(", ") };
    let mut text = format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': ({extents}), }}");
    // Version 2 has four bytes of length, which even an absurd number of extents fits.
    let (version, prefix) = if text.len() + 64 < usize::from(u16::MAX) { (1, 10) } else { (2, 12) };
    let padded = (prefix + text.len() + 1).next_multiple_of(64);
    text += &" ".repeat(padded - prefix - text.len() - 1);
    text.push('\n');
    let mut bytes = b"\x93NUMPY".to_vec();
    bytes.extend([version, 0]);
    match version {
        1 => bytes.extend((text.len() as u16).to_le_bytes()),
        _ => bytes.extend((text.len() as u32).to_le_bytes()),
    }
    bytes.extend(text.bytes());
    bytes
}

pub fn parse(text: &[u8]) -> Result<Header, String> {
    let text = std::str::from_utf8(text).map_err(|_| "the header is not text".to_string())?;
    let mut rest = text.trim().strip_prefix('{').ok_or("the header is no dictionary")?.trim_start();
    let (mut descr, mut columns_first, mut shape) = (None, None, None);
    while !rest.starts_with('}') {
        let (key, after) = quoted(rest)?;
        rest = after
            .trim_start()
            .strip_prefix(':')
            .ok_or_else(|| format!("no value for {key:?} in the header"))?
            .trim_start();
        rest = match key {
            "descr" => {
                let (value, after) =
                    quoted(rest).map_err(|_| format!("descr {}: structures are not read", short(rest)))?;
                descr = Some(value);
                after
            }
            "fortran_order" => {
                let (value, after) = match (rest.strip_prefix("True"), rest.strip_prefix("False")) {
                    (Some(after), _) => (true, after),
                    (_, Some(after)) => (false, after),
                    _ => return Err(format!("fortran_order is {}", short(rest))),
                };
                columns_first = Some(value);
                after
            }
            "shape" => {
                let inside = rest.strip_prefix('(').ok_or_else(|| format!("shape is {}", short(rest)))?;
                let (inside, after) = inside.split_once(')').ok_or("shape has no end")?;
                let extents = inside.split(',').map(str::trim).filter(|extent| !extent.is_empty());
                // Python 2 writes long integers with an L behind them.
                let extent = |e: &str| e.strip_suffix(['L', 'l']).unwrap_or(e).parse();
                let extents: Result<Vec<usize>, String> =
                    extents.map(|e| extent(e).map_err(|_| format!("extent {:?} in the shape", short(e)))).collect();
                shape = Some(extents?);
                after
            }
            other => return Err(format!("unknown key {:?} in the header", short(other))),
        };
        rest = rest.trim_start();
        rest = rest.strip_prefix(',').unwrap_or(rest).trim_start();
    }
    let descr = descr.ok_or("no `descr` in the header")?;
    let (kind, width, big_endian) = number(descr)?;
    Ok(Header {
        numbers: Type { kind, width },
        big_endian,
        columns_first: columns_first.ok_or("no `fortran_order` in the header")?,
        shape: shape.ok_or("no `shape` in the header")?,
    })
}

fn quoted(text: &str) -> Result<(&str, &str), String> {
    let quote = text.chars().next().filter(|c| matches!(c, '\'' | '"'));
    let found = quote.and_then(|quote| text[1..].split_once(quote));
    found.ok_or_else(|| format!("expected a quoted text in the header, found {}", short(text)))
}

fn number(descr: &str) -> Result<(Kind, usize, bool), String> {
    let unread =
        || format!("numbers of type {:?} are not read; there are u1 to u8, i1 to i8, f2 to f8 and b1", short(descr));
    let (big_endian, rest) = match descr.split_at_checked(1) {
        Some(("<" | "|" | "=", rest)) => (false, rest),
        Some((">", rest)) => (true, rest),
        _ => return Err(unread()),
    };
    let (kind, width) = match rest {
        "b1" => (Kind::Bool, 1),
        "u1" => (Kind::Unsigned, 1),
        "u2" => (Kind::Unsigned, 2),
        "u4" => (Kind::Unsigned, 4),
        "u8" => (Kind::Unsigned, 8),
        "i1" => (Kind::Signed, 1),
        "i2" => (Kind::Signed, 2),
        "i4" => (Kind::Signed, 4),
        "i8" => (Kind::Signed, 8),
        "f2" => (Kind::Float, 2),
        "f4" => (Kind::Float, 4),
        "f8" => (Kind::Float, 8),
        _ => return Err(unread()),
    };
    Ok((kind, width, big_endian))
}

/// Enough of a text for an error message.
fn short(text: &str) -> String {
    text.chars().take(40).collect()
}
