//! The memory that a block's threads see, one access at a time.

use super::engines::Engines;
use super::memory::{Memory, POISON};
use super::products::Issued;
use super::program::{Program, Space, WINDOW};

/// What a block has, but for its registers.
pub(super) struct Machine<'a> {
    pub(super) program: &'a Program,
    pub(super) memory: &'a mut Memory,
    pub(super) params: &'a mut [u8],
    pub(super) shared: Vec<u8>,
    /// Local memory of all threads, one after the other.
    local: Vec<u8>,
    pub(super) engines: Engines,
    pub(super) issued: Issued,
}

impl<'a> Machine<'a> {
    pub(super) fn new(
        program: &'a Program,
        memory: &'a mut Memory,
        params: &'a mut [u8],
        threads: u32,
        dynamic: u32,
    ) -> Self {
        let shared = match dynamic {
            0 => program.shared_bytes,
            bytes => program.dynamic_begin() + u64::from(bytes),
        };
        let local = program.local_bytes * u64::from(threads.next_multiple_of(32));
        let (shared, local) = (vec![POISON; shared as usize], vec![POISON; local as usize]);
        Machine { program, memory, params, shared, local, engines: Engines::default(), issued: Issued::default() }
    }

    /// What nobody has written holds NaN.
    pub(super) fn poison(&mut self) {
        self.shared.fill(POISON);
        self.local.fill(POISON);
        self.engines.begin();
        self.issued.begin();
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
                let range = within("shared", self.shared.len(), 0, address)?;
                Ok(&mut self.shared[range])
            }
            Space::Local => {
                let own = self.program.local_bytes;
                let range = within("local", own as usize, own * u64::from(thread), address)?;
                Ok(&mut self.local[range])
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
