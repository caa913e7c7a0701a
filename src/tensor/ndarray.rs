//! To arrays of the `ndarray` crate and back (feature `ndarray`).

use ndarray::{ArrayD, ArrayRef, Dimension};

use super::{Device, Element, Tensor};
use crate::error::{Error, Result};

impl Tensor {
    /// A tensor with the extents and a copy of the elements of an array or view, which may lie in memory in any order.
    ///
    /// Errors on an f64 tensor on a GPU.
    ///
    /// ```
    /// use ndarray::array;
    /// use veridical::{Device, Tensor};
    ///
    /// let points = array![[0f32, 1., 2.], [3., 4., 5.]];
    /// let x = Tensor::from_ndarray(&points.t(), &Device::Cpu)?;
    /// assert_eq!(&x.shape()[..], [3, 2]);
    /// assert_eq!(x.to_vec::<f32>()?, [0., 3., 1., 4., 2., 5.]);
    /// assert_eq!(x.to_ndarray::<f32>()?, points.t().into_dyn());
    /// # Ok::<(), veridical::Error>(())
    /// ```
    pub fn from_ndarray<T: Element, D: Dimension>(array: &ArrayRef<T, D>, device: &Device) -> Result<Tensor> {
        const OP: &str = "from_ndarray";
        let shape = array.shape().into();
        match array.as_slice() {
            Some(elements) => Self::copied(OP, elements, shape, device),
            None => Self::copied(OP, &array.iter().copied().collect::<Vec<T>>(), shape, device),
        }
    }

    /// The elements as an array of the tensor's extents, copied to the host. Errors if `T` is not the tensor's type.
    ///
    /// An array of a known number of axes is one `into_dimensionality` further.
    pub fn to_ndarray<T: Element>(&self) -> Result<ArrayD<T>> {
        const OP: &str = "to_ndarray";
        self.expect::<T>(OP)?;
        ArrayD::from_shape_vec(&self.shape[..], self.to_vec()?)
            .map_err(|e| Error::shape(OP, e.to_string(), &self.shape))
    }
}
