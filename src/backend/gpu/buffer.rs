//! Memory of a GPU.

use std::sync::Arc;

use super::driver::Command;
use super::pool::Pool;
use super::{Gpu, Ptr};
use crate::error::{Error, Result};

/// Device memory, freed on drop.
pub struct GpuBuffer {
    pub(super) gpu: Gpu,
    pub(super) address: u64,
    pub(super) bytes: usize,
    /// Where the memory goes back to, if not to the driver.
    pub(super) pool: Option<Arc<Pool>>,
}

impl GpuBuffer {
    /// The device that owns the memory.
    pub fn gpu(&self) -> &Gpu {
        &self.gpu
    }

    /// Size in bytes.
    pub fn len(&self) -> usize {
        self.bytes
    }

    /// Whether the buffer holds no bytes.
    pub fn is_empty(&self) -> bool {
        self.bytes == 0
    }

    /// The address `offset` bytes into the buffer, for a parameter struct; one that is not in it is for the caller to
    /// avoid.
    pub fn ptr(&self, offset: usize) -> Ptr {
        Ptr(self.address).byte_add(offset)
    }

    /// Copies `to.len()` bytes from `offset` to the host. Errors if the buffer ends before them.
    pub fn download(&self, offset: usize, to: &mut [u8]) -> Result<()> {
        let from = self.range("download", offset, to.len())?;
        if to.is_empty() {
            return Ok(());
        }
        self.gpu.before_the_host_needs_it("it reads numbers back to the host")?;
        self.gpu.driver.download(from, to)
    }

    /// Overwrites the bytes from `offset` on. Errors if the buffer ends before the last of them.
    pub fn write(&mut self, offset: usize, from: &[u8]) -> Result<()> {
        let to = self.range("write", offset, from.len())?;
        if from.is_empty() {
            return Ok(());
        }
        self.gpu.ask_to_upload(to, from)
    }

    /// Copies `bytes` from `source`, where they begin at `from`. Errors if either buffer ends before the last of them,
    /// or if the buffers are on different devices.
    pub fn copy_from(&mut self, offset: usize, source: &GpuBuffer, from: usize, bytes: usize) -> Result<()> {
        const OP: &str = "copy between buffers";
        if !self.gpu.same(&source.gpu) {
            let what = format!(
                "the source is on {}, the destination on {}; go through the host",
                source.gpu.name(),
                self.gpu.name()
            );
            return Err(Error::Device { op: OP, what });
        }
        let (to, from) = (self.range(OP, offset, bytes)?, source.range(OP, from, bytes)?);
        if bytes == 0 {
            return Ok(());
        }
        let command = || Command::Copy { to, from, bytes };
        self.gpu.ask(command, |driver| driver.copy(to, from, bytes))
    }

    /// The address of `bytes` bytes from `offset` on, all of which are the buffer's.
    fn range(&self, op: &'static str, offset: usize, bytes: usize) -> Result<u64> {
        if offset.checked_add(bytes).is_some_and(|end| end <= self.bytes) {
            return Ok(self.address + offset as u64);
        }
        Err(Error::argument(op, format!("{bytes} bytes from byte {offset} on, in a buffer of {} bytes", self.bytes)))
    }

    /// Sets every byte to zero.
    pub fn zero(&mut self) -> Result<()> {
        if self.bytes == 0 {
            return Ok(());
        }
        let &mut GpuBuffer { address: to, bytes, .. } = self;
        self.gpu.ask(|| Command::Zero { to, bytes }, |driver| driver.zero(to, bytes))
    }
}

impl Drop for GpuBuffer {
    fn drop(&mut self) {
        if let Some(pool) = &self.pool {
            // A graph that read it must know; within the pool of a capture that is the capture's own affair.
            if self.gpu.deferral.has(pool) {
                self.gpu.watches.freed(self.address, self.bytes);
            }
            return pool.put_back(self.address);
        }
        if self.bytes > 0 {
            self.gpu.deferral.free(self.address, self.bytes);
        }
    }
}
