//! Arrays of NumPy, in and out.

use std::borrow::Cow;

use bytemuck::{NoUninit, Pod};
use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedBytes;
use pyo3::types::{PyByteArray, PyBytes};
use veridical::data::npy::Values;
use veridical::{DType, Device, Result, Tensor};

use crate::errors::OrRaise;

/// The numbers of an array, copied out of it: what becomes of the array afterwards does not matter.
pub struct Numbers {
    bytes: PyBackedBytes,
    /// The extents.
    pub shape: Vec<usize>,
}

impl Numbers {
    /// The numbers of anything that NumPy takes for an array, converted to a type of NumPy's (`float32`).
    pub fn of(object: &Bound<PyAny>, dtype: &str) -> PyResult<Self> {
        let array = array(object)?.call_method1("astype", (dtype,))?;
        let bytes = array.call_method0("tobytes")?.cast_into::<PyBytes>()?;
        Ok(Numbers { bytes: bytes.into(), shape: array.getattr("shape")?.extract()? })
    }

    /// All of them, row-major, as the type that they were converted to.
    pub fn values<T: Pod>(&self) -> Cow<'_, [T]> {
        match bytemuck::try_cast_slice(&self.bytes) {
            Ok(values) => Cow::Borrowed(values),
            Err(_) => Cow::Owned(bytemuck::pod_collect_to_vec(&self.bytes)),
        }
    }
}

/// An array of numbers: one of NumPy's, or what becomes one by `__array__` or, from the CPU, by `__dlpack__`.
pub fn array<'py>(object: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
    let numpy = object.py().import("numpy")?;
    let foreign = !object.hasattr("__array__")? && object.hasattr("__dlpack__")?;
    let array = numpy.call_method1(if foreign { "from_dlpack" } else { "asarray" }, (object,))?;
    let kind: String = array.getattr("dtype")?.getattr("kind")?.extract()?;
    if !"buif".contains(&kind) {
        let (dtype, class) = (array.getattr("dtype")?, object.get_type().name()?);
        let what = format!("{class} of {dtype}: an array of real numbers is wanted, such as x.astype(\"float32\")");
        return Err(PyTypeError::new_err(what));
    }
    Ok(array)
}

/// Whether an array has 64-bit floating-point numbers.
pub fn is_f64(object: &Bound<PyAny>) -> PyResult<bool> {
    Ok(array(object)?.getattr("dtype")?.getattr("name")?.extract::<String>()? == "float64")
}

/// The array as the bytes of a `.npy` file, with whatever type it has.
pub fn npy(object: &Bound<PyAny>) -> PyResult<PyBackedBytes> {
    let py = object.py();
    let file = py.import("io")?.call_method0("BytesIO")?;
    py.import("numpy")?.call_method1("save", (&file, array(object)?))?;
    Ok(file.call_method0("getvalue")?.cast_into::<PyBytes>()?.into())
}

/// A tensor in f32, or in f64 where the array is and the device has it.
pub fn tensor(object: &Bound<PyAny>, device: &Device) -> PyResult<Tensor> {
    let py = object.py();
    let wide = is_f64(object)? && matches!(device, Device::Cpu);
    let numbers = Numbers::of(object, if wide { "float64" } else { "float32" })?;
    let shape = numbers.shape.clone();
    match wide {
        true => Tensor::from_slice(&numbers.values::<f64>(), shape, device),
        false => Tensor::from_slice(&numbers.values::<f32>(), shape, device),
    }
    .or_raise(py)
}

/// As [`tensor`], in f32 whatever the array is.
pub fn tensor_f32(object: &Bound<PyAny>, device: &Device) -> PyResult<Tensor> {
    let numbers = Numbers::of(object, "float32")?;
    Tensor::from_slice(&numbers.values::<f32>(), numbers.shape.clone(), device).or_raise(object.py())
}

/// A new array that may be written to.
pub fn from_slice<'py, T: NoUninit>(
    py: Python<'py>,
    values: &[T],
    shape: &[usize],
    dtype: &str,
) -> PyResult<Bound<'py, PyAny>> {
    let values: &[u8] = bytemuck::cast_slice(values);
    let numpy = py.import("numpy")?;
    if values.is_empty() {
        return numpy.call_method1("empty", (shape.to_vec(), dtype));
    }
    let memory = PyByteArray::new_with(py, values.len(), |memory| {
        memory.copy_from_slice(values);
        Ok(())
    })?;
    numpy.call_method1("frombuffer", (memory, dtype))?.call_method1("reshape", (shape.to_vec(),))
}

/// A tensor as an array of its shape and type.
pub fn from_tensor<'py>(py: Python<'py>, tensor: &Tensor) -> PyResult<Bound<'py, PyAny>> {
    fn values<T: veridical::tensor::Element>(tensor: &Tensor) -> Result<Cow<'_, [T]>> {
        match tensor.device() {
            Device::Cpu => tensor.as_slice().map(Cow::Borrowed),
            Device::Gpu(_) => tensor.to_vec().map(Cow::Owned),
        }
    }
    match tensor.dtype() {
        DType::F64 => from_slice(py, &values::<f64>(tensor).or_raise(py)?, tensor.shape(), "float64"),
        DType::U32 => from_slice(py, &values::<u32>(tensor).or_raise(py)?, tensor.shape(), "uint32"),
        _ => from_slice(py, &values::<f32>(tensor).or_raise(py)?, tensor.shape(), "float32"),
    }
}

/// Numbers of a data set as an array of this shape.
pub fn from_values<'py>(py: Python<'py>, values: &Values, shape: &[usize]) -> PyResult<Bound<'py, PyAny>> {
    match values {
        Values::U8(values) => from_slice(py, values, shape, "uint8"),
        Values::I64(values) => from_slice(py, values, shape, "int64"),
        Values::F32(values) => from_slice(py, values, shape, "float32"),
        Values::F64(values) => from_slice(py, values, shape, "float64"),
    }
}
