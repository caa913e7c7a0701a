//! The bytes behind tensors.

use std::ops::Range;

use super::Device;
use crate::backend::cpu::{CpuBuffer, Part};
use crate::backend::gpu::{Gpu, GpuBuffer, Ptr};
use crate::error::{Error, Result};
use crate::threads;

pub(super) enum Storage {
    Cpu(CpuBuffer),
    Gpu(GpuBuffer),
}

impl Storage {
    pub fn new(bytes: usize, device: &Device) -> Result<Self> {
        match device {
            Device::Cpu => threads::ensure().and_then(|()| CpuBuffer::new(bytes)).map(Storage::Cpu),
            Device::Gpu(gpu) => gpu.allocate(bytes).map(Storage::Gpu),
        }
    }

    pub fn from_bytes(bytes: &[u8], device: &Device) -> Result<Self> {
        match device {
            Device::Cpu => threads::ensure().and_then(|()| CpuBuffer::from_bytes(bytes)).map(Storage::Cpu),
            Device::Gpu(gpu) => gpu.upload(bytes).map(Storage::Gpu),
        }
    }

    pub fn device(&self) -> Device {
        match self {
            Storage::Cpu(_) => Device::Cpu,
            Storage::Gpu(buffer) => Device::Gpu(buffer.gpu().clone()),
        }
    }

    pub fn zero(&mut self) -> Result<()> {
        match self {
            Storage::Cpu(buffer) => {
                buffer.as_mut_slice::<u8>().fill(0);
                Ok(())
            }
            Storage::Gpu(buffer) => buffer.zero(),
        }
    }

    pub fn read(&self, range: Range<usize>, to: &mut [u8]) -> Result<()> {
        match self {
            Storage::Cpu(buffer) => {
                to.copy_from_slice(&buffer.as_slice::<u8>()[range]);
                Ok(())
            }
            Storage::Gpu(buffer) => buffer.download(range.start, to),
        }
    }

    /// A storage of its own with a copy of `range`.
    pub fn copy(&self, range: Range<usize>) -> Result<Storage> {
        match self {
            Storage::Cpu(buffer) => CpuBuffer::from_bytes(&buffer.as_slice()[range]).map(Storage::Cpu),
            Storage::Gpu(buffer) => {
                let mut copy = buffer.gpu().allocate(range.len())?;
                copy.copy_from(0, buffer, range.start, range.len())?;
                Ok(Storage::Gpu(copy))
            }
        }
    }

    pub fn host(&self, op: &'static str) -> Result<&[u8]> {
        match self {
            Storage::Cpu(buffer) => Ok(buffer.as_slice()),
            Storage::Gpu(_) => Err(not_on_cpu(op)),
        }
    }

    /// Where kernels of the CPU keep what they make of the contents from byte `at` on.
    pub fn part(&self, at: usize) -> Option<Part<'_>> {
        match self {
            Storage::Cpu(buffer) => Some(buffer.part(at)),
            Storage::Gpu(_) => None,
        }
    }

    pub fn host_mut(&mut self, op: &'static str) -> Result<&mut [u8]> {
        match self {
            Storage::Cpu(buffer) => Ok(buffer.as_mut_slice()),
            Storage::Gpu(_) => Err(not_on_cpu(op)),
        }
    }

    pub fn ptr(&self, offset: usize, gpu: &Gpu) -> Result<Ptr> {
        match self {
            Storage::Cpu(_) => {
                Err(Error::Device { op: "launch", what: "a kernel was given a tensor on the CPU".into() })
            }
            Storage::Gpu(buffer) if !buffer.gpu().same(gpu) => {
                let what =
                    format!("a kernel on {} was given a tensor on another device, {}", gpu.name(), buffer.gpu().name());
                Err(Error::Device { op: "launch", what })
            }
            Storage::Gpu(buffer) if buffer.is_empty() => Ok(Ptr::NULL),
            Storage::Gpu(buffer) => Ok(buffer.ptr(offset)),
        }
    }
}

fn not_on_cpu(op: &'static str) -> Error {
    Error::Device { op, what: "the tensor is on a GPU; copy it with `to_device` or `to_vec`".into() }
}
