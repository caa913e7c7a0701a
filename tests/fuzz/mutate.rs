//! Changes of an input: reproducible, and of the kinds that find the faults of readers.

/// SplitMix64 (Steele, Lea and Flood 2014).
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `n`; 0 if there is none.
    pub fn below(&mut self, n: usize) -> usize {
        ((u128::from(self.next()) * n as u128) >> 64) as usize
    }

    fn of<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len())]
    }
}

/// Values at which counts, sizes and offsets turn.
const EDGES: [u64; 16] = [
    0,
    1,
    2,
    0x7f,
    0x80,
    0xff,
    0x7fff,
    0xffff,
    0x1_0000,
    0x7fff_ffff,
    0x8000_0000,
    0xffff_ffff,
    0x1_0000_0000,
    0x7fff_ffff_ffff_ffff,
    0x8000_0000_0000_0000,
    u64::MAX,
];

/// As above, in text, and what else stands where numbers and names do.
const WORDS: [&str; 28] = [
    "0",
    "-1",
    "1",
    "255",
    "256",
    "65536",
    "2147483647",
    "2147483648",
    "4294967295",
    "4294967296",
    "9223372036854775807",
    "18446744073709551615",
    "18446744073709551616",
    "1e308",
    "1e999",
    "-1e999",
    "1e-320",
    "nan",
    "inf",
    "null",
    "true",
    "[]",
    "{}",
    "\"\"",
    "\u{1b}[2J",
    "\\u0000",
    "\u{202e}",
    "..",
];

/// Some changes of `input`, of which `others` may lend parts. The result is at most twice as long as the longest, and
/// some KiB.
pub fn mutated(random: &mut Random, input: &[u8], others: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = input.to_vec();
    for _ in 0..1 + random.below(4) {
        change(random, &mut bytes, others);
    }
    let longest = others.iter().map(Vec::len).max().unwrap_or(0).max(input.len());
    bytes.truncate(2 * longest + 4096);
    bytes
}

fn change(random: &mut Random, bytes: &mut Vec<u8>, others: &[Vec<u8>]) {
    let len = bytes.len();
    let at = random.below(len);
    match random.below(11) {
        0 if len > 0 => bytes[at] ^= 1 << random.below(8),
        1 if len > 0 => bytes[at] = random.next() as u8,
        2 => bytes.truncate(random.below(len + 1)),
        3 => {
            // A number in binary, of any width, in either order.
            let value = random.of(&EDGES).wrapping_add(random.below(3) as u64).wrapping_sub(1);
            let width = random.of(&[1, 2, 4, 8]);
            let number = if random.below(2) == 0 {
                value.to_le_bytes()[..width].to_vec()
            } else {
                value.to_be_bytes()[8 - width..].to_vec()
            };
            // Where headers are, more often than elsewhere.
            let at = if random.below(2) == 0 { at } else { random.below(len.min(64)) };
            for (to, from) in bytes[at.min(len)..].iter_mut().zip(number) {
                *to = from;
            }
        }
        4 => {
            let word = random.of(&WORDS);
            let (from, to) = number_near(bytes, at);
            bytes.splice(from..to, word.bytes());
        }
        5 => {
            let word = random.of(&WORDS);
            bytes.splice(at..at, word.bytes());
        }
        6 => {
            let end = at + random.below((len - at).min(64) + 1);
            bytes.drain(at..end);
        }
        7 => {
            // A part comes twice, or very often.
            let end = at + random.below((len - at).min(32) + 1);
            let part = bytes[at..end].to_vec();
            let times = random.of(&[1, 1, 1, 100]);
            bytes.splice(at..at, part.repeat(times));
        }
        8 if !others.is_empty() => {
            // The beginning of this one, the end of another.
            let other = &others[random.below(others.len())];
            bytes.truncate(at);
            bytes.extend(&other[random.below(other.len())..]);
        }
        9 if !others.is_empty() => {
            let other = &others[random.below(others.len())];
            let from = random.below(other.len());
            let part = &other[from..from + random.below((other.len() - from).min(64) + 1)];
            bytes.splice(at..at, part.iter().copied());
        }
        _ => bytes.push(random.next() as u8),
    }
}

/// The digits at or after `at`, or else the one byte there.
fn number_near(bytes: &[u8], at: usize) -> (usize, usize) {
    let digit = |byte: &u8| byte.is_ascii_digit() || b"+-.".contains(byte);
    match bytes[at..].iter().position(digit) {
        Some(first) => {
            let from = at + first;
            let count = bytes[from..].iter().position(|byte| !digit(byte)).unwrap_or(bytes.len() - from);
            (from, from + count)
        }
        None => (at, (at + 1).min(bytes.len())),
    }
}
