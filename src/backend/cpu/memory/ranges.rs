//! Which stretches of the pool's memory are free.

use std::collections::{BTreeMap, BTreeSet};

/// Free stretches of addresses. The shortest that is long enough is taken, and neighbours become one again when they
/// are put back, so that a few large stretches serve whatever sizes come.
#[derive(Debug)]
pub(super) struct Ranges {
    /// Length by start.
    lengths: BTreeMap<usize, usize>,
    /// The same stretches: length, then start.
    by_length: BTreeSet<(usize, usize)>,
    bytes: usize,
}

impl Ranges {
    pub const fn new() -> Self {
        Ranges { lengths: BTreeMap::new(), by_length: BTreeSet::new(), bytes: 0 }
    }

    /// Takes `length` bytes off the front of the shortest stretch that has them; of several, off the one with the
    /// lowest address.
    pub fn take(&mut self, length: usize) -> Option<usize> {
        let &(found, start) = self.by_length.range((length, 0)..).next()?;
        self.remove(start, found);
        if found > length {
            self.insert(start + length, found - length);
        }
        Some(start)
    }

    /// Puts a stretch back that touches no free one with its inside.
    pub fn put(&mut self, mut start: usize, mut length: usize) {
        if let Some((&before, &found)) = self.lengths.range(..start).next_back()
            && before + found == start
        {
            self.remove(before, found);
            (start, length) = (before, length + found);
        }
        if let Some(&after) = self.lengths.get(&(start + length)) {
            self.remove(start + length, after);
            length += after;
        }
        self.insert(start, length);
    }

    /// Takes exactly this stretch, if it is a free one as a whole.
    pub fn take_whole(&mut self, start: usize, length: usize) -> bool {
        let whole = self.lengths.get(&start) == Some(&length);
        if whole {
            self.remove(start, length);
        }
        whole
    }

    /// All of them, as start and length.
    pub fn iter(&self) -> impl Iterator<Item = (usize, usize)> {
        self.lengths.iter().map(|(&start, &length)| (start, length))
    }

    /// How much is free.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    fn insert(&mut self, start: usize, length: usize) {
        self.lengths.insert(start, length);
        self.by_length.insert((length, start));
        self.bytes += length;
    }

    fn remove(&mut self, start: usize, length: usize) {
        self.lengths.remove(&start);
        self.by_length.remove(&(length, start));
        self.bytes -= length;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(ranges: &Ranges) -> Vec<(usize, usize)> {
        ranges.iter().collect()
    }

    #[test]
    fn the_shortest_that_fits_is_taken() {
        let mut ranges = Ranges::new();
        [(0, 100), (200, 30), (300, 40), (400, 30)].iter().for_each(|&(start, length)| ranges.put(start, length));
        assert_eq!(ranges.take(20), Some(200));
        assert_eq!(ranges.take(30), Some(400));
        assert_eq!(ranges.take(41), Some(0));
        assert_eq!(ranges.take(60), None);
        assert_eq!(all(&ranges), [(41, 59), (220, 10), (300, 40)]);
        assert_eq!(ranges.bytes(), 109);
    }

    #[test]
    fn neighbours_become_one() {
        let mut ranges = Ranges::new();
        [(10, 10), (30, 10), (50, 10)].iter().for_each(|&(start, length)| ranges.put(start, length));
        ranges.put(20, 10);
        assert_eq!(all(&ranges), [(10, 30), (50, 10)]);
        ranges.put(0, 10);
        ranges.put(60, 5);
        assert_eq!(all(&ranges), [(0, 40), (50, 15)]);
        assert!(!ranges.take_whole(0, 39) && ranges.take_whole(0, 40));
        assert_eq!((all(&ranges), ranges.bytes()), (vec![(50, 15)], 15));
    }

    /// Against a map of single bytes.
    #[test]
    fn what_is_taken_was_free_and_nothing_gets_lost() {
        const BYTES: usize = 400;
        let (mut ranges, mut free) = (Ranges::new(), [true; BYTES]);
        ranges.put(0, BYTES);
        let (mut taken, mut word) = (Vec::new(), 1u64);
        for _ in 0..5000 {
            word = word.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            let draw = (word >> 33) as usize;
            if draw.is_multiple_of(2) {
                let length = 1 + draw / 2 % 50;
                let longest = free.split(|free| !free).map(<[bool]>::len).max().unwrap_or(0);
                match ranges.take(length) {
                    Some(start) => {
                        assert!(free[start..start + length].iter().all(|&free| free), "{start} + {length} was taken");
                        free[start..start + length].fill(false);
                        taken.push((start, length));
                    }
                    None => assert!(longest < length, "{longest} bytes are free side by side, {length} were refused"),
                }
            } else if !taken.is_empty() {
                let (start, length) = taken.swap_remove(draw / 2 % taken.len());
                free[start..start + length].fill(true);
                ranges.put(start, length);
            }
            assert_eq!(ranges.bytes(), free.iter().filter(|&&free| free).count());
        }
        taken.into_iter().for_each(|(start, length)| ranges.put(start, length));
        assert_eq!(all(&ranges), [(0, BYTES)]);
    }
}
