//! Tensors of `ndarray`'s arrays, and arrays of tensors.

use half::bf16;
use ndarray::{Array, ArrayD, CowArray, Ix2, ShapeBuilder, array, s};
use veridical::{DType, Device, Tensor};

fn values(tensor: &Tensor) -> Vec<f32> {
    tensor.to_vec().unwrap()
}

#[test]
fn an_array_in_any_order_becomes_row_major() {
    let cpu = Device::Cpu;
    let rows = array![[0f32, 1., 2.], [3., 4., 5.]];
    let x = Tensor::from_ndarray(&rows, &cpu).unwrap();
    assert_eq!((&x.shape()[..], values(&x)), (&[2, 3][..], vec![0., 1., 2., 3., 4., 5.]));

    let columns = Array::from_shape_fn((2, 3).f(), |(i, j)| (3 * i + j) as f32);
    assert!(!columns.is_standard_layout());
    assert_eq!(values(&Tensor::from_ndarray(&columns, &cpu).unwrap()), values(&x));

    let x = Tensor::from_ndarray(&rows.t(), &cpu).unwrap();
    assert_eq!((&x.shape()[..], values(&x)), (&[3, 2][..], vec![0., 3., 1., 4., 2., 5.]));
    let x = Tensor::from_ndarray(&rows.slice(s![..;-1, ..;2]), &cpu).unwrap();
    assert_eq!((&x.shape()[..], values(&x)), (&[2, 2][..], vec![3., 5., 0., 2.]));
    let x = Tensor::from_ndarray(&rows.slice(s![.., 1]).broadcast((2, 2)).unwrap(), &cpu).unwrap();
    assert_eq!((&x.shape()[..], values(&x)), (&[2, 2][..], vec![1., 4., 1., 4.]));
}

#[test]
fn who_owns_the_array_makes_no_difference() {
    let rows = array![[1f32, 2.], [3., 4.]];
    let of_owned = Tensor::from_ndarray(&rows, &Device::Cpu).unwrap();
    let (shared, cow) = (rows.to_shared(), CowArray::from(rows.view()));
    for x in [
        Tensor::from_ndarray(&rows.view(), &Device::Cpu),
        Tensor::from_ndarray(&shared, &Device::Cpu),
        Tensor::from_ndarray(&cow, &Device::Cpu),
        Tensor::from_ndarray(&rows.clone().into_dyn(), &Device::Cpu),
    ] {
        assert_eq!(values(&x.unwrap()), values(&of_owned));
    }
}

#[test]
fn every_dtype_goes_there_and_back() {
    fn there_and_back<T: veridical::tensor::Element>(array: ArrayD<T>) {
        let x = Tensor::from_ndarray(&array, &Device::Cpu).unwrap();
        assert_eq!((x.dtype(), &x.shape()[..]), (T::DTYPE, array.shape()));
        assert_eq!(x.to_ndarray::<T>().unwrap(), array);
    }
    there_and_back(array![[1.5f32, f32::INFINITY], [-0.0, f32::MIN_POSITIVE]].into_dyn());
    there_and_back(array![[[0.1f64, 1e300]]].into_dyn());
    there_and_back(array![u32::MAX, 0, 7].into_dyn());
    there_and_back(array![[bf16::from_f32(1.5)], [bf16::from_f32(-3.0)]].into_dyn());
    there_and_back(ndarray::arr0(2f32).into_dyn());
    there_and_back(Array::<f32, _>::zeros((3, 0, 2)).into_dyn());
}

#[test]
fn a_part_of_a_tensor_is_an_array_of_its_own() {
    let x = Tensor::from_vec((0..6u32).collect(), [3, 2], &Device::Cpu).unwrap().narrow(1, 2).unwrap();
    let array = x.to_ndarray::<u32>().unwrap().into_dimensionality::<Ix2>().unwrap();
    assert_eq!(array, array![[2, 3], [4, 5]]);
}

#[test]
fn errors_say_what_was_asked_and_found() {
    let x = Tensor::zeros([2], DType::BF16, &Device::Cpu).unwrap();
    let error = x.to_ndarray::<f32>().unwrap_err().to_string();
    assert_eq!(error, "to_ndarray: expected dtype f32, got bf16; convert with `cast`");
}

#[cfg(feature = "emulator")]
#[test]
fn arrays_go_to_gpus_too() {
    let gpu = Device::emulator().unwrap();
    let rows = array![[0f32, 1.], [2., 3.]];
    let x = Tensor::from_ndarray(&rows.t(), &gpu).unwrap();
    assert!(x.device().same(&gpu));
    assert_eq!(x.to_ndarray::<f32>().unwrap(), rows.t().into_dyn());
    let error = Tensor::from_ndarray(&array![1f64], &gpu).unwrap_err().to_string();
    assert!(error.starts_with("from_ndarray: expected dtype f32, bf16 or u32 on a GPU"), "{error}");
}
