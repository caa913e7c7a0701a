//! The memory that a block's threads see, one access at a time.

use super::engines::{Engines, Flying};
use super::memory::{Memory, POISON};
use super::products::Issued;
use super::program::{PEER, Program, Space, WINDOW};

/// What a block has, but for its registers.
pub(super) struct Own {
    pub(super) shared: Vec<u8>,
    /// Local memory of all threads, one after the other.
    local: Vec<u8>,
    pub(super) engines: Engines,
    pub(super) issued: Issued,
    /// Whether all its warps have ended.
    pub(super) ended: bool,
}

/// What the blocks that run together have.
pub(super) struct Machine<'a> {
    pub(super) program: &'a Program,
    pub(super) memory: &'a mut Memory,
    pub(super) params: &'a mut [u8],
    /// One after the other.
    pub(super) blocks: Vec<Own>,
    /// The one whose turn it is.
    pub(super) rank: usize,
    /// Boxes under way.
    pub(super) flying: Vec<Flying>,
}

impl<'a> Machine<'a> {
    pub(super) fn new(
        program: &'a Program,
        memory: &'a mut Memory,
        params: &'a mut [u8],
        threads: u32,
        dynamic: u32,
        hopper: bool,
    ) -> Self {
        let shared = match dynamic {
            0 => program.shared_bytes,
            bytes => program.dynamic_begin() + u64::from(bytes),
        };
        let local = program.local_bytes * u64::from(threads.next_multiple_of(32));
        let own = || {
            let (shared, local) = (vec![POISON; shared as usize], vec![POISON; local as usize]);
            let engines = Engines::of(hopper);
            Own { shared, local, engines, issued: Issued::default(), ended: false }
        };
        let blocks = (0..program.cluster).map(|_| own()).collect();
        Machine { program, memory, params, blocks, rank: 0, flying: Vec::new() }
    }

    /// What nobody has written holds NaN.
    pub(super) fn poison(&mut self) {
        self.flying.clear();
        for own in &mut self.blocks {
            own.shared.fill(POISON);
            own.local.fill(POISON);
            own.engines.begin();
            own.issued.begin();
            own.ended = false;
        }
    }

    /// The block whose turn it is.
    pub(super) fn own(&mut self) -> &mut Own {
        &mut self.blocks[self.rank]
    }

    /// The block that an address in the window of the cluster is of, and the address there. Errors if there is none, or
    /// if it has ended.
    pub(super) fn peer(&self, address: u64) -> Result<(usize, u64), String> {
        let rank = match address / PEER {
            0 => self.rank,
            above => above as usize - 1,
        };
        match self.blocks.get(rank) {
            None => Err(format!("{address:#x} is of block {rank} of a cluster of {}", self.blocks.len())),
            Some(own) if own.ended => Err(format!("{address:#x} is of block {rank} of the cluster, which has ended")),
            Some(_) => Ok((rank, address % PEER)),
        }
    }

    /// `bytes` bytes that a thread accesses by one instruction. Errors if they are not there, or if the address is not
    /// a multiple of their number.
    pub(super) fn at(&mut self, space: Space, address: u64, bytes: usize, thread: u32) -> Result<&mut [u8], String> {
        if !address.is_multiple_of(bytes as u64) {
            return Err(format!("{bytes} bytes at {address:#x}, which is no multiple of {bytes}"));
        }
        let within = |memory: &'static str, size: usize, begin: u64, address: u64| {
            let end = address.checked_add(bytes as u64).filter(|&end| end <= size as u64);
            let end = end.ok_or_else(|| format!("{bytes} bytes at {address} of {size} bytes of {memory} memory"))?;
            Ok::<_, String>((begin + address) as usize..(begin + end) as usize)
        };
        match space {
            Space::Global => self.memory.at(address, bytes),
            Space::Shared => {
                let shared = &mut self.blocks[self.rank].shared;
                let range = within("shared", shared.len(), 0, address)?;
                Ok(&mut shared[range])
            }
            Space::Local => {
                let own = self.program.local_bytes;
                let range = within("local", own as usize, own * u64::from(thread), address)?;
                Ok(&mut self.blocks[self.rank].local[range])
            }
            Space::Param => {
                let range = within("parameter", self.params.len(), 0, address)?;
                Ok(&mut self.params[range])
            }
            Space::Generic => {
                let space = match address / WINDOW {
                    0 => Space::Global,
                    1 => Space::Shared,
                    2 => Space::Local,
                    3 => Space::Param,
                    _ => return Err(format!("{address:#x} is no address")),
                };
                self.at(space, address - space.window(), bytes, thread)
            }
        }
    }
}
