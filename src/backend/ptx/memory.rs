//! Global memory: allocations with nothing between them that an address could reach by accident.

/// What nobody has written holds NaN, in every floating-point dtype.
pub(super) const POISON: u8 = 0xff;
/// Where the first allocation begins, and what all of them are aligned to.
const FIRST: u64 = 1 << 32;
const ALIGN: u64 = 256;

struct Allocation {
    begin: u64,
    bytes: Vec<u8>,
}

/// All allocations, in the order of their addresses. No address is given out twice.
pub(super) struct Memory {
    allocations: Vec<Allocation>,
    next: u64,
    /// Where the last access was: the next is likely to be there too.
    last: usize,
}

impl Default for Memory {
    fn default() -> Self {
        Memory { allocations: Vec::new(), next: FIRST, last: 0 }
    }
}

impl Memory {
    /// `bytes` bytes of NaN. Errors if the host has not so many.
    pub(super) fn allocate(&mut self, bytes: usize) -> Result<u64, String> {
        let mut data = Vec::new();
        data.try_reserve_exact(bytes).map_err(|error| error.to_string())?;
        data.resize(bytes, POISON);
        let begin = self.next;
        self.allocations.push(Allocation { begin, bytes: data });
        self.next = (begin + bytes as u64 + ALIGN).next_multiple_of(ALIGN);
        Ok(begin)
    }

    /// Errors if no allocation begins here.
    pub(super) fn free(&mut self, address: u64) -> Result<(), String> {
        match self.allocations.binary_search_by_key(&address, |a| a.begin) {
            Ok(i) => {
                self.allocations.remove(i);
                Ok(())
            }
            Err(_) => Err(format!("{address:#x} is not the address of an allocation")),
        }
    }

    /// `bytes` bytes at `address`. Errors if they are not all in one allocation.
    pub(super) fn at(&mut self, address: u64, bytes: usize) -> Result<&mut [u8], String> {
        let inside = |a: &Allocation| {
            let offset = address.checked_sub(a.begin)? as usize;
            Some(offset..offset.checked_add(bytes).filter(|&end| end <= a.bytes.len())?)
        };
        let mut i = self.last;
        let mut range = self.allocations.get(i).and_then(inside);
        if range.is_none() {
            i = self.allocations.partition_point(|a| a.begin <= address).saturating_sub(1);
            range = self.allocations.get(i).and_then(inside);
        }
        match range {
            Some(range) => {
                self.last = i;
                Ok(&mut self.allocations[i].bytes[range])
            }
            None => Err(self.missed(address, bytes, i)),
        }
    }

    /// Says how far an access is from the allocation that it comes closest to.
    fn missed(&self, address: u64, bytes: usize, i: usize) -> String {
        let near = self.allocations.get(i..).unwrap_or_default().iter().take(2);
        let distance = |a: &Allocation| match address.checked_sub(a.begin) {
            Some(offset) => (offset.saturating_sub(a.bytes.len() as u64), offset, "past"),
            None => (a.begin - address, a.begin - address, "before"),
        };
        let what = format!("{bytes} bytes at {address:#x} are not all in one live allocation");
        match near.map(|a| (distance(a), a)).min_by_key(|((far, ..), _)| *far) {
            Some(((_, offset, side), a)) => {
                let (size, begin) = (a.bytes.len(), a.begin);
                format!(
                    "{what}; the nearest has {size} bytes at {begin:#x}, and this is {offset} bytes {side} its beginning"
                )
            }
            None => what,
        }
    }

    pub(super) fn write(&mut self, to: u64, from: &[u8]) -> Result<(), String> {
        self.at(to, from.len())?.copy_from_slice(from);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_lies_within_an_allocation_is_found() {
        let mut memory = Memory::default();
        let (a, b) = (memory.allocate(10).unwrap(), memory.allocate(0).unwrap());
        let c = memory.allocate(300).unwrap();
        assert!(a % 256 == 0 && b % 256 == 0 && c % 256 == 0 && a < b && b < c);
        assert_eq!(memory.at(a, 10).unwrap(), [POISON; 10]);
        memory.write(c + 298, &[1, 2]).unwrap();
        assert_eq!(memory.at(c + 299, 1).unwrap(), [2]);
        for (address, bytes) in [(a + 9, 2), (a - 1, 1), (b, 1), (c + 300, 1), (0, 1), (u64::MAX, 8)] {
            let why = memory.at(address, bytes).unwrap_err();
            assert!(why.contains("not all in one live allocation"), "{why}");
        }
        assert!(memory.at(a + 9, 2).unwrap_err().contains("10 bytes"));
        memory.free(a).unwrap();
        assert!(memory.at(a, 1).is_err() && memory.free(a).is_err() && memory.free(c + 1).is_err());
    }
}
