//! Whether the coded data of a JPEG hold every block of the picture.
//!
//! Decoders make up blocks that are not there, even where they are strict: past an end marker they go on with zeros.
//! Here the codes are walked as ITU-T T.81 has them, annexes F (sequential) and G (progressive), and nothing but their
//! lengths is looked at.

/// The coefficients of a block, in zigzag order.
const BLOCK: usize = 64;
/// Components that a picture can have.
const COMPONENTS: usize = 4;
/// Pixels of a side that are read.
const MAX_SIDE: usize = super::MAX_SIDE as usize;

/// Codes of one table: the first code of each length that is too large, aligned to 16 bits, and where its symbols end.
#[derive(Clone, Default)]
struct Codes {
    beyond: [u32; 16],
    /// What to add to a code of this length to find its symbol.
    offset: [i32; 16],
    symbols: Vec<u8>,
}

impl Codes {
    fn of(counts: &[u8; 16], symbols: &[u8]) -> Self {
        let mut codes = Codes { symbols: symbols.to_vec(), ..Codes::default() };
        let (mut code, mut before) = (0u32, 0i32);
        for (length, &count) in counts.iter().enumerate() {
            codes.offset[length] = before - code as i32;
            code += u32::from(count);
            before += i32::from(count);
            codes.beyond[length] = code << (15 - length);
            code <<= 1;
        }
        codes
    }
}

/// The bits of a scan, up to the next marker.
struct Bits<'a> {
    bytes: &'a [u8],
    at: usize,
    held: u64,
    count: u32,
}

impl Bits<'_> {
    fn fill(&mut self) {
        while self.count <= 48 {
            let byte = match self.bytes.get(self.at..) {
                Some([0xff, 0, ..]) => {
                    self.at += 2;
                    0xff
                }
                Some([byte, ..]) if *byte != 0xff => {
                    self.at += 1;
                    *byte
                }
                _ => return,
            };
            self.held = self.held << 8 | u64::from(byte);
            self.count += 8;
        }
    }

    /// The next bits, up to 16. `None` if there are not so many.
    fn take(&mut self, count: u32) -> Option<u32> {
        if self.count < count {
            self.fill();
        }
        self.count = self.count.checked_sub(count)?;
        Some((self.held >> self.count) as u32 & ((1 << count) - 1))
    }

    /// The next symbol; `None` if the data end in it, or it is none.
    fn symbol(&mut self, codes: &Codes) -> Option<u8> {
        if self.count < 16 {
            self.fill();
        }
        let next =
            if self.count >= 16 { self.held >> (self.count - 16) } else { self.held << (16 - self.count) } as u32;
        let next = next & 0xffff;
        let length = codes.beyond.iter().position(|&beyond| next < beyond)?;
        self.count = self.count.checked_sub(length as u32 + 1)?;
        let code = (next >> (15 - length)) as i32;
        codes.symbols.get(usize::try_from(code + codes.offset[length]).ok()?).copied()
    }

    /// Passes a restart marker, which must be next.
    fn restart(&mut self) -> Option<()> {
        (self.held, self.count) = (0, 0);
        let fill = self.bytes.get(self.at..)?.iter().take_while(|&&byte| byte == 0xff).count();
        let marker = self.bytes.get(self.at + fill).filter(|marker| fill > 0 && matches!(marker, 0xd0..=0xd7));
        self.at += fill + 1;
        marker.map(|_| ())
    }
}

/// A colour's grid of blocks.
#[derive(Default)]
struct Component {
    id: u8,
    /// Blocks of a unit of all components, across and down.
    per_unit: [usize; 2],
    /// Blocks that the picture needs, and those of whole units.
    needed: [usize; 2],
    across: usize,
    /// Of each block the coefficients that are not zero so far.
    set: Vec<u64>,
    seen: bool,
}

/// What a scan brings: coefficients from `first` to `last`, all their bits or those below what earlier scans brought.
#[derive(Clone, Copy)]
struct Band {
    progressive: bool,
    first: usize,
    last: usize,
    refines: bool,
}

#[derive(Default)]
struct Picture {
    progressive: bool,
    components: Vec<Component>,
    /// Units across and down.
    units: [usize; 2],
    restart: usize,
    /// By class (0: of the mean, 1: of the rest) and number.
    tables: [[Option<Codes>; COMPONENTS]; 2],
}

/// Whether every block of every scan is there, and every component has some. Codings that nothing here reads count as
/// whole.
pub fn are_whole(bytes: &[u8]) -> bool {
    walk(bytes).is_some()
}

fn walk(bytes: &[u8]) -> Option<()> {
    let mut picture = Picture::default();
    let mut at = 2;
    loop {
        at += bytes.get(at..)?.iter().position(|&byte| byte == 0xff)?;
        at += bytes.get(at..)?.iter().position(|&byte| byte != 0xff)?;
        let marker = bytes[at];
        at += 1;
        match marker {
            0xd9 => return picture.components.iter().all(|component| component.seen).then_some(()),
            0 | 1 | 0xd0..=0xd7 => continue,
            // Lossless, hierarchical or arithmetic.
            0xc3 | 0xc5..=0xc7 | 0xc9..=0xcf => return Some(()),
            _ => {}
        }
        let length = usize::from(u16::from_be_bytes(bytes.get(at..at + 2)?.try_into().ok()?));
        let body = bytes.get(at + 2..at + length)?;
        at += length;
        match marker {
            0xc0..=0xc2 => {
                picture.frame(marker == 0xc2, body)?;
                if picture.units[1] == 0 {
                    return Some(()); // the height comes later (DNL), which no decoder here knows
                }
            }
            0xc4 => picture.codes(body)?,
            0xdd => picture.restart = usize::from(u16::from_be_bytes(body.get(..2)?.try_into().ok()?)),
            0xda => {
                let mut bits = Bits { bytes, at, held: 0, count: 0 };
                picture.scan(body, &mut bits)?;
                at = bits.at;
            }
            _ => {}
        }
    }
}

impl Picture {
    fn frame(&mut self, progressive: bool, body: &[u8]) -> Option<()> {
        let [_, h0, h1, w0, w1, count, parts @ ..] = body else { return None };
        let size = [u16::from_be_bytes([*w0, *w1]), u16::from_be_bytes([*h0, *h1])].map(usize::from);
        let parts = parts.get(..3 * usize::from(*count))?.as_chunks::<3>().0;
        // A second frame, or one beyond what is read, is nobody's picture.
        if !self.components.is_empty() || parts.len() > COMPONENTS || size.iter().any(|&side| side > MAX_SIDE) {
            return None;
        }
        let per_unit = |part: &[u8; 3]| [usize::from(part[1] >> 4), usize::from(part[1] & 15)];
        let most = |axis: usize| parts.iter().map(|part| per_unit(part)[axis]).max().filter(|&most| most > 0);
        let most = [most(0)?, most(1)?];
        self.progressive = progressive;
        self.units = [0, 1].map(|axis| size[axis].div_ceil(8 * most[axis]));
        self.components = parts
            .iter()
            .map(|part| {
                let per_unit = per_unit(part);
                let needed = [0, 1].map(|axis| (size[axis] * per_unit[axis]).div_ceil(most[axis]).div_ceil(8));
                let across = self.units[0] * per_unit[0];
                let set = if progressive { vec![0; across * self.units[1] * per_unit[1]] } else { Vec::new() };
                Component { id: part[0], per_unit, needed, across, set, seen: false }
            })
            .collect();
        Some(())
    }

    fn codes(&mut self, mut body: &[u8]) -> Option<()> {
        while let Some((&[which], rest)) = body.split_first_chunk::<1>() {
            let (counts, rest) = rest.split_first_chunk::<16>()?;
            let (symbols, rest) = rest.split_at_checked(counts.iter().map(|&count| usize::from(count)).sum())?;
            *self.tables.get_mut(usize::from(which >> 4))?.get_mut(usize::from(which & 15))? =
                Some(Codes::of(counts, symbols));
            body = rest;
        }
        Some(())
    }

    fn scan(&mut self, body: &[u8], bits: &mut Bits) -> Option<()> {
        let (&[count], rest) = body.split_first_chunk::<1>()?;
        let (parts, rest) = rest.split_at_checked(2 * usize::from(count))?;
        let &[first, last, approximation, ..] = rest else { return None };
        let band = match self.progressive {
            true => Band {
                progressive: true,
                first: first.into(),
                last: usize::from(last).min(BLOCK - 1),
                refines: approximation >> 4 != 0,
            },
            false => Band { progressive: false, first: 0, last: BLOCK - 1, refines: false },
        };
        let mut scanned = Vec::new();
        for part in parts.as_chunks::<2>().0 {
            let component = self.components.iter().position(|component| component.id == part[0])?;
            scanned.push((component, usize::from(part[1] >> 4), usize::from(part[1] & 15)));
        }
        let alone = scanned.len() == 1;
        let units = if alone { self.components[scanned[0].0].needed } else { self.units };
        let total = units[0].checked_mul(units[1])?;
        let Picture { components, tables, restart, .. } = self;
        let mut run = 0;
        for unit in 0..total {
            if *restart > 0 && unit > 0 && unit.is_multiple_of(*restart) {
                bits.restart()?;
                run = 0;
            }
            let (x, y) = (unit % units[0], unit / units[0]);
            for &(component, mean, others) in &scanned {
                let component = &mut components[component];
                let [across, down] = if alone { [1, 1] } else { component.per_unit };
                for block in 0..across * down {
                    let place = (y * down + block / across) * component.across + x * across + block % across;
                    let tables = [tables[0].get(mean)?.as_ref(), tables[1].get(others)?.as_ref()];
                    walk_block(bits, band, tables, component.set.get_mut(place), &mut run)?;
                }
            }
        }
        scanned.iter().for_each(|&(component, ..)| components[component].seen = true);
        Some(())
    }
}

/// Walks the codes of one block. `run` is the number of blocks that bring nothing.
fn walk_block(
    bits: &mut Bits,
    band: Band,
    [mean, others]: [Option<&Codes>; 2],
    set: Option<&mut u64>,
    run: &mut u32,
) -> Option<()> {
    let mut none = 0;
    let set = set.unwrap_or(&mut none);
    let Band { progressive, first, last, refines } = band;
    let mut at = first;
    if first == 0 {
        match refines {
            true => drop(bits.take(1)?),
            false => {
                let length = bits.symbol(mean?)?;
                bits.take(u32::from(length).min(16))?;
            }
        }
        at = 1;
        if progressive && last == 0 {
            return Some(());
        }
    }
    if refines {
        return refine(bits, at, last, others?, set, run);
    }
    if *run > 0 {
        *run -= 1;
        return Some(());
    }
    while at <= last {
        let symbol = bits.symbol(others?)?;
        let (zeros, length) = (usize::from(symbol >> 4), u32::from(symbol & 15));
        match (zeros, length) {
            (15, 0) => at += 16,
            (_, 0) if progressive => {
                *run = (1 << zeros) - 1 + bits.take(zeros as u32)?;
                return Some(());
            }
            (_, 0) => return Some(()),
            _ => {
                at += zeros;
                *set |= 1u64.checked_shl(at as u32)?;
                bits.take(length)?;
                at += 1;
            }
        }
    }
    Some(())
}

/// One more bit of coefficients that are not zero, and coefficients that were.
fn refine(bits: &mut Bits, first: usize, last: usize, codes: &Codes, set: &mut u64, run: &mut u32) -> Option<()> {
    let mut at = first;
    while *run == 0 && at <= last {
        let symbol = bits.symbol(codes)?;
        let (mut zeros, new) = (usize::from(symbol >> 4), symbol & 15 != 0);
        if new {
            bits.take(1)?;
        } else if zeros < 15 {
            *run = (1 << zeros) + bits.take(zeros as u32)?;
            break;
        }
        while at <= last {
            if *set >> at & 1 == 1 {
                bits.take(1)?;
            } else if zeros == 0 {
                break;
            } else {
                zeros -= 1;
            }
            at += 1;
        }
        if new && at <= last {
            *set |= 1 << at;
        }
        at += 1;
    }
    if *run > 0 {
        while at <= last {
            if *set >> at & 1 == 1 {
                bits.take(1)?;
            }
            at += 1;
        }
        *run -= 1;
    }
    Some(())
}
