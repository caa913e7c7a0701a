//! Shapes, dtypes, storage and devices; no mathematics.

mod device;
mod display;
pub mod file;
#[cfg(feature = "ndarray")]
mod ndarray;
mod replayed;
mod shape;
mod storage;

use std::fmt;
use std::sync::Arc;

pub use crate::backend::dtype::{Accumulator, DType, Element, Real};
pub(crate) use crate::backend::dtype::{element, real};
pub use device::Device;
pub use file::TensorFile;
pub use replayed::Replayed;
pub use shape::Shape;
use storage::Storage;

use crate::backend::cpu::Part;
use crate::backend::gpu::{Gpu, Ptr};
use crate::error::{Error, Result};

/// An immutable, contiguous array on a device. Cloning, reshaping and narrowing along the first axis share the storage.
#[derive(Clone)]
pub struct Tensor {
    storage: Arc<Storage>,
    /// First element within the storage.
    offset: usize,
    shape: Shape,
    dtype: DType,
}

impl Tensor {
    /// A tensor with unspecified contents, for an operation to write before anybody reads it.
    pub fn empty(shape: impl Into<Shape>, dtype: DType, device: &Device) -> Result<Tensor> {
        let shape = shape.into();
        let bytes = shape.checked_elements("allocate")? * dtype.size();
        Ok(Tensor { storage: Arc::new(Storage::new(bytes, device)?), offset: 0, shape, dtype })
    }

    /// A tensor with the shape, dtype and device of `self` and unspecified contents.
    pub fn empty_like(&self) -> Result<Tensor> {
        Self::empty(&self.shape, self.dtype, &self.device())
    }

    /// All zeros.
    pub fn zeros(shape: impl Into<Shape>, dtype: DType, device: &Device) -> Result<Tensor> {
        let mut tensor = Self::empty(shape, dtype, device)?;
        if let Some(storage) = Arc::get_mut(&mut tensor.storage) {
            storage.zero()?;
        }
        Ok(tensor)
    }

    /// Every element `value`, rounded to `dtype`.
    pub fn full(value: f64, shape: impl Into<Shape>, dtype: DType, device: &Device) -> Result<Tensor> {
        let shape = shape.into();
        match dtype {
            DType::F32 => Self::filled(value as f32, shape, device),
            // Through f32, like every other way to bf16: `bf16::from_f64` drops low bits and misjudges ties.
            DType::BF16 => Self::filled(half::bf16::from_f32(value as f32), shape, device),
            DType::F64 => Self::filled(value, shape, device),
            DType::U32 => Self::filled(value as u32, shape, device),
        }
    }

    fn filled<T: Element>(value: T, shape: Shape, device: &Device) -> Result<Tensor> {
        let count = shape.checked_elements("full")?;
        match device {
            Device::Cpu => {
                let mut tensor = Self::empty(shape, T::DTYPE, device)?;
                tensor.as_mut_slice()?.fill(value);
                Ok(tensor)
            }
            Device::Gpu(_) => Self::from_slice(&vec![value; count], shape, device),
        }
    }

    /// A single number without axes.
    pub fn scalar(value: f64, dtype: DType, device: &Device) -> Result<Tensor> {
        Self::full(value, [], dtype, device)
    }

    /// A tensor of `shape` with a copy of `data`, row-major. Errors if the counts differ, or on an f64 tensor on a GPU.
    pub fn from_slice<T: Element>(data: &[T], shape: impl Into<Shape>, device: &Device) -> Result<Tensor> {
        Self::copied("from_slice", data, shape.into(), device)
    }

    /// [`from_slice`](Self::from_slice) for `op`.
    fn copied<T: Element>(op: &'static str, data: &[T], shape: Shape, device: &Device) -> Result<Tensor> {
        if shape.checked_elements(op)? != data.len() {
            return Err(Error::shape(op, format!("{} elements", shape.elements()), data.len()));
        }
        if T::DTYPE == DType::F64 && matches!(device, Device::Gpu(_)) {
            return Err(Error::dtype(op, "f32, bf16 or u32 on a GPU (f64 lives on the CPU only)", DType::F64));
        }
        let storage = Storage::from_bytes(bytemuck::cast_slice(data), device)?;
        Ok(Tensor { storage: Arc::new(storage), offset: 0, shape, dtype: T::DTYPE })
    }

    /// As [`from_slice`](Self::from_slice), of data that nobody else needs.
    pub fn from_vec<T: Element>(data: Vec<T>, shape: impl Into<Shape>, device: &Device) -> Result<Tensor> {
        Self::from_slice(&data, shape, device)
    }

    /// The extents.
    pub fn shape(&self) -> &Shape {
        &self.shape
    }

    /// The element type.
    pub fn dtype(&self) -> DType {
        self.dtype
    }

    /// The device that holds the elements.
    pub fn device(&self) -> Device {
        self.storage.device()
    }

    /// Number of elements.
    pub fn len(&self) -> usize {
        self.shape.elements()
    }

    /// Whether there are no elements.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn bytes(&self) -> std::ops::Range<usize> {
        let size = self.dtype.size();
        self.offset * size..(self.offset + self.len()) * size
    }

    /// The elements, copied to the host in row-major order. Errors if `T` is not the tensor's type.
    pub fn to_vec<T: Element>(&self) -> Result<Vec<T>> {
        self.expect::<T>("to_vec")?;
        let mut out = vec![T::zeroed(); self.len()];
        self.storage.read(self.bytes(), bytemuck::cast_slice_mut(&mut out))?;
        Ok(out)
    }

    /// The elements as f64, whatever the dtype, copied to the host.
    pub fn to_f64(&self) -> Result<Vec<f64>> {
        Ok(match self.dtype {
            DType::F32 => self.to_vec::<f32>()?.into_iter().map(f64::from).collect(),
            DType::BF16 => self.to_vec::<half::bf16>()?.into_iter().map(f64::from).collect(),
            DType::F64 => self.to_vec()?,
            DType::U32 => self.to_vec::<u32>()?.into_iter().map(f64::from).collect(),
        })
    }

    /// The one element of a tensor that has just one.
    pub fn item(&self) -> Result<f64> {
        match self.to_f64()?.as_slice() {
            &[value] => Ok(value),
            _ => Err(Error::shape("item", "a tensor of one element", &self.shape)),
        }
    }

    /// The elements in place. Errors unless the tensor is on the CPU and of type `T`.
    pub fn as_slice<T: Element>(&self) -> Result<&[T]> {
        self.expect::<T>("as_slice")?;
        Ok(bytemuck::cast_slice(&self.storage.host("as_slice")?[self.bytes()]))
    }

    /// Where kernels of the CPU keep what they make of the elements until somebody writes to the storage.
    pub(crate) fn part(&self) -> Option<Part<'_>> {
        self.storage.part(self.bytes().start)
    }

    /// The elements for writing. If the storage is shared it is copied first, so that no other tensor changes.
    pub fn as_mut_slice<T: Element>(&mut self) -> Result<&mut [T]> {
        self.expect::<T>("as_mut_slice")?;
        let bytes = self.make_unique()?;
        let storage = Arc::get_mut(&mut self.storage).ok_or_else(shared_storage)?;
        Ok(bytemuck::cast_slice_mut(&mut storage.host_mut("as_mut_slice")?[bytes]))
    }

    /// Makes this tensor the only user of its storage, copying it if need be; afterwards it may be written in place.
    /// Returns its bytes within the storage.
    pub(crate) fn make_unique(&mut self) -> Result<std::ops::Range<usize>> {
        if Arc::get_mut(&mut self.storage).is_none() {
            self.storage = Arc::new(self.storage.copy(self.bytes())?);
            self.offset = 0;
        }
        Ok(self.bytes())
    }

    /// The address of the first element, for the parameters of a kernel on `gpu`. Errors if the tensor is not there.
    pub(crate) fn ptr(&self, gpu: &Gpu) -> Result<Ptr> {
        self.storage.ptr(self.bytes().start, gpu)
    }

    /// As [`ptr`](Self::ptr), for a kernel that writes in place: makes the storage unique first.
    pub(crate) fn ptr_mut(&mut self, gpu: &Gpu) -> Result<Ptr> {
        let bytes = self.make_unique()?;
        self.storage.ptr(bytes.start, gpu)
    }

    /// The same elements with other extents. Errors if the counts differ.
    pub fn reshape(&self, shape: impl Into<Shape>) -> Result<Tensor> {
        let shape = shape.into();
        if shape.checked_elements("reshape")? != self.len() {
            return Err(Error::shape("reshape", format!("a shape of {} elements", self.len()), shape));
        }
        Ok(Tensor { shape, ..self.clone() })
    }

    /// `len` entries of the first axis from `start` on, sharing the storage.
    pub fn narrow(&self, start: usize, len: usize) -> Result<Tensor> {
        let Some((&first, rest)) = self.shape.split_first() else {
            return Err(Error::shape("narrow", "at least one axis", &self.shape));
        };
        if start.checked_add(len).is_none_or(|end| end > first) {
            return Err(Error::argument("narrow", format!("entries {start}..{start}+{len} of an axis of {first}")));
        }
        let stride: usize = rest.iter().product();
        let shape = Shape::from([&[len], rest].concat());
        Ok(Tensor { offset: self.offset + start * stride, shape, ..self.clone() })
    }

    /// A copy on `device`, or the tensor itself if it is there already.
    pub fn to_device(&self, device: &Device) -> Result<Tensor> {
        if self.device().same(device) {
            return Ok(self.clone());
        }
        if self.dtype == DType::F64 && matches!(device, Device::Gpu(_)) {
            return Err(Error::dtype("to_device", "f32, bf16 or u32 on a GPU (f64 lives on the CPU only)", DType::F64));
        }
        let mut bytes = vec![0; self.bytes().len()];
        self.storage.read(self.bytes(), &mut bytes)?;
        let storage = Arc::new(Storage::from_bytes(&bytes, device)?);
        Ok(Tensor { storage, offset: 0, shape: self.shape.clone(), dtype: self.dtype })
    }

    fn expect<T: Element>(&self, op: &'static str) -> Result<()> {
        if self.dtype == T::DTYPE { Ok(()) } else { Err(Error::dtype(op, T::DTYPE.to_string(), self.dtype)) }
    }
}

fn shared_storage() -> Error {
    Error::Device { op: "write in place", what: "the storage is shared with another tensor".into() }
}

impl fmt::Debug for Tensor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Tensor({}{} on {})", self.dtype, self.shape, self.device())?;
        if self.len() <= 16
            && let Ok(values) = self.to_f64()
        {
            write!(f, " {values:?}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
